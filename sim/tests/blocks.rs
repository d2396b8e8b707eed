//! Stream blocks and cells in the rtl engine, in Verilator and in Icarus: the same beats at the same cycles.

use std::sync::Arc;

use crate::common::{pattern, rtl, shape};
use stoxnor_hdl::block::{counter, fifo, narrower, rom_dp16kd, stream_register, widener};
use stoxnor_hdl::{Bits, Builder, Image, Module, Role, Stream};
use stoxnor_sim::icarus::Icarus;
use stoxnor_sim::verilator::Verilator;
use stoxnor_sim::{Beat, Design, Reset, Stimulus};

fn design(top: Arc<Module>, input: u32, output: u32, user: u32) -> Design {
    crate::common::design(top, shape("s", input, user), vec![shape("m", output, user)])
}

fn frames(width: u32, count: u64, beats: u64) -> Vec<Vec<Bits>> {
    (0..count).map(|f| (0..beats).map(|b| pattern(width, f * beats + b)).collect()).collect()
}

fn users(user: u32, count: u64) -> Vec<Bits> {
    if user == 0 { vec![] } else { (0..count).map(|f| Bits::new(user, f % (1 << user))).collect() }
}

/// The bits of all beats of one frame, in order: what no block may change.
fn stream_of(beats: &[Beat]) -> Vec<bool> {
    beats.iter().flat_map(|b| (0..b.data.width()).map(|i| b.data.bit(i))).collect()
}

struct Case {
    name: &'static str,
    top: Arc<Module>,
    input: u32,
    output: u32,
    user: u32,
    beats: u64,
}

fn cases() -> Vec<Case> {
    let case = |name, top, input, output, user, beats| Case { name, top, input, output, user, beats };
    vec![
        case("stream register", stream_register(70, 2), 70, 70, 2, 5),
        case("fifo of 2", fifo(2, 9, 0), 9, 9, 0, 3),
        case("fifo of 5", fifo(5, 66, 3), 66, 66, 3, 4),
        case("widener", widener(3, 5, 1), 5, 15, 1, 6),
        case("wide widener", widener(4, 33, 0), 33, 132, 0, 4),
        case("narrower", narrower(3, 5, 1), 15, 5, 1, 2),
        case("wide narrower", narrower(2, 65, 0), 130, 65, 0, 3),
    ]
}

#[test]
fn blocks_keep_every_bit_in_every_simulator() {
    const FRAMES: u64 = 30;
    for Case { name, top, input, output, user, beats } in cases() {
        let design = design(top, input, output, user);
        let output_beats = (FRAMES * beats * u64::from(input) / u64::from(output)) as usize;
        let frames = frames(input, FRAMES, beats);
        let base = Stimulus {
            frames: vec![frames],
            users: users(user, FRAMES),
            tap_beats: vec![output_beats],
            limit: 20_000,
            ..Stimulus::default()
        };
        let mut verilated =
            Verilator::default().build(&design, (FRAMES * beats) as usize).expect("Verilator builds");
        let sent: Vec<bool> =
            base.frames[0].iter().flatten().flat_map(|b| (0..b.width()).map(|i| b.bit(i))).collect();
        let reset = Some(Reset { at: 41, cycles: 2 });
        for (stall, hold, reset) in
            [(None, 0, None), (Some(1), 0, None), (Some(2), 0, None), (Some(3), 0, reset), (None, 200, reset)]
        {
            let stimulus = Stimulus { stall, hold, reset, ..base.clone() };
            let trace = rtl(&design, &stimulus);
            let since = reset.map_or(0, |r| r.at + r.cycles);
            let beats: Vec<Beat> = trace.taps[0].iter().filter(|b| b.cycle >= since).cloned().collect();
            assert_eq!(stream_of(&beats), sent, "{name}: bits, stall {stall:?}");
            let lasts = beats.iter().filter(|b| b.last).count() as u64;
            assert_eq!(lasts, FRAMES, "{name}: one last a frame");
            let per_frame = output_beats / FRAMES as usize;
            for (i, beat) in beats.iter().enumerate() {
                let frame = i / per_frame;
                assert_eq!(beat.last, (i + 1) % per_frame == 0, "{name}: last of beat {i}");
                assert_eq!(
                    beat.user,
                    base.users.get(frame).map_or(0, |u| u.to_u64().unwrap()),
                    "{name}: user"
                );
            }
            assert_eq!(verilated.simulate(&stimulus).expect("Verilator runs"), trace, "{name}: Verilator");
            assert_eq!(
                Icarus::default().simulate(&design, &stimulus).expect("Icarus runs"),
                trace,
                "{name}: Icarus"
            );
        }
    }
}

