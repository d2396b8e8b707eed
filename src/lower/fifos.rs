//! How deep FIFOs have to be: no deadlock, no loss of rate, and not one entry more than it takes.
//!
//! Control does not depend on data, so the times of a plan ([`crate::schedule`]) follow from the times before. Where a few frames in a row
//! show the same times but for T, on all streams and for as many frames as any time can depend on, all later ones do too: that is a proof
//! that the plan keeps the interval T. Where frames come later and later, or stop, the rate is lost. It is decided for frames that are always
//! there; of parts of a plan, and of large ones that would take long to settle, for frames that come every T cycles. (That is not quite
//! the same: a pipeline that stands still as a whole does not close up its gaps, so that what comes early may leave late.) Where branches
//! join, beats that come slowly have to pass too: gaps make a pipeline hold less, and a branch must not wait for another for ever.
//!
//! Depths are found in two steps. Between the stages that lie between a FIFO's ends alone, with something in place of all other FIFOs that
//! is never full and takes no time, the smallest depth that keeps T is a lower bound of the true one: whatever is left out could only add
//! to what has to be waited for. Where all bounds together keep T for the whole plan they are the answer. Else FIFOs are taken deeper,
//! from what the plan occupies when nothing ever waits for a place, downwards one after another, until none can be made smaller alone.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use crate::lower::plan::{IDEAL, Members, Part, Plan};
use crate::schedule::search::smallest;
use crate::schedule::{Beats, Pattern, Timing, Wire};

/// A FIFO that is never full.
const ENDLESS: u64 = 1 << 40;
/// Beats that are looked at before the rate of a plan that shows no period is decided by what its frames took on average.
const MOST_BEATS: usize = 1 << 22;
/// Beats of a frame up to which a plan is looked at with frames that are always there: it may take many frames to settle.
const SMALL: usize = 1 << 14;
/// Cycles between beats that come so slowly that a pipeline has come to rest before the next one.
pub const SLOW: u64 = 64;
/// So often FIFOs are made deeper by twice as many entries before.
const DOUBLINGS: u32 = 12;
/// Frames over which times may repeat.
const PERIODS: Range<usize> = 1..5;

/// Sizes the FIFOs of a plan for frames of 1 to `most` members.
pub fn size(plan: &mut Plan, most: u32) {
    let fifos: Vec<usize> = fifos(plan).collect();
    if fifos.is_empty() {
        return;
    }
    let search = Search { members: decisive(plan, most), fifos, tried: Mutex::default() };
    let (ideal, endless) = (search.with(plan, IDEAL), search.with(plan, ENDLESS));
    let bound = |fifo: &usize| search.bound(&ideal, *fifo, &around(plan, *fifo));
    let bounds: Vec<u64> = search.fifos.par_iter().map(bound).collect();
    let all = 0..plan.stages.len();
    search.fifos.iter().zip(&bounds).for_each(|(fifo, bound)| set(plan, *fifo, *bound));
    if !search.keeps(plan) {
        let occupied = search.occupied(&endless, &search.fifos, &all);
        let mut deep: Vec<u64> =
            occupied.into_iter().zip(&bounds).map(|(own, bound)| own.max(*bound)).collect();
        let enough = |deep: &[u64], plan: &mut Plan| {
            search.fifos.iter().zip(deep).for_each(|(fifo, depth)| set(plan, *fifo, *depth));
            search.keeps(plan)
        };
        // What is there early may want a few places more.
        for more in (0..DOUBLINGS).map(|k| 1 << k) {
            if enough(&deep, plan) {
                break;
            }
            deep.iter_mut().for_each(|depth| *depth += more);
        }
        search.shrink(plan, &bounds);
    }
    if Trial::new(plan, all, 1).is_small() {
        search.lessen(plan);
    }
}

/// FIFOs, and the numbers of members at which their depths are decided.
struct Search {
    members: Vec<u32>,
    fifos: Vec<usize>,
    /// Depths that have been tried on the whole plan, and whether they are enough.
    tried: Mutex<HashMap<Vec<u64>, bool>>,
}

