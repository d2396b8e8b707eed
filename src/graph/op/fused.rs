//! Several operators applied as one node: what the importer makes of written-out quantisers, and of operators that read one tensor on
//! several ways. A file can't hold these nodes.

use crate::diagnostic::Result;
use crate::graph::attributes::{Applied, Attribute, Attributes, Link};
use crate::graph::operator::{CONFIGURED, Levels, Operator, Quantiser, Role, Spacing, invalid, numbers};
use crate::graph::step::Step;
use crate::graph::tensor::{Data, Tensor};

/// The attribute that holds the operators.
pub(crate) const PROGRAM: &str = "program";
/// The attribute that holds the values of a quantiser.
pub(crate) const LEVELS: &str = "levels";
/// The attribute that is 1 if these values are of an integer type.
pub(crate) const INTEGERS: &str = "integers";

pub(crate) const OPERATORS: &[Operator] = &[
    // Elementwise operators.
    fused("Fused", Role::Elementwise { monotone: &[], spacing: Spacing::Lost }),
    // Elementwise operators that are known to give few values, wherever they are applied.
    fused("Levels", Role::Quantiser(Quantiser { levels: |a, _| levels(a).map(Some), codes: None })),
    // Operators behind the last layer.
    fused("FusedHost", Role::Host),
];

const fn fused(name: &'static str, role: Role) -> Operator {
    Operator {
        name,
        domains: &[CONFIGURED],
        inputs: (1, 1 << 16),
        attributes: &[PROGRAM, LEVELS, INTEGERS],
        role,
        eval,
    }
}

fn eval(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let Some(Attribute::Program(program)) = attributes.get(PROGRAM) else {
        return Err(invalid("there is no program"));
    };
    let mut results: Vec<Tensor> = Vec::with_capacity(program.len());
    for applied in program {
        let tensor = |link: &Link| match *link {
            Link::Operand(i) => x[i],
            Link::Applied(i) => &results[i],
        };
        let inputs: Vec<&Tensor> = applied.inputs.iter().map(tensor).collect();
        let mut made = (applied.eval)(&applied.attributes, &inputs)?;
        results.push(made.swap_remove(applied.output));
    }
    results.pop().map(|last| vec![last]).ok_or_else(|| invalid("the program is empty"))
}

fn levels(attributes: &Attributes) -> Result<Levels> {
    let values = attributes.floats(LEVELS)?.unwrap_or_default().to_vec();
    let integers = attributes.int(INTEGERS, 0)? != 0;
    let value = move |code: f32| {
        let value = values.get(code as usize).copied().unwrap_or(0.0);
        let data = if integers { Data::Int(vec![value as i64]) } else { Data::Float(vec![value]) };
        Ok(Tensor { shape: Vec::new(), data })
    };
    let count = attributes.floats(LEVELS)?.map_or(0, <[f32]>::len);
    Ok(Levels { first: 0, step: 1, count, scale: None, value: Box::new(value) })
}

/// How a result changes with the running number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Not at all.
    Constant,
    /// It rises, or stays.
    Up,
    /// It falls, or stays.
    Down,
    /// In any way.
    Any,
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
            other => other,
        }
    }

    /// Of a function that rises with both.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant, d) | (d, Self::Constant) => d,
            (a, b) if a == b => a,
            _ => Self::Any,
        }
    }
}

