//! Several operators applied as one node: what the importer makes of written-out quantisers, and of operators that read one tensor on
//! several ways. A file can't hold these nodes.

use crate::diagnostic::Result;
use crate::graph::attributes::{Attribute, Attributes, Link};
use crate::graph::operator::{CONFIGURED, Levels, Operator, Quantiser, Role, Spacing, invalid};
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
