//! Elementwise comparisons and choices. Truth values are the integers 0 and 1.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::operator::Spacing::{Kept, Lost};
use crate::graph::operator::{Eval, ONNX, Operator, Role, Spacing, invalid, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor, broadcast, broadcast_indices};

pub(crate) const OPERATORS: &[Operator] = &[
    comparison("Greater", |_, x| compare(x, |a, b| a > b, |a, b| a > b)),
    comparison("GreaterOrEqual", |_, x| compare(x, |a, b| a >= b, |a, b| a >= b)),
    comparison("Less", |_, x| compare(x, |a, b| a < b, |a, b| a < b)),
    comparison("LessOrEqual", |_, x| compare(x, |a, b| a <= b, |a, b| a <= b)),
    Operator {
        role: elementwise(&[], Lost),
        ..comparison("Equal", |_, x| compare(x, |a, b| a == b, |a, b| a == b))
    },
    comparison("And", |_, x| logic(x, |a, b| a & b)),
    comparison("Or", |_, x| logic(x, |a, b| a | b)),
    Operator { role: elementwise(&[], Lost), ..comparison("Xor", |_, x| logic(x, |a, b| a ^ b)) },
    Operator {
        inputs: (1, 1),
        role: elementwise(&[0], Lost),
        ..comparison("Not", |_, x| {
            let data = Data::Int(x[0].ints("the input")?.iter().map(|v| i64::from(*v == 0)).collect());
            Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
        })
    },
    // A condition chooses between two values, so it rises or falls with it. With a running value it need not.
    Operator { inputs: (3, 3), role: elementwise(&[0], Lost), ..comparison("Where", choose) },
    extremum("Min", |_, x| fold(x, |a, b| if b < a || b.is_nan() { b } else { a }, i64::min)),
    extremum("Max", |_, x| fold(x, |a, b| if b > a || b.is_nan() { b } else { a }, i64::max)),
    Operator { attributes: &["fmod"], role: elementwise(&[], Lost), ..comparison("Mod", modulo) },
];

const fn elementwise(monotone: &'static [usize], spacing: Spacing) -> Role {
    Role::Elementwise { monotone, spacing }
}

const fn comparison(name: &'static str, eval: Eval) -> Operator {
    let role = elementwise(&[0, 1], Lost);
    Operator { name, domains: ONNX, inputs: (2, 2), attributes: &[], role, eval }
}

const fn extremum(name: &'static str, eval: Eval) -> Operator {
    // The first of several operands is enough: the others are constants where it runs.
    let role = elementwise(&[0, 1, 2, 3, 4, 5, 6, 7], Kept);
    Operator { name, domains: ONNX, inputs: (1, 8), attributes: &[], role, eval }
}

fn compare(x: &[&Tensor], float: fn(f32, f32) -> bool, int: fn(i64, i64) -> bool) -> Result<Vec<Tensor>> {
    let (a, b) = (x[0], x[1]);
    let (shape, out) = match (&a.data, &b.data) {
        (Data::Float(v), Data::Float(w)) => {
            tensor::zip((&a.shape, v), (&b.shape, w), |a, b| i64::from(float(a, b)))?
        }
        (Data::Int(v), Data::Int(w)) => {
            tensor::zip((&a.shape, v), (&b.shape, w), |a, b| i64::from(int(a, b)))?
        }
        (v, w) => return Err(invalid(format!("operands of {} and {}", v.kind(), w.kind()))),
    };
    Ok(vec![Tensor { shape, data: Data::Int(out) }])
}

fn logic(x: &[&Tensor], f: fn(i64, i64) -> i64) -> Result<Vec<Tensor>> {
    let (a, b) = (x[0].ints("an operand")?, x[1].ints("an operand")?);
    let truth = |v: i64| i64::from(v != 0);
    let (shape, out) = tensor::zip((&x[0].shape, a), (&x[1].shape, b), |a, b| f(truth(a), truth(b)))?;
    Ok(vec![Tensor { shape, data: Data::Int(out) }])
}

/// The second operand where the first is true, else the third.
fn choose(_: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let condition = x[0].ints("the condition")?;
    let shape = broadcast(&broadcast(&x[0].shape, &x[1].shape)?, &x[2].shape)?;
    let picks = broadcast_indices(&x[0].shape, &shape)
        .zip(broadcast_indices(&x[1].shape, &shape).zip(broadcast_indices(&x[2].shape, &shape)));
    let data = match (&x[1].data, &x[2].data) {
        (Data::Float(a), Data::Float(b)) => {
            Data::Float(picks.map(|(c, (i, j))| if condition[c] != 0 { a[i] } else { b[j] }).collect())
        }
        (Data::Int(a), Data::Int(b)) => {
            Data::Int(picks.map(|(c, (i, j))| if condition[c] != 0 { a[i] } else { b[j] }).collect())
        }
        (v, w) => return Err(invalid(format!("operands of {} and {}", v.kind(), w.kind()))),
    };
    Ok(vec![Tensor { shape, data }])
}

