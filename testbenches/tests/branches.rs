//! Networks with branches: residual blocks, dense blocks, several heads. All engines agree at every boundary, and every FIFO is as deep as it
//! has to be.

use std::sync::Arc;

use rayon::prelude::*;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::kernel::{Fill, Sliding};
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::product::{Product, Stochastic};
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor::arith::window::Window;
use stoxnor::engine::Conditions;
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::layer::add::Add;
use stoxnor::layer::concat::Concat;
use stoxnor::layer::conv::Conv;
use stoxnor::layer::dense::Dense;
use stoxnor::layer::globalpool::GlobalPool;
use stoxnor::layer::maxpool::MaxPool;
use stoxnor::lower::lower;
use stoxnor::network::layer::Layer;
use stoxnor::network::{Network, Source, UnnamedLayer};
use stoxnor::unit::folding::Folding;
use stoxnor_testbenches::conformance::{
    Effort, agree, default_folds, of_layers, random, random_folds, random_frames,
};
use stoxnor_testbenches::random::run::no_entry_too_many;

/// A graph in the making.
struct Graph {
    input: Port,
    found: Vec<UnnamedLayer>,
}

impl Graph {
    fn new(shape: &[usize], element: Element) -> Self {
        Self { input: Port { shape: shape.to_vec(), element }, found: Vec::new() }
    }

    fn push(&mut self, inputs: &[Source], layer: impl Layer + 'static) -> Source {
        let origin = format!("layer {}", self.found.len() + 1);
        self.found.push(UnnamedLayer { origin, inputs: inputs.to_vec(), layer: Arc::new(layer) });
        Source::Layer(self.found.len() - 1)
    }

    /// 3 x 3 over an image of [h, w, channels], padded with -1, and signs.
    fn conv(&mut self, from: Source, [h, w, channels]: [usize; 3], outputs: usize) -> Source {
        let window = Window { before: [1, 1], after: [1, 1], ..Window::plain([h, w], [3, 3]) };
        let kernel = Sliding { window, channels, groups: 1, fill: Fill::Value(-1) };
        let sign = |r: usize, c: usize| if (r * 7 + c * c + r * c).is_multiple_of(3) { 1 } else { -1 };
        let weights = IntMatrix::from_fn(outputs, kernel.fan_in(), sign);
        let activation = Activation::bipolar((0..outputs).map(|r| r as i32 % 5 - 2));
        self.push(&[from], Conv::new(kernel, Product::new(weights, vec![activation])))
    }

    fn dense(&mut self, from: Source, fan_in: usize, rows: usize) -> Source {
        let weights =
            IntMatrix::from_fn(rows, fan_in, |r, c| if (r + c * c).is_multiple_of(2) { 1 } else { -1 });
        self.push(&[from], Dense::new(weights, None))
    }

    fn end(self, exits: &[Source]) -> Network {
        let exits: Vec<usize> = exits
            .iter()
            .map(|exit| match exit {
                Source::Layer(index) => *index,
                Source::Input(_) => unreachable!("an input does not leave"),
            })
            .collect();
        of_layers(self.input, self.found, &exits).expect("a legal network")
    }
}

const SIDE: usize = 5;
const CHANNELS: usize = 4;

/// Two residual blocks, a sum of all pixels and a dense layer. The sums of the first block are requantised to 2 bits, those of the second
/// one to signs.
fn residual() -> Network {
    let image = [SIDE, SIDE, CHANNELS];
    let mut g = Graph::new(&image, Element::Bipolar);
    let stem = g.conv(Source::Input(0), image, CHANNELS);
    let a = g.conv(stem, image, CHANNELS);
    let b = g.conv(a, image, CHANNELS);
    let staircase = Activation::rising(Element::Unsigned(2), 0, vec![vec![-1, 0, 1]; CHANNELS]);
    let first = g.push(&[b, stem], Add::new(image.to_vec(), vec![1, 1], vec![staircase]));
    let window = Window { before: [1, 1], after: [1, 1], ..Window::plain([SIDE, SIDE], [3, 3]) };
    let kernel = Sliding { window, channels: CHANNELS, groups: 1, fill: Fill::Value(0) };
    let weights = IntMatrix::from_fn(CHANNELS, kernel.fan_in(), |r, c| ((r * 5 + c * 3) % 3) as i16 - 1);
    let activation = Activation::bipolar((0..CHANNELS).map(|r| r as i32 - 1));
    let c = g.push(&[first], Conv::new(kernel, Product::new(weights, vec![activation])));
    let signs = Activation::bipolar([0, 1, 2, 3]);
    let second = g.push(&[c, first], Add::new(image.to_vec(), vec![1, 1], vec![signs]));
    let pooled = g.push(&[second], GlobalPool::new(image, vec![]));
    let last = g.dense(pooled, CHANNELS, 5);
    g.end(&[last])
}

