//! Every layer kind inside an ensemble, under a reset in the middle of a frame, and against a sink that stands still.

use std::sync::Arc;

use stoxnor::arith::activation::Activation;
use stoxnor::engine::Conditions;
use stoxnor::engine::stimulus;
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::layer::KINDS;
use stoxnor::layer::threshold::Threshold;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::network::layer::{Layer, Sample};
use stoxnor::unit::folding::Folding;
use stoxnor_sim::{Beat, Reset, Simulator, Stimulus, Trace, simulate};
use stoxnor_testbenches::conformance::{Effort, agree, chain, fed, folds_to, random_frames, single};

/// Members of the ensembles; samples whose members differ have as many.
const MEMBERS: usize = 3;

fn samples() -> impl Iterator<Item = (String, Sample)> {
    KINDS.iter().flat_map(|kind| {
        let samples = (kind.samples)().into_iter().enumerate();
        samples.map(|(index, sample)| (format!("{} sample {index}", kind.name), sample))
    })
}

/// A folding that is neither the smallest nor the largest, where there is one.
fn folded(layer: &dyn Layer) -> Folding {
    let lanes = layer.lanes();
    let middle = |list: &[usize]| list[list.len() / 2];
    Folding::new(middle(&lanes.pe), middle(&lanes.simd))
}

/// Thresholds in front of a layer, other ones for each member.
fn members(port: &Port) -> Threshold {
    let (least, most) = port.element.range();
    let steps = if port.element == Element::Bipolar { 1 } else { (most - least) as usize };
    let channels = port.shape[port.shape.len() - 1];
    let activation = |m: usize| {
        let sorted = |c: usize| {
            let of = |t: usize| ((t * 64 / steps + 7 * m + 3 * c) % 64) as i32 - 32;
            let mut row: Vec<i32> = (0..steps).map(of).collect();
            row.sort_unstable();
            row
        };
        Activation::rising(port.element, least as i32, (0..channels).map(sorted).collect())
    };
    Threshold::new(port.shape.clone(), (0..MEMBERS).map(activation).collect())
}

/// A layer behind one whose members differ passes each frame once for each, whether or not its own do.
#[test]
fn every_kind_works_in_an_ensemble() {
    let few = |(_, (ports, _)): &(String, Sample)| ports.iter().all(|port| port.element.bits() <= 4);
    for (what, (ports, layer)) in samples().filter(few) {
        let network = match &ports[..] {
            [port] => {
                let input = Port { shape: port.shape.clone(), element: Element::Signed(6) };
                chain(input, vec![Arc::new(members(port)), layer])
            }
            _ => fed(&ports, layer, MEMBERS),
        };
        let folds: Vec<Folding> = network.nodes.iter().map(|n| folded(&*n.layer)).collect();
        let hardware = lower(&network, &folds);
        let frames = random_frames(4, &network, 3);
        let first = what.ends_with("sample 0");
        let effort = Effort { rtl: 3, verilator: 0, icarus: if first { 2 } else { 0 } };
        for stall in [None, Some(1)] {
            let conditions = Conditions { stall, members: vec![2, 3, 1] };
            agree(&format!("{what}, {folds:?}"), &network, &hardware, &frames, &conditions, effort);
        }
    }
}

fn rtl(hardware: &Hardware, stimulus: &Stimulus) -> Trace {
    simulate(&hardware.design, &mut Simulator::new(&hardware.design.top), stimulus, |_, _| {}).expect("ends")
}

fn alone() -> impl Iterator<Item = (String, Network, Hardware, Stimulus)> {
    samples().map(|(what, (ports, layer))| {
        let network = single(ports, layer);
        let hardware =
            lower(&network, &folds_to(&network, folded(&*network.nodes[network.nodes.len() - 1].layer)));
        let members = if network.ensemble.is_some() { vec![2, 3, 1] } else { vec![] };
        let frames = random_frames(2, &network, 4);
        let stimulus = stimulus(&network, &hardware, &frames, &Conditions { stall: None, members });
        (what, network, hardware, stimulus)
    })
}

#[test]
fn after_a_reset_in_the_middle_of_a_frame_every_kind_is_as_if_new() {
    for (what, _, hardware, clean) in alone() {
        let fresh = rtl(&hardware, &clean);
        for at in [1, 2, 3, 5, 8, 13, 21, 34] {
            let reset = Reset { at, cycles: 1 + at % 3 };
            let since = reset.at + reset.cycles;
            let trace = rtl(&hardware, &Stimulus { reset: Some(reset), ..clean.clone() });
            for (tap, fresh) in trace.taps.iter().zip(&fresh.taps) {
                let after = tap.iter().filter(|b| b.cycle >= since);
                let after: Vec<Beat> = after.map(|b| Beat { cycle: b.cycle - since, ..b.clone() }).collect();
                assert_eq!(&after, fresh, "{what}: reset at {at}");
            }
        }
    }
}

#[test]
fn a_sink_that_stands_still_loses_nothing_of_any_kind() {
    let values = |trace: &Trace| -> Vec<Vec<(stoxnor_hdl::Bits, bool)>> {
        trace.taps.iter().map(|t| t.iter().map(|b| (b.data.clone(), b.last)).collect()).collect()
    };
    for (what, _, hardware, clean) in alone() {
        let free = values(&rtl(&hardware, &clean));
        for (hold, stall) in [(1, None), (7, Some(7)), (50, None), (300, Some(3))] {
            let stimulus = Stimulus { hold, stall, limit: 60_000, ..clean.clone() };
            assert_eq!(
                values(&rtl(&hardware, &stimulus)),
                free,
                "{what}: held for {hold} cycles, stall {stall:?}"
            );
        }
    }
}
