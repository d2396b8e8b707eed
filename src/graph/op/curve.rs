//! Elementwise functions of one number: rounding, absolute values, and the activations of real networks.
//!
//! Piecewise linear functions are float32, one operation at a time. Every other function is computed in float64 from IEEE
//! operations only ([`exact`](crate::graph::op::exact)) and rounded to the nearest float32 once, so that it is the same on every
//! machine. Runtimes differ from it, and from one another, in the last bit.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::exact::{erf, exp, expm1, log, log1p, sigmoid, tanh};
use crate::graph::operator::Spacing::Lost;
use crate::graph::operator::{Eval, ONNX, Operator, Role, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

/// Operators that aren't ONNX's own, but ONNX Runtime's.
const MICROSOFT: &[&str] = &["", "com.microsoft"];

pub(crate) const OPERATORS: &[Operator] = &[
    curve("Floor", RISING, &[], |_, x| each(x, f32::floor)),
    curve("Ceil", RISING, &[], |_, x| each(x, f32::ceil)),
    curve("Abs", NEITHER, &[], |_, x| absolute(x)),
    // A pole at 0.
    curve("Reciprocal", NEITHER, &[], |_, x| each(x, |v| 1.0 / v)),
    curve("Exp", RISING, &[], |_, x| wide(x, exp)),
    // NaN below 0.
    curve("Log", NEITHER, &[], |_, x| wide(x, log)),
    curve("Tanh", RISING, &[], |_, x| wide(x, tanh)),
    curve("Erf", RISING, &[], |_, x| wide(x, erf)),
    curve("Sigmoid", RISING, &[], |_, x| wide(x, sigmoid)),
    curve("Softplus", RISING, &[], |_, x| wide(x, softplus)),
    curve("Softsign", RISING, &[], |_, x| each(x, |v| v / (1.0 + v.abs()))),
    curve("LeakyRelu", RISING, &["alpha"], |a, x| {
        let alpha = a.float("alpha", 0.01)?;
        each(x, |v| if v < 0.0 { alpha * v } else { v })
    }),
    curve("ThresholdedRelu", RISING, &["alpha"], |a, x| {
        let alpha = a.float("alpha", 1.0)?;
        each(x, |v| if v > alpha || v.is_nan() { v } else { 0.0 })
    }),
    curve("HardSigmoid", RISING, &["alpha", "beta"], |a, x| {
        let (alpha, beta) = (a.float("alpha", 0.2)?, a.float("beta", 0.5)?);
        each(x, |v| hard(alpha * v + beta))
    }),
    curve("HardSwish", NEITHER, &[], |_, x| each(x, |v| v * hard(v * (1.0 / 6.0) + 0.5))),
    curve("Elu", RISING, &["alpha"], |a, x| {
        let alpha = f64::from(a.float("alpha", 1.0)?);
        wide(x, |v| if v < 0.0 { alpha * expm1(v) } else { v })
    }),
    curve("Selu", RISING, &["alpha", "gamma"], |a, x| {
        let alpha = f64::from(a.float("alpha", 1.673_263_2)?);
        let gamma = f64::from(a.float("gamma", 1.050_701)?);
        wide(x, |v| gamma * if v < 0.0 { alpha * expm1(v) } else { v })
    }),
    curve("Celu", RISING, &["alpha"], |a, x| {
        let alpha = f64::from(a.float("alpha", 1.0)?);
        wide(x, |v| if v < 0.0 { alpha * expm1(v / alpha) } else { v })
    }),
    curve("Shrink", RISING, &["bias", "lambd"], |a, x| {
        let (bias, lambd) = (a.float("bias", 0.0)?, a.float("lambd", 0.5)?);
        each(x, |v| {
            if v < -lambd {
                v + bias
            } else if v > lambd {
                v - bias
            } else {
                0.0
            }
        })
    }),
    curve("Mish", NEITHER, &[], |_, x| wide(x, |v| v * tanh(softplus(v)))),
    Operator { domains: MICROSOFT, ..curve("Gelu", NEITHER, &["approximate"], gelu) },
    Operator {
        domains: &["com.microsoft"],
        ..curve("QuickGelu", NEITHER, &["alpha"], |a, x| {
            let alpha = f64::from(a.float("alpha", 1.702)?);
            wide(x, |v| v * sigmoid(alpha * v))
        })
    },
    curve("Swish", NEITHER, &["alpha"], |a, x| {
        let alpha = f64::from(a.float("alpha", 1.0)?);
        wide(x, |v| v * sigmoid(alpha * v))
    }),
    Operator {
        inputs: (2, 2),
        ..curve("PRelu", RISING, &[], |_, x| {
            let (values, slopes) = (x[0].floats("the input")?, x[1].floats("the slope")?);
            let slope = |v: f32, s: f32| if v < 0.0 { s * v } else { v };
            let (shape, out) = tensor::zip((&x[0].shape, values), (&x[1].shape, slopes), slope)?;
            Ok(vec![Tensor { shape, data: Data::Float(out) }])
        })
    },
];

/// Inputs in which a function only rises, or only falls.
const RISING: &[usize] = &[0];
/// A function that may rise and fall.
const NEITHER: &[usize] = &[];

const fn curve(
    name: &'static str,
    monotone: &'static [usize],
    attributes: &'static [&'static str],
    eval: Eval,
) -> Operator {
    let role = Role::Elementwise { monotone, spacing: Lost };
    Operator { name, domains: ONNX, inputs: (1, 1), attributes, role, eval }
}

fn each(x: &[&Tensor], f: impl Fn(f32) -> f32) -> Result<Vec<Tensor>> {
    let data = Data::Float(x[0].floats("the input")?.iter().map(|&v| f(v)).collect());
    Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
}

