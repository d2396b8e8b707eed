//! Foldings for a part: the smallest that is fast enough, or the fastest that fits, by the estimates of cells.
//!
//! The interval of a network is that of its slowest layer, and layers are folded, and their weights realised, independently. So for each interval every layer takes the
//! foldings that are fast enough, and a sum over the layers, exact in LUTs, flip-flops and block RAMs, says which of them are the
//! smallest together. FIFOs and width converters belong to pairs of layers: the whole is estimated, and what it takes beyond its layers is
//! set aside in the next attempt. The bound is what the layers alone would do.

use std::collections::BTreeMap;
use std::sync::Mutex;

use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;

use crate::area::{Area, Cells};
use crate::config::Config;
use crate::diagnostic::{Diagnostic, PART_TOO_SMALL, Result};
use crate::lower::plan::{Link, Part as Inside, Plan, Stage};
use crate::lower::{Hardware, lower};
use crate::network::Network;
use crate::synth::part::{Part, Room};
use crate::unit::folding::Folding;

/// What a folding is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The smallest with a frame every so many cycles, or more often.
    Interval(u64),
    /// The fastest that fits.
    Fit,
}

/// A folding that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// A frame every so many cycles.
    pub interval_cycles: u64,
    /// LUTs, with memories in LUTs.
    pub luts: u64,
    /// What the layers alone would do.
    #[serde(flatten)]
    pub bound: Bound,
    /// How much more than the bound it is, in percent.
    pub gap_percent: f64,
    /// What each layer is.
    #[serde(skip)]
    pub layers: Vec<Choice>,
}

/// What the layers would do without FIFOs and width converters, of the foldings that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Bound {
    /// The shortest interval with which they fit, for [`Goal::Fit`].
    #[serde(rename = "bound_cycles")]
    Cycles(u64),
    /// The fewest LUTs with which they are fast enough, for [`Goal::Interval`].
    #[serde(rename = "bound_luts")]
    Luts(u64),
}

/// Attempts to set aside enough for FIFOs and converters.
const ATTEMPTS: usize = 3;
/// Foldings of a layer with up to this many lanes are all looked at, and of the others those with up to twice the fewest lanes that are
/// fast enough: more lanes are taken not to be smaller.
const FEW_LANES: u64 = 64;
/// How much of a part's LUTs and flip-flops foldings may take, in percent. The rest is for what the estimate may lack, and for routing.
const FILLED: u64 = 90;
/// Foldings are not estimated where this much of a LUT for each lane, in percent, would not fit: matrix units take 90 or more.
const LEAST_LANE: u64 = 50;

/// A folding of a layer in one of the networks that are searched.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// The network.
    pub network: usize,
    /// The folding.
    pub fold: Folding,
    /// Cycles for a frame of all members.
    cycles: u64,
}

impl Choice {
    fn lanes(&self) -> u64 {
        self.fold.pe as u64 * self.fold.simd as u64
    }
}

/// LUTs, with memories in LUTs, flip-flops, and block RAMs.
type Size = [u64; 3];

/// Choices for the first layers, and their size.
type Partial = (Size, Vec<Choice>);

fn size(cells: &Cells) -> Size {
    [cells.luts(), cells.ff, cells.ram]
}

fn within(size: Size, room: Size) -> bool {
    (0..3).all(|of| size[of] <= room[of])
}

/// Adds to `all` what none of it is as small as in every respect, and drops what is not smaller than the new one in any.
fn keep(all: &mut Vec<Partial>, new: Partial) {
    if !all.iter().any(|(size, _)| within(*size, new.0)) {
        all.retain(|(size, _)| !within(new.0, *size));
        all.push(new);
    }
}

struct Search<'a> {
    networks: &'a [Network],
    part: &'a Part,
    /// The stream that each layer of each network gives.
    outputs: Vec<Vec<Link>>,
    /// Every choice for each layer, the fewest lanes first.
    choices: Vec<Vec<Choice>>,
    /// Sizes that were estimated, by layer, network, PE and SIMD.
    sizes: Mutex<BTreeMap<[usize; 4], Size>>,
}

