//! When beats move: maps from the times at which input beats are offered to those at which output beats are.
//!
//! A time is the number of a rising edge. A beat is *offered* from the first edge at which its valid is 1, and *accepted*
//! at the edge at which ready is 1 as well. Maps assume a sink that is always ready; they compose with
//! [`Schedule::then`]. Behind a buffer of a whole frame that is also what happens in a network: a slower stage never makes
//! a faster one before it late, it only lets it wait.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use stoxnor_hdl::block::{Border, LineBuffer, Loop};

/// The edges of a stage's beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beats {
    /// When each input beat is accepted.
    pub accepted: Vec<u64>,
    /// From when each output beat is offered.
    pub offered: Vec<u64>,
}

type Map = dyn Fn(&[u64]) -> Beats + Send + Sync;

/// The timing of a stage.
#[derive(Clone)]
pub struct Schedule {
    /// Cycles between frames where nothing else is slower: its initiation interval.
    pub interval: u64,
    map: Arc<Map>,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule {{ interval: {} }}", self.interval)
    }
}

impl Schedule {
    /// A stage by its interval and its map. The map takes the beats of any whole number of frames.
    pub fn new(interval: u64, map: impl Fn(&[u64]) -> Beats + Send + Sync + 'static) -> Self {
        Self { interval, map: Arc::new(map) }
    }

    /// The beats, given from when each input beat is offered (of whole frames, the first at reset).
    pub fn beats(&self, offered: &[u64]) -> Beats {
        (self.map)(offered)
    }

    /// This stage and `next` behind it.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self::new(self.interval.max(next.interval), move |offered| {
            let first = self.beats(offered);
            let second = next.beats(&first.offered);
            Beats { accepted: first.accepted, offered: second.offered }
        })
    }

    /// A matrix unit.
    pub fn matrix(unit: Matrix) -> Self {
        Self::new(unit.interval(), move |offered| {
            let mut run = MatrixRun::new(unit);
            let accepted = offered.iter().map(|beat| run.take(*beat)).collect();
            Beats { accepted, offered: run.outputs }
        })
    }

    /// A replay buffer: frames of `beats` beats, each given `passes` times.
    pub fn replay(beats: u64, passes: u64) -> Self {
        Self::new(beats, move |offered| {
            let mut accepted = Vec::with_capacity(offered.len());
            let mut given = Vec::with_capacity(offered.len() * passes as usize);
            let (mut free, mut read) = (0, 0);
            for frame in offered.chunks(beats as usize) {
                for &beat in frame {
                    free = beat.max(free) + 1;
                    accepted.push(free - 1);
                    // A beat is read from the edge after its writing on, and then offered.
                    read = free.max(read) + 1;
                    given.push(read);
                }
                for _ in 1..passes {
                    given.extend((1..=beats).map(|beat| read + beat));
                    read += beats;
                }
            }
            Beats { accepted, offered: given }
        })
    }

    /// A sum of `passes` frames of `beats` beats: the last of them gives it, `latency` edges after its beats.
    pub fn frame_sum(beats: u64, passes: u64, latency: u64) -> Self {
        Self::buffer(beats, latency).then(Self::new(beats, move |offered| {
            let sums = offered.chunks((beats * passes) as usize);
            let last = sums.flat_map(|sum| &sum[sum.len() - beats as usize..]);
            Beats { accepted: offered.to_vec(), offered: last.copied().collect() }
        }))
    }

    /// A buffer that offers a beat `latency` edges after it took it; one beat a cycle.
    pub fn buffer(beats: u64, latency: u64) -> Self {
        Self::new(beats, move |offered| {
            let mut free = 0;
            let accepted: Vec<u64> = offered
                .iter()
                .map(|&beat| {
                    free = beat.max(free) + 1;
                    free - 1
                })
                .collect();
            let offered = accepted.iter().map(|t| t + latency).collect();
            Beats { accepted, offered }
        })
    }

    /// A width converter that joins `ratio` of a frame's `beats` input beats to one.
    pub fn widener(beats: u64, ratio: u64) -> Self {
        Self::buffer(beats, 1).then(Self::new(beats / ratio, move |offered| {
            let last = offered.chunks(ratio as usize).map(|part| part[part.len() - 1]);
            Beats { accepted: offered.to_vec(), offered: last.collect() }
        }))
    }

    /// A width converter that splits each of a frame's `beats` input beats into `ratio`.
    pub fn narrower(beats: u64, ratio: u64) -> Self {
        Self::new(beats * ratio, move |offered| {
            let mut free = 0;
            let accepted: Vec<u64> = offered
                .iter()
                .map(|&beat| {
                    let at = beat.max(free);
                    free = at + ratio;
                    at
                })
                .collect();
            let offered = accepted.iter().flat_map(|t| (1..=ratio).map(move |part| t + part)).collect();
            Beats { accepted, offered }
        })
    }
}