impl Search {
    /// The plan with all FIFOs of this depth.
    fn with(&self, plan: &Plan, depth: u64) -> Plan {
        let mut plan = plan.clone();
        self.fifos.iter().for_each(|fifo| set(&mut plan, *fifo, depth));
        plan
    }

    /// Whether the whole plan keeps the interval, and never stands still.
    fn keeps(&self, plan: &Plan) -> bool {
        let depths: Vec<u64> = self.fifos.iter().map(|fifo| depth_of(plan, *fifo)).collect();
        let tried = self.tried.lock().expect("no panic while it is held").get(&depths).copied();
        tried.unwrap_or_else(|| {
            let keeps = self.keep(plan, &(0..plan.stages.len()));
            self.tried.lock().expect("no panic while it is held").insert(depths, keeps);
            keeps
        })
    }

    /// Whether stages keep the interval, and never stand still.
    fn keep(&self, plan: &Plan, stages: &Range<usize>) -> bool {
        let whole = stages.len() == plan.stages.len();
        self.members.iter().all(|members| {
            let trial = Trial::new(plan, stages.clone(), *members);
            let keeps = |supply| trial.keeps_rate(supply) == Verdict::Keeps;
            let rate = if whole && trial.is_small() { keeps(Supply::Always) } else { keeps(Supply::Paced) };
            rate && (plan.is_chain() || trial.flows())
        })
    }

    /// For each of these FIFOs so many entries that nothing waits for a place in it, where frames are paced.
    fn occupied(&self, endless: &Plan, fifos: &[usize], stages: &Range<usize>) -> Vec<u64> {
        let occupied = |m: &u32| Trial::new(endless, stages.clone(), *m).occupied(fifos);
        let deepest = |a: Vec<u64>, b| a.into_iter().zip::<Vec<u64>>(b).map(|(a, b)| a.max(b)).collect();
        self.members.iter().map(occupied).reduce(deepest).unwrap_or_default()
    }

    /// The depth that a FIFO has to have between these stages.
    fn bound(&self, ideal: &Plan, fifo: usize, stages: &Range<usize>) -> u64 {
        let mut alone = ideal.clone();
        let mut enough = |depth| {
            set(&mut alone, fifo, depth);
            self.keep(&alone, stages)
        };
        if enough(0) {
            return 0;
        }
        // Mostly it is what it holds where it is never full, or one less.
        let mut endless = ideal.clone();
        set(&mut endless, fifo, ENDLESS);
        let [occupied] = self.occupied(&endless, &[fifo], stages)[..] else { unreachable!("of one FIFO") };
        let occupied = occupied.max(1);
        if !enough(occupied) {
            return smallest(occupied + 1, ENDLESS, enough).unwrap_or(ENDLESS);
        }
        least(0, occupied, enough)
    }

    /// Makes FIFOs smaller one after another, until none can be made smaller alone. What costs little to leave out comes first: a FIFO that
    /// is left out takes no time any more, so that others may do with less.
    fn shrink(&self, plan: &mut Plan, bounds: &[u64]) {
        let bits = |k: &usize| {
            let width = plan.links[plan.stages[self.fifos[*k]].inputs[0]].width();
            depth_of(plan, self.fifos[*k]) * u64::from(width)
        };
        let mut order: Vec<usize> = (0..self.fifos.len()).collect();
        order.sort_by_key(bits);
        self.to_bounds(plan, bounds, &order);
        let mut smaller = true;
        while std::mem::take(&mut smaller) {
            for &k in &order {
                smaller |= depth_of(plan, self.fifos[k]) > bounds[k] && self.shorten(plan, k, bounds[k]);
            }
        }
    }

    /// Makes these FIFOs as small as their bounds where that keeps the rate: all together, or else one half and then the other.
    fn to_bounds(&self, plan: &mut Plan, bounds: &[u64], order: &[usize]) {
        let before = plan.clone();
        order.iter().for_each(|k| set(plan, self.fifos[*k], bounds[*k]));
        if self.keeps(plan) {
            return;
        }
        *plan = before;
        if order.len() > 1 {
            let (cheap, dear) = order.split_at(order.len() / 2);
            self.to_bounds(plan, bounds, cheap);
            self.to_bounds(plan, bounds, dear);
        }
    }

