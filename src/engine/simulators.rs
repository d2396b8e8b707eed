//! The engines that count cycles: the rtl engine and the external simulators, with the same stimulus.

use indicatif::ProgressBar;
use stoxnor_hdl::Bits;
use stoxnor_sim::icarus::Icarus;
use stoxnor_sim::verilator::Verilator;
use stoxnor_sim::{Simulator, Stimulus, ToolError, Trace, simulate};

use crate::diagnostic::{Diagnostic, Diagnostics, OUTPUT_UNWRITABLE, Result, TOOL_FAILED, TOOL_MISSING};
use crate::engine::results::{Boundary, Conditions, Results};
use crate::frame::element::Element;
use crate::lower;
use crate::lower::Hardware;
use crate::network::Network;

/// Cycle limit of a stalled run, as a multiple of the cycles of an unstalled one, and an extra margin. Stall patterns let beats
/// pass 13/32 of the time on each side.
const PATIENCE: u64 = 12;
const MARGIN: u64 = 20_000;
/// Number of cycles from which it pays to compile Verilator's C++ with optimisation.
const LONG_RUN: u64 = 1_000_000;

/// Divides frames into beats of `lanes` elements, with element 0 in the least significant bits.
pub fn frames_to_beats(frames: &[impl AsRef<[i32]>], lanes: usize, element: Element) -> Vec<Vec<Bits>> {
    let bits = element.bits();
    let beat = |elements: &[i32]| {
        let mut beat = Bits::zero(lanes as u32 * bits);
        for (i, value) in elements.iter().enumerate() {
            beat.insert(i as u32 * bits, bits, element.encode(*value));
        }
        beat
    };
    frames.iter().map(|frame| frame.as_ref().chunks(lanes).map(beat).collect()).collect()
}

/// The beats of input `index` in frames of all inputs.
pub fn entry_beats(
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    index: usize,
) -> Vec<Vec<Bits>> {
    let own: Vec<&[i32]> = frames.iter().map(|frame| network.entry_of(frame, index)).collect();
    frames_to_beats(&own, hardware.input_lanes(index), network.entries[index].port.element)
}

/// The number of cycles after which a run counts as deadlocked. `members` are the numbers of members of the frames.
pub fn cycle_limit(hardware: &Hardware, members: &[u32], stalled: bool) -> u64 {
    let max = members.iter().copied().max().unwrap_or(1);
    // Beats that no output depends on may come after the last output.
    let beats = hardware.plan.first_frame(max);
    let first = beats.iter().filter_map(|beats| beats.accepted.last()).copied().max().unwrap_or(0);
    let unstalled = first + members.iter().map(|m| hardware.interval(*m)).sum::<u64>();
    unstalled * if stalled { PATIENCE } else { 2 } + MARGIN
}

/// The stimulus of a simulation.
pub fn stimulus(
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    conditions: &Conditions,
) -> Stimulus {
    let members = conditions.members(network, frames.len());
    let passes = |b: &lower::Boundary| members.iter().map(|m| b.passes(*m)).sum::<usize>();
    let user = hardware.design.inputs[0].user;
    Stimulus {
        frames: (0..network.entries.len()).map(|k| entry_beats(network, hardware, frames, k)).collect(),
        users: members.iter().filter(|_| user > 0).map(|m| Bits::new(user, (*m).into())).collect(),
        stall: conditions.stall,
        tap_beats: hardware.boundaries.iter().map(|b| b.beats() * passes(b)).collect(),
        limit: cycle_limit(hardware, &members, conditions.stall.is_some()),
        ..Stimulus::default()
    }
}

/// A simulation of frames.
pub struct Simulation<'a> {
    /// The network.
    pub network: &'a Network,
    /// The network's hardware.
    pub hardware: &'a Hardware,
    /// Frames of input integers.
    pub frames: &'a [Vec<i32>],
    /// Stalls and members.
    pub conditions: &'a Conditions,
    /// Progress bar that counts frames.
    pub progress: &'a ProgressBar,
}