/// What takes beats one by one.
pub trait Sink {
    /// The edge at which the next beat is accepted, offered from `offered` on.
    fn take(&mut self, offered: u64) -> u64;
}

/// What is always ready, and keeps from when on beats are offered.
#[derive(Debug, Default)]
pub struct Taken(pub Vec<u64>);

impl Sink for Taken {
    fn take(&mut self, offered: u64) -> u64 {
        self.0.push(offered);
        offered
    }
}

/// The timing of a matrix unit. A frame is `operands` operands of `steps` beats each; each of them passes `folds` groups of rows: the
/// first group's steps each take an input beat, the rest read them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Operands of a frame.
    pub operands: u64,
    /// Row groups that take an operand.
    pub folds: u64,
    /// Beats of an operand.
    pub steps: u64,
    /// Edges from a row group's last step to its output beat's being offered.
    pub latency: u64,
    /// Where weights are sampled into a memory, edges from a frame's first step (or the reset) to the first at which the next frame's
    /// may be issued.
    pub sampled: Option<u64>,
}

impl Matrix {
    /// Cycles of a frame.
    pub fn interval(&self) -> u64 {
        (self.operands * self.folds * self.steps).max(self.sampled.unwrap_or(0))
    }
}

/// A matrix unit on its way.
#[derive(Debug)]
pub struct MatrixRun {
    unit: Matrix,
    /// When each output beat is offered.
    pub outputs: Vec<u64>,
    free: u64,
    /// From when on the next frame's weights are there.
    full: u64,
    step: u64,
    operand: u64,
}

impl MatrixRun {
    /// From the reset on.
    pub fn new(unit: Matrix) -> Self {
        Self { unit, outputs: Vec::new(), free: 0, full: unit.sampled.unwrap_or(0), step: 0, operand: 0 }
    }
}

impl Sink for MatrixRun {
    fn take(&mut self, offered: u64) -> u64 {
        let Matrix { operands, folds, steps, latency, sampled } = self.unit;
        let begins = (self.step, self.operand) == (0, 0);
        let mut accepted = offered.max(self.free);
        if begins {
            accepted = accepted.max(self.full);
            self.full = accepted + sampled.unwrap_or(0);
        }
        self.free = accepted + 1;
        self.step += 1;
        if self.step == steps {
            self.outputs.extend((0..folds).map(|fold| accepted + fold * steps + latency));
            self.free += (folds - 1) * steps;
            self.step = 0;
            self.operand = (self.operand + 1) % operands;
        }
        accepted
    }
}

/// A widener that joins `ratio` beats to one for what is behind it.
#[derive(Debug)]
pub struct Joined<S> {
    ratio: u64,
    behind: S,
    part: u64,
    free: u64,
}

impl<S: Sink> Joined<S> {
    /// `ratio` beats, 1 for no widener.
    pub fn new(ratio: u64, behind: S) -> Self {
        Self { ratio, behind, part: 0, free: 0 }
    }

    /// What is behind it.
    pub fn behind(self) -> S {
        self.behind
    }
}

impl<S: Sink> Sink for Joined<S> {
    fn take(&mut self, offered: u64) -> u64 {
        if self.ratio == 1 {
            return self.behind.take(offered);
        }
        let accepted = offered.max(self.free);
        self.free = accepted + 1;
        self.part = (self.part + 1) % self.ratio;
        if self.part == 0 {
            // The next beat may come as the word leaves.
            self.free = self.behind.take(accepted + 1);
        }
        accepted
    }
}

/// A FIFO of `depth` beats, and one in its output register, in front of what is behind it.
#[derive(Debug)]
pub struct Queued<S> {
    depth: u64,
    behind: S,
    /// When the last `depth` beats are read from memory.
    read: VecDeque<u64>,
    free: u64,
    taken: u64,
}

impl<S: Sink> Queued<S> {
    /// `depth` beats, 0 for no FIFO.
    pub fn new(depth: u64, behind: S) -> Self {
        Self { depth, behind, read: VecDeque::new(), free: 0, taken: 0 }
    }

    /// What is behind it.
    pub fn behind(self) -> S {
        self.behind
    }
}

impl<S: Sink> Sink for Queued<S> {
    fn take(&mut self, offered: u64) -> u64 {
        if self.depth == 0 {
            return self.behind.take(offered);
        }
        let mut accepted = offered.max(self.free);
        let before = self.read.back().map_or(0, |read| read + 1);
        if self.read.len() as u64 == self.depth
            && let Some(read) = self.read.pop_front()
        {
            accepted = accepted.max(read + 1);
        }
        self.free = accepted + 1;
        let read = before.max(accepted + 1).max(self.taken);
        self.read.push_back(read);
        self.taken = self.behind.take(read + 1);
        accepted
    }
}

