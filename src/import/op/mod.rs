//! The operator table: what each operator computes, exactly, and where it may stand.
//!
//! One operator is one entry of [`OPERATORS`]. `eval` is the whole of its meaning: constants are folded with it,
//! thresholds are found by it, the host's arithmetic is it, and shapes are inferred by giving it zeros. float32
//! arithmetic is IEEE 754, one operation after the other, never fused, and uses nothing that differs between machines.
//!
//! To add an operator: write its `eval` in the file of its group, or in a new one, and add its entry to the group's
//! list. Forms that `eval` does not compute exactly are its to refuse, and attributes that an entry does not list are
//! refused for it.

mod affine;
mod index;
mod layout;
mod product;
mod quantise;

use super::attributes::Attributes;
use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result, SAVE_AGAIN};
use crate::tensor::Tensor;

/// Where an operator may stand, seen from the running tensor.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    /// Element by element with constants: may stand between a matrix product and its activation.
    Elementwise {
        /// The inputs with which every element rises or falls (weakly) as long as everything is finite.
        monotone: &'static [usize],
    },
    /// Moves elements and changes no value.
    Layout,
    /// Element by element onto few levels: where integers begin.
    Quantiser(Quantiser),
    /// Sums of products with constant weights: what becomes hardware.
    Product,
    /// Mixes elements or loses them: on the host, after the last layer.
    Host,
    /// Only of constants and of static shapes: gone after constant folding.
    Constant,
}

/// What a quantiser tells about itself.
#[derive(Debug, Clone, Copy)]
pub struct Quantiser {
    /// The levels, from the attributes and the constant operands (the running one is `None`), or why they have none
    /// that the hardware takes.
    pub levels: fn(&Attributes, &[Option<&Tensor>]) -> Result<Levels>,
    /// Whether every element rises or falls (weakly) with its input.
    pub monotone: bool,
}

/// The values that a quantiser's elements may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Levels {
    /// Two: -scale and +scale, where a scale below 0 makes the first the active one.
    Bipolar {
        /// The scale of all elements.
        scale: f32,
    },
}

/// Computes the outputs of an operator, given all its inputs.
pub type Eval = fn(&Attributes, &[&Tensor]) -> Result<Vec<Tensor>>;

/// One operator.
pub struct Operator {
    /// The operator's name in the file.
    pub name: &'static str,
    /// Domains that it is known in.
    pub domains: &'static [&'static str],
    /// Fewest and most inputs.
    pub inputs: (usize, usize),
    /// The attributes that `eval` reads or that mean nothing to inference.
    pub attributes: &'static [&'static str],
    /// Where it may stand.
    pub role: Role,
    /// The outputs, given all inputs. Errors name no place: the caller adds it.
    pub eval: Eval,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// ONNX's own domain.
const ONNX: &[&str] = &[""];
/// The domains of the quantised operators: Brevitas, FINN and QONNX name the same operators differently.
const QUANTISED: &[&str] = &["onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general"];

/// Every operator, by group.
pub static OPERATORS: &[&[Operator]] =
    &[affine::OPERATORS, index::OPERATORS, layout::OPERATORS, product::OPERATORS, quantise::OPERATORS];

/// The operator `name` of `domain`.
pub fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().copied().flatten().find(|o| o.name == name && o.domains.contains(&domain))
}

/// Says that there is no entry for `name` of `domain`, and what there is.
pub fn unknown(domain: &str, name: &str) -> Diagnostic {
    let elsewhere = OPERATORS.iter().copied().flatten().find(|o| o.name == name);
    let names: Vec<&str> = OPERATORS.iter().copied().flatten().map(|o| o.name).collect();
    let domain = if domain.is_empty() { "ONNX" } else { domain };
    let found = Diagnostic::new(
        &OPERATOR_UNSUPPORTED,
        format!("operator {name} of domain {domain} has no translation"),
    );
    found.help(match elsewhere {
        Some(o) => format!("{name} is known in the domains {}", o.domains.join(", ")),
        None => format!("express it with the operators there are: {}", names.join(", ")),
    })
}

impl Operator {
    /// Whether the outputs depend on nothing but static shapes and attributes.
    pub fn is_constant(&self) -> bool {
        matches!(self.role, Role::Constant)
    }

    /// Checks that a node has only attributes and as many inputs as the entry knows.
    pub fn accepts(&self, attributes: &Attributes, inputs: usize) -> Result<()> {
        if let Some(name) = attributes.names().find(|n| !self.attributes.contains(n)) {
            return Err(unsupported(format!("attribute {name} of {} is not known here", self.name)));
        }
        let (least, most) = self.inputs;
        if (least..=most).contains(&inputs) {
            return Ok(());
        }
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Err(Diagnostic::new(&MODEL_INVALID, format!("{} takes {wanted} inputs, not {inputs}", self.name))
            .help(SAVE_AGAIN)
            .into())
    }
}

/// A form of an operator that has no translation.
fn unsupported(message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
        .help("replace this form in the model, or simplify the graph before the import (onnxsim)")
        .into()
}

/// A form that ONNX itself does not allow.
fn invalid(message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into()
}

/// Axis `axis` of `rank`, counted from the end where negative.
fn axis(axis: i64, rank: usize) -> Result<usize> {
    let positive = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(positive)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| invalid(format!("axis {axis} of a tensor with {rank} axes")))
}

/// A list that old operator sets give as attribute `name` and new ones as input number `input`.
fn list<'a>(
    attributes: &'a Attributes,
    name: &str,
    inputs: &[&'a Tensor],
    input: usize,
) -> Result<Option<&'a [i64]>> {
    match inputs.get(input) {
        Some(tensor) => Ok(Some(tensor.ints(name)?)),
        None => attributes.ints(name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_operator_is_listed_twice() {
        let mut seen = BTreeSet::new();
        for o in OPERATORS.iter().copied().flatten() {
            for domain in o.domains {
                assert!(seen.insert((domain, o.name)), "{domain} {}", o.name);
            }
        }
    }

    #[test]
    fn unknown_operators_and_attributes_are_said() {
        assert!(find("", "Relu6").is_none());
        let said = unknown("", "BipolarQuant");
        assert!(said.help.unwrap().contains("onnx.brevitas"));
        let shape = find("", "Transpose").unwrap();
        let odd = Attributes::new(9).with("twist", super::super::attributes::Attribute::Int(1));
        assert!(shape.accepts(&odd, 1).unwrap_err().to_string().contains("attribute twist"));
        assert!(shape.accepts(&Attributes::new(9), 2).is_err());
    }

    #[test]
    fn axes_count_from_both_ends() {
        assert_eq!(axis(-1, 3).unwrap(), 2);
        assert_eq!(axis(0, 1).unwrap(), 0);
        assert!(
            axis(3, 3).is_err() && axis(-4, 3).is_err() && axis(i64::MIN, 3).is_err() && axis(0, 0).is_err()
        );
    }
}