    /// Makes one FIFO as small as keeps the rate, and tells whether it has become smaller.
    fn shorten(&self, plan: &mut Plan, k: usize, bound: u64) -> bool {
        let most = depth_of(plan, self.fifos[k]);
        let mut enough = |depth| {
            set(plan, self.fifos[k], depth);
            self.keeps(plan)
        };
        // With one entry a FIFO has half the rate, and with none it is no FIFO.
        let found = if bound == 0 && enough(0) { 0 } else { least(bound.max(1) - 1, most, enough) };
        set(plan, self.fifos[k], found);
        found < most
    }

    /// Takes an entry of any FIFO while that keeps the rate: what is looked at between a FIFO's ends alone may ask for more than the whole
    /// does.
    fn lessen(&self, plan: &mut Plan) {
        let mut less = true;
        while std::mem::take(&mut less) {
            for fifo in &self.fifos {
                while let depth @ 1.. = depth_of(plan, *fifo) {
                    set(plan, *fifo, depth - 1);
                    if !self.keeps(plan) {
                        set(plan, *fifo, depth);
                        break;
                    }
                    less = true;
                }
            }
        }
    }
}

/// The smallest depth that is enough, where `few` entries are not and `many` are: looked for from above.
fn least(mut few: u64, mut many: u64, mut enough: impl FnMut(u64) -> bool) -> u64 {
    let mut step = 1;
    while many - few > 1 {
        let depth = many.saturating_sub(step).max(few + 1);
        if enough(depth) {
            (many, step) = (depth, 2 * step);
        } else {
            (few, step) = (depth, (many - depth) / 2);
        }
    }
    many
}

/// The numbers of members at which depths are decided: one; so many that the layers that run once a frame and those that run once a
/// member take equally long, or nearly; and one more. With more members the latter take longer in the same way.
fn decisive(plan: &Plan, most: u32) -> Vec<u32> {
    let [once, looped] = plan.slowest();
    let even = once.div_ceil(looped.max(1)).min(most.into()) as u32;
    let mut members: Vec<u32> = [1, even, even + 1].into_iter().map(|m| m.clamp(1, most.max(1))).collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// The stages that are FIFOs.
pub fn fifos(plan: &Plan) -> impl Iterator<Item = usize> {
    plan.stages.iter().enumerate().filter(|(_, s)| matches!(s.part, Part::Fifo(_))).map(|(stage, _)| stage)
}

/// The depth of a stage that is a FIFO.
pub fn depth_of(plan: &Plan, stage: usize) -> u64 {
    match plan.stages[stage].part {
        Part::Fifo(depth) => depth,
        _ => 0,
    }
}

/// Sets the depth of a stage that is a FIFO.
pub fn set(plan: &mut Plan, stage: usize, depth: u64) {
    plan.stages[stage].part = Part::Fifo(depth);
}

/// The stages from the layer (or the like) that gives a FIFO its beats to the one that takes them.
fn around(plan: &Plan, fifo: usize) -> Range<usize> {
    let passes = |stage: usize| {
        matches!(plan.stages[stage].part, Part::Widener(_) | Part::Narrower(_) | Part::Fifo(_) | Part::Fork)
    };
    let mut first = fifo;
    while passes(first) {
        let input = plan.stages[first].inputs[0];
        match plan.stages[..first].iter().rposition(|stage| stage.outputs.contains(&input)) {
            Some(before) => first = before,
            None => break,
        }
    }
    let mut last = fifo;
    while passes(last) {
        let output = plan.stages[last].outputs[0];
        match plan.stages.iter().position(|stage| stage.inputs.contains(&output)) {
            Some(behind) => last = behind,
            None => break,
        }
    }
    first..last + 1
}

/// Some stages, whose input is there as it is wanted and whose output is taken at once, and the interval that they have to keep.
struct Trial<'a> {
    plan: &'a Plan,
    stages: Range<usize>,
    members: u32,
    interval: u64,
}

