//! FIFO sizing: the minimum depths that cause no deadlock and no loss of rate.
//!
//! Control does not depend on data, so the times of a plan ([`crate::schedule`]) follow from earlier times. If all streams repeat
//! the same times with an offset of T, for as many frames as any time can depend on, they repeat forever: this proves that the
//! plan keeps the interval T. If frames arrive later and later, or stop, the rate is lost. The check uses frames that are always
//! available. For parts of a plan, and for large plans that would take long to settle, it uses frames that arrive every T cycles
//! instead. (The two are not quite equivalent: a pipeline that stalls as a whole does not close its gaps, so an early beat may
//! leave late.)
//!
//! If branches join, they must not wait for each other forever, whatever stalls. A stalled pipeline may hold fewer beats than at
//! full rate, because of its gaps. So a frame must also pass while every stage holds the fewest beats that it may come to hold.
//! That frame decides for all stalls and for all frames: the stages then depend on which beats came, and not when, more room
//! never stops a beat, and after the frame every stage is as it was at reset.
//!
//! Depths are found in two steps. First, a lower bound per FIFO: only the stages between the FIFO's ends are considered, and all
//! other FIFOs are replaced by ideal ones that are never full and take no time. The smallest depth that keeps T there is a lower
//! bound, because everything left out can only add delays. Second, if the bounds together keep T for the whole plan, they are the
//! answer. Otherwise the search starts from the depths that the plan occupies with endless FIFOs, and shrinks one FIFO after
//! another until none can be made smaller alone.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use crate::lower::plan::{IDEAL, Members, Part, Plan};
use crate::schedule::search::smallest;
use crate::schedule::{Beats, Pattern, Timing, Wire};

/// The depth of a FIFO that is never full.
const ENDLESS: u64 = 1 << 40;
/// Upper bound on simulated beats. Beyond it, the average over frames decides the rate of a plan that shows no period.
const MOST_BEATS: usize = 1 << 22;
/// Maximum beats per frame for which a plan is checked with frames that are always available; larger plans may take many frames
/// to settle.
const SMALL: usize = 1 << 14;
/// Maximum number of times that FIFOs are made deeper; the increment doubles each time.
const DOUBLINGS: u32 = 12;
/// Candidate periods of the times, in frames.
const PERIODS: Range<usize> = 1..5;

