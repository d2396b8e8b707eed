//! Processes, one for each block: the times of its beats.

use std::collections::VecDeque;
use std::sync::Arc;

use stoxnor_sim::stall::Stall;

use super::{Process, Wire, Wires};

/// In which cycles a port of the top stands still.
#[derive(Debug, Default)]
pub struct Pattern(Option<Stalling>);

#[derive(Debug)]
struct Stalling {
    bits: Stall,
    /// The cycle of the bit that comes next.
    next: u64,
    /// The last cycle that was asked for and found free.
    found: Option<u64>,
}

impl Pattern {
    /// In none.
    pub fn always() -> Self {
        Self(None)
    }

    /// Where the bits of a stall pattern, one a cycle from cycle 0 on, are 1.
    pub fn stalling(bits: Stall) -> Self {
        Self(Some(Stalling { bits, next: 0, found: None }))
    }

    /// The first cycle from `edge` on in which the port does not stand still. Asked for in ascending order.
    fn first(&mut self, edge: u64) -> u64 {
        let Some(Stalling { bits, next, found }) = &mut self.0 else { return edge };
        while found.is_none_or(|found| found < edge) {
            let stalls = bits.next() == Some(true);
            if !stalls {
                *found = Some(*next);
            }
            *next += 1;
        }
        found.unwrap_or(edge)
    }
}

/// What gives the network its input.
#[derive(Debug)]
pub struct Source {
    given: Vec<u64>,
    pattern: Pattern,
    output: Wire,
    count: usize,
}

impl Source {
    /// Beats that are there from the edges of `given` on. One is offered first in a cycle without a stall, and then stays.
    pub fn new(given: Vec<u64>, pattern: Pattern, output: Wire) -> Self {
        Self { given, pattern, output, count: 0 }
    }
}

impl Process for Source {
    fn run(&mut self, wires: &mut Wires) {
        while let Some(given) = self.given.get(self.count) {
            let Some(after) = after(wires, self.output, self.count) else { return };
            wires.offer(self.output, self.pattern.first(after.max(*given)));
            self.count += 1;
        }
    }
}

/// The first edge at which beat `index` of an output may be offered: the one after the beat before it was accepted.
fn after(wires: &Wires, output: Wire, index: usize) -> Option<u64> {
    match index.checked_sub(1) {
        None => Some(0),
        Some(before) => wires.accepted(output, before).map(|edge| edge + 1),
    }
}

/// What takes the network's output.
#[derive(Debug)]
pub struct Sink {
    pattern: Pattern,
    input: Wire,
    count: usize,
}

impl Sink {
    /// Ready in every cycle without a stall.
    pub fn new(pattern: Pattern, input: Wire) -> Self {
        Self { pattern, input, count: 0 }
    }
}

impl Process for Sink {
    fn run(&mut self, wires: &mut Wires) {
        while let Some(offered) = wires.offered(self.input, self.count) {
            wires.accept(self.input, self.pattern.first(offered));
            self.count += 1;
        }
    }
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A FIFO of `depth` beats, and one in its output register.
#[derive(Debug)]
pub struct Fifo {
    depth: u64,
    input: Wire,
    output: Wire,
    /// When beats that are still of interest were read from memory, the first of them beat number `gone`.
    read: VecDeque<u64>,
    gone: usize,
    written: usize,
}

impl Fifo {
    /// Of `depth` beats.
    pub fn new(depth: u64, input: Wire, output: Wire) -> Self {
        Self { depth, input, output, read: VecDeque::new(), gone: 0, written: 0 }
    }

    fn write(&mut self, wires: &mut Wires) -> Option<()> {
        let mut at = wires.offered(self.input, self.written)?;
        if let Some(before) = self.written.checked_sub(1) {
            at = at.max(wires.accepted(self.input, before)? + 1);
        }
        if self.written as u64 >= self.depth {
            let frees = self.written - self.depth as usize;
            at = at.max(self.read.get(frees - self.gone)? + 1);
            // The last one read is of interest to the next one.
            while self.gone < frees && self.read.len() > 1 {
                self.read.pop_front();
                self.gone += 1;
            }
        }
        self.written += 1;
        wires.accept(self.input, at);
        Some(())
    }

