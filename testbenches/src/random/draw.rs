//! Drawing recipes: layers that fit the ports that are there, one after another.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use stoxnor::arith::kernel::Fill;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::Law;
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::network::Network;
use stoxnor::unit::folding::{Comparing, Counting, Cuts, Folding, Roms};

use super::Feed;
use super::Geometry;
use super::LayerRecipe;
use super::Make;
use super::Recipe;
use super::Staircase;
use super::Weights;
use super::build;
use crate::conformance::random;

/// How large recipes may become.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Layers, at most.
    pub layers: usize,
    /// Elements of any stream's frame, at most.
    pub elements: usize,
    /// Cycles of all layers together for a frame of all members, at most: a bound of latency and interval.
    pub cycles: u64,
}

impl Size {
    /// What is drawn for the cycle simulator.
    pub const WHOLE: Self = Self { layers: 9, elements: 160, cycles: 2000 };
    /// What is drawn for simulators that have to be compiled.
    pub const SMALL: Self = Self { layers: 5, elements: 48, cycles: 500 };
}

/// The recipe of a seed, always a legal one.
///
/// # Panics
/// Where hundreds in a row are not legal: the drawing is at fault then.
pub fn draw(seed: u64, size: Size) -> Recipe {
    let mut rng = random(seed);
    let recipe = (0..500).find_map(|_| attempt(&mut rng, seed, size));
    recipe.unwrap_or_else(|| panic!("seed {seed}: nothing legal in 500 attempts"))
}

fn attempt(rng: &mut ChaCha8Rng, seed: u64, size: Size) -> Option<Recipe> {
    let ensemble = chance(rng, 45);
    let members = if ensemble { rng.random_range(2..=4) } else { 1 };
    let shape = match rng.random_range(0..10) {
        0..2 => vec![rng.random_range(2..=24)],
        2..4 => vec![rng.random_range(2..=12), rng.random_range(1..=4)],
        _ => vec![rng.random_range(1..=6), rng.random_range(2..=6), rng.random_range(1..=4)],
    };
    let wide = if chance(rng, 10) { 16 } else { 6 };
    let of_frames = (0..rng.random_range(1..=3)).map(|_| rng.random_range(1..=members as u32)).collect();
    let recipe = Recipe {
        seed,
        shape,
        element: element(rng, wide),
        more: vec![],
        layers: vec![],
        exits: vec![],
        members,
        of_frames,
        frames: rng.random_range(2..=4),
        stall: chance(rng, 70).then(|| rng.random_range(0..1000)),
    };
    let mut recipe = recipe;
    recipe.more = more(&recipe);
    let entries = build::entries(&recipe);
    if entries.iter().any(|entry| entry.elements() > size.elements) {
        return None;
    }
    let mut draft = Draft { rng, entries, ports: vec![], recipe, size };
    let wanted = draft.rng.random_range(1..=size.layers);
    for _ in 0..wanted * 8 {
        if draft.ports.len() == wanted {
            break;
        }
        draft.propose();
    }
    draft.finish()
}

/// Further inputs of a recipe, in one of five. They have a random source of their own.
fn more(recipe: &Recipe) -> Vec<(Vec<usize>, Element)> {
    let mut rng = random(!recipe.seed);
    let count = if chance(&mut rng, 20) { rng.random_range(1..=2) } else { 0 };
    let mut one = || {
        let own = vec![rng.random_range(1..=4), rng.random_range(1..=3)];
        let shape = if chance(&mut rng, 60) { recipe.shape.clone() } else { own };
        (shape, element(&mut rng, 4))
    };
    (0..count).map(|_| one()).collect()
}

fn chance(rng: &mut ChaCha8Rng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

fn element(rng: &mut ChaCha8Rng, wide: u32) -> Element {
    match rng.random_range(0..4) {
        0 | 1 => Element::Bipolar,
        2 => Element::Unsigned(rng.random_range(1..=wide)),
        _ => Element::Signed(rng.random_range(1..=wide)),
    }
}

fn seed(rng: &mut ChaCha8Rng) -> u64 {
    rng.random_range(0..1 << 20)
}

struct Draft<'a> {
    rng: &'a mut ChaCha8Rng,
    entries: Vec<Port>,
    ports: Vec<Port>,
    recipe: Recipe,
    size: Size,
}

