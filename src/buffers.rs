//! How deep FIFOs have to be: no deadlock, no loss of rate, and not one entry more than it takes.
//!
//! The times of a plan ([`crate::schedule`]) are sums and maxima of earlier times, and control does not depend on data. So a plan keeps
//! an interval T exactly if its beats *can* move periodically, each frame's T cycles after the same ones of the frame before: beats that
//! move as early as possible are never later than that. To decide it, frames are offered every T cycles. Where a few frames in a row show
//! the same times but for T, on all streams and for as many frames as any time can depend on, all later ones do too: that is a proof.
//! Where frames come later and later, or stop, the rate is lost.
//!
//! Depths are found in two steps. Between the stages that lie between a FIFO's ends alone, with all other FIFOs without bounds, the
//! smallest depth that keeps T is a lower bound of the true one: whatever is left out could only add to what has to be waited for. Where
//! all bounds together keep T for the whole plan they are the answer. Else those FIFOs are taken deeper, from what the plan occupies
//! when nothing ever waits for a place, downwards one after another: then none can be made smaller alone.

use std::ops::Range;

use rayon::prelude::*;

use crate::plan::{Members, Part, Plan};
use crate::schedule::{Beats, Pattern, Timing, Wire};
use crate::sliding::smallest;

/// A FIFO that is never full.
const ENDLESS: u64 = 1 << 40;
/// Beats that are looked at before a plan that shows no period is taken for one that does not keep its rate.
const MOST_BEATS: usize = 1 << 24;
/// Frames over which times may repeat.
const PERIODS: Range<usize> = 1..5;

/// Sizes the FIFOs of a plan for frames of 1 to `most` members.
pub fn size(plan: &mut Plan, most: u32) {
    let fifos: Vec<usize> = fifos(plan).collect();
    if fifos.is_empty() {
        return;
    }
    let members = decisive(plan, most);
    let keeps = |plan: &Plan, stages: Range<usize>| {
        members.iter().all(|m| Trial::new(plan, stages.clone(), *m).keeps_rate())
    };
    let mut endless = plan.clone();
    fifos.iter().for_each(|fifo| set(&mut endless, *fifo, ENDLESS));
    let bound = |fifo: &usize| {
        let around = around(plan, *fifo);
        let mut alone = endless.clone();
        depth(|depth| {
            set(&mut alone, *fifo, depth);
            keeps(&alone, around.clone())
        })
    };
    let bounds: Vec<u64> = fifos.par_iter().map(bound).collect();
    fifos.iter().zip(&bounds).for_each(|(fifo, bound)| set(plan, *fifo, *bound));
    let all = 0..plan.stages.len();
    if keeps(plan, all.clone()) {
        return;
    }
    let occupied: Vec<Vec<u64>> =
        members.iter().map(|m| Trial::new(&endless, all.clone(), *m).occupied(&fifos)).collect();
    for (k, fifo) in fifos.iter().enumerate() {
        let most = occupied.iter().map(|o| o[k]).max().unwrap_or(0);
        set(plan, *fifo, most.max(bounds[k]));
    }
    // The largest memories first.
    let mut order: Vec<usize> = (0..fifos.len()).collect();
    let bits = |plan: &Plan, fifo: usize| {
        let width = plan.links[plan.stages[fifo].inputs[0]].width();
        depth_of(plan, fifo) * u64::from(width)
    };
    order.sort_by_key(|k| std::cmp::Reverse(bits(plan, fifos[*k])));
    for k in order {
        let most = depth_of(plan, fifos[k]);
        let found = depth_from(bounds[k], most, |depth| {
            set(plan, fifos[k], depth);
            keeps(plan, all.clone())
        });
        set(plan, fifos[k], found);
    }
}

/// The smallest depth that is enough. A FIFO of one entry has half the rate, so that none may do where one does not.
fn depth(enough: impl FnMut(u64) -> bool) -> u64 {
    depth_from(0, ENDLESS, enough)
}

