//! Constructors of the steps that the importer adds to a run.

use std::sync::Arc;

use crate::diagnostic::Result;
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::op;
use crate::graph::step::{Operand, Step};
use crate::graph::tensor::Tensor;

/// An Identity step, the template of other steps.
pub fn identity(node: &str) -> Result<Step> {
    Ok(Step {
        operator: op::find("", "Identity").ok_or_else(|| op::unknown("", "Identity"))?,
        node: node.to_owned(),
        place: format!("tensor {node}"),
        attributes: Attributes::new(1),
        operands: vec![Operand::Running],
        output: 0,
        shape: Vec::new(),
        codes: None,
    })
}

/// A Transpose step for the host.
pub fn transposed(node: &str, perm: Vec<i64>, shape: &[usize]) -> Result<Step> {
    let attributes = Attributes::new(1).with("perm", Attribute::Ints(perm));
    made(&identity(node)?, "Transpose", vec![Operand::Running], attributes, shape)
}

/// The steps that turn multiples of `scale` into integers: a division and a rounding; none if `scale` is 1.
pub fn integers(product: &Step, shape: &[usize], scale: f32) -> Result<Vec<Step>> {
    if scale == 1.0 {
        return Ok(Vec::new());
    }
    let round = made(product, "Round", vec![Operand::Running], product.attributes.clone(), shape)?;
    Ok(vec![with(product, "Div", Tensor::scalar(scale), shape)?, round])
}

/// A step of ONNX's operator `name` with the place and name of `of`.
pub fn made(
    of: &Step,
    name: &str,
    operands: Vec<Operand>,
    attributes: Attributes,
    shape: &[usize],
) -> Result<Step> {
    let operator = op::find("", name).ok_or_else(|| op::unknown("", name))?;
    Ok(Step {
        operator,
        node: of.node.clone(),
        place: of.place.clone(),
        attributes,
        operands,
        output: 0,
        shape: shape.to_vec(),
        codes: None,
    })
}

/// A step of ONNX's binary operator `name` on the running tensor and a constant.
pub fn with(of: &Step, name: &str, constant: Tensor, shape: &[usize]) -> Result<Step> {
    let operands = vec![Operand::Running, Operand::Constant(Arc::new(constant))];
    made(of, name, operands, Attributes::new(of.attributes.opset), shape)
}
