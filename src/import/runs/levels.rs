//! Pass: finds written-out quantisers, such as `Clip(Round(x / s), -8, 7)` and `x >= 0`, and turns the steps that round, or clamp
//! what was rounded, into one step that knows its levels.
//!
//! The range of the running tensor is followed through the chain by evaluating every monotone step at both ends.

use std::collections::BTreeSet;

use crate::diagnostic::Result;
use crate::graph::attributes::{Applied, Attribute, Attributes, Link};
use crate::graph::op;
use crate::graph::op::fused::{INTEGERS, LEVELS, PROGRAM};
use crate::graph::operator::{CONFIGURED, Role};
use crate::graph::step::{Operand, Step};
use crate::graph::tensor::{Data, Tensor};
use crate::import::runs::chain::Chain;
use crate::import::runs::program;

/// Maximum number of levels of a written-out quantiser: those of an input of 16 bits.
const MAX_LEVELS: usize = 1 << 16;

/// Maximum number of values that are computed to list the levels of a written-out quantiser.
const MAX_WORK: i64 = 1 << 26;

/// Integers beyond this magnitude are not looked at to see where a clamp begins.
const MAX_MAGNITUDE: i64 = 1 << 24;

/// Whether a step gives few values for many: it rounds, compares, or is such a step in a program.
pub fn rounds(step: &Step) -> bool {
    let by_name = |name: &str| {
        ["Round", "Floor", "Ceil", "Sign", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"]
            .contains(&name)
    };
    match (step.operator.role, step.attributes.get(PROGRAM)) {
        (Role::Quantiser(_), _) => true,
        (_, Some(Attribute::Program(program))) => program.iter().any(|a| by_name(a.operator)),
        _ => by_name(step.operator.name) || is_integer_cast(step),
    }
}

fn is_integer_cast(step: &Step) -> bool {
    step.operator.name == "Cast" && matches!(step.attributes.int("to", 1), Ok(2..=7 | 9))
}

/// The steps of `chain`, with the quantisers that are written out in them.
pub fn told(mut chain: Chain) -> Chain {
    let written_out = |s: &Step| rounds(s) && matches!(s.operator.role, Role::Elementwise { .. });
    if !chain.steps.iter().any(written_out) {
        return chain;
    }
    let Ok(mut range) = Range::unknown(&chain.input) else { return chain };
    let mut steps: Vec<Step> = Vec::with_capacity(chain.steps.len());
    // Whether the values are few already, and the last step that rounds to numbers without bounds.
    let (mut few, mut open) = (false, None);
    for step in std::mem::take(&mut chain.steps) {
        let now = range.through(&step);
        steps.push(step);
        let step = &steps[steps.len() - 1];
        match step.operator.role {
            Role::Product | Role::Pool => few = false,
            Role::Quantiser(_) => few = true,
            _ => {}
        }
        if !matches!(step.operator.role, Role::Elementwise { .. }) {
            open = None;
        } else if !few && rounds(step) && step.attributes.get(PROGRAM).is_none() && step.position().is_some()
        {
            // A program that rounds on one way may pass real numbers on another: its values are looked at as a whole, below.
            open = Some(steps.len() - 1);
        }
        if !few
            && let Some(Attribute::Program(program)) = step.attributes.get(PROGRAM)
            && let Some((levels, integers)) = program::levels(program, &step.constants())
            && let Some(quantiser) = as_quantiser(step, &levels, integers)
        {
            steps.pop();
            steps.push(quantiser);
            (few, open) = (true, None);
        }
        if let Some(from) = open
            && let Some(range) = &now
            && let Some(levels) = levels(&steps[from..], range)
            && let Some(quantiser) = fused(&steps[from..], &levels, range.is_integer())
        {
            steps.truncate(from);
            steps.push(quantiser);
            (few, open) = (true, None);
        }
        let shape = steps.last().map_or(&chain.input, |s| &s.shape);
        range = match now {
            Some(range) => range,
            None => match Range::unknown(shape) {
                Ok(range) => range,
                Err(_) => break,
            },
        };
    }
    chain.steps = steps;
    chain
}

/// The lowest and the highest values of a tensor's elements.
struct Range {
    low: Tensor,
    high: Tensor,
}

impl Range {
    fn unknown(shape: &[usize]) -> Result<Self> {
        let of = |value: f32| -> Result<Tensor> {
            let zeros = Tensor::zeros(shape)?;
            Ok(Tensor { data: Data::Float(vec![value; zeros.len()]), shape: zeros.shape })
        };
        Ok(Self { low: of(f32::NEG_INFINITY)?, high: of(f32::INFINITY)? })
    }

    fn is_integer(&self) -> bool {
        matches!(self.low.data, Data::Int(_))
    }

    /// The range behind `step`; `None` if it is not known.
    fn through(&self, step: &Step) -> Option<Self> {
        match step.operator.role {
            Role::Elementwise { .. } | Role::Layout if step.is_monotone() => {
                let (a, b) = (step.eval(&self.low).ok()?, step.eval(&self.high).ok()?);
                Self::between(a, b)
            }
            Role::Elementwise { .. } if step.operator.name == "Abs" => {
                let (a, b) = (step.eval(&self.low).ok()?, step.eval(&self.high).ok()?);
                let zero = Tensor::zeros(&a.shape).ok()?;
                Self::between(zero, Self::between(a, b)?.high)
            }
            // The truth of an equality.
            Role::Elementwise { .. } if rounds(step) => {
                let x = step.eval(&self.low).ok()?;
                let Data::Int(v) = &x.data else { return None };
                let of =
                    |value: i64| Tensor { shape: x.shape.clone(), data: Data::Int(vec![value; v.len()]) };
                Some(Self { low: of(0), high: of(1) })
            }
            _ => None,
        }
    }

    /// The range of two tensors; `None` if one has an element that is no number.
    fn between(a: Tensor, b: Tensor) -> Option<Self> {
        let (low, high) = match (&a.data, &b.data) {
            (Data::Float(v), Data::Float(w)) if !v.iter().chain(w).any(|v| v.is_nan()) => {
                let pick =
                    |f: fn(f32, f32) -> f32| Data::Float(v.iter().zip(w).map(|(a, b)| f(*a, *b)).collect());
                (pick(f32::min), pick(f32::max))
            }
            (Data::Int(v), Data::Int(w)) => {
                let pick =
                    |f: fn(i64, i64) -> i64| Data::Int(v.iter().zip(w).map(|(a, b)| f(*a, *b)).collect());
                (pick(i64::min), pick(i64::max))
            }
            _ => return None,
        };
        let tensor = |data| Tensor { shape: a.shape.clone(), data };
        Some(Self { low: tensor(low), high: tensor(high) })
    }

    /// The lowest and highest value of all elements, if both are integers.
    fn ends(&self) -> Option<(f64, f64)> {
        let of = |t: &Tensor| -> Vec<f64> {
            match &t.data {
                Data::Float(v) => v.iter().map(|v| f64::from(*v)).collect(),
                Data::Int(v) => v.iter().map(|v| *v as f64).collect(),
            }
        };
        let low = of(&self.low).into_iter().fold(f64::INFINITY, f64::min);
        let high = of(&self.high).into_iter().fold(f64::NEG_INFINITY, f64::max);
        (low.is_finite() && high.is_finite()).then_some((low, high))
    }
}

/// The values of `steps`, the first of which rounds, where they are finitely many. `range` is that of their results.
fn levels(steps: &[Step], range: &Range) -> Option<Vec<f32>> {
    let (low, high) = range.ends()?;
    let [first, then @ ..] = steps else { return None };
    if then.is_empty() {
        // Integers, or truths.
        let whole = low.fract() == 0.0 && high.fract() == 0.0 && high - low < MAX_LEVELS as f64;
        let exact = high.abs().max(low.abs()) <= MAX_MAGNITUDE as f64;
        return (whole && exact).then(|| (low as i64..=high as i64).map(|v| v as f32).collect());
    }
    let integers = is_integer_cast(first);
    // What the steps behind the rounding make of an integer: one number, equal for all elements.
    let scalars = then.iter().all(|s| s.constants().iter().flatten().all(|t| t.len() == 1));
    let shape = if scalars { vec![1; first.shape.len()] } else { first.shape.clone() };
    let f = |n: i64| -> Option<f64> {
        let count = shape.iter().product();
        let data = if integers { Data::Int(vec![n; count]) } else { Data::Float(vec![n as f32; count]) };
        let x = then.iter().try_fold(Tensor { shape: shape.clone(), data }, |x, s| s.eval(&x)).ok()?;
        let values: Vec<f64> = match &x.data {
            Data::Float(v) => v.iter().map(|v| f64::from(*v)).collect(),
            Data::Int(v) => v.iter().map(|v| *v as f64).collect(),
        };
        values.iter().all(|v| *v == values[0]).then(|| values.first().copied()).flatten()
    };
    let (bottom, top) = (f(-MAX_MAGNITUDE)?, f(MAX_MAGNITUDE)?);
    // The steps are monotone, so that beyond the first integer with the value of an end there is no other.
    if (bottom.min(top), bottom.max(top)) != (low, high) {
        return None;
    }
    if bottom == top {
        return Some(vec![bottom as f32]);
    }
    let edge = |sign: i64, end: f64| -> Option<i64> {
        let (mut inside, mut at) = (-sign * MAX_MAGNITUDE, sign * MAX_MAGNITUDE);
        while (at - inside).abs() > 1 {
            let middle = (at + inside) / 2;
            if f(middle)? == end { at = middle } else { inside = middle }
        }
        Some(at)
    };
    let (from, to) = (edge(-1, bottom)?, edge(1, top)?);
    let elements = shape.iter().product::<usize>().max(1) as i64;
    if to - from >= MAX_LEVELS as i64 || (to - from) * elements > MAX_WORK {
        return None;
    }
    let all: BTreeSet<u32> =
        (from..=to).map(|n| f(n).map(|v| (v as f32 + 0.0).to_bits())).collect::<Option<_>>()?;
    let mut all: Vec<f32> = all.into_iter().map(f32::from_bits).collect();
    all.sort_by(f32::total_cmp);
    Some(all)
}

/// The step of a program, with its levels.
fn as_quantiser(step: &Step, levels: &[f32], integers: bool) -> Option<Step> {
    let mut step = step.clone();
    step.operator = op::find(CONFIGURED, "Levels")?;
    step.attributes.insert(LEVELS, Attribute::Floats(levels.to_vec()));
    step.attributes.insert(INTEGERS, Attribute::Int(integers.into()));
    Some(step)
}

/// One step for `steps`, whose results are `levels`.
fn fused(steps: &[Step], levels: &[f32], integers: bool) -> Option<Step> {
    let last = steps.last()?;
    let mut operands = vec![Operand::Running];
    let mut program = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let inputs = step.operands.iter().map(|operand| match operand {
            Operand::Running if index == 0 => Link::Operand(0),
            Operand::Running => Link::Applied(index - 1),
            Operand::Constant(_) => {
                operands.push(operand.clone());
                Link::Operand(operands.len() - 1)
            }
        });
        program.push(Applied {
            domain: step.operator.domains.first()?,
            operator: step.operator.name,
            inputs: inputs.collect(),
            attributes: step.attributes.clone(),
            output: step.output,
            eval: step.operator.eval,
        });
    }
    let attributes = Attributes::new(last.attributes.opset)
        .with(PROGRAM, Attribute::Program(program))
        .with(LEVELS, Attribute::Floats(levels.to_vec()))
        .with(INTEGERS, Attribute::Int(integers.into()));
    let operator = op::find(CONFIGURED, "Levels")?;
    Some(Step { operator, attributes, operands, output: 0, codes: None, ..last.clone() })
}