/// One cell of every kind, narrow and wide, between a stream's input and its output.
fn all_cells(width: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("cells_{width}"));
    let s = b.stream_input("s", 2 * width, 0);
    let a = b.slice(s.data, 0, width);
    let a = b.named("a", a);
    let c = b.slice(s.data, width, width);
    let c = b.named("c", c);
    let mixed = b.constant(width, 0x5a5a_5a5a & (u64::MAX >> (64 - width.min(64))));
    let equal_parts = b.and(a, c);
    let equal_parts = b.named("equal_parts", equal_parts);
    let select = b.less(a, c);
    let select = b.named("select", select);
    let sum = b.add(a, c);
    let sum = b.named("sum", sum);
    let same = b.or(a, mixed);
    let outputs = [
        b.not(a),
        equal_parts,
        same,
        b.xor(a, c),
        b.xnor(a, c),
        sum,
        b.sub(a, c),
        b.eq(equal_parts, a),
        select,
        b.mux(select, c, a),
        b.slice(sum, width / 3, width / 2),
        b.concat(&[c, a, select]),
        b.zero_extend(a, width + 13),
        b.sign_extend(a, width + 70),
        b.reduce_and(a),
        b.reduce_or(equal_parts),
        b.reduce_xor(a),
        b.popcount(c),
    ];
    let data = b.concat(&outputs);
    let data = b.named("all", data);
    let ready = b.stream_output("m", Stream { data, valid: s.valid, last: s.last, user: None });
    b.output("s_ready", ready, Role::Control);
    // Something clocked, so that the bench finds a clock and a reset.
    let beat = b.register("beat", 1, Some(0));
    let flipped = b.not(beat);
    b.next_if(beat, s.valid, flipped);
    b.output("odd", beat, Role::Control);
    b.finish()
}

/// What the cells compute, bit by bit, from their definitions.
fn expected(width: u32, beat: &Bits) -> Vec<bool> {
    let w = width as usize;
    let bits: Vec<bool> = (0..2 * width).map(|i| beat.bit(i)).collect();
    let (a, c) = bits.split_at(w);
    let zip = |f: fn(bool, bool) -> bool| -> Vec<bool> { a.iter().zip(c).map(|(x, y)| f(*x, *y)).collect() };
    let add = |c: &[bool], mut carry: bool| -> Vec<bool> {
        a.iter()
            .zip(c)
            .map(|(&x, &y)| {
                let sum = x ^ y ^ carry;
                carry = x & y | carry & (x ^ y);
                sum
            })
            .collect()
    };
    let mixed: Vec<bool> = (0..w).map(|i| i < 31 && 0x5a5a_5a5au64 >> i & 1 == 1).collect();
    let less = a.iter().rev().lt(c.iter().rev());
    let sum = add(c, false);
    let and = zip(|x, y| x & y);
    let ones = c.iter().filter(|b| **b).count();
    let count_bits = stoxnor_hdl::bits_for(width.into());
    let mut out = Vec::new();
    out.extend(a.iter().map(|x| !x));
    out.extend(&and);
    out.extend(a.iter().zip(&mixed).map(|(x, y)| x | y));
    out.extend(zip(|x, y| x ^ y));
    out.extend(zip(|x, y| x == y));
    out.extend(&sum);
    out.extend(add(&c.iter().map(|y| !y).collect::<Vec<_>>(), true));
    out.push(and == a);
    out.push(less);
    out.extend(if less { c } else { a });
    out.extend(&sum[w / 3..w / 3 + w / 2]);
    out.extend(c.iter().chain(a));
    out.push(less);
    out.extend(a.iter().copied().chain([false; 13]));
    out.extend(a.iter().copied().chain([a[w - 1]; 70]));
    out.push(a.iter().all(|x| *x));
    out.push(and.iter().any(|x| *x));
    out.push(a.iter().filter(|x| **x).count() % 2 == 1);
    out.extend((0..count_bits).map(|i| ones >> i & 1 == 1));
    out
}

