//! Calibration: measures the batch normalisation statistics of each sampled member on images.
//!
//! Statistics differ between sampled networks. Members are derived from seeds, so each can have its own statistics. They are
//! measured layer by layer, with the statistics of earlier layers already in effect, and written into the model file. The
//! importer then turns them into exact thresholds per member.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::arith::stochastic::Rounding;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::frame::batch::Batch;
use crate::graph::step::Step;
use crate::graph::tensor::{Data, Tensor};
use crate::import;
use crate::import::options::{Options, SamplingOptions};
use crate::import::{Outline, Postprocessing, Statistics};
use crate::network::{Entry, Network, Node, Source};

/// A calibrated model.
#[derive(Debug)]
pub struct Calibrated {
    /// The model file.
    pub bytes: Vec<u8>,
    /// The number of members that it is calibrated for.
    pub members: usize,
    /// The layers whose batch normalisation was measured, by name, with their number of sets of statistics.
    pub layers: Vec<(String, usize)>,
}

/// Calibrates a model: measures the batch normalisation after every layer that differs between members. The normalisation after
/// the last layer gets one set of statistics for all members, measured on their mean. `frames` supplies the input integers,
/// `name` names the network, and `told` is called with each layer's name.
///
/// # Errors
/// If the model is rejected, has no stochastic weights or has branches, the configuration differs from the file's sampling, or no
/// batch normalisation can be measured.
pub fn calibrate(
    name: &str,
    bytes: &[u8],
    options: &Options,
    frames: impl FnOnce(&Network) -> Result<Vec<Vec<i32>>>,
    mut told: impl FnMut(&str),
) -> Result<Calibrated> {
    let options = &Options { keep_signs: true, ..options.clone() };
    let (mut bytes, calibrated) = uncalibrated(name, bytes, options)?;
    let mut options = options.clone();
    options.sampling.max_members = options.sampling.max_members.or(calibrated);
    let options = &options;
    let mut outline = import::outline(name, &bytes, options)?;
    let Some(ensemble) = outline.network.ensemble.clone() else {
        return Err(Diagnostic::new(
            &OPERATOR_UNSUPPORTED,
            "no weights are sampled: there are no members to calibrate",
        )
        .help("put StochasticQuant of domain stoxnor behind the real weights")
        .into());
    };
    let alone = Options { sampling: SamplingOptions::default(), ..options.clone() };
    let roundings = |network: &Network| -> Vec<Option<Rounding>> {
        network.nodes.iter().map(|n| n.layer.sampling().map(|s| s.rounding)).collect()
    };
    if roundings(&import::outline(name, &bytes, &alone)?.network) != roundings(&outline.network) {
        let message =
            "the configuration says how weights are sampled, and the file says something else or nothing";
        return Err(Diagnostic::new(&CONFIG_VALUE, message)
            .at("layers")
            .help("a calibrated model says it itself: give its StochasticQuant nodes these laws, bits and shares")
            .into());
    }
    let network = &outline.network;
    let [Entry { port: input, .. }] = &network.entries[..] else {
        let names: Vec<&str> = network.entries.iter().map(|entry| entry.name.as_str()).collect();
        let message = format!("the model has {} inputs ({})", names.len(), names.join(", "));
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .help("calibrate takes models with one input: train with the statistics of each member instead")
            .into());
    };
    let input = input.clone();
    let chained = |(index, node): (usize, &Node)| {
        node.inputs == [index.checked_sub(1).map_or(Source::Input(0), Source::Layer)]
    };
    if network.outputs.len() > 1 || !network.nodes.iter().enumerate().all(chained) {
        return Err(Diagnostic::new(
            &OPERATOR_UNSUPPORTED,
            "statistics are measured along chains, and the graph has branches",
        )
        .help("train with the statistics of each member, or leave the model as it is")
        .into());
    }
    let members = ensemble.max_members as usize;
    let network = &outline.network;
    let frames = frames(network)?;
    let mut inputs = vec![Batch::pack(input.element, input.elements(), &frames)];
    let mut layers = Vec::new();
    for index in 0..outline.network.nodes.len() {
        let layer_name = outline.network.nodes[index].name.clone();
        told(&layer_name);
        if index == ensemble.first {
            inputs = vec![inputs.remove(0); members];
        }
        let last = index + 1 == outline.network.nodes.len();
        let place = if index < ensemble.first { None } else { normalisation(&outline.behind[index].steps)? };
        if let Some(at) = place {
            let found = measure(&outline, index, at, &inputs, last)?;
            layers.push((layer_name, found.members.unwrap_or(1)));
            bytes = import::with_statistics(&bytes, &[found], None)?;
            outline = import::outline(name, &bytes, options)?;
        }
        if !last {
            let layer = &outline.network.nodes[index].layer;
            inputs = inputs.iter().enumerate().map(|(member, x)| layer.fast(&[x], member)).collect();
        }
    }
    if layers.is_empty() {
        return Err(Diagnostic::new(
            &OPERATOR_UNSUPPORTED,
            "no BatchNormalization stands behind a sampled layer: there is nothing to measure",
        )
        .help("export the model with its batch normalisation, not folded into other operators")
        .into());
    }
    let number = |node: &Node| Some((node.origin.clone(), node.layer.sampling()?.layer));
    let numbers = outline.network.nodes.iter().filter_map(number).collect();
    let bytes = import::with_calibrated_layers(&bytes, &numbers)?;
    Ok(Calibrated { bytes, members, layers })
}

