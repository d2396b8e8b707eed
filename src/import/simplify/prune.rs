//! Pass: removes nodes that no graph output depends on, so that they need no translation.

use std::collections::BTreeSet;

use crate::import::simplify::validate::Graph;

/// Keeps the nodes and constants that an output depends on.
pub fn prune(mut graph: Graph) -> Graph {
    let mut needed: BTreeSet<String> = graph.outputs.iter().cloned().collect();
    let mut keep = vec![false; graph.nodes.len()];
    for (node, keep) in graph.nodes.iter().zip(&mut keep).rev() {
        if node.outputs.iter().any(|o| needed.contains(o)) {
            *keep = true;
            needed.extend(node.inputs.iter().cloned());
        }
    }
    let mut keep = keep.into_iter();
    graph.nodes.retain(|_| keep.next().unwrap_or(false));
    graph.constants.retain(|name, _| needed.contains(name));
    graph
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::graph::attributes::Attributes;
    use crate::import::read::file::Node;
    use crate::import::simplify::validate::GraphInput;

    #[test]
    fn what_nobody_reads_goes() {
        let node = |index, input: &str, output: &str| Node {
            index,
            op: "Identity".into(),
            domain: String::new(),
            name: String::new(),
            inputs: vec![input.into()],
            outputs: vec![output.into()],
            attributes: Attributes::default(),
        };
        let graph = prune(Graph {
            nodes: vec![node(0, "x", "a"), node(1, "x", "b"), node(2, "b", "c"), node(3, "a", "y")],
            constants: BTreeMap::new(),
            annotations: BTreeMap::new(),
            inputs: vec![GraphInput { name: "x".into(), shape: vec![1, 1] }],
            outputs: vec!["y".into()],
        });
        assert_eq!(graph.nodes.iter().map(|n| n.index).collect::<Vec<_>>(), [0, 3]);
    }
}
