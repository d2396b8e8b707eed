//! Layers: turns the segments of runs into layers with integer weights and thresholds, and into graphs that the host evaluates.
//!
//! May use: `arith`, `graph`, `layer`, `import::runs`. Used by: `import`.

pub(crate) mod activation;
pub(crate) mod bumps;
pub(crate) mod decide;
pub(crate) mod doubt;
pub(crate) mod draft;
pub(crate) mod factors;
pub(crate) mod gate;
pub(crate) mod grid;
pub(crate) mod images;
pub(crate) mod join;
pub(crate) mod members;
pub(crate) mod moves;
pub(crate) mod offsets;
pub(crate) mod order;
pub(crate) mod pieces;
pub(crate) mod pixels;
pub(crate) mod place;
pub mod scales;
pub mod sums;
pub(crate) mod survey;
pub(crate) mod terms;
pub(crate) mod walk;
pub(crate) mod weights;
pub(crate) mod zones;

use std::collections::BTreeMap;

use crate::diagnostic::{ACTIVATION_UNSUPPORTED, CONFIG_VALUE, Diagnostic, Result};
use crate::frame::port::Port;
use crate::graph::operator::Role;
use crate::graph::step::{HostGraph, Step};
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::draft::NetworkDraft;
use crate::import::layers::grid::{Grid, grid};
use crate::import::layers::images::{
    at_one_position, image_of, is_pool, one_position, streamed, whole_order,
};
use crate::import::layers::pixels::Pixels;
use crate::import::layers::sums::keep;
use crate::import::layers::survey::PartialLayer;
use crate::import::layers::walk::{Stream, Walk};
use crate::import::options::{LayerOptions, OnChip};
use crate::import::runs::chain::{Chain, Run};
use crate::import::runs::levels::written_out;
use crate::import::runs::segment::{Segments, segment};
use crate::import::runs::steps::identity;
use crate::import::runs::steps::integers;
use crate::network::{Entry, Output, Source};

/// Maximum bit width of the network's input.
const MAX_INPUT_BITS: u32 = 16;

/// Builds the layers of all runs. Errors of all layers are collected in `errors`; what is known of each layer is added to
/// `sketches`.
pub fn layers(
    runs: &[Run],
    outputs: &[String],
    wanted: LayerOptions<'_>,
    sketches: &mut Vec<PartialLayer>,
    errors: &mut Vec<Diagnostic>,
) -> Option<NetworkDraft> {
    let segments: Vec<Segments> = runs.iter().map(|run| segment(run, errors)).collect::<Option<_>>()?;
    let heads: Vec<Option<Head<'_>>> = runs
        .iter()
        .zip(&segments)
        .map(|(run, segments)| run.input.map(|_| Head::of(run, segments, wanted.on_chip, errors)))
        .collect();
    let mut walk = Walk::new(&runs[0].chain, wanted, sketches, errors);
    let mut found = follow(&mut walk, runs, &segments, &heads);
    let drafts = walk.end();
    let mut entries: Vec<(usize, Entry)> = Vec::new();
    let mut known = true;
    for (run, head) in runs.iter().zip(heads) {
        let (Some(index), Some(head)) = (run.input, head) else { continue };
        known &= head.input.is_some();
        let entry = if errors.is_empty() { head.entry(run, errors) } else { None };
        entries.extend(entry.map(|entry| (index, entry)));
    }
    if !known || !errors.is_empty() {
        return None;
    }
    entries.sort_by_key(|(index, _)| *index);
    let outputs = outputs.iter().filter_map(|name| found.remove(name)).collect();
    let entries = entries.into_iter().map(|(_, entry)| entry).collect();
    Some(NetworkDraft { entries, layers: drafts, outputs })
}

/// The head of a run that begins with an input of the graph.
struct Head<'a> {
    chain: &'a Chain,
    /// The first layer's node; `None` if the run ends before one.
    anchor: Option<&'a Step>,
    /// The number of steps that the host computes.
    end: usize,
    /// The levels of their results; `None` if unknown.
    input: Option<Grid>,
    /// The input quantiser as a layer, if the options ask for it.
    pixels: Option<Pixels>,
}

