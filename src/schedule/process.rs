//! Processes, one for each block: the times of its beats.

use std::collections::VecDeque;
use std::sync::Arc;

use stoxnor_sim::stall::Stall;

use crate::schedule::{Process, Wire, Wires};

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
pub fn after(wires: &Wires, output: Wire, index: usize) -> Option<u64> {
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

/// What no FIFO can be better than: it is never full, and a beat passes at once where nothing is before it.
#[derive(Debug)]
pub struct Ideal {
    input: Wire,
    output: Wire,
    taken: usize,
    given: usize,
}

impl Ideal {
    /// Between two streams.
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
pub struct RoundRobin {
    /// The streams, and how many beats of each come before the next one's turn.
    inputs: Vec<(Wire, usize)>,
    output: Wire,
    offered: usize,
    taken: usize,
}

impl RoundRobin {
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

/// A place among frames that pass once for each of their members.
#[derive(Debug)]
pub struct Place {
    /// Beats of a frame.
    pub beats: u64,
    members: Arc<[u32]>,
    /// The frame.
    pub frame: u64,
    pass: u32,
    /// The beat in it.
    pub beat: u64,
}

impl Place {
    /// The first beat of the first frame.
    pub fn new(beats: u64, members: Arc<[u32]>) -> Self {
        Self { beats, members, frame: 0, pass: 0, beat: 0 }
    }

    /// Whether the frame passes for the last time.
    pub fn is_last_pass(&self) -> bool {
        self.pass + 1 == self.members[self.frame as usize % self.members.len()]
    }

    /// To the next beat.
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
