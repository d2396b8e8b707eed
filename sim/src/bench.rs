//! Sources, sinks and taps around the rtl engine.

use stoxnor_hdl::Bits;

use crate::engine::{Simulator, Slot};
use crate::stall::{SINK, SOURCE, Stall};
use crate::stimulus::{Beat, DRAIN, Design, Stimulus, StreamShape, Stuck, Trace};

struct Tap {
    data: Slot,
    valid: Slot,
    ready: Slot,
    last: Slot,
    user: Option<Slot>,
}

impl Tap {
    fn new(simulator: &Simulator, shape: &StreamShape) -> Self {
        let slot = |part: &str| {
            let name = format!("{}_{part}", shape.name);
            simulator
                .port(&name)
                .or_else(|| simulator.named(&name))
                .unwrap_or_else(|| panic!("the top has no {name}"))
        };
        Self {
            data: slot("data"),
            valid: slot("valid"),
            ready: slot("ready"),
            last: slot("last"),
            user: (shape.user > 0).then(|| slot("user")),
        }
    }
}

/// Runs the rtl engine. `each_cycle` sees the settled simulator of every cycle from 0 on, just before its edge.
///
/// # Errors
/// Where the output beats have not come within [`Stimulus::limit`] cycles.
pub fn simulate(
    design: &Design,
    simulator: &mut Simulator,
    stimulus: &Stimulus,
    mut each_cycle: impl FnMut(u64, &Simulator),
) -> Result<Trace, Stuck> {
    let input = Tap::new(simulator, &design.input);
    let sink = simulator.port("m_ready").expect("the top has an output stream m");
    let taps: Vec<Tap> = design.taps.iter().map(|t| Tap::new(simulator, t)).collect();
    let words: Vec<(Bits, bool, Bits)> =
        stimulus.words(&design.input).iter().map(|w| split(w, &design.input)).collect();
    let mut stalls = stimulus.stall.map(|seed| (Stall::new(seed, SOURCE), Stall::new(seed, SINK)));
    let mut trace = Trace { taps: vec![Vec::new(); taps.len()], cycles: 0 };

    simulator.set_bit(input.valid, false);
    simulator.set_bit(sink, false);
    for _ in 0..2 {
        simulator.settle();
        simulator.edge(true);
    }
    let (mut next, mut holding, mut output_beats) = (0, false, 0);
    let mut end = None;
    for cycle in 0..stimulus.limit {
        let (source_stalls, sink_stalls) =
            stalls.as_mut().map_or((false, false), |(a, b)| (a.next() == Some(true), b.next() == Some(true)));
        let reset = stimulus.reset.is_some_and(|r| (r.at..r.at + r.cycles).contains(&cycle));
        if reset {
            (next, holding, output_beats) = (0, false, 0);
        }
        let valid = !reset && next < words.len() && (holding || !source_stalls);
        simulator.set_bit(input.valid, valid);
        if valid && !holding {
            let (data, last, user) = &words[next];
            simulator.set(input.data, data);
            simulator.set_bit(input.last, *last);
            input.user.iter().for_each(|slot| simulator.set(*slot, user));
        }
        simulator.set_bit(sink, !reset && !sink_stalls && cycle >= stimulus.hold);
        simulator.settle();
        each_cycle(cycle, simulator);
        if !reset {
            for (tap, beats) in taps.iter().zip(&mut trace.taps) {
                if simulator.bit(tap.valid) && simulator.bit(tap.ready) {
                    beats.push(Beat {
                        cycle,
                        data: simulator.get(tap.data),
                        last: simulator.bit(tap.last),
                        user: tap.user.map_or(0, |u| simulator.words(u)[0]),
                    });
                }
            }
            holding = valid && !simulator.bit(input.ready);
            next += usize::from(valid && !holding);
            let accepted = taps.last().is_some_and(|t| simulator.bit(t.valid) && simulator.bit(t.ready));
            output_beats += usize::from(accepted);
            if accepted && output_beats == stimulus.output_beats {
                end = Some(cycle + DRAIN + stimulus.late);
            }
        }
        simulator.edge(reset);
        trace.cycles = cycle + 1;
        if end == Some(cycle) {
            break;
        }
    }
    if end.is_some() {
        return Ok(trace);
    }
    Err(Stuck { trace, wanted: stimulus.output_beats })
}

fn split(word: &Bits, shape: &StreamShape) -> (Bits, bool, Bits) {
    let data = (0..shape.width).step_by(64).map(|low| word.extract(low, 64.min(shape.width - low)));
    let user = if shape.user > 0 { word.extract(shape.width + 1, shape.user) } else { 0 };
    (Bits::from_words(shape.width, data), word.bit(shape.width), Bits::new(shape.user, user))
}
