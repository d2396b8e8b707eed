//! Import: an untrusted ONNX or QONNX file becomes a checked [`Network`]. Every pass is small, and [`read()`] runs all of them in
//! order:
//!
//! 1. [`mod@file`] parses the bytes. External tensor data is read from the directory of the model file only.
//! 2. `validate` checks names and sorts the nodes topologically, `types` records the integer type of every `QuantizeLinear`, and
//!    `prune` removes nodes that no output depends on.
//! 3. `fold` looks operators up and folds constants in float32, one operation at a time. `codes` keeps the integers and scales of
//!    quantised constants. `expand` rewrites sums and means of several tensors, `distribute` moves the quantiser behind a
//!    concatenation into its branches. `fuse` makes one node of operators that read one tensor on several ways.
//! 4. `chain` cuts the graph into runs, one per branch: a run ends where branches begin or join. `rewrite` turns every product
//!    into a MatMul or a Conv. `arrange` moves selections and padding to where layers take them, `picks` reads them. `levels` finds written-out quantisers. `input` inserts the fixed-point type of a real-valued input.
//! 5. `segment` cuts runs at their products and averages. `walk` processes the layers of a run, `join` connects runs (`terms`,
//!    `factors`, `offsets`, `decide` and `gate` for sums of unequal scales and products). They use
//!    `weights` (integer weights and scales), `grid` (the levels of a layer's input), `images` (kernels and padding), `order`
//!    (the stream order of elements) and `activation` (thresholds). `draft` holds a layer until it is built. `pixels` turns the
//!    input quantiser into a layer if the options ask for it.
//! 6. If constants differ between members (`Member`), steps 3 to 5 run once per member, and `members` merges the thresholds.
//!    `options` merges the user's settings for stochastic weights with those of the file; the user's have precedence.
//!
//! A network has integer weights and activations and computes the same function as the graph. Scales move into the thresholds or
//! into the host's computation of the outputs. Thresholds are found by evaluating the graph's own float32 operators at the sums
//! that can occur. One difference remains: the graph sums scaled products in float32, the network scales an integer sum. The two
//! are bit-identical if the scales are powers of two; otherwise they differ by the rounding errors of the graph's summation. Sums
//! above 2^24 are rounded to float32 once.
//!
//! Files are untrusted. The result is always a network or a list of diagnostics, within the limits of
//! [`read::limits::MAX_BYTES`], [`read::limits::MAX_NODES`] and [`MAX_ELEMENTS`](crate::graph::tensor::MAX_ELEMENTS). Each pass
//! reports all its errors, and independent errors of several passes are reported together. [`survey()`] returns them with the
//! part of the model that was understood.
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
use crate::import::runs::{arrange, chain, input, levels, rewrite, split};
use crate::import::simplify::folded::{Applied, Folded};
use crate::import::simplify::validate::Graph;
use crate::import::simplify::{distribute, expand, fold, fuse, member, prune, validate};
use crate::network::Network;

pub use float::FloatGraph;
pub use layers::draft::Postprocessing;
pub use layers::survey::{PartialLayer, Survey};
pub use options::{
    DEFAULT_MEMBERS, FixedPoint, LayerSampling, MAX_MEMBERS, OnChip, Options, SamplingOptions,
};
pub use read::edit::{Statistics, with_calibrated_layers, with_statistics};

/// Reads the model file at `path`. The network is named after the file stem.
pub fn load(path: &Path) -> Result<Network> {
    load_with(path, &Options::default())
}

