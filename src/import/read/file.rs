//! The graph of an ONNX file as it is stored: nodes, constants and shapes, without consistency checks.

use std::collections::BTreeMap;
use std::fmt;

use crate::diagnostic::{Diagnostic, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result};
use crate::frame::element::Element;
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::tensor::Tensor;
use crate::import::read::constant;
use crate::import::read::external::External;
use crate::import::read::limits::{
    MAX_BYTES, MAX_FIELDS, MAX_NODES, limit, name, pair, too_large, unreadable,
};
use crate::import::read::wire::fields;

/// The graph of a file.
#[derive(Debug, Default)]
pub struct Graph {
    /// The nodes, in file order.
    pub nodes: Vec<Node>,
    /// Named constants.
    pub initialisers: Vec<(String, Tensor)>,
    /// ONNX codes of the element types of constants, by tensor name. Holds initialisers and constants inside nodes.
    pub kinds: BTreeMap<String, i64>,
    /// The graph inputs. Initialisers may be listed here too.
    pub inputs: Vec<Edge>,
    /// The graph outputs.
    pub outputs: Vec<Edge>,
    /// Integer types from FINN's `finn_datatype` annotations, by tensor name.
    pub annotations: Vec<(String, Element)>,
    /// For which layers the members were calibrated: the number of each in the order of seeds, by the name of its node.
    pub calibrated: BTreeMap<String, u64>,
}

/// Key of the metadata that holds [`Graph::calibrated`], as a JSON object.
pub const CALIBRATED: &str = "stoxnor.calibrated_layers";

/// One node: an application of an operator.
#[derive(Debug, Clone)]
pub struct Node {
    /// Position in the file, from 0.
    pub index: usize,
    /// Operator type.
    pub op: String,
    /// Operator domain; empty for ONNX's own domain.
    pub domain: String,
    /// The node's name. If the file has none, it is the operator and the first output, joined by `_`.
    pub name: String,
    /// Names of the input tensors; an empty name is an omitted optional input.
    pub inputs: Vec<String>,
    /// Names of the output tensors; an empty name is an omitted optional output.
    pub outputs: Vec<String>,
    /// Attributes, with the operator set version.
    pub attributes: Attributes,
}

/// A graph input or output.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    /// The tensor's name.
    pub name: String,
    /// The ONNX code of the element type, if it is declared.
    pub element: Option<i64>,
    /// Declared extents. `None` is a symbolic extent, or 0.
    pub shape: Option<Vec<Option<usize>>>,
}

impl fmt::Display for Node {
    /// The node as diagnostics name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "node {} ({}{}{}, number {} of the graph)",
            self.name,
            self.domain,
            self.dot(),
            self.op,
            self.index + 1
        )
    }
}

impl Node {
    fn dot(&self) -> &'static str {
        if self.domain.is_empty() { "" } else { "." }
    }
}

/// Parses a model file. External tensor data is read from `external`.
///
/// # Errors
/// If the file is no ONNX model, exceeds a limit, or holds a graph form that is not supported.
pub fn parse(bytes: &[u8], external: &External) -> Result<Graph> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large("bytes", bytes.len(), MAX_BYTES));
    }
    let mut graph = None;
    let mut opsets = Vec::new();
    let mut calibrated = BTreeMap::new();
    for field in fields(bytes) {
        match field? {
            (7, value) => {
                let before = graph.replace(value.bytes()?);
                if before.is_some() {
                    return Err(unreadable("the file holds two graphs"));
                }
            }
            (8, value) => {
                limit("operator sets", opsets.len(), MAX_FIELDS)?;
                opsets.push(opset(value.bytes()?)?);
            }
            (14, value) => {
                if let Some(text) = self::calibrated(value.bytes()?)? {
                    calibrated = serde_json::from_str(text)
                        .map_err(|e| unreadable(format!("its {CALIBRATED} are damaged: {e}")))?;
                }
            }
            (25, _) => {
                return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, "the model defines functions of its own")
                    .help("inline them on export (onnx.inliner.inline_local_functions)")
                    .into());
            }
            _ => {}
        }
    }
    let graph = graph.ok_or_else(|| unreadable(format!("no graph in {} bytes", bytes.len())))?;
    Ok(Graph { calibrated, ..read_graph(graph, &opsets, external)? })
}

