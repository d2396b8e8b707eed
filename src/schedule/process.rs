//! The timing of each block, as a process.

use std::collections::VecDeque;
use std::sync::Arc;

use stoxnor_sim::stall::Stall;

use crate::schedule::{Process, Wire, Wires};

/// A stall pattern: the cycles in which a port of the top module stalls.
#[derive(Debug, Default)]
pub struct Pattern(Option<Stalling>);

#[derive(Debug)]
struct Stalling {
    bits: Stall,
    /// The cycle of the next bit.
    next: u64,
    /// The last cycle that was requested and is free of stalls.
    found: Option<u64>,
}

impl Pattern {
    /// No stalls.
    pub fn always() -> Self {
        Self(None)
    }

    /// Stalls in the cycles whose bit in `bits` is 1; one bit per cycle from cycle 0 on.
    pub fn stalling(bits: Stall) -> Self {
        Self(Some(Stalling { bits, next: 0, found: None }))
    }

    /// The first cycle from `edge` on without a stall. Calls must have ascending edges.
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

/// The source of the network's input.
#[derive(Debug)]
pub struct Source {
    given: Vec<u64>,
    pattern: Pattern,
    output: Wire,
    count: usize,
}

impl Source {
    /// A source whose beats are available from the edges `given` on. A beat is first offered in a cycle without a stall, and then
    /// stays.
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

/// The first edge at which beat `index` of an output may be offered: one after the previous beat was accepted.
pub fn after(wires: &Wires, output: Wire, index: usize) -> Option<u64> {
    match index.checked_sub(1) {
        None => Some(0),
        Some(before) => wires.accepted(output, before).map(|edge| edge + 1),
    }
}

/// The sink of the network's output.
#[derive(Debug)]
pub struct Sink {
    pattern: Pattern,
    input: Wire,
    count: usize,
}

impl Sink {
    /// A sink that is ready in every cycle without a stall.
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

/// The timing of a FIFO of `depth` beats plus one beat in its output register.
#[derive(Debug)]
pub struct Fifo {
    depth: u64,
    input: Wire,
    output: Wire,
    /// The edges at which beats were read from memory, from beat number `gone` on.
    read: VecDeque<u64>,
    gone: usize,
    written: usize,
}

impl Fifo {
    /// A FIFO of `depth` beats.
    pub fn new(depth: u64, input: Wire, output: Wire) -> Self {
        Self { depth, input, output, read: VecDeque::new(), gone: 0, written: 0 }
    }

    fn write(&mut self, wires: &mut Wires) -> Option<()> {
        let mut at = wires.offered(self.input, self.written)?;
        if self.written as u64 >= self.depth {
            let frees = self.written - self.depth as usize;
            at = at.max(self.read.get(frees - self.gone)? + 1);
            // The last read is needed for the next one.
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

/// The timing of an ideal FIFO, a bound for all others: it is never full, and a beat passes at once if none is before it.
#[derive(Debug)]
pub struct Ideal {
    input: Wire,
    output: Wire,
    taken: usize,
    given: usize,
}

impl Ideal {
    /// An ideal FIFO between two streams.
    pub fn new(input: Wire, output: Wire) -> Self {
        Self { input, output, taken: 0, given: 0 }
    }
}

impl Process for Ideal {
    fn run(&mut self, wires: &mut Wires) {
        while let Some(offered) = wires.offered(self.input, self.taken) {
            wires.accept(self.input, offered);
            self.taken += 1;
        }
        while let Some(came) = wires.accepted(self.input, self.given)
            && let Some(after) = after(wires, self.output, self.given)
        {
            wires.offer(self.output, came.max(after));
            self.given += 1;
        }
    }
}

/// The timing of a width converter that joins beats.
#[derive(Debug)]
pub struct Widener {
    ratio: usize,
    input: Wire,
    output: Wire,
    taken: usize,
}

impl Widener {
    /// Joins `ratio` input beats into one output beat.
    pub fn new(ratio: u64, input: Wire, output: Wire) -> Self {
        Self { ratio: ratio as usize, input, output, taken: 0 }
    }

    fn take(&mut self, wires: &mut Wires) -> Option<()> {
        let mut at = wires.offered(self.input, self.taken)?;
        if let Some(word) = (self.taken / self.ratio).checked_sub(1) {
            // The next word begins when this one leaves.
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

/// The timing of a width converter that splits beats.
#[derive(Debug)]
pub struct Narrower {
    ratio: usize,
    input: Wire,
    output: Wire,
    given: usize,
}

impl Narrower {
    /// Splits one input beat into `ratio` output beats.
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
            // The next beat is accepted when the last part leaves.
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

/// The timing of a replay buffer of two frames.
#[derive(Debug)]
pub struct Replay {
    at: Place,
    input: Wire,
    output: Wire,
    written: usize,
    given: usize,
    /// The edge at which the last beat was read from memory.
    read: u64,
    /// For each place of the ring, the edge at which its beat was last read; it holds two frames.
    left: Vec<u64>,
}

impl Replay {
    /// A replay of frames of `beats` beats, once per member.
    pub fn new(beats: u64, members: Arc<[u32]>, input: Wire, output: Wire) -> Self {
        let left = vec![0; 2 * beats as usize];
        Self { at: Place::new(beats, members), input, output, written: 0, given: 0, read: 0, left }
    }

    fn write(&mut self, wires: &mut Wires) -> Option<()> {
        let mut at = wires.offered(self.input, self.written)?;
        if let Some(before) = self.written.checked_sub(self.left.len()) {
            // Places become free during the last pass.
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

/// The timing of a fork: each output accepts a beat independently.
#[derive(Debug)]
pub struct Fork {
    input: Wire,
    outputs: Vec<Wire>,
    offered: usize,
    taken: usize,
}

impl Fork {
    /// A fork to all `outputs`.
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

/// The timing of a join: each output beat consumes one beat of every input.
#[derive(Debug)]
pub struct Join {
    inputs: Vec<Wire>,
    output: Wire,
    offered: usize,
    taken: usize,
}

impl Join {
    /// A join of all `inputs`.
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

/// The timing of a round-robin merge: a fixed number of beats of each input in turn.
#[derive(Debug)]
pub struct RoundRobin {
    /// The inputs, and the number of beats of each per round.
    inputs: Vec<(Wire, usize)>,
    output: Wire,
    offered: usize,
    taken: usize,
}

impl RoundRobin {
    /// A merge of all `inputs`.
    pub fn new(inputs: Vec<(Wire, usize)>, output: Wire) -> Self {
        Self { inputs, output, offered: 0, taken: 0 }
    }

    /// The input of output beat `index`, and the number of the beat in that input.
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

impl Process for RoundRobin {
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

/// The current beat in a sequence of frames that pass once per member.
#[derive(Debug)]
pub struct Place {
    /// Beats per frame.
    pub beats: u64,
    members: Arc<[u32]>,
    /// Index of the frame.
    pub frame: u64,
    pass: u32,
    /// Index of the beat in the frame.
    pub beat: u64,
}

impl Place {
    /// The first beat of the first frame.
    pub fn new(beats: u64, members: Arc<[u32]>) -> Self {
        Self { beats, members, frame: 0, pass: 0, beat: 0 }
    }

    /// Whether this is the frame's last pass.
    pub fn is_last_pass(&self) -> bool {
        self.pass + 1 == self.members[self.frame as usize % self.members.len()]
    }

    /// Moves to the next beat.
    pub fn advance(&mut self) {
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
