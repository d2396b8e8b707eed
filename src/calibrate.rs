//! Calibration: batch normalisation with the statistics of each sampled member, measured on images.
//!
//! Statistics differ from one sampled network to the next. Because members follow from their seeds, each can have its own: they are
//! measured layer after layer, each with those of the layers before in force, and written into the model file, where the importer
//! makes thresholds of them that hardware holds exactly.

use rayon::prelude::*;

use crate::arith::stochastic::Rounding;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::host::Step;
use crate::import::{self, Options, Outline, SamplingOptions, Statistics};
use crate::layer::Batch;
use crate::network::Network;
use crate::tensor::{Data, Tensor};

/// A calibrated model.
#[derive(Debug)]
pub struct Calibrated {
    /// The file.
    pub bytes: Vec<u8>,
    /// Members that it is calibrated for.
    pub members: usize,
    /// Layers whose batch normalisation was measured, by name, with the number of statistics that each has now.
    pub layers: Vec<(String, usize)>,
}

/// Measures the batch normalisation behind every layer that differs between members on `frames` of input integers; behind the last
/// layer one for all members, of the mean over them. `name` names the network.
///
/// # Errors
/// Where the file is refused, no weights are sampled, or batch normalisation cannot be told apart from what is around it.
pub fn calibrate(
    name: &str,
    bytes: &[u8],
    options: &Options,
    frames: impl FnOnce(&Network) -> Result<Vec<Vec<i32>>>,
    mut told: impl FnMut(&str),
) -> Result<Calibrated> {
    let options = &Options { keep_signs: true, ..options.clone() };
    let mut bytes = import::with_statistics(bytes, &[], options.sampling.seed)?;
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
    let members = ensemble.max_members as usize;
    let network = &outline.network;
    let frames = frames(network)?;
    let mut inputs = vec![Batch::pack(network.input.element, network.input.elements(), &frames)];
    let mut layers = Vec::new();
    for index in 0..outline.network.nodes.len() {
        let layer_name = outline.network.nodes[index].name.clone();
        told(&layer_name);
        if index == ensemble.first {
            inputs = vec![inputs.remove(0); members];
        }
        let last = index + 1 == outline.network.nodes.len();
        let place = normalisation(&outline.behind[index].1)?;
        if let Some(at) = place.filter(|_| index >= ensemble.first) {
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
    Ok(Calibrated { bytes, members, layers })
}

/// Where among the steps behind a layer its batch normalisation stands.
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

/// The statistics of what enters the normalisation, step `at` behind layer `index`: of each member, or of their mean behind the last layer.
fn measure(outline: &Outline, index: usize, at: usize, inputs: &[Batch], last: bool) -> Result<Statistics> {
    let layer = &outline.network.nodes[index].layer;
    let (shape, steps) = &outline.behind[index];
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
        moments(&mut found, &entering(shape, &steps[..at], mean.chunks(elements))?);
        return Ok(found);
    }
    for member in sums {
        let frames: Vec<Vec<f32>> =
            member.unpack().into_iter().map(|f| f.into_iter().map(|v| v as f32).collect()).collect();
        moments(&mut found, &entering(shape, &steps[..at], frames.iter().map(Vec::as_slice))?);
    }
    found.members = Some(inputs.len());
    Ok(found)
}

/// What the steps make of the sums of every frame.
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

/// Adds mean and variance of every channel, over all frames.
fn moments(to: &mut Statistics, frames: &[Vec<f32>]) {
    let channels = frames.first().map_or(0, Vec::len);
    let count = frames.len() as f64;
    for channel in 0..channels {
        let values = || frames.iter().map(|f| f64::from(f[channel]));
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        to.mean.push(mean as f32);
        to.variance.push(variance as f32);
    }
}