#[test]
fn cells_compute_what_they_say_in_every_simulator() {
    for width in [3, 31, 32, 33, 63, 64, 65, 128, 200] {
        let top = all_cells(width);
        let output = top.width(top.net("all").expect("named"));
        let design = design(top, 2 * width, output, 0);
        let mut beats: Vec<Bits> = (0..40).map(|n| pattern(2 * width, n)).collect();
        let ones = Bits::from_words(2 * width, [u64::MAX; 8]);
        beats.extend([Bits::zero(2 * width), ones]);
        let frames = vec![beats];
        let stimulus = Stimulus {
            tap_beats: vec![frames[0].len()],
            frames: vec![frames],
            limit: 100,
            ..Stimulus::default()
        };
        let trace = rtl(&design, &stimulus);
        for (beat, sent) in trace.taps[0].iter().zip(&stimulus.frames[0][0]) {
            assert_eq!(stream_of(std::slice::from_ref(beat)), expected(width, sent), "width {width}, {sent}");
        }
        let mut verilated =
            Verilator::default().build(&design, stimulus.tap_beats[0]).expect("Verilator builds");
        assert_eq!(verilated.simulate(&stimulus).expect("Verilator runs"), trace, "width {width}: Verilator");
        assert_eq!(
            Icarus::default().simulate(&design, &stimulus).expect("Icarus runs"),
            trace,
            "width {width}: Icarus"
        );
    }
}

/// A stream of bits beside the words of a ROM in block RAMs of ECP5, one after another. Nothing if the ROM does not belong there.
fn beside_words(image: &Arc<Image>) -> Option<Arc<Module>> {
    let memory = rom_dp16kd(image)?;
    let mut b = Builder::new("beside_words");
    let s = b.stream_input("s", 1, 0);
    let m_ready = b.input("m_ready", 1, Role::Control);
    let take = b.and(s.valid, m_ready);
    let take = b.named("take", take);
    let (address, _) = counter(&mut b, "address", image.words.len() as u64, take).expect("several words");
    let rom = b.instance("u_rom", &memory);
    b.connect(rom, "address", address);
    b.connect(rom, "enable", m_ready);
    let word = b.out(rom, "data");
    let Stream { mut data, mut valid, mut last, .. } = s;
    for stage in 0..2 {
        data = b.registered(&format!("data_{stage}"), None, m_ready, data);
        valid = b.registered(&format!("valid_{stage}"), Some(0), m_ready, valid);
        last = b.registered(&format!("last_{stage}"), None, m_ready, last);
    }
    let data = b.concat(&[data, word]);
    b.output("s_ready", m_ready, Role::Control);
    b.stream_output_forward("m", Stream { data, valid, last, user: None });
    Some(b.finish())
}

#[test]
fn block_rams_of_ecp5_hold_their_words_in_every_simulator() {
    // One and two ports in use, ports in part, words of 9 bits and fewer, the ends of every shape, and several banks.
    for (width, depth) in [
        (70, 64),
        (37, 512),
        (19, 1000),
        (10, 2048),
        (5, 4096),
        (3, 8000),
        (2, 16_384),
        (33, 2304),
        (3, 17_000),
        (1, 33_000),
    ] {
        let words: Vec<Bits> = (0..depth).map(|at| pattern(width, at)).collect();
        let image = Arc::new(Image { file: "words.mem".to_owned(), words: words.clone() });
        let design = design(beside_words(&image).expect("a block RAM"), 1, 1 + width, 0);
        let beats = depth as usize;
        let stimulus = Stimulus {
            frames: vec![vec![vec![Bits::zero(1); beats]]],
            tap_beats: vec![beats],
            limit: 40_000,
            stall: (depth < 5000).then_some(3),
            ..Stimulus::default()
        };
        let trace = rtl(&design, &stimulus);
        let is_word =
            |(beat, word): (&Beat, &Bits)| (0..width).all(|bit| beat.data.bit(1 + bit) == word.bit(bit));
        assert!(trace.taps[0].iter().zip(&words).all(is_word), "{width} x {depth}");
        let mut verilated = Verilator::default().build(&design, beats).expect("Verilator builds");
        assert!(
            verilated.simulate(&stimulus).expect("Verilator runs") == trace,
            "{width} x {depth}: Verilator"
        );
        let icarus = Icarus::default().simulate(&design, &stimulus).expect("Icarus runs");
        assert!(icarus == trace, "{width} x {depth}: Icarus");
    }
}

#[test]
fn shallow_and_deep_memories_are_left_to_synthesis() {
    for (width, depth) in [(512, 63), (63, 64), (1, 511), (1, 65_537)] {
        let words = (0..depth).map(|at| pattern(width, at)).collect();
        let image = Arc::new(Image { file: "words.mem".to_owned(), words });
        assert!(rom_dp16kd(&image).is_none(), "{width} x {depth}");
    }
}
