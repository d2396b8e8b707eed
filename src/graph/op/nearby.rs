//! Numbers beside the value of a function that mathematics libraries compute with different last bits. A file can't hold this operator:
//! the importer uses it to find the sums at which another executor may compute another level.

use crate::diagnostic::Result;
use crate::graph::attributes::{Applied, Attribute, Attributes, Link};
use crate::graph::operator::{CONFIGURED, Operator, Role, Spacing};
use crate::graph::tensor::{Data, Tensor};

/// The assumed error of another executor: 2^-19, relative to the result if that is more than 1 (`Exp`: always), else absolute. These are
/// 16 units in the last place of 1.
pub(crate) const ERROR: f32 = 1.0 / (1 << 19) as f32;
/// The attribute that is 1 for the number above the value, -1 for the one below.
const DIRECTION: &str = "direction";
/// The attribute that names the function.
const FUNCTION: &str = "function";

pub(crate) const OPERATORS: &[Operator] = &[Operator {
    name: "Nearby",
    domains: &[CONFIGURED],
    inputs: (2, 2),
    attributes: &[DIRECTION, FUNCTION],
    role: Role::Elementwise { monotone: &[], spacing: Spacing::Lost },
    eval,
}];

/// A function whose last bits differ between executors.
struct Function {
    name: &'static str,
    /// The range of its values.
    range: (f32, f32),
    /// Whether its value at an operand is exact in every executor.
    exact: fn(f32) -> bool,
}

const fn function(name: &'static str, low: f32, high: f32, exact: fn(f32) -> bool) -> Function {
    Function { name, range: (low, high), exact }
}

const FUNCTIONS: &[Function] = {
    const NONE: f32 = f32::INFINITY;
    const LINEAR: fn(f32) -> bool = |x| x >= 0.0;
    const ZERO: fn(f32) -> bool = |x| x == 0.0;
    &[
        function("Exp", 0.0, NONE, ZERO),
        function("Log", -NONE, NONE, |x| x == 1.0),
        function("Tanh", -1.0, 1.0, ZERO),
        function("Erf", -1.0, 1.0, ZERO),
        function("Sigmoid", 0.0, 1.0, ZERO),
        function("Softplus", 0.0, NONE, |_| false),
        function("Elu", -NONE, NONE, LINEAR),
        function("Selu", -NONE, NONE, LINEAR),
        function("Celu", -NONE, NONE, LINEAR),
        function("Mish", -NONE, NONE, ZERO),
        function("Gelu", -NONE, NONE, ZERO),
        function("QuickGelu", -NONE, NONE, ZERO),
        function("Swish", -NONE, NONE, ZERO),
    ]
};

/// Whether executors compute the operator `name` with different last bits.
pub(crate) fn is_inexact(name: &str) -> bool {
    FUNCTIONS.iter().any(|f| f.name == name)
}

/// The operator that moves the result `result` of the function `name`, applied to `operand`.
pub(crate) fn nearby(name: &str, operand: Link, result: Link, up: bool) -> Applied {
    let attributes = Attributes::new(1)
        .with(FUNCTION, Attribute::String(name.to_owned()))
        .with(DIRECTION, Attribute::Int(if up { 1 } else { -1 }));
    Applied {
        domain: CONFIGURED,
        operator: "Nearby",
        attributes,
        inputs: vec![operand, result],
        output: 0,
        eval,
    }
}

fn eval(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let name = attributes.text(FUNCTION, "")?;
    let direction = attributes.int(DIRECTION, 1)? as f32;
    let (operands, results) = (x[0].floats("the operand")?, x[1].floats("the result")?);
    let moved = |(&operand, &result): (&f32, &f32)| {
        let Some(function) = FUNCTIONS.iter().find(|f| f.name == name) else { return result };
        if (function.exact)(operand) || !result.is_finite() {
            return result;
        }
        let size = if name == "Exp" { result } else { result.abs().max(1.0) };
        (result + direction * ERROR * size).clamp(function.range.0, function.range.1)
    };
    let data = Data::Float(operands.iter().zip(results).map(moved).collect());
    Ok(vec![Tensor { shape: x[1].shape.clone(), data }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::OPERATORS as ALL;

    fn moved(name: &str, operand: f32, result: f32, up: bool) -> f32 {
        let applied = nearby(name, Link::Operand(0), Link::Operand(1), up);
        let (operand, result) = (Tensor::vector(vec![operand]), Tensor::vector(vec![result]));
        eval(&applied.attributes, &[&operand, &result]).unwrap()[0].floats("").unwrap()[0]
    }

    #[test]
    fn values_move_by_the_error_and_stay_where_every_executor_is_exact() {
        assert_eq!(moved("Sigmoid", 0.1, 0.5, true), 0.5 + ERROR);
        assert_eq!(moved("Sigmoid", 0.1, 0.5, false), 0.5 - ERROR);
        assert_eq!(moved("Sigmoid", 0.0, 0.5, true), 0.5);
        assert_eq!((moved("Sigmoid", 30.0, 1.0, true), moved("Tanh", -30.0, -1.0, false)), (1.0, -1.0));
        assert_eq!(moved("Softplus", 8.0, 8.0, true), 8.0 + 8.0 * ERROR);
        assert_eq!(moved("Elu", 3.0, 3.0, true), 3.0);
        assert_eq!(moved("Exp", -8.0, 1e-4, false), 1e-4 - 1e-4 * ERROR);
    }

    #[test]
    fn every_function_is_an_operator() {
        for function in FUNCTIONS {
            assert!(ALL.iter().copied().flatten().any(|o| o.name == function.name), "{}", function.name);
        }
    }
}
