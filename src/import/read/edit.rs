//! Edits of a model file that keep everything else in it.
//!
//! The file is copied field by field. Fields that the importer ignores (documentation, metadata, shapes) are kept.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::graph::op::stochastic::picks;
use crate::graph::operator::OWN;
use crate::import::read::external::External;
use crate::import::read::file;
use crate::import::read::file::{CALIBRATED, Edge, Node, calibrated};
use crate::import::read::wire::{Value, fields};

/// New statistics of one batch normalisation.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// The node, as [`Step::place`](crate::graph::step::Step::place) names it.
    pub place: String,
    /// The mean of every channel; one list per member, concatenated.
    pub mean: Vec<f32>,
    /// The variance of every channel, laid out like `mean`.
    pub variance: Vec<f32>,
    /// The number of members in `mean` and `variance`; `None` if all members share the statistics.
    pub members: Option<usize>,
}

/// Replaces the statistics of batch normalisations and, if `seed` is given, the seed of every `StochasticQuant`.
///
/// # Errors
/// If the file cannot be parsed, or it has no such node.
pub fn with_statistics(bytes: &[u8], statistics: &[Statistics], seed: Option<u64>) -> Result<Vec<u8>> {
    let parsed = file::parse(bytes, &External::none())?;
    let nodes = &parsed.nodes;
    for wanted in statistics {
        if !nodes.iter().any(|n| n.to_string() == wanted.place) {
            let message = format!("{} is not in the file", wanted.place);
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
    }
    let names = nodes.iter().flat_map(|n| n.outputs.iter().chain(&n.inputs).cloned());
    let names = names.chain(parsed.initialisers.iter().map(|(name, _)| name.clone()));
    let names: Vec<String> = names.chain(parsed.inputs.iter().map(|i| i.name.clone())).collect();
    let dropped = dropped(nodes, &parsed.inputs, statistics);
    let mut out = Vec::with_capacity(bytes.len());
    for field in fields(bytes) {
        match field? {
            (7, value) => message(
                &mut out,
                7,
                &graph(value.bytes()?, nodes, names.clone(), &dropped, statistics, seed)?,
            ),
            (number, value) => put(&mut out, number, value),
        }
    }
    Ok(out)
}

/// Writes for which layers the members are calibrated: the number of each in the order of seeds, by the name of its node. Without
/// numbers the entry is removed.
///
/// # Errors
/// If the file cannot be parsed.
pub fn with_calibrated_layers(bytes: &[u8], numbers: &BTreeMap<String, u64>) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    for field in fields(bytes) {
        match field? {
            (14, value) if calibrated(value.bytes()?)?.is_some() => {}
            (number, value) => put(&mut out, number, value),
        }
    }
    if !numbers.is_empty() {
        let text = serde_json::to_string(numbers).expect("names and numbers");
        let mut entry = Vec::new();
        put(&mut entry, 1, Value::Bytes(CALIBRATED.as_bytes()));
        put(&mut entry, 2, Value::Bytes(text.as_bytes()));
        message(&mut out, 14, &entry);
    }
    Ok(out)
}

/// Names of the tensors that become unused: the old statistics, and the inputs of their `Member` nodes. Constants that are listed
/// as graph inputs stay.
fn dropped(nodes: &[Node], inputs: &[Edge], statistics: &[Statistics]) -> Vec<String> {
    let readers = |name: &str| nodes.iter().flat_map(|n| &n.inputs).filter(|i| *i == name).count();
    let mut dropped = Vec::new();
    for node in nodes.iter().filter(|n| statistics.iter().any(|s| s.place == n.to_string())) {
        for old in node.inputs.iter().skip(3).filter(|old| readers(old) == 1) {
            let maker = nodes.iter().find(|n| n.outputs.contains(old));
            match maker.filter(|m| picks(&m.domain, &m.op)) {
                Some(member) => dropped.extend(member.inputs.iter().filter(|i| readers(i) == 1).cloned()),
                // Statistics that another operator computes from constants stay.
                None if maker.is_some() => continue,
                None => {}
            }
            dropped.push(old.clone());
        }
    }
    dropped.retain(|name| inputs.iter().all(|i| i.name != *name));
    dropped
}

