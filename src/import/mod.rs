//! Import: an untrusted model file becomes a checked network. Every step is one small pass, and [`read()`] is all of them in order.
//!
//! 1. [`mod@file`] reads the bytes; data in files of its own comes from beside the model file only.
//! 2. `validate` checks names and orders the nodes, `types` notes the types that quantisers saturate at, `prune` drops what
//!    the output does not need.
//! 3. `fold` looks operators up, folds constants in float32 operation by operation, and keeps the integers and scales
//!    that quantisers and annotations tell of them (`codes`).
//! 4. `chain` cuts the graph into runs, where branches begin and meet, and follows the running tensor of each; `rewrite` makes a MatMul or a Conv of every product; `input` puts the fixed-point type
//!    of a real input in its place.
//! 5. `segment` cuts runs at their products and averages. `walk` goes from layer to layer, `join` from run to run: `weights` tells integers and
//!    scales, `grid` the integers that come in, `images` kernels and padding, `order` in which order elements stream, and
//!    `activation` finds the thresholds; `draft` keeps a layer until it is built. `pixels` makes a layer of the input's
//!    quantiser where that is asked for.
//!
//! 6. Where constants differ between members (`Member`), steps 3 to 5 are taken for each of them, and `members` puts their
//!    thresholds together; `sampling` puts what the user says of stochastic weights over what the file says.
//!
//! A network of integers is what the graph says: every scale moves into the thresholds, which are found by evaluating the
//! graph's own float32 operators at the sums that can occur, or into what the host computes last. The one difference is
//! that the graph sums scaled products in float32 where the network scales an integer sum: where scales are powers of two
//! the two are equal to the last bit, elsewhere up to the roundings of the graph's own summation. Sums above 2^24 are
//! rounded to float32 once.
//!
//! Files are not trusted. Whatever they hold, the result is a network or a list of diagnostics, within the limits of
//! [`read::limits::MAX_BYTES`], [`read::limits::MAX_NODES`] and [`MAX_ELEMENTS`](crate::graph::tensor::MAX_ELEMENTS). All reasons are
//! collected, of one pass and, as far as they don't follow from one another, of all: [`survey()`] shows them and how far a
//! model got.
//!
//! May use: `graph`, `layer`, `network`, `data` (hashes). Used by: `config`, `calibrate`, the commands.

mod float;
pub mod layers;
pub mod options;
pub mod read;
pub mod runs;
pub mod simplify;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::data::hash::sha256;
use crate::diagnostic::{
    Code, Diagnostic, Diagnostics, MODEL_UNREADABLE, OPERATOR_UNSUPPORTED, Result, SAVE_AGAIN,
};
use crate::graph::op;
use crate::graph::operator::Role;
use crate::graph::step::{HostGraph, Step};
use crate::import::layers::draft::NetworkDraft;
use crate::import::layers::{members, weights};
use crate::import::options::LayerOptions;
use crate::import::read::external::External;
use crate::import::read::{file, limits};
use crate::import::runs::{chain, input, rewrite};
use crate::import::simplify::fold::{Applied, Folded};
use crate::import::simplify::{fold, member, prune, validate};
use crate::network::Network;

pub use float::FloatGraph;
pub use layers::draft::Postprocessing;
pub use layers::survey::{PartialLayer, Survey};
pub use options::{
    DEFAULT_MEMBERS, FixedPoint, LayerSampling, MAX_MEMBERS, OnChip, Options, SamplingOptions,
};
pub use read::edit::{Statistics, with_statistics};

/// Reads the model file at `path`; the network takes its file stem as name.
pub fn load(path: &Path) -> Result<Network> {
    load_with(path, &Options::default())
}

