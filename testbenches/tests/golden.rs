//! The Verilog of blocks and of a tiny network, of a size that a person can review. `INSTA_UPDATE=always` rewrites it.

use std::sync::Arc;

use stoxnor::emit;
use stoxnor::fold::Folding;
use stoxnor::lower::lower;
use stoxnor::testbench::random_frames;
use stoxnor_hdl::block::{
    Lane, ProcessingElement, fifo, narrower, ram, rom, stream_register, threshold_count, widener,
};
use stoxnor_hdl::{Module, check::check, verilog};
use stoxnor_testbenches::conformance::random_dense;

fn golden(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "../golden", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn blocks() {
    let pe = |lane, input, weights, bits, accumulates| {
        ProcessingElement { lane, simd: 6, input, weights, bits, accumulates }.build()
    };
    let blocks: Vec<Arc<Module>> = vec![
        stream_register(8, 0),
        stream_register(8, 2),
        fifo(4, 8, 0),
        widener(3, 4, 0),
        narrower(3, 4, 1),
        Lane::Xnor.popcount(6, 3),
        Lane::MaskedXnor.popcount(6, 2),
        pe(Lane::Xnor, &[1], &[1], 5, true),
        pe(Lane::Xnor, &[1], &[1], 3, false),
        pe(Lane::MaskedXnor, &[1, -2], &[1], 5, true),
        pe(Lane::And, &[1, 2], &[1, 2, -4], 9, true),
        threshold_count(3, 5, false),
        rom(16, 12),
        ram(8, 6),
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
    let folds = [Folding { pe: 2, simd: 3 }, Folding { pe: 1, simd: 2 }];
    let hardware = lower(&network, &folds);
    let version = env!("CARGO_PKG_VERSION");
    for (name, text) in emit::files(&network, &hardware, None, None, &random_frames(&network, 2, &[])) {
        let wanted = [
            "rtl/l1_dense.v",
            "rtl/l2_dense.v",
            "rtl/conformance_top.v",
            "rtl/l1_dense_weights.mem",
            "tb/conformance_top_tb.v",
            "README.md",
        ];
        if wanted.contains(&name.as_str()) {
            let name = name.trim_start_matches("rtl/").trim_start_matches("tb/").replace('.', "_");
            golden(&format!("tiny_{name}"), &text.replace(&format!("stoxnor {version}"), "stoxnor VERSION"));
        }
    }
}