/// When a line buffer accepts beats that are offered at `offered` (of whole frames), with `sink` behind it; nothing where its ring is too small and
/// waits for ever.
pub fn line_buffer(buffer: &LineBuffer, offered: &[u64], sink: &mut impl Sink) -> Option<Vec<u64>> {
    let frames = offered.len() as u64 / buffer.frame;
    let mut ring = Ring {
        buffer,
        offered,
        accepted: Vec::with_capacity(offered.len()),
        left: VecDeque::new(),
        freed: 0,
    };
    let inner: Vec<(u64, [u64; 2])> = runs(&buffer.inner);
    let (mut read, mut taken) = (0, 0);
    for frame in 0..frames {
        let base = frame * buffer.frame;
        for row in 0..buffer.outer[1].count {
            for column in 0..buffer.outer[0].count {
                let [columns, rows] = &buffer.outer;
                let words = row * rows.words + column * columns.words;
                let pixels = [0, 1].map(|a| row * rows.pixels[a] + column * columns.pixels[a]);
                for (more, further) in &inner {
                    let mut there = ring.accepted(base)?;
                    for tap in &buffer.taps {
                        let pixel = [0, 1].map(|a| pixels[a] + further[a] + tap.pixels[a]);
                        if buffer.border.as_ref().is_none_or(|b| inside(b, pixel)) {
                            let word = (base + words + more + tap.words).cast_signed() + buffer.start();
                            there = there.max(ring.accepted(word.cast_unsigned())?);
                        }
                    }
                    read = (read + 1).max(taken).max(there + 1);
                    taken = sink.take(read + 1);
                }
                ring.left.push_back((base + buffer.freed(row, column), read));
            }
        }
    }
    ring.accepted((offered.len() as u64).checked_sub(1)?)?;
    Some(ring.accepted)
}

fn inside(border: &Border, pixel: [u64; 2]) -> bool {
    (0..2).all(|a| (border.before[a]..border.before[a] + border.extent[a]).contains(&pixel[a]))
}

/// Words and pixels of all runs of nested loops, in order.
fn runs(loops: &[Loop]) -> Vec<(u64, [u64; 2])> {
    loops.iter().fold(vec![(0, [0; 2])], |inner, level| {
        let run = |i: u64| {
            inner.iter().map(move |(words, pixels)| {
                (words + i * level.words, [0, 1].map(|a| pixels[a] + i * level.pixels[a]))
            })
        };
        (0..level.count).flat_map(run).collect()
    })
}

/// The ring of a line buffer as it fills.
struct Ring<'a> {
    buffer: &'a LineBuffer,
    offered: &'a [u64],
    accepted: Vec<u64>,
    /// Words that are free after the edges at which positions are left, not used yet.
    left: VecDeque<(u64, u64)>,
    /// Words that are free, and since when.
    freed: u64,
}

impl Ring<'_> {
    /// When word `word` is accepted; nothing where that waits for a position that is not left yet.
    fn accepted(&mut self, word: u64) -> Option<u64> {
        while self.accepted.len() as u64 <= word {
            let next = self.accepted.len() as u64;
            let mut at = self.offered[next as usize].max(self.accepted.last().map_or(0, |last| last + 1));
            while self.freed + self.buffer.depth <= next {
                let (freed, edge) = self.left.pop_front()?;
                self.freed = freed;
                at = at.max(edge + 1);
            }
            self.accepted.push(at);
        }
        Some(self.accepted[word as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(folds: u64, steps: u64, latency: u64, sampled: Option<u64>) -> Schedule {
        Schedule::matrix(Matrix { operands: 1, folds, steps, latency, sampled })
    }

    #[test]
    fn a_matrix_unit_takes_its_input_once_and_its_time_for_every_fold() {
        let unit = matrix(3, 2, 3, None);
        assert_eq!(unit.interval, 6);
        // Frame 0 at full rate, frame 1 waiting from the start.
        let beats = unit.beats(&[0, 0, 0, 0]);
        assert_eq!(beats.accepted, [0, 1, 6, 7]);
        assert_eq!(beats.offered, [4, 6, 8, 10, 12, 14]);
    }

    #[test]
    fn a_sampled_frame_waits_for_its_weights() {
        let unit = matrix(3, 2, 3, Some(10));
        assert_eq!(unit.interval, 10);
        assert_eq!(unit.beats(&[0, 0, 0, 0]).accepted, [10, 11, 20, 21]);
    }

    #[test]
    fn a_frame_is_given_again_and_summed() {
        let replay = Schedule::replay(2, 3);
        let beats = replay.beats(&[0, 5]);
        assert_eq!((beats.accepted, &beats.offered[..]), (vec![0, 5], &[2, 7, 8, 9, 10, 11][..]));
        let sum = Schedule::frame_sum(2, 3, 2);
        assert_eq!(sum.beats(&beats.offered).offered, [12, 13]);
    }

    #[test]
    fn converters_in_a_row_compose() {
        let both = Schedule::widener(6, 3).then(Schedule::narrower(2, 2));
        let beats = both.beats(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(beats.accepted, [0, 1, 2, 3, 4, 5]);
        assert_eq!(beats.offered, [4, 5, 7, 8]);
        assert_eq!(both.interval, 6);
    }
}
