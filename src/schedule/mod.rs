//! Cycle-exact schedules: the edges at which beats move in a network of stages, with back-pressure.
//!
//! A time is the number of a rising clock edge. A beat is *offered* from the first edge at which its valid is 1. It is *accepted*
//! at the first edge at which ready is 1 too. A stage consists of one or more [processes](Process). From known times, a process
//! computes when it accepts its next beat and when it offers its next output beat. All times are sums and maxima of earlier
//! times, so [`Timing`] computes them beat by beat, in any order, without simulating the cycles between. Processes are written
//! independently of the hardware: simulation checks that the hardware has the same times.
//!
//! May use: `stoxnor-hdl` (geometry of line buffers). Used by: hardware units, layers, `lower`.

mod pipeline;
mod process;
mod ring;
pub mod search;

use std::fmt;
use std::sync::Arc;

use stoxnor_hdl::block::LineBuffer;

pub use pipeline::{Matrix, Pipeline, Register, Stalls, Sum};
pub use process::{Fifo, Fork, Ideal, Join, Narrower, Pattern, Replay, RoundRobin, Sink, Source, Widener};
pub use ring::Ring;

/// A stream between two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire(usize);

/// The edges of a stream's beats, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beats {
    /// The edge from which each beat is offered: later than the edge at which the previous beat was accepted.
    pub offered: Vec<u64>,
    /// The edge at which each beat is accepted.
    pub accepted: Vec<u64>,
}

/// A process that consumes beats, produces beats, or both.
pub trait Process: fmt::Debug + Send {
    /// Accepts and offers beats as far as known times allow.
    fn run(&mut self, wires: &mut Wires);
}

/// All streams, and the processes to run again. The last one that was woken runs first: what it needs was written just before.
#[derive(Debug, Default)]
pub struct Wires {
    beats: Vec<Beats>,
    /// Index of the producing and of the consuming process of each stream.
    ends: Vec<[usize; 2]>,
    woken: Vec<usize>,
    awake: Vec<bool>,
    /// Whether every stage holds the fewest beats that it may come to hold under any stalls, in place of those that it holds at
    /// these times. Then all stages depend on which beats came, not when. So what passes here passes under any stalls.
    least: bool,
}

impl Wires {
    /// The beats of a stream.
    pub fn beats(&self, wire: Wire) -> &Beats {
        &self.beats[wire.0]
    }

    /// The edge from which beat `index` is offered; `None` if it is not known yet.
    pub fn offered(&self, wire: Wire, index: usize) -> Option<u64> {
        self.beats[wire.0].offered.get(index).copied()
    }

    /// The edge at which beat `index` is accepted; `None` if it is not known yet.
    pub fn accepted(&self, wire: Wire, index: usize) -> Option<u64> {
        self.beats[wire.0].accepted.get(index).copied()
    }

    /// Offers the next beat of a stream from `edge` on.
    pub fn offer(&mut self, wire: Wire, edge: u64) {
        self.beats[wire.0].offered.push(edge);
        self.wake(self.ends[wire.0][1]);
    }

    /// Accepts the next beat of a stream at `edge`.
    pub fn accept(&mut self, wire: Wire, edge: u64) {
        self.beats[wire.0].accepted.push(edge);
        self.wake(self.ends[wire.0][0]);
    }

    fn wake(&mut self, process: usize) {
        if let Some(awake) = self.awake.get_mut(process)
            && !std::mem::replace(awake, true)
        {
            self.woken.push(process);
        }
    }
}

/// A network of processes and streams, timed from reset on.
#[derive(Debug, Default)]
pub struct Timing {
    wires: Wires,
    processes: Vec<Box<dyn Process>>,
    /// Whether delays that occur only once after reset are left out. They do not affect the rate.
    pub steady: bool,
    /// Beats of a stream for which there is room from the start.
    pub room: usize,
}

impl Timing {
    /// A network in which every stage holds the fewest beats that it may come to hold under any stalls.
    pub fn of_least() -> Self {
        let mut timing = Self::default();
        timing.wires.least = true;
        timing
    }