impl Search<'_> {
    /// The size of a layer's unit.
    fn size(&self, layer: usize, choice: &Choice) -> Size {
        let Choice { network, fold, .. } = *choice;
        let key = [layer, network, fold.pe, fold.simd];
        if let Some(known) = self.sizes.lock().expect("no panic").get(&key) {
            return *known;
        }
        let (node, inputs) = (&self.networks[network].nodes[layer], self.networks[network].inputs(layer));
        let unit = node.layer.hardware(&node.name, &inputs, fold, self.outputs[network][layer].user);
        let found = size(&Area::estimate(&self.part.family.placed(&unit), &[], self.part.family).cells);
        self.sizes.lock().expect("no panic").insert(key, found);
        found
    }

    /// The foldings with the fewest LUTs together that are fast enough and fit `room`, and their size.
    fn smallest(&self, cycles: u64, room: Size) -> Option<(Vec<Choice>, Size)> {
        let mut fast: Vec<Vec<Choice>> = Vec::new();
        for choices in &self.choices {
            let enough = || choices.iter().filter(|choice| choice.cycles <= cycles);
            let most = enough().next().map_or(0, |least| FEW_LANES.max(2 * least.lanes()));
            fast.push(enough().filter(|choice| choice.lanes() <= most).copied().collect());
        }
        let least: u64 = fast.iter().map(|of| of.first().map(Choice::lanes)).sum::<Option<u64>>()?;
        if least * LEAST_LANE / 100 > room[0] {
            return None;
        }
        let all: Vec<(usize, Choice)> = fast
            .iter()
            .enumerate()
            .flat_map(|(layer, of)| of.iter().map(move |choice| (layer, *choice)))
            .collect();
        let fits = |(_, choice): &&(usize, Choice)| choice.lanes() * LEAST_LANE / 100 <= room[0];
        let sized: Vec<(usize, Choice, Size)> = all
            .par_iter()
            .filter(fits)
            .map(|(layer, choice)| (*layer, *choice, self.size(*layer, choice)))
            .collect();
        let mut best: Vec<Partial> = vec![([0; 3], Vec::new())];
        for layer in 0..self.choices.len() {
            let mut next = Vec::new();
            for (_, choice, own) in sized.iter().filter(|(of, ..)| *of == layer) {
                for (before, others) in &best {
                    let sum = [0, 1, 2].map(|of| before[of] + own[of]);
                    if within(sum, room) {
                        keep(&mut next, (sum, others.iter().copied().chain([*choice]).collect()));
                    }
                }
            }
            best = next;
        }
        best.into_iter().min_by_key(|(size, _)| *size).map(|(size, choices)| (choices, size))
    }

    /// The cells and the interval of a whole network.
    fn whole(&self, choices: &[Choice]) -> (Cells, u64) {
        let mut network = self.networks[0].clone();
        for (index, choice) in choices.iter().enumerate() {
            network.nodes[index] = self.networks[choice.network].nodes[index].clone();
        }
        let folds: Vec<Folding> = choices.iter().map(|choice| choice.fold).collect();
        let Hardware { design, plan, .. } = lower(&network, &folds);
        let top = self.part.family.placed(&design.top);
        (Area::estimate(&top, &[], self.part.family).cells, plan.interval(members(&network)))
    }

    /// The smallest foldings that are fast enough and fit as a whole, with their cells and interval.
    fn fitting(&self, cycles: u64) -> Option<(Vec<Choice>, Cells, u64)> {
        let all = room(self.part);
        let mut aside = [0; 3];
        for _ in 0..ATTEMPTS {
            let room = [0, 1, 2].map(|of| all[of].saturating_sub(aside[of]));
            let (choices, layers) = self.smallest(cycles, room)?;
            let (cells, interval) = self.whole(&choices);
            if within(size(&cells), all) {
                return Some((choices, cells, interval));
            }
            aside = [0, 1, 2].map(|of| aside[of].max(size(&cells)[of].saturating_sub(layers[of])));
        }
        None
    }
}