/// The value of the metadata entry [`CALIBRATED`]; `None` for an entry of another tool, which may hold anything.
///
/// # Errors
/// If the entry is no key and value, or the value no text.
pub fn calibrated(message: &[u8]) -> Result<Option<&str>> {
    let (mut own, mut found) = (false, None);
    for field in fields(message) {
        match field? {
            (1, key) => own = key.bytes()? == CALIBRATED.as_bytes(),
            (2, value) => found = Some(value),
            _ => {}
        }
    }
    found.filter(|_| own).map(|value| value.text()).transpose()
}

fn opset(message: &[u8]) -> Result<(&str, i64)> {
    let (mut domain, mut version) = ("", 0);
    for field in fields(message) {
        match field? {
            (1, value) => domain = value.text()?,
            (2, value) => version = value.int()?,
            _ => {}
        }
    }
    Ok((domain, version))
}

fn read_graph(message: &[u8], opsets: &[(&str, i64)], external: &External) -> Result<Graph> {
    let mut graph = Graph::default();
    let mut errors = Vec::new();
    for field in fields(message) {
        match field? {
            (1, value) => {
                limit("nodes", graph.nodes.len(), MAX_NODES)?;
                let (node, kind) = node(value.bytes()?, graph.nodes.len(), opsets, external)?;
                graph.kinds.extend(node.outputs.first().cloned().zip(kind));
                graph.nodes.push(node);
            }
            (5, value) => {
                limit("initialisers", graph.initialisers.len() + errors.len(), MAX_NODES)?;
                match constant::read(value.bytes()?, external) {
                    Ok(constant) => {
                        graph.kinds.insert(constant.name.clone(), constant.kind);
                        graph.initialisers.push((constant.name, constant.tensor));
                    }
                    Err(found) => errors.extend(found),
                }
            }
            (11, value) => {
                limit("inputs", graph.inputs.len(), MAX_NODES)?;
                graph.inputs.push(edge(value.bytes()?)?);
            }
            (12, value) => {
                limit("outputs", graph.outputs.len(), MAX_NODES)?;
                graph.outputs.push(edge(value.bytes()?)?);
            }
            (14, value) => {
                limit("annotations", graph.annotations.len(), MAX_NODES)?;
                graph.annotations.extend(annotation(value.bytes()?)?);
            }
            (15, _) => {
                errors.push(
                    Diagnostic::new(&OPERATOR_UNSUPPORTED, "the model holds sparse initialisers")
                        .help("export them dense"),
                );
            }
            _ => {}
        }
    }
    crate::diagnostic::Diagnostics::collected(errors)?;
    Ok(graph)
}

/// Parses a node. The second result is the element type of the constant that it holds.
fn node(
    message: &[u8],
    index: usize,
    opsets: &[(&str, i64)],
    external: &External,
) -> Result<(Node, Option<i64>)> {
    let mut node = Node {
        index,
        op: String::new(),
        domain: String::new(),
        name: String::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        attributes: Attributes::default(),
    };
    let mut attributes = Vec::new();
    let mut kind = None;
    for field in fields(message) {
        match field? {
            (1, value) => {
                limit("inputs of a node", node.inputs.len(), MAX_FIELDS)?;
                node.inputs.push(name(value)?.to_owned());
            }
            (2, value) => {
                limit("outputs of a node", node.outputs.len(), MAX_FIELDS)?;
                node.outputs.push(name(value)?.to_owned());
            }
            (3, value) => node.name = name(value)?.to_owned(),
            (4, value) => node.op = name(value)?.to_owned(),
            (5, value) => {
                limit("attributes of a node", attributes.len(), MAX_FIELDS)?;
                attributes.push(value.bytes()?);
            }
            (7, value) => node.domain = name(value)?.to_owned(),
            _ => {}
        }
    }
    if node.domain == "ai.onnx" {
        node.domain.clear();
    }
    if node.name.is_empty() {
        node.name = format!("{}_{}", node.op, node.outputs.first().map_or("", String::as_str));
    }
    let version = opsets
        .iter()
        .find(|(domain, _)| *domain == node.domain || (node.domain.is_empty() && *domain == "ai.onnx"));
    node.attributes.opset = version.map_or(1, |v| v.1);
    for message in attributes {
        let (name, value, element) = attribute(message, external).map_err(|e| e.placed(&node.to_string()))?;
        kind = kind.or(element);
        if node.attributes.insert(name, value).is_some() {
            return Err(Diagnostic::new(&MODEL_INVALID, format!("attribute {name} is given twice"))
                .at(node.to_string())
                .into());
        }
    }
    while node.inputs.last().is_some_and(String::is_empty) {
        node.inputs.pop();
    }
    Ok((node, kind))
}