    /// Adds a stream, not connected to any process yet.
    pub fn wire(&mut self) -> Wire {
        let room = || Vec::with_capacity(self.room);
        self.wires.beats.push(Beats { offered: room(), accepted: room() });
        self.wires.ends.push([usize::MAX; 2]);
        Wire(self.wires.beats.len() - 1)
    }

    /// Adds a process that consumes the streams `takes` and produces the streams `gives`.
    pub fn add(&mut self, process: impl Process + 'static, takes: &[Wire], gives: &[Wire]) {
        let own = self.processes.len();
        takes.iter().for_each(|wire| self.wires.ends[wire.0][1] = own);
        gives.iter().for_each(|wire| self.wires.ends[wire.0][0] = own);
        self.processes.push(Box::new(process));
        self.wires.awake.push(false);
        self.wires.wake(own);
    }

    /// Adds a source whose beats are available from the edges `given` on.
    pub fn source(&mut self, given: Vec<u64>, pattern: Pattern) -> Wire {
        let wire = self.wire();
        self.add(Source::new(given, pattern, wire), &[], &[wire]);
        wire
    }

    /// Adds a sink.
    pub fn sink(&mut self, wire: Wire, pattern: Pattern) {
        self.add(Sink::new(pattern, wire), &[wire], &[]);
    }

    /// Computes times until no more can be derived.
    pub fn run(&mut self) {
        while let Some(next) = self.wires.woken.pop() {
            self.wires.awake[next] = false;
            self.processes[next].run(&mut self.wires);
        }
    }

    /// The beats of a stream.
    pub fn beats(&self, wire: Wire) -> &Beats {
        self.wires.beats(wire)
    }

    /// The beats of all streams.
    pub fn wires(&self) -> impl Iterator<Item = &Beats> {
        self.wires.beats.iter()
    }
}

type Add = dyn Fn(&mut Timing, &[Wire]) -> Wire + Send + Sync;

/// The schedule of a stage with one output stream.
#[derive(Clone)]
pub struct Schedule {
    /// Initiation interval: cycles between frames if no other stage is slower.
    pub interval: u64,
    add: Arc<Add>,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule {{ interval: {} }}", self.interval)
    }
}

impl Schedule {
    /// A stage from its interval and a function that adds its processes to a network. The function takes the input streams and
    /// returns the output stream.
    pub fn new(interval: u64, add: impl Fn(&mut Timing, &[Wire]) -> Wire + Send + Sync + 'static) -> Self {
        Self { interval, add: Arc::new(add) }
    }

