//! The values that a program of elementwise operators can give, whatever number it is applied to.

use std::collections::BTreeSet;

use crate::graph::attributes::{Applied, Link};
use crate::graph::op;
use crate::graph::operator::Role;
use crate::graph::tensor::{Data, Tensor};

/// Maximum number of values that are listed.
const MAX_VALUES: usize = 1 << 12;

/// Maximum number of combinations of values that an operator is applied to.
const MAX_COMBINATIONS: usize = 1 << 14;

/// What is known of an operand.
#[derive(Debug, Clone)]
enum Known {
    /// The numbers between two.
    Span(f32, f32),
    /// One of these, ascending.
    Few(Vec<f32>),
    /// One of these integers or truths, ascending.
    Integers(Vec<i64>),
}

impl Known {
    fn any() -> Self {
        Self::Span(f32::NEG_INFINITY, f32::INFINITY)
    }

    fn of(tensor: &Tensor) -> Self {
        match &tensor.data {
            Data::Float(v) => {
                let low = v.iter().copied().fold(f32::INFINITY, f32::min);
                let high = v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                floats(v.iter().copied()).map_or(Self::Span(low, high), Self::Few)
            }
            Data::Int(v) => {
                let all: BTreeSet<i64> = v.iter().copied().take(MAX_VALUES + 1).collect();
                Self::Integers(all.into_iter().collect())
            }
        }
    }

    /// The values as scalars; the two ends of a span.
    fn scalars(&self) -> Vec<Tensor> {
        let integer = |v: &i64| Tensor { shape: Vec::new(), data: Data::Int(vec![*v]) };
        match self {
            Self::Span(low, high) => vec![Tensor::scalar(*low), Tensor::scalar(*high)],
            Self::Few(v) => v.iter().map(|v| Tensor::scalar(*v)).collect(),
            Self::Integers(v) => v.iter().map(integer).collect(),
        }
    }
}

/// The different numbers, ascending; `None` if they are too many, or one is no number.
fn floats(values: impl Iterator<Item = f32>) -> Option<Vec<f32>> {
    let mut all = BTreeSet::new();
    for v in values {
        if v.is_nan() || all.len() > MAX_VALUES {
            return None;
        }
        all.insert((v + 0.0).to_bits());
    }
    let mut all: Vec<f32> = all.into_iter().map(f32::from_bits).collect();
    all.sort_by(f32::total_cmp);
    (all.len() <= MAX_VALUES).then_some(all)
}

/// The values of a program, and whether they are integers; `None` if they need not be few. `operands` are those of the node, `None`
/// for the running tensor.
pub fn levels(program: &[Applied], operands: &[Option<&Tensor>]) -> Option<(Vec<f32>, bool)> {
    let given: Vec<Known> = operands.iter().map(|o| o.map_or_else(Known::any, Known::of)).collect();
    let mut made: Vec<Known> = Vec::with_capacity(program.len());
    for applied in program {
        let inputs: Vec<&Known> = applied
            .inputs
            .iter()
            .map(|link| match *link {
                Link::Operand(i) => &given[i],
                Link::Applied(i) => &made[i],
            })
            .collect();
        let constants: Vec<Option<&Tensor>> = applied
            .inputs
            .iter()
            .map(|link| match *link {
                Link::Operand(i) => operands[i],
                Link::Applied(_) => None,
            })
            .collect();
        let known = result(applied, &inputs, &constants).unwrap_or_else(Known::any);
        made.push(known);
    }
    match made.pop()? {
        Known::Few(v) => Some((v, false)),
        Known::Integers(v) => Some((v.into_iter().map(|v| v as f32).collect(), true)),
        Known::Span(..) => None,
    }
}

