//! Pass: the graph in one member.

use crate::graph::attributes::Attribute;
use crate::graph::op::stochastic::picks;
use crate::import::simplify::validate::Graph;

/// The graph in one member: what picks a member's constants picks those of this one.
pub fn in_member(graph: &Graph, member: u32) -> Graph {
    let mut graph = graph.clone();
    for node in graph.nodes.iter_mut().filter(|n| picks(&n.domain, &n.op)) {
        node.attributes.insert("member", Attribute::Int(member.into()));
    }
    graph
}