/// Parses an attribute: name, value, and the element type of a tensor value. The declared type decides how the value is read; old
/// files declare none, then the field that is present decides.
fn attribute<'a>(message: &'a [u8], external: &External) -> Result<(&'a str, Attribute, Option<i64>)> {
    let mut name = "";
    let mut kind = 0;
    let (mut float, mut int, mut string, mut constant) = (None, None, None, None);
    let (mut floats, mut ints) = (Vec::new(), Vec::new());
    let mut other = false;
    for field in fields(message) {
        match field? {
            (1, value) => name = self::name(value)?,
            (2, value) => float = Some(value.float()?),
            (3, value) => int = Some(value.int()?),
            (4, value) => string = Some(String::from_utf8_lossy(value.bytes()?).into_owned()),
            (5, value) => constant = Some(constant::read(value.bytes()?, external)?),
            (7, value) => value.floats(&mut floats)?,
            (8, value) => value.ints(&mut ints)?,
            (20, value) => kind = value.int()?,
            (6 | 9 | 10 | 11 | 14 | 15 | 21 | 22 | 23, _) => other = true,
            _ => {}
        }
    }
    let element = constant.as_ref().map(|c| c.kind);
    let constant = constant.map(|c| c.tensor);
    // proto3 omits fields with default values, so only the declared type shows that such a value is present.
    let value = match kind {
        1 => Attribute::Float(float.unwrap_or(0.0)),
        2 => Attribute::Int(int.unwrap_or(0)),
        3 => Attribute::String(string.unwrap_or_default()),
        4 => match constant {
            Some(tensor) => Attribute::Tensor(tensor),
            None => return Err(unreadable(format!("attribute {name} has no tensor"))),
        },
        6 => Attribute::Floats(floats),
        7 => Attribute::Ints(ints),
        0 if !other => match (float, int, string, constant) {
            (Some(v), None, None, None) => Attribute::Float(v),
            (None, Some(v), None, None) => Attribute::Int(v),
            (None, None, Some(v), None) => Attribute::String(v),
            (None, None, None, Some(v)) => Attribute::Tensor(v),
            _ if !floats.is_empty() => Attribute::Floats(floats),
            _ => Attribute::Ints(ints),
        },
        _ => Attribute::Other,
    };
    Ok((name, value, element))
}

fn edge(message: &[u8]) -> Result<Edge> {
    let mut edge = Edge::default();
    for field in fields(message) {
        match field? {
            (1, value) => edge.name = name(value)?.to_owned(),
            (2, value) => {
                for kind in fields(value.bytes()?) {
                    match kind? {
                        (1, value) => edge_type(value.bytes()?, &mut edge)?,
                        _ => edge.element = Some(0),
                    }
                }
            }
            _ => {}
        }
    }
    Ok(edge)
}

fn edge_type(message: &[u8], edge: &mut Edge) -> Result<()> {
    for field in fields(message) {
        match field? {
            (1, value) => edge.element = Some(value.int()?),
            (2, value) => {
                let mut shape = Vec::new();
                for axis in fields(value.bytes()?) {
                    let (1, axis) = axis? else { continue };
                    limit("axes", shape.len(), MAX_FIELDS)?;
                    let mut extent = None;
                    for field in fields(axis.bytes()?) {
                        if let (1, value) = field? {
                            extent = usize::try_from(value.int()?).ok().filter(|&n| n > 0);
                        }
                    }
                    shape.push(extent);
                }
                edge.shape = Some(shape);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Parses a quantisation annotation: the tensor's name and integer type, if it has a `finn_datatype`.
fn annotation(message: &[u8]) -> Result<Option<(String, Element)>> {
    let (mut tensor, mut found) = ("", None);
    for field in fields(message) {
        match field? {
            (1, value) => tensor = name(value)?,
            (2, value) => {
                if let ("finn_datatype", kind) = pair(value.bytes()?)? {
                    found = integer_type(kind);
                }
            }
            _ => {}
        }
    }
    Ok(found.map(|kind| (tensor.to_owned(), kind)))
}

/// The element type that QONNX calls `name`; `None` beyond 16 bits.
fn integer_type(name: &str) -> Option<Element> {
    let bits = |digits: &str| digits.parse().ok().filter(|b| (1..=16).contains(b));
    match name {
        "BIPOLAR" => Some(Element::Bipolar),
        "BINARY" => Some(Element::Unsigned(1)),
        "TERNARY" => Some(Element::Signed(2)),
        _ => match name.strip_prefix("UINT") {
            Some(digits) => bits(digits).map(Element::Unsigned),
            None => bits(name.strip_prefix("INT")?).map(Element::Signed),
        },
    }
}
