//! The Verilog of blocks and of a tiny network, of a size that a person can review. `INSTA_UPDATE=always` rewrites it.

use std::sync::Arc;

use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding};
use stoxnor::emit;
use stoxnor::emit::Request;
use stoxnor::emit::bench::random_frames;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::unit::folding::Folding;
use stoxnor_hdl::block::{
    Cells, LEVELS, Lane, PopcountCuts, ProcessingElement, RoundingLane, Summand, ThresholdSearch, fifo,
    frame_sum, lfsr, narrower, ram, replay, rom, running_parity, stream_register, threshold_count, widener,
};
use stoxnor_hdl::{Module, check::check, verilog};
use stoxnor_testbenches::conformance::{Sampled, random_dense, random_sampled};

fn golden(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "../golden", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn blocks() {
    let pe = |lane, input, weights, bits, accumulates| {
        let cuts = PopcountCuts::default();
        ProcessingElement {
            lane,
            simd: 6,
            input,
            weights,
            bits,
            accumulates,
            present: None,
            starts: false,
            cuts,
        }
        .build()
    };
    let blocks: Vec<Arc<Module>> = vec![
        stream_register(8, 0),
        stream_register(8, 2),
        fifo(4, 8, 0),
        widener(3, 4, 0),
        narrower(3, 4, 1),
        Lane::Xnor.popcount(6, 3),
        Lane::MaskedXnor.popcount(6, 2),
        Lane::Xnor.popcount_in_stages(19, 5, 2),
        Lane::Parity.popcount(6, 3),
        Lane::Parity.popcount_in_stages(19, 5, LEVELS),
        Cells::Ccu2c.popcount(Lane::MaskedXnor, 10, 4, LEVELS),
        Cells::Xilinx7.popcount(Lane::MaskedXnor, 10, 4, LEVELS),
        running_parity(11),
        pe(Lane::Xnor, &[1], &[1], 5, true),
        pe(Lane::Xnor, &[1], &[1], 3, false),
        pe(Lane::MaskedXnor, &[1, -2], &[1], 5, true),
        pe(Lane::And, &[1, 2], &[1, 2, -4], 9, true),
        ProcessingElement {
            lane: Lane::MaskedXnor,
            simd: 6,
            input: &[2],
            weights: &[1],
            bits: 6,
            accumulates: true,
            present: Some(3),
            starts: false,
            cuts: PopcountCuts::default(),
        }
        .build(),
        ProcessingElement {
            lane: Lane::MaskedXnor,
            simd: 9,
            input: &[1, -2],
            weights: &[1],
            bits: 6,
            accumulates: true,
            present: None,
            starts: true,
            cuts: PopcountCuts { counts: true, levels: LEVELS, cells: Cells::Portable },
        }
        .build(),
        threshold_count(3, 5, false, false),
        threshold_count(3, 5, true, true),
        rom(16, 12),
        rom(64, 64),
        ram(8, 6),
        lfsr(7, true),
        lfsr(70, false),
        RoundingLane::Binary.build(3, 2),
        RoundingLane::Ternary.build(3, 1),
        RoundingLane::Ternary.build(3, 2),
        replay(4, 8, 5),
        frame_sum(3, 2, Summand::Signed(4), 7, 0),
        threshold_count(3, 5, true, false),
        ThresholdSearch { levels: 2, bits: 5, rows: 3, falling: false, steps: 1, registered: false }.build(),
        ThresholdSearch { levels: 4, bits: 6, rows: 8, falling: true, steps: 4, registered: false }.build(),
    ];
    for block in blocks {
        assert!(check(&block).is_empty());
        golden(&block.name, &verilog::print(&block, &[]));
    }
}

/// 12-4-2: a layer with thresholds, folded both ways, a FIFO, and a layer whose dot products leave as they are.
#[test]
fn a_tiny_network() {
    let network = random_dense(3, &[12, 4, 2]);
    let folds = [Folding::new(2, 3), Folding::new(1, 2)];
    let hardware = lower(&network, &folds);
    let wanted = [
        "rtl/conformance_l1_dense.v",
        "rtl/conformance_l2_dense.v",
        "rtl/conformance_top.v",
        "rtl/conformance_l1_dense_weights.mem",
        "tb/conformance_top_tb.v",
        "README.md",
    ];
    emitted("tiny", &network, &hardware, &wanted);
}

/// 6-4-2 of stochastic ternary weights, two members: a layer whose row groups take the same words again, and one of a single group.
#[test]
fn a_tiny_ensemble() {
    let rounding = Rounding { law: Law::Ternary, bits: 1, share: 2, seed: 1 };
    let realisations = vec![Some(Realisation::Fly)];
    let sampled = Sampled { rounding, realisations, members: 2, own_thresholds: false };
    let network = random_sampled(3, &[6, 4, 2], &sampled);
    let folds = [Folding::new(1, 3), Folding::new(2, 2)];
    let hardware = lower(&network, &folds);
    let wanted = [
        "rtl/conformance_l1_dense.v",
        "rtl/conformance_l2_dense.v",
        "rtl/conformance_top.v",
        "rtl/conformance_l1_dense_starts.mem",
        "rtl/conformance_l1_dense_weights.mem",
    ];
    emitted("ensemble", &network, &hardware, &wanted);
}

fn emitted(prefix: &str, network: &Network, hardware: &Hardware, wanted: &[&str]) {
    let version = env!("CARGO_PKG_VERSION");
    let files = emit::files(network, hardware, &Request::new(&random_frames(network, 2, &[])));
    for path in wanted {
        let name = path.trim_start_matches("rtl/").trim_start_matches("tb/").replace('.', "_");
        let name = name.replace("conformance_l", "l");
        golden(
            &format!("{prefix}_{name}"),
            &files[*path].replace(&format!("stoxnor {version}"), "stoxnor VERSION"),
        );
    }
}
