//! Node attributes, read by name and type.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, Result};
use crate::graph::tensor::Tensor;

/// One attribute's value.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase", untagged)]
pub enum Attribute {
    /// float32.
    Float(f32),
    /// 64-bit integer.
    Int(i64),
    /// Text; bytes that are not UTF-8 are replaced.
    String(String),
    /// A constant.
    Tensor(Tensor),
    /// A list of float32.
    Floats(Vec<f32>),
    /// A list of integers.
    Ints(Vec<i64>),
    /// Operators that one node applies, in topological order; the last one gives the result.
    Program(Vec<Applied>),
    /// A subgraph, or another kind that no supported operator uses.
    Other,
}

/// One operator within a node.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Applied {
    /// The operator's domain.
    pub domain: &'static str,
    /// The operator.
    pub operator: &'static str,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its inputs.
    pub inputs: Vec<Link>,
    /// Which of its outputs is used.
    pub output: usize,
    /// The operator's function.
    #[serde(skip)]
    pub eval: fn(&Attributes, &[&Tensor]) -> Result<Vec<Tensor>>,
}

impl PartialEq for Applied {
    fn eq(&self, other: &Self) -> bool {
        let own = |a: &Self| (a.domain, a.operator, a.output);
        own(self) == own(other) && self.attributes == other.attributes && self.inputs == other.inputs
    }
}

/// An input of an operator within a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// An operand of the node, by number.
    Operand(usize),
    /// The result of an operator before it, by number.
    Applied(usize),
}

/// The attributes of one node.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct Attributes {
    /// Version of the operator set that the node's domain is imported at.
    #[serde(skip)]
    pub opset: i64,
    list: BTreeMap<String, Attribute>,
}

impl Attributes {
    /// An empty list of attributes, for operator set `opset`.
    pub fn new(opset: i64) -> Self {
        Self { opset, list: BTreeMap::new() }
    }

    /// Sets `name` and returns its previous value.
    pub fn insert(&mut self, name: &str, value: Attribute) -> Option<Attribute> {
        self.list.insert(name.to_owned(), value)
    }

    /// The same attributes with `name` set to `value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: Attribute) -> Self {
        self.insert(name, value);
        self
    }

    /// The names of all given attributes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.keys().map(String::as_str)
    }

    /// Attribute `name` in whatever type it has.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.list.get(name)
    }

    /// Attribute `name` as an integer, else `default`.
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Int(v)) => Ok(*v),
            Some(other) => Err(wrong(name, "an integer", other)),
        }
    }

    /// Attribute `name` as a float32, else `default`.
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Float(v)) => Ok(*v),
            Some(other) => Err(wrong(name, "a float", other)),
        }
    }

    /// Attribute `name` as text, else `default`.
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str> {
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::String(v)) => Ok(v),
            Some(other) => Err(wrong(name, "a string", other)),
        }
    }

    /// Attribute `name` as a list of float32; `None` if it is not given.
    pub fn floats(&self, name: &str) -> Result<Option<&[f32]>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Floats(v)) => Ok(Some(v)),
            Some(other) => Err(wrong(name, "a list of floats", other)),
        }
    }

    /// Attribute `name` as a list of integers; `None` if it is not given.
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Ints(v)) => Ok(Some(v)),
            Some(other) => Err(wrong(name, "a list of integers", other)),
        }
    }
}

fn wrong(name: &str, wanted: &str, found: &Attribute) -> Diagnostics {
    let found = match found {
        Attribute::Float(_) => "a float",
        Attribute::Int(_) => "an integer",
        Attribute::String(_) => "a string",
        Attribute::Tensor(_) => "a tensor",
        Attribute::Floats(_) => "a list of floats",
        Attribute::Ints(_) => "a list of integers",
        Attribute::Program(_) => "a list of operators",
        Attribute::Other => "a subgraph or another kind",
    };
    Diagnostic::new(&MODEL_INVALID, format!("attribute {name} is {found}, not {wanted}"))
        .help("save the model again with the ONNX checker on (onnx.checker.check_model)")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_types_and_defaults() {
        let a = Attributes::new(9)
            .with("axis", Attribute::Int(1))
            .with("layout", Attribute::String("NHWC".into()));
        assert_eq!(a.int("axis", 0).unwrap(), 1);
        assert_eq!(a.int("other", 7).unwrap(), 7);
        assert_eq!(a.text("layout", "NCHW").unwrap(), "NHWC");
        let message = a.float("axis", 0.0).unwrap_err().to_string();
        assert!(message.contains("attribute axis is an integer, not a float"), "{message}");
    }
}