    fn read(&mut self, wires: &mut Wires) -> Option<()> {
        let next = self.gone + self.read.len();
        let mut at = wires.accepted(self.input, next)? + 1;
        if let Some(before) = next.checked_sub(1) {
            let left = wires.accepted(self.output, before)?;
            at = at.max(left).max(self.read.back().map_or(0, |read| read + 1));
        }
        self.read.push_back(at);
        wires.offer(self.output, at + 1);
        Some(())
    }
}

impl Process for Fifo {
    fn run(&mut self, wires: &mut Wires) {
        loop {
            let wrote = self.write(wires).is_some();
            let read = self.read(wires).is_some();
            if !wrote && !read {
                return;
            }
        }
    }
}

/// A width converter that joins beats.
#[derive(Debug)]
pub struct Widener {
    ratio: usize,
    input: Wire,
    output: Wire,
    taken: usize,
}

impl Widener {
    /// `ratio` beats to one.
    pub fn new(ratio: u64, input: Wire, output: Wire) -> Self {
        Self { ratio: ratio as usize, input, output, taken: 0 }
    }

    fn take(&mut self, wires: &mut Wires) -> Option<()> {
        let mut at = wires.offered(self.input, self.taken)?;
        if let Some(before) = self.taken.checked_sub(1) {
            at = at.max(wires.accepted(self.input, before)? + 1);
        }
        if let Some(word) = (self.taken / self.ratio).checked_sub(1) {
            // The next word begins as this one leaves.
            at = at.max(wires.accepted(self.output, word)?);
        }
        self.taken += 1;
        wires.accept(self.input, at);
        if self.taken.is_multiple_of(self.ratio) {
            wires.offer(self.output, at + 1);
        }
        Some(())
    }
}

impl Process for Widener {
    fn run(&mut self, wires: &mut Wires) {
        while self.take(wires).is_some() {}
    }
}

/// A width converter that splits beats.
#[derive(Debug)]
pub struct Narrower {
    ratio: usize,
    input: Wire,
    output: Wire,
    given: usize,
}

impl Narrower {
    /// One beat to `ratio`.
    pub fn new(ratio: u64, input: Wire, output: Wire) -> Self {
        Self { ratio: ratio as usize, input, output, given: 0 }
    }

    fn give(&mut self, wires: &mut Wires) -> Option<()> {
        let left = match self.given.checked_sub(1) {
            Some(before) => wires.accepted(self.output, before)?,
            None => 0,
        };
        let mut at = left;
        if self.given.is_multiple_of(self.ratio) {
            // The next beat is taken as the final part leaves.
            at = left.max(wires.offered(self.input, self.given / self.ratio)?);
            wires.accept(self.input, at);
        }
        self.given += 1;
        wires.offer(self.output, at + 1);
        Some(())
    }
}

impl Process for Narrower {
    fn run(&mut self, wires: &mut Wires) {
        while self.give(wires).is_some() {}
    }
}

/// A place among frames that pass once for each of their members.
#[derive(Debug)]
struct Place {
    beats: u64,
    members: Arc<[u32]>,
    frame: u64,
    pass: u32,
    beat: u64,
}

impl Place {
    fn new(beats: u64, members: Arc<[u32]>) -> Self {
        Self { beats, members, frame: 0, pass: 0, beat: 0 }
    }

    fn is_last_pass(&self) -> bool {
        self.pass + 1 == self.members[self.frame as usize % self.members.len()]
    }

    /// To the next beat.
    fn advance(&mut self) {
        self.beat += 1;
        if self.beat == self.beats {
            self.beat = 0;
            if self.is_last_pass() {
                self.frame += 1;
                self.pass = 0;
            } else {
                self.pass += 1;
            }
        }
    }
}

/// A replay buffer of two frames.
#[derive(Debug)]
pub struct Replay {
    at: Place,
    input: Wire,
    output: Wire,
    written: usize,
    given: usize,
    /// When the last beat was read from memory.
    read: u64,
    /// When the beats of the last two frames were read for the last time, by their place in the ring.
    left: Vec<u64>,
}

impl Replay {
    /// Frames of `beats` beats, each given as often as it has members.
    pub fn new(beats: u64, members: Arc<[u32]>, input: Wire, output: Wire) -> Self {
        let left = vec![0; 2 * beats as usize];
        Self { at: Place::new(beats, members), input, output, written: 0, given: 0, read: 0, left }
    }

    fn write(&mut self, wires: &mut Wires) -> Option<()> {
        let mut at = wires.offered(self.input, self.written)?;
        if let Some(before) = self.written.checked_sub(1) {
            at = at.max(wires.accepted(self.input, before)? + 1);
        }
        if let Some(before) = self.written.checked_sub(self.left.len()) {
            // Places are free from the last pass on.
            let freed = self.at.frame * self.at.beats + if self.at.is_last_pass() { self.at.beat } else { 0 };
            if before as u64 >= freed {
                return None;
            }
            at = at.max(self.left[before % self.left.len()] + 1);
        }
        self.written += 1;
        wires.accept(self.input, at);
        Some(())
    }