    /// A stage of one process with one input, `process(input, output)`.
    pub fn of<P: Process + 'static>(
        interval: u64,
        process: impl Fn(Wire, Wire) -> P + Send + Sync + 'static,
    ) -> Self {
        Self::new(interval, move |timing, inputs| {
            let output = timing.wire();
            timing.add(process(inputs[0], output), inputs, &[output]);
            output
        })
    }

    /// Adds the stage to a network with the given input streams, and returns its output stream.
    pub fn add(&self, timing: &mut Timing, inputs: &[Wire]) -> Wire {
        (self.add)(timing, inputs)
    }

    /// This stage followed by `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self::new(self.interval.max(next.interval), move |timing, inputs| {
            let between = self.add(timing, inputs);
            next.add(timing, &[between])
        })
    }

    /// The beats at the input and the output of a stage with one input, with a sink that is always ready. `given` are the edges
    /// from which the input beats are available: whole frames, the first beat at reset.
    pub fn beats(&self, given: &[u64]) -> (Beats, Beats) {
        self.beats_of(&[given])
    }

    /// [`beats`](Self::beats) of a stage with several inputs; the first result is that of the first input.
    pub fn beats_of(&self, given: &[&[u64]]) -> (Beats, Beats) {
        let mut timing = Timing::default();
        let inputs: Vec<Wire> = given.iter().map(|g| timing.source(g.to_vec(), Pattern::always())).collect();
        let output = self.add(&mut timing, &inputs);
        timing.sink(output, Pattern::always());
        timing.run();
        (timing.beats(inputs[0]).clone(), timing.beats(output).clone())
    }

    /// A matrix unit.
    pub fn matrix(unit: Matrix) -> Self {
        Self::new(unit.interval(), move |timing, inputs| {
            let output = timing.wire();
            let run = Pipeline::new(unit, inputs[0], output);
            let run = if timing.steady { run } else { run.from_reset() };
            timing.add(run, inputs, &[output]);
            output
        })
    }

    /// A sum over `passes` frames of `beats` beats each; the sum is offered during the last of them.
    pub fn frame_sum(beats: u64, passes: u32) -> Self {
        Self::of(beats * u64::from(passes), move |input, output| {
            Sum::new(beats, [passes].into(), input, output)
        })
    }

    /// A stream register, for frames of `beats` beats.
    pub fn register(beats: u64) -> Self {
        Self::of(beats, Register::new)
    }

    /// A join: each output beat consumes one beat of every input; `beats` per frame.
    pub fn join(beats: u64) -> Self {
        Self::new(beats, |timing, inputs| {
            let output = timing.wire();
            timing.add(Join::new(inputs.to_vec(), output), inputs, &[output]);
            output
        })
    }

    /// A round-robin merge: `counts` beats of each input in turn; `beats` per frame.
    pub fn in_turn(beats: u64, counts: Vec<usize>) -> Self {
        Self::new(beats, move |timing, inputs| {
            let output = timing.wire();
            let turns = inputs.iter().copied().zip(counts.iter().copied()).collect();
            timing.add(RoundRobin::new(turns, output), inputs, &[output]);
            output
        })
    }

    /// A FIFO of `depth` beats, for frames of `beats` beats.
    pub fn fifo(beats: u64, depth: u64) -> Self {
        Self::of(beats, move |input, output| Fifo::new(depth, input, output))
    }

    /// A width converter that joins `ratio` input beats into one; a frame has `beats` input beats.
    pub fn widener(beats: u64, ratio: u64) -> Self {
        Self::of(beats, move |input, output| Widener::new(ratio, input, output))
    }

    /// A width converter that splits each input beat into `ratio` output beats; a frame has `beats` input beats.
    pub fn narrower(beats: u64, ratio: u64) -> Self {
        Self::of(beats * ratio, move |input, output| Narrower::new(ratio, input, output))
    }

    /// A line buffer.
    pub fn line_buffer(buffer: LineBuffer) -> Self {
        let buffer = Arc::new(buffer);
        Self::of(buffer.interval(), move |input, output| Ring::new(Arc::clone(&buffer), input, output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(folds: u64, steps: u64, latency: u64, sampled: Option<u64>) -> Schedule {
        Schedule::matrix(Matrix { folds, steps, latency, sampled, ..Matrix::default() })
    }

    #[test]
    fn a_matrix_unit_takes_its_input_once_and_its_time_for_every_fold() {
        let unit = matrix(3, 2, 3, None);
        assert_eq!(unit.interval, 6);
        // Frame 0 at full rate, frame 1 waiting from the start.
        let (taken, given) = unit.beats(&[0, 0, 0, 0]);
        assert_eq!(taken.accepted, [0, 1, 6, 7]);
        assert_eq!(given.offered, [4, 6, 8, 10, 12, 14]);
    }

    #[test]
    fn a_sampled_frame_waits_for_its_weights() {
        let unit = matrix(3, 2, 3, Some(10));
        assert_eq!(unit.interval, 10);
        assert_eq!(unit.beats(&[0, 0, 0, 0]).0.accepted, [10, 11, 20, 21]);
    }

    #[test]
    fn a_frame_is_given_again_and_summed() {
        let replay = Schedule::of(6, |input, output| Replay::new(2, [3].into(), input, output));
        let (taken, given) = replay.beats(&[0, 5]);
        assert_eq!((&taken.accepted[..], &given.offered[..]), (&[0, 5][..], &[2, 7, 8, 9, 10, 11][..]));
        let sum = Schedule::frame_sum(2, 3);
        assert_eq!(sum.beats(&given.offered).1.offered, [12, 13]);
    }

    #[test]
    fn converters_in_a_row_compose() {
        let both = Schedule::widener(6, 3).then(Schedule::narrower(2, 2));
        let (taken, given) = both.beats(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(taken.accepted, [0, 1, 2, 3, 4, 5]);
        assert_eq!(given.offered, [4, 5, 7, 8]);
        assert_eq!(both.interval, 6);
    }

    /// A slow sink: a pipeline stands still once its register is full, and what is behind it in the pipeline keeps its distance.
    #[test]
    fn a_pipeline_stands_still_as_a_whole() {
        let slow = Schedule::matrix(Matrix { folds: 4, ..Matrix::default() });
        let all = matrix(1, 1, 3, None).then(slow);
        let (taken, _) = all.beats(&[0; 7]);
        // One is in work behind it, two are in the register, two in the pipeline; then one leaves every four cycles.
        assert_eq!(taken.accepted, [0, 1, 2, 3, 4, 8, 12]);
    }

    /// The same with a registered stall: the pipeline stalls one edge earlier, with a gap in front of the register.
    #[test]
    fn a_registered_stall_does_not_wait_for_a_result() {
        let slow = Schedule::matrix(Matrix { folds: 4, ..Matrix::default() });
        let full = Matrix { latency: 3, stalls: Stalls::Full, ..Matrix::default() };
        let all = Schedule::matrix(full).then(slow);
        let (taken, _) = all.beats(&[0, 1, 2, 3, 9, 9, 9]);
        // The register is full from edge 5 to 7 and from 9 to 11. At edge 9 the stages before it are empty.
        assert_eq!(taken.accepted, [0, 1, 2, 3, 12, 13, 14]);
    }

    /// A sink that takes some beats and no more.
    #[derive(Debug)]
    struct Stops {
        input: Wire,
        left: usize,
        taken: usize,
    }

    impl Process for Stops {
        fn run(&mut self, wires: &mut Wires) {
            while self.left > 0
                && let Some(offered) = wires.offered(self.input, self.taken)
            {
                wires.accept(self.input, offered);
                self.taken += 1;
                self.left -= 1;
            }
        }
    }

    /// Beats that a stage accepts if `left` beats leave it and no more.
    fn held(stage: &Schedule, given: &[u64], left: usize, least: bool) -> usize {
        let mut timing = if least { Timing::of_least() } else { Timing::default() };
        let input = timing.source(given.to_vec(), Pattern::always());
        let output = stage.add(&mut timing, &[input]);
        timing.add(Stops { input: output, left, taken: 0 }, &[output], &[]);
        timing.run();
        timing.beats(input).accepted.len()
    }

    /// The fewest beats that a stage holds are those that it holds for some gaps between its beats, and it never holds fewer.
    #[test]
    fn the_fewest_beats_are_the_fewest_for_all_gaps() {
        let mut units = Vec::new();
        for (folds, steps, latency) in [(1, 1, 2), (1, 1, 9), (3, 1, 2), (3, 2, 7), (1, 3, 5), (4, 1, 12)] {
            for stalls in [Stalls::Blocked, Stalls::Full] {
                let unit = Matrix { folds, steps, latency, stalls, ..Matrix::default() };
                units.push((Schedule::matrix(unit), (folds * steps) as usize));
            }
        }
        units.push((Schedule::frame_sum(1, 1), 1));
        units.push((Schedule::frame_sum(3, 1), 1));
        for (unit, work) in units {
            for left in 0..3 * work {
                let fewest = held(&unit, &[0; 60], left, true);
                let gaps = (0..400_u64).map(|k| {
                    let mut at = 0;
                    let beat = |i: u64| {
                        // Gaps of 0 to 31 cycles by a multiplicative hash, from none at all to all of 31.
                        at += ((i * 2_654_435_761 + k * 40_503) >> 7) % 32 * (k % 8) / 7;
                        if k == 1 { i * 100 } else { at }
                    };
                    held(&unit, &(0..60).map(beat).collect::<Vec<_>>(), left, false)
                });
                assert_eq!(gaps.min(), Some(fewest), "{unit:?}, {left} beats left");
            }
        }
    }
}
