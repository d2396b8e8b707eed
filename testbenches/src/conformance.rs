//! The conformance kit: one set of demands that every layer kind, network and folding has to meet on every engine.

use std::sync::Arc;

use indicatif::ProgressBar;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::compare::{Report, check};
use stoxnor::engine::{Conditions, Engine, Figures};
use stoxnor::fold::Folding;
use stoxnor::host::HostGraph;
use stoxnor::layer::{
    Layer,
    dense::{Activation, Dense},
};
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::{Element, Found, Network, Port, Source};

/// A source of random numbers that is the same on every machine and in every version.
pub fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A network of one layer.
pub fn single(input: Port, layer: Arc<dyn Layer>) -> Network {
    chain(input, vec![layer])
}

/// A network of layers in a chain, without a host part.
pub fn chain(input: Port, layers: Vec<Arc<dyn Layer>>) -> Network {
    let found = layers
        .into_iter()
        .enumerate()
        .map(|(i, layer)| Found {
            origin: format!("layer {}", i + 1),
            inputs: vec![if i == 0 { Source::Input } else { Source::Layer(i - 1) }],
            layer,
        })
        .collect();
    let front = HostGraph::identity(vec![1, input.elements()]);
    let tail = HostGraph::identity(vec![1, 1]);
    Network::new("conformance", String::new(), front, input, found, tail).expect("a legal network")
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

/// Random input frames for a network.
pub fn random_frames(seed: u64, network: &Network, count: usize) -> Vec<Vec<i32>> {
    let mut rng = random(seed);
    let mut element = || match network.input.element {
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
    (0..count).map(|_| (0..network.input.elements()).map(|_| element()).collect()).collect()
}

/// A random legal folding of every layer.
pub fn random_folds(rng: &mut impl Rng, network: &Network) -> Vec<Folding> {
    network
        .nodes
        .iter()
        .map(|node| {
            let lanes = node.layer.lanes();
            let (pe, simd) = (lanes.pe(), lanes.simd);
            Folding { pe: pe[rng.random_range(0..pe.len())], simd: simd[rng.random_range(0..simd.len())] }
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
        agree(&context, network, &hardware, &frames, stall, effort);
    }
}

/// One comparison of all engines, for given frames and stalls.
///
/// # Panics
/// As [`conform`].
pub fn agree(
    context: &str,
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    stall: Option<u64>,
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
        let report = compared(network, hardware, frames, &engines, stall);
        assert!(report.equal, "{context}: {:?}", report.first_difference);
        assert_eq!(report.figures, Figures::of_schedule(hardware), "{context}: schedule against simulation");
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
    stall: Option<u64>,
) -> Report {
    let hidden = ProgressBar::hidden();
    check(network, hardware, frames, engines, Conditions { stall }, &hidden).expect("tools work")
}