/// [`load`] with options.
pub fn load_with(path: &Path, options: &Options) -> Result<Network> {
    let place = path.display().to_string();
    let bytes = bytes(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (survey, outline) = analyse(&name, &bytes, &External::beside(path), options);
    outline.map(|o| o.network).ok_or_else(|| refused(survey.reasons).placed(&place))
}

/// Reads a model from its bytes and names the network `name`. Tensors with external data are rejected.
pub fn read(name: &str, bytes: &[u8]) -> Result<Network> {
    read_with(name, bytes, &Options::default())
}

/// [`read()`] with options.
pub fn read_with(name: &str, bytes: &[u8], options: &Options) -> Result<Network> {
    outline(name, bytes, options).map(|outline| outline.network)
}

/// A network with the graph's postprocessing of each layer.
#[derive(Debug)]
pub struct Outline {
    /// The network.
    pub network: Network,
    /// For each layer, the graph's operators between its sums and the next layer or output.
    pub behind: Vec<Postprocessing>,
    /// The number of members that the file has constants for; `None` if the file has no `Member` node.
    pub calibrated: Option<u32>,
}

/// [`read_with`], with the postprocessing of each layer.
pub fn outline(name: &str, bytes: &[u8], options: &Options) -> Result<Outline> {
    let (survey, outline) = analyse(name, bytes, &External::none(), options);
    outline.ok_or_else(|| refused(survey.reasons))
}

/// Reports how far the import of the model file at `path` gets, and every reason why it fails.
///
/// # Errors
/// If the file cannot be read at all.
pub fn survey(path: &Path, options: &Options) -> Result<Survey> {
    Ok(analyse("survey", &bytes(path)?, &External::beside(path), options).0)
}

/// [`survey()`] of a model file's bytes.
pub fn survey_bytes(bytes: &[u8], options: &Options) -> Survey {
    analyse("survey", bytes, &External::none(), options).0
}

/// Reads a model file, at max [`read::limits::MAX_BYTES`] + 1 bytes of it.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |e: std::io::Error| {
        Diagnostic::new(&MODEL_UNREADABLE, e.to_string())
            .at(path.display().to_string())
            .help("check the path and the permissions")
    };
    // Opening a pipe or reading a device may block forever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")).into());
    }
    let mut bytes = Vec::new();
    // One byte more than the limit shows that the limit is exceeded, even if the file has no end.
    let max = limits::MAX_BYTES as u64 + 1;
    File::open(path).and_then(|f| f.take(max).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

/// The reasons as an error. There is at least one.
fn refused(reasons: Vec<Diagnostic>) -> Diagnostics {
    match Diagnostics::collected(reasons) {
        Err(found) => found,
        Ok(()) => unreachable!("a model that is not built has a reason"),
    }
}

/// The default help text for diagnostics of kind `code`.
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

/// Runs all passes in order. Returns the network, or at least one reason in the survey.
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
    let mut parsed = file::parse(bytes, external)?;
    let calibrated_layers = std::mem::take(&mut parsed.calibrated);
    let graph = prune::prune(validate::validate(parsed)?);
    let known = graph.nodes.iter().filter(|n| op::find(&n.domain, &n.op).is_some()).count();
    survey.operators = (graph.nodes.len(), known);
    let folded = simplified(&graph, 0, &mut survey.reasons);
    survey.inputs = folded.inputs.iter().map(|input| (input.name.clone(), input.shape.clone())).collect();
    survey.reasons.extend(chain::joins(&folded));
    if !survey.reasons.is_empty() {
        // Without a complete graph shapes are unknown, so only the weights can be described.
        loose(&products(&folded), survey);
        return Ok(None);
    }
    let calibrated = folded.members;
    let (frame_members, max_members) = options.sampling.members(calibrated)?;
    let Survey { layers, reasons, .. } = survey;
    let Some(mut parts) = parts(folded, options, layers, reasons)? else { return Ok(None) };
    if calibrated.is_some() {
        members::numbered(&parts.layers, &calibrated_layers)?;
        for member in 1..max_members {
            let folded = simplified(&graph, member, reasons);
            let other = self::parts(folded, options, &mut Vec::new(), reasons)?;
            let Some(other) = other.filter(|_| reasons.is_empty()) else { return Ok(None) };
            members::merge(&mut parts, other, member)?;
        }
    }
    let behind = parts.layers.iter().map(|l| l.outgoing.clone()).collect();
    let doubts = parts.layers.iter().enumerate().filter_map(|(i, l)| Some((i, l.doubt.clone()?))).collect();
    let found = members::build(parts.layers, max_members)?;
    let mut network = Network::new(name, sha256(bytes), parts.entries, found, frame_members, parts.outputs)?;
    network.doubts = doubts;
    Ok(Some(Outline { network, behind, calibrated }))
}

