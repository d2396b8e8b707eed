//! The engines that know no cycles.

use indicatif::ProgressBar;
use rayon::prelude::*;

use super::{Boundary, Results};
use crate::layer::Batch;
use crate::network::{Network, Source};

/// Layer by layer, frame by frame, in plain integers.
pub fn reference(network: &Network, frames: &[Vec<i32>], progress: &ProgressBar) -> Results {
    let per_frame: Vec<Vec<Vec<i32>>> = frames
        .par_iter()
        .map(|frame| {
            let mut outputs: Vec<Vec<i32>> = Vec::with_capacity(network.nodes.len());
            for node in &network.nodes {
                let inputs: Vec<&[i32]> = node
                    .inputs
                    .iter()
                    .map(|source| match source {
                        Source::Input => frame.as_slice(),
                        Source::Layer(i) => outputs[*i].as_slice(),
                    })
                    .collect();
                let output = node.layer.reference(&inputs);
                outputs.push(output);
            }
            progress.inc(1);
            outputs
        })
        .collect();
    (0..network.nodes.len())
        .map(|layer| Boundary {
            values: per_frame.iter().flat_map(|outputs| outputs[layer].iter().copied()).collect(),
            cycles: None,
        })
        .collect()
}

/// Frames that the fast engine takes at once: enough to spread over threads, few enough to stay in cache.
const BATCH: usize = 1024;

/// Packed words, a batch at a time.
pub fn fast(network: &Network, frames: &[Vec<i32>], progress: &ProgressBar) -> Results {
    let mut results = vec![Boundary::default(); network.nodes.len()];
    for batch in frames.chunks(BATCH) {
        for (boundary, output) in results.iter_mut().zip(fast_batch(network, batch)) {
            boundary.values.extend(output.unpack().into_iter().flatten());
        }
        progress.inc(batch.len() as u64);
    }
    results
}

/// The last layer's integers for every frame.
pub fn fast_sums(network: &Network, frames: &[Vec<i32>]) -> Vec<Vec<i32>> {
    frames
        .chunks(BATCH)
        .flat_map(|batch| fast_batch(network, batch).pop().map_or_else(Vec::new, |last| last.unpack()))
        .collect()
}

fn fast_batch(network: &Network, frames: &[Vec<i32>]) -> Vec<Batch> {
    let elements = network.input.elements();
    let input = Batch::pack(network.input.element, elements, frames);
    let mut outputs: Vec<Batch> = Vec::with_capacity(network.nodes.len());
    for node in &network.nodes {
        let inputs: Vec<&Batch> = node
            .inputs
            .iter()
            .map(|source| match source {
                Source::Input => &input,
                Source::Layer(i) => &outputs[*i],
            })
            .collect();
        let output = node.layer.fast(&inputs);
        outputs.push(output);
    }
    outputs
}
