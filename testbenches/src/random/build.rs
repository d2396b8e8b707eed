//! From a recipe to a network.

use std::sync::Arc;

use rand::RngExt as _;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::kernel::{Fill, Sliding};
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::pooled::Zones;
use stoxnor::arith::product::{Product, Stochastic};
use stoxnor::arith::stochastic::{Rounding, StochasticMatrix};
use stoxnor::arith::window::Window;
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::layer::add::Add;
use stoxnor::layer::avgpool::AveragePool;
use stoxnor::layer::concat::Concat;
use stoxnor::layer::conv::Conv;
use stoxnor::layer::dense::Dense;
use stoxnor::layer::globalpool::GlobalPool;
use stoxnor::layer::maxpool::MaxPool;
use stoxnor::layer::mul::Mul;
use stoxnor::layer::scale::Scale;
use stoxnor::layer::select::{Channel, Places, Select};
use stoxnor::layer::threshold::Threshold;
use stoxnor::layer::topk::TopK;
use stoxnor::layer::transpose::Transpose;
use stoxnor::layer::upsample::Upsample;
use stoxnor::network::layer::Layer;
use stoxnor::network::{Network, UnnamedLayer};
use stoxnor::unit::folding::Folding;

use super::Feed;
use super::Geometry;
use super::LayerRecipe;
use super::Make;
use super::Recipe;
use super::Staircase;
use super::Weights;
use crate::conformance::of_inputs;
use crate::conformance::random;

/// Why a recipe is no network.
pub type Illegal = String;

/// The network of a recipe, and the folding of each layer. The same recipe gives the same network on every machine.
///
/// # Errors
/// Where the recipe is not legal.
pub fn build(recipe: &Recipe) -> Result<(Network, Vec<Folding>), Illegal> {
    let entries = entries(recipe);
    need(entries.iter().all(|entry| entry.elements() > 0), "an empty input")?;
    // What nothing takes is no input of the network.
    let taken =
        |entry: &usize| recipe.layers.iter().flat_map(|l| &l.inputs).any(|f| f.entry() == Some(*entry));
    let used: Vec<usize> = (0..entries.len()).filter(taken).collect();
    let mut outputs: Vec<Port> = Vec::new();
    let mut found = Vec::new();
    let mut folds = Vec::new();
    for (index, own) in recipe.layers.iter().enumerate() {
        let inputs = ports(&own.inputs, &entries, &outputs)?;
        let (layer, output) = layer(own, &inputs, recipe.members)?;
        folds.push(snapped(&*layer, own.fold));
        outputs.push(output);
        let inputs = own.inputs.iter().map(|from| from.source(&used)).collect();
        found.push(UnnamedLayer { origin: format!("layer {}", index + 1), inputs, layer });
    }
    need(!found.is_empty(), "no layers")?;
    need(recipe.exits.iter().all(|exit| *exit < found.len()) && !recipe.exits.is_empty(), "no such exit")?;
    need(!used.is_empty(), "nothing takes an input")?;
    let inputs = used.iter().map(|entry| entries[*entry].clone()).collect();
    let network = of_inputs(inputs, found, &recipe.exits).map_err(|e| e.to_string())?;
    Ok((network, folds))
}

/// The inputs of a recipe.
pub fn entries(recipe: &Recipe) -> Vec<Port> {
    let more = recipe.more.iter().map(|(shape, element)| Port { shape: shape.clone(), element: *element });
    std::iter::once(Port { shape: recipe.shape.clone(), element: recipe.element }).chain(more).collect()
}

/// What a layer's inputs are fed with.
///
/// # Errors
/// Where one comes from a layer that is not there yet.
pub fn ports(inputs: &[Feed], entries: &[Port], outputs: &[Port]) -> Result<Vec<Port>, Illegal> {
    let of = |from: &Feed| match from {
        Feed::Layer(index) => outputs.get(*index).cloned().ok_or_else(|| format!("no layer {index} yet")),
        input => {
            input.entry().and_then(|e| entries.get(e)).cloned().ok_or_else(|| "no such input".to_owned())
        }
    };
    inputs.iter().map(of).collect()
}

