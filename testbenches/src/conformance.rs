//! The conformance kit: one set of demands that every layer kind, network and folding has to meet on every engine.

use std::sync::Arc;

use indicatif::ProgressBar;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor::engine::compare::{Report, check};
use stoxnor::engine::{Conditions, Engine};
use stoxnor::engine::{Figures, run};
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::graph::step::HostGraph;
use stoxnor::layer::dense::{Dense, Stochastic};
use stoxnor::lower::plan::Run;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::layer::Layer;
use stoxnor::network::{Entry, Network, Output, Source, UnnamedLayer};
use stoxnor::unit::folding::{Comparing, Counting, Cuts, Folding, Lanes, Roms};

/// Members of a frame where a test says nothing.
pub const MEMBERS: u32 = 3;

/// Most members that [`random_sampled`] builds.
pub const MOST_MEMBERS: usize = 8;

/// A source of random numbers that is the same on every machine and in every version.
pub fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A network of one layer; where it takes several streams, of one more for each of them.
pub fn single(ports: Vec<Port>, layer: Arc<dyn Layer>) -> Network {
    match &ports[..] {
        [port] => chain(port.clone(), vec![layer]),
        _ => fed(&ports, layer, 1),
    }
}

/// A layer that takes what dense layers make of one input, one for each of its ports. Their thresholds differ between so many members.
pub fn fed(ports: &[Port], layer: Arc<dyn Layer>, members: usize) -> Network {
    let mut rng = random(ports.len() as u64);
    let fan_in = 6;
    let mut found: Vec<UnnamedLayer> = Vec::new();
    for port in ports {
        let (least, most) = port.element.range();
        let steps = if port.element == Element::Bipolar { 1 } else { (most - least).min(9) };
        let first = least + if steps < most - least { rng.random_range(0..most - least - steps) } else { 0 };
        let weights = IntMatrix::from_fn(port.elements(), fan_in, |_, _| rng.random_range(-1..=1));
        let activations = (0..members).map(|_| {
            let mut row = || {
                let mut row: Vec<i32> = (0..steps).map(|_| rng.random_range(-4..=4)).collect();
                row.sort_unstable();
                row
            };
            let rows = (0..port.elements()).map(|_| row()).collect();
            Activation::rising(port.element, first as i32, rows)
        });
        let dense = Dense::with(weights, activations.collect());
        found.push(UnnamedLayer {
            origin: "feeder".into(),
            inputs: vec![Source::Input(0)],
            layer: Arc::new(dense),
        });
    }
    let inputs = (0..ports.len()).map(Source::Layer).collect();
    found.push(UnnamedLayer { origin: "layer".into(), inputs, layer });
    of_layers(Port { shape: vec![fan_in], element: Element::Bipolar }, found, &[]).expect("a legal network")
}

/// Foldings of a network whose last layer has this one.
pub fn folds_to(network: &Network, last: Folding) -> Vec<Folding> {
    let mut folds = default_folds(network, 64);
    *folds.last_mut().expect("a layer") = last;
    folds
}

/// The lanes of a network's last layer.
pub fn last_lanes(network: &Network) -> Lanes {
    network.nodes.last().expect("a layer").layer.lanes()
}

/// A network of layers in a chain, without a host part.
pub fn chain(input: Port, layers: Vec<Arc<dyn Layer>>) -> Network {
    let found = layers
        .into_iter()
        .enumerate()
        .map(|(i, layer)| UnnamedLayer {
            origin: format!("layer {}", i + 1),
            inputs: vec![if i == 0 { Source::Input(0) } else { Source::Layer(i - 1) }],
            layer,
        })
        .collect();
    of_layers(input, found, &[]).expect("a legal network")
}

/// A network without a host part. What leaves it are the layers of `exits`; the last one, where none are given.
///
/// # Errors
/// Where a layer does not fit, or leads nowhere.
pub fn of_layers(
    input: Port,
    found: Vec<UnnamedLayer>,
    exits: &[usize],
) -> stoxnor::diagnostic::Result<Network> {
    of_inputs(vec![input], found, exits)
}