/// A function in float64, rounded to float32 once.
fn wide(x: &[&Tensor], f: impl Fn(f64) -> f64) -> Result<Vec<Tensor>> {
    each(x, |v| f(f64::from(v)) as f32)
}

fn absolute(x: &[&Tensor]) -> Result<Vec<Tensor>> {
    match &x[0].data {
        Data::Float(_) => each(x, f32::abs),
        Data::Int(v) => {
            let data = Data::Int(v.iter().map(|v| v.saturating_abs()).collect());
            Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
        }
    }
}

/// Clamps to 0 .. 1.
fn hard(v: f32) -> f32 {
    let v = if v < 0.0 { 0.0 } else { v };
    if v > 1.0 { 1.0 } else { v }
}

/// log(1 + exp(x)), without overflow.
fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + log1p(exp(-x)) } else { log1p(exp(x)) }
}

/// 0.5 x (1 + erf(x / sqrt 2)), or its approximation by tanh.
fn gelu(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
    match attributes.text("approximate", "none")? {
        "none" => wide(x, |v| 0.5 * v * (1.0 + erf(v * FRAC_1_SQRT_2))),
        "tanh" => {
            wide(x, |v| 0.5 * v * (1.0 + tanh(FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (v + 0.044_715 * v * v * v))))
        }
        other => Err(unsupported(format!("approximate = {other}; none and tanh are known"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    fn run(name: &str, attributes: &[(&str, f32)], x: &[f32]) -> Vec<f32> {
        let mut a = Attributes::new(20);
        for (name, value) in attributes {
            a.insert(name, Attribute::Float(*value));
        }
        let out = (find("", name).unwrap().eval)(&a, &[&Tensor::vector(x.to_vec())]).unwrap().remove(0);
        out.floats("").unwrap().to_vec()
    }

    #[test]
    fn piecewise_functions_are_their_definitions() {
        let x = [-2.0, -0.5, 0.0, 0.5, 2.0];
        assert_eq!(run("Floor", &[], &x), [-2.0, -1.0, 0.0, 0.0, 2.0]);
        assert_eq!(run("Ceil", &[], &x), [-2.0, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(run("Abs", &[], &x), [2.0, 0.5, 0.0, 0.5, 2.0]);
        assert_eq!(run("LeakyRelu", &[("alpha", 0.25)], &x), [-0.5, -0.125, 0.0, 0.5, 2.0]);
        assert_eq!(run("ThresholdedRelu", &[("alpha", 0.5)], &x), [0.0, 0.0, 0.0, 0.0, 2.0]);
        assert_eq!(run("HardSigmoid", &[("alpha", 0.5)], &x), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(run("HardSwish", &[], &[-4.0, 0.0, 3.0, 5.0]), [0.0, 0.0, 3.0, 5.0]);
        assert_eq!(run("Shrink", &[("bias", 0.5), ("lambd", 0.5)], &x), [-1.5, 0.0, 0.0, 0.0, 1.5]);
        assert_eq!(run("Softsign", &[], &[-1.0, 0.0, 3.0]), [-0.5, 0.0, 0.75]);
        let slopes = Tensor::vector(vec![0.5, 2.0]);
        let x = Tensor::new(vec![2, 2], Data::Float(vec![-1.0, -1.0, 4.0, -3.0])).unwrap();
        let y = (find("", "PRelu").unwrap().eval)(&Attributes::new(9), &[&x, &slopes]).unwrap();
        assert_eq!(y[0].data, Data::Float(vec![-0.5, -2.0, 4.0, -6.0]));
    }

    #[test]
    fn curves_are_the_nearest_float32() {
        // Computed with 50 decimal digits.
        assert_eq!(run("Tanh", &[], &[0.5, -3.0, 1e-5]), [0.462_117_16, -0.995_054_8, 1e-5]);
        assert_eq!(run("Erf", &[], &[0.5, -1.0, 2.5, 5.0]), [0.520_499_9, -0.842_700_8, 0.999_593, 1.0]);
        assert_eq!(
            run("Softplus", &[], &[-20.0, 0.0, 3.0]),
            [2.061_153_6e-9, std::f32::consts::LN_2, 3.048_587_3]
        );
        assert_eq!(run("Sigmoid", &[], &[-2.0, 0.0, 2.0]), [0.119_202_92, 0.5, 0.880_797_1]);
        assert_eq!(run("Elu", &[("alpha", 2.0)], &[-1.0, 1.0]), [-1.264_241_1, 1.0]);
        assert_eq!(run("Selu", &[], &[-1.0, 1.0]), [-1.111_330_7, 1.050_701]);
        assert_eq!(run("Celu", &[("alpha", 2.0)], &[-1.0, 1.0]), [-0.786_938_67, 1.0]);
        assert_eq!(run("Gelu", &[], &[-1.0, 1.0]), [-0.158_655_26, 0.841_344_8]);
        assert_eq!(run("Mish", &[], &[-1.0, 1.0]), [-0.303_401_47, 0.865_098_4]);
        assert_eq!(run("Exp", &[], &[-1.0, 1.0, -200.0]), [0.367_879_45, 2.718_281_7, 0.0]);
        assert_eq!(run("Log", &[], &[1.0, 10.0, 0.0]), [0.0, std::f32::consts::LN_10, f32::NEG_INFINITY]);
        assert!(run("Log", &[], &[-1.0])[0].is_nan());
        for name in ["Exp", "Tanh", "Erf", "Sigmoid", "Softplus", "Elu", "Mish", "Gelu", "Selu", "Celu"] {
            assert!(run(name, &[], &[f32::NAN])[0].is_nan(), "{name}");
        }
    }
}
