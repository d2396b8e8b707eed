//! The engines without cycles: reference and fast.

use indicatif::ProgressBar;
use rayon::prelude::*;

use crate::engine::results::{Boundary, Results};
use crate::frame::batch::Batch;
use crate::network::{Entry, Network, Source};

/// Number of layers that run once per frame.
fn once(network: &Network) -> usize {
    network.ensemble.as_ref().map_or(network.nodes.len(), |e| e.first)
}

/// The layers whose integers are summed over the members.
fn summed(network: &Network) -> Vec<usize> {
    network.exits.iter().filter(|exit| exit.summed).map(|exit| exit.layer).collect()
}

/// The inputs of layer `index`, from the network's inputs and the outputs of earlier layers.
fn inputs<'a, T>(network: &Network, index: usize, entries: &'a [T], outputs: &'a [T]) -> Vec<&'a T> {
    let sources = network.nodes[index].inputs.iter();
    sources
        .map(|source| match source {
            Source::Input(i) => &entries[*i],
            Source::Layer(i) => &outputs[*i],
        })
        .collect()
}

/// Adds `more` to `sum`, element by element.
fn add(sum: &mut Vec<i32>, more: &[i32]) {
    sum.resize(more.len(), 0);
    sum.iter_mut().zip(more).for_each(|(sum, v)| *sum += v);
}

/// The reference engine: layer by layer, frame by frame, member by member, in plain integer arithmetic.
pub fn reference(network: &Network, frames: &[Vec<i32>], members: &[u32], progress: &ProgressBar) -> Results {
    let layers = network.nodes.len();
    let summed = summed(network);
    let compute = |outputs: &mut Vec<Vec<i32>>, entries: &[Vec<i32>], member: usize| {
        let index = outputs.len();
        let inputs: Vec<&[i32]> =
            inputs(network, index, entries, outputs).into_iter().map(Vec::as_slice).collect();
        let output = network.nodes[index].layer.reference(&inputs, member);
        outputs.push(output);
    };
    let per_frame: Vec<Vec<Vec<i32>>> = frames
        .par_iter()
        .zip(members)
        .map(|(frame, members)| {
            let entry = |index| network.entry_of(frame, index).to_vec();
            let entries: Vec<Vec<i32>> = (0..network.entries.len()).map(entry).collect();
            let mut outputs: Vec<Vec<i32>> = Vec::with_capacity(layers);
            (0..once(network)).for_each(|_| compute(&mut outputs, &entries, 0));
            let mut boundaries: Vec<Vec<i32>> = outputs.clone();
            boundaries.resize(layers + summed.len(), Vec::new());
            if network.ensemble.is_some() {
                for member in 0..*members as usize {
                    outputs.truncate(once(network));
                    (once(network)..layers).for_each(|_| compute(&mut outputs, &entries, member));
                    for layer in once(network)..layers {
                        boundaries[layer].extend(&outputs[layer]);
                    }
                    for (layer, sum) in summed.iter().zip(&mut boundaries[layers..]) {
                        add(sum, &outputs[*layer]);
                    }
                }
            }
            progress.inc(1);
            boundaries
        })
        .collect();
    (0..layers + summed.len())
        .map(|at| Boundary {
            values: per_frame.iter().flat_map(|frame| frame[at].iter().copied()).collect(),
            cycles: None,
        })
        .collect()
}

/// Frames per batch of the fast engine: enough to occupy all threads, and few enough to stay in cache.
const BATCH: usize = 1024;

/// The fast engine: packed words, batch by batch, member by member.
pub fn fast(network: &Network, frames: &[Vec<i32>], members: &[u32], progress: &ProgressBar) -> Results {
    let layers = network.nodes.len();
    let first = once(network);
    let summed = summed(network);
    let mut results = vec![Boundary::default(); layers + summed.len()];
    for (batch, members) in frames.chunks(BATCH).zip(members.chunks(BATCH)) {
        let packed = pack(network, batch);
        let outputs = layers_from(network, &packed, Vec::new(), first, 0);
        for (boundary, output) in results.iter_mut().zip(&outputs) {
            boundary.values.extend(output.unpack().into_iter().flatten());
        }
        if network.ensemble.is_some() {
            // For each layer and frame, the outputs of all members, concatenated.
            let mut looped = vec![vec![Vec::new(); batch.len()]; layers - first];
            let mut sums = vec![vec![Vec::new(); batch.len()]; summed.len()];
            for member in 0..members.iter().copied().max().unwrap_or(0) {
                let present: Vec<usize> = (0..batch.len()).filter(|f| members[*f] > member).collect();
                let packed: Vec<Batch> = packed.iter().map(|entry| entry.select(&present)).collect();
                let outputs: Vec<Batch> = outputs.iter().map(|o| o.select(&present)).collect();
                let outputs = layers_from(network, &packed, outputs, layers, member as usize);
                for (layer, output) in looped.iter_mut().zip(&outputs[first..]) {
                    for (frame, values) in present.iter().zip(output.unpack()) {
                        layer[*frame].extend(values);
                    }
                }
                for (layer, sums) in summed.iter().zip(&mut sums) {
                    for (frame, values) in present.iter().zip(outputs[*layer].unpack()) {
                        add(&mut sums[*frame], &values);
                    }
                }
            }
            for (boundary, frames) in results[first..].iter_mut().zip(looped.iter().chain(&sums)) {
                boundary.values.extend(frames.iter().flatten());
            }
        }
        progress.inc(batch.len() as u64);
    }
    results
}

/// For each number in `members`, the integers of all exits for every frame, concatenated and summed over that many members.
pub fn fast_sums(network: &Network, frames: &[Vec<i32>], members: &[u32]) -> Vec<Vec<Vec<i32>>> {
    let layers = network.nodes.len();
    let mut found = vec![Vec::with_capacity(frames.len()); members.len()];
    for batch in frames.chunks(BATCH) {
        let packed = pack(network, batch);
        let outputs = layers_from(network, &packed, Vec::new(), once(network), 0);
        let mut sums = vec![Vec::new(); batch.len()];
        for member in 0..members.iter().copied().max().unwrap_or(0) {
            let outputs = layers_from(network, &packed, outputs.clone(), layers, member as usize);
            let mut values = vec![Vec::new(); batch.len()];
            for exit in &network.exits {
                values.iter_mut().zip(outputs[exit.layer].unpack()).for_each(|(all, own)| all.extend(own));
            }
            sums.iter_mut().zip(&values).for_each(|(sum, values)| add(sum, values));
            for (found, _) in found.iter_mut().zip(members).filter(|(_, m)| **m == member + 1) {
                found.extend(sums.iter().cloned());
            }
        }
    }
    found
}

/// For each input, its part of all frames.
fn pack(network: &Network, frames: &[Vec<i32>]) -> Vec<Batch> {
    let entry = |(index, Entry { port, .. }): (usize, &Entry)| {
        let own: Vec<&[i32]> = frames.iter().map(|frame| network.entry_of(frame, index)).collect();
        Batch::pack(port.element, port.elements(), &own)
    };
    network.entries.iter().enumerate().map(entry).collect()
}

/// Extends the outputs of earlier layers by those of the layers up to `end`, in a member.
fn layers_from(
    network: &Network,
    entries: &[Batch],
    mut outputs: Vec<Batch>,
    end: usize,
    member: usize,
) -> Vec<Batch> {
    for index in outputs.len()..end {
        let output = network.nodes[index].layer.fast(&inputs(network, index, entries, &outputs), member);
        outputs.push(output);
    }
    outputs
}
