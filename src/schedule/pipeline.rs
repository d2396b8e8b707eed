//! Pipelines that stall as a whole, and the stream registers at their outputs.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::schedule::process::{Place, after};
use crate::schedule::{Process, Wire, Wires};

/// The stream register at the end of a pipeline. It has two entries, and the ready of its input is registered.
///
/// Beat k enters at an edge e(k) >= a(k - 2) + 1, where a(k) is the edge at which beat k is accepted downstream. The second entry
/// is full from the edge at which a beat enters while the previous beat is still held, to the edge at which the previous beat
/// leaves. Beat k is offered from edge max(e(k), a(k - 1)) + 1 on.
#[derive(Debug)]
struct Entry {
    output: Wire,
    /// Number of beats that have entered.
    count: usize,
    /// The edge at which the last beat entered.
    last: Option<u64>,
    /// The edges at which beats entered that are not offered yet.
    inside: VecDeque<u64>,
}

impl Entry {
    fn new(output: Wire) -> Self {
        Self { output, count: 0, last: None, inside: VecDeque::new() }
    }

    /// Enters the next beat at the first possible edge from `edge` on, and returns that edge; `None` if it is not known yet.
    fn enter(&mut self, wires: &mut Wires, edge: u64) -> Option<u64> {
        let entered = self.may(wires, edge)?;
        self.count += 1;
        self.last = Some(entered);
        self.inside.push_back(entered);
        self.offer(wires);
        Some(entered)
    }

    /// The first edge from `edge` on at which the next beat may enter; `None` if it is not known yet.
    fn may(&self, wires: &Wires, edge: u64) -> Option<u64> {
        let mut at = edge.max(self.last.map_or(0, |last| last + 1));
        if let Some(before) = self.count.checked_sub(2) {
            at = at.max(wires.accepted(self.output, before)? + 1);
        }
        Some(at)
    }

    /// Offers the beats inside.
    fn offer(&mut self, wires: &mut Wires) {
        while let Some(entered) = self.inside.front()
            && let Some(after) = after(wires, self.output, self.count - self.inside.len())
        {
            wires.offer(self.output, after.max(entered + 1));
            self.inside.pop_front();
        }
    }
}

/// The timing of a stream register.
#[derive(Debug)]
pub struct Register {
    input: Wire,
    entry: Entry,
}

impl Register {
    /// A stream register between two streams.
    pub fn new(input: Wire, output: Wire) -> Self {
        Self { input, entry: Entry::new(output) }
    }
}

impl Process for Register {
    fn run(&mut self, wires: &mut Wires) {
        self.entry.offer(wires);
        while let Some(offered) = wires.offered(self.input, self.entry.count)
            && let Some(entered) = self.entry.enter(wires, offered)
        {
            wires.accept(self.input, entered);
        }
    }
}

/// The edges at which a pipeline stalls as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Stalls {
    /// Those at which a result would enter the full stream register.
    #[default]
    Blocked,
    /// Those at which the stream register is full, whether a result comes or not: the stall is the state of one flip-flop.
    Full,
}

/// The timing parameters of a matrix unit, or of another pipeline that stalls as a whole. A frame has `operands` operands of
/// `steps` beats each. Each operand is used by `folds` row groups: the steps of the first group each accept an input beat, the
/// other groups read the beats from the operand buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// Operands per frame.
    pub operands: u64,
    /// Row groups per operand.
    pub folds: u64,
    /// Beats per operand.
    pub steps: u64,
    /// Edges from a row group's last step to the offer of its output beat, at least 2.
    pub latency: u64,
    /// Output beats per row group, one after another.
    pub burst: u64,
    /// For weights that are sampled into a memory: edges from a frame's first step (or reset) to the first edge at which the next
    /// frame's first step may be issued.
    pub sampled: Option<u64>,
    /// When the pipeline stalls. Bursts need [`Stalls::Blocked`].
    pub stalls: Stalls,
}

impl Default for Matrix {
    fn default() -> Self {
        Self { operands: 1, folds: 1, steps: 1, latency: 2, burst: 1, sampled: None, stalls: Stalls::Blocked }
    }
}

impl Matrix {
    /// Cycles per frame.
    pub fn interval(&self) -> u64 {
        (self.operands * self.folds * self.steps).max(self.sampled.unwrap_or(0))
    }
}

/// The timing of a pipeline. The whole pipeline stalls until the stream register has room, from the edge at which a result would
/// enter the full register or, with [`Stalls::Full`], from the edge after the one at which the register became full. Nothing else
/// stalls it.
#[derive(Debug)]
pub struct Pipeline {
    unit: Matrix,
    input: Wire,
    taken: usize,
    entry: Entry,
    /// The edges at which results enter the register, minus [`stood`](Self::stood).
    flight: VecDeque<u64>,
    /// Cycles for which the pipeline has stalled so far.
    stood: u64,
    /// Stalls after the last accepted beat, each as its first edge and the first edge after it.
    still: VecDeque<[u64; 2]>,
    /// Remaining output beats of the last result.
    more: u64,
    /// Whether the last result may have filled the register, and the edge at which it has room again is not known yet.
    fills: bool,
    /// The first edge at which the next beat may be accepted, without the stalls in `still`.
    free: u64,
    /// The first edge at which the next frame's weights are available.
    full: u64,
    step: u64,
    operand: u64,
}

impl Pipeline {
    /// A pipeline whose weights of the first frame are available at once.
    pub fn new(unit: Matrix, input: Wire, output: Wire) -> Self {
        assert!(unit.latency >= 2, "a pipeline of {} edges", unit.latency);
        assert!(
            unit.burst == 1 || unit.stalls == Stalls::Blocked,
            "a burst in a pipeline with a registered stall"
        );
        Self {
            unit,
            input,
            taken: 0,
            entry: Entry::new(output),
            flight: VecDeque::new(),
            stood: 0,
            still: VecDeque::new(),
            more: 0,
            fills: false,
            free: 0,
            full: 0,
            step: 0,
            operand: 0,
        }
    }