/// [`of_layers`] with several inputs, `x0`, `x1` and so on.
///
/// # Errors
/// If a layer does not fit, or an input or a layer leads nowhere.
pub fn of_inputs(
    inputs: Vec<Port>,
    found: Vec<UnnamedLayer>,
    exits: &[usize],
) -> stoxnor::diagnostic::Result<Network> {
    let entry = |(index, port): (usize, Port)| Entry {
        name: format!("x{index}"),
        front: HostGraph::identity(vec![1, port.elements()]),
        port,
    };
    let entries = inputs.into_iter().enumerate().map(entry).collect();
    let last = [found.len() - 1];
    let exits = if exits.is_empty() { &last[..] } else { exits };
    let output = |layer: &usize| Output {
        name: format!("y{layer}"),
        layer: *layer,
        tail: HostGraph::identity(vec![1, 1]),
    };
    let outputs = exits.iter().map(output).collect();
    Network::new("conformance", String::new(), entries, found, MEMBERS, outputs)
}

/// A chain of random dense layers of the given sizes (input first); the last layer's integers leave as they are.
pub fn random_dense(seed: u64, sizes: &[usize]) -> Network {
    let mut rng = random(seed);
    let layers = sizes
        .windows(2)
        .enumerate()
        .map(|(i, pair)| {
            let (fan_in, rows) = (pair[0], pair[1]);
            let weights = IntMatrix::from_fn(rows, fan_in, |_, _| if rng.random() { 1 } else { -1 });
            let hidden = i + 2 < sizes.len();
            let spread = (fan_in as f64).sqrt().ceil() as i32;
            let activation =
                hidden.then(|| Activation::bipolar((0..rows).map(|_| rng.random_range(-spread..=spread))));
            Arc::new(Dense::new(weights, activation)) as Arc<dyn Layer>
        })
        .collect();
    chain(Port { shape: vec![sizes[0]], element: Element::Bipolar }, layers)
}

/// A chain of random dense layers with weights, inputs and activations of random kinds; the last layer's sums leave as they are.
pub fn random_few_bit(seed: u64, sizes: &[usize]) -> Network {
    let mut rng = random(seed);
    let mut element = |most: u32| match rng.random_range(0..3) {
        0 => Element::Bipolar,
        1 => Element::Unsigned(rng.random_range(1..=most)),
        _ => Element::Signed(rng.random_range(1..=most)),
    };
    let elements: Vec<Element> = (0..sizes.len()).map(|i| element(if i == 0 { 16 } else { 4 })).collect();
    let mut layers: Vec<Arc<dyn Layer>> = Vec::new();
    for (i, pair) in sizes.windows(2).enumerate() {
        let (fan_in, rows) = (pair[0], pair[1]);
        let weights = match rng.random_range(0..3) {
            0 => IntMatrix::from_fn(rows, fan_in, |_, _| if rng.random() { 1 } else { -1 }),
            1 => IntMatrix::from_fn(rows, fan_in, |_, _| rng.random_range(-1..=1)),
            _ => {
                let most = 1 << rng.random_range(1..8);
                IntMatrix::from_fn(rows, fan_in, |_, _| rng.random_range(-most..most))
            }
        };
        let output = elements[i + 1];
        let activation = (i + 2 < sizes.len()).then(|| {
            let (least, most) = Dense::new(weights.clone(), None).sum_range(elements[i]);
            let (low, high) = output.range();
            let steps = if output == Element::Bipolar { 1 } else { (high - low) as usize };
            let mut row = || {
                let mut row: Vec<i32> =
                    (0..steps).map(|_| rng.random_range(least - 2..=most + 2) as i32).collect();
                row.sort_unstable();
                row
            };
            Activation::rising(output, low as i32, (0..rows).map(|_| row()).collect())
        });
        layers.push(Arc::new(Dense::new(weights, activation)));
    }
    chain(Port { shape: vec![sizes[0]], element: elements[0] }, layers)
}

/// What a chain of random stochastic layers is to be like.
#[derive(Debug, Clone)]
pub struct Sampled {
    /// The rounding of every stochastic layer.
    pub rounding: Rounding,
    /// How each layer is held, beginning again where there are more layers; `None` is a layer of weights that are what they are.
    pub realisations: Vec<Option<Realisation>>,
    /// Members that are built.
    pub members: usize,
    /// Whether activations differ between members.
    pub own_thresholds: bool,
}

