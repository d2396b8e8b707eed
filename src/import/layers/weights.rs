//! Pass: turns the constant operand of a matrix product into integer weights and scales, or into real weights to be sampled.
//!
//! A quantiser or an annotation provides the integers directly. Otherwise the values are analysed: {-s, s}, {-s, 0, s}, or small
//! integers times one s. Each form is accepted only if integer times scale reproduces every value exactly.

use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::stochastic::{Rounding, StochasticMatrix};
use crate::diagnostic::{Diagnostic, Diagnostics, OPERATOR_UNSUPPORTED, Result, WEIGHTS_UNSUPPORTED};
use crate::graph::operator::Codes;
use crate::graph::step::Step;
use crate::graph::tensor::Tensor;

/// Maximum fan-in: float32 represents every sum of that number of ±1 exactly.
const MAX_FAN_IN: usize = 1 << 24;
/// Maximum magnitude of a weight: uint8 less any zero point has 9 bits.
const MAX_WEIGHT: f32 = 256.0;
/// Maximum magnitude of the integers that are looked for first in weights without codes.
const FEW: f32 = 128.0;

/// The weights of a layer: a matrix and one scale per output.
#[derive(Debug, PartialEq)]
pub struct Weights {
    /// The matrix, outputs x inputs.
    pub matrix: Matrix,
    /// Scale of each output; positive for integer weights.
    pub scales: Vec<f32>,
}

/// The weight matrix of a layer.
#[derive(Debug, PartialEq)]
pub enum Matrix {
    /// Deterministic integer weights.
    Integers(IntMatrix),
    /// Real weights that are sampled. The stochastic layers are numbered by their layer number, from 1.
    Real(StochasticMatrix),
}

impl Matrix {
    /// The kind of the (sampled) weights.
    pub fn kind(&self) -> WeightKind {
        match self {
            Self::Integers(matrix) => matrix.kind(),
            Self::Real(matrix) => matrix.rounding().law.kind(),
        }
    }
}

/// The number of a layer, and the rounding of its weights if they are sampled.
pub type Sampling = (u64, Option<Rounding>);

/// The constant operand of `product`, a MatMul.
///
/// # Errors
/// If both operands depend on the graph's input.
pub fn constant(product: &Step) -> Result<&Tensor> {
    match (product.position(), &product.constants()[..]) {
        (Some(0), &[None, Some(weights)]) => Ok(weights),
        _ => Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, "both operands depend on the graph's input")
            .help("write the layer as x * W with a constant W of shape [inputs, outputs]")
            .into()),
    }
}

/// Checks that a tensor of shape `before` is one vector that fits `weights`.
pub fn takes(before: &[usize], weights: &Tensor) -> Result<()> {
    match weights.shape[..] {
        [inputs, _] if before.iter().product::<usize>() != inputs => {
            let message = format!(
                "a tensor of shape {before:?} is multiplied by weights of shape {:?}; one vector is supported",
                weights.shape
            );
            Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .help("flatten what enters the layer to [1, inputs]")
                .into())
        }
        _ => Ok(()),
    }
}

/// Reads a weight constant of shape [inputs, outputs] and its codes.
pub fn matrix(weights: &Tensor, codes: Option<&Codes>, (layer, rounding): Sampling) -> Result<Weights> {
    let &[inputs, outputs] = &weights.shape[..] else {
        let message = format!("the weights have shape {:?}, not [inputs, outputs]", weights.shape);
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .help("write the layer as x * W with a constant matrix W")
            .into());
    };
    if inputs == 0 || outputs == 0 || inputs > MAX_FAN_IN {
        let message = format!("weights of shape {:?}; 1 to {MAX_FAN_IN} inputs are supported", weights.shape);
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .help("give every layer inputs and outputs")
            .into());
    }
    let values = weights.floats("the weights")?;
    if let Some(v) = values.iter().find(|v| !v.is_finite()) {
        return Err(unfit(format!("a weight is {v}")));
    }
    match (codes, rounding) {
        (codes, Some(rounding)) => match codes.filter(|c| c.rounding.is_some()) {
            Some(codes) => {
                let scales = scales_of(codes.scales.floats("the scales")?, outputs, |s| s)?;
                Ok(real(rounding, layer, codes.integers.floats("the weights")?, inputs, scales))
            }
            None => Ok(real(rounding, layer, values, inputs, vec![1.0; outputs])),
        },
        (Some(codes), None) => coded(codes, inputs, outputs),
        (None, None) => plain(values, inputs, outputs),
    }
}