/// [`load`], with options.
pub fn load_with(path: &Path, options: &Options) -> Result<Network> {
    let place = path.display().to_string();
    let bytes = bytes(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (survey, outline) = analyse(&name, &bytes, &External::beside(path), options);
    outline.map(|o| o.network).ok_or_else(|| refused(survey.reasons).placed(&place))
}

/// Reads a model file's bytes; `name` names the network. Tensors with data in files of their own are refused.
pub fn read(name: &str, bytes: &[u8]) -> Result<Network> {
    read_with(name, bytes, &Options::default())
}

/// [`read()`], with options.
pub fn read_with(name: &str, bytes: &[u8], options: &Options) -> Result<Network> {
    outline(name, bytes, options).map(|outline| outline.network)
}

/// A network, and what the graph computes behind each layer.
#[derive(Debug)]
pub struct Outline {
    /// The network.
    pub network: Network,
    /// For each layer what the graph makes of its sums.
    pub behind: Vec<Postprocessing>,
    /// Members that the file has constants for, where it has some for single members.
    pub calibrated: Option<u32>,
}

/// [`read_with`], with what is behind the layers.
pub fn outline(name: &str, bytes: &[u8], options: &Options) -> Result<Outline> {
    let (survey, outline) = analyse(name, bytes, &External::none(), options);
    outline.ok_or_else(|| refused(survey.reasons))
}

/// How far the model file at `path` gets, and every reason why it gets no further.
///
/// # Errors
/// Where the file cannot be read at all.
pub fn survey(path: &Path, options: &Options) -> Result<Survey> {
    Ok(analyse("survey", &bytes(path)?, &External::beside(path), options).0)
}

/// [`survey()`] of a model file's bytes.
pub fn survey_bytes(bytes: &[u8], options: &Options) -> Survey {
    analyse("survey", bytes, &External::none(), options).0
}

/// The bytes of a model file, of at most [`read::limits::MAX_BYTES`] and one.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |e: std::io::Error| {
        Diagnostic::new(&MODEL_UNREADABLE, e.to_string())
            .at(path.display().to_string())
            .help("check the path and the permissions")
    };
    // A pipe or a device may have no end, or never begin.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")).into());
    }
    let mut bytes = Vec::new();
    // One byte above the limit is enough to see that it is exceeded, even where the path has no end.
    let most = limits::MAX_BYTES as u64 + 1;
    File::open(path).and_then(|f| f.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

/// The reasons as an error; there is one at least.
fn refused(reasons: Vec<Diagnostic>) -> Diagnostics {
    match Diagnostics::collected(reasons) {
        Err(found) => found,
        Ok(()) => unreachable!("a model that is not built has a reason"),
    }
}

/// What helps against mistakes of a kind, where nothing more special is known.
fn way_out(code: &Code) -> Option<&'static str> {
    Some(match code.word {
        "model-invalid" => SAVE_AGAIN,
        "model-too-large" => "give a smaller model, or simplify the graph before the import (onnxsim)",
        "operator-unsupported" => {
            "replace this form in the model, or simplify the graph before the import (onnxsim)"
        }
        "sum-too-wide" => "use fewer bits for the weights or the inputs, or a smaller fan-in",
        _ => return None,
    })
}

/// All passes in order. There is a network, or a reason.
fn analyse(name: &str, bytes: &[u8], external: &External, options: &Options) -> (Survey, Option<Outline>) {
    let mut survey = Survey::default();
    let network = passes(name, bytes, external, options, &mut survey).unwrap_or_else(|found| {
        survey.reasons.extend(found);
        None
    });
    for reason in survey.reasons.iter_mut().filter(|r| r.help.is_none()) {
        reason.help = way_out(reason.code).map(str::to_owned);
    }
    (survey, network)
}

fn passes(
    name: &str,
    bytes: &[u8],
    external: &External,
    options: &Options,
    survey: &mut Survey,
) -> Result<Option<Outline>> {
    let graph = prune::prune(validate::validate(file::parse(bytes, external)?)?);
    survey.input = Some(graph.shape.clone());
    let known = graph.nodes.iter().filter(|n| op::find(&n.domain, &n.op).is_some()).count();
    survey.operators = (graph.nodes.len(), known);
    let folded = fold::fold(member::in_member(&graph, 0), &mut survey.reasons);
    survey.reasons.extend(chain::joins(&folded));
    if !survey.reasons.is_empty() {
        // The chain is broken, and behind an unknown operator no shape is known: what is left to say is about weights.
        loose(&products(&folded), survey);
        return Ok(None);
    }
    let calibrated = folded.members;
    let (frame_members, most) = options.sampling.members(calibrated)?;
    let Survey { layers, reasons, .. } = survey;
    let Some(mut parts) = parts(folded, options, layers, reasons)? else { return Ok(None) };
    if calibrated.is_some() {
        for member in 1..most {
            let folded = fold::fold(member::in_member(&graph, member), reasons);
            let other = self::parts(folded, options, &mut Vec::new(), reasons)?;
            let Some(other) = other.filter(|_| reasons.is_empty()) else { return Ok(None) };
            members::merge(&mut parts, other, member)?;
        }
    }
    let behind = parts.layers.iter().map(|l| l.outgoing.clone()).collect();
    let found = members::build(parts.layers, most)?;
    let network =
        Network::new(name, sha256(bytes), parts.front, parts.input, found, frame_members, parts.outputs)?;
    Ok(Some(Outline { network, behind, calibrated }))
}