fn depth_from(few: u64, many: u64, mut enough: impl FnMut(u64) -> bool) -> u64 {
    if few == 0 && enough(0) {
        return 0;
    }
    smallest(few.max(1), many, enough).unwrap_or(many)
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

/// What is known after some frames.
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
                ENDLESS => 0,
                depth => depth.div_ceil(self.beats(input) as u64) as usize,
            }
        };
        let deepest = fifos(self.plan).filter(|stage| self.stages.contains(stage)).map(|stage| fifo(&stage));
        // A replay buffer holds two frames, a line buffer parts of two.
        3 + deepest.max().unwrap_or(0)
    }

    /// The times of so many frames, of each stream that has some.
    fn times(&self, frames: usize) -> Vec<(usize, Beats)> {
        let mut timing = Timing::default();
        timing.steady = true;
        let mut wires: Vec<Option<Wire>> = vec![None; self.plan.links.len()];
        let stages = &self.plan.stages[self.stages.clone()];
        let given = |link: &usize| stages.iter().any(|stage| stage.outputs.contains(link));
        for link in stages.iter().flat_map(|stage| &stage.inputs).filter(|link| !given(link)) {
            let beats = self.beats(*link);
            let edges = (0..frames * beats).map(|beat| (beat / beats) as u64 * self.interval).collect();
            wires[*link] = Some(timing.source(edges, Pattern::always()));
        }
        let members: Members = [self.members].into();
        self.plan.add(&mut timing, self.stages.clone(), &members, &mut wires);
        let taken = |link: &usize| stages.iter().any(|stage| stage.inputs.contains(link));
        for link in stages.iter().flat_map(|stage| &stage.outputs).filter(|link| !taken(link)) {
            timing.sink(wires[*link].expect("a stage gives it"), Pattern::always());
        }
        timing.run();
        let beats = |(link, wire): (usize, Option<Wire>)| Some((link, timing.beats(wire?).clone()));
        wires.into_iter().enumerate().filter_map(beats).collect()
    }

    /// Whether frames that come every [`interval`](Self::interval) cycles pass at that rate for ever.
    fn keeps_rate(&self) -> bool {
        let reach = self.reach();
        let links = self.stages.clone().flat_map(|stage| &self.plan.stages[stage].outputs);
        let a_frame: usize = links.map(|link| self.beats(*link)).sum();
        let mut frames = reach + 4;
        loop {
            match self.judge(&self.times(frames), frames, reach) {
                Verdict::Keeps => return true,
                Verdict::Loses => return false,
                Verdict::Unknown if frames * a_frame > MOST_BEATS => return false,
                Verdict::Unknown => frames *= 2,
            }
        }
    }

    fn judge(&self, times: &[(usize, Beats)], frames: usize, reach: usize) -> Verdict {
        if times.iter().any(|(link, beats)| beats.accepted.len() < frames * self.beats(*link)) {
            return Verdict::Loses;
        }
        let repeats = |period: usize| {
            frames > reach + period
                && times.iter().all(|(link, Beats { offered, accepted })| {
                    let (beats, later) = (self.beats(*link), period as u64 * self.interval);
                    let from = (frames - reach - period) * beats;
                    let same = |edges: &[u64]| {
                        (from + period * beats..edges.len())
                            .all(|i| edges[i] == edges[i - period * beats] + later)
                    };
                    same(accepted) && same(offered)
                })
        };
        if PERIODS.clone().any(repeats) {
            return Verdict::Keeps;
        }
        // Later and later by the same number of cycles, on a stream that leaves: there is a circle of waiting that is longer than the interval.
        let steady = (frames / 2).max(reach + 2);
        let loses = |(link, beats): &(usize, Beats)| {
            let ends: Vec<u64> =
                beats.accepted.chunks(self.beats(*link)).map(|frame| frame[frame.len() - 1]).collect();
            PERIODS.clone().any(|period| {
                let apart = |f: usize| ends[f] - ends[f - period];
                let from = frames.saturating_sub(steady).max(period);
                let first = apart(from);
                frames > from + period + 2
                    && first > period as u64 * self.interval
                    && (from..frames).all(|f| apart(f) == first)
            })
        };
        if times.iter().any(loses) { Verdict::Loses } else { Verdict::Unknown }
    }

    /// For each FIFO so many entries that it is never full, where all are endless.
    fn occupied(&self, fifos: &[usize]) -> Vec<u64> {
        let times = self.times(self.reach() + 4);
        let of = |link: usize| &times.iter().find(|(own, _)| *own == link).expect("it is there").1;
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
