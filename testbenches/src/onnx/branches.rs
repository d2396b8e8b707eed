//! Models with branches.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Attribute;
use super::Builder;
use super::Sliding;

/// A model in the making, with random weights of powers of two.
pub struct Model {
    /// Its nodes.
    pub builder: Builder,
    rng: ChaCha8Rng,
}

impl Model {
    /// Of an input `x`.
    pub fn new(seed: u64, shape: &[usize]) -> Self {
        Self { builder: Builder::new(shape), rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Multiples of 1/2.
    pub fn weights(&mut self, shape: &[usize]) -> String {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| f32::from(self.rng.random_range(-1i8..=1)) * 0.5).collect();
        self.builder.floats(shape, &values)
    }

    /// 3 x 3 over an image, padded with 0.
    pub fn conv(&mut self, x: &str, [from, to]: [usize; 2]) -> String {
        let w = self.weights(&[to, from, 3, 3]);
        let how = Sliding { kernel: &[3, 3], pads: &[1, 1, 1, 1], ..Sliding::default() };
        self.builder.conv(x, &w, None, 1, how)
    }

    /// A matrix product.
    pub fn dense(&mut self, x: &str, [from, to]: [usize; 2]) -> String {
        let w = self.weights(&[from, to]);
        self.builder.node("MatMul", &[x, &w], vec![])
    }

    /// Batch normalisation of so many channels, some of which fall.
    pub fn normalise(&mut self, x: &str, channels: usize) -> String {
        let mut some = |low: f32, high: f32| -> Vec<f32> {
            (0..channels).map(|_| self.rng.random_range(low..high)).collect()
        };
        let (mut g, b, m, v) = (some(0.2, 1.5), some(-1.0, 1.0), some(-1.0, 1.0), some(0.5, 2.0));
        if channels > 2 {
            g[1] = -g[1];
        }
        self.builder.normalise(x, [&g, &b, &m, &v])
    }

    /// QONNX's Quant.
    pub fn quant(&mut self, x: &str, scale: f32, bits: u32, signed: bool) -> String {
        self.builder.quant(x, scale, bits, signed, "ROUND")
    }

    /// Convolution, normalisation and a quantiser.
    pub fn block(&mut self, x: &str, sizes: [usize; 2], scale: f32) -> String {
        let y = self.conv(x, sizes);
        let y = self.normalise(&y, sizes[1]);
        self.quant(&y, scale, 3, true)
    }

    /// A sum.
    pub fn add(&mut self, a: &str, b: &str) -> String {
        self.builder.node("Add", &[a, b], vec![])
    }

    /// A Relu.
    pub fn relu(&mut self, x: &str) -> String {
        self.builder.node("Relu", &[x], vec![])
    }

    /// The sum of all pixels' channels, as classes.
    pub fn head(&mut self, x: &str, [channels, classes]: [usize; 2]) -> String {
        let y = self.builder.global_average_pool(x);
        let y = self.builder.node("Flatten", &[&y], vec![]);
        let y = self.dense(&y, [channels, classes]);
        self.builder.scalar("Add", &y, 0.25)
    }

    /// The file with these outputs.
    ///
    /// # Panics
    /// Where there is none.
    pub fn finish(mut self, outputs: &[String]) -> Vec<u8> {
        let (last, others) = outputs.split_last().unwrap();
        for name in others {
            self.builder.output(name);
        }
        self.builder.finish(last)
    }
}

/// Two blocks as Brevitas exports them: sums of quantised branches, a Relu and a quantiser.
pub fn residual(seed: u64, scales: [f32; 2]) -> Vec<u8> {
    let mut m = Model::new(seed, &[1, 2, 4, 8]);
    let x = m.quant("x", 0.25, 4, true);
    let stem = m.block(&x, [2, 4], 0.5);
    let a = m.block(&stem, [4, 4], 0.5);
    let b = m.block(&a, [4, 4], scales[0]);
    let sum = m.add(&b, &stem);
    let sum = m.relu(&sum);
    let first = m.quant(&sum, scales[1], 3, false);
    let c = m.block(&first, [4, 4], 0.25);
    let sum = m.add(&first, &c);
    let second = m.builder.bipolar(&sum, 1.0);
    let y = m.head(&second, [4, 3]);
    m.finish(&[y])
}

/// A random graph on images of 4 x 4 pixels. Mostly it can be read; where scales do not fit it cannot.
pub fn random(seed: u64) -> Vec<u8> {
    let mut m = Model::new(seed, &[1, 2, 4, 4]);
    let scale = |m: &mut Model| [0.25, 0.5, 0.5, 1.0][m.rng.random_range(0..4)];
    let x = m.quant("x", 0.5, 3, true);
    // Tensors and their channels.
    let mut all = vec![(x, 2)];
    let mut outputs = Vec::new();
    for _ in 0..m.rng.random_range(3..8) {
        let (a, channels) = all[m.rng.random_range(0..all.len())].clone();
        let same: Vec<String> = all.iter().filter(|(_, c)| *c == channels).map(|(t, _)| t.clone()).collect();
        let b = same[m.rng.random_range(0..same.len())].clone();
        let made = match m.rng.random_range(0..12) {
            0..=2 => {
                let (to, s) = (m.rng.random_range(1..4), scale(&mut m));
                (m.block(&a, [channels, to], s), to)
            }
            3 => {
                let s = scale(&mut m);
                (m.block(&a, [channels, channels], s), channels)
            }
            4 => {
                let (sum, s) = (m.add(&a, &b), scale(&mut m));
                let sum = if m.rng.random() { m.relu(&sum) } else { sum };
                (m.quant(&sum, s, 3, true), channels)
            }
            5 => (m.add(&a, &b), channels),
            6 => {
                let (difference, s) = (m.builder.node("Sub", &[&a, &b], vec![]), scale(&mut m));
                (m.quant(&difference, s, 2, true), channels)
            }
            7 => {
                // A shortcut around a convolution whose sums are quantised behind the Add only.
                let raw = m.conv(&a, [channels, channels]);
                let raw = if m.rng.random() { m.normalise(&raw, channels) } else { raw };
                let (sum, s) = (m.add(&raw, &b), scale(&mut m));
                (m.quant(&sum, s, 3, true), channels)
            }
            8 => {
                let (product, s) = (m.builder.node("Mul", &[&a, &b], vec![]), scale(&mut m));
                (if m.rng.random() { m.quant(&product, s, 3, true) } else { product }, channels)
            }
            9 => {
                let mean = m.rng.random();
                let (sum, s) = (
                    m.builder.node(if mean { "Mean" } else { "Sum" }, &[&a, &b, &a, &b], vec![]),
                    scale(&mut m),
                );
                (m.quant(&sum, s, 3, true), channels)
            }
            10 => {
                // One quantiser for all branches.
                let (other, more) = all[m.rng.random_range(0..all.len())].clone();
                let raw = m.conv(&a, [channels, 2]);
                let both = m.builder.node("Concat", &[&raw, &other], vec![Attribute::int("axis", 1)]);
                let (both, s) = (m.normalise(&both, 2 + more), scale(&mut m));
                (m.quant(&both, s, 3, true), 2 + more)
            }
            _ => {
                let (other, more) = all[m.rng.random_range(0..all.len())].clone();
                let axis = vec![Attribute::int("axis", 1)];
                (m.builder.node("Concat", &[&a, &other], axis), channels + more)
            }
        };
        if m.rng.random_range(0..5) == 0 {
            outputs.push(made.0.clone());
        }
        all.push(made);
    }
    let (last, channels) = all.last().cloned().unwrap_or_default();
    let y = m.head(&last, [channels, 2]);
    outputs.push(y);
    m.finish(&outputs)
}
