//! The description of one operator: its float32 semantics and its role in a network.

use crate::arith::stochastic::Rounding;
use crate::diagnostic::{
    ACTIVATION_UNSUPPORTED, Diagnostic, Diagnostics, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result, SAVE_AGAIN,
};
use crate::graph::attributes::Attributes;
use crate::graph::tensor::{Data, Tensor};

/// The role of an operator: where it may stand between, before or after layers.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    /// Elementwise with constant operands: may stand between a matrix product and its activation.
    Elementwise {
        /// The inputs in which the operator is monotone, for finite values.
        monotone: &'static [usize],
        /// The effect on the distance between two levels.
        spacing: Spacing,
    },
    /// Moves elements and changes no value.
    Layout,
    /// Elementwise rounding to a finite set of levels: the values are integers times scales from here on.
    Quantiser(Quantiser),
    /// A matrix product with constant weights, which becomes a layer.
    Product,
    /// Average pooling: a linear function, with equal weights within a window.
    Pool,
    /// Moves, repeats or selects elements; the only new elements are constants.
    Select,
    /// Mixes or drops elements: allowed on the host only, after the last layer.
    Host,
    /// Allowed on constants and static shapes only; removed by constant folding.
    Constant,
}

/// The effect of an elementwise operator on the distance between equally spaced levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// The distance is kept, as long as the levels stay distinct.
    Kept,
    /// The distance d becomes f(d) - f(0), with f the operator.
    Scaled,
    /// The levels are no longer equally spaced.
    Lost,
}

/// Computes the levels of a quantiser; `None` if it has no levels of its own.
pub type TellLevels = fn(&Attributes, &[Option<&Tensor>]) -> Result<Option<Levels>>;

/// Computes the integers and scales of a quantiser's output, from all inputs.
pub type TellCodes = fn(&Attributes, &[&Tensor]) -> Result<Codes>;

/// The functions that describe a quantiser.
#[derive(Debug, Clone, Copy)]
pub struct Quantiser {
    /// The levels, from the attributes and the constant operands (the running operand is `None`), or an error if there are none.
    /// `None` if the operator only rescales or coarsens the levels of its input.
    pub levels: TellLevels,
    /// The integers and scales whose products are the outputs; `None` if the importer does not need them.
    pub codes: Option<TellCodes>,
}

/// The possible output values of a quantiser, one per code.
pub struct Levels {
    /// The first code. The codes are `first`, `first + step` and so on, `count` of them.
    pub first: i64,
    /// The distance between two codes.
    pub step: i64,
    /// The number of codes, at least 1.
    pub count: usize,
    /// The distance between the values of codes that differ by 1. It broadcasts to the running tensor. `None` if the values need
    /// not be equally spaced.
    pub scale: Option<Tensor>,
    /// The value of a code, a tensor of the shape of `scale`, or a scalar.
    pub value: Box<dyn Fn(f32) -> Result<Tensor>>,
}

impl Levels {
    /// The codes in ascending order.
    pub fn codes(&self) -> impl Iterator<Item = i64> + use<> {
        let (first, step) = (self.first, self.step);
        (0..self.count as i64).map(move |i| first + i * step)
    }
}

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} codes from {} by {}", self.count, self.first, self.step)
    }
}

/// A tensor as integers times scales, both of its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    /// The integers, stored as float32. For stochastic weights, real numbers from -1 to 1.
    pub integers: Tensor,
    /// The scale of each element.
    pub scales: Tensor,
    /// The stochastic rounding of the weights; `None` if they are deterministic.
    pub rounding: Option<Rounding>,
}

impl Codes {
    /// The codes with both tensors rearranged by `f`.
    pub fn moved(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { integers: f(&self.integers)?, scales: f(&self.scales)?, rounding: self.rounding })
    }
}

/// Evaluates an operator: its outputs, from its attributes and all inputs.
pub type Eval = fn(&Attributes, &[&Tensor]) -> Result<Vec<Tensor>>;

