//! Graphs with images in the making, and what must hold of them: the network computes what the graph says, and engines agree.

use rand::RngExt;
use stoxnor::engine::Conditions;
use stoxnor::import;
use stoxnor::lower::lower;
use stoxnor::network::Network;

use crate::conformance::{Effort, agree, random, random_folds, random_frames};
use crate::graph::equals_float_graph;
use crate::onnx::{Attribute, Builder, Sliding};

/// A graph in the making. Weights are random; scales are powers of two, so that float32 is exact.
pub struct Making {
    /// The graph.
    pub m: Builder,
    /// The running tensor.
    pub x: String,
    /// Draws weights.
    pub rng: rand_chacha::ChaCha8Rng,
}

impl Making {
    /// An image of 8-bit pixels, quantised by the graph to signed bytes.
    pub fn new(seed: u64, shape: &[usize]) -> Self {
        let mut m = Builder::new(shape);
        let x = m.scalar("Sub", "x", 128.0);
        let x = m.quant(&x, 1.0, 8, true, "ROUND");
        Self { m, x, rng: random(seed) }
    }

    /// Adds what `f` adds behind the running tensor.
    pub fn then(&mut self, f: impl FnOnce(&mut Builder, &str) -> String) -> &mut Self {
        self.x = f(&mut self.m, &self.x);
        self
    }

    /// A constant of random `values`.
    pub fn weights(&mut self, shape: &[usize], values: &[f32]) -> String {
        let n = shape.iter().product();
        let w: Vec<f32> = (0..n).map(|_| values[self.rng.random_range(0..values.len())]).collect();
        self.m.floats(shape, &w)
    }

    /// Conv of [outputs, channels of a group, taps..].
    pub fn conv(&mut self, shape: &[usize], groups: i64, how: Sliding<'_>, values: &[f32]) -> &mut Self {
        let w = self.weights(shape, values);
        self.then(|m, x| m.conv(x, &w, None, groups, how))
    }

    /// Batch normalisation with gammas of any sign, whose standard deviation is a power of two.
    pub fn normalise(&mut self, channels: usize) -> &mut Self {
        let rng = &mut self.rng;
        let mut list = |values: &[f32]| -> Vec<f32> {
            (0..channels).map(|_| values[rng.random_range(0..values.len())]).collect()
        };
        let gamma = list(&[0.25, -0.25, 0.5, -0.125, 1.0]);
        let (beta, mean) = (list(&[0.0, 0.5, -0.75, 1.0]), list(&[0.0, 3.0, -2.0]));
        self.then(|m, x| {
            let c = [gamma, beta, mean, vec![1.0; channels]].map(|v| m.floats(&[v.len()], &v));
            let [g, b, me, v] = &c;
            m.node("BatchNormalization", &[x, g, b, me, v], vec![Attribute::float("epsilon", 0.0)])
        })
    }

    /// BipolarQuant of scale 1.
    pub fn bipolar(&mut self) -> &mut Self {
        self.then(|m, x| m.bipolar(x, 1.0))
    }

    /// Unsigned Quant.
    pub fn quant(&mut self, scale: f32, bits: u32) -> &mut Self {
        self.then(|m, x| m.quant(x, scale, bits, false, "ROUND"))
    }

    /// Transpose.
    pub fn turn(&mut self, perm: &[i64]) -> &mut Self {
        self.then(|m, x| m.node("Transpose", &[x], vec![Attribute::ints("perm", perm)]))
    }

    /// Flatten and a product with `features` by `classes` signs.
    pub fn classes(&mut self, features: usize, classes: usize) -> &mut Self {
        let w = self.weights(&[features, classes], &[1.0, -1.0]);
        self.then(|m, x| {
            let x = m.node("Flatten", &[x], Vec::new());
            m.node("MatMul", &[&x, &w], Vec::new())
        })
    }

    /// The model, of operator set 10.
    pub fn end(self) -> Vec<u8> {
        self.m.finish_at(10, &self.x)
    }
}

/// Random numbers from 0 to 255.
pub fn pixels(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = random(seed);
    (0..n).map(|_| f32::from(rng.random::<u8>())).collect()
}

/// The kinds of the layers.
pub fn kinds(network: &Network) -> Vec<&'static str> {
    network.nodes.iter().map(|n| n.layer.kind()).collect()
}

/// Imports, compares with the float graph on some images, and runs reference, fast and rtl at a random folding.
pub fn holds(what: &str, bytes: &[u8]) -> Network {
    let network = import::read("net", bytes).unwrap_or_else(|e| panic!("{what}: {e}"));
    let graph = import::float_graph(bytes).unwrap();
    let n = graph.input_shape().iter().product();
    for seed in 0..4 {
        assert!(equals_float_graph(&network, &graph, &pixels(seed, n)), "{what}: image {seed}");
    }
    let hardware = lower(&network, &random_folds(&mut random(n as u64), &network));
    let frames = random_frames(1, &network, 2);
    let effort = Effort { rtl: 2, verilator: 0, icarus: 0 };
    agree(what, &network, &hardware, &frames, &Conditions::default(), effort);
    network
}

/// Bipolar weights.
pub const SIGNS: [f32; 2] = [1.0, -1.0];
/// Ternary weights.
pub const TRITS: [f32; 3] = [1.0, -1.0, 0.0];
/// 3x3 taps.
pub const K3: Sliding<'static> =
    Sliding { kernel: &[3, 3], strides: &[], dilations: &[], pads: &[], ceil: false };
/// 3x3 taps with padding, so that the image keeps its size.
pub const SAME3: Sliding<'static> = Sliding { pads: &[1, 1, 1, 1], ..K3 };