impl<'a> Head<'a> {
    fn of(run: &'a Run, segments: &Segments, on_chip: Option<OnChip>, errors: &mut Vec<Diagnostic>) -> Self {
        let chain = &run.chain;
        let anchor = segments.layers.first().map(|layer| &chain.steps[layer.anchor]);
        // Padding directly before the first layer's window belongs to that window.
        let is_pad = |i: &usize| {
            chain.steps[*i].operator.name == "Pad"
                && anchor.is_some_and(|anchor| anchor.operator.name != "MatMul")
        };
        let end = segments.front.end.checked_sub(1).filter(is_pad).unwrap_or(segments.front.end);
        let place = anchor.map_or_else(|| format!("tensor {}", run.to), |step| step.place.clone());
        let input = levels(chain, &chain.steps[..end], anchor, chain.shape_before(end));
        let input = keep(input, errors).flatten().filter(|grid| {
            let bits = grid.element().bits();
            if bits > MAX_INPUT_BITS {
                let message = format!("the input has {bits} bits ({} to {})", grid.least, grid.most);
                errors.push(
                    Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                        .at(place.clone())
                        .help(format!(
                            "quantise the input to {MAX_INPUT_BITS} bits or fewer, its zero point subtracted: uint16 with a zero point \
                             has 17, int16 with a zero point of 0 has 16 (ActivationSymmetric in ONNX Runtime)"
                        )),
                );
            }
            bits <= MAX_INPUT_BITS
        });
        let pixels = match (on_chip, input, anchor) {
            (Some(on_chip), Some(grid), Some(_)) => keep(pixels::pixels(chain, end, on_chip, &grid), errors),
            (Some(_), Some(_), None) => {
                let message = "the input goes to several branches before the first layer";
                errors.push(
                    Diagnostic::new(&CONFIG_VALUE, message)
                        .at("input.quantise")
                        .help("leave quantise = \"hardware\" out: the host computes it"),
                );
                None
            }
            _ => None,
        };
        Self { chain, anchor, end, input, pixels }
    }

    /// Starts the run of input `index`.
    fn enter(&self, walk: &mut Walk<'a>, index: usize) {
        let level = self.pixels.as_ref().map_or(self.input, |p| Some(p.level));
        let order = self.anchor.is_none().then(|| whole_order(self.chain.shape()));
        // The first layer may choose the order of the stream, unless it goes to several readers.
        let free = order.is_none();
        let (source, order) = (Source::Input(index), order.unwrap_or_default());
        walk.resume(self.chain, &Stream { source, order, level, pending: None });
        walk.free = free;
        if let (Some(pixels), Some(anchor)) = (&self.pixels, self.anchor) {
            walk.doubt.clone_from(&pixels.doubt);
            walk.threshold(anchor, pixels.layer.clone());
        }
    }

    /// The input of the network.
    fn entry(self, run: &Run, errors: &mut Vec<Diagnostic>) -> Option<Entry> {
        let Self { chain, anchor, end, input, pixels } = self;
        let name = run.from[0].clone();
        let Some(pixels) = pixels else { return keep(front(name, chain, end, anchor, &input?), errors) };
        let (own, turn) = keep(streamed(anchor, chain.shape_before(end)), errors)?;
        let steps = pixels.front.into_iter().chain(turn).collect();
        let front = HostGraph::new(chain.input.clone(), steps);
        Some(Entry { name, front, port: Port { shape: own, element: pixels.element } })
    }
}

