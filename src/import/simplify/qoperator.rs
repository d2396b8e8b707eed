//! Pass: replaces ONNX Runtime's operators on integers (the QOperator format) by the graph that each abbreviates:
//! `DequantizeLinear` of every operand, the operator in float32, `QuantizeLinear` of the result.
//!
//! The ONNX specification defines `QLinearConv` and its like by that graph. ONNX Runtime computes them with integer sums and one
//! float32 factor, so its results may differ by one step where a sum lies within a rounding error of a tie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result, SAVE_AGAIN};
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::tensor::{Data, Tensor};
use crate::import::read::file::Node;
use crate::import::simplify::types;

/// ONNX Runtime's domain. Older files have some of its operators in ONNX's own.
const MICROSOFT: &str = "com.microsoft";

/// The operator set of the nodes that this pass writes: the lowest that has `DequantizeLinear` with an axis.
const OPSET: i64 = 13;

/// Nodes, and the constants that they read.
type Expanded = (Vec<Node>, Vec<(String, Tensor)>);

/// Replaces the operators on integers in `nodes`, which are in topological order, and writes the output type of every
/// `QuantizeLinear` (see [`types::settle`]). `kinds` are the ONNX codes of the element types of the file's constants, by name.
///
/// Returns the nodes and the constants that they need besides the file's.
pub fn expand(
    nodes: Vec<Node>,
    constants: &BTreeMap<String, Arc<Tensor>>,
    mut kinds: BTreeMap<String, i64>,
) -> Result<Expanded> {
    let tensors = nodes.iter().flat_map(|n| n.inputs.iter().chain(&n.outputs));
    let used: BTreeSet<String> = tensors.chain(kinds.keys()).cloned().collect();
    let mut all = Vec::with_capacity(nodes.len());
    let mut made = Made { used, floats: BTreeMap::new(), moved: BTreeMap::new(), constants: Vec::new() };
    for node in nodes {
        let place = node.to_string();
        let mut writer =
            Writer { node: &node, file: constants, kinds: &kinds, made: &mut made, nodes: Vec::new() };
        let mut new = match writer.replace().map_err(|e| e.placed(&place))? {
            true => writer.nodes,
            false => vec![node],
        };
        types::settle(&mut new, &mut kinds)?;
        for node in new.iter().filter(|n| MOVING.contains(&n.op.as_str()) && n.outputs.len() == 1) {
            made.moved.insert(node.outputs[0].clone(), node.clone());
        }
        all.extend(new);
    }
    Ok((all, made.constants))
}

/// Operators that move or select elements and that stand between operators on integers in QOperator files.
const MOVING: [&str; 7] = ["Identity", "Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// Maximum number of them between a quantiser and the operator that reads its integers.
const MAX_MOVING: usize = 16;

/// What the pass has written so far.
struct Made {
    /// The names of all tensors.
    used: BTreeSet<String>,
    /// The dequantised form of integers, by the names of integers, scale and zero point, and by axis.
    floats: BTreeMap<(String, String, String, i64), String>,
    /// Outputs of [`MOVING`] operators and their nodes.
    moved: BTreeMap<String, Node>,
    constants: Vec<(String, Tensor)>,
}

impl Made {
    /// A tensor name that nobody uses, beginning with `stem`.
    fn name(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        let mut count = 1;
        while !self.used.insert(name.clone()) {
            count += 1;
            name = format!("{stem}_{count}");
        }
        name
    }
}

/// Writes the nodes that replace `node`.
struct Writer<'a> {
    node: &'a Node,
    /// The file's constants.
    file: &'a BTreeMap<String, Arc<Tensor>>,
    kinds: &'a BTreeMap<String, i64>,
    made: &'a mut Made,
    nodes: Vec<Node>,
}

