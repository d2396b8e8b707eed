//! What goes into a simulation and what comes out of it, the same for all simulators.

use std::fmt;
use std::sync::Arc;

use stoxnor_hdl::{Bits, Module};

/// Name and widths of a stream of the top module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamShape {
    /// Its signals are `<name>_data`, `_valid`, `_ready`, `_last` and, where there are user bits, `_user`.
    pub name: String,
    /// Bits of data.
    pub width: u32,
    /// User bits.
    pub user: u32,
}

/// Name of an output stream of the top: `m`, and where there are more `m1`, `m2` and on.
pub fn exit_name(index: usize) -> String {
    if index == 0 { "m".to_owned() } else { format!("m{index}") }
}

/// A module to simulate: it takes the stream `s` and gives the stream `m`, or several ([`exit_name`]).
#[derive(Debug, Clone)]
pub struct Design {
    /// The module.
    pub top: Arc<Module>,
    /// Its input stream, named `s`.
    pub input: StreamShape,
    /// The streams to watch, named nets or ports of the top.
    pub taps: Vec<StreamShape>,
    /// For each output stream, the tap that is on its way.
    pub exits: Vec<usize>,
}

/// A reset in the middle of a run. After it the source starts over with the first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// The first cycle with reset high.
    pub at: u64,
    /// For how many cycles.
    pub cycles: u64,
}

/// Cycles that a run goes on after its last wanted beat: a beat too many shows in them.
pub const DRAIN: u64 = 64;

/// What a simulation is given.
#[derive(Debug, Clone, Default)]
pub struct Stimulus {
    /// The beats of each frame.
    pub frames: Vec<Vec<Bits>>,
    /// The user bits of each frame, where the input stream has some.
    pub users: Vec<Bits>,
    /// Seed of the stall patterns of source and sink; without it neither stalls.
    pub stall: Option<u64>,
    /// The sink is not ready before this cycle.
    pub hold: u64,
    /// A reset in the middle.
    pub reset: Option<Reset>,
    /// The run ends [`DRAIN`] cycles after so many beats (since the reset, if there is one) were accepted at each tap.
    pub tap_beats: Vec<usize>,
    /// The run fails where it has not ended before this cycle.
    pub limit: u64,
}

impl Stimulus {
    /// All beats as one word each: data in the low bits, then `last`, then the user bits.
    pub(crate) fn words(&self, input: &StreamShape) -> Vec<Bits> {
        let mut words = Vec::new();
        for (index, frame) in self.frames.iter().enumerate() {
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

/// A beat as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// At which cycle.
    pub cycle: u64,
    /// Its data.
    pub data: Bits,
    /// Whether it was the last of its frame.
    pub last: bool,
    /// Its user bits; 0 where there are none.
    pub user: u64,
}

/// What a simulation gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// For each tap, the accepted beats in order.
    pub taps: Vec<Vec<Beat>>,
    /// Cycles that were simulated.
    pub cycles: u64,
}

/// A run that reached its limit before all output beats had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// What had come until then.
    pub trace: Trace,
    /// The last tap that did not show all its beats, how many were wanted, and how many came.
    pub missing: (String, usize, usize),
}

impl Stuck {
    /// A run that gave too little, with the beats that came at each tap; nothing where it gave everything.
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
