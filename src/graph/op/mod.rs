//! The operator table: the exact semantics and the role of each operator.
//!
//! Each operator is one entry of [`OPERATORS`]. `eval` defines its whole meaning: it is used for constant folding, for finding
//! thresholds, for the host's computation, and (on zeros) for shape inference. float32 arithmetic is IEEE 754, one operation at a
//! time, never fused, and uses nothing that differs between machines.
//!
//! To add an operator: write its `eval` in the file of its group, or in a new one, and add its entry to the group's list. `eval`
//! must reject forms that it does not compute exactly. Attributes that the entry does not list are rejected automatically.
//!
//! May use: `graph`, `arith`. Used by: the importer.

mod affine;
mod clamp;
mod compare;
pub(crate) mod conv;
mod curve;
mod exact;
pub(crate) mod fixed;
pub(crate) mod fused;
pub(crate) mod geometry;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod linear;
pub(crate) mod nearby;
pub(crate) mod pool;
pub(crate) mod product;
mod qcdq;
mod quant;
mod quantise;
pub(crate) mod reduce;
pub(crate) mod resize;
pub mod rounding;
mod slice;
pub mod stochastic;
mod tail;
pub(crate) mod transposed;

use crate::diagnostic::{Diagnostic, OPERATOR_UNSUPPORTED};
use crate::graph::attributes::Attributes;
use crate::graph::operator::{CONFIGURED, Operator, Role};
use crate::graph::tensor::Tensor;

/// Every operator, by group.
pub static OPERATORS: &[&[Operator]] = &[
    affine::OPERATORS,
    clamp::OPERATORS,
    compare::OPERATORS,
    conv::OPERATORS,
    curve::OPERATORS,
    fixed::OPERATORS,
    fused::OPERATORS,
    index::OPERATORS,
    layout::OPERATORS,
    nearby::OPERATORS,
    pool::OPERATORS,
    product::OPERATORS,
    qcdq::OPERATORS,
    quant::OPERATORS,
    quantise::OPERATORS,
    reduce::OPERATORS,
    resize::OPERATORS,
    slice::OPERATORS,
    stochastic::OPERATORS,
    tail::OPERATORS,
    transposed::OPERATORS,
];

/// The operator `name` of `domain`, if it is known.
pub fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().copied().flatten().find(|o| o.name == name && o.domains.contains(&domain))
}

/// For a ReduceMean over other axes than all spatial ones, which is no average of an image, the operator that computes it on the
/// host or of constants.
pub fn other_mean(
    operator: &Operator,
    attributes: &Attributes,
    inputs: &[&Tensor],
) -> Option<&'static Operator> {
    let [x, ..] = inputs else { return None };
    if operator.name != "ReduceMean" || operator.domains == [CONFIGURED] {
        return None;
    }
    let spatial = reduce::axes(attributes, inputs).ok()?.iter().copied().eq(2..x.rank()) && x.rank() > 2;
    if spatial { None } else { find(CONFIGURED, "ReduceMean") }
}

/// The diagnostic for an unknown operator. Its help lists the known ones.
pub fn unknown(domain: &str, name: &str) -> Diagnostic {
    let elsewhere = OPERATORS.iter().copied().flatten().find(|o| o.name == name);
    let public = OPERATORS.iter().copied().flatten().filter(|o| o.domains != [CONFIGURED]);
    let names: Vec<&str> = public.map(|o| o.name).collect();
    let domain = if domain.is_empty() { "ONNX" } else { domain };
    let found = Diagnostic::new(
        &OPERATOR_UNSUPPORTED,
        format!("operator {name} of domain {domain} has no translation"),
    );
    if ["DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"].contains(&name) {
        return found.help(
            "its scale is computed anew for every frame, and hardware has fixed ones: quantise with calibration \
             (quantize_static of onnxruntime.quantization, not quantize_dynamic)",
        );
    }
    found.help(match elsewhere {
        Some(o) => format!("{name} is known in the domains {}", o.domains.join(", ")),
        None => format!("express it with the operators there are: {}", names.join(", ")),
    })
}

impl Operator {
    /// Number of elementary operations per output element. Imports are bounded by them.
    pub fn steps(&self, attributes: &Attributes, inputs: &[&Tensor]) -> usize {
        match (self.role, inputs) {
            (Role::Product, [_, weights, ..]) if self.name == "Conv" => {
                weights.shape.iter().skip(1).product()
            }
            (Role::Product, [x, ..]) => x.shape.last().copied().unwrap_or(1),
            (_, [x, ..]) => geometry::kernel(self.name, attributes, &x.shape)
                .map_or(1, |[high, wide]| high.saturating_mul(wide)),
            _ => 1,
        }
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
        assert!(unknown("", "DynamicQuantizeLinear").help.unwrap().contains("quantize_static"));
        let shape = find("", "Transpose").unwrap();
        let odd = Attributes::new(9).with("twist", crate::graph::attributes::Attribute::Int(1));
        assert!(shape.accepts(&odd, 1).unwrap_err().to_string().contains("attribute twist"));
        assert!(shape.accepts(&Attributes::new(9), 2).is_err());
    }
}