/// When frames are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    /// One every interval.
    Paced,
    /// All from the start.
    Always,
    /// Beat by beat, [`SLOW`] cycles apart.
    Slow,
}

/// What is known after some frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keeps,
    Loses,
    Unknown,
}

impl<'a> Trial<'a> {
    fn new(plan: &'a Plan, stages: Range<usize>, members: u32) -> Self {
        Self { plan, stages, members, interval: plan.interval(members) }
    }

    /// Beats of a frame on a stream, in all members.
    fn beats(&self, link: usize) -> usize {
        let link = &self.plan.links[link];
        link.beats() as usize * if link.looped { self.members as usize } else { 1 }
    }

    /// Frames before it that a time may depend on.
    fn reach(&self) -> usize {
        let fifo = |stage: &usize| {
            let input = self.plan.stages[*stage].inputs[0];
            match depth_of(self.plan, *stage) {
                ENDLESS | IDEAL => 0,
                depth => depth.div_ceil(self.beats(input) as u64) as usize,
            }
        };
        let deepest = fifos(self.plan).filter(|stage| self.stages.contains(stage)).map(|stage| fifo(&stage));
        // A replay buffer holds two frames, a line buffer parts of two.
        3 + deepest.max().unwrap_or(0)
    }

    /// The times of so many frames, and the streams of the plan among those that have some.
    fn times(&self, frames: usize, supply: Supply) -> Times {
        let mut timing = Timing::default();
        timing.steady = true;
        let mut wires: Vec<Option<Wire>> = vec![None; self.plan.links.len()];
        let stages = &self.plan.stages[self.stages.clone()];
        let given = |link: &usize| stages.iter().any(|stage| stage.outputs.contains(link));
        // All of a slow frame's streams take equally long.
        let most = stages.iter().flat_map(|stage| &stage.inputs).map(|link| self.beats(*link)).max();
        let slow = most.unwrap_or(1) as u64 * SLOW;
        for link in stages.iter().flat_map(|stage| &stage.inputs).filter(|link| !given(link)) {
            let beats = self.beats(*link);
            let edge = |beat: usize| match supply {
                Supply::Always => 0,
                Supply::Paced => (beat / beats) as u64 * self.interval,
                Supply::Slow => beat as u64 * (slow / beats as u64),
            };
            let edges = (0..frames * beats).map(edge).collect();
            wires[*link] = Some(timing.source(edges, Pattern::always()));
        }
        let members: Members = [self.members].into();
        self.plan.add(&mut timing, self.stages.clone(), &members, &mut wires);
        let taken = |link: &usize| stages.iter().any(|stage| stage.inputs.contains(link));
        for link in stages.iter().flat_map(|stage| &stage.outputs).filter(|link| !taken(link)) {
            timing.sink(wires[*link].expect("a stage gives it"), Pattern::always());
        }
        timing.run();
        let links = wires.into_iter().enumerate().filter_map(|(link, wire)| Some((link, wire?)));
        Times { links: links.collect(), timing, frames }
    }

    /// Whether all frames pass.
    fn all_pass(&self, times: &Times) -> bool {
        let pass = |(link, wire): &(usize, Wire)| {
            times.timing.beats(*wire).accepted.len() == times.frames * self.beats(*link)
        };
        times.links.iter().all(pass)
    }

    /// Beats of a frame on all streams.
    fn a_frame(&self) -> usize {
        let links = self.stages.clone().flat_map(|stage| &self.plan.stages[stage].outputs);
        links.map(|link| self.beats(*link)).sum()
    }

    fn is_small(&self) -> bool {
        self.a_frame() <= SMALL
    }

    /// Whether frames pass at the rate of the interval for ever.
    fn keeps_rate(&self, supply: Supply) -> Verdict {
        let reach = self.reach();
        let a_frame = self.a_frame();
        let mut frames = reach + 2;
        loop {
            let times = self.times(frames, supply);
            if !self.all_pass(&times) {
                return Verdict::Loses;
            }
            let verdict = times.judge(self.interval, reach);
            if verdict != Verdict::Unknown {
                return verdict;
            }
            if frames * a_frame > MOST_BEATS {
                return if times.drift(self.interval) { Verdict::Loses } else { Verdict::Keeps };
            }
            frames *= 2;
        }
    }