/// Sizes the FIFOs of a plan for frames of 1 to `max_members` members.
pub fn size(plan: &mut Plan, max_members: u32) {
    let fifos: Vec<usize> = fifos(plan).collect();
    if fifos.is_empty() {
        return;
    }
    let search = Search { members: decisive(plan, max_members), fifos, tried: Mutex::default() };
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
        // Frames that are available early may need a few more entries.
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

/// The FIFOs to size, and the numbers of members at which depths are decided.
struct Search {
    members: Vec<u32>,
    fifos: Vec<usize>,
    /// Results of whole-plan trials, by depths: whether the depths suffice.
    tried: Mutex<HashMap<Vec<u64>, bool>>,
}

impl Search {
    /// A copy of the plan in which all FIFOs have depth `depth`.
    fn with(&self, plan: &Plan, depth: u64) -> Plan {
        let mut plan = plan.clone();
        self.fifos.iter().for_each(|fifo| set(&mut plan, *fifo, depth));
        plan
    }

    /// Whether the whole plan keeps the interval and never deadlocks.
    fn keeps(&self, plan: &Plan) -> bool {
        let depths: Vec<u64> = self.fifos.iter().map(|fifo| depth_of(plan, *fifo)).collect();
        let tried = self.tried.lock().expect("no panic while it is held").get(&depths).copied();
        tried.unwrap_or_else(|| {
            let keeps = self.keep(plan, &(0..plan.stages.len()));
            self.tried.lock().expect("no panic while it is held").insert(depths, keeps);
            keeps
        })
    }

    /// Whether `stages` keep the interval and never deadlock.
    fn keep(&self, plan: &Plan, stages: &Range<usize>) -> bool {
        let whole = stages.len() == plan.stages.len();
        self.members.iter().all(|members| {
            let trial = Trial::new(plan, stages.clone(), *members);
            let keeps = |supply| trial.keeps_rate(supply) == Verdict::Keeps;
            let rate = if whole && trial.is_small() { keeps(Supply::Always) } else { keeps(Supply::Paced) };
            rate && (plan.is_chain() || trial.flows())
        })
    }

    /// For each of `fifos` the number of entries with which nothing ever waits for a free entry, for paced frames.
    fn occupied(&self, endless: &Plan, fifos: &[usize], stages: &Range<usize>) -> Vec<u64> {
        let occupied = |m: &u32| Trial::new(endless, stages.clone(), *m).occupied(fifos);
        let deepest = |a: Vec<u64>, b| a.into_iter().zip::<Vec<u64>>(b).map(|(a, b)| a.max(b)).collect();
        self.members.iter().map(occupied).reduce(deepest).unwrap_or_default()
    }

    /// The minimum depth of a FIFO within `stages`.
    fn bound(&self, ideal: &Plan, fifo: usize, stages: &Range<usize>) -> u64 {
        let mut alone = ideal.clone();
        let mut enough = |depth| {
            set(&mut alone, fifo, depth);
            self.keep(&alone, stages)
        };
        if enough(0) {
            return 0;
        }
        // Usually the depth is the occupancy of an endless FIFO, or one less.
        let mut endless = ideal.clone();
        set(&mut endless, fifo, ENDLESS);
        let [occupied] = self.occupied(&endless, &[fifo], stages)[..] else { unreachable!("of one FIFO") };
        let occupied = occupied.max(1);
        if !enough(occupied) {
            return smallest(occupied + 1, ENDLESS, enough).unwrap_or(ENDLESS);
        }
        least(0, occupied, enough)
    }

    /// Makes FIFOs smaller one after another, until none can be made smaller alone. The FIFOs with the fewest bits come first: a
    /// FIFO of depth 0 no longer takes time, so other FIFOs may become smaller.
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

    /// Reduces these FIFOs to their bounds if that keeps the rate: all together, or else each half separately.
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

    /// Reduces one FIFO to the smallest depth that keeps the rate. Returns whether it became smaller.
    fn shorten(&self, plan: &mut Plan, k: usize, bound: u64) -> bool {
        let before = depth_of(plan, self.fifos[k]);
        let mut enough = |depth| {
            set(plan, self.fifos[k], depth);
            self.keeps(plan)
        };
        // A FIFO of depth 1 has half the rate, and one of depth 0 is left out.
        let found = if bound == 0 && enough(0) { 0 } else { least(bound.max(1) - 1, before, enough) };
        set(plan, self.fifos[k], found);
        found < before
    }

    /// Removes single entries of any FIFO as long as that keeps the rate: the bounds of parts of the plan may exceed the needs of
    /// the whole.
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

/// The smallest depth that is enough: often one less than `upper`, which is tried first. `lower` entries are not enough, `upper`
/// entries are.
fn least(mut lower: u64, mut upper: u64, mut enough: impl FnMut(u64) -> bool) -> u64 {
    let mut depth = upper.saturating_sub(1);
    while upper - lower > 1 {
        *if enough(depth) { &mut upper } else { &mut lower } = depth;
        depth = lower.midpoint(upper);
    }
    upper
}

/// The numbers of members at which depths are decided: 1; the number at which the layers that run once per frame and those that
/// run once per member take about equally long; and one more. With more members only the latter grow, in the same way.
fn decisive(plan: &Plan, max_members: u32) -> Vec<u32> {
    let [once, looped] = plan.slowest();
    let even = once.div_ceil(looped.max(1)).min(max_members.into()) as u32;
    let mut members: Vec<u32> =
        [1, even, even + 1].into_iter().map(|m| m.clamp(1, max_members.max(1))).collect();
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

/// Whether frames of `members` members pass under any stalls.
pub fn flows(plan: &Plan, members: u32) -> bool {
    Trial::new(plan, 0..plan.stages.len(), members).flows()
}

/// The stages from the layer (or similar stage) that produces a FIFO's beats to the one that consumes them.
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

/// A trial of some stages: their inputs are supplied as `Supply` says, their outputs are always accepted, and they must keep
/// `interval`.
struct Trial<'a> {
    plan: &'a Plan,
    stages: Range<usize>,
    members: u32,
    interval: u64,
}

/// The supply of input frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    /// One frame per interval.
    Paced,
    /// All frames from the start.
    Always,
    /// The same, through stages that hold the fewest beats.
    Least,
}

/// The result of a trial after some frames.
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

    /// Beats per frame on a stream, in all members.
    fn beats(&self, link: usize) -> usize {
        let link = &self.plan.links[link];
        link.beats() as usize * if link.looped { self.members as usize } else { 1 }
    }

    /// The number of earlier frames that a time may depend on.
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

    /// Computes the times of `frames` frames.
    fn times(&self, frames: usize, supply: Supply) -> Times {
        let mut timing = if supply == Supply::Least { Timing::of_least() } else { Timing::default() };
        timing.steady = true;
        let mut wires: Vec<Option<Wire>> = vec![None; self.plan.links.len()];
        let stages = &self.plan.stages[self.stages.clone()];
        let given = |link: &usize| stages.iter().any(|stage| stage.outputs.contains(link));
        let max_beats = stages.iter().flat_map(|stage| &stage.inputs).map(|link| self.beats(*link)).max();
        timing.room = frames * max_beats.unwrap_or(1);
        for link in stages.iter().flat_map(|stage| &stage.inputs).filter(|link| !given(link)) {
            let beats = self.beats(*link);
            let edge = |beat: usize| match supply {
                Supply::Always | Supply::Least => 0,
                Supply::Paced => (beat / beats) as u64 * self.interval,
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

    /// Beats per frame on all streams together.
    fn a_frame(&self) -> usize {
        let links = self.stages.clone().flat_map(|stage| &self.plan.stages[stage].outputs);
        links.map(|link| self.beats(*link)).sum()
    }

    fn is_small(&self) -> bool {
        self.a_frame() <= SMALL
    }

    /// Whether frames pass at the rate of the interval forever.
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

    /// Whether frames pass under any stalls.
    fn flows(&self) -> bool {
        self.all_pass(&self.times(1, Supply::Least))
    }

    /// For each FIFO the maximum number of entries in use, if all FIFOs are endless.
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

/// The computed times of some frames.
struct Times {
    timing: Timing,
    /// The streams of the plan.
    links: Vec<(usize, Wire)>,
    frames: usize,
}

impl Times {
    /// All streams, including those within layers, with their beats per frame. All frames must have passed. (Times within a layer
    /// may drift for long before that is visible outside.)
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
        // A constant delay per period: the stages wait for each other in a cycle that is longer than the interval.
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

    /// Whether frames arrive later and later: on average more than the interval apart, in the third quarter and in the last.
    fn drift(&self, interval: u64) -> bool {
        let (frames, quarter) = (self.frames, self.frames / 4);
        self.streams().any(|(Beats { accepted, .. }, beats)| {
            let end = |f: usize| accepted[(f + 1) * beats - 1];
            let late = |from: usize| end(from + quarter - 1) - end(from) > (quarter as u64 - 1) * interval;
            late(frames - 2 * quarter) && late(frames - quarter)
        })
    }
}