/// The largest legal lanes that are not more than these.
fn snapped(layer: &dyn Layer, fold: Folding) -> Folding {
    let lanes = layer.lanes();
    let of = |legal: &[usize], wanted: usize| {
        legal.iter().copied().rfind(|n| *n <= wanted).or(legal.first().copied()).unwrap_or(1)
    };
    Folding { pe: of(&lanes.pe, fold.pe), simd: of(&lanes.simd, fold.simd), ..fold }
}

/// Frames as an image: what has one axis is one pixel, what has two is a line.
pub fn image(shape: &[usize]) -> [usize; 3] {
    match shape {
        [] => [1; 3],
        [channels] => [1, 1, *channels],
        [front @ .., width, channels] => [front.iter().product(), *width, *channels],
    }
}

fn need(holds: bool, what: &str) -> Result<(), Illegal> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// A layer for these inputs, and what leaves it.
///
/// # Errors
/// Where it does not fit them.
pub fn layer(
    recipe: &LayerRecipe,
    inputs: &[Port],
    members: usize,
) -> Result<(Arc<dyn Layer>, Port), Illegal> {
    let first = inputs.first().ok_or("a layer without an input")?;
    let shape = recipe.view.clone().unwrap_or_else(|| first.shape.clone());
    need(shape.iter().product::<usize>() == first.elements(), "another shape")?;
    let made = make(&recipe.make, &shape, inputs, members)?;
    let output = made.output(inputs).map_err(|e| e.to_string())?;
    Ok((made, output))
}