/// A chain of random dense layers as [`random_dense`], with stochastic weights; some rows fall. The same seed and sizes give the same real
/// weights, whatever else is asked for.
pub fn random_sampled(seed: u64, sizes: &[usize], sampled: &Sampled) -> Network {
    random_sampled_of(Element::Bipolar, seed, sizes, sampled)
}

/// A small ensemble of up to 4 members, whose ternary weights are sampled on the fly.
pub fn ensemble() -> Network {
    let rounding = Rounding { law: Law::Ternary, bits: 2, share: 1, seed: 5 };
    let realisations = vec![Some(Realisation::Fly)];
    let sampled = Sampled { rounding, realisations, members: 4, own_thresholds: false };
    random_sampled(3, &[24, 8, 5], &sampled)
}

/// [`random_sampled`] with an input and activations of this type.
pub fn random_sampled_of(element: Element, seed: u64, sizes: &[usize], sampled: &Sampled) -> Network {
    let mut rng = random(seed);
    let mut stairs = random(!seed);
    let (least, most) = element.range();
    let layers = sizes
        .windows(2)
        .enumerate()
        .map(|(i, pair)| {
            let (fan_in, rows) = (pair[0], pair[1]);
            let reals: Vec<f32> = (0..rows * fan_in).map(|_| rng.random_range(-1.2f32..=1.2)).collect();
            let spread = (fan_in as f64).sqrt().ceil() as i32;
            let thresholds: Vec<Vec<i32>> = (0..MOST_MEMBERS)
                .map(|_| (0..rows).map(|_| rng.random_range(-spread..=spread)).collect())
                .collect();
            let falls: Vec<bool> = (0..rows).map(|_| rng.random_range(0..4) == 0).collect();
            let own = if sampled.own_thresholds { sampled.members } else { 1 };
            let hidden = i + 2 < sizes.len();
            let activations = thresholds.iter().take(if hidden { own } else { 0 });
            let activations = activations
                .map(|t| {
                    let rising = match element {
                        Element::Bipolar => Activation::bipolar(t.iter().copied()),
                        _ => {
                            let end = spread * least.abs().max(most) as i32;
                            let mut row = || {
                                let mut row: Vec<i32> =
                                    (least..most).map(|_| stairs.random_range(-end..=end)).collect();
                                row.sort_unstable();
                                row
                            };
                            Activation::rising(element, least as i32, (0..rows).map(|_| row()).collect())
                        }
                    };
                    Activation { falls: falls.clone(), ..rising }
                })
                .collect();
            let layer = match sampled.realisations[i % sampled.realisations.len()] {
                None => {
                    let sign = |r: usize, c: usize| if reals[r * fan_in + c] < 0.0 { -1 } else { 1 };
                    Dense::with(IntMatrix::from_fn(rows, fan_in, sign), activations)
                }
                Some(realisation) => {
                    let real = |r: usize, c: usize| reals[r * fan_in + c];
                    let matrix =
                        StochasticMatrix::from_fn(sampled.rounding, i as u64 + 1, (rows, fan_in), real);
                    Dense::stochastic(
                        Stochastic { matrix, realisation, members: sampled.members },
                        activations,
                    )
                }
            };
            Arc::new(layer) as Arc<dyn Layer>
        })
        .collect();
    chain(Port { shape: vec![sizes[0]], element }, layers)
}

/// Random input frames for a network.
pub fn random_frames(seed: u64, network: &Network, count: usize) -> Vec<Vec<i32>> {
    let mut rng = random(seed);
    let mut one = |element: Element| match element {
        Element::Bipolar => {
            if rng.random() {
                1
            } else {
                -1
            }
        }
        Element::Unsigned(bits) => rng.random_range(0..1 << bits),
        Element::Signed(bits) => rng.random_range(-1 << (bits - 1)..1 << (bits - 1)),
    };
    let elements = |port: &Port| std::iter::repeat_n(port.element, port.elements());
    let mut frame = || network.entries.iter().flat_map(|entry| elements(&entry.port)).map(&mut one).collect();
    (0..count).map(|_| frame()).collect()
}

