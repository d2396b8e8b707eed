//! Pass: writes the output type of every `QuantizeLinear` into its node.
//!
//! Tensors hold integers of every type in 64 bits. Only `QuantizeLinear` needs the type, to saturate; ONNX gives it as the type
//! of the zero point. This pass stores it in attribute `output_dtype`, which has the same meaning since operator set 21.

use std::collections::BTreeMap;

use crate::diagnostic::SAVE_AGAIN;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::dtype::type_name;
use crate::graph::operator::CONFIGURED;
use crate::import::read::file::Node;

/// Operators whose output has the type of their first input.
const KEEPING: [&str; 12] = [
    "Identity",
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Clip",
    "Gather",
    "MaxPool",
    "Concat",
    "Slice",
    "Resize",
];

/// Sets `output_dtype` in `nodes`, which are in topological order. `kinds` are the ONNX codes of the element types of the file's
/// constants, by name; the types of outputs are added to them.
///
/// If the type of a zero point is unknown, nothing is written, and the operator rejects the node later.
///
/// # Errors
/// If a stated `output_dtype` differs from the type of the zero point.
pub fn settle(nodes: &mut [Node], kinds: &mut BTreeMap<String, i64>) -> Result<()> {
    for node in nodes {
        let of = |input: usize| node.inputs.get(input).and_then(|name| kinds.get(name)).copied();
        let kind = match node.op.as_str() {
            op if KEEPING.contains(&op) => of(0),
            "Cast" => node.attributes.int("to", 0).ok(),
            "QuantizeLinear" => {
                let (stated, zero) = (node.attributes.int("output_dtype", 0), of(2));
                match (stated.map_err(|e| e.placed(&node.to_string()))?, zero) {
                    (0, Some(zero)) => {
                        node.attributes.insert("output_dtype", Attribute::Int(zero));
                        Some(zero)
                    }
                    (stated, Some(zero)) if stated != zero => {
                        let (stated, zero) = (type_name(stated), type_name(zero));
                        let message = format!("output_dtype is {stated}, the zero point {zero}");
                        return Err(Diagnostic::new(&MODEL_INVALID, message)
                            .at(node.to_string())
                            .help(SAVE_AGAIN)
                            .into());
                    }
                    (stated, _) => Some(stated).filter(|s| *s != 0),
                }
            }
            _ => None,
        };
        if let (Some(kind), Some(output)) = (kind, node.outputs.first()) {
            kinds.insert(output.clone(), kind);
        }
    }
    Ok(())
}

/// Puts `IntegerInput` in front of the graph: frames are numbers, and `nodes` take input `name` as integers of type `kind`.
pub fn integer_input(
    nodes: Vec<Node>,
    name: &str,
    kind: i64,
    kinds: &mut BTreeMap<String, i64>,
) -> Vec<Node> {
    let used = |stem: &String| kinds.contains_key(stem) || nodes.iter().any(|n| n.outputs.contains(stem));
    let mut integers = format!("{name}_integers");
    while used(&integers) {
        integers.push('_');
    }
    kinds.insert(integers.clone(), kind);
    let first = Node {
        index: 0,
        op: "IntegerInput".to_owned(),
        domain: CONFIGURED.to_owned(),
        name: format!("{name} as integers"),
        inputs: vec![name.to_owned()],
        outputs: vec![integers.clone()],
        attributes: Attributes::new(1).with("type", Attribute::Int(kind)),
    };
    let renamed = nodes.into_iter().map(|mut node| {
        node.inputs.iter_mut().filter(|i| *i == name).for_each(|i| i.clone_from(&integers));
        node
    });
    std::iter::once(first).chain(renamed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attributes;

    fn node(op: &str, inputs: &[&str], output: &str, attributes: Attributes) -> Node {
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let (domain, name) = (String::new(), op.to_owned());
        Node {
            index: 0,
            op: op.into(),
            domain,
            name,
            inputs: names(inputs),
            outputs: names(&[output]),
            attributes,
        }
    }

    #[test]
    fn the_zero_point_tells_the_type_through_what_keeps_it() {
        let none = || Attributes::new(13);
        let stated = |kind| none().with("output_dtype", Attribute::Int(kind));
        let kinds = || BTreeMap::from([("i8".to_owned(), 3), ("i64".to_owned(), 7)]);
        let mut nodes = vec![
            node("Identity", &["i8"], "z", none()),
            node("QuantizeLinear", &["x", "s", "z"], "a", none()),
            node("Cast", &["i64"], "u8", none().with("to", Attribute::Int(2))),
            node("QuantizeLinear", &["x", "s", "u8"], "b", none()),
            node("QuantizeLinear", &["x", "s", "a"], "c", stated(3)),
            node("QuantizeLinear", &["x", "s", "unknown"], "d", none()),
            node("QuantizeLinear", &["x", "s"], "e", none()),
        ];
        settle(&mut nodes, &mut kinds()).unwrap();
        let found: Vec<i64> = nodes.iter().map(|n| n.attributes.int("output_dtype", 0).unwrap()).collect();
        assert_eq!(found, [0, 3, 0, 2, 3, 0, 0]);
        let mut nodes = [node("QuantizeLinear", &["x", "s", "i8"], "a", stated(2))];
        let text = settle(&mut nodes, &mut kinds()).unwrap_err().to_string();
        assert!(text.contains("output_dtype is uint8, the zero point int8"), "{text}");
    }
}