fn make(make: &Make, shape: &[usize], inputs: &[Port], members: usize) -> Result<Arc<dyn Layer>, Illegal> {
    let element = inputs[0].element;
    let [height, width, channels] = image(shape);
    let last = shape.last().copied().unwrap_or(1);
    let stairs = |activation: &Option<Staircase>, rows, range| match activation {
        None => Ok(vec![]),
        Some(activation) => activations(activation, rows, range, members),
    };
    let sliding = |kernel: &Geometry, groups, fill| {
        let Geometry { kernel, stride, dilation, before, after } = *kernel;
        let window = Window { input: [height, width], kernel, stride, dilation, before, after };
        window.fault().map_or(Ok(Sliding { window, channels, groups, fill }), Err)
    };
    Ok(match make {
        Make::Dense { rows, weights, activation } => {
            let of = |activations| product(weights, *rows, inputs[0].elements(), members, activations);
            let range = of(vec![])?.sum_range(element, false);
            Arc::new(Dense::from(of(stairs(activation, *rows, range)?)?))
        }
        Make::Conv { kernel, groups, fill, rows, weights, activation } => {
            let whole = |n: usize| *groups > 0 && n.is_multiple_of(*groups);
            need(whole(channels) && whole(*rows), "whole groups")?;
            let kernel = sliding(kernel, *groups, *fill)?;
            need(
                kernel.accepts(&Port { shape: kernel.shape().to_vec(), element }).is_ok(),
                "a fill that does not fit",
            )?;
            let of = |activations| product(weights, *rows, kernel.fan_in(), members, activations);
            let range = of(vec![])?.sum_range(element, kernel.masked());
            let product = of(stairs(activation, *rows, range)?)?;
            Arc::new(Conv::new(kernel, product))
        }
        Make::MaxPool { kernel, falls } => {
            let kernel = sliding(kernel, channels, Fill::Nothing)?;
            let falls = falls.map_or(vec![], |seed| {
                let mut rng = random(seed);
                (0..channels).map(|_| rng.random()).collect()
            });
            Arc::new(MaxPool::new(kernel, falls))
        }
        Make::AvgPool { kernel, activation } => {
            let fill = if element == Element::Bipolar { Fill::Mask } else { Fill::Value(0) };
            let kernel = sliding(kernel, channels, fill)?;
            let range = AveragePool::new(kernel.clone(), vec![]).sum_range(element);
            match zones(&kernel.window).filter(|_| activation.as_ref().is_some_and(|a| a.seed % 2 == 1)) {
                Some(zones) => {
                    let activations = stairs(activation, channels * zones.count(), range)?;
                    Arc::new(AveragePool::zoned(kernel, zones, activations))
                }
                None => Arc::new(AveragePool::new(kernel, stairs(activation, channels, range)?)),
            }
        }
        Make::GlobalPool { activation } => {
            let shape = [height, width, channels];
            let range = GlobalPool::new(shape, vec![]).sum_range(element);
            Arc::new(GlobalPool::new(shape, stairs(activation, channels, range)?))
        }
        Make::Threshold { activation } => {
            Arc::new(Threshold::new(shape.to_vec(), activations(activation, last, element.range(), members)?))
        }
        Make::Upsample { factor } => {
            need(!factor.contains(&0), "a factor of 0")?;
            Arc::new(Upsample::new([height, width, channels], *factor))
        }
        Make::Select { places, channels: list } => {
            let exists = |(from, _): &(Option<usize>, i32)| from.is_none_or(|from| from < channels);
            need(!list.is_empty() && list.iter().all(exists), "no channels of the input")?;
            need(places.iter().all(|(_, step, count)| *step > 0 && *count > 0), "no places")?;
            let places = places.map(|(first, step, count)| Places { first, step, count });
            let list = list.iter().map(|(from, value)| Channel { from: *from, value: *value }).collect();
            Arc::new(Select::new([height, width, channels], places, list))
        }
        Make::Transpose { axes } => {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            need(sorted.into_iter().eq(0..shape.len()) && shape.len() <= 8, "no permutation of the axes")?;
            Arc::new(Transpose::new(shape.to_vec(), axes.clone()))
        }
        Make::Scale { most, bias, seed } => {
            let mut rng = random(*seed);
            let mut numbers =
                |most: i32| -> Vec<i32> { (0..last).map(|_| rng.random_range(-most..=most)).collect() };
            need((0..1 << 15).contains(most) && *bias >= 0, "no factor of 16 bits")?;
            let (factors, biases) = (numbers(*most), numbers(*bias));
            Arc::new(Scale::new(shape.to_vec(), factors, biases))
        }
        Make::TopK { k } => {
            let classes = inputs[0].elements();
            need(classes >= 2 && (1..=classes).contains(k), "no choice")?;
            Arc::new(TopK::new(classes, *k))
        }
        Make::Add { factors, activation } => {
            need(factors.len() == inputs.len() && factors.len() > 1 && !factors.contains(&0), "no factors")?;
            let elements: Vec<Element> = inputs.iter().map(|port| port.element).collect();
            let range = Add::new(shape.to_vec(), factors.clone(), vec![]).sum_range(&elements);
            Arc::new(Add::new(shape.to_vec(), factors.clone(), stairs(activation, last, range)?))
        }
        Make::Mul { activation } => {
            need(inputs.len() == 2, "no two inputs")?;
            let range = Mul::range(inputs[0].element, inputs[1].element);
            Arc::new(Mul::new(shape.to_vec(), stairs(activation, last, range)?))
        }
        Make::Concat => {
            let pixels: usize = shape[..shape.len() - 1].iter().product();
            let fits = |port: &Port| port.elements().is_multiple_of(pixels);
            need(inputs.len() > 1 && inputs.iter().all(fits), "no channels of the same pixels")?;
            let channels = inputs.iter().map(|port| port.elements() / pixels).collect();
            Arc::new(Concat::new(&shape[..shape.len() - 1], channels))
        }
    })
}

