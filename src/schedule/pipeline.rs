//! Pipelines that stand still as a whole, and the stream registers behind them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::schedule::process::{Place, after};
use crate::schedule::{Process, Wire, Wires};

/// The stream register at the end of a pipeline: two entries, the input's ready comes from a register.
///
/// Beat k enters at e(k) >= a(k - 2) + 1, where a(k) is when it is accepted behind: the second entry is full from the edge at which a beat
/// came while the one before it stayed, to the edge at which that one left. It is offered from max(e(k), a(k - 1)) + 1 on.
#[derive(Debug)]
struct Entry {
    output: Wire,
    /// Beats that have entered.
    count: usize,
    /// When the last one did.
    last: Option<u64>,
    /// When those entered that are not offered yet.
    inside: VecDeque<u64>,
}

impl Entry {
    fn new(output: Wire) -> Self {
        Self { output, count: 0, last: None, inside: VecDeque::new() }
    }

    /// Lets the next beat in at the first possible edge from `edge` on; nothing where that is not known yet.
    fn enter(&mut self, wires: &mut Wires, edge: u64) -> Option<u64> {
        let entered = self.may(wires, edge)?;
        self.count += 1;
        self.last = Some(entered);
        self.inside.push_back(entered);
        self.offer(wires);
        Some(entered)
    }

    /// The first edge from `edge` on at which the next beat may come in.
    fn may(&self, wires: &Wires, edge: u64) -> Option<u64> {
        let mut at = edge.max(self.last.map_or(0, |last| last + 1));
        if let Some(before) = self.count.checked_sub(2) {
            at = at.max(wires.accepted(self.output, before)? + 1);
        }
        Some(at)
    }

    /// Offers what is inside.
    fn offer(&mut self, wires: &mut Wires) {
        while let Some(entered) = self.inside.front()
            && let Some(after) = after(wires, self.output, self.count - self.inside.len())
        {
            wires.offer(self.output, after.max(entered + 1));
            self.inside.pop_front();
        }
    }
}

/// A stream register alone.
#[derive(Debug)]
pub struct Register {
    input: Wire,
    entry: Entry,
}

impl Register {
    /// Between two streams.
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

/// The timing of a matrix unit, and of what else is a pipeline that stands still as a whole. A frame is `operands` operands of `steps`
/// beats each; each of them passes `folds` groups of rows: the first group's steps each take an input beat, the rest read them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// Operands of a frame.
    pub operands: u64,
    /// Row groups that take an operand.
    pub folds: u64,
    /// Beats of an operand.
    pub steps: u64,
    /// Edges from a row group's last step to its output beat's being offered, two or more.
    pub latency: u64,
    /// Beats that a row group gives, one after another.
    pub burst: u64,
    /// Where weights are sampled into a memory, edges from a frame's first step (or the reset) to the first at which the next frame's
    /// may be issued.
    pub sampled: Option<u64>,
}

impl Default for Matrix {
    fn default() -> Self {
        Self { operands: 1, folds: 1, steps: 1, latency: 2, burst: 1, sampled: None }
    }
}

impl Matrix {
    /// Cycles of a frame.
    pub fn interval(&self) -> u64 {
        (self.operands * self.folds * self.steps).max(self.sampled.unwrap_or(0))
    }
}

/// A pipeline on its way. It stands still as a whole from the edge at which a result would enter the stream register behind it until that
/// has room, and at no other.
#[derive(Debug)]
pub struct Pipeline {
    unit: Matrix,
    input: Wire,
    taken: usize,
    entry: Entry,
    /// When results enter the register, less [`stood`](Self::stood).
    flight: VecDeque<u64>,
    /// Cycles for which the pipeline has stood still.
    stood: u64,
    /// First and first following edge of times of standing still that lie behind the last beat taken.
    still: VecDeque<[u64; 2]>,
    /// Beats that the last result still has to give.
    more: u64,
    /// From when on the next beat may be taken, times of standing still in `still` not counted.
    free: u64,
    /// From when on the next frame's weights are there.
    full: u64,
    step: u64,
    operand: u64,
}

impl Pipeline {
    /// With the first frame's weights there.
    pub fn new(unit: Matrix, input: Wire, output: Wire) -> Self {
        assert!(unit.latency >= 2, "a pipeline of {} edges", unit.latency);
        Self {
            unit,
            input,
            taken: 0,
            entry: Entry::new(output),
            flight: VecDeque::new(),
            stood: 0,
            still: VecDeque::new(),
            more: 0,
            free: 0,
            full: 0,
            step: 0,
            operand: 0,
        }
    }

    /// From the reset on: where weights are sampled, the first frame has to wait for its own.
    #[must_use]
    pub fn from_reset(mut self) -> Self {
        self.full = self.unit.sampled.unwrap_or(0);
        self
    }

    /// Lets results into the register.
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
            let Some(due) = self.flight.front().map(|due| due + self.stood) else { return };
            let Some(entered) = self.entry.enter(wires, due) else { return };
            self.flight.pop_front();
            self.more = self.unit.burst - 1;
            if entered > due {
                self.still.push_back([due, entered]);
                self.stood += entered - due;
            }
        }
    }

    /// The edge at which the next beat is taken; nothing where it is not known whether the pipeline stands still then.
    fn may(&mut self, offered: u64) -> Option<u64> {
        loop {
            let at = offered.max(self.free);
            match self.still.front() {
                Some([from, to]) if *from <= at => {
                    self.free = self.free.max(*from) + to - from;
                    self.still.pop_front();
                }
                Some(_) => return Some(at),
                None => {
                    let due = self.flight.front().map(|due| due + self.stood);
                    return due.is_none_or(|due| due > at).then_some(at);
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
            let Some(at) = self.may(if begins { offered.max(self.full) } else { offered }) else { return };
            self.take(wires, at);
            self.leave(wires);
        }
    }
}

/// A sum of frames: a stage in front of a stream register, and both stand still while that is full.
#[derive(Debug)]
pub struct Sum {
    at: Place,
    input: Wire,
    taken: usize,
    entry: Entry,
    /// From when on a sum enters the register.
    due: Option<u64>,
    last: Option<u64>,
}

impl Sum {
    /// Of frames of `beats` beats, as many as a frame has members.
    pub fn new(beats: u64, members: Arc<[u32]>, input: Wire, output: Wire) -> Self {
        let at = Place::new(beats, members);
        Self { at, input, taken: 0, entry: Entry::new(output), due: None, last: None }
    }

    /// The edge at which the next beat is taken.
    fn may(&mut self, wires: &mut Wires, offered: u64) -> Option<u64> {
        if let Some(due) = self.due {
            self.entry.enter(wires, due)?;
            self.due = None;
        }
        let at = offered.max(self.last.map_or(0, |last| last + 1));
        let Some(entered) = self.entry.last else { return Some(at) };
        let at = at.max(entered);
        match self.entry.count.checked_sub(2) {
            // Full from the last beat's coming to the leaving of the one before it.
            Some(before) if at > entered => {
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