/// A random legal folding of every layer, with random cuts.
pub fn random_folds(rng: &mut impl Rng, network: &Network) -> Vec<Folding> {
    network
        .nodes
        .iter()
        .map(|node| {
            let lanes = node.layer.lanes();
            let (pe, simd) = (lanes.pe, lanes.simd);
            let cuts = Cuts::ALL[rng.random_range(0..Cuts::ALL.len())];
            let form = Counting::ALL[rng.random_range(0..Counting::ALL.len())];
            let thresholds = Comparing::ALL[rng.random_range(0..Comparing::ALL.len())];
            Folding {
                pe: pe[rng.random_range(0..pe.len())],
                simd: simd[rng.random_range(0..simd.len())],
                cuts,
                form,
                thresholds,
                roms: Roms::ALL[rng.random_range(0..Roms::ALL.len())],
            }
        })
        .collect()
}

/// The default foldings for a target of cycles a frame.
pub fn default_folds(network: &Network, cycles: u64) -> Vec<Folding> {
    network.nodes.iter().map(|n| n.layer.lanes().default_folding(cycles)).collect()
}

/// Frames that each engine is given.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// For the rtl engine, beside reference and fast.
    pub rtl: usize,
    /// For Verilator; 0 leaves it out.
    pub verilator: usize,
    /// For Icarus; 0 leaves it out.
    pub icarus: usize,
}

/// What every network has to meet: all engines agree on every value, the cycle engines on every cycle, without stalls and with
/// three stall seeds; the schedules' latency and interval are the simulated ones.
///
/// # Panics
/// Where they don't, with the first difference.
pub fn conform(what: &str, network: &Network, folds: &[Folding], effort: Effort) {
    let hardware = lower(network, folds);
    let frames = random_frames(1, network, effort.rtl);
    for stall in [None, Some(1), Some(2), Some(3)] {
        let context = format!("{what}, folds {folds:?}, stall {stall:?}");
        agree(&context, network, &hardware, &frames, &Conditions::stalled(stall), effort);
    }
}

/// One comparison of all engines, for given frames, members and stalls.
///
/// # Panics
/// As [`conform`].
pub fn agree(
    context: &str,
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    conditions: &Conditions,
    effort: Effort,
) {
    let mut runs = vec![(vec![Engine::Reference, Engine::Fast, Engine::Rtl], effort.rtl)];
    for (engine, frames) in [(Engine::Verilator, effort.verilator), (Engine::Icarus, effort.icarus)] {
        if frames > 0 {
            runs.push((vec![Engine::Rtl, engine], frames));
        }
    }
    for (engines, count) in runs {
        let frames = &frames[..count.min(frames.len())];
        let report = compared(network, hardware, frames, &engines, conditions);
        assert!(report.equal, "{context}: {:?}", report.first_difference);
        let due = Figures::of_schedule(hardware, conditions.first_members(network));
        assert_eq!(report.figures, due, "{context}: schedule against simulation");
    }
    on_schedule(context, network, hardware, &frames[..effort.rtl.min(frames.len())], conditions);
}

/// Every beat of every boundary passes on the cycle that the schedules say, under stalls and with other members for every frame too.
///
/// # Panics
/// Where one does not.
pub fn on_schedule(
    context: &str,
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    conditions: &Conditions,
) {
    let hidden = ProgressBar::hidden();
    let results =
        run(Engine::Rtl, network, hardware, frames, conditions, &hidden).expect("the rtl engine runs");
    let members = conditions.members(network, frames.len()).into();
    let due = hardware.plan.times(&Run { members, frames: frames.len(), stall: conditions.stall });
    for (boundary, result) in hardware.boundaries.iter().zip(results) {
        let found = result.cycles.unwrap_or_default();
        assert_eq!(found, due[boundary.link].accepted, "{context}: cycles of {}", boundary.name);
    }
}

/// `check` as the command runs it.
///
/// # Panics
/// Where a tool fails.
pub fn compared(
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    engines: &[Engine],
    conditions: &Conditions,
) -> Report {
    let hidden = ProgressBar::hidden();
    check(network, hardware, frames, engines, conditions, &hidden).expect("tools work")
}
