//! Layers: turns the segments of runs into layers with integer weights and thresholds, and into graphs that the host evaluates.
//!
//! May use: `arith`, `graph`, `layer`, `import::runs`. Used by: `import`.

pub(crate) mod activation;
pub(crate) mod bumps;
pub(crate) mod decide;
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
pub(crate) mod pixels;
pub mod scales;
pub mod sums;
pub(crate) mod survey;
pub(crate) mod terms;
pub(crate) mod walk;
pub(crate) mod weights;

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
use crate::import::layers::sums::keep;
use crate::import::layers::survey::PartialLayer;
use crate::import::layers::walk::{Stream, Walk};
use crate::import::options::LayerOptions;
use crate::import::runs::chain::{Chain, Run};
use crate::import::runs::levels::written_out;
use crate::import::runs::segment::{Segments, segment};
use crate::import::runs::steps::identity;
use crate::import::runs::steps::integers;
use crate::network::Output;

/// Maximum bit width of the network's input.
const MAX_INPUT_BITS: u32 = 16;

/// The host's computation before the hardware, and the hardware's input.
struct HostFront {
    host: HostGraph,
    input: Port,
}

/// Builds the layers of all runs. Errors of all layers are collected in `errors`; what is known of each layer is added to
/// `sketches`.
pub fn layers(
    runs: &[Run],
    outputs: &[String],
    wanted: LayerOptions<'_>,
    sketches: &mut Vec<PartialLayer>,
    errors: &mut Vec<Diagnostic>,
) -> Option<NetworkDraft> {
    let cut = |(index, run)| segment(run, index == 0, errors);
    let segments: Vec<Segments> = runs.iter().enumerate().map(cut).collect::<Option<_>>()?;
    let (chain, first) = (&runs[0].chain, &segments[0]);
    let anchor = first.layers.first().map(|layer| &chain.steps[layer.anchor]);
    // Padding directly before the first layer's window belongs to that window.
    let is_pad = |i: &usize| {
        chain.steps[*i].operator.name == "Pad"
            && anchor.is_some_and(|anchor| anchor.operator.name != "MatMul")
    };
    let end = first.front.end.checked_sub(1).filter(is_pad).unwrap_or(first.front.end);
    let place = anchor.map_or_else(|| format!("tensor {}", runs[0].to), |step| step.place.clone());
    let input = keep(levels(chain, &chain.steps[..end], anchor, chain.shape_before(end)), errors).flatten();
    let input = input.filter(|grid| {
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
    let pixels = match (wanted.on_chip, input, anchor) {
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
    let first_level = pixels.as_ref().map_or(input, |p| Some(p.level));
    let mut walk = Walk::new(chain, wanted, first_level, sketches, errors);
    if let (Some(pixels), Some(anchor)) = (&pixels, anchor) {
        walk.threshold(anchor, pixels.layer.clone());
    }
    if anchor.is_none() {
        walk.order = whole_order(chain.shape());
        walk.free = false;
    }
    let mut found = follow(&mut walk, runs, &segments);
    let drafts = walk.end();
    let level = input?;
    if !errors.is_empty() {
        return None;
    }
    let front = match pixels {
        Some(pixels) => {
            let (own, turn) = keep(streamed(anchor, chain.shape_before(end)), errors)?;
            let steps = pixels.front.into_iter().chain(turn).collect();
            HostFront {
                host: HostGraph::new(chain.input.clone(), steps),
                input: Port { shape: own, element: pixels.element },
            }
        }
        None => keep(front(chain, end, anchor, &level), errors)?,
    };
    let outputs = outputs.iter().filter_map(|name| found.remove(name)).collect();
    Some(NetworkDraft { front: front.host, input: front.input, layers: drafts, outputs })
}

/// Walks through all runs and returns the graph's outputs by name. `walk` stands at the first run.
fn follow<'a>(walk: &mut Walk<'a>, runs: &'a [Run], segments: &[Segments]) -> BTreeMap<String, Output> {
    let mut streams: BTreeMap<&str, Stream> = BTreeMap::new();
    let mut found = BTreeMap::new();
    let quantised = join::quantised_later(runs, segments);
    for (index, (run, segments)) in runs.iter().zip(segments).enumerate() {
        let tail = &run.chain.steps[segments.tail.clone()];
        if index > 0 {
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

/// The host's steps before the hardware: `chain` up to `end`, division by the scale, and the transposition into stream order.
fn front(chain: &Chain, end: usize, anchor: Option<&Step>, level: &Grid) -> Result<HostFront> {
    let shape = chain.shape_before(end);
    let mut steps = chain.steps[..end].to_vec();
    let (own, turn) = streamed(anchor, shape)?;
    if level.scale != 1.0 {
        steps.extend(integers(anchor.unwrap_or(&identity("input")?), shape, level.scale)?);
    }
    steps.extend(turn);
    Ok(HostFront {
        host: HostGraph::new(chain.input.clone(), written_out(steps)),
        input: Port { shape: own, element: level.element() },
    })
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
