//! Latency and interval, measured by simulating the control logic.

use indicatif::ProgressBar;
use stoxnor_hdl::Bits;
use stoxnor_sim::{Simulator, Slot, entry_name, exit_name};

use crate::diagnostic::{Diagnostic, Diagnostics, Result, SIMULATION_STUCK};
use crate::lower::Hardware;
use crate::lower::plan::{Part, Stage};

/// Latency and interval of an unstalled run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// Cycles from the first frame's first input beat, of any input, to its last output beat.
    #[serde(rename = "latency_cycles")]
    pub latency: u64,
    /// Cycles between the last output beats of consecutive frames, in steady state.
    #[serde(rename = "interval_cycles")]
    pub interval: u64,
}

impl Figures {
    /// The figures of the schedules, for frames of `members` members.
    pub fn of_schedule(hardware: &Hardware, members: u32) -> Self {
        Self { latency: hardware.latency(members), interval: hardware.interval(members) }
    }
}

/// Maximum number of cycles until a steady state.
const LIMIT: u64 = 400_000_000;
/// Maximum wait for a frame, in latencies.
const PATIENCE: u64 = 4;

/// A simulation of the control logic, after reset, with sinks that are always ready.
struct Control {
    s: Simulator,
    /// Valid, ready and last of each input stream.
    sources: Vec<[Slot; 3]>,
    /// Valid and last of each exit.
    exits: Vec<[Slot; 2]>,
}

impl Control {
    /// The simulation for frames of `members` members.
    fn new(hardware: &Hardware, members: u32) -> Self {
        let mut s = Simulator::of_control(&hardware.design.top);
        let port = |name: &str| s.port(name).expect("every top has its streams");
        let inputs = &hardware.design.inputs;
        let of_input =
            |k: usize| ["valid", "ready", "last"].map(|part| port(&format!("{}_{part}", entry_name(k))));
        let sources = (0..inputs.len()).map(of_input).collect();
        let of_exits = |part: &str| -> Vec<Slot> {
            (0..hardware.design.exits.len()).map(|k| port(&format!("{}_{part}", exit_name(k)))).collect()
        };
        let [valids, readies, lasts] = ["valid", "ready", "last"].map(of_exits);
        let with_user = inputs.iter().enumerate().filter(|(_, input)| input.user > 0);
        let users: Vec<(Slot, u32)> =
            with_user.map(|(k, input)| (port(&format!("{}_user", entry_name(k))), input.user)).collect();
        for _ in 0..2 {
            s.settle();
            s.edge(true);
        }
        for (slot, user) in users {
            s.set(slot, &Bits::new(user, members.into()));
        }
        readies.into_iter().for_each(|ready| s.set_bit(ready, true));
        let exits = valids.into_iter().zip(lasts).map(|(valid, last)| [valid, last]).collect();
        Self { s, sources, exits }
    }
}

