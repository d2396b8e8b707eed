//! Sliding windows over streams: the input stage of layers with a kernel.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use stoxnor_hdl::Module;
use stoxnor_hdl::block::{LineBuffer, fifo, widener};

use crate::arith::kernel::Sliding;
use crate::frame::element::Element;
use crate::schedule::search::smallest;
use crate::schedule::{Matrix, Pattern, Ring, Schedule, Timing};
use crate::unit::folding::Folding;
use crate::unit::parts::in_a_row;

/// The consumer of a line buffer: the parameters that determine its reading order.
#[derive(Debug, Clone, Copy)]
pub struct WindowConsumer {
    /// PE and SIMD.
    pub fold: Folding,
    /// Channel groups that are processed in parallel.
    pub groups: usize,
    /// Number of times that the consumer uses each operand.
    pub folds: usize,
}

/// The input stage of a layer with a kernel: a line buffer and, if it outputs less than a beat at a time, a widener and a FIFO.
#[derive(Debug)]
pub struct LineBufferStage {
    buffer: LineBuffer,
    /// Line buffer beats that are joined into one.
    joined: u64,
    /// Depth of the FIFO in beats.
    queued: u64,
}

impl LineBufferStage {
    /// The smallest line buffer and FIFO that supply the consumer `behind` at the full rate: its own interval, or that of the
    /// input frames. `None` if the kernel needs no line buffer.
    pub fn new(
        sliding: &Sliding,
        input: Element,
        fed: WindowConsumer,
        behind: Matrix,
        user: u32,
    ) -> Option<Self> {
        if sliding.window.is_pointwise() {
            return None;
        }
        let reading = sliding.reading(fed.fold, fed.groups, fed.folds);
        let buffer = sliding.buffer(input, reading, 2, user);
        let mut front = Self { buffer, joined: reading.joined as u64, queued: reading.queued as u64 };
        front.shrink(Some(behind));
        Some(front)
    }

    /// A line buffer without consumer, with the smallest ring that keeps the full rate.
    pub fn alone(buffer: LineBuffer) -> Self {
        let mut front = Self { buffer, joined: 1, queued: 0 };
        front.shrink(None);
        front
    }

    /// [`schedule`](Self::schedule) of a line buffer without consumer.
    pub fn schedule_alone(self) -> Schedule {
        self.schedule(&nothing())
    }

    /// Sets the smallest ring and then the smallest FIFO that keep the full rate. Results are cached, because a layer's schedule,
    /// hardware and resources are requested separately.
    fn shrink(&mut self, behind: Option<Matrix>) {
        type Found = HashMap<(LineBuffer, u64, u64, Option<Matrix>), [u64; 2]>;
        static FOUND: LazyLock<Mutex<Found>> = LazyLock::new(Mutex::default);
        let key = (self.buffer.clone(), self.joined, self.queued, behind);
        let found = |all: &Found| all.get(&key).copied();
        if let Some([depth, queued]) = FOUND.lock().ok().as_deref().and_then(found) {
            (self.buffer.depth, self.queued) = (depth, queued);
            return;
        }
        self.search(&behind.map_or_else(nothing, Schedule::matrix));
        if let Ok(mut all) = FOUND.lock() {
            all.insert(key, [self.buffer.depth, self.queued]);
        }
    }

    fn search(&mut self, behind: &Schedule) {
        let max_depth = 8 * self.buffer.frame + 8;
        let span = Ring::span(&Arc::new(self.buffer.clone()));
        let ring = smallest(span.max(2), max_depth, |depth| {
            self.buffer.depth = depth;
            self.keeps_rate(behind)
        });
        self.buffer.depth = ring.expect("a ring is large enough");
        if self.queued > 0 {
            let queue = smallest(2, self.queued, |depth| {
                self.queued = depth;
                self.keeps_rate(behind)
            });
            self.queued = queue.expect("it was");
        }
    }

    /// Whether the line buffer keeps the full rate when input frames are always available.
    fn keeps_rate(&self, behind: &Schedule) -> bool {
        let mut timing = Timing::default();
        let given = vec![0; (FRAMES * self.buffer.frame) as usize];
        let input = timing.source(given, Pattern::always());
        let read = Schedule::line_buffer(self.buffer.clone()).add(&mut timing, &[input]);
        let output = self.path(behind).add(&mut timing, &[read]);
        timing.sink(output, Pattern::always());
        timing.run();
        let beats = self.buffer.beats() as usize;
        let goal = behind.interval.max(self.buffer.interval());
        let taken = &timing.beats(read).accepted;
        let ends: Vec<u64> = taken.iter().skip(beats - 1).step_by(beats).copied().collect();
        // The first distance includes filling the ring.
        let done = timing.beats(input).accepted.len() as u64 == FRAMES * self.buffer.frame;
        done && ends.len() as u64 == FRAMES && ends.windows(2).skip(1).all(|w| w[1] - w[0] <= goal)
    }

    /// The schedule after the line buffer: widener, FIFO and consumer.
    fn path(&self, behind: &Schedule) -> Schedule {
        let (beats, mut path) = (self.buffer.beats(), behind.clone());
        if self.queued > 0 {
            path = Schedule::fifo(beats / self.joined, self.queued).then(path);
        }
        if self.joined > 1 {
            path = Schedule::widener(beats, self.joined).then(path);
        }
        path
    }

    /// The line buffer.
    pub fn buffer(&self) -> &LineBuffer {
        &self.buffer
    }

    /// Bits of the memories.
    pub fn bits(&self) -> u64 {
        let ring = self.buffer.depth * u64::from(self.buffer.width) * self.buffer.taps.len() as u64;
        ring + self.queued * self.joined * u64::from(self.buffer.beat_width())
    }

