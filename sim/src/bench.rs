//! The test bench of the rtl engine: source, sinks and taps.

use stoxnor_hdl::Bits;

use crate::engine::{Simulator, Slot};
use crate::stall::{Stall, sink, source};
use crate::stimulus::{Beat, DRAIN, Design, Stimulus, StreamShape, Stuck, Trace, exit_name};

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

/// A source of beats.
struct Source {
    port: Tap,
    /// Data, `last` and user bits of every beat.
    words: Vec<(Bits, bool, Bits)>,
    /// The next beat.
    next: usize,
    /// Whether it is offered already.
    holding: bool,
}

impl Source {
    fn new(simulator: &Simulator, index: usize, shape: &StreamShape, stimulus: &Stimulus) -> Self {
        let words = stimulus.words(index, shape).iter().map(|w| split(w, shape)).collect();
        Self { port: Tap::new(simulator, shape), words, next: 0, holding: false }
    }

    /// Offers the next beat, unless the source stalls and offers none yet. Tells whether one is offered.
    fn offer(&self, simulator: &mut Simulator, stands: bool) -> bool {
        let valid = self.next < self.words.len() && (self.holding || !stands);
        simulator.set_bit(self.port.valid, valid);
        if valid && !self.holding {
            let (data, last, user) = &self.words[self.next];
            simulator.set(self.port.data, data);
            simulator.set_bit(self.port.last, *last);
            self.port.user.iter().for_each(|slot| simulator.set(*slot, user));
        }
        valid
    }
}

/// Runs the rtl engine. `each_cycle` is called with the settled simulator in every cycle from 0 on, just before its edge.
///
/// # Errors
/// If not all beats were accepted within [`Stimulus::limit`] cycles.
pub fn simulate(
    design: &Design,
    simulator: &mut Simulator,
    stimulus: &Stimulus,
    mut each_cycle: impl FnMut(u64, &Simulator),
) -> Result<Trace, Stuck> {
    let mut sources: Vec<Source> =
        design.inputs.iter().enumerate().map(|(k, s)| Source::new(simulator, k, s, stimulus)).collect();
    let sinks: Vec<Slot> = (0..design.exits.len())
        .map(|k| format!("{}_ready", exit_name(k)))
        .map(|ready| simulator.port(&ready).unwrap_or_else(|| panic!("the top has no {ready}")))
        .collect();
    let taps: Vec<Tap> = design.taps.iter().map(|t| Tap::new(simulator, t)).collect();
    let ports = (0..sources.len()).map(source).chain((0..sinks.len()).map(sink));
    let mut stalls: Vec<Stall> =
        stimulus.stall.iter().flat_map(|seed| ports.clone().map(|port| Stall::new(*seed, port))).collect();
    let mut trace = Trace { taps: vec![Vec::new(); taps.len()], cycles: 0 };

    sources.iter().for_each(|source| simulator.set_bit(source.port.valid, false));
    sinks.iter().for_each(|sink| simulator.set_bit(*sink, false));
    for _ in 0..2 {
        simulator.settle();
        simulator.edge(true);
    }
    let mut beats = vec![0; taps.len()];
    let mut end = None;
    for cycle in 0..stimulus.limit {
        let mut stands: Vec<bool> = stalls.iter_mut().map(|bits| bits.next() == Some(true)).collect();
        stands.resize(sources.len() + sinks.len(), false);
        let reset = stimulus.reset.is_some_and(|r| (r.at..r.at + r.cycles).contains(&cycle));
        if reset {
            sources.iter_mut().for_each(|source| (source.next, source.holding) = (0, false));
            beats.fill(0);
        }
        let offers = sources.iter().zip(&stands);
        let offers: Vec<bool> =
            offers.map(|(source, stands)| source.offer(simulator, reset || *stands)).collect();
        for (sink, stands) in sinks.iter().zip(&stands[sources.len()..]) {
            simulator.set_bit(*sink, !reset && !stands && cycle >= stimulus.hold);
        }
        simulator.settle();
        each_cycle(cycle, simulator);
        if !reset {
            let complete = |beats: &[usize]| beats.iter().zip(&stimulus.tap_beats).all(|(b, w)| b >= w);
            let before = complete(&beats);
            for ((tap, seen), beats) in taps.iter().zip(&mut trace.taps).zip(&mut beats) {
                if simulator.bit(tap.valid) && simulator.bit(tap.ready) {
                    *beats += 1;
                    seen.push(Beat {
                        cycle,
                        data: simulator.get(tap.data),
                        last: simulator.bit(tap.last),
                        user: tap.user.map_or(0, |u| simulator.words(u)[0]),
                    });
                }
            }
            for (source, valid) in sources.iter_mut().zip(offers) {
                source.holding = valid && !simulator.bit(source.port.ready);
                source.next += usize::from(valid && !source.holding);
            }
            if !before && complete(&beats) {
                end = Some(cycle + DRAIN);
            }
        }
        simulator.edge(reset);
        trace.cycles = cycle + 1;
        if end == Some(cycle) {
            break;
        }
    }
    Stuck::of(design, trace, &stimulus.tap_beats, &beats)
}

fn split(word: &Bits, shape: &StreamShape) -> (Bits, bool, Bits) {
    let data = (0..shape.width).step_by(64).map(|low| word.extract(low, 64.min(shape.width - low)));
    let user = if shape.user > 0 { word.extract(shape.width + 1, shape.user) } else { 0 };
    (Bits::from_words(shape.width, data), word.bit(shape.width), Bits::new(shape.user, user))
}