    /// Whether beats that come slowly all pass. A pipeline that stands still as a whole then holds least, because of the gaps in it, and a branch
    /// may wait for another for ever.
    fn flows(&self) -> bool {
        self.all_pass(&self.times(self.reach(), Supply::Slow))
    }

    /// For each FIFO so many entries that it is never full, where all are endless.
    fn occupied(&self, fifos: &[usize]) -> Vec<u64> {
        let times = self.times(self.reach() + 4, Supply::Paced);
        let of = |link: usize| {
            let (_, wire) = times.links.iter().find(|(own, _)| *own == link).expect("it is there");
            times.timing.beats(*wire)
        };
        let occupied = |fifo: &usize| {
            let stage = &self.plan.stages[*fifo];
            let (written, offered) = (&of(stage.inputs[0]).accepted, &of(stage.outputs[0]).offered);
            let mut read = 0;
            let place = |(index, edge): (usize, &u64)| {
                while offered.get(read).is_some_and(|offered| offered <= edge) {
                    read += 1;
                }
                (index + 1).saturating_sub(read) as u64
            };
            written.iter().enumerate().map(place).max().unwrap_or(0)
        };
        fifos.iter().map(occupied).collect()
    }
}

/// What has been computed of some frames.
struct Times {
    timing: Timing,
    /// The streams of the plan.
    links: Vec<(usize, Wire)>,
    frames: usize,
}

impl Times {
    /// All streams, those within layers as well, and their beats in a frame, where all frames have passed. (What happens within a layer may
    /// drift for long before it is seen outside.)
    fn streams(&self) -> impl Iterator<Item = (&Beats, usize)> {
        let beats = |beats: &Beats| beats.accepted.len() / self.frames;
        self.timing.wires().map(move |wire| (wire, beats(wire))).filter(|(_, beats)| *beats > 0)
    }

    fn judge(&self, interval: u64, reach: usize) -> Verdict {
        let frames = self.frames;
        let repeats = |period: usize| {
            let later = period as u64 * interval;
            let stream = |(Beats { offered, accepted }, beats): (&Beats, usize)| {
                let from = (frames - reach - period) * beats;
                let same = |edges: &[u64]| {
                    (from + period * beats..edges.len())
                        .all(|i| edges[i] == edges[i - period * beats] + later)
                };
                same(accepted) && same(offered)
            };
            frames > reach + period && self.streams().all(stream)
        };
        if PERIODS.clone().any(repeats) {
            return Verdict::Keeps;
        }
        // Later and later by the same number of cycles: there is a circle of waiting that is longer than the interval.
        let steady = (frames / 2).max(reach + 2);
        let loses = |(Beats { accepted, .. }, beats): (&Beats, usize)| {
            let ends: Vec<u64> = accepted.chunks(beats).map(|frame| frame[frame.len() - 1]).collect();
            PERIODS.clone().any(|period| {
                let apart = |f: usize| ends[f] - ends[f - period];
                let from = frames.saturating_sub(steady).max(period);
                let first = apart(from);
                frames > from + period + 2
                    && first > period as u64 * interval
                    && (from..frames).all(|f| apart(f) == first)
            })
        };
        if self.streams().any(loses) { Verdict::Loses } else { Verdict::Unknown }
    }

    /// Whether frames come later and later: more than the interval apart on average, over the third quarter and over the last.
    fn drift(&self, interval: u64) -> bool {
        let (frames, quarter) = (self.frames, self.frames / 4);
        self.streams().any(|(Beats { accepted, .. }, beats)| {
            let end = |f: usize| accepted[(f + 1) * beats - 1];
            let late = |from: usize| end(from + quarter - 1) - end(from) > (quarter as u64 - 1) * interval;
            late(frames - 2 * quarter) && late(frames - quarter)
        })
    }
}