impl Draft<'_> {
    fn port(&self, from: Feed) -> &Port {
        match from {
            Feed::Layer(index) => &self.ports[index],
            Feed::Input => &self.entries[0],
            Feed::More(index) => &self.entries[1 + index],
        }
    }

    fn all(&self) -> Vec<Feed> {
        let inputs = [Feed::Input].into_iter().chain((0..self.recipe.more.len()).map(Feed::More));
        inputs.chain((0..self.ports.len()).map(Feed::Layer)).collect()
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.rng.random_range(0..list.len())]
    }

    fn taken(&self, from: Feed) -> bool {
        self.recipe.layers.iter().any(|layer| layer.inputs.contains(&from))
    }

    /// Any stream, most often one that nothing takes yet.
    fn stream(&mut self) -> Feed {
        let all = self.all();
        let free: Vec<Feed> = all.iter().copied().filter(|from| !self.taken(*from)).collect();
        if !free.is_empty() && chance(self.rng, 70) { self.pick(&free) } else { self.pick(&all) }
    }

    /// A layer more, if what is drawn fits.
    fn propose(&mut self) {
        let from = self.stream();
        let port = self.port(from).clone();
        let shape = self.view(&port);
        let (inputs, make) = match self.rng.random_range(0..100) {
            0..10 => (vec![from], self.dense()),
            10..30 => (vec![from], self.conv(&shape, port.element)),
            30..38 => {
                let falls = chance(self.rng, 50).then(|| seed(self.rng));
                (vec![from], Make::MaxPool { kernel: self.kernel(&shape), falls })
            }
            38..46 => {
                let activation = self.maybe_stairs();
                (vec![from], Make::AvgPool { kernel: self.kernel(&shape), activation })
            }
            46..51 => (vec![from], Make::GlobalPool { activation: self.maybe_stairs() }),
            51..57 => (vec![from], Make::Threshold { activation: self.stairs() }),
            57..62 => {
                let factor = [self.rng.random_range(1..=3), self.rng.random_range(1..=3)];
                (vec![from], Make::Upsample { factor })
            }
            62..65 => (vec![from], self.select(&shape)),
            65..69 => {
                let mut axes: Vec<usize> = (0..shape.len()).collect();
                (1..axes.len()).for_each(|i| axes.swap(i, self.rng.random_range(0..=i)));
                (vec![from], Make::Transpose { axes })
            }
            69..75 => {
                let (most, bias) = (self.pick(&[1, 3, 20, 127]), self.pick(&[0, 5, 100, 4000]));
                (vec![from], Make::Scale { most, bias, seed: seed(self.rng) })
            }
            75..79 => {
                let most = port.elements().min(5);
                (vec![from], Make::TopK { k: self.rng.random_range(1..=most) })
            }
            79..88 => self.add(from),
            88..91 => self.mul(from),
            _ => self.concat(from, &shape),
        };
        let view = (shape != port.shape).then_some(shape);
        let most = |rng: &mut ChaCha8Rng| if chance(rng, 30) { 1 } else { rng.random_range(1..=24) };
        let cuts = self.pick(&Cuts::ALL);
        let form = self.pick(&Counting::ALL);
        let thresholds = self.pick(&Comparing::ALL);
        let roms = self.pick(&Roms::ALL);
        let fold = Folding { pe: most(self.rng), simd: most(self.rng), cuts, form, thresholds, roms };
        let own = LayerRecipe { inputs, view, fold, make };
        let Ok(inputs) = build::ports(&own.inputs, &self.entries, &self.ports) else { return };
        let Ok((_, output)) = build::layer(&own, &inputs, self.recipe.members) else { return };
        if output.elements() <= self.size.elements && output.element.bits() <= 20 {
            self.recipe.layers.push(own);
            self.ports.push(output);
        }
    }

    /// The shape that a stream's frames are taken for: their own, most often.
    fn view(&mut self, port: &Port) -> Vec<usize> {
        if !chance(self.rng, 15) {
            return port.shape.clone();
        }
        let elements = port.elements();
        let divisors = |n: usize| (1..=n).filter(|d| n.is_multiple_of(*d)).collect::<Vec<_>>();
        let channels = self.pick(&divisors(elements));
        let width = self.pick(&divisors(elements / channels));
        vec![elements / channels / width, width, channels]
    }

    fn kernel(&mut self, shape: &[usize]) -> Geometry {
        let [height, width, _] = build::image(shape);
        let rng = &mut *self.rng;
        // Half of them keep the shape, so that there are residual connections.
        let same = chance(rng, 50);
        let mut axis = |extent: usize| {
            let kernel = rng.random_range(1..=extent.min(3));
            if same {
                let kernel = if extent >= 2 { 3 } else { 1 };
                return [kernel, 1, 1, kernel / 2, kernel / 2];
            }
            let stride = rng.random_range(1..=2);
            let most = if kernel > 1 { ((extent - 1) / (kernel - 1)).clamp(1, 2) } else { 1 };
            let dilation = rng.random_range(1..=most);
            let reach = (kernel - 1) * dilation;
            let pads = chance(rng, 40);
            let mut pad = || if pads { rng.random_range(0..=reach.min(2)) } else { 0 };
            [kernel, stride, dilation, pad(), pad()]
        };
        let (y, x) = (axis(height), axis(width));
        let [kernel, stride, dilation, before, after] = [0, 1, 2, 3, 4].map(|k| [y[k], x[k]]);
        Geometry { kernel, stride, dilation, before, after }
    }

    fn rows(&mut self) -> usize {
        // As many as another stream has channels, so that they can be added.
        let all = self.all();
        let other = self.pick(&all);
        let own = self.port(other).shape.last().copied().unwrap_or(1);
        if chance(self.rng, 50) { own } else { self.rng.random_range(1..=8) }
    }

    fn dense(&mut self) -> Make {
        let all = self.all();
        let other = self.pick(&all);
        let (own, few) = (self.port(other).elements(), self.rng.random_range(1..=12));
        let rows = if chance(self.rng, 40) { own.min(40) } else { few };
        Make::Dense { rows, weights: self.weights(rows), activation: self.maybe_stairs() }
    }

    fn conv(&mut self, shape: &[usize], input: Element) -> Make {
        let [.., channels] = build::image(shape);
        let divisors: Vec<usize> = (1..=channels).filter(|d| channels.is_multiple_of(*d)).collect();
        let groups = match self.rng.random_range(0..4) {
            0 => channels,
            1 => self.pick(&divisors),
            _ => 1,
        };
        let rows = self.rows().div_ceil(groups) * groups;
        let fill = match input {
            Element::Bipolar if chance(self.rng, 50) => Fill::Mask,
            Element::Bipolar => Fill::Value(self.pick(&[-1, 1])),
            _ if chance(self.rng, 60) => Fill::Value(0),
            _ => {
                let (least, most) = input.range();
                Fill::Value(self.rng.random_range(least..=most) as i32)
            }
        };
        let kernel = self.kernel(shape);
        Make::Conv {
            kernel,
            groups,
            fill,
            rows,
            weights: self.weights(rows),
            activation: self.maybe_stairs(),
        }
    }

    fn weights(&mut self, rows: usize) -> Weights {
        let seed = seed(self.rng);
        let kinds = if self.recipe.members > 1 { 8 } else { 5 };
        match self.rng.random_range(0..kinds) {
            0 | 1 => Weights::Binary { seed },
            2 => Weights::Ternary { seed },
            3 => Weights::Few { bits: self.rng.random_range(2..=9), seed },
            // Also without an ensemble: one member is sampled as well.
            4 if self.recipe.members == 1 && !chance(self.rng, 40) => Weights::Binary { seed },
            _ => {
                let bits = if chance(self.rng, 10) { 16 } else { self.rng.random_range(1..=5) };
                let share = match self.rng.random_range(0..3) {
                    0 => 1,
                    1 => rows,
                    _ => self.rng.random_range(1..=rows + 1),
                };
                let law = self.pick(&[Law::Binary, Law::Ternary]);
                let realisation = self.pick(&[Realisation::Fly, Realisation::Sampled, Realisation::Stored]);
                Weights::Stochastic { law, bits, share, realisation, seed }
            }
        }
    }

    fn maybe_stairs(&mut self) -> Option<Staircase> {
        chance(self.rng, 75).then(|| self.stairs())
    }

    fn stairs(&mut self) -> Staircase {
        let element = element(self.rng, 4);
        let steps = if chance(self.rng, 50) { 15 } else { self.rng.random_range(1..=7) };
        let (falls, own) = (chance(self.rng, 40), chance(self.rng, 20));
        Staircase { element, steps, falls, own, seed: seed(self.rng) }
    }

    fn add(&mut self, from: Feed) -> (Vec<Feed>, Make) {
        let elements = self.port(from).elements();
        let alike = |other: &Feed| self.port(*other).elements() == elements;
        let mut others: Vec<Feed> = self.all().into_iter().filter(alike).collect();
        if others.len() > 1 && chance(self.rng, 90) {
            others.retain(|other| *other != from);
        }
        let mut inputs = vec![from];
        (0..if chance(self.rng, 25) { 2 } else { 1 }).for_each(|_| inputs.push(self.pick(&others)));
        if chance(self.rng, 50) {
            inputs.reverse();
        }
        let mut factor = || self.pick(&[1, 1, 1, 1, -1, 2, -3, 5]);
        let factors = inputs.iter().map(|_| factor()).collect();
        (inputs, Make::Add { factors, activation: self.maybe_stairs() })
    }

    fn mul(&mut self, from: Feed) -> (Vec<Feed>, Make) {
        let elements = self.port(from).elements();
        let alike = |other: &Feed| self.port(*other).elements() == elements;
        let others: Vec<Feed> = self.all().into_iter().filter(alike).collect();
        (vec![from, self.pick(&others)], Make::Mul { activation: self.maybe_stairs() })
    }

    /// Rows and columns that are cut away or padded, and channels that stay as they are or not.
    fn select(&mut self, shape: &[usize]) -> Make {
        let [height, width, channels] = build::image(shape);
        let pads = chance(self.rng, 50);
        let places = [height, width].map(|extent| {
            if pads {
                let (before, after) =
                    (self.rng.random_range(0..=extent.min(2)), self.rng.random_range(0..=extent.min(2)));
                (-(before as i64), 1, before + extent + after)
            } else {
                let (first, step) = (self.rng.random_range(0..extent), self.rng.random_range(1..=3));
                (first as i64, step, self.rng.random_range(1..=(extent - first).div_ceil(step)))
            }
        });
        let value = self.pick(&[0, 1, -1, 3]);
        let channels = if chance(self.rng, 50) {
            (0..channels).map(|c| (Some(c), value)).collect()
        } else {
            let any = |rng: &mut ChaCha8Rng| (!chance(rng, 25)).then(|| rng.random_range(0..channels));
            let count = self.rng.random_range(1..=channels + 1);
            (0..count).map(|_| (any(self.rng), self.pick(&[value, 0, 2]))).collect()
        };
        Make::Select { places, channels }
    }

    fn concat(&mut self, from: Feed, shape: &[usize]) -> (Vec<Feed>, Make) {
        let pixels = |shape: &[usize]| shape[..shape.len() - 1].iter().product::<usize>();
        let own = pixels(shape);
        let alike = |other: &Feed| pixels(&self.port(*other).shape) == own;
        let others: Vec<Feed> = self.all().into_iter().filter(alike).collect();
        let mut inputs = vec![from];
        (0..if chance(self.rng, 30) { 2 } else { 1 }).for_each(|_| {
            let other = if others.is_empty() { from } else { self.pick(&others) };
            inputs.push(other);
        });
        (inputs, Make::Concat)
    }

    /// What nothing takes leaves, and sometimes more; foldings become faster until the budget is met.
    fn finish(mut self) -> Option<Recipe> {
        let count = self.ports.len();
        let mut exits: Vec<usize> = (0..count).filter(|index| !self.taken(Feed::Layer(*index))).collect();
        for index in 0..count {
            if !exits.contains(&index) && chance(self.rng, 8) {
                exits.push(index);
            }
        }
        self.recipe.exits = exits;
        for _ in 0..60 {
            let (network, folds) = build::build(&self.recipe).ok()?;
            let cycles = cycles(&network, &folds);
            if cycles.iter().sum::<u64>() <= self.size.cycles {
                self.recipe.layers.iter_mut().zip(&folds).for_each(|(layer, fold)| layer.fold = *fold);
                return Some(self.recipe);
            }
            let slowest = (0..count).max_by_key(|index| cycles[*index])?;
            let lanes = network.nodes[slowest].layer.lanes();
            let own = folds[slowest];
            let next = |legal: &[usize], now: usize| legal.iter().copied().filter(|n| *n > now).min();
            let fold = &mut self.recipe.layers[slowest].fold;
            match (next(&lanes.simd, own.simd), next(&lanes.pe, own.pe)) {
                (Some(simd), _) => *fold = Folding { simd, ..own },
                (None, Some(pe)) => *fold = Folding { pe, ..own },
                (None, None) => return None,
            }
        }
        None
    }
}

/// Cycles of a frame of all members in each layer.
fn cycles(network: &Network, folds: &[Folding]) -> Vec<u64> {
    let most = network.ensemble.as_ref().map_or(1, |e| e.max_members);
    let of = |(index, fold): (usize, &Folding)| {
        let interval = network.nodes[index].layer.schedule(&network.inputs(index), *fold).interval;
        interval * u64::from(network.passes(index, most))
    };
    folds.iter().enumerate().map(of).collect()
}