/// The values of one step. `constants` are its operands as they are, where they are constant: a quantiser reads their shapes.
fn result(applied: &Applied, inputs: &[&Known], constants: &[Option<&Tensor>]) -> Option<Known> {
    let operator = op::find(applied.domain, applied.operator)?;
    let spans = inputs.iter().filter(|k| matches!(k, Known::Span(..))).count();
    if spans == 0 {
        return all(applied, inputs);
    }
    match (operator.role, applied.operator) {
        (_, "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Equal") => {
            Some(Known::Integers(vec![0, 1]))
        }
        // Between the lowest and the highest of both.
        (_, "Where") => {
            let ends: Vec<f32> =
                inputs[1..].iter().flat_map(|k| k.scalars()).map(|t| float(&t)).collect::<Option<_>>()?;
            Some(span(&ends))
        }
        (Role::Quantiser(quantiser), _) => {
            if constants[0].is_some() || constants[1..].contains(&None) {
                return None;
            }
            let levels = (quantiser.levels)(&applied.attributes, constants).ok()??;
            if levels.count > MAX_VALUES {
                return None;
            }
            let values: Vec<Tensor> =
                levels.codes().map(|code| (levels.value)(code as f32).ok()).collect::<Option<_>>()?;
            collected(values)
        }
        // Monotone for some parameters only.
        (_, "LeakyRelu" | "Elu" | "Celu" | "Selu" | "ThresholdedRelu" | "PRelu" | "Shrink") => None,
        (Role::Elementwise { monotone, .. }, name) => {
            // Monotone in every operand that is a span, and alike for any values of the others: both ends of everything.
            let whole = |(i, k): (usize, &&Known)| !matches!(k, Known::Span(..)) || monotone.contains(&i);
            if !inputs.iter().enumerate().all(whole) {
                return None;
            }
            let ends: Vec<f32> = combinations(applied, inputs)?.iter().map(float).collect::<Option<_>>()?;
            let rounds = ["Round", "Floor", "Ceil"].contains(&name);
            match span(&ends) {
                Known::Span(low, high) if rounds && high - low < MAX_VALUES as f32 => {
                    let whole = |n: i64| n as f32;
                    (low.abs().max(high.abs()) < 1e6)
                        .then(|| Known::Few((low as i64..=high as i64).map(whole).collect()))
                }
                Known::Span(low, high) if !low.is_nan() && !high.is_nan() => Some(Known::Span(low, high)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn float(tensor: &Tensor) -> Option<f32> {
    match &tensor.data {
        Data::Float(v) if !v[0].is_nan() => Some(v[0]),
        _ => None,
    }
}

fn span(ends: &[f32]) -> Known {
    let low = ends.iter().copied().fold(f32::INFINITY, f32::min);
    Known::Span(low, ends.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// The results for all combinations of the operands' values.
fn all(applied: &Applied, inputs: &[&Known]) -> Option<Known> {
    collected(combinations(applied, inputs)?)
}

fn collected(values: Vec<Tensor>) -> Option<Known> {
    let mut real = Vec::new();
    let mut whole = BTreeSet::new();
    for tensor in values {
        match tensor.data {
            Data::Float(v) => real.extend(v),
            Data::Int(v) => whole.extend(v),
        }
    }
    if real.is_empty() {
        return (whole.len() <= MAX_VALUES).then(|| Known::Integers(whole.into_iter().collect()));
    }
    floats(real.into_iter()).map(Known::Few)
}

fn combinations(applied: &Applied, inputs: &[&Known]) -> Option<Vec<Tensor>> {
    let values: Vec<Vec<Tensor>> = inputs.iter().map(|k| k.scalars()).collect();
    let count = values.iter().try_fold(1usize, |n, v| n.checked_mul(v.len()))?;
    if count > MAX_COMBINATIONS {
        return None;
    }
    (0..count)
        .map(|mut at| {
            let pick = |v: &'_ Vec<Tensor>| {
                let index = at % v.len();
                at /= v.len();
                index
            };
            let picks: Vec<usize> = values.iter().map(pick).collect();
            let operands: Vec<&Tensor> = values.iter().zip(picks).map(|(v, i)| &v[i]).collect();
            let mut outputs = (applied.eval)(&applied.attributes, &operands).ok()?;
            Some(outputs.swap_remove(applied.output))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attributes;
    use crate::graph::op::find;

    fn part(name: &str, inputs: &[Link]) -> Applied {
        let operator = find("", name).unwrap();
        Applied {
            domain: "",
            operator: operator.name,
            attributes: Attributes::new(18),
            inputs: inputs.to_vec(),
            output: 0,
            eval: operator.eval,
        }
    }

    #[test]
    fn ternary_by_signs_and_by_choices() {
        use Link::{Applied as A, Operand as O};
        let (x, d, one) = (None, Tensor::scalar(0.3), Tensor::vector(vec![1.0, 1.0]));
        // Sign(Sign(x - d) + Sign(x + d)).
        let signs = [
            part("Sub", &[O(0), O(1)]),
            part("Add", &[O(0), O(1)]),
            part("Sign", &[A(0)]),
            part("Sign", &[A(1)]),
            part("Add", &[A(2), A(3)]),
            part("Sign", &[A(4)]),
        ];
        assert_eq!(levels(&signs, &[x, Some(&d)]), Some((vec![-1.0, 0.0, 1.0], false)));
        // Less(Abs(x), d) ? 0 : Less(x, 0) ? -1 : 1.
        let zero = Tensor::scalar(0.0);
        let minus = Tensor::scalar(-1.0);
        let choices = [
            part("Abs", &[O(0)]),
            part("Less", &[A(0), O(1)]),
            part("Less", &[O(0), O(2)]),
            part("Where", &[A(2), O(3), O(4)]),
            part("Where", &[A(1), O(2), A(3)]),
        ];
        let operands = [x, Some(&d), Some(&zero), Some(&minus), Some(&one)];
        assert_eq!(levels(&choices, &operands), Some((vec![-1.0, 0.0, 1.0], false)));
        assert_eq!(levels(&choices[..3], &operands), Some((vec![0.0, 1.0], true)));
        // Rounded within bounds, and without.
        let bounded = [part("Sigmoid", &[O(0)]), part("Round", &[A(0)]), part("Add", &[A(1), A(1)])];
        assert_eq!(levels(&bounded, &[x]), Some((vec![0.0, 1.0, 2.0], false)));
        assert_eq!(levels(&[part("Round", &[O(0)])], &[x]), None);
        assert_eq!(levels(&[part("Sigmoid", &[O(0)]), part("Mul", &[O(0), A(0)])], &[x]), None);
    }
}
