//! Networks of ONNX's own quantisers, QuantizeLinear, Clip and DequantizeLinear, and the same ones in QONNX's form.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::onnx::Attribute;
use crate::onnx::Builder;
use crate::onnx::QONNX;
use crate::onnx::TensorProto;

/// ONNX's number of int8.
pub const INT8: i32 = 3;
/// ONNX's number of uint8.
pub const UINT8: i32 = 2;
/// ONNX's number of int32.
pub const INT32: i32 = 6;

/// Integers that one quantiser gives.
#[derive(Debug, Clone, Copy)]
pub struct Bits {
    /// How many bits; below 8 a Clip takes the rest away.
    pub bits: u32,
    /// Whether they are signed.
    pub signed: bool,
    /// The zero point.
    pub zero: i64,
}

impl Bits {
    /// The smallest and the largest integer.
    pub fn range(self) -> (i64, i64) {
        let half = 1 << (self.bits - 1);
        if self.signed { (-half, half - 1) } else { (0, 2 * half - 1) }
    }

    /// The narrowest of ONNX's types that is wide enough in every operator set.
    pub fn kind(self) -> i32 {
        if self.signed { INT8 } else { UINT8 }
    }
}

/// How a network's quantisers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// QuantizeLinear, Clip and DequantizeLinear.
    Qcdq,
    /// QONNX's Quant.
    Quant,
}

impl Builder {
    /// Adds a constant of an integer type of at most 32 bits, and gives its name.
    pub fn integers(&mut self, kind: i32, shape: &[usize], values: &[i64]) -> String {
        let name = format!("c{}", self.graph.initialisers.len());
        let dims = shape.iter().map(|&d| d as i64).collect();
        let int32s = values.iter().map(|&v| v as i32).collect();
        self.graph.initialisers.push(TensorProto {
            name: name.clone(),
            dims,
            kind,
            int32s,
            ..TensorProto::default()
        });
        name
    }

    /// Adds Clip of integers, where they are fewer than those of 8 bits.
    pub fn clip(&mut self, x: &str, to: Bits) -> String {
        if to.bits == 8 {
            return x.to_owned();
        }
        let (low, high) = to.range();
        let [low, high] = [low, high].map(|v| self.integers(to.kind(), &[], &[v]));
        self.node("Clip", &[x, &low, &high], Vec::new())
    }

    /// Adds QuantizeLinear and Clip; `scales` are one, or one for each place on axis 0.
    pub fn quantize(&mut self, x: &str, scales: &[f32], to: Bits) -> String {
        let (shape, zeros) = per_channel(scales, to.zero);
        let scale = self.floats(&shape, scales);
        // Without a zero point the type is uint8.
        let x = if zeros[0] == 0 && !to.signed {
            self.node("QuantizeLinear", &[x, &scale], vec![Attribute::int("axis", 0)])
        } else {
            let zero = self.integers(to.kind(), &shape, &zeros);
            self.node("QuantizeLinear", &[x, &scale, &zero], vec![Attribute::int("axis", 0)])
        };
        self.clip(&x, to)
    }

    /// Adds DequantizeLinear; `scales` as for [`quantize`](Self::quantize).
    pub fn dequantize(&mut self, x: &str, scales: &[f32], from: Bits) -> String {
        let (shape, zeros) = per_channel(scales, from.zero);
        let scale = self.floats(&shape, scales);
        let zero = self.integers(from.kind(), &shape, &zeros);
        self.node("DequantizeLinear", &[x, &scale, &zero], vec![Attribute::int("axis", 0)])
    }

    /// Adds an activation's quantiser of one scale, in either form.
    pub fn activation(&mut self, x: &str, scale: f32, to: Bits, form: Form) -> String {
        if form == Form::Qcdq {
            let x = self.quantize(x, &[scale], to);
            return self.dequantize(&x, &[scale], to);
        }
        let [scale, zero, bits] = [scale, to.zero as f32, to.bits as f32].map(|v| self.floats(&[], &[v]));
        self.node_of(QONNX, "Quant", &[x, &scale, &zero, &bits], modes(to))
    }
}

fn modes(to: Bits) -> Vec<Attribute> {
    vec![
        Attribute::int("signed", to.signed.into()),
        Attribute::int("narrow", 0),
        Attribute::string("rounding_mode", "ROUND"),
    ]
}

fn per_channel(scales: &[f32], zero: i64) -> (Vec<usize>, Vec<i64>) {
    (if scales.len() == 1 { Vec::new() } else { vec![scales.len()] }, vec![zero; scales.len()])
}