/// The parts of a network in the member that the graph was folded for; nothing where there is a reason why not.
fn parts(
    folded: Folded,
    options: &Options,
    sketches: &mut Vec<PartialLayer>,
    reasons: &mut Vec<Diagnostic>,
) -> Result<Option<NetworkDraft>> {
    let calibrated = folded.members.is_some();
    let wanted = LayerOptions {
        sampling: &options.sampling,
        calibrated,
        keep_signs: options.keep_signs,
        on_chip: options.on_chip,
    };
    let outputs = folded.outputs.clone();
    let mut runs = chain::runs(folded)?;
    for run in &mut runs {
        run.chain = rewrite::rewrite(std::mem::take(&mut run.chain), reasons);
    }
    let first = input::quantise_input(runs.remove(0), options, reasons);
    runs.insert(0, first);
    Ok(layers::layers(&runs, &outputs, wanted, sketches, reasons))
}

/// The matrix products of a graph that could not be folded, in file order.
fn products(folded: &Folded) -> Vec<Step> {
    let is_product = |a: &&Applied| matches!(a.operator.role, Role::Product);
    let mut products: Vec<&Applied> = folded.nodes.iter().filter(is_product).chain(&folded.loose).collect();
    products.sort_by_key(|a| a.node.index);
    products.into_iter().filter_map(chain::product).collect()
}

/// What can be said of matrix products alone.
fn loose(products: &[Step], survey: &mut Survey) {
    for product in products {
        let mut sketch = PartialLayer::new(product);
        if let Some(Some(constant)) = product.constants().get(1) {
            let told = product.codes.as_ref().and_then(|c| c.rounding);
            match weights::matrix(constant, product.codes.as_deref(), (1, told)) {
                Ok(read) => sketch.weights = Some(read.matrix.kind()),
                Err(found) => survey.reasons.extend(found.placed(&product.place)),
            }
        }
        survey.layers.push(sketch);
    }
}

/// The whole graph as float32 arithmetic on the host, one operation after the other: what a network must equal. Of a graph with branches
/// that is a [`FloatGraph`].
///
/// Only the scales differ: the graph sums scaled products, a [`Network`] scales an integer sum.
pub fn float_graph(bytes: &[u8]) -> Result<HostGraph> {
    float_graph_with(bytes, &Options::default())
}

/// [`float_graph`], with the options that the network is read with.
pub fn float_graph_with(bytes: &[u8], options: &Options) -> Result<HostGraph> {
    let graph = prune::prune(validate::validate(file::parse(bytes, &External::none())?)?);
    let mut errors = Vec::new();
    let folded = fold::fold(member::in_member(&graph, 0), &mut errors);
    Diagnostics::collected(errors)?;
    let mut runs = chain::runs(folded)?;
    if runs.len() > 1 {
        let found = Diagnostic::new(&OPERATOR_UNSUPPORTED, "the graph has branches");
        return Err(found.help("FloatGraph computes them").into());
    }
    // A real input is not an error here.
    let run = input::quantise_input(runs.remove(0), options, &mut Vec::new());
    Ok(HostGraph::new(run.chain.input, run.chain.steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_said_so() {
        for bytes in [&b""[..], b"\xff\xd8\xff\xe0\0\x10JFIF\0", &[0; 100], b"hello, world", b"\x3a\0"] {
            let found = read("x", bytes).unwrap_err();
            assert_eq!(found.exit(), 2, "{found}");
            assert!(!found.to_string().is_empty());
        }
        let missing = load(Path::new("no/such/model.onnx")).unwrap_err();
        assert_eq!(missing.list()[0].code.word, "model-unreadable");
        assert!(missing.to_string().contains("no/such/model.onnx"));
        assert!(load(Path::new(".")).is_err(), "a directory");
    }
}