fn fold(x: &[&Tensor], float: fn(f32, f32) -> f32, int: fn(i64, i64) -> i64) -> Result<Vec<Tensor>> {
    let mut all = x[0].clone();
    for next in &x[1..] {
        let (shape, data) = match (&all.data, &next.data) {
            (Data::Float(v), Data::Float(w)) => {
                let (shape, out) = tensor::zip((&all.shape, v), (&next.shape, w), float)?;
                (shape, Data::Float(out))
            }
            (Data::Int(v), Data::Int(w)) => {
                let (shape, out) = tensor::zip((&all.shape, v), (&next.shape, w), int)?;
                (shape, Data::Int(out))
            }
            (v, w) => return Err(invalid(format!("operands of {} and {}", v.kind(), w.kind()))),
        };
        all = Tensor { shape, data };
    }
    Ok(vec![all])
}

/// The remainder, with the sign of the divisor, or of the dividend with `fmod`.
fn modulo(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let fmod = attributes.int("fmod", 0)? != 0;
    let (a, b) = (x[0], x[1]);
    match (&a.data, &b.data) {
        (Data::Int(v), Data::Int(w)) => {
            if w.contains(&0) {
                return Err(invalid("integer arithmetic overflows or divides by 0"));
            }
            let rest = |a: i64, b: i64| {
                let rest = a.wrapping_rem(b);
                if !fmod && rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
            };
            let (shape, out) = tensor::zip((&a.shape, v), (&b.shape, w), rest)?;
            Ok(vec![Tensor { shape, data: Data::Int(out) }])
        }
        (Data::Float(v), Data::Float(w)) if fmod => {
            let (shape, out) = tensor::zip((&a.shape, v), (&b.shape, w), |a: f32, b| a % b)?;
            Ok(vec![Tensor { shape, data: Data::Float(out) }])
        }
        _ => Err(unsupported("Mod of float32 without fmod = 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    fn run(name: &str, x: &[&Tensor]) -> Tensor {
        (find("", name).unwrap().eval)(&Attributes::new(16), x).unwrap().remove(0)
    }

    #[test]
    fn comparisons_give_0_and_1() {
        let (x, half) = (Tensor::vector(vec![-1.0, 0.5, 2.0, f32::NAN]), Tensor::scalar(0.5));
        let is = |name, wanted: [i64; 4]| {
            assert_eq!(run(name, &[&x, &half]), Tensor::integers(wanted.into()), "{name}")
        };
        is("Greater", [0, 0, 1, 0]);
        is("GreaterOrEqual", [0, 1, 1, 0]);
        is("Less", [1, 0, 0, 0]);
        is("LessOrEqual", [1, 1, 0, 0]);
        is("Equal", [0, 1, 0, 0]);
        let (a, b) = (Tensor::integers(vec![0, 0, 1, 1]), Tensor::integers(vec![0, 1, 0, 1]));
        assert_eq!(run("Greater", &[&a, &b]), Tensor::integers(vec![0, 0, 1, 0]));
        assert_eq!(run("And", &[&a, &b]), Tensor::integers(vec![0, 0, 0, 1]));
        assert_eq!(run("Or", &[&a, &b]), Tensor::integers(vec![0, 1, 1, 1]));
        assert_eq!(run("Xor", &[&a, &b]), Tensor::integers(vec![0, 1, 1, 0]));
        assert_eq!(run("Not", &[&a]), Tensor::integers(vec![1, 1, 0, 0]));
        assert!((find("", "Less").unwrap().eval)(&Attributes::new(16), &[&x, &a]).is_err());
    }

    #[test]
    fn choices_broadcast() {
        let truth = Tensor::new(vec![2, 1], Data::Int(vec![1, 0])).unwrap();
        let y = run("Where", &[&truth, &Tensor::vector(vec![1.0, 2.0]), &Tensor::scalar(-1.0)]);
        assert_eq!((y.shape, y.data), (vec![2, 2], Data::Float(vec![1.0, 2.0, -1.0, -1.0])));
        let x = Tensor::vector(vec![-3.0, 0.0, 3.0]);
        let (one, two) = (Tensor::scalar(1.0), Tensor::scalar(-2.0));
        assert_eq!(run("Max", &[&x, &one, &two]), Tensor::vector(vec![1.0, 1.0, 3.0]));
        assert_eq!(run("Min", &[&x, &one, &two]), Tensor::vector(vec![-3.0, -2.0, -2.0]));
        assert_eq!(run("Min", &[&x]), x);
        assert!(run("Max", &[&one, &Tensor::scalar(f32::NAN)]).floats("").unwrap()[0].is_nan());
    }

    #[test]
    fn remainders_have_the_sign_of_the_divisor_or_of_the_dividend() {
        let (a, b) = (Tensor::integers(vec![-7, 7, -7]), Tensor::integers(vec![3, -3, -3]));
        assert_eq!(run("Mod", &[&a, &b]), Tensor::integers(vec![2, -2, -1]));
        let fmod = Attributes::new(13).with("fmod", Attribute::Int(1));
        let eval = find("", "Mod").unwrap().eval;
        assert_eq!(eval(&fmod, &[&a, &b]).unwrap()[0], Tensor::integers(vec![-1, 1, -1]));
        let x = Tensor::vector(vec![-5.5]);
        assert_eq!(eval(&fmod, &[&x, &Tensor::scalar(2.0)]).unwrap()[0], Tensor::vector(vec![-1.5]));
        assert!(eval(&Attributes::new(13), &[&x, &x]).is_err());
        assert!(eval(&Attributes::new(13), &[&a, &Tensor::integers(vec![0])]).is_err());
    }
}
