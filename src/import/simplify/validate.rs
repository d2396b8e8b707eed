//! Pass: checks that tensor names are unique and defined, and sorts the nodes topologically.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::SAVE_AGAIN;
use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result};
use crate::frame::element::Element;
use crate::graph::op::fixed;
use crate::graph::tensor;
use crate::graph::tensor::Tensor;
use crate::import::read::file;
use crate::import::read::file::{Edge, Node};
use crate::import::simplify::{qoperator, types};

/// An input of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphInput {
    /// Its name.
    pub name: String,
    /// Its shape, including the leading batch, 1 if it is symbolic.
    pub shape: Vec<usize>,
}

/// A graph with valid names, at least one input and one output, and nodes in topological order.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The nodes, in topological order.
    pub nodes: Vec<Node>,
    /// Initialisers by name.
    pub constants: BTreeMap<String, Arc<Tensor>>,
    /// Integer types from the file's annotations, by tensor name.
    pub annotations: BTreeMap<String, Element>,
    /// The inputs that an output depends on, at least one.
    pub inputs: Vec<GraphInput>,
    /// Names of the outputs, at least one.
    pub outputs: Vec<String>,
}

/// Checks names, the inputs and the outputs, drops inputs that no output depends on, and sorts the nodes topologically.
pub fn validate(file: file::Graph) -> Result<Graph> {
    let mut errors = Vec::new();
    let mut constants = BTreeMap::new();
    for (name, tensor) in file.initialisers {
        if constants.insert(name.clone(), Arc::new(tensor)).is_some() {
            errors.push(twice(&name));
        }
    }
    let mut inputs: Vec<Edge> = file.inputs;
    inputs.retain(|input| !constants.contains_key(&input.name));
    let outputs = outputs(&file.outputs, &mut errors);

    let given: BTreeSet<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
    let made = producers(&file.nodes, &constants, &given, &mut errors);
    let known = |name: &str| made.contains_key(name) || constants.contains_key(name) || given.contains(name);
    for node in &file.nodes {
        for name in node.inputs.iter().filter(|n| !n.is_empty() && !known(n)) {
            if errors.len() >= MAX_ERRORS {
                break;
            }
            let message = format!("input {name} is made by no node and is no initialiser or graph input");
            errors.push(Diagnostic::new(&MODEL_INVALID, message).at(node.to_string()).help(SAVE_AGAIN));
        }
    }
    for output in outputs.iter().filter(|name| !known(name)) {
        let message = format!("the graph's output {output} is made by no node");
        errors.push(Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN));
    }
    if given.len() < inputs.len() {
        errors.push(Diagnostic::new(&MODEL_INVALID, "an input of the graph is named twice").help(SAVE_AGAIN));
    }
    let needed = needed(&file.nodes, &made, &outputs);
    let used = |input: &&Edge| inputs.len() == 1 || needed.contains(input.name.as_str());
    let mut used: Vec<&Edge> = inputs.iter().filter(used).collect();
    if used.is_empty() {
        // Nothing depends on any input; the outputs are told so later.
        used.extend(inputs.first());
    }
    if used.is_empty() || used.len() > MAX_INPUTS {
        let message = format!("the graph has {} inputs, not 1 to {MAX_INPUTS}", used.len());
        errors.push(
            Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .help("export the model with fewer inputs, at least one"),
        );
        used.clear();
    }
    let mut kept = Vec::new();
    for edge in used {
        match input_shape(edge) {
            Ok(shape) => kept.push(GraphInput { name: edge.name.clone(), shape }),
            Err(found) => errors.push(found),
        }
    }
    Diagnostics::collected(errors)?;
    let order = order(&file.nodes, &made)?;
    let mut nodes: Vec<Option<Node>> = file.nodes.into_iter().map(Some).collect();
    let mut nodes: Vec<Node> = order.into_iter().filter_map(|i| nodes[i].take()).collect();
    let (mut annotations, mut kinds) = (BTreeMap::from_iter(file.annotations), file.kinds);
    for GraphInput { name, .. } in &kept {
        let edge = inputs.iter().find(|edge| edge.name == *name);
        let Some(kind) = edge.and_then(|edge| edge.element).filter(|k| *k != 1) else { continue };
        if let Some(Some(element)) = fixed::input_type(kind) {
            annotations.entry(name.clone()).or_insert(element);
        }
        nodes = types::integer_input(nodes, name, kind, &mut kinds);
    }
    let (nodes, more) = qoperator::expand(nodes, &constants, kinds)?;
    constants.extend(more.into_iter().map(|(name, tensor)| (name, Arc::new(tensor))));
    Ok(Graph { nodes, constants, annotations, inputs: kept, outputs })
}