/// Measures latency and interval at a constant number of members. The sinks are always ready. A source is always valid, up to as many
/// frames ahead of the outputs as pass within the latency, and two: enough for the full rate, and a part of the network that is joined
/// with no other cannot run away from the slower ones. Only the control logic is simulated, until it reaches a state that it had
/// before. From then on everything repeats, so the measured interval is exact.
///
/// The state after each frame's last output beat is compared with a saved state. The saved state is replaced after 1, 2, 4, ...
/// frames (Brent's cycle detection), so no bound on the number of frames is assumed.
///
/// # Errors
/// If a frame is not output within about four times its latency, or no state repeats within 400 million cycles.
pub fn measure(hardware: &Hardware, members: u32, progress: &ProgressBar) -> Result<Figures> {
    let Control { mut s, sources, exits } = Control::new(hardware, members);
    let beats = hardware.input_beats();
    // Of each source the frames that were sent, and the beats of the current one.
    let mut sent = vec![0u64; beats.len()];
    let mut at = vec![0; beats.len()];
    let ahead = most_inside(hardware, members);
    let mut first = None;
    // Number of frames output by each exit. A frame is done once all exits have output it.
    let mut left = vec![0u64; exits.len()];
    let mut latency = None;
    let mut kept: Option<(Vec<u64>, u64, u64)> = None;
    let (mut frame, mut next_kept, mut last_frame) = (0u64, 1, 0);
    let patience = PATIENCE * hardware.latency(members) + 1000;
    for cycle in 0..LIMIT {
        for ((([valid, _, last], at), beats), sent) in sources.iter().zip(&at).zip(&beats).zip(&sent) {
            s.set_bit(*valid, *sent < frame + ahead);
            s.set_bit(*last, at + 1 == *beats);
        }
        s.settle();
        for ([valid, last], left) in exits.iter().zip(&mut left) {
            *left += u64::from(s.bit(*valid) && s.bit(*last));
        }
        let frame_done = left.iter().all(|left| *left > frame);
        for ((([valid, ready, _], at), beats), sent) in sources.iter().zip(&mut at).zip(&beats).zip(&mut sent)
        {
            if s.bit(*valid) && s.bit(*ready) {
                *at = (*at + 1) % beats;
                *sent += u64::from(*at == 0);
                first.get_or_insert(cycle);
            }
        }
        s.edge(false);
        if !frame_done {
            if cycle - last_frame > patience {
                let message = format!("frame {frame} has not come {patience} cycles after the one before");
                return Err(stuck(message));
            }
            continue;
        }
        last_frame = cycle;
        frame += 1;
        progress.inc(1);
        let latency = *latency.get_or_insert(cycle - first.unwrap_or(0));
        let mut state = s.pacing_state();
        state.extend(&at);
        state.extend(sent.iter().chain(&left).map(|frames| frames.wrapping_sub(frame)));
        if let Some((kept, at_frame, at_cycle)) = &kept
            && *kept == state
        {
            let (cycles, frames) = (cycle - at_cycle, frame - at_frame);
            return Ok(Figures { latency, interval: cycles.div_ceil(frames) });
        }
        if frame == next_kept {
            kept = Some((state, frame, cycle));
            next_kept *= 2;
        }
    }
    Err(stuck(format!("{frame} frames and no steady state after {LIMIT} cycles")))
}

/// A bound of the frames inside the hardware. Sources are held back beyond it, as parts of a network without a common input would
/// run apart forever; where frames wait inside, a source is never the reason.
fn most_inside(hardware: &Hardware, members: u32) -> u64 {
    let plan = &hardware.plan;
    let waiting = |stage: &Stage| match stage.part {
        Part::Fifo(depth) => depth.div_ceil(plan.links[stage.inputs[0]].beats().max(1)),
        // Two frames of a replay or line buffer, and one on its way; of a frame of one beat, two in a stream register.
        _ => 3,
    };
    let own = |stage: &Stage| match &stage.part {
        Part::Layer(_, schedule) => Some(schedule.interval),
        _ => None,
    };
    // Behind a slow stage, frames move as close together as the fastest one takes them.
    let fastest = plan.stages.iter().filter_map(own).min().unwrap_or(1);
    hardware.latency(members) / fastest.max(1) + 2 + plan.stages.iter().map(waiting).sum::<u64>()
}

/// Whether `frames` frames of `members` members are output if the source of the longest frames offers at most one beat every `apart`
/// cycles, and every other source takes equally long for a frame. Only the control logic is simulated.
pub fn passes_slowly(hardware: &Hardware, members: u32, frames: u64, apart: u64) -> bool {
    let Control { mut s, sources, exits } = Control::new(hardware, members);
    let beats = hardware.input_beats();
    let slow = beats.iter().max().copied().unwrap_or(1) * apart;
    let limit = 4 * frames * (slow + hardware.interval(members)) + hardware.latency(members);
    // For each input the beats that were accepted, and the first cycle of the next one.
    let mut sent = vec![[0, 0]; sources.len()];
    let mut left = vec![0; exits.len()];
    for cycle in 0..limit {
        for (([valid, _, last], [sent, next]), beats) in sources.iter().zip(&sent).zip(&beats) {
            s.set_bit(*valid, *sent < frames * beats && cycle >= *next);
            s.set_bit(*last, (sent + 1).is_multiple_of(*beats));
        }
        s.settle();
        for ([valid, last], left) in exits.iter().zip(&mut left) {
            *left += u64::from(s.bit(*valid) && s.bit(*last));
        }
        for (([valid, ready, _], sent), beats) in sources.iter().zip(&mut sent).zip(&beats) {
            if s.bit(*valid) && s.bit(*ready) {
                *sent = [sent[0] + 1, cycle + slow / beats];
            }
        }
        s.edge(false);
        if left.iter().all(|left| *left == frames) {
            return true;
        }
    }
    false
}

fn stuck(message: String) -> Diagnostics {
    Diagnostic::new(&SIMULATION_STUCK, message)
        .at("latency and interval, engine rtl")
        .help("run check with --engines reference,fast to see whether the network's values are right")
        .into()
}