fn coded(codes: &Codes, inputs: usize, outputs: usize) -> Result<Weights> {
    let (integers, scales) = (codes.integers.floats("the weights")?, codes.scales.floats("the scales")?);
    if let Some(w) = integers.iter().find(|w| w.fract() != 0.0) {
        return Err(unfit(format!("a weight is {w} times its scale (its zero point is no integer)")));
    }
    if let Some(w) = integers.iter().find(|w| w.abs() > MAX_WEIGHT) {
        return Err(unfit(format!("a weight is {w} times its scale, beyond 9 bits")));
    }
    let of_rows = scales_of(scales, outputs, f32::abs)?;
    let value = |row: usize, column: usize| {
        let at = column * outputs + row;
        integers[at].copysign(integers[at] * scales[at]) as i16
    };
    Ok(Weights { matrix: Matrix::Integers(IntMatrix::from_fn(outputs, inputs, value)), scales: of_rows })
}

/// The scale of every output, after applying `f`. All weights of an output must share it.
fn scales_of(scales: &[f32], outputs: usize, f: fn(f32) -> f32) -> Result<Vec<f32>> {
    if let Some(s) = scales.iter().find(|s| !s.is_normal()) {
        return Err(unfit(format!("the weights have the scale {s}")));
    }
    for (at, s) in scales.iter().enumerate() {
        let first = scales[at % outputs];
        if f(*s) != f(first) {
            let message = format!("the weights of output {} have the scales {first} and {s}", at % outputs);
            return Err(unfit(message));
        }
    }
    Ok(scales[..outputs].iter().map(|s| f(*s)).collect())
}

/// Sampled weights from `values` of shape [inputs, outputs].
fn real(rounding: Rounding, layer: u64, values: &[f32], inputs: usize, scales: Vec<f32>) -> Weights {
    let outputs = scales.len();
    let value = |row: usize, column: usize| values[column * outputs + row];
    let matrix = StochasticMatrix::from_fn(rounding, layer, (outputs, inputs), value);
    Weights { matrix: Matrix::Real(matrix), scales }
}

fn plain(values: &[f32], inputs: usize, outputs: usize) -> Result<Weights> {
    let column = |row: usize| values.iter().skip(row).step_by(outputs);
    let largest: Vec<f32> = (0..outputs).map(|row| column(row).fold(0f32, |m, v| m.max(v.abs()))).collect();
    let few = values.iter().enumerate().all(|(at, v)| *v == 0.0 || v.abs() == largest[at % outputs]);
    let scales = if few {
        // A row of zeros has scale 1.
        Some(largest.iter().map(|s| if *s == 0.0 { 1.0 } else { *s }).collect())
    } else {
        let near = || near_scale(values.iter()).map(|s| vec![s; outputs]);
        let near_each = || (0..outputs).map(|row| near_scale(column(row))).collect::<Option<Vec<f32>>>();
        let exact = [FEW, MAX_WEIGHT].into_iter().find_map(|most| {
            let of_all = scale(values.iter(), most).map(|s| vec![s; outputs]);
            of_all.or_else(|| (0..outputs).map(|row| scale(column(row), most)).collect::<Option<Vec<f32>>>())
        });
        exact.or_else(near).or_else(near_each)
    };
    let Some(scales) = scales else {
        let row = (0..outputs).find(|row| scale(column(*row), MAX_WEIGHT).is_none()).unwrap_or(0);
        let mut magnitudes: Vec<f32> = column(row).map(|v| v.abs()).filter(|v| *v > 0.0).collect();
        magnitudes.sort_by(f32::total_cmp);
        magnitudes.dedup();
        let some: Vec<String> = magnitudes.iter().take(3).map(f32::to_string).collect();
        let message = format!(
            "the {} weights of output {row} have {} magnitudes ({}{}), which are no small integers times one scale",
            inputs,
            magnitudes.len(),
            some.join(", "),
            if magnitudes.len() > 3 { " .." } else { "" }
        );
        return Err(unfit(message));
    };
    if let Some(s) = scales.iter().find(|s| !s.is_normal()) {
        return Err(unfit(format!("the weights have the scale {s}")));
    }
    let value = |row: usize, column: usize| (values[column * outputs + row] / scales[row]).round() as i16;
    Ok(Weights { matrix: Matrix::Integers(IntMatrix::from_fn(outputs, inputs, value)), scales })
}

