//! The input (stimulus) and the output (trace) of a simulation, common to all simulators.

use std::fmt;
use std::sync::Arc;

use stoxnor_hdl::{Bits, Module};

/// Name and widths of a stream of the top module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamShape {
    /// Name of the stream. Its signals are `<name>_data`, `_valid`, `_ready`, `_last` and, if it has user bits, `_user`.
    pub name: String,
    /// Bits of data.
    pub width: u32,
    /// User bits.
    pub user: u32,
}

/// Name of an output stream of the top module: `m`, `m1`, `m2`, ....
pub fn exit_name(index: usize) -> String {
    if index == 0 { "m".to_owned() } else { format!("m{index}") }
}

/// Name of an input stream of the top: `s`, and if there are several `s1`, `s2` and so on.
pub fn entry_name(index: usize) -> String {
    if index == 0 { "s".to_owned() } else { format!("s{index}") }
}

/// A module to simulate. Its input streams are `s`, `s1` and so on ([`entry_name`]), its output streams `m`, `m1` and so on
/// ([`exit_name`]).
#[derive(Debug, Clone)]
pub struct Design {
    /// The module.
    pub top: Arc<Module>,
    /// Its input streams.
    pub inputs: Vec<StreamShape>,
    /// The observed streams: named nets or ports of the top module.
    pub taps: Vec<StreamShape>,
    /// For each output stream, the index of the tap at its source.
    pub exits: Vec<usize>,
}

/// A reset during a run. After it the sources start again with the first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// The first cycle with reset high.
    pub at: u64,
    /// Number of cycles with reset high.
    pub cycles: u64,
}

/// Number of cycles that a run continues after the last expected beat, to detect extra beats.
pub const DRAIN: u64 = 64;

/// The stimulus of a simulation.
#[derive(Debug, Clone, Default)]
pub struct Stimulus {
    /// For each input stream, the beats of each frame.
    pub frames: Vec<Vec<Vec<Bits>>>,
    /// The user bits of each frame, the same on all input streams; empty if they have none.
    pub users: Vec<Bits>,
    /// Seed of the stall patterns of sources and sinks; `None` means no stalls.
    pub stall: Option<u64>,
    /// The sinks are not ready before this cycle.
    pub hold: u64,
    /// A reset during the run.
    pub reset: Option<Reset>,
    /// Number of beats to be accepted at each tap (since the reset, if there is one). The run ends [`DRAIN`] cycles later.
    pub tap_beats: Vec<usize>,
    /// The run fails if it has not ended before this cycle.
    pub limit: u64,
}

impl Stimulus {
    /// The maximum number of beats of an input stream.
    pub fn capacity(&self) -> usize {
        let beats = |frames: &Vec<Vec<Bits>>| frames.iter().map(Vec::len).sum();
        self.frames.iter().map(beats).max().unwrap_or(0)
    }

    /// All beats of input stream `index` as one word each: data in the low bits, then `last`, then user bits.
    pub(crate) fn words(&self, index: usize, input: &StreamShape) -> Vec<Bits> {
        let mut words = Vec::new();
        for (index, frame) in self.frames.get(index).into_iter().flatten().enumerate() {
            for (at, beat) in frame.iter().enumerate() {
                let mut word = Bits::zero(input.width + 1 + input.user);
                let copied = beat.words().iter().copied();
                (0..).step_by(64).zip(copied).for_each(|(low, part)| {
                    word.insert(low, 64.min(input.width - low), part);
                });
                word.set(input.width, at + 1 == frame.len());
                if let Some(user) = self.users.get(index) {
                    word.insert(input.width + 1, input.user, user.to_u64().expect("few user bits"));
                }
                words.push(word);
            }
        }
        words
    }
}

/// An accepted beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The cycle at which it was accepted.
    pub cycle: u64,
    /// Its data.
    pub data: Bits,
    /// Whether it was the last of its frame.
    pub last: bool,
    /// Its user bits; 0 if there are none.
    pub user: u64,
}

/// The result of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// For each tap, the accepted beats in order.
    pub taps: Vec<Vec<Beat>>,
    /// Number of simulated cycles.
    pub cycles: u64,
}

/// A run that reached its limit before all output beats were accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The beats until then.
    pub trace: Trace,
    /// The last tap with missing beats: its name, the expected and the accepted number of beats.
    pub missing: (String, usize, usize),
}

impl Stuck {
    /// The trace, or an error if beats are missing. `found` are the numbers of beats accepted at each tap.
    pub(crate) fn of(
        design: &Design,
        trace: Trace,
        wanted: &[usize],
        found: &[usize],
    ) -> Result<Trace, Self> {
        let short = wanted.iter().zip(found).rposition(|(wanted, found)| found < wanted);
        match short {
            None => Ok(trace),
            Some(tap) => {
                let missing = (design.taps[tap].name.clone(), wanted[tap], found[tap]);
                Err(Self { missing, trace })
            }
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tap, wanted, found) = &self.missing;
        write!(f, "{found} of {wanted} beats of {tap} after {} cycles", self.trace.cycles)
    }
}

impl std::error::Error for Stuck {}