/// Maximum number of graph inputs.
const MAX_INPUTS: usize = 64;

/// Maximum number of graph outputs.
const MAX_OUTPUTS: usize = 64;

/// Maximum number of name errors that are reported; a hostile file may have millions.
const MAX_ERRORS: usize = 100;

fn twice(name: &str) -> Diagnostic {
    Diagnostic::new(&MODEL_INVALID, format!("tensor {name} is made twice")).help(SAVE_AGAIN)
}

/// Checks the names of the outputs: at least one, none twice.
fn outputs(edges: &[Edge], errors: &mut Vec<Diagnostic>) -> Vec<String> {
    if edges.is_empty() || edges.len() > MAX_OUTPUTS {
        let message = format!("the graph has {} outputs, not 1 to {MAX_OUTPUTS}", edges.len());
        errors.push(
            Diagnostic::new(&OPERATOR_UNSUPPORTED, message).help("export the model with fewer outputs"),
        );
        return Vec::new();
    }
    let names: BTreeSet<&str> = edges.iter().map(|edge| edge.name.as_str()).collect();
    if names.len() < edges.len() {
        errors
            .push(Diagnostic::new(&MODEL_INVALID, "an output of the graph is named twice").help(SAVE_AGAIN));
    }
    edges.iter().map(|edge| edge.name.clone()).collect()
}

fn input_shape(input: &Edge) -> std::result::Result<Vec<usize>, Diagnostic> {
    let at = format!("graph input {}", input.name);
    if let Some(kind) = input.element.filter(|k| *k != 1 && fixed::input_type(*k).is_none()) {
        let message = format!(
            "the elements are {}, neither float32 nor integers",
            crate::graph::dtype::type_name(kind)
        );
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .at(at)
            .help("export the model with a float32 input"));
    }
    let fixed = "export the model with fixed sizes, for example [1, 784]";
    let Some(declared) = &input.shape else {
        return Err(Diagnostic::new(&MODEL_INVALID, "no shape is declared").at(at).help(fixed));
    };
    let mut shape = Vec::new();
    for (axis, extent) in declared.iter().enumerate() {
        match (axis, extent) {
            // The batch axis: a symbolic extent is 1 here.
            (0, None) => shape.push(1),
            (_, Some(extent)) => shape.push(*extent),
            (axis, None) => {
                return Err(Diagnostic::new(&MODEL_INVALID, format!("axis {axis} has no size"))
                    .at(at)
                    .help(fixed));
            }
        }
    }
    if shape.len() < 2 {
        let message = format!("shape {shape:?} does not start with a batch");
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message).at(at).help(fixed));
    }
    match tensor::elements(&shape) {
        Ok(_) => Ok(shape),
        Err(found) => Err(found.list()[0].clone().at(at)),
    }
}

/// The tensors that an output depends on, and the outputs.
fn needed<'a>(nodes: &'a [Node], made: &BTreeMap<&str, usize>, outputs: &'a [String]) -> BTreeSet<&'a str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = outputs.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if found.insert(name)
            && let Some(node) = made.get(name)
        {
            open.extend(nodes[*node].inputs.iter().map(String::as_str));
        }
    }
    found
}

/// The index of the node that produces each tensor.
fn producers<'a>(
    nodes: &'a [Node],
    constants: &BTreeMap<String, Arc<Tensor>>,
    inputs: &BTreeSet<&str>,
    errors: &mut Vec<Diagnostic>,
) -> BTreeMap<&'a str, usize> {
    let mut made = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|n| !n.is_empty()) {
            let given = constants.contains_key(name) || inputs.contains(name.as_str());
            if (made.insert(name.as_str(), i).is_some() || given) && errors.len() < MAX_ERRORS {
                errors.push(twice(name).at(node.to_string()));
            }
        }
    }
    made
}