/// The scale s for which all `values` are exactly s times integers up to `most` in magnitude: 1, else a power of two, else the
/// largest such s.
fn scale<'a>(values: impl Iterator<Item = &'a f32> + Clone, most: f32) -> Option<f32> {
    let magnitudes = values.map(|v| v.abs()).filter(|v| *v > 0.0);
    let (min, max) = magnitudes.clone().fold((f32::INFINITY, 0f32), |(l, m), v| (l.min(v), m.max(v)));
    if max == 0.0 {
        return Some(1.0);
    }
    let fits = |s: f32| {
        s.is_normal()
            && magnitudes.clone().all(|v| {
                let q = (v / s).round();
                q <= most && q * s == v
            })
    };
    if fits(1.0) {
        return Some(1.0);
    }
    // The largest power of two that divides all values, if there is one.
    let powers = (0..24).map(|k| f32::from_bits(min.to_bits() & 0x7f80_0000) * 2f32.powi(-k));
    powers.chain((1..=most as u32).map(|k| min / k as f32)).find(|s| fits(*s))
}

/// The scale of which all `values` are integers of at max 8 bits up to rounding errors, a few of the largest value's last places: what
/// a written-out quantiser of the weights gives, `2 * round(3 * w) / 3 - 1` for example.
fn near_scale<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> Option<f32> {
    let magnitudes = values.map(|v| f64::from(v.abs()));
    let max = magnitudes.clone().fold(0.0, f64::max);
    let slack = max / f64::from(1 << 21);
    let fits = |s: &f64| magnitudes.clone().all(|v| ((v / s).round() * s - v).abs() <= slack);
    if max == 0.0 {
        return Some(1.0);
    }
    // The largest weight is an integer times the scale.
    (1..=FEW as u32).map(|k| max / f64::from(k)).find(fits).map(|s| s as f32)
}