/// The quantisers of activations, one after the other: every width, type and kind of zero point. The zero points are even, so
/// that `Quant`, which adds them before it rounds, breaks ties as ONNX does.
pub const ACTIVATIONS: [Bits; 6] = [
    Bits { bits: 8, signed: false, zero: 0 },
    Bits { bits: 4, signed: true, zero: 0 },
    Bits { bits: 2, signed: false, zero: 0 },
    Bits { bits: 8, signed: false, zero: 128 },
    Bits { bits: 4, signed: false, zero: 6 },
    Bits { bits: 8, signed: true, zero: -38 },
];

/// A random dense network. Weights have 2, 4 and 8 bits by turns, are stored as integers or quantised in the graph, and have one
/// scale or one for each output; activations are those of `activations`, from `first` on; biases have 32 bits. All scales are
/// `unit` times a power of two: where that is 1, the graph's float32 sums are exact, and a sum in four is a tie.
pub fn network(
    seed: u64,
    widths: &[usize],
    (activations, first): (&[Bits], usize),
    unit: f32,
    form: Form,
) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut m = Builder::new(&[1, widths[0]]);
    let at = |layer: usize| activations[(first + layer) % activations.len()];
    let mut before = unit * 0.25;
    let mut x = m.activation("x", before, at(0), form);
    for (layer, pair) in widths.windows(2).enumerate() {
        let &[inputs, outputs] = pair else { continue };
        let to = Bits { bits: [2, 4, 8][(layer + seed as usize) % 3], signed: true, zero: 0 };
        let (low, high) = to.range();
        // Beyond the range as well: the Clip has something to do.
        let integers: Vec<i64> = (0..inputs * outputs)
            .map(|_| rng.random_range((2 * low).max(-128)..=(2 * high).min(127)))
            .collect();
        let channels = if layer % 2 == 0 { outputs } else { 1 };
        let scales: Vec<f32> = (0..channels).map(|_| unit * 2f32.powi(rng.random_range(-5i32..-2))).collect();
        let stored = (layer + seed as usize).is_multiple_of(2);
        let bias: Vec<i64> = (0..outputs).map(|_| rng.random_range(-9i64..=9) * high.max(1)).collect();
        let of = |o: usize| scales[o % scales.len()];

        let latent: Vec<f32> = integers.iter().enumerate().map(|(i, v)| *v as f32 * of(i / inputs)).collect();
        let w = match form {
            Form::Qcdq => {
                let w = if stored {
                    let w = m.integers(INT8, &[outputs, inputs], &integers);
                    m.clip(&w, to)
                } else {
                    let latent = m.floats(&[outputs, inputs], &latent);
                    m.quantize(&latent, &scales, to)
                };
                m.dequantize(&w, &scales, to)
            }
            Form::Quant => {
                let latent = m.floats(&[outputs, inputs], &latent);
                let scale = m.floats(&[channels, 1], &scales);
                let [zero, bits] = [0.0, to.bits as f32].map(|v| m.floats(&[], &[v]));
                m.node_of(QONNX, "Quant", &[&latent, &scale, &zero, &bits], modes(to))
            }
        };
        let units: Vec<f32> = (0..channels).map(|o| before * of(o)).collect();
        let bias = if form == Form::Qcdq {
            let integers = m.integers(INT32, &[outputs], &bias);
            let scale = m.floats(&per_channel(&units, 0).0, &units);
            m.node("DequantizeLinear", &[&integers, &scale], vec![Attribute::int("axis", 0)])
        } else {
            let bias: Vec<f32> =
                bias.iter().enumerate().map(|(o, b)| *b as f32 * units[o % channels]).collect();
            m.floats(&[outputs], &bias)
        };
        x = if layer % 2 == 0 {
            m.node("Gemm", &[&x, &w, &bias], vec![Attribute::int("transB", 1)])
        } else {
            let w = m.node("Transpose", &[&w], vec![Attribute::ints("perm", &[1, 0])]);
            let x = m.node("MatMul", &[&x, &w], Vec::new());
            m.node("Add", &[&x, &bias], Vec::new())
        };
        if layer + 2 == widths.len() {
            break;
        }
        if layer % 3 == 0 {
            x = m.node("Relu", &[&x], Vec::new());
        }
        // A step is so many units of the smallest scale that the sums spread over the levels.
        let next = at(layer + 1);
        let spread =
            (inputs as f32).sqrt() * high.max(1) as f32 * (at(layer).range().1 as f32 / 2.0).max(1.0);
        let steps = (spread / (1u32 << (next.bits - 1)) as f32).log2().round().max(1.0) as i32;
        let least = units.iter().fold(f32::INFINITY, |m, u| m.min(*u));
        before = least * 2f32.powi(steps);
        x = m.activation(&x, before, next, form);
    }
    m.finish(&x)
}