fn graph(
    bytes: &[u8],
    nodes: &[Node],
    mut names: Vec<String>,
    dropped: &[String],
    statistics: &[Statistics],
    seed: Option<u64>,
) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut constants = Vec::new();
    let mut index = 0;
    let mut fresh = |stem: String| {
        let mut name = stem;
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name.clone());
        name
    };
    for field in fields(bytes) {
        let (number, value) = field?;
        if number != 1 {
            let gone = number == 5
                && fields(value.bytes()?)
                    .flatten()
                    .any(|(n, v)| n == 8 && v.text().is_ok_and(|t| dropped.iter().any(|d| d == t)));
            if !gone {
                put(&mut out, number, value);
            }
            continue;
        }
        let (node, bytes) = (&nodes[index], value.bytes()?);
        index += 1;
        let place = node.to_string();
        if node.outputs.first().is_some_and(|o| dropped.contains(o)) {
            continue;
        }
        if let Some(found) = statistics.iter().find(|s| s.place == place) {
            let mut inputs = node.inputs.clone();
            for (at, what, values) in [(3, "mean", &found.mean), (4, "variance", &found.variance)] {
                let constant = fresh(format!("{}_{what}", node.outputs[0]));
                let mut shape = vec![values.len()];
                inputs[at] = match found.members {
                    None => constant.clone(),
                    Some(members) => {
                        shape = vec![members, values.len() / members];
                        let own = fresh(format!("{}_own_{what}", node.outputs[0]));
                        message(&mut out, 1, &member_node(&constant, &own));
                        own
                    }
                };
                constants.push(tensor(&constant, &shape, values));
            }
            message(&mut out, 1, &with_inputs(bytes, &inputs)?);
        } else if let Some(seed) =
            seed.filter(|_| (node.domain.as_str(), node.op.as_str()) == (OWN, "StochasticQuant"))
        {
            message(&mut out, 1, &with_seed(bytes, seed)?);
        } else {
            put(&mut out, 1, value);
        }
    }
    for constant in constants {
        message(&mut out, 5, &constant);
    }
    Ok(out)
}

/// The node with other inputs.
fn with_inputs(node: &[u8], inputs: &[String]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    inputs.iter().for_each(|name| message(&mut out, 1, name.as_bytes()));
    for field in fields(node) {
        let (number, value) = field?;
        if number != 1 {
            put(&mut out, number, value);
        }
    }
    Ok(out)
}

/// The node with another `seed` attribute.
fn with_seed(node: &[u8], seed: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for field in fields(node) {
        let (number, value) = field?;
        let is_seed =
            number == 5 && fields(value.bytes()?).flatten().any(|f| f == (1, Value::Bytes(b"seed")));
        if !is_seed {
            put(&mut out, number, value);
        }
    }
    let mut attribute = Vec::new();
    message(&mut attribute, 1, b"seed");
    put(&mut attribute, 3, Value::Varint(seed));
    put(&mut attribute, 20, Value::Varint(2));
    message(&mut out, 5, &attribute);
    Ok(out)
}

/// A `Member` node that selects from constant `input`.
fn member_node(input: &str, output: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, text) in [(1, input), (2, output), (3, output), (4, "Member"), (7, OWN)] {
        message(&mut out, number, text.as_bytes());
    }
    out
}

/// A float32 `TensorProto`.
fn tensor(name: &str, shape: &[usize], values: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    shape.iter().for_each(|extent| put(&mut out, 1, Value::Varint(*extent as u64)));
    put(&mut out, 2, Value::Varint(1));
    message(&mut out, 8, name.as_bytes());
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    message(&mut out, 9, &raw);
    out
}

/// Writes a length-delimited field.
fn message(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put(out, number, Value::Bytes(bytes));
}

/// Writes a field.
fn put(out: &mut Vec<u8>, number: u64, value: Value<'_>) {
    let kind = match value {
        Value::Varint(_) => 0,
        Value::Fixed64(_) => 1,
        Value::Bytes(_) => 2,
        Value::Fixed32(_) => 5,
    };
    varint(out, number << 3 | kind);
    match value {
        Value::Varint(v) => varint(out, v),
        Value::Fixed64(bytes) => out.extend(bytes),
        Value::Fixed32(bytes) => out.extend(bytes),
        Value::Bytes(bytes) => {
            varint(out, bytes.len() as u64);
            out.extend(bytes);
        }
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