/// A topological order; the file's own order if it is one.
fn order(nodes: &[Node], made: &BTreeMap<&str, usize>) -> Result<Vec<usize>> {
    let mut waiting = vec![0; nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        let sources: BTreeSet<usize> =
            node.inputs.iter().filter_map(|n| made.get(n.as_str()).copied()).collect();
        waiting[i] = sources.len();
        sources.into_iter().for_each(|source| readers[source].push(i));
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|&i| waiting[i] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(i) = ready.pop_first() {
        order.push(i);
        for &reader in &readers[i] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    // Each remaining node waits for another one, so following these dependencies finds a cycle.
    let done: BTreeSet<usize> = order.into_iter().collect();
    let mut at = (0..nodes.len()).find(|i| !done.contains(i)).unwrap_or(0);
    let mut path = Vec::new();
    while !path.contains(&at) && path.len() < 64 {
        path.push(at);
        let waits_for = nodes[at].inputs.iter().filter_map(|n| made.get(n.as_str()).copied());
        at = waits_for.filter(|i| !done.contains(i)).min().unwrap_or(at);
    }
    let names: Vec<&str> = path.iter().map(|&i| nodes[i].name.as_str()).collect();
    let message = format!("the nodes wait for each other in a circle: {}", names.join(" needs "));
    Err(Diagnostic::new(&MODEL_INVALID, message).at(nodes[at].to_string()).help(SAVE_AGAIN).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attributes;

    /// A graph of `op: inputs -> outputs` nodes, with input `x` [1, 4], constant `w` and output `y`.
    fn graph(nodes: &[(&str, &str)]) -> file::Graph {
        let names = |list: &str| list.split_whitespace().map(str::to_owned).collect();
        let edge =
            |name: &str| Edge { name: name.into(), element: Some(1), shape: Some(vec![None, Some(4)]) };
        let nodes = nodes.iter().enumerate().map(|(index, (inputs, outputs))| Node {
            index,
            op: "Add".into(),
            domain: String::new(),
            name: format!("n{index}"),
            inputs: names(inputs),
            outputs: names(outputs),
            attributes: Attributes::default(),
        });
        file::Graph {
            nodes: nodes.collect(),
            initialisers: vec![("w".into(), Tensor::scalar(1.0))],
            inputs: vec![edge("w"), edge("x")],
            outputs: vec![edge("y")],
            ..file::Graph::default()
        }
    }

    fn said(nodes: &[(&str, &str)]) -> String {
        validate(graph(nodes)).unwrap_err().to_string()
    }

    #[test]
    fn nodes_come_into_order() {
        let checked = validate(graph(&[("a w", "y"), ("x w", "a")])).unwrap();
        assert_eq!(checked.nodes.iter().map(|n| n.index).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(checked.inputs, [GraphInput { name: "x".into(), shape: vec![1, 4] }]);
    }

    #[test]
    fn inputs_that_no_output_depends_on_are_dropped() {
        let names = |nodes: &[(&str, &str)], shape: Vec<Option<usize>>| {
            let mut two = graph(nodes);
            two.inputs.push(Edge { name: "z".into(), element: Some(1), shape: Some(shape) });
            let checked = validate(two)?;
            Ok::<_, Diagnostics>(checked.inputs.into_iter().map(|i| i.name).collect::<Vec<_>>())
        };
        let one = || vec![None, Some(1)];
        assert_eq!(names(&[("x w", "y"), ("z w", "b")], one()).unwrap(), ["x"]);
        assert_eq!(names(&[("x w", "y"), ("z w", "b")], vec![None, None]).unwrap(), ["x"]);
        assert_eq!(names(&[("z w", "a"), ("a x", "y")], one()).unwrap(), ["x", "z"]);
        assert!(names(&[("z x", "y")], vec![None, None]).unwrap_err().to_string().contains("graph input z"));
        let mut none = graph(&[("w w", "y")]);
        none.inputs.truncate(1);
        assert!(validate(none).unwrap_err().to_string().contains("the graph has 0 inputs"));
    }

    #[test]
    fn broken_names_are_all_said() {
        assert!(said(&[("x gone", "y"), ("x lost", "z")]).contains("gone"));
        assert!(said(&[("x gone", "y"), ("x lost", "z")]).contains("lost"));
        assert!(said(&[("x w", "y"), ("x w", "y")]).contains("made twice"));
        assert!(said(&[("x w", "w"), ("x w", "y")]).contains("made twice"));
        assert!(said(&[("x w", "z")]).contains("output y is made by no node"));
    }

    #[test]
    fn cycles_are_named() {
        let text = said(&[("x w", "z"), ("b z", "a"), ("a w", "b"), ("b w", "y")]);
        assert!(text.contains("n1 needs n2") || text.contains("n2 needs n1"), "{text}");
        assert!(said(&[("y w", "y")]).contains("circle"));
    }

    #[test]
    fn the_input_has_one_frame_of_fixed_size() {
        let mut open = graph(&[("x w", "y")]);
        open.inputs[1].shape = Some(vec![None, None]);
        assert!(validate(open).unwrap_err().to_string().contains("axis 1 has no size"));
        let mut flat = graph(&[("x w", "y")]);
        flat.inputs[1].shape = Some(vec![Some(8)]);
        assert!(validate(flat).unwrap_err().to_string().contains("start with a batch"));
        let mut huge = graph(&[("x w", "y")]);
        huge.inputs[1].shape = Some(vec![None, Some(usize::MAX), Some(usize::MAX)]);
        assert!(validate(huge).unwrap_err().to_string().contains("limit"));
    }
}