impl Simulation<'_> {
    /// Runs the rtl engine.
    pub fn rtl(&self) -> Result<Results> {
        let design = &self.hardware.design;
        let mut simulator = Simulator::new(&design.top);
        let port = |name: &str| simulator.port(name).expect("every top has an output");
        let (last, valid, ready) = (port("m_last"), port("m_valid"), port("m_ready"));
        let count = |_: u64, s: &Simulator| {
            if s.bit(valid) && s.bit(ready) && s.bit(last) {
                self.progress.inc(1);
            }
        };
        let outcome = simulate(design, &mut simulator, &self.stimulus(), count);
        self.finished("rtl", INSTALL_VERILATOR, outcome.map_err(ToolError::Stuck))
    }

    /// Runs the emitted Verilog in Verilator.
    pub fn verilator(&self) -> Result<Results> {
        let stimulus = self.stimulus();
        let optimise = stimulus.limit > LONG_RUN;
        let outcome = Verilator { optimise, ..verilator() }
            .build(&self.hardware.design, stimulus.capacity())
            .and_then(|mut v| v.simulate(&stimulus));
        self.progress.inc(self.frames.len() as u64);
        self.finished("verilator", INSTALL_VERILATOR, outcome)
    }

    /// Runs the emitted Verilog in Icarus Verilog.
    pub fn icarus(&self) -> Result<Results> {
        let outcome = Icarus::default().simulate(&self.hardware.design, &self.stimulus());
        self.progress.inc(self.frames.len() as u64);
        self.finished("icarus", INSTALL_ICARUS, outcome)
    }

    fn stimulus(&self) -> Stimulus {
        stimulus(self.network, self.hardware, self.frames, self.conditions)
    }

    /// The results of a finished or deadlocked simulation.
    fn finished(
        &self,
        engine: &str,
        install: &str,
        outcome: std::result::Result<Trace, ToolError>,
    ) -> Result<Results> {
        let trace = match outcome {
            Ok(trace) => trace,
            Err(ToolError::Stuck(stuck)) => stuck.trace,
            Err(error) => return Err(diagnostic(engine, install, &error)),
        };
        let members = self.conditions.members(self.network, self.frames.len());
        Ok(results(self.hardware, &members, &trace))
    }
}

const INSTALL_VERILATOR: &str = "install Verilator and a C++ compiler (Debian: apt-get install verilator g++ make), name one in \
    STOXNOR_VERILATOR, or leave verilator out of --engines";
const INSTALL_ICARUS: &str =
    "install Icarus Verilog (Debian: apt-get install iverilog), or leave icarus out of --engines";

/// Verilator: the program that `STOXNOR_VERILATOR` names, else the one on the path.
pub fn verilator() -> Verilator {
    std::env::var_os("STOXNOR_VERILATOR").map_or_else(Verilator::default, |program| Verilator {
        program: program.into(),
        ..Verilator::default()
    })
}

/// The recorded taps as numbers. A beat whose `last` is wrong counts as missing, as do all beats after it. Beats after the last
/// frame are kept, whatever their `last`.
fn results(hardware: &Hardware, members: &[u32], trace: &Trace) -> Results {
    hardware
        .boundaries
        .iter()
        .zip(&trace.taps)
        .map(|(boundary, beats)| {
            let bits = boundary.element.bits();
            let decode = |data: &Bits| -> Vec<i32> {
                let lanes = 0..boundary.lanes as u32;
                lanes.map(|lane| boundary.element.decode(data.extract(lane * bits, bits))).collect()
            };
            let per_frame = boundary.elements / boundary.lanes;
            let all: usize = members.iter().map(|m| boundary.passes(*m) * per_frame).sum();
            let framed = |i: usize, last: bool| i >= all || last == (i + 1).is_multiple_of(per_frame);
            let framed = beats.iter().enumerate().take_while(|(i, b)| framed(*i, b.last));
            Boundary {
                values: framed.flat_map(|(_, b)| decode(&b.data)).collect(),
                cycles: Some(beats.iter().map(|b| b.cycle).collect()),
            }
        })
        .collect()
}

/// The diagnostic for a failure of a tool.
fn diagnostic(engine: &str, install: &str, error: &ToolError) -> Diagnostics {
    let (code, help) = match error {
        ToolError::Missing { .. } => (&TOOL_MISSING, install),
        ToolError::Failed { .. } => {
            (&TOOL_FAILED, "the directory is kept: run the command in it again to see all of its output")
        }
        _ => (
            &OUTPUT_UNWRITABLE,
            "the simulators work in the system's temporary directory; TMPDIR names another",
        ),
    };
    Diagnostic::new(code, error.to_string()).at(format!("engine {engine}")).help(help).into()
}