    /// The schedule of this stage followed by `behind`.
    pub fn schedule(&self, behind: &Schedule) -> Schedule {
        Schedule::line_buffer(self.buffer.clone()).then(self.path(behind))
    }

    /// A module called `name` with the line buffer followed by `behind`; `schedule` is that of the whole module.
    pub fn module(
        &self,
        name: &str,
        mut doc: Vec<String>,
        schedule: &Schedule,
        behind: &Arc<Module>,
    ) -> Arc<Module> {
        let buffer = &self.buffer;
        let frame = schedule.beats(&vec![0; buffer.frame as usize]).1.offered;
        let [first, last] = [frame.first(), frame.last()].map(|t| t.copied().unwrap_or(0));
        doc.push(format!(
            "{} beats in, {} beats out, a frame every {} cycles.",
            buffer.frame,
            frame.len(),
            schedule.interval
        ));
        doc.push(format!(
            "Timing: where beats come and go at every edge, the first output beat is offered {first} edges after the first input beat, the last one {last}."
        ));
        let mut parts = vec![("window", buffer.build(&format!("{name}_window")))];
        let Self { joined, queued, .. } = *self;
        if joined > 1 {
            parts.push(("widener", widener(joined as u32, buffer.beat_width(), buffer.user)));
        }
        if queued > 0 {
            parts.push(("fifo", fifo(queued as u32, joined as u32 * buffer.beat_width(), buffer.user)));
        }
        let what = behind.name.strip_prefix(&format!("{name}_")).unwrap_or("behind");
        parts.push((what, Arc::clone(behind)));
        in_a_row(name, &doc, &parts)
    }
}

/// Number of frames per trial: the first fills the ring, the others show the distance.
const FRAMES: u64 = 4;

/// A consumer that accepts every beat at once.
fn nothing() -> Schedule {
    Schedule::new(0, |_, inputs| inputs[0])
}

#[cfg(test)]
mod tests {
    use stoxnor_sim::Simulator;

    use super::*;
    use crate::arith::kernel::Fill;
    use crate::arith::matrix::IntMatrix;
    use crate::arith::product::Product;
    use crate::arith::window::Window;
    use crate::unit::matrix::RowGroups;
    use crate::unit::matrix::Unit;

    /// Cycles between the last output beats of the fourth and the fifth frame, for a source and a sink that never stall; `None`
    /// if a frame does not come out.
    fn interval(module: &Arc<Module>, frame: u64) -> Option<u64> {
        let mut s = Simulator::of_control(module);
        let port = |s: &Simulator, name: &str| s.port(name).expect("a stream");
        let [valid, ready, last] = ["s_valid", "s_ready", "s_last"].map(|n| port(&s, n));
        let [m_valid, m_ready, m_last] = ["m_valid", "m_ready", "m_last"].map(|n| port(&s, n));
        s.settle();
        s.edge(true);
        s.set_bit(valid, true);
        s.set_bit(m_ready, true);
        let (mut beat, mut ends) = (0, Vec::new());
        for cycle in 0..20_000u64 {
            s.set_bit(last, beat + 1 == frame);
            s.settle();
            if s.bit(ready) {
                beat = (beat + 1) % frame;
            }
            if s.bit(m_valid) && s.bit(m_last) {
                ends.push(cycle);
            }
            if let [.., fourth, fifth] = ends[..]
                && ends.len() == 5
            {
                return Some(fifth - fourth);
            }
            s.edge(false);
        }
        None
    }

    /// The ring is the smallest: with one word less, frames take longer, or never come.
    #[test]
    fn a_ring_has_not_a_word_more_than_the_schedule_needs() {
        let around = Window { before: [1, 1], after: [1, 1], ..Window::plain([6, 7], [3, 3]) };
        let strided = Window { stride: [2, 2], ..Window::plain([7, 7], [3, 3]) };
        let dilated = Window { dilation: [2, 1], ..Window::plain([7, 6], [2, 2]) };
        let mut found = Vec::new();
        for window in [Window::plain([6, 7], [3, 3]), around, strided, dilated] {
            for fold in [Folding::new(4, 4), Folding::new(1, 4)] {
                let kernel = Sliding { window, channels: 4, groups: 1, fill: Fill::Value(1) };
                let sign = |r: usize, c: usize| if (r + c).is_multiple_of(2) { 1 } else { -1 };
                let product = Product::new(IntMatrix::from_fn(4, kernel.fan_in(), sign), vec![]);
                let passes = RowGroups { positions: window.positions(), group_rows: 4 };
                let (operand, range) = (Element::Bipolar, product.sum_range(Element::Bipolar, false));
                let unit = Unit { name: "matrix", operand, range, fold, passes, user: 0, masked: false };
                let (timing, matrix) = product.with_unit(unit, |u| (u.timing(), u.build()));
                let fed = WindowConsumer { fold, groups: 1, folds: passes.folds(fold) };
                let behind = Schedule::matrix(timing);
                let mut front = LineBufferStage::new(&kernel, operand, fed, timing, 0).expect("a kernel");
                let goal = behind.interval.max(front.buffer.interval());
                let measure = |front: &LineBufferStage| {
                    interval(&front.module("m", vec![], &behind, &matrix), window.pixels() as u64)
                };
                found.push(front.buffer.depth);
                assert_eq!(measure(&front), Some(goal), "{window:?} {fold:?}");
                front.buffer.depth -= 1;
                assert!(measure(&front).is_none_or(|found| found > goal), "{window:?} {fold:?}");
            }
        }
        // A position a cycle and one in four: two rows and three pixels, unless the next frame's beginning has to wait in it too.
        assert_eq!(found, [26, 17, 17, 17, 26, 17, 25, 14]);
    }
}
