//! Elementwise arithmetic in float32 or checked integers.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::exact;
use crate::graph::operator::Spacing::{Kept, Lost, Scaled};
use crate::graph::operator::{Eval, ONNX, Operator, Role, Spacing, invalid, numbers, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[
    arithmetic("Add", 2, &[0, 1], Kept, |_, x| binary(x, |a, b| a + b, i64::checked_add)),
    arithmetic("Sub", 2, &[0, 1], Kept, |_, x| binary(x, |a, b| a - b, i64::checked_sub)),
    arithmetic("Mul", 2, &[0, 1], Scaled, |_, x| binary(x, |a, b| a * b, i64::checked_mul)),
    // c / x has a pole at 0, so Div is monotone in its dividend only.
    arithmetic("Div", 2, &[0], Scaled, |_, x| binary(x, |a, b| a / b, i64::checked_div)),
    Operator { inputs: (1, usize::MAX), ..arithmetic("Sum", 1, &[0], Kept, |_, x| sum(x)) },
    Operator { inputs: (1, usize::MAX), ..arithmetic("Mean", 1, &[0], Kept, |_, x| mean(x)) },
    arithmetic("Neg", 1, &[0], Scaled, |_, x| unary(x[0], |a| -a, i64::checked_neg)),
    // NaN below 0.
    arithmetic("Sqrt", 1, &[], Lost, |_, x| unary(x[0], f32::sqrt, |_| None)),
    arithmetic("Pow", 2, &[], Lost, |_, x| pow(x[0], x[1])),
    Operator {
        name: "BatchNormalization",
        domains: ONNX,
        inputs: (5, 5),
        attributes: &["epsilon", "momentum", "training_mode", "spatial"],
        role: Role::Elementwise { monotone: &[0], spacing: Scaled },
        eval: batch_normalization,
    },
];

const fn arithmetic(
    name: &'static str,
    inputs: usize,
    monotone: &'static [usize],
    spacing: Spacing,
    eval: Eval,
) -> Operator {
    let role = Role::Elementwise { monotone, spacing };
    Operator { name, domains: ONNX, inputs: (inputs, inputs), attributes: &[], role, eval }
}

fn unary(x: &Tensor, float: fn(f32) -> f32, int: fn(i64) -> Option<i64>) -> Result<Vec<Tensor>> {
    let data = match &x.data {
        Data::Float(v) => Data::Float(v.iter().map(|&a| float(a)).collect()),
        Data::Int(v) => Data::Int(v.iter().map(|&a| int(a)).collect::<Option<_>>().ok_or_else(overflow)?),
    };
    Ok(vec![Tensor { shape: x.shape.clone(), data }])
}

fn binary(
    x: &[&Tensor],
    float: impl Fn(f32, f32) -> f32,
    int: fn(i64, i64) -> Option<i64>,
) -> Result<Vec<Tensor>> {
    let (a, b) = (x[0], x[1]);
    let (shape, data) = match (&a.data, &b.data) {
        (Data::Float(v), Data::Float(w)) => {
            let (shape, out) = tensor::zip((&a.shape, v), (&b.shape, w), float)?;
            (shape, Data::Float(out))
        }
        (Data::Int(v), Data::Int(w)) => {
            let (shape, out) = tensor::zip((&a.shape, v), (&b.shape, w), int)?;
            (shape, Data::Int(out.into_iter().collect::<Option<_>>().ok_or_else(overflow)?))
        }
        (v, w) => return Err(invalid(format!("operands of {} and {}", v.kind(), w.kind()))),
    };
    Ok(vec![Tensor { shape, data }])
}

/// The sum, from the first operand to the last.
fn sum(x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let add = |sum: Tensor, x: &&Tensor| {
        binary(&[&sum, x], |a, b| a + b, i64::checked_add).map(|mut out| out.remove(0))
    };
    Ok(vec![x[1..].iter().try_fold(x[0].clone(), add)?])
}

/// The sum divided by the number of operands.
fn mean(x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let count = Tensor::scalar(x.len() as f32);
    binary(&[&sum(x)?[0], &count], |a, b| a / b, |_, _| None)
}

fn overflow() -> crate::diagnostic::Diagnostics {
    invalid("integer arithmetic overflows or divides by 0")
}

/// The exponents 0.5, 1, 2 and 3 are float32, one operation after the other; others are computed in float64 and rounded once.
fn pow(x: &Tensor, exponent: &Tensor) -> Result<Vec<Tensor>> {
    if let (Data::Int(base), Data::Int(e)) = (&x.data, &exponent.data) {
        let power = |b: i64, e: i64| b.checked_pow(u32::try_from(e).ok()?);
        let (shape, out) = tensor::zip((&x.shape, base), (&exponent.shape, e), power)?;
        let data = Data::Int(out.into_iter().collect::<Option<_>>().ok_or_else(overflow)?);
        return Ok(vec![Tensor { shape, data }]);
    }
    x.floats("the base")?;
    let power = |x: f32, e: f32| match e {
        2.0 => x * x,
        3.0 => x * x * x,
        1.0 => x,
        0.0 => 1.0,
        // C's pow(x, 0.5) is +0 for -0 and +infinity for -infinity.
        0.5 if x == 0.0 => 0.0,
        0.5 if x == f32::NEG_INFINITY => f32::INFINITY,
        0.5 => x.sqrt(),
        _ if e.fract() == 0.0 && e.abs() <= 64.0 => {
            let whole = (0..e.abs() as i32).fold(1.0, |power, _| power * f64::from(x));
            (if e < 0.0 { 1.0 / whole } else { whole }) as f32
        }
        _ if x == 0.0 && e > 0.0 => 0.0,
        _ => exact::exp(f64::from(e) * exact::log(f64::from(x))) as f32,
    };
    binary(&[x, &numbers(exponent)], power, |_, _| None)
}

/// Same order of operations as onnxruntime: r = 1 / sqrt(var + epsilon), s = r * gamma, y = x * s + (beta - mean * s).
fn batch_normalization(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    if attributes.int("training_mode", 0)? != 0 {
        return Err(unsupported("training_mode is on; export the model in evaluation mode"));
    }
    if attributes.int("spatial", 1)? != 1 {
        return Err(unsupported("spatial = 0: a normalisation of its own for every position"));
    }
    let epsilon = attributes.float("epsilon", 1e-5)?;
    let values = x[0].floats("the input")?;
    let channels = *x[0].shape.get(1).ok_or_else(|| invalid("the input has no channel axis (axis 1)"))?;
    let mut parameters: [&[f32]; 4] = [&[]; 4];
    for ((slot, tensor), what) in
        parameters.iter_mut().zip(&x[1..]).zip(["scale", "bias", "mean", "variance"])
    {
        *slot = tensor.floats(what)?;
        if tensor.shape != [channels] {
            let shape = &tensor.shape;
            return Err(invalid(format!(
                "{what} has shape {shape:?} where the input has {channels} channels"
            )));
        }
    }
    let [gamma, beta, mean, variance] = parameters;
    let affine: Vec<(f32, f32)> = (0..channels)
        .map(|c| {
            let s = 1.0 / (variance[c] + epsilon).sqrt() * gamma[c];
            (s, beta[c] - mean[c] * s)
        })
        .collect();
    let inner: usize = x[0].shape[2..].iter().product();
    let out = values.iter().enumerate().map(|(i, v)| {
        let (s, b) = affine[i / inner % channels];
        v * s + b
    });
    Ok(vec![Tensor { shape: x[0].shape.clone(), data: Data::Float(out.collect()) }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::find;

    fn run(name: &str, inputs: &[Tensor]) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        Ok((find("", name).unwrap().eval)(&Attributes::new(9), &inputs)?.remove(0))
    }

    #[test]
    fn float_arithmetic_rounds_once_an_operation() {
        let x = Tensor::vector(vec![1.0, -3.0]);
        let third = Tensor::scalar(1.0 / 3.0);
        assert_eq!(run("Mul", &[x.clone(), third.clone()]).unwrap(), Tensor::vector(vec![1.0 / 3.0, -1.0]));
        assert_eq!(
            run("Div", &[x.clone(), Tensor::scalar(3.0)]).unwrap(),
            Tensor::vector(vec![1.0f32 / 3.0, -1.0])
        );
        assert_eq!(
            run("Sub", &[third, x.clone()]).unwrap(),
            Tensor::vector(vec![1.0f32 / 3.0 - 1.0, 1.0f32 / 3.0 + 3.0])
        );
        assert_eq!(run("Neg", &[x]).unwrap(), Tensor::vector(vec![-1.0, 3.0]));
    }

    #[test]
    fn sums_and_means_of_several() {
        let parts = [Tensor::vector(vec![1.0, -3.0]), Tensor::scalar(0.5), Tensor::vector(vec![2.0, 4.0])];
        assert_eq!(run("Sum", &parts).unwrap(), Tensor::vector(vec![3.5, 1.5]));
        assert_eq!(run("Mean", &parts).unwrap(), Tensor::vector(vec![3.5 / 3.0, 0.5]));
        assert_eq!(run("Sum", &parts[..1]).unwrap(), parts[0]);
    }

    #[test]
    fn integer_arithmetic_is_checked() {
        let x = Tensor::integers(vec![i64::MAX]);
        assert!(run("Add", &[x.clone(), Tensor::integers(vec![1])]).is_err());
        assert!(run("Div", &[x.clone(), Tensor::integers(vec![0])]).is_err());
        assert!(run("Add", &[x, Tensor::scalar(1.0)]).is_err(), "types do not mix");
    }

    #[test]
    fn powers_are_those_that_are_exact() {
        let x = Tensor::vector(vec![318.196_66, 2.0, -0.0]);
        let root = run("Pow", &[x.clone(), Tensor::scalar(0.5)]).unwrap();
        assert_eq!(root, Tensor::vector(vec![318.196_66f32.sqrt(), 2f32.sqrt(), 0.0]));
        assert_eq!(root.floats("").unwrap()[2].to_bits(), 0);
        let of = |x: f32, e: f32| {
            run("Pow", &[Tensor::scalar(x), Tensor::scalar(e)]).unwrap().floats("").unwrap()[0]
        };
        assert_eq!(
            [of(2.0, 0.3), of(-2.0, 5.0), of(4.0, -2.0), of(0.0, 1.5)],
            [1.231_144_4, -32.0, 0.0625, 0.0]
        );
        assert!(of(-2.0, 0.3).is_nan());
        let whole = run("Pow", &[Tensor::integers(vec![3]), Tensor::integers(vec![4])]).unwrap();
        assert_eq!(whole, Tensor::integers(vec![81]));
        assert!(run("Pow", &[Tensor::integers(vec![3]), Tensor::integers(vec![-1])]).is_err());
        assert_eq!(
            run("Pow", &[Tensor::vector(vec![3.0]), Tensor::integers(vec![2])]).unwrap(),
            Tensor::vector(vec![9.0])
        );
    }

    #[test]
    fn batch_normalization_is_per_channel_on_axis_1() {
        let x = Tensor::new(vec![1, 2, 2], Data::Float(vec![1.0, 2.0, 3.0, 4.0])).unwrap();
        let p = |a, b| Tensor::vector(vec![a, b]);
        let out =
            run("BatchNormalization", &[x.clone(), p(2.0, -1.0), p(0.5, 0.0), p(1.0, 3.0), p(1.0, 4.0)])
                .unwrap();
        let (r, s) = (1.0 / (1.0f32 + 1e-5).sqrt() * 2.0, -(1.0 / (4.0f32 + 1e-5).sqrt()));
        let wanted =
            vec![r + (0.5 - r), 2.0 * r + (0.5 - r), 3.0 * s + (0.0 - 3.0 * s), 4.0 * s + (0.0 - 3.0 * s)];
        assert_eq!(out.data, Data::Float(wanted));
        assert!(
            run("BatchNormalization", &[x, p(1.0, 1.0), p(0.0, 0.0), p(0.0, 0.0), Tensor::vector(vec![1.0])])
                .is_err()
        );
    }
}
