//! When beats move: maps from the times at which input beats are offered to those at which output beats are.
//!
//! A time is the number of a rising edge. A beat is *offered* from the first edge at which its valid is 1, and *accepted*
//! at the edge at which ready is 1 as well. Maps assume a sink that is always ready; they compose with
//! [`Schedule::then`]. Behind a buffer of a whole frame that is also what happens in a network: a slower stage never makes
//! a faster one before it late, it only lets it wait.

use std::fmt;
use std::sync::Arc;

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

    /// A matrix unit: `steps` steps for each of `folds` groups of rows; the first group's steps each take an input
    /// beat, the rest read them again. A group's output is offered `latency` edges after its last step. Where weights are
    /// `sampled` into a memory, that is the number of edges after a frame's first step (or the reset) at which the next frame's may
    /// be issued.
    pub fn matrix(folds: u64, steps: u64, latency: u64, sampled: Option<u64>) -> Self {
        Self::new((folds * steps).max(sampled.unwrap_or(0)), move |offered| {
            let mut accepted = Vec::with_capacity(offered.len());
            let mut outputs = Vec::new();
            let (mut free, mut full) = (0, sampled.unwrap_or(0));
            for frame in offered.chunks(steps as usize) {
                free = free.max(full);
                for (step, &beat) in frame.iter().enumerate() {
                    free = beat.max(free) + 1;
                    accepted.push(free - 1);
                    if let (0, Some(sampled)) = (step, sampled) {
                        full = free - 1 + sampled;
                    }
                }
                outputs.extend((0..folds).map(|fold| free - 1 + fold * steps + latency));
                free += (folds - 1) * steps;
            }
            Beats { accepted, offered: outputs }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_unit_takes_its_input_once_and_its_time_for_every_fold() {
        let unit = Schedule::matrix(3, 2, 3, None);
        assert_eq!(unit.interval, 6);
        // Frame 0 at full rate, frame 1 waiting from the start.
        let beats = unit.beats(&[0, 0, 0, 0]);
        assert_eq!(beats.accepted, [0, 1, 6, 7]);
        assert_eq!(beats.offered, [4, 6, 8, 10, 12, 14]);
    }

    #[test]
    fn a_sampled_frame_waits_for_its_weights() {
        let unit = Schedule::matrix(3, 2, 3, Some(10));
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