/// The graph of one member with folded constants, and its joins in the forms that the importer knows.
fn simplified(graph: &Graph, member: u32, reasons: &mut Vec<Diagnostic>) -> Folded {
    let folded = fold::fold(member::in_member(graph, member), reasons);
    fuse::fuse(distribute::distribute(expand::expand(folded, reasons)))
}

/// The layers and host graphs of the member that the graph was folded for; `None` if `reasons` are reported.
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
    let mut runs = chain::runs(split::split(folded))?;
    for run in &mut runs {
        let ends = (run.input.is_some(), run.leaves);
        let chain = rewrite::rewrite(std::mem::take(&mut run.chain), ends, reasons);
        run.chain = levels::told(arrange::arrange(chain));
    }
    for run in runs.iter_mut().filter(|run| run.input.is_some()) {
        *run = input::quantise_input(std::mem::take(run), options, reasons);
    }
    let empty = |run: &chain::Run| {
        let shapes =
            run.shapes.iter().chain([&run.chain.input]).chain(run.chain.steps.iter().map(|s| &s.shape));
        shapes.into_iter().any(|shape| shape.contains(&0))
    };
    if let Some(run) = runs.iter().find(|run| empty(run)) {
        let message = "a tensor without elements";
        let found = Diagnostic::new(&OPERATOR_UNSUPPORTED, message).at(format!("tensor {}", run.to));
        reasons.push(found.help("leave empty tensors out of the model"));
        return Ok(None);
    }
    let batched = |run: &chain::Run| {
        run.shapes
            .iter()
            .find(|shape| shape.len() > 1 && shape[0] != 1)
            .filter(|_| run.join.is_some())
            .cloned()
    };
    if let Some((run, shape)) = runs.iter().find_map(|run| Some((run, batched(run)?))) {
        let message = format!("branches of shape {shape:?} are joined, whose first axis is no batch of 1");
        let found = Diagnostic::new(&OPERATOR_UNSUPPORTED, message).at(format!("tensor {}", run.to));
        reasons.push(found.help("keep the batch as the first axis up to the output"));
        return Ok(None);
    }
    Ok(layers::layers(&runs, &outputs, wanted, sketches, reasons))
}

/// The matrix products of a graph that could not be folded, in file order.
fn products(folded: &Folded) -> Vec<Step> {
    let is_product = |a: &&Applied| matches!(a.operator.role, Role::Product);
    let mut products: Vec<&Applied> = folded.nodes.iter().filter(is_product).chain(&folded.loose).collect();
    products.sort_by_key(|a| a.node.index);
    products.into_iter().filter_map(chain::product).collect()
}

/// Describes matrix products of a graph that could not be folded, and adds them to the survey.
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

/// The whole graph in float32 on the host, one operation at a time: the reference that a network must equal. A graph with
/// branches is an error; [`FloatGraph`] evaluates those.
///
/// Only the scaling differs: the graph sums scaled products, a [`Network`] scales an integer sum.
pub fn float_graph(bytes: &[u8]) -> Result<HostGraph> {
    float_graph_with(bytes, &Options::default())
}

/// [`float_graph`] with the options that the network is read with.
pub fn float_graph_with(bytes: &[u8], options: &Options) -> Result<HostGraph> {
    let graph = prune::prune(validate::validate(file::parse(bytes, &External::none())?)?);
    let mut errors = Vec::new();
    let folded = fuse::fuse(fold::fold(member::in_member(&graph, 0), &mut errors));
    Diagnostics::collected(errors)?;
    let mut runs = chain::runs(folded)?;
    if runs.len() > 1 {
        let found = Diagnostic::new(&OPERATOR_UNSUPPORTED, "the graph has branches");
        return Err(found.help("FloatGraph computes them").into());
    }
    // Here a real-valued input is not an error.
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
