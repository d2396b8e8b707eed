//! Pass: selects the constants of one member.

use crate::graph::attributes::Attribute;
use crate::graph::op::stochastic::picks;
use crate::import::simplify::validate::Graph;

/// The graph of one member: every `Member` node selects the constants of `member`.
pub fn in_member(graph: &Graph, member: u32) -> Graph {
    let mut graph = graph.clone();
    for node in graph.nodes.iter_mut().filter(|n| picks(&n.domain, &n.op)) {
        node.attributes.insert("member", Attribute::Int(member.into()));
    }
    graph
}
