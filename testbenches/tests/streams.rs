//! Whole networks under a reset in the middle of a frame, and against a sink that stands still.

use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding};
use stoxnor::engine::Conditions;
use stoxnor::engine::stimulus;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::unit::folding::Folding;
use stoxnor_sim::icarus::Icarus;
use stoxnor_sim::{Beat, Reset, Simulator, Stimulus, Trace, simulate};
use stoxnor_testbenches::conformance::{Sampled, random_dense, random_frames, random_sampled};

/// A network of fixed weights, one that is sampled on the fly, and one that is sampled into memories.
fn networks() -> Vec<(Network, Hardware)> {
    let sizes = [24, 12, 8, 4];
    let sampled = |first, second| {
        let rounding = Rounding { law: Law::Ternary, bits: 2, share: 4, seed: 1 };
        let realisations = vec![first, Some(second)];
        random_sampled(6, &sizes, &Sampled { rounding, realisations, members: 3, own_thresholds: false })
    };
    let networks = [
        random_dense(6, &sizes),
        sampled(None, Realisation::Fly),
        sampled(Some(Realisation::Sampled), Realisation::Sampled),
    ];
    let folds = [Folding::new(4, 8), Folding::new(2, 4), Folding::new(1, 2)];
    let lowered = |network: Network| {
        let hardware = lower(&network, &folds);
        (network, hardware)
    };
    networks.into_iter().map(lowered).collect()
}

/// Members that change from frame to frame, where there are some.
fn conditions(network: &Network) -> Conditions {
    let members = if network.ensemble.is_some() { vec![2, 3, 1] } else { vec![] };
    Conditions { stall: None, members }
}

fn rtl(hardware: &Hardware, stimulus: &Stimulus) -> Trace {
    simulate(&hardware.design, &mut Simulator::new(&hardware.design.top), stimulus, |_, _| {}).expect("ends")
}

#[test]
fn after_a_reset_in_the_middle_of_a_frame_everything_is_as_if_new() {
    for (network, hardware) in networks() {
        resets(&network, &hardware);
    }
}

fn resets(network: &Network, hardware: &Hardware) {
    let frames = random_frames(2, network, 3);
    let clean = stimulus(network, hardware, &frames, &conditions(network));
    let fresh = rtl(hardware, &clean);
    let mut verilated = stoxnor::engine::verilator().build(&hardware.design, 100).expect("Verilator builds");
    // Every cycle of the first frames is the middle of some layer's frame.
    for at in [1, 2, 5, 11, 20, 31, 37, 44, 58, 63] {
        let reset = Reset { at, cycles: 1 + at % 3 };
        let since = reset.at + reset.cycles;
        let stimulus = Stimulus { reset: Some(reset), ..clean.clone() };
        let trace = rtl(hardware, &stimulus);
        for (tap, fresh) in trace.taps.iter().zip(&fresh.taps) {
            let after: Vec<Beat> = tap
                .iter()
                .filter(|b| b.cycle >= since)
                .map(|b| Beat { cycle: b.cycle - since, ..b.clone() })
                .collect();
            assert_eq!(&after, fresh, "reset at {at}");
        }
        assert_eq!(verilated.simulate(&stimulus).expect("Verilator runs"), trace, "reset at {at}: Verilator");
        assert_eq!(
            Icarus::default().simulate(&hardware.design, &stimulus).expect("Icarus runs"),
            trace,
            "reset at {at}: Icarus"
        );
    }
}

#[test]
fn a_sink_that_stands_still_loses_nothing() {
    for (network, hardware) in networks() {
        held(&network, &hardware);
    }
}

fn held(network: &Network, hardware: &Hardware) {
    let frames = random_frames(2, network, 12);
    let clean = stimulus(network, hardware, &frames, &conditions(network));
    let values = |trace: &Trace| -> Vec<Vec<(stoxnor_hdl::Bits, bool)>> {
        trace.taps.iter().map(|t| t.iter().map(|b| (b.data.clone(), b.last)).collect()).collect()
    };
    let free = values(&rtl(hardware, &clean));
    let beats = clean.capacity();
    let mut verilated =
        stoxnor::engine::verilator().build(&hardware.design, beats).expect("Verilator builds");
    for hold in [1, 7, 50, 300, 5000] {
        for stall in [None, Some(hold)] {
            let stimulus = Stimulus { hold, stall, limit: 60_000, ..clean.clone() };
            let trace = rtl(hardware, &stimulus);
            assert_eq!(values(&trace), free, "held for {hold} cycles, stall {stall:?}");
            assert_eq!(
                verilated.simulate(&stimulus).expect("Verilator runs"),
                trace,
                "held for {hold}: Verilator"
            );
        }
    }
}
