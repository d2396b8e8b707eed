//! Blocks are proved with yosys and z3, from the text that is shipped.

use rayon::prelude::*;
use stoxnor::arith::window::Window;
use stoxnor_hdl::Bits;
use stoxnor_hdl::block::{Cells, LEVELS, Lane, Padding, RoundingLane, ThresholdSearch};
use stoxnor_testbenches::formal::{Proof, Verdict, proofs, replay, window};
use stoxnor_testbenches::runs;

fn all() -> Vec<Proof> {
    let small = Window { before: [1, 0], after: [0, 1], ..Window::plain([2, 2], [2, 2]) };
    let strided = Window { stride: [2, 1], before: [1, 0], after: [0, 1], ..Window::plain([3, 2], [2, 2]) };
    // What takes z3 most of a minute.
    let windows = || {
        vec![
            window::of_window(Window::plain([3, 3], [2, 2]), false, None, 0),
            window::of_window(Window::plain([3, 3], [2, 2]), true, None, 2),
            window::of_window(strided, false, Some(Padding::Word(Bits::new(2, 2))), 0),
            window::of_window(strided, true, Some(Padding::Flag), 0),
        ]
    };
    let mut all = vec![
        proofs::of_stream_register(2, 0),
        proofs::of_stream_register(1, 2),
        proofs::of_running_stream_register(2, 1),
        proofs::of_fifo(1, 2, 0),
        proofs::of_fifo(2, 1, 2),
        proofs::of_fifo(3, 2, 0),
        proofs::of_fifo(4, 1, 0),
        proofs::of_widener(2, 2, 1),
        proofs::of_widener(3, 1, 0),
        proofs::of_narrower(2, 2, 1),
        proofs::of_narrower(3, 1, 0),
        proofs::of_fork(2, 2, 0),
        proofs::of_fork(3, 1, 1),
        proofs::of_join(&[2, 3], 0),
        proofs::of_join(&[1, 2, 3], 2),
        proofs::of_turns(&[1, 1], 2, 0, 1),
        proofs::of_turns(&[2, 1, 3], 1, 2, 2),
        replay::of_replay(1, 2, 1),
        replay::of_replay(3, 1, 1),
        replay::of_replay(1, 2, 3),
        replay::of_replay(2, 1, 3),
        replay::of_replay(3, 1, 4),
        window::of_window(strided, true, Some(Padding::Mask), 1),
        window::of_window(small, true, Some(Padding::Flag), 1),
        proofs::of_rounding(RoundingLane::Binary, 1, 1),
        proofs::of_rounding(RoundingLane::Binary, 3, 2),
        proofs::of_rounding(RoundingLane::Binary, 2, 4),
        proofs::of_rounding(RoundingLane::Ternary, 2, 1),
        proofs::of_rounding(RoundingLane::Ternary, 3, 2),
        proofs::of_rounding(RoundingLane::Ternary, 2, 4),
        proofs::of_lfsr(1, false),
        proofs::of_lfsr(7, true),
        proofs::of_lfsr(60, false),
        proofs::of_lfsr(61, true),
        proofs::of_lfsr(130, false),
        proofs::of_popcount(Lane::Xnor, Cells::Portable, 1, 1),
        proofs::of_popcount(Lane::Xnor, Cells::Portable, 3, 2),
        proofs::of_popcount(Lane::Xnor, Cells::Portable, 7, 3),
        proofs::of_popcount(Lane::MaskedXnor, Cells::Portable, 8, 4),
        proofs::of_popcount(Lane::And, Cells::Portable, 13, 4),
        proofs::of_popcount(Lane::Xnor, Cells::Portable, 16, 3),
        proofs::of_popcount(Lane::Xnor, Cells::Portable, 16, 5),
        proofs::of_popcount(Lane::And, Cells::Portable, 20, 5),
        proofs::of_popcount(Lane::One, Cells::Portable, 9, 4),
        proofs::of_popcount(Lane::Parity, Cells::Portable, 4, 3),
        proofs::of_popcount(Lane::Parity, Cells::Portable, 15, 4),
        proofs::of_popcount(Lane::Parity, Cells::Portable, 16, 3),
        proofs::of_popcount_in_stages(Lane::Xnor, Cells::Portable, (9, LEVELS), 4),
        proofs::of_popcount_in_stages(Lane::MaskedXnor, Cells::Portable, (11, LEVELS), 3),
        proofs::of_popcount_in_stages(Lane::Xnor, Cells::Portable, (9, 2), 4),
        proofs::of_popcount(Lane::Xor, Cells::Ccu2c, 2, 2),
        proofs::of_popcount(Lane::Xor, Cells::Ccu2c, 7, 3),
        proofs::of_popcount(Lane::Xor, Cells::Ccu2c, 16, 5),
        proofs::of_popcount(Lane::Xnor, Cells::Ccu2c, 10, 4),
        proofs::of_popcount(Lane::And, Cells::Ccu2c, 14, 3),
        proofs::of_popcount(Lane::One, Cells::Ccu2c, 9, 4),
        proofs::of_popcount(Lane::MaskedXnor, Cells::Ccu2c, 10, 4),
        proofs::of_popcount_in_stages(Lane::Xor, Cells::Ccu2c, (9, LEVELS), 4),
        proofs::of_products(Lane::MaskedXnor, Cells::Ccu2c, 5, &[1, 2, -4], 8),
        proofs::of_products(Lane::Xor, Cells::Ccu2c, 6, &[1, 2, 4], 7),
        proofs::of_next_sum(Cells::Ccu2c, 11, 7, true, true),
        proofs::of_next_sum(Cells::Ccu2c, 8, 8, false, false),
        proofs::of_popcount_in_stages(Lane::MaskedXnor, Cells::Ccu2c, (9, LEVELS), 3),
        // Three stages. More bits keep z3 for minutes.
        proofs::of_popcount_in_stages(Lane::One, Cells::Ccu2c, (16, LEVELS), 1),
        proofs::of_popcount(Lane::Xor, Cells::Xilinx7, 2, 2),
        proofs::of_popcount(Lane::Xnor, Cells::Xilinx7, 5, 3),
        proofs::of_popcount(Lane::Xor, Cells::Xilinx7, 8, 4),
        proofs::of_popcount(Lane::And, Cells::Xilinx7, 14, 3),
        proofs::of_popcount(Lane::One, Cells::Xilinx7, 13, 4),
        proofs::of_popcount(Lane::MaskedXnor, Cells::Xilinx7, 7, 3),
        proofs::of_popcount(Lane::MaskedXnor, Cells::Xilinx7, 12, 2),
        proofs::of_popcount(Lane::Xor, Cells::Xilinx7, 16, 5),
        proofs::of_popcount_in_stages(Lane::Xor, Cells::Xilinx7, (9, LEVELS), 4),
        proofs::of_popcount_in_stages(Lane::MaskedXnor, Cells::Xilinx7, (10, LEVELS), 3),
        proofs::of_products(Lane::MaskedXnor, Cells::Xilinx7, 5, &[1, 2, -4], 8),
        proofs::of_products(Lane::Xor, Cells::Xilinx7, 4, &[1, 2, 4], 6),
        proofs::of_products(Lane::Xor, Cells::Xilinx7, 7, &[1, -2], 6),
        proofs::of_next_sum(Cells::Xilinx7, 11, 7, true, true),
        proofs::of_next_sum(Cells::Xilinx7, 8, 8, false, false),
        search(3, 1, 1, false),
    ];
    all.extend(runs(vec![], windows()));
    all
}