fn product(
    weights: &Weights,
    rows: usize,
    fan_in: usize,
    members: usize,
    activations: Vec<Activation>,
) -> Result<Product, Illegal> {
    need(rows > 0 && fan_in > 0 && members > 0, "no weights")?;
    let of = |seed: u64, least: i16, most: i16| {
        let mut rng = random(seed);
        IntMatrix::from_fn(rows, fan_in, |_, _| rng.random_range(least..=most))
    };
    Ok(match *weights {
        Weights::Binary { seed } => {
            let mut rng = random(seed);
            let sign = |_, _| if rng.random() { 1 } else { -1 };
            Product::new(IntMatrix::from_fn(rows, fan_in, sign), activations)
        }
        Weights::Ternary { seed } => Product::new(of(seed, -1, 1), activations),
        Weights::Few { bits, seed } => {
            need((2..=9).contains(&bits), "2 to 9 bits")?;
            let end = 1 << (bits - 1);
            Product::new(of(seed, -end, end - 1), activations)
        }
        Weights::Stochastic { law, bits, share, realisation, seed } => {
            need((1..=16).contains(&bits) && share > 0, "no rounding")?;
            let mut rng = random(seed);
            let rounding = Rounding { law, bits, share, seed };
            let real = |_, _| rng.random_range(-1.2f32..=1.2);
            let matrix = StochasticMatrix::from_fn(rounding, 1, (rows, fan_in), real);
            Product::stochastic(Stochastic { matrix, realisation, members }, activations)
        }
    })
}

fn activations(
    of: &Staircase,
    rows: usize,
    (least, most): (i64, i64),
    members: usize,
) -> Result<Vec<Activation>, Illegal> {
    need(least > -(1 << 30) && most < 1 << 30, "sums that are too wide")?;
    let mut rng = random(of.seed);
    let (low, high) = of.element.range();
    let room = if of.element == Element::Bipolar { 1 } else { (high - low) as usize };
    let steps = of.steps.min(room);
    need(steps > 0, "no thresholds")?;
    let first = low as i32 + rng.random_range(0..=room - steps) as i32;
    let mut one = || {
        let mut row = || {
            let mut row: Vec<i32> =
                (0..steps).map(|_| rng.random_range(least - 1..=most + 1) as i32).collect();
            row.sort_unstable();
            row
        };
        let rising = Activation::rising(of.element, first, (0..rows).map(|_| row()).collect());
        let falls = if of.falls { (0..rows).map(|_| rng.random()).collect() } else { vec![] };
        Activation { falls, ..rising }
    };
    Ok((0..if of.own { members } else { 1 }).map(|_| one()).collect())
}

/// Whether a convolution of the recipe has a group for each of several channels.
pub fn depthwise(recipe: &Recipe) -> bool {
    let Ok((network, _)) = build(recipe) else { return false };
    let is = |(index, own): (usize, &LayerRecipe)| match &own.make {
        Make::Conv { groups, .. } => {
            let port = &network.inputs(index)[0];
            *groups > 1 && image(own.view.as_ref().unwrap_or(&port.shape))[2] == *groups
        }
        _ => false,
    };
    recipe.layers.iter().enumerate().any(is)
}

/// The zones of a window that pads: rows and columns by the number of taps that lie in the image.
fn zones(window: &Window) -> Option<Zones> {
    let [height, width] = window.output();
    let seen = |axis: usize, place: usize| {
        let at = |tap: usize| {
            (place * window.stride[axis] + tap * window.dilation[axis]).checked_sub(window.before[axis])
        };
        (0..window.kernel[axis]).filter(|tap| at(*tap).is_some_and(|at| at < window.input[axis])).count()
    };
    let parts = |axis: usize, extent: usize| -> Vec<usize> {
        let counts: Vec<usize> = (0..extent).map(|place| seen(axis, place)).collect();
        let mut kinds: Vec<usize> = Vec::new();
        counts.iter().for_each(|count| {
            if !kinds.contains(count) {
                kinds.push(*count)
            }
        });
        counts.iter().filter_map(|count| kinds.iter().position(|kind| kind == count)).collect()
    };
    window.pads().then(|| Zones::new(parts(0, height), parts(1, width)))
}