fn unfit(fact: String) -> Diagnostics {
    Diagnostic::new(&WEIGHTS_UNSUPPORTED, fact)
        .help(
            "weights are integers of up to 9 bits times one scale for each output: quantise them in the graph (Quant, DequantizeLinear, BipolarQuant), \
             or have them sampled (StochasticQuant, or weights = { stochastic = \"ternary\" } in the layer's configuration)",
        )
        .into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::graph::tensor::Data;
    use crate::import::layers::activation::tests::step;

    fn product(shape: &[usize], values: &[f32]) -> Step {
        let constant = Tensor::new(shape.to_vec(), Data::Float(values.to_vec())).unwrap();
        step("", "MatMul", &[constant], &[1, shape[1]])
    }

    fn weights(product: &Step, before: &[usize], sampling: Sampling) -> Result<Weights> {
        let constant = constant(product)?;
        takes(before, constant)?;
        matrix(constant, product.codes.as_deref(), sampling)
    }

    impl Weights {
        fn row(&self, row: usize) -> &[i16] {
            match &self.matrix {
                Matrix::Integers(matrix) => matrix.row(row),
                Matrix::Real(_) => panic!("real weights"),
            }
        }
    }

    #[test]
    fn real_weights_keep_their_signs_and_scales() {
        let rounding = Rounding { law: crate::arith::stochastic::Law::Ternary, bits: 2, share: 1, seed: 1 };
        let tensor = |v: &[f32]| Tensor::new(vec![2, 2], Data::Float(v.to_vec())).unwrap();
        let mut p = product(&[2, 2], &[0.5, -1.0, -0.25, 2.0]);
        let codes_of = |found: &Weights| match &found.matrix {
            Matrix::Real(m) => (0..2).flat_map(|r| (0..2).map(move |c| m.code(r, c))).collect::<Vec<_>>(),
            Matrix::Integers(_) => panic!("integers"),
        };
        // Asked for by the configuration: the values as they stand, beyond 1 clipped.
        let found = weights(&p, &[1, 2], (1, Some(rounding))).unwrap();
        assert_eq!((codes_of(&found), &found.scales[..]), (vec![2, -1, -4, 4], &[1.0, 1.0][..]));
        // Told by the file: scales stay outside, negative ones too.
        let (integers, scales) = (tensor(&[0.5, 1.0, -0.25, -1.0]), tensor(&[1.0, -3.0, 1.0, -3.0]));
        p.codes = Some(Arc::new(Codes { integers, scales, rounding: Some(rounding) }));
        let found = weights(&p, &[1, 2], (1, Some(rounding))).unwrap();
        assert_eq!((codes_of(&found), &found.scales[..]), (vec![2, -1, 4, -4], &[1.0, -3.0][..]));
    }

    fn read(shape: &[usize], values: &[f32]) -> Weights {
        weights(&product(shape, values), &[1, shape[0]], (1, None)).unwrap()
    }

    #[test]
    fn columns_become_rows_with_their_scale() {
        let found = read(&[3, 2], &[0.5, -2.0, -0.5, 2.0, 0.5, 2.0]);
        assert_eq!(found.scales, [0.5, 2.0]);
        let wanted = [[1, -1, 1], [-1, 1, 1]];
        assert_eq!(found.matrix, Matrix::Integers(IntMatrix::from_fn(2, 3, |r, c| wanted[r][c])));
        let ternary = read(&[2, 2], &[0.3, 0.0, 0.0, 0.0]);
        assert_eq!((ternary.scales, ternary.matrix.kind()), (vec![0.3, 1.0], WeightKind::Ternary));
    }

    #[test]
    fn small_integers_are_seen_in_plain_values() {
        let whole = read(&[2, 2], &[4.0, -2.0, 6.0, 127.0]);
        assert_eq!((whole.scales[0], whole.row(0), whole.row(1)), (1.0, &[4, 6][..], &[-2, 127][..]));
        let dyadic = read(&[2, 2], &[0.375, -0.25, 0.5, 1.0]);
        assert_eq!((dyadic.scales[1], dyadic.row(0)), (0.125, &[3, 4][..]));
        let s = 0.123_456_7f32;
        let odd = read(&[4, 1], &[3.0 * s, -7.0 * s, 2.0 * s, 0.0]);
        assert_eq!(odd.row(0).iter().map(|w| w.signum()).collect::<Vec<_>>(), [1, -1, 1, 0]);
        assert_eq!(f32::from(odd.row(0)[1]) * odd.scales[0], -7.0 * s);
        let mixed = read(&[2, 2], &[1.0, 0.017, 3.0, 0.034]);
        assert_eq!((mixed.row(0), mixed.row(1), mixed.scales[0]), (&[1, 3][..], &[1, 2][..], 1.0));
    }

    #[test]
    fn weights_of_a_written_out_quantiser_are_integers_up_to_rounding_errors() {
        // 2 * round(3 * w) / 3 - 1 in float32.
        let of = |n: f32| n * 2.0 / 3.0 - 1.0;
        let values = [of(0.0), of(1.0), of(2.0), of(3.0)].map(|v: f32| v * 0.718_862_3);
        let found = read(&[4, 1], &values);
        assert_eq!(found.row(0), [-3, -1, 1, 3]);
        assert!((found.scales[0] * 3.0 - 0.718_862_3).abs() < 1e-6);
    }

    #[test]
    fn codes_are_taken_as_they_are() {
        let tensor = |v: &[f32]| Tensor::new(vec![2, 2], Data::Float(v.to_vec())).unwrap();
        let mut p = product(&[2, 2], &[1.0, -0.75, -2.0, 0.0]);
        let codes = |i: &[f32], s: &[f32]| {
            Some(Arc::new(Codes { integers: tensor(i), scales: tensor(s), rounding: None }))
        };
        p.codes = codes(&[2.0, 3.0, -4.0, 0.0], &[0.5, -0.25, 0.5, -0.25]);
        let found = weights(&p, &[1, 2], (1, None)).unwrap();
        assert_eq!((found.row(0), found.row(1)), (&[2, -4][..], &[-3, 0][..]));
        assert_eq!(found.scales, [0.5, 0.25]);
        for (integers, scales, word) in [
            ([2.0, 3.0, 300.0, 0.0], [0.5; 4], "beyond 9 bits"),
            ([2.5, 3.0, 3.0, 0.0], [0.5; 4], "zero point"),
            ([1.0; 4], [0.5, 0.5, 0.25, 0.5], "scales 0.5 and 0.25"),
            ([1.0; 4], [0.0; 4], "the scale 0"),
        ] {
            p.codes = codes(&integers, &scales);
            let text = weights(&p, &[1, 2], (1, None)).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_numbers() {
        let said = |shape: &[usize], values: &[f32], before: &[usize]| {
            weights(&product(shape, values), before, (1, None)).unwrap_err().to_string()
        };
        let text = said(&[4, 1], &[1.0, 0.751_234, 0.333_7, -0.1], &[1, 4]);
        assert!(text.contains("4 magnitudes (0.1, 0.3337, 0.751234 ..)"), "{text}");
        assert!(said(&[2, 1], &[1.0, f32::NAN], &[1, 2]).contains("NaN"));
        assert!(said(&[2, 1], &[1.0, 1.0], &[3, 2]).contains("[3, 2]"));
        assert!(said(&[2, 1], &[1e-45, 1e-45], &[1, 2]).contains("the scale 0.000"));
        assert!(said(&[2, 1], &[257.0, 255.0], &[1, 2]).contains("magnitudes"));
    }
}