impl Writer<'_> {
    /// Writes the replacement; `false` if the node stays as it is.
    fn replace(&mut self) -> Result<bool> {
        let node = self.node;
        let both = ["", MICROSOFT].contains(&node.domain.as_str());
        if !both {
            return Ok(false);
        }
        let plain = node.domain.is_empty();
        match node.op.as_str() {
            "QLinearConv" => {
                self.takes(8, 9)?;
                self.not_last()?;
                let x = self.float(0, 1, 2, 1)?;
                let w = self.float(3, 4, 5, 0)?;
                let mut inputs = vec![x, w];
                if self.has(8) {
                    let scale = self.product(1, 4);
                    inputs.push(self.bias(8, scale));
                }
                self.finish("Conv", inputs, self.kept(&["channels_last"]), Some((6, 7)))?;
            }
            "QLinearMatMul" => {
                self.takes(8, 8)?;
                // Several scales of `a` belong to its rows, of `b` to its columns.
                let a = self.float(0, 1, 2, -2)?;
                let b = self.float(3, 4, 5, -1)?;
                self.finish("MatMul", vec![a, b], self.kept(&[]), Some((6, 7)))?;
            }
            "QGemm" if !plain => self.gemm()?,
            "QLinearAdd" | "QLinearMul" if !plain => {
                self.takes(7, 8)?;
                let a = self.float(0, 1, 2, 1)?;
                let b = self.float(3, 4, 5, 1)?;
                self.finish(&node.op["QLinear".len()..], vec![a, b], self.kept(&[]), Some((6, 7)))?;
            }
            "QLinearConcat" if !plain => {
                let count = node.inputs.len();
                if count < 5 || !(count - 2).is_multiple_of(3) {
                    let message = format!(
                        "{count} inputs; a scale, a zero point and three for each operand are wanted"
                    );
                    return Err(Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into());
                }
                let operands =
                    (2..count).step_by(3).map(|i| self.float(i, i + 1, i + 2, 1)).collect::<Result<_>>()?;
                self.finish("Concat", operands, self.kept(&[]), Some((0, 1)))?;
            }
            "QLinearGlobalAveragePool"
            | "QLinearAveragePool"
            | "QLinearLeakyRelu"
            | "QLinearSigmoid"
            | "QLinearReduceMean"
                if !plain =>
            {
                self.takes(4, 5)?;
                self.not_last()?;
                let x = self.float(0, 1, 2, 1)?;
                let attributes = self.kept(&["channels_last"]);
                self.finish(&node.op["QLinear".len()..], vec![x], attributes, Some((3, 4)))?;
            }
            "QLinearSoftmax" if !plain => {
                self.takes(4, 5)?;
                let x = self.float(0, 1, 2, 1)?;
                let mut attributes = self.kept(&["opset"]);
                // The operator set decides what the axis means.
                attributes.opset = node.attributes.int("opset", OPSET)?;
                let axis = node.attributes.int("axis", -1)?;
                attributes.insert("axis", Attribute::Int(axis));
                self.finish("Softmax", vec![x], attributes, Some((3, 4)))?;
            }
            "MatMulInteger" | "ConvInteger" if plain => {
                self.takes(2, 4)?;
                let convolves = node.op == "ConvInteger";
                let (rows, columns) = if convolves { (1, 0) } else { (-2, -1) };
                let a = self.integers(0, 2, rows)?;
                let b = self.integers(1, 3, columns)?;
                self.finish(if convolves { "Conv" } else { "MatMul" }, vec![a, b], self.kept(&[]), None)?;
            }
            "DequantizeLinear" => return self.again(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `QGemm`: the scale of C is alpha times that of the product, and only the product is multiplied by alpha again.
    fn gemm(&mut self) -> Result<()> {
        self.takes(6, 9)?;
        let turned = self.node.attributes.int("transB", 0)? != 0;
        let a = self.float(0, 1, 2, 1)?;
        let b = self.float(3, 4, 5, i64::from(!turned))?;
        let mut inputs = vec![a, b];
        if self.has(6) {
            let mut scale = self.product(1, 4);
            let alpha = self.node.attributes.float("alpha", 1.0)?;
            #[allow(clippy::float_cmp, reason = "1 changes nothing")]
            if alpha != 1.0 {
                let factor = self.constant("alpha", Tensor::scalar(alpha));
                scale = self.emit("Mul", vec![scale, factor], Attributes::new(OPSET), "scale");
            }
            inputs.push(self.bias(6, scale));
        }
        let attributes = self.kept(&[]);
        // Without a scale of the result, it is float32.
        let quantised = self.has(7).then_some((7, 8));
        self.finish("Gemm", inputs, attributes, quantised)
    }

    /// Checks the number of inputs and that there is one output.
    fn takes(&self, min: usize, max: usize) -> Result<()> {
        let (inputs, outputs) = (self.node.inputs.len(), self.node.outputs.len());
        if (min..=max).contains(&inputs) && outputs == 1 {
            return Ok(());
        }
        let message =
            format!("{inputs} inputs and {outputs} outputs; {min} to {max} inputs and 1 output are wanted");
        Err(Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into())
    }

    /// Rejects images whose channels are the last axis.
    fn not_last(&self) -> Result<()> {
        if self.node.attributes.int("channels_last", 0)? == 0 {
            return Ok(());
        }
        Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, "channels_last = 1; the channels have to be axis 1")
            .help("quantise the model without the graph optimisations of ONNX Runtime, which write this form")
            .into())
    }

    /// Whether input number `input` is given.
    fn has(&self, input: usize) -> bool {
        self.node.inputs.get(input).is_some_and(|name| !name.is_empty())
    }

    /// The name of input number `input`; empty if it is omitted.
    fn input(&self, input: usize) -> String {
        self.node.inputs.get(input).cloned().unwrap_or_default()
    }

    /// The attributes that are given, without those of `dropped`.
    fn kept(&self, dropped: &[&str]) -> Attributes {
        let given = &self.node.attributes;
        // ONNX Runtime's own domain has operator set 1.
        let opset = if self.node.domain.is_empty() { given.opset.max(OPSET) } else { OPSET };
        let mut kept = Attributes::new(opset);
        for name in given.names().filter(|n| !dropped.contains(n)) {
            if let Some(value) = given.get(name) {
                kept.insert(name, value.clone());
            }
        }
        kept
    }

    /// The operand that input `x` is with the scale and the zero point of those numbers, in float32.
    fn float(&mut self, x: usize, scale: usize, zero: usize, axis: i64) -> Result<String> {
        if !self.has(x) || !self.has(scale) {
            let message = format!("input {} or its scale, input {}, is missing", x + 1, scale + 1);
            return Err(Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into());
        }
        let (x, scale, zero) = (self.input(x), self.input(scale), self.input(zero));
        Ok(self.dequantised(x, scale, zero, axis, MAX_MOVING))
    }

    /// `DequantizeLinear` of `x`, in front of at max `depth` operators that move `x`.
    fn dequantised(&mut self, x: String, scale: String, zero: String, axis: i64, depth: usize) -> String {
        let (key, simple) = self.key(&x, &scale, &zero, axis);
        if let Some(name) = self.made.floats.get(&key) {
            return name.clone();
        }
        // Integers that several nodes read are dequantised once, in front of what moves them, so that branches begin at the
        // real numbers, as in a QDQ graph. That changes no value, as the scale is positive and of all elements.
        if simple
            && depth > 0
            && let Some(node) = self.made.moved.get(&x).cloned()
        {
            let first = self.dequantised(node.inputs[0].clone(), scale, zero, axis, depth - 1);
            let inputs = std::iter::once(first).chain(node.inputs[1..].iter().cloned()).collect();
            let output = self.made.name(&format!("{x}_dequantised"));
            self.nodes.push(Node { inputs, outputs: vec![output.clone()], ..node });
            self.made.floats.insert(key, output.clone());
            return output;
        }
        let attributes = Attributes::new(OPSET).with("axis", Attribute::Int(axis));
        let stem = format!("{x}_dequantised");
        let mut inputs = vec![x, scale, zero];
        inputs.truncate(if inputs[2].is_empty() { 2 } else { 3 });
        let name = self.emit_as("DequantizeLinear", inputs, attributes, &stem);
        self.made.floats.insert(key, name.clone());
        name
    }

    /// What identifies a dequantisation, and whether it has one positive scale and at most one zero point. Equal constants of
    /// other names count as the same.
    fn key(&self, x: &str, scale: &str, zero: &str, axis: i64) -> ((String, String, String, i64), bool) {
        let one = |name: &str| self.file.get(name).filter(|t| t.len() == 1);
        let value = |name: &str| match one(name).map(|t| &t.data) {
            Some(Data::Float(v)) => format!("={:08x}", v[0].to_bits()),
            Some(Data::Int(v)) => format!("={}", v[0]),
            None => name.to_owned(),
        };
        let positive = one(scale).is_some_and(|t| matches!(&t.data, Data::Float(v) if v[0] > 0.0));
        let simple = positive && (zero.is_empty() || one(zero).is_some());
        // The axis says nothing where there is one scale.
        let key = (x.to_owned(), value(scale), value(zero), if simple { 0 } else { axis });
        (key, simple)
    }

    /// A `DequantizeLinear` of the file: reads the one that there is of the same integers; `false` if it is the first.
    fn again(&mut self) -> Result<bool> {
        let attributes = &self.node.attributes;
        let known = self.node.inputs.len() >= 2 && self.node.outputs.len() == 1;
        if !known || attributes.names().any(|name| name != "axis") {
            return Ok(false);
        }
        let axis = attributes.int("axis", 1)?;
        let (key, _) = self.key(&self.input(0), &self.input(1), &self.input(2), axis);
        let output = self.node.outputs[0].clone();
        match self.made.floats.get(&key).cloned() {
            Some(float) => self.write("Identity", vec![float], Attributes::new(OPSET), output),
            None => {
                self.made.floats.insert(key, output);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Operand `x` less its zero point `zero`, which may be one of each place of `axis`.
    fn integers(&mut self, x: usize, zero: usize, axis: i64) -> Result<String> {
        if !self.has(x) {
            let message = format!("input {} is missing", x + 1);
            return Err(Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into());
        }
        let one = self.constant("one", Tensor::scalar(1.0));
        let mut scale = one.clone();
        if self.has(zero) {
            // As many ones as there are zero points.
            let float = Attributes::new(OPSET).with("to", Attribute::Int(1));
            let zeros = self.emit("Cast", vec![self.input(zero)], float, "zeros");
            let nothing = self.constant("nothing", Tensor::scalar(0.0));
            let zeros = self.emit("Mul", vec![zeros, nothing], Attributes::new(OPSET), "nothing");
            scale = self.emit("Add", vec![zeros, one], Attributes::new(OPSET), "scale");
        }
        Ok(self.dequantised(self.input(x), scale, self.input(zero), axis, MAX_MOVING))
    }

    /// The product of the scales that are inputs number `x` and `w`.
    fn product(&mut self, x: usize, w: usize) -> String {
        self.emit("Mul", vec![self.input(x), self.input(w)], Attributes::new(OPSET), "scale")
    }

    /// The bias, integers times `scale`.
    fn bias(&mut self, input: usize, scale: String) -> String {
        self.dequantised(self.input(input), scale, String::new(), -1, MAX_MOVING)
    }

    fn constant(&mut self, what: &str, value: Tensor) -> String {
        let name = self.made.name(&format!("{}_{what}", self.node.name));
        self.made.constants.push((name.clone(), value));
        name
    }

    /// Writes a node whose output gets a name of its own, ending in `what`.
    fn emit(&mut self, op: &str, inputs: Vec<String>, attributes: Attributes, what: &str) -> String {
        let stem = format!("{}_{what}", self.node.name);
        self.emit_as(op, inputs, attributes, &stem)
    }

    fn emit_as(&mut self, op: &str, inputs: Vec<String>, attributes: Attributes, stem: &str) -> String {
        let output = self.made.name(stem);
        self.write(op, inputs, attributes, output.clone());
        output
    }

    /// Writes a node. It keeps the name and the number of the node that it stands for, so that diagnostics name that.
    fn write(&mut self, op: &str, inputs: Vec<String>, attributes: Attributes, output: String) {
        self.nodes.push(Node {
            index: self.node.index,
            op: op.to_owned(),
            domain: String::new(),
            name: self.node.name.clone(),
            inputs,
            outputs: vec![output],
            attributes,
        });
    }

    /// Writes the operator itself, and the quantiser of its result with the scale and zero point that are inputs of those numbers.
    fn finish(
        &mut self,
        op: &str,
        inputs: Vec<String>,
        attributes: Attributes,
        quantised: Option<(usize, usize)>,
    ) -> Result<()> {
        let output = self.node.outputs[0].clone();
        let Some((scale, zero)) = quantised else {
            self.write(op, inputs, attributes, output);
            return Ok(());
        };
        let scale = self.input(scale);
        let zero = if self.has(zero) {
            self.input(zero)
        } else {
            // The result has the type of the operand.
            let operand = if self.node.op == "QLinearConcat" { 2 } else { 0 };
            let Some(kind) = self.kinds.get(&self.input(operand)).copied() else {
                let message = "the result has no zero point, and the type of the operand isn't known";
                return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                    .help("give the node a zero point of the result's type")
                    .into());
            };
            let zero = self.constant("zero", Tensor { shape: Vec::new(), data: Data::Int(vec![0]) });
            let attributes = Attributes::new(OPSET).with("to", Attribute::Int(kind));
            self.emit("Cast", vec![zero], attributes, "typed")
        };
        let stem = format!("{output}_float");
        let float = self.emit_as(op, inputs, attributes, &stem);
        self.write("QuantizeLinear", vec![float, scale, zero], Attributes::new(OPSET), output);
        Ok(())
    }
}