/// One operator.
pub struct Operator {
    /// The operator's type in the file.
    pub name: &'static str,
    /// Domains of the operator.
    pub domains: &'static [&'static str],
    /// Minimum and maximum number of inputs. An omitted input before the last is passed to `eval` as a tensor without elements.
    pub inputs: (usize, usize),
    /// Attributes that the operator accepts: `eval` reads them, or they do not affect inference.
    pub attributes: &'static [&'static str],
    /// The role in a network.
    pub role: Role,
    /// Computes the outputs from all inputs. Its errors do not name the node; the caller adds that.
    pub eval: Eval,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// ONNX's own domain.
pub(crate) const ONNX: &[&str] = &[""];

/// The domain of stoxnor's own operators.
pub(crate) const OWN: &str = "stoxnor";

/// The domain of operators that the configuration inserts into a graph; files cannot use it.
pub(crate) const CONFIGURED: &str = "stoxnor.configuration";

/// The domains of quantised operators. Brevitas, FINN and QONNX use different domains for the same operators.
pub(crate) const QUANTISED: &[&str] = &["onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general"];

impl Operator {
    /// Whether the outputs depend on static shapes and attributes only.
    pub fn is_constant(&self) -> bool {
        matches!(self.role, Role::Constant)
    }

    /// Checks that a node's attributes and number of inputs are accepted.
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
            .into())
    }
}

/// The diagnostic for a form of an operator that is not supported.
pub(crate) fn unsupported(message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
        .help("replace this form in the model, or simplify the graph before the import (onnxsim)")
        .into()
}

/// The diagnostic for a form that ONNX itself does not allow.
pub(crate) fn invalid(message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into()
}

/// The index of axis `axis` of `rank`; negative numbers count from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let positive = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(positive)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| invalid(format!("axis {axis} of a tensor with {rank} axes")))
}

/// The value of a tensor whose elements, float32 or integer, are all equal.
pub(crate) fn number(tensor: &Tensor, what: &str) -> Result<f32> {
    let values: Vec<f32> = numbers(tensor).floats(what)?.to_vec();
    match values.first() {
        Some(first) if values.iter().all(|v| v == first) => Ok(*first),
        Some(first) => {
            let other = values.iter().find(|v| *v != first).unwrap_or(first);
            Err(unsupported(format!("the {what} differs between elements: {first} and {other}")))
        }
        None => Err(invalid(format!("the {what} is empty"))),
    }
}

/// The tensor converted to float32.
pub(crate) fn numbers(tensor: &Tensor) -> std::borrow::Cow<'_, Tensor> {
    match &tensor.data {
        Data::Float(_) => std::borrow::Cow::Borrowed(tensor),
        Data::Int(v) => std::borrow::Cow::Owned(Tensor {
            shape: tensor.shape.clone(),
            data: Data::Float(v.iter().map(|&i| i as f32).collect()),
        }),
    }
}

/// The operand number `input`, which must be constant.
pub(crate) fn constant<'a>(x: &[Option<&'a Tensor>], input: usize, what: &str) -> Result<&'a Tensor> {
    x.get(input)
        .copied()
        .flatten()
        .ok_or_else(|| unsupported(format!("the {what} is computed from the graph's input")))
}

/// The diagnostic for an activation that the hardware does not support.
pub(crate) fn unfit(fact: String) -> Diagnostics {
    Diagnostic::new(&ACTIVATION_UNSUPPORTED, fact)
        .help("activations of 1 to 8 bits are supported, inputs of 1 to 16: integers times one scale (Quant, QuantizeLinear, BipolarQuant, MultiThreshold)")
        .into()
}

/// A list of integers: attribute `name` in old operator sets, input number `input` in newer ones.
pub(crate) fn list<'a>(
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
    use super::*;

    #[test]
    fn axes_count_from_both_ends() {
        assert_eq!(axis(-1, 3).unwrap(), 2);
        assert_eq!(axis(0, 1).unwrap(), 0);
        assert!(
            axis(3, 3).is_err() && axis(-4, 3).is_err() && axis(i64::MIN, 3).is_err() && axis(0, 0).is_err()
        );
    }
}
