//! One operator: what it computes, and where it may stand.

use crate::arith::stochastic::Rounding;
use crate::diagnostic::{
    ACTIVATION_UNSUPPORTED, Diagnostic, Diagnostics, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result, SAVE_AGAIN,
};
use crate::graph::attributes::Attributes;
use crate::graph::tensor::{Data, Tensor};

/// Where an operator may stand, seen from the running tensor.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    /// Element by element with constants: may stand between a matrix product and its activation.
    Elementwise {
        /// The inputs with which every element rises or falls (weakly) as long as everything is finite.
        monotone: &'static [usize],
        /// What it does to the distance between two levels.
        spacing: Spacing,
    },
    /// Moves elements and changes no value.
    Layout,
    /// Element by element onto few levels: where integers begin.
    Quantiser(Quantiser),
    /// Sums of products with constant weights: what becomes hardware.
    Product,
    /// Averages of windows: linear, with the same factor for every element that a window sees.
    Pool,
    /// Moves, repeats or chooses elements, and makes none but constant ones.
    Select,
    /// Mixes elements or loses them: on the host, after the last layer.
    Host,
    /// Only of constants and of static shapes: gone after constant folding.
    Constant,
}

/// What an elementwise operator does to the distance between equally spaced levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Nothing, where the levels stay distinct.
    Kept,
    /// It is scaled: by what the operator makes of it, less what it makes of 0.
    Scaled,
    /// It is gone: the levels are no longer equally spaced.
    Lost,
}

/// Tells the levels of a quantiser, if it has any of its own.
pub type TellLevels = fn(&Attributes, &[Option<&Tensor>]) -> Result<Option<Levels>>;

/// Tells the integers and scales of a quantiser's output, given all inputs.
pub type TellCodes = fn(&Attributes, &[&Tensor]) -> Result<Codes>;

/// What a quantiser tells about itself.
#[derive(Debug, Clone, Copy)]
pub struct Quantiser {
    /// The levels, from the attributes and the constant operands (the running one is `None`), or why there are none;
    /// no levels where the operator only scales or coarsens those that it is given.
    pub levels: TellLevels,
    /// Integers and scales whose products the outputs are, from all inputs; nothing where that has no use.
    pub codes: Option<TellCodes>,
}

/// The values that a quantiser's elements may have: one for every code.
pub struct Levels {
    /// The codes: `first`, `first + step` and so on, `count` of them.
    pub first: i64,
    /// From one code to the next.
    pub step: i64,
    /// How many codes there are, at least 1.
    pub count: usize,
    /// The distance between the values of codes that differ by 1; it broadcasts to the running tensor.
    pub scale: Tensor,
    /// The values of a code, of the shape of `scale`.
    pub value: Box<dyn Fn(f32) -> Result<Tensor>>,
}

impl Levels {
    /// The codes, ascending.
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

/// A tensor as integers times scales, two tensors of its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    /// The integers, in float32; real numbers from -1 to 1 where they are to be sampled.
    pub integers: Tensor,
    /// The scale of each.
    pub scales: Tensor,
    /// How they are sampled.
    pub rounding: Option<Rounding>,
}

impl Codes {
    /// The codes with their elements moved by `f`.
    pub fn moved(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { integers: f(&self.integers)?, scales: f(&self.scales)?, rounding: self.rounding })
    }
}

/// Computes the outputs of an operator, given all its inputs.
pub type Eval = fn(&Attributes, &[&Tensor]) -> Result<Vec<Tensor>>;

/// One operator.
pub struct Operator {
    /// The operator's name in the file.
    pub name: &'static str,
    /// Domains that it is known in.
    pub domains: &'static [&'static str],
    /// Fewest and most inputs. One that is left out in the middle comes to `eval` as a tensor without elements.
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
pub(crate) const ONNX: &[&str] = &[""];

/// The domain of stoxnor's own operators.
pub(crate) const OWN: &str = "stoxnor";

/// The domain of operators that the configuration puts into a graph, and no file.
pub(crate) const CONFIGURED: &str = "stoxnor.configuration";

/// The domains of the quantised operators: Brevitas, FINN and QONNX name the same operators differently.
pub(crate) const QUANTISED: &[&str] = &["onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general"];

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
            .into())
    }
}

/// A form of an operator that has no translation.
pub(crate) fn unsupported(message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
        .help("replace this form in the model, or simplify the graph before the import (onnxsim)")
        .into()
}

/// A form that ONNX itself does not allow.
pub(crate) fn invalid(message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into()
}

/// Axis `axis` of `rank`, counted from the end where negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let positive = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(positive)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| invalid(format!("axis {axis} of a tensor with {rank} axes")))
}

/// The one number that `tensor` holds, of either type, however many times.
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

/// The tensor in float32, whatever its type.
pub(crate) fn numbers(tensor: &Tensor) -> std::borrow::Cow<'_, Tensor> {
    match &tensor.data {
        Data::Float(_) => std::borrow::Cow::Borrowed(tensor),
        Data::Int(v) => std::borrow::Cow::Owned(Tensor {
            shape: tensor.shape.clone(),
            data: Data::Float(v.iter().map(|&i| i as f32).collect()),
        }),
    }
}

/// The constant that stands at input number `input`.
pub(crate) fn constant<'a>(x: &[Option<&'a Tensor>], input: usize, what: &str) -> Result<&'a Tensor> {
    x.get(input)
        .copied()
        .flatten()
        .ok_or_else(|| unsupported(format!("the {what} is computed from the graph's input")))
}

/// An activation that the hardware does not compute.
pub(crate) fn unfit(fact: String) -> Diagnostics {
    Diagnostic::new(&ACTIVATION_UNSUPPORTED, fact)
        .help("activations of 1 to 8 bits are supported, inputs of 1 to 16: integers times one scale (Quant, QuantizeLinear, BipolarQuant, MultiThreshold)")
        .into()
}

/// A list that old operator sets give as attribute `name` and new ones as input number `input`.
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