    /// The pipeline from reset on: sampled weights of the first frame must be sampled first.
    #[must_use]
    pub fn from_reset(mut self) -> Self {
        self.full = self.unit.sampled.unwrap_or(0);
        self
    }

    /// Enters results into the stream register.
    fn leave(&mut self, wires: &mut Wires) {
        self.entry.offer(wires);
        loop {
            if self.more > 0 {
                if self.entry.enter(wires, 0).is_none() {
                    return;
                }
                self.more -= 1;
                continue;
            }
            if self.fills {
                let Some(room) = self.entry.may(wires, 0) else { return };
                self.fills = false;
                self.stall(self.entry.last.map_or(0, |last| last + 1), room);
            }
            let Some(due) = self.flight.front().map(|due| due + self.stood) else { return };
            let Some(entered) = self.entry.enter(wires, due) else { return };
            self.flight.pop_front();
            self.more = self.unit.burst - 1;
            self.fills = self.unit.stalls == Stalls::Full;
            self.stall(due, entered);
        }
    }

    /// Stalls from edge `from` until edge `to`.
    fn stall(&mut self, from: u64, to: u64) {
        if to > from {
            self.still.push_back([from, to]);
            self.stood += to - from;
        }
    }

    /// The edge at which the next beat is accepted; `None` if it is not known whether the pipeline stalls then.
    fn may(&mut self, wires: &Wires, offered: u64) -> Option<u64> {
        // Stalls may keep beats so far apart that one is accepted only when the results of all earlier ones have left.
        if wires.least && (self.more > 0 || self.fills || !self.flight.is_empty()) {
            return None;
        }
        loop {
            let at = offered.max(self.free);
            match self.still.front() {
                Some([from, to]) if *from <= at => {
                    self.free = self.free.max(*from) + to - from;
                    self.still.pop_front();
                }
                Some(_) => return Some(at),
                None => {
                    let from = match (self.fills, self.entry.last) {
                        (true, Some(last)) => Some(last + 1),
                        _ => self.flight.front().map(|due| due + self.stood),
                    };
                    return from.is_none_or(|from| from > at).then_some(at);
                }
            }
        }
    }

    fn take(&mut self, wires: &mut Wires, at: u64) {
        let Matrix { operands, folds, steps, latency, sampled, .. } = self.unit;
        if (self.step, self.operand) == (0, 0) {
            self.full = at + sampled.unwrap_or(0);
        }
        self.free = at + 1;
        self.step += 1;
        if self.step == steps {
            for fold in 0..folds {
                let mut due = at + fold * steps + latency - 1;
                for [from, to] in &self.still {
                    if *from <= due {
                        due += to - from;
                    }
                }
                self.flight.push_back(due - self.stood);
            }
            self.free += (folds - 1) * steps;
            self.step = 0;
            self.operand = (self.operand + 1) % operands;
        }
        self.taken += 1;
        wires.accept(self.input, at);
    }
}

impl Process for Pipeline {
    fn run(&mut self, wires: &mut Wires) {
        self.leave(wires);
        while let Some(offered) = wires.offered(self.input, self.taken) {
            let begins = (self.step, self.operand) == (0, 0);
            let Some(at) = self.may(wires, if begins { offered.max(self.full) } else { offered }) else {
                return;
            };
            self.take(wires, at);
            self.leave(wires);
        }
    }
}

/// The timing of a sum over frames: a stage before a stream register. Both stall while the register is full.
#[derive(Debug)]
pub struct Sum {
    at: Place,
    input: Wire,
    taken: usize,
    entry: Entry,
    /// The first edge at which a sum may enter the register.
    due: Option<u64>,
    last: Option<u64>,
}

impl Sum {
    /// A sum over frames of `beats` beats, one frame per member.
    pub fn new(beats: u64, members: Arc<[u32]>, input: Wire, output: Wire) -> Self {
        let at = Place::new(beats, members);
        Self { at, input, taken: 0, entry: Entry::new(output), due: None, last: None }
    }

    /// The edge at which the next beat is accepted.
    fn may(&mut self, wires: &mut Wires, offered: u64) -> Option<u64> {
        if let Some(due) = self.due {
            self.entry.enter(wires, due)?;
            self.due = None;
        }
        let at = offered.max(self.last.map_or(0, |last| last + 1));
        let Some(entered) = self.entry.last else { return Some(at) };
        let at = at.max(entered);
        match self.entry.count.checked_sub(2) {
            // The register is full from the edge at which the last beat enters, to the edge at which the previous beat leaves.
            // With the fewest beats, every one comes after that edge.
            Some(before) if at > entered || wires.least => {
                wires.accepted(self.entry.output, before).map(|left| at.max(left + 1))
            }
            _ => Some(at),
        }
    }
}

impl Process for Sum {
    fn run(&mut self, wires: &mut Wires) {
        self.entry.offer(wires);
        if let Some(due) = self.due
            && self.entry.enter(wires, due).is_some()
        {
            self.due = None;
        }
        while let Some(offered) = wires.offered(self.input, self.taken)
            && let Some(at) = self.may(wires, offered)
        {
            self.taken += 1;
            self.last = Some(at);
            wires.accept(self.input, at);
            let last_pass = self.at.is_last_pass();
            self.at.advance();
            if last_pass {
                self.due = Some(at + 1);
                if self.entry.enter(wires, at + 1).is_some() {
                    self.due = None;
                }
            }
        }
    }
}