/// A dense block: every layer sees the channels of all before it.
fn dense_block() -> Network {
    let image = |channels| [SIDE, SIDE, channels];
    let mut g = Graph::new(&image(2), Element::Bipolar);
    let a = g.conv(Source::Input(0), image(2), 2);
    let joined = |g: &mut Graph, parts: &[Source], channels: Vec<usize>| {
        g.push(parts, Concat::new(&[SIDE, SIDE], channels))
    };
    let x1 = joined(&mut g, &[Source::Input(0), a], vec![2, 2]);
    let b = g.conv(x1, image(4), 2);
    let x2 = joined(&mut g, &[Source::Input(0), a, b], vec![2, 2, 2]);
    let c = g.conv(x2, image(6), 2);
    let x3 = joined(&mut g, &[x2, c], vec![6, 2]);
    let last = g.dense(x3, SIDE * SIDE * 8, 3);
    g.end(&[last])
}

/// A trunk whose image goes to classes, and to a mask; the trunk leaves as well.
fn two_heads() -> Network {
    let image = [SIDE, SIDE, CHANNELS];
    let mut g = Graph::new(&image, Element::Bipolar);
    let trunk = g.conv(Source::Input(0), image, CHANNELS);
    let window = Window { stride: [2, 2], ..Window::plain([SIDE, SIDE], [3, 3]) };
    let kernel = Sliding { window, channels: CHANNELS, groups: CHANNELS, fill: Fill::Nothing };
    let pool = g.push(&[trunk], MaxPool::new(kernel, vec![]));
    let classes = g.dense(pool, 2 * 2 * CHANNELS, 7);
    let mask = g.conv(trunk, image, 1);
    g.end(&[classes, mask, trunk])
}

/// A residual block in an ensemble: the skip connection begins in front of the first stochastic layer, and a head comes before it.
fn sampled(realisation: Realisation) -> Network {
    let image = [4, 4, CHANNELS];
    let mut g = Graph::new(&image, Element::Bipolar);
    let stem = g.conv(Source::Input(0), image, CHANNELS);
    let early = g.dense(stem, 16 * CHANNELS, 2);
    let window = Window { before: [1, 1], after: [1, 1], ..Window::plain([4, 4], [3, 3]) };
    let kernel = Sliding { window, channels: CHANNELS, groups: 1, fill: Fill::Mask };
    let rounding = Rounding { law: Law::Binary, bits: 2, share: 2, seed: 3 };
    let real = |r: usize, c: usize| ((r * 13 + c * 7) % 19) as f32 / 9.0 - 1.0;
    let matrix = StochasticMatrix::from_fn(rounding, 3, (CHANNELS, kernel.fan_in()), real);
    let stochastic = Stochastic { matrix, realisation, members: 3 };
    let activation = Activation::bipolar([0, -2, 3, 1]);
    let branch = g.push(&[stem], Conv::new(kernel, Product::stochastic(stochastic, vec![activation])));
    let sum = g
        .push(&[branch, stem], Add::new(image.to_vec(), vec![1, 1], vec![Activation::bipolar([0, 1, 0, 2])]));
    let last = g.dense(sum, 16 * CHANNELS, 5);
    g.end(&[last, sum, early])
}

fn examples() -> Vec<(&'static str, Network)> {
    vec![
        ("residual", residual()),
        ("dense block", dense_block()),
        ("two heads", two_heads()),
        ("sampled on the fly", sampled(Realisation::Fly)),
        ("sampled into memories", sampled(Realisation::Sampled)),
    ]
}

/// Foldings that keep branches apart in time: serial ones, faster ones, and two random ones.
fn foldings(network: &Network) -> Vec<Vec<Folding>> {
    let random = |seed| random_folds(&mut random(seed), network);
    vec![default_folds(network, 2000), default_folds(network, 300), random(1), random(2)]
}

#[test]
fn all_engines_agree_at_every_boundary() {
    for (what, network) in examples() {
        for (index, folds) in foldings(&network).into_iter().enumerate() {
            let hardware = lower(&network, &folds);
            let frames = random_frames(7, &network, 5);
            let members = if network.ensemble.is_some() { vec![2, 3, 1] } else { vec![] };
            for stall in [None, Some(1), Some(2)] {
                let outside = if index == 0 && stall != Some(2) { 2 } else { 0 };
                let effort = Effort { rtl: 5, verilator: outside, icarus: outside.min(1) };
                let conditions = Conditions { stall, members: members.clone() };
                let context = format!("{what}, {folds:?}, stall {stall:?}");
                agree(&context, &network, &hardware, &frames, &conditions, effort);
            }
        }
    }
}

/// With one entry less in any one FIFO, frames take longer on the rtl engine, or never come.
#[test]
fn no_fifo_has_an_entry_too_many() {
    let all: Vec<(&str, Network, Vec<Folding>)> = examples()
        .into_iter()
        .flat_map(|(what, network)| foldings(&network).into_iter().map(move |f| (what, network.clone(), f)))
        .collect();
    let one = |(what, network, folds): &(&str, Network, Vec<Folding>)| {
        let hardware = lower(network, folds);
        let fifos =
            no_entry_too_many(network, folds, &hardware).unwrap_or_else(|e| panic!("{what}, {folds:?}: {e}"));
        eprintln!("{what}: interval {}, {fifos:?}", hardware.interval(1));
        fifos.len()
    };
    let found: usize = all.par_iter().map(one).sum();
    assert!(found > 20, "{found} FIFOs are a poor test");
}