/// The steps as the graph has them: a program of one operator behind the other is these operators.
pub fn written_out(steps: Vec<Step>) -> Vec<Step> {
    steps.into_iter().flat_map(|step| parts(&step).unwrap_or_else(|| vec![step])).collect()
}

fn parts(step: &Step) -> Option<Vec<Step>> {
    let Some(Attribute::Program(program)) = step.attributes.get(PROGRAM) else { return None };
    let part = |(index, applied): (usize, &Applied)| {
        let operand = |link: &Link| match *link {
            Link::Operand(i) if i > 0 || index == 0 => Some(step.operands[i].clone()),
            Link::Applied(i) if i + 1 == index => Some(Operand::Running),
            _ => None,
        };
        let operands = applied.inputs.iter().map(operand).collect::<Option<_>>()?;
        let operator = op::find(applied.domain, applied.operator)?;
        let attributes = applied.attributes.clone();
        Some(Step { operator, attributes, operands, output: applied.output, ..step.clone() })
    };
    program.iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::find;
    use crate::import::runs::steps::{identity, made, with};

    fn of(name: &str, value: f32) -> Step {
        with(&identity("x").unwrap(), name, Tensor::scalar(value), &[1, 2]).unwrap()
    }

    fn alone(name: &str) -> Step {
        made(&identity("x").unwrap(), name, vec![Operand::Running], Attributes::new(18), &[1, 2]).unwrap()
    }

    fn clip(low: f32, high: f32) -> Step {
        let bounds = [low, high].map(|v| Operand::Constant(Tensor::scalar(v).into()));
        let operands = std::iter::once(Operand::Running).chain(bounds).collect();
        made(&identity("x").unwrap(), "Clip", operands, Attributes::new(18), &[1, 2]).unwrap()
    }

    /// The levels that are found, and the names of the steps.
    fn found(steps: Vec<Step>) -> (Option<Vec<f32>>, Vec<&'static str>) {
        let chain = Chain { input: vec![1, 2], annotation: None, steps: steps.clone() };
        let chain = told(chain);
        let levels = chain.steps.iter().find_map(|s| s.attributes.floats(LEVELS).ok()?.map(<[f32]>::to_vec));
        let x = Tensor { shape: vec![1, 2], data: Data::Float(vec![-0.7, 2.3]) };
        let run = |steps: &[Step]| steps.iter().try_fold(x.clone(), |x, s| s.eval(&x)).unwrap();
        assert_eq!(run(&steps), run(&chain.steps), "the same function");
        let names = |steps: &[Step]| steps.iter().map(|s| s.operator.name).collect::<Vec<_>>();
        assert_eq!(names(&written_out(chain.steps.clone())), names(&steps), "written out again");
        (levels, names(&chain.steps))
    }

    #[test]
    fn clamps_before_and_behind_the_rounding_bound_it() {
        let dorefa = vec![clip(0.0, 1.0), of("Mul", 3.0), alone("Round"), of("Div", 3.0)];
        assert_eq!(found(dorefa), (Some(vec![0.0, 1.0, 2.0, 3.0]), vec!["Clip", "Mul", "Levels", "Div"]));
        let behind = vec![of("Div", 0.5), alone("Round"), clip(-2.0, 1.0), of("Mul", 0.5)];
        assert_eq!(found(behind), (Some(vec![-2.0, -1.0, 0.0, 1.0]), vec!["Div", "Levels", "Mul"]));
        // The clamp cuts between two integers, behind a factor.
        let between = vec![alone("Floor"), of("Mul", 0.25), of("Max", -0.3), of("Min", 0.6)];
        assert_eq!(found(between), (Some(vec![-0.3, -0.25, 0.0, 0.25, 0.5, 0.6]), vec!["Levels"]));
        let falling = vec![alone("Ceil"), alone("Neg"), clip(-1.0, 1.0)];
        assert_eq!(found(falling).0, Some(vec![-1.0, 0.0, 1.0]));
        let hard = vec![alone("Sigmoid"), of("Mul", 4.0), alone("Floor")];
        assert_eq!(found(hard).0, Some(vec![0.0, 1.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn comparisons_have_two_levels_and_unbounded_rounding_has_none() {
        let choice = [1.0, -1.0].map(|v| Operand::Constant(Tensor::scalar(v).into()));
        let operands = std::iter::once(Operand::Running).chain(choice).collect();
        let choose = made(&identity("x").unwrap(), "Where", operands, Attributes::new(18), &[1, 2]).unwrap();
        let sign = vec![of("GreaterOrEqual", 0.0), choose.clone()];
        assert_eq!(found(sign), (Some(vec![0.0, 1.0]), vec!["Levels", "Where"]));
        assert_eq!(found(vec![of("Less", 0.0), alone("Not"), choose]).0, Some(vec![0.0, 1.0]));
        assert_eq!(found(vec![of("Mul", 2.0), alone("Round"), of("Div", 2.0)]).0, None);
        assert_eq!(found(vec![alone("Relu"), alone("Floor")]).0, None);
        // The second rounding sees few values already.
        let twice = vec![clip(0.0, 3.0), alone("Round"), of("Mul", 100.0), alone("Round")];
        assert_eq!(found(twice), (Some(vec![0.0, 1.0, 2.0, 3.0]), vec!["Clip", "Levels", "Mul", "Round"]));
        assert!(find("", "Levels").is_none(), "a file can't hold it");
    }
}