    fn read(&mut self, wires: &mut Wires) -> Option<()> {
        let beat = (self.at.frame * self.at.beats + self.at.beat) as usize;
        let mut at = wires.accepted(self.input, beat)? + 1;
        if let Some(before) = self.given.checked_sub(1) {
            at = at.max(self.read + 1).max(wires.accepted(self.output, before)?);
        }
        self.read = at;
        if self.at.is_last_pass() {
            let place = beat % self.left.len();
            self.left[place] = at;
        }
        self.at.advance();
        self.given += 1;
        wires.offer(self.output, at + 1);
        Some(())
    }
}

impl Process for Replay {
    fn run(&mut self, wires: &mut Wires) {
        loop {
            let wrote = self.write(wires).is_some();
            let read = self.read(wires).is_some();
            if !wrote && !read {
                return;
            }
        }
    }
}

/// One stream to several, each of which takes a beat when it may.
#[derive(Debug)]
pub struct Fork {
    input: Wire,
    outputs: Vec<Wire>,
    offered: usize,
    taken: usize,
}

impl Fork {
    /// To all of `outputs`.
    pub fn new(input: Wire, outputs: Vec<Wire>) -> Self {
        Self { input, outputs, offered: 0, taken: 0 }
    }
}

impl Process for Fork {
    fn run(&mut self, wires: &mut Wires) {
        loop {
            if self.offered == self.taken {
                let Some(offered) = wires.offered(self.input, self.offered) else { return };
                self.outputs.iter().for_each(|output| wires.offer(*output, offered));
                self.offered += 1;
            }
            let all = self.outputs.iter().map(|output| wires.accepted(*output, self.taken));
            let Some(at) = all.reduce(|a, b| Some(a?.max(b?))).flatten() else { return };
            wires.accept(self.input, at);
            self.taken += 1;
        }
    }
}

/// Several streams to one: a beat of each together.
#[derive(Debug)]
pub struct Join {
    inputs: Vec<Wire>,
    output: Wire,
    offered: usize,
    taken: usize,
}

impl Join {
    /// Of all of `inputs`.
    pub fn new(inputs: Vec<Wire>, output: Wire) -> Self {
        Self { inputs, output, offered: 0, taken: 0 }
    }
}

impl Process for Join {
    fn run(&mut self, wires: &mut Wires) {
        loop {
            if self.offered == self.taken {
                let all = self.inputs.iter().map(|input| wires.offered(*input, self.offered));
                let Some(at) = all.reduce(|a, b| Some(a?.max(b?))).flatten() else { return };
                wires.offer(self.output, at);
                self.offered += 1;
            }
            let Some(at) = wires.accepted(self.output, self.taken) else { return };
            self.inputs.iter().for_each(|input| wires.accept(*input, at));
            self.taken += 1;
        }
    }
}

/// Several streams to one, so many beats of each in turn.
#[derive(Debug)]
pub struct Turns {
    /// The streams, and how many beats of each come before the next one's turn.
    inputs: Vec<(Wire, usize)>,
    output: Wire,
    offered: usize,
    taken: usize,
}

impl Turns {
    /// Of all of `inputs`.
    pub fn new(inputs: Vec<(Wire, usize)>, output: Wire) -> Self {
        Self { inputs, output, offered: 0, taken: 0 }
    }

    /// Whose turn beat `index` is, and the number of the beat there.
    fn turn(&self, index: usize) -> (Wire, usize) {
        let round: usize = self.inputs.iter().map(|(_, count)| count).sum();
        let mut place = index % round;
        for (input, count) in &self.inputs {
            if place < *count {
                return (*input, index / round * count + place);
            }
            place -= count;
        }
        unreachable!("a place in the round")
    }
}

impl Process for Turns {
    fn run(&mut self, wires: &mut Wires) {
        loop {
            let (input, beat) = self.turn(self.taken);
            if self.offered == self.taken {
                let Some(at) = wires.offered(input, beat) else { return };
                let Some(after) = after(wires, self.output, self.offered) else { return };
                wires.offer(self.output, at.max(after));
                self.offered += 1;
            }
            let Some(at) = wires.accepted(self.output, self.taken) else { return };
            wires.accept(input, at);
            self.taken += 1;
        }
    }
}