/// Finds a folding of a network for a part. PE and SIMD that the configuration names stay. `networks` are the network as it is
/// configured, and the same in other realisations of its stochastic weights: each layer may be that of any of them.
///
/// # Errors
/// If a configured folding is impossible, or none is fast enough and fits.
pub fn fold(
    networks: &[Network],
    config: &Config,
    part: &Part,
    goal: Goal,
    progress: &ProgressBar,
) -> Result<Found> {
    let default = config.foldings(&networks[0])?;
    let default: Vec<Choice> =
        default.iter().map(|fold| Choice { network: 0, fold: *fold, cycles: 0 }).collect();
    let outputs = networks.iter().map(|network| outputs(network, config)).collect::<Result<Vec<_>>>()?;
    let mut choices = vec![Vec::new(); networks[0].nodes.len()];
    for (number, network) in networks.iter().enumerate() {
        for (index, node) in network.nodes.iter().enumerate() {
            if number > 0 && node.layer.sampling() == networks[0].nodes[index].layer.sampling() {
                continue;
            }
            let looped = outputs[number][index].looped;
            let passes = if looped { u64::from(members(network)) } else { 1 };
            let foldings = foldings(network, index, config);
            let choice = |(fold, cycles)| Choice { network: number, fold, cycles: cycles * passes };
            choices[index].extend(foldings.into_iter().map(choice));
        }
    }
    for of_layer in &mut choices {
        of_layer.sort_by_key(|choice| (choice.lanes(), choice.cycles));
    }
    let mut intervals: Vec<u64> = choices.iter().flatten().map(|choice| choice.cycles).collect();
    intervals.sort_unstable();
    intervals.dedup();
    let search = Search { networks, part, outputs, choices, sizes: Mutex::default() };
    progress.set_message("folding");
    let (bound, found) = match goal {
        Goal::Interval(cycles) => {
            let layers = search.smallest(cycles, room(part)).map_or(0, |(_, [luts, ..])| luts);
            (Bound::Luts(layers), search.fitting(cycles))
        }
        Goal::Fit => {
            let first = intervals.partition_point(|cycles| search.smallest(*cycles, room(part)).is_none());
            let found = intervals[first..].iter().find_map(|cycles| search.fitting(*cycles));
            (Bound::Cycles(intervals.get(first).copied().unwrap_or(0)), found)
        }
    };
    progress.finish_and_clear();
    let better = |cells: &Cells, interval: u64, (_, own, its): &(Vec<Choice>, Cells, u64)| match goal {
        Goal::Interval(cycles) => interval <= cycles && cells.luts() < own.luts(),
        Goal::Fit => interval < *its,
    };
    let (cells, interval) = search.whole(&default);
    let fits =
        within(size(&cells), room(part)) && !matches!(goal, Goal::Interval(cycles) if interval > cycles);
    let found = match found {
        Some(found) if !fits || !better(&cells, interval, &found) => Some(found),
        _ if fits => Some((default, cells, interval)),
        found => found,
    };
    let Some((layers, cells, interval)) = found else {
        return Err(nothing(part, goal));
    };
    // The default folding need not be among those that are looked at.
    let (reached, bound) = match bound {
        Bound::Cycles(cycles) => (interval, Bound::Cycles(cycles.min(interval))),
        Bound::Luts(luts) => (cells.luts(), Bound::Luts(luts.min(cells.luts()))),
    };
    let (Bound::Cycles(least) | Bound::Luts(least)) = bound;
    let gap_percent = (reached - least) as f64 / least.max(1) as f64 * 100.0;
    Ok(Found { interval_cycles: interval, luts: cells.luts(), bound, gap_percent, layers })
}

/// The stream that each layer gives.
fn outputs(network: &Network, config: &Config) -> Result<Vec<Link>> {
    let plan = Plan::new(network, &config.foldings(network)?);
    let given = |index| {
        let of = |stage: &&Stage| matches!(stage.part, Inside::Layer(layer, _) if layer == index);
        plan.links[plan.stages.iter().find(of).expect("every layer is a stage").outputs[0]]
    };
    Ok((0..network.nodes.len()).map(given).collect())
}

/// The foldings that a layer can have, and the cycles of a pass.
fn foldings(network: &Network, index: usize, config: &Config) -> Vec<(Folding, u64)> {
    let node = &network.nodes[index];
    let (lanes, own) = (node.layer.lanes(), config.layers.get(&node.name).copied().unwrap_or_default());
    let mut foldings = Vec::new();
    for pe in lanes.pe.iter().filter(|pe| own.pe.is_none_or(|given| given == **pe)) {
        for simd in lanes.simd.iter().filter(|simd| own.simd.is_none_or(|given| given == **simd)) {
            // Not every PE goes with every SIMD, and not every form with both.
            let fold = lanes.folding(&node.name, Some(*pe), Some(*simd), 1);
            let Ok(fold) = fold.and_then(|fold| config.completed(network, index, fold)) else { continue };
            foldings.push((fold, node.layer.schedule(&network.inputs(index), fold).interval));
        }
    }
    foldings
}

/// Members a frame.
fn members(network: &Network) -> u32 {
    network.ensemble.as_ref().map_or(1, |ensemble| ensemble.members)
}

/// What foldings may take of a part.
fn room(part: &Part) -> Size {
    let Room { lut, ff, ram } = part.room;
    [lut * FILLED / 100, ff * FILLED / 100, ram]
}

fn nothing(part: &Part, goal: Goal) -> crate::diagnostic::Diagnostics {
    let (message, help) = match goal {
        Goal::Interval(cycles) => (
            format!("no folding with a frame every {cycles} cycles leaves a tenth of {} free", part.name),
            "ask for fewer frames per second, for --fit, or take a larger part",
        ),
        Goal::Fit => (format!("no folding leaves a tenth of {} free", part.name), "take a larger part"),
    };
    Diagnostic::new(&PART_TOO_SMALL, message).at("--part").help(help).into()
}
