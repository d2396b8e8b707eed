//! Pass: merges the graphs of several members into layers with thresholds per member.

use std::collections::BTreeMap;

use crate::diagnostic::{
    ACTIVATION_UNSUPPORTED, CONFIG_VALUE, Diagnostic, Diagnostics, MODEL_TOO_LARGE, OPERATOR_UNSUPPORTED,
    Result,
};
use crate::graph::step::HostGraph;
use crate::import::layers::draft::{Draft, NetworkDraft};
use crate::network::UnnamedLayer;

/// Maximum number of weights of all members together: 2^27.
const MAX_WEIGHTS: u64 = 1 << 27;

/// Adds the activations of another member to `parts`.
///
/// # Errors
/// If members differ in more than the thresholds of their activations.
pub fn merge(parts: &mut NetworkDraft, other: NetworkDraft, member: u32) -> Result<()> {
    let differs = |what: &str, place: &str| {
        Diagnostic::new(&OPERATOR_UNSUPPORTED, format!("members 0 and {member} differ in {what}"))
            .at(place.to_owned())
            .help("constants between a stochastic layer and the next quantiser may differ between members, others may not")
    };
    for (graph, others, what) in parts
        .entries
        .iter()
        .zip(&other.entries)
        .map(|(own, other)| (&own.front, &other.front, "what is computed before the first layer"))
        .chain(
            parts
                .outputs
                .iter()
                .zip(&other.outputs)
                .map(|(own, other)| (&own.tail, &other.tail, "what is computed behind the last layer")),
        )
    {
        if !same(graph, others) {
            return Err(differs(what, "the graph").into());
        }
    }
    if parts.entries.iter().zip(&other.entries).any(|(own, other)| own.port != other.port) {
        return Err(differs("the type of the input", "the graph").into());
    }
    for (layer, mut others) in parts.layers.iter_mut().zip(other.layers) {
        if layer.core != others.core {
            return Err(differs("the weights", &layer.origin).into());
        }
        let Some(activation) = others.activations.pop() else { continue };
        let first = &layer.activations[0];
        let kind = |a: &crate::arith::activation::Activation| (a.element, a.least, a.steps());
        if kind(&activation) != kind(first) {
            let message = format!(
                "the activation has {} steps from {} in member 0, {} from {} in member {member}",
                first.steps(),
                first.least,
                activation.steps(),
                activation.least
            );
            return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                .at(layer.origin.clone())
                .help("give all members levels of one quantiser")
                .into());
        }
        layer.activations.push(activation);
        match (&mut layer.doubt, others.doubt) {
            (Some(own), Some(other)) => (own.sums, own.of) = (own.sums + other.sums, own.of + other.of),
            (own, other) => *own = own.take().or(other),
        }
    }
    Ok(())
}

/// Whether two graphs are equal.
fn same(a: &HostGraph, b: &HostGraph) -> bool {
    let text = |graph: &HostGraph| serde_json::to_string(graph).unwrap_or_default();
    text(a) == text(b)
}

/// Builds the layers with max_members = `members`.
///
/// # Errors
/// If the sampled weights of all members exceed the limit.
pub fn build(drafts: Vec<Draft>, members: u32) -> Result<Vec<UnnamedLayer>> {
    let sampled: u64 = drafts.iter().map(|draft| draft.sampled() * u64::from(members)).sum();
    if sampled > MAX_WEIGHTS {
        let message = format!("{members} members have {sampled} weights; the limit is {MAX_WEIGHTS}");
        return Err(Diagnostic::new(&MODEL_TOO_LARGE, message)
            .help("build fewer members: [ensemble] max_members")
            .into());
    }
    // Activations that are the same in every member are kept once.
    let alike = |mut draft: Draft| {
        if draft.activations.iter().all(|a| *a == draft.activations[0]) {
            draft.activations.truncate(1);
        }
        draft
    };
    Ok(drafts.into_iter().map(|draft| alike(draft).build(members)).collect())
}

/// Checks that sampled layers have the numbers in the order of seeds that their members were calibrated for. Files of earlier versions
/// do not say.
///
/// # Errors
/// If a number differs: all members would be others.
pub fn numbered(drafts: &[Draft], calibrated: &BTreeMap<String, u64>) -> Result<()> {
    let mut errors = Vec::new();
    for draft in drafts {
        let (Some(own), Some(told)) = (draft.number(), calibrated.get(&draft.origin)) else { continue };
        if own != *told {
            let message = format!(
                "its members were calibrated as those of layer number {told}, and it is number {own}: their weights would be others"
            );
            errors.push(
                Diagnostic::new(&CONFIG_VALUE, message)
                    .at(format!("layer {}", draft.origin))
                    .help("calibrate the model anew (stoxnor calibrate)"),
            );
        }
    }
    Diagnostics::collected(errors)
}