/// The model file with the requested seed. If it was calibrated before, the statistics of all members are replaced by those of
/// member 0. The second result is the number of members that it was calibrated for.
fn uncalibrated(name: &str, bytes: &[u8], options: &Options) -> Result<(Vec<u8>, Option<u32>)> {
    let bytes = import::with_statistics(bytes, &[], options.sampling.seed)?;
    let bytes = import::with_calibrated_layers(&bytes, &BTreeMap::new())?;
    let free = SamplingOptions { members: None, max_members: None, ..options.sampling.clone() };
    let outline = import::outline(name, &bytes, &Options { sampling: free, ..options.clone() })?;
    if outline.calibrated.is_none() {
        return Ok((bytes, None));
    }
    let mut first = Vec::new();
    let looped = outline.network.ensemble.as_ref().map_or(0, |e| e.first);
    for behind in &outline.behind[looped..] {
        let normalisations = behind.steps.iter().filter(|s| s.operator.name == "BatchNormalization");
        for step in normalisations {
            let constants = step.constants();
            let (Some(Some(mean)), Some(Some(variance))) = (constants.get(3), constants.get(4)) else {
                continue;
            };
            first.push(Statistics {
                place: step.place.clone(),
                mean: mean.floats("the means")?.to_vec(),
                variance: variance.floats("the variances")?.to_vec(),
                members: None,
            });
        }
    }
    Ok((import::with_statistics(&bytes, &first, None)?, outline.calibrated))
}

/// The index of the batch normalisation among the steps after a layer; `None` if there is none.
fn normalisation(steps: &[Step]) -> Result<Option<usize>> {
    let mut all = steps.iter().enumerate().filter(|(_, s)| s.operator.name == "BatchNormalization");
    let (first, second) = (all.next(), all.next());
    if let Some((_, second)) = second {
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, "a second BatchNormalization behind one layer")
            .at(second.place.clone())
            .help("fold the two into one before calibrating")
            .into());
    }
    Ok(first.map(|(at, _)| at))
}

/// Measures the statistics of the input of the normalisation, step `at` after layer `index`: of each member, or of their mean
/// after the last layer.
fn measure(outline: &Outline, index: usize, at: usize, inputs: &[Batch], last: bool) -> Result<Statistics> {
    let layer = &outline.network.nodes[index].layer;
    let Postprocessing { shape, steps, moved } = &outline.behind[index];
    if *moved {
        let message =
            "it does not normalise the layer's sums, but what a maximum or an average makes of them";
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .at(steps[at].place.clone())
            .help("normalise and quantise before the maximum, or the average")
            .into());
    }
    let one: usize = shape.iter().product();
    let sums = inputs.iter().enumerate().map(|(member, x)| layer.fast_sums(&[x], member));
    let mut found =
        Statistics { place: steps[at].place.clone(), mean: vec![], variance: vec![], members: None };
    if last {
        let mut total: Vec<i64> = Vec::new();
        let mut elements = 0;
        for member in sums {
            let frames = member.unpack();
            elements = frames.first().map_or(0, Vec::len);
            let values = frames.into_iter().flatten().map(i64::from);
            if total.is_empty() {
                total = values.collect();
            } else {
                total.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
            }
        }
        let mean: Vec<f32> = total.iter().map(|sum| *sum as f32 / inputs.len() as f32).collect();
        moments(
            &mut found,
            channels(shape, &steps[..at]),
            &entering(shape, &steps[..at], mean.chunks(elements))?,
        );
        return Ok(found);
    }
    for member in sums {
        let frames: Vec<Vec<f32>> =
            member.unpack().into_iter().map(|f| f.into_iter().map(|v| v as f32).collect()).collect();
        // One position at a time: the stream has channels last.
        let frames = entering(shape, &steps[..at], frames.iter().flat_map(|f| f.chunks(one)))?;
        moments(&mut found, channels(shape, &steps[..at]), &frames);
    }
    found.members = Some(inputs.len());
    Ok(found)
}

/// The results of `steps` for the sums of every frame.
fn entering<'a>(
    shape: &[usize],
    steps: &[Step],
    frames: impl Iterator<Item = &'a [f32]>,
) -> Result<Vec<Vec<f32>>> {
    let frames: Vec<&[f32]> = frames.collect();
    frames
        .into_par_iter()
        .map(|sums| {
            let mut x = Tensor { shape: shape.to_vec(), data: Data::Float(sums.to_vec()) };
            for step in steps {
                x = step.eval(&x)?;
            }
            Ok(x.floats("what enters BatchNormalization")?.to_vec())
        })
        .collect()
}

/// Number of channels, the extent of axis 1, after `steps`.
fn channels(shape: &[usize], steps: &[Step]) -> usize {
    steps.last().map_or(shape, |s| &s.shape).get(1).copied().unwrap_or(1)
}

/// Appends the mean and variance of every channel, over all frames and all elements of the channel.
fn moments(to: &mut Statistics, channels: usize, frames: &[Vec<f32>]) {
    let inner = frames.first().map_or(0, Vec::len) / channels;
    let count = (frames.len() * inner) as f64;
    for channel in 0..channels {
        let own = channel * inner..(channel + 1) * inner;
        let values = || frames.iter().flat_map(|f| &f[own.clone()]).map(|v| f64::from(*v));
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        to.mean.push(mean as f32);
        to.variance.push(variance as f32);
    }
}