/// A search of `levels` steps, `steps` of them in a stage, among the thresholds of some rows: fewer than there is room for, some equal,
/// one that every sum reaches, and with several rows every second one decreasing.
fn search(levels: u32, steps: u32, rows: u32, registered: bool) -> Proof {
    let most = (1 << levels) - 1;
    let row = |r: u64| {
        let of = |t: u64| (t * 31 / most + r * 3 * t % 4).min(31);
        let mut list: Vec<u64> = (0..most - r.min(2)).map(of).collect();
        list.sort_unstable();
        (list, r % 2 == 1)
    };
    let search = ThresholdSearch { levels, bits: 6, rows, falling: rows > 1, steps, registered };
    proofs::of_search(search, &(0..rows.into()).map(row).collect::<Vec<_>>())
}

#[test]
fn blocks_are_proved() {
    let failed: Vec<String> = all()
        .par_iter()
        .filter_map(|proof| {
            let (verdict, took) = proof.prove().unwrap_or_else(|e| panic!("{e}"));
            eprintln!("{}: {}, {verdict:?}, {:.1} s", proof.what, proof.method, took.as_secs_f64());
            (verdict != Verdict::Proved).then(|| format!("{}: {verdict:?}", proof.what))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A fault in a block: what it is, what it changes in the text, and in how many cycles a run shows it.
struct Fault {
    proof: Proof,
    what: &'static str,
    from: &'static str,
    to: &'static str,
}

fn fault(proof: Proof, what: &'static str, from: &'static str, to: &'static str) -> Fault {
    Fault { proof, what, from, to }
}

fn faults() -> Vec<Fault> {
    let window = || window::of_window(Window::plain([3, 3], [2, 2]), false, None, 0);
    let padded = || {
        let around = Window { before: [1, 0], after: [0, 1], ..Window::plain([2, 2], [2, 2]) };
        window::of_window(around, true, Some(Padding::Flag), 1)
    };
    let mut all = vec![
        fault(
            proofs::of_stream_register(2, 0),
            "last is lost in the second entry",
            "last_q <= spare_valid_q ? spare_last_q : s_last",
            "last_q <= s_last",
        ),
        fault(
            proofs::of_running_stream_register(2, 0),
            "the pipeline runs on while a beat is kept",
            "run_q <= ~spare_valid_d",
            "run_q <= ~spare_valid_d | valid_q",
        ),
        fault(
            proofs::of_stream_register(2, 0),
            "accepts a third beat",
            "s_ready = ~spare_valid_q",
            "s_ready = free | ~spare_valid_q",
        ),
        fault(proofs::of_fifo(3, 2, 0), "counts to one less", "write_at_q == 2'd1", "write_at_q == 2'd0"),
        fault(proofs::of_fifo(3, 2, 0), "full one entry late", "count_q == 2'd2", "count_q == 2'd3"),
        fault(proofs::of_fifo(3, 2, 0), "full one entry early", "count_q == 2'd2", "count_q == 2'd1"),
        fault(proofs::of_fifo(2, 1, 2), "last is lost", "control_q[0]", "1'b0"),
        fault(proofs::of_widener(3, 1, 0), "a word of one part less", "part_q == 2'd1", "part_q == 2'd0"),
        fault(
            proofs::of_widener(3, 1, 0),
            "the first part above",
            "{s_data, word_q[2:1]}",
            "{word_q[1:0], s_data}",
        ),
        fault(
            proofs::of_widener(3, 1, 0),
            "last is lost",
            "last_q <= s_last",
            "last_q <= s_last & ~part_end_q",
        ),
        fault(proofs::of_narrower(3, 1, 0), "last on every part", "last_q & part_end_q", "last_q"),
        fault(proofs::of_narrower(3, 1, 0), "a beat of one part more", "part_q == 2'd1", "part_q == 2'd2"),
        fault(
            proofs::of_fork(2, 2, 0),
            "one stream gets a beat twice",
            "has_1_q <= waits & served_1",
            "has_1_q <= 1'b0",
        ),
        fault(
            proofs::of_fork(2, 2, 0),
            "one stream waits for the other",
            "m1_valid = s_valid & ~has_1_q",
            "m1_valid = s_valid & ~has_1_q & m0_ready",
        ),
        fault(
            proofs::of_join(&[2, 3], 0),
            "takes a beat alone",
            "s0_ready = all_ready",
            "s0_ready = m_ready & s0_valid",
        ),
        fault(
            proofs::of_turns(&[2, 1, 3], 1, 2, 2),
            "a turn of one beat more",
            "place_q < 3'd2",
            "place_q < 3'd3",
        ),
        fault(
            proofs::of_turns(&[2, 1, 3], 1, 2, 2),
            "last of the last stream alone",
            "turn_2 & s2_last & ended_0_q & ended_1_q",
            "turn_2",
        ),
        fault(replay::of_replay(3, 1, 4), "the other half", "? 3'd3 : 3'd0", "? 3'd0 : 3'd3"),
        fault(replay::of_replay(3, 1, 4), "one pass less", "further_q == 2'd1", "further_q == 2'd2"),
        fault(
            replay::of_replay(2, 1, 3),
            "the third frame has the second one's passes",
            "(frame_end & begun_2_q) ? further_third_q",
            "(frame_end & begun_2_q) ? further_second_q",
        ),
        fault(
            replay::of_replay(3, 1, 4),
            "a place is free a pass early",
            "read_last = read & last_pass_q",
            "read_last = read & first_pass_q",
        ),
        fault(
            replay::of_replay(3, 1, 4),
            "last is lost",
            "last_words[read_at_q]",
            "last_words[read_at_q] & ~position_end_q",
        ),
        fault(window(), "a place too many", "room_q <= 7'd6", "room_q <= 7'd7"),
        fault(window(), "a place too few", "room_q <= 7'd6", "room_q <= 7'd5"),
        fault(window(), "reads a word before it comes", "ahead_q >= 7'd64", "ahead_q >= 7'd63"),
        fault(window(), "last is lost", "last_q <= frame_end_q", "last_q <= 1'b0"),
        fault(padded(), "padding one column late", "2'd1 < x_1", "2'd2 < x_1"),
        fault(
            proofs::of_rounding(RoundingLane::Binary, 3, 2),
            "u <= P",
            "~u_0 & code[2:0]",
            "~u_0 | code[2:0]",
        ),
        fault(
            proofs::of_rounding(RoundingLane::Ternary, 3, 2),
            "the carry is lost",
            "code[8:6] ^ carry_1",
            "code[8:6]",
        ),
        fault(proofs::of_lfsr(7, true), "a stall moves it", "if (enable) begin", "if (1'b1) begin"),
        fault(proofs::of_lfsr(7, true), "another tap", "base[62:56]", "base[61:55]"),
        fault(
            proofs::of_lfsr(7, true),
            "what was noted is not what comes again",
            "kept_q <= base",
            "kept_q <= state_q",
        ),
        fault(
            proofs::of_popcount(Lane::Xnor, Cells::Portable, 7, 3),
            "a lane is counted twice",
            "hits[6]",
            "hits[5]",
        ),
        fault(
            proofs::of_popcount(Lane::Xnor, Cells::Portable, 7, 3),
            "a carry is lost",
            "{1'b0, count_l1_0}",
            "{2'b0, count_l1_0[0]}",
        ),
        fault(
            proofs::of_popcount(Lane::Xor, Cells::Xilinx7, 8, 4),
            "a lane is counted twice",
            ".I2(a[5])",
            ".I2(a[4])",
        ),
        fault(
            proofs::of_popcount(Lane::Xor, Cells::Xilinx7, 8, 4),
            "a carry is lost where the sum before is 1",
            "64'h966969966ff60660",
            "64'h9669699606600660",
        ),
        fault(
            proofs::of_popcount(Lane::Xor, Cells::Xilinx7, 8, 4),
            "a bit is in the wrong column",
            "{carry_6_CO1, carry_6_O1,",
            "{carry_6_O1, carry_6_CO1,",
        ),
        fault(search(3, 1, 1, false), "a threshold is not reached by its sum", "sum_1_q >=", "sum_1_q >"),
    ];
    let slow = || {
        vec![
            fault(
                window(),
                "a row down at the wrong column",
                "y_position_q ? 3'd1 : 3'd5",
                "y_position_q ? 3'd1 : 3'd4",
            ),
            fault(window(), "frees a step early", "read ? freed_q", "read ? freed_d"),
        ]
    };
    all.extend(runs(vec![], slow()));
    all
}

/// Cycles of the runs that faults are looked for in.
const RUN: u32 = 14;

#[test]
fn planted_faults_are_refuted() {
    let missed: Vec<String> = faults()
        .par_iter()
        .filter_map(|fault| {
            let changed = std::sync::atomic::AtomicBool::new(false);
            let change = |_: &str, text: String| {
                let new = text.replace(fault.from, fault.to);
                changed.fetch_or(new != text, std::sync::atomic::Ordering::Relaxed);
                new
            };
            // A run that shows it, and where none is that short the induction that does not go through.
            let (mut verdict, mut took) = fault.proof.breaks(&change, RUN).unwrap_or_else(|e| panic!("{e}"));
            if verdict == Verdict::Proved {
                (verdict, took) = fault.proof.prove_changed(&change).unwrap_or_else(|e| panic!("{e}"));
            }
            let row =
                format!("{} | {} | {verdict:?} | {:.1} s", fault.proof.what, fault.what, took.as_secs_f64());
            eprintln!("{row}");
            let planted = changed.into_inner();
            (!planted || verdict == Verdict::Proved).then(|| format!("{row}, planted: {planted}"))
        })
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