/// Whether a program only rises, or only falls, with the running number. `operands` are those of the node, `None` for that number.
pub(crate) fn is_monotone(program: &[Applied], operands: &[Option<&Tensor>]) -> bool {
    let mut known: Vec<Direction> = Vec::with_capacity(program.len());
    for applied in program {
        let of = |i: usize| match applied.inputs[i] {
            Link::Operand(operand) if operands[operand].is_some() => Direction::Constant,
            Link::Operand(_) => Direction::Up,
            Link::Applied(part) => known[part],
        };
        let all = || (0..applied.inputs.len()).map(of).fold(Direction::Constant, Direction::with);
        // The direction with a factor, from the sign of all its elements.
        let by = |running: Direction, factor: usize| match applied.inputs[factor] {
            Link::Operand(operand) => match operands[operand].map(|t| t.floats("a factor")) {
                Some(Ok(v)) if v.iter().all(|v| *v >= 0.0) => running,
                Some(Ok(v)) if v.iter().all(|v| *v <= 0.0) => running.reversed(),
                _ => Direction::Any,
            },
            Link::Applied(_) => Direction::Any,
        };
        known.push(match applied.operator {
            _ if all() == Direction::Constant => Direction::Constant,
            "Add" | "Max" | "Min" | "And" | "Or" => all(),
            "Sub" | "Greater" | "GreaterOrEqual" => of(0).with(of(1).reversed()),
            "Less" | "LessOrEqual" => of(0).reversed().with(of(1)),
            "Mul" if of(1) == Direction::Constant => by(of(0), 1),
            "Mul" if of(0) == Direction::Constant => by(of(1), 0),
            "Div" if of(1) == Direction::Constant => by(of(0), 1),
            "Neg" | "Not" => of(0).reversed(),
            "Where" => match [1, 2].map(|i| (applied.inputs[i], of(i))) {
                // A choice between two numbers, of which all elements compare alike.
                [(Link::Operand(a), Direction::Constant), (Link::Operand(b), Direction::Constant)] => {
                    chosen(of(0), operands[a], operands[b])
                }
                _ => Direction::Any,
            },
            "Cast" if applied.attributes.int("to", 1).is_ok_and(|to| to != 9) => of(0),
            "Identity" | "Relu" | "Round" | "Floor" | "Ceil" | "Sign" | "Exp" | "Tanh" | "Erf"
            | "Sigmoid" | "Softplus" | "Softsign" => of(0),
            "Clip" if (1..applied.inputs.len()).all(|i| of(i) == Direction::Constant) => of(0),
            _ => Direction::Any,
        });
    }
    known.last().is_some_and(|d| *d != Direction::Any)
}

/// The direction of `Where(condition, a, b)`.
fn chosen(condition: Direction, a: Option<&Tensor>, b: Option<&Tensor>) -> Direction {
    let numbers =
        |t: Option<&Tensor>| t.and_then(|t| numbers(t).floats("a choice").map(<[f32]>::to_vec).ok());
    let (Some(a), Some(b)) = (numbers(a), numbers(b)) else { return Direction::Any };
    let ends = |v: &[f32]| {
        (v.iter().copied().fold(f32::INFINITY, f32::min), v.iter().copied().fold(f32::NEG_INFINITY, f32::max))
    };
    let ((a_low, a_high), (b_low, b_high)) = (ends(&a), ends(&b));
    match condition {
        _ if a_low >= b_high => condition,
        _ if a_high <= b_low => condition.reversed(),
        _ => Direction::Any,
    }
}

impl Step {
    /// Whether the step is a monotone function of the running tensor, for finite values.
    pub fn is_monotone(&self) -> bool {
        if let Some(Attribute::Program(program)) = self.attributes.get(PROGRAM) {
            return is_monotone(program, &self.constants());
        }
        match (self.operator.role, self.position()) {
            (Role::Elementwise { monotone, .. }, Some(position)) => {
                monotone.contains(&position) && self.keeps_direction()
            }
            (Role::Quantiser(_) | Role::Layout, Some(0)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn directions_follow_the_operators() {
        use Link::{Applied as A, Operand as O};
        let (half, minus) = (Tensor::scalar(0.5), Tensor::vector(vec![-1.0, -2.0]));
        let operands = [None, Some(&half), Some(&minus)];
        let holds = |program: &[Applied]| is_monotone(program, &operands);
        // Max(x, x / 2), relu(x) - relu(-x) / 2, and their like with a negative factor.
        assert!(holds(&[part("Mul", &[O(0), O(1)]), part("Max", &[O(0), A(0)])]));
        assert!(!holds(&[part("Mul", &[O(2), O(0)]), part("Max", &[O(0), A(0)])]));
        let two = [
            part("Relu", &[O(0)]),
            part("Neg", &[O(0)]),
            part("Relu", &[A(1)]),
            part("Mul", &[A(2), O(1)]),
            part("Sub", &[A(0), A(3)]),
        ];
        assert!(holds(&two));
        assert!(!holds(&[part("Sigmoid", &[O(0)]), part("Mul", &[O(0), A(0)])]));
        assert!(!holds(&[part("Abs", &[O(0)])]) && !holds(&[part("Equal", &[O(0), O(1)])]));
        // Choices.
        assert!(holds(&[part("Less", &[O(0), O(1)]), part("Where", &[A(0), O(1), O(2)])]));
        let bump = [part("Abs", &[O(0)]), part("Less", &[A(0), O(1)]), part("Where", &[A(1), O(1), O(2)])];
        assert!(!holds(&bump));
        assert!(!is_monotone(&[], &operands));
    }
}