/// Walks through all runs and returns the graph's outputs by name.
fn follow<'a>(
    walk: &mut Walk<'a>,
    runs: &'a [Run],
    segments: &[Segments],
    heads: &[Option<Head<'a>>],
) -> BTreeMap<String, Output> {
    let mut streams: BTreeMap<&str, Stream> = BTreeMap::new();
    let mut found = BTreeMap::new();
    let quantised = join::quantised_later(runs, segments);
    for (index, ((run, segments), head)) in runs.iter().zip(segments).zip(heads).enumerate() {
        let tail = &run.chain.steps[segments.tail.clone()];
        if let (Some(input), Some(head)) = (run.input, head) {
            head.enter(walk, input);
        } else {
            let from: Vec<Stream> =
                run.from.iter().filter_map(|name| streams.get(&name[..])).cloned().collect();
            let alone = segments.layers.is_empty() && run.leaves;
            let behind = (!alone).then(|| segments.front.clone());
            walk.begin(run, &from, behind, tail, quantised[index]);
        }
        for (at, segment) in segments.layers.iter().enumerate() {
            let next = segments.layers.get(at + 1).map(|next| &run.chain.steps[next.anchor]);
            let feeds_pool = next.is_some_and(|next| is_pool(next) && next.operator.name != "GlobalSumPool");
            let feeds_sums = quantised[index] && at + 1 == segments.layers.len();
            walk.layer(segment, feeds_pool, feeds_sums, tail);
        }
        if run.leaves {
            let leaving = segments
                .layers
                .last()
                .map_or(run.chain.input.clone(), |last| run.chain.steps[last.anchor].shape.clone());
            if let Some(output) = walk.leave(&run.to, &leaving, tail) {
                found.insert(run.to.clone(), output);
            }
        } else {
            streams.insert(&run.to, walk.stream());
        }
    }
    found
}

/// Input `name` of the network. The host's steps are `chain` up to `end`, division by the scale, and the transposition into stream
/// order.
fn front(name: String, chain: &Chain, end: usize, anchor: Option<&Step>, level: &Grid) -> Result<Entry> {
    let shape = chain.shape_before(end);
    let mut steps = chain.steps[..end].to_vec();
    let (own, turn) = streamed(anchor, shape)?;
    if level.scale != 1.0 {
        steps.extend(integers(anchor.unwrap_or(&identity("input")?), shape, level.scale)?);
    }
    steps.extend(turn);
    let front = HostGraph::new(chain.input.clone(), written_out(steps));
    Ok(Entry { name, front, port: Port { shape: own, element: level.element() } })
}

/// The levels that the host's steps produce. They are computed at one pixel if all pixels are treated alike.
fn levels(chain: &Chain, front: &[Step], first: Option<&Step>, shape: &[usize]) -> Result<Option<Grid>> {
    let quantised = front.iter().rposition(|s| matches!(s.operator.role, Role::Quantiser(_)));
    let mixes = |s: &&Step| matches!(s.operator.role, Role::Pool | Role::Host | Role::Product);
    if let Some(step) = front[quantised.map_or(0, |at| at + 1)..].iter().find(mixes) {
        let message = format!(
            "{} of the input stands before the first layer without a quantiser behind it",
            step.operator.name
        );
        return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
            .at(step.place.clone())
            .help("quantise its result, or leave it to the program around the network")
            .into());
    }
    let image = match first {
        Some(first) => image_of(first, shape),
        None => images::plain(shape).map(Some),
    };
    let axis = image.ok().flatten().map(|i| if i.channels_last { shape.len() - 1 } else { 1 });
    let one = axis.filter(|_| chain.input.len() == shape.len()).map(|axis| one_position(&chain.input, axis));
    if let Some(one) = one
        && let Ok(steps) = at_one_position(front, &chain.input, &one)
    {
        let Some(mut found) = grid(chain.annotation, &one, &steps)? else { return Ok(None) };
        for (at, pad) in front.iter().enumerate().filter(|(_, s)| s.operator.name == "Pad") {
            let Some(value) = images::padding(pad, chain.shape_before(at))? else { continue };
            let own = one_position(&pad.shape, axis.unwrap_or(1));
            let rest = at_one_position(&front[at + 1..], &pad.shape, &own)?;
            let fill = Tensor { data: Data::Float(vec![value; own.iter().product()]), shape: own };
            let made = rest.iter().try_fold(fill, |x, step| step.eval(&x))?;
            made.floats("padding")?
                .iter()
                .try_for_each(|value| found.include(*value))
                .map_err(|e| e.placed(&pad.place))?;
        }
        return Ok(Some(found));
    }
    grid(chain.annotation, &chain.input, front)
}
