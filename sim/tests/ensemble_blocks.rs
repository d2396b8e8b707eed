//! Blocks of stochastic layers, ensembles and images against plain models, in the rtl engine, in Verilator and in Icarus.

use std::sync::Arc;

use crate::common::{design, pattern, rtl, shape};
use stoxnor_hdl::block::{
    Border, LineBuffer, Loop, Padding, RoundingLane, Summand, frame_sum, lfsr, lfsr_window, replay,
    replay_user, threshold_count,
};
use stoxnor_hdl::{Bits, Builder, Module, Net, Role, Stream, bits_for};
use stoxnor_sim::icarus::Icarus;
use stoxnor_sim::verilator::Verilator;
use stoxnor_sim::{Beat, Design, Reset, Stimulus, Trace};

/// A beat without its cycle: data, last, user.
type Plain = (Bits, bool, u64);

fn plain(beat: &Beat) -> Plain {
    (beat.data.clone(), beat.last, beat.user)
}

fn consecutive(beats: &[Beat], from: u64) -> bool {
    beats.iter().zip(from..).all(|(b, cycle)| b.cycle == cycle)
}

/// A stream block with taps at both sides, in all simulators, under stalls, a sink that waits and resets: `model` is all that may come
/// out. Returns the trace without any of that.
fn obeys(what: &str, design: &Design, frames: &[Vec<Bits>], users: &[Bits], model: &[Plain]) -> Trace {
    let beats = frames.iter().map(Vec::len).sum();
    let mut verilated = Verilator::default().build(design, beats).expect("Verilator builds");
    let reset = |at, cycles| Some(Reset { at, cycles });
    let mut unhindered = None;
    for (stall, hold, reset) in [
        (None, 0, None),
        (Some(1), 0, None),
        (Some(2), 0, None),
        (Some(3), 0, reset(150, 2)),
        (None, 0, reset(41, 1)),
        (None, 100, reset(104, 3)),
    ] {
        let stimulus = Stimulus {
            frames: vec![frames.to_vec()],
            users: users.to_vec(),
            stall,
            hold,
            reset,
            tap_beats: vec![0, model.len()],
            limit: 20_000,
        };
        let trace = rtl(design, &stimulus);
        let since = reset.map_or(0, |r| r.at + r.cycles);
        let (before, after): (Vec<&Beat>, Vec<&Beat>) = trace.taps[1].iter().partition(|b| b.cycle < since);
        let context = format!("{what}, stall {stall:?}, hold {hold}, reset {reset:?}");
        assert!(before.iter().zip(model).all(|(b, m)| plain(b) == *m), "{context}: before the reset");
        assert!(
            reset.is_none() || (!before.is_empty() || hold > 0) && before.len() < model.len(),
            "{context}"
        );
        for (i, (beat, wanted)) in after.iter().zip(model).enumerate() {
            assert_eq!(plain(beat), *wanted, "{context}: beat {i}");
        }
        assert_eq!(after.len(), model.len(), "{context}: number of beats");
        assert_eq!(verilated.simulate(&stimulus).expect("Verilator runs"), trace, "{context}: Verilator");
        let icarus = Icarus::default().simulate(design, &stimulus).expect("Icarus runs");
        assert_eq!(icarus, trace, "{context}: Icarus");
        unhindered.get_or_insert(trace);
    }
    unhindered.expect("several runs")
}

fn replay_design(beats: u32, width: u32, most: u32) -> Design {
    let input = shape("s", width, replay_user(most));
    design(replay(beats, width, most), input.clone(), vec![input, shape("m", width, 1)])
}

/// Passes of a frame with these user bits.
fn passes(said: u64, most: u32) -> u64 {
    if (1..=most.into()).contains(&said) { said } else { most.into() }
}

/// What a line buffer gives for one frame: its loops run as loops, the outermost first.
fn read_in_loops(buffer: &LineBuffer, frame: &[Bits]) -> Vec<Bits> {
    fn run(levels: &[&Loop], at: (u64, [u64; 2]), each: &mut impl FnMut(u64, [u64; 2])) {
        let Some((level, inner)) = levels.split_last() else { return each(at.0, at.1) };
        for i in 0..level.count {
            let pixels = [0, 1].map(|a| at.1[a] + i * level.pixels[a]);
            run(inner, (at.0 + i * level.words, pixels), each);
        }
    }
    let levels: Vec<&Loop> = buffer.loops().collect();
    let width = buffer.width;
    let mut beats = Vec::new();
    run(&levels, (0, [0, 0]), &mut |words, pixels| {
        let mut bits = Vec::new();
        for tap in &buffer.taps {
            let seen = buffer.border.as_ref().is_none_or(|b| {
                (0..2).all(|a| {
                    let at = pixels[a] + tap.pixels[a];
                    at >= b.before[a] && at < b.before[a] + b.extent[a]
                })
            });
            let skipped =
                buffer.border.as_ref().map_or(0, |b| (b.before[0] * b.extent[1] + b.before[1]) * b.words);
            let word = seen.then(|| &frame[(words + tap.words - skipped) as usize]);
            match buffer.border.as_ref().map(|b| &b.padding) {
                None => bits.extend((0..width).map(|i| word.unwrap().bit(i))),
                Some(Padding::Word(outside)) => {
                    bits.extend((0..width).map(|i| word.unwrap_or(outside).bit(i)))
                }
                Some(Padding::Mask) => {
                    for i in 0..width {
                        bits.extend([word.is_some(), word.is_some_and(|w| !w.bit(i))]);
                    }
                }
                Some(Padding::Flag) => panic!("what is read outside means nothing"),
            }
        }
        let mut beat = Bits::zero(bits.len() as u32);
        bits.iter().enumerate().for_each(|(i, bit)| beat.set(i as u32, *bit));
        beats.push(beat);
    });
    beats
}

#[test]
fn a_line_buffer_reads_in_nested_loops() {
    const FRAMES: u64 = 12;
    let level = |name, count, words, pixels| Loop { name, count, words, pixels };
    let one = vec![Loop::still("tap", 1, 0)];
    let none = Loop::still("x_position", 1, 0);
    let outside = Bits::new(7, 0x55);
    let kernel = |words: u64, wide: u64| {
        vec![
            Loop::still("slice", words, 1),
            level("kernel_x", 3, words, [0, 1]),
            level("kernel_y", 3, wide * words, [1, 0]),
        ]
    };
    let border = |extent, before, words, padding| Some(Border { extent, before, words, padding });
    let buffers = [
        // 3 x 3 taps over 4 x 5 pixels, in the ring that holds no more than they need.
        LineBuffer {
            skip: 0,
            width: 70,
            depth: 13,
            frame: 20,
            inner: kernel(1, 5),
            outer: [level("x_position", 3, 1, [0, 1]), level("y_position", 2, 5, [1, 0])],
            taps: one.clone(),
            border: None,
            user: 2,
        },
        // Two words a pixel, padding of a pixel around, every second position.
        LineBuffer {
            skip: 0,
            width: 7,
            depth: 24,
            frame: 24,
            inner: kernel(2, 4),
            outer: [level("x_position", 2, 4, [0, 2]), level("y_position", 2, 16, [2, 0])],
            taps: one.clone(),
            border: border([3, 4], [1, 1], 2, Padding::Word(outside)),
            user: 0,
        },
        // The three taps of a row side by side, masked.
        LineBuffer {
            skip: 0,
            width: 2,
            depth: 16,
            frame: 12,
            inner: vec![level("kernel_y", 3, 4, [1, 0])],
            outer: [level("x_position", 4, 1, [0, 1]), level("y_position", 3, 4, [1, 0])],
            taps: (0..3).map(|x| level("tap", 1, x, [0, x])).collect(),
            border: border([3, 4], [1, 1], 1, Padding::Mask),
            user: 1,
        },
        // Every pixel of 3 x 2 four times.
        LineBuffer {
            skip: 0,
            width: 5,
            depth: 3,
            frame: 6,
            inner: vec![Loop::still("across", 2, 0), Loop::still("x", 2, 1), Loop::still("down", 2, 0)],
            outer: [none, Loop::still("y_position", 3, 2)],
            taps: one.clone(),
            border: None,
            user: 0,
        },
        // Columns of 4 x 3 before rows.
        LineBuffer {
            skip: 0,
            width: 9,
            depth: 24,
            frame: 12,
            inner: vec![Loop::still("row", 4, 3), Loop::still("column", 3, 1)],
            outer: [none, Loop::still("y_position", 1, 12)],
            taps: one,
            border: None,
            user: 3,
        },
    ];
    for (index, buffer) in buffers.into_iter().enumerate() {
        let (width, user, words) = (buffer.width, buffer.user, buffer.frame);
        let frames: Vec<Vec<Bits>> =
            (0..FRAMES).map(|f| (0..words).map(|b| pattern(width, f * words + b)).collect()).collect();
        let said = |f: u64| if user == 0 { 0 } else { (f * 5 + 1) % (1 << user) };
        let users: Vec<Bits> = (0..FRAMES).filter(|_| user > 0).map(|f| Bits::new(user, said(f))).collect();
        let model: Vec<Plain> = (0..FRAMES)
            .flat_map(|f| {
                let beats = read_in_loops(&buffer, &frames[f as usize]);
                let count = beats.len();
                beats.into_iter().enumerate().map(move |(i, data)| (data, i + 1 == count, said(f)))
            })
            .collect();
        let input = shape("s", width, user);
        let design =
            design(buffer.build("buffer"), input.clone(), vec![input, shape("m", buffer.beat_width(), user)]);
        obeys(&format!("line buffer {index}"), &design, &frames, &users, &model);
    }
}

#[test]
fn a_replay_buffer_gives_each_frame_as_often_as_it_says() {
    const FRAMES: u64 = 40;
    for (beats, width, most) in [(1, 3, 1), (5, 70, 1), (1, 9, 5), (2, 4, 2), (2, 65, 3), (5, 8, 4)] {
        let what = format!("replay({beats}, {width}, {most})");
        let frames: Vec<Vec<Bits>> = (0..FRAMES)
            .map(|f| (0..beats).map(|b| pattern(width, f * u64::from(beats) + u64::from(b))).collect())
            .collect();
        // Every number that fits, 0 and those beyond the most among them, next to others in every order.
        let said: Vec<u64> = (0..FRAMES)
            .map(|f| if most == 1 { 1 } else { (f * f + f / 4) % (1 << replay_user(most)) })
            .collect();
        let users: Vec<Bits> =
            said.iter().filter(|_| most > 1).map(|n| Bits::new(replay_user(most), *n)).collect();
        let mut model: Vec<Plain> = Vec::new();
        for (frame, said) in frames.iter().zip(&said) {
            let passes = passes(*said, most);
            for pass in 1..=passes {
                let pass = frame
                    .iter()
                    .enumerate()
                    .map(|(i, data)| (data.clone(), i + 1 == frame.len(), u64::from(pass == passes)));
                model.extend(pass);
            }
        }
        let design = replay_design(beats, width, most);
        let trace = obeys(&what, &design, &frames, &users, &model);
        assert!(consecutive(&trace.taps[1], 2), "{what}: a beat a cycle leaves, from the second edge on");
        if most == 1 {
            assert!(consecutive(&trace.taps[0], 0), "{what}: a beat a cycle is taken");
        } else {
            // One pass each, however many are possible.
            let users = vec![Bits::new(replay_user(most), 1); frames.len()];
            let tap_beats = vec![FRAMES as usize * beats as usize];
            let stimulus =
                Stimulus { frames: vec![frames], users, tap_beats, limit: 20_000, ..Stimulus::default() };
            let trace = rtl(&design, &stimulus);
            assert!(consecutive(&trace.taps[0], 0) && consecutive(&trace.taps[1], 2), "{what}: full rate");
        }
    }
}

/// The beats of one frame may say different numbers: the first counts. `last` is what came in.
#[test]
fn a_frame_is_replayed_as_its_first_beat_says() {
    let (beats, width, most) = (3usize, 8, 5);
    let design = replay_design(beats as u32, width, most);
    let words: Vec<Bits> = (0..60).map(|n| pattern(width, n)).collect();
    let said: Vec<u64> = (0..60).map(|n| n * 5 % 7).collect();
    let model: Vec<Plain> = words
        .chunks(beats)
        .zip(said.chunks(beats))
        .flat_map(|(frame, said)| {
            let passes = passes(said[0], most);
            let pass = move |p| frame.iter().map(move |data| (data.clone(), true, u64::from(p == passes)));
            (1..=passes).flat_map(pass)
        })
        .collect();
    for stall in [None, Some(1), Some(5)] {
        // A frame of the stimulus has the same user bits in all of its beats; so every beat is one.
        let stimulus = Stimulus {
            frames: vec![words.iter().map(|w| vec![w.clone()]).collect()],
            users: said.iter().map(|n| Bits::new(replay_user(most), *n)).collect(),
            stall,
            tap_beats: vec![0, model.len()],
            limit: 20_000,
            ..Stimulus::default()
        };
        let trace = rtl(&design, &stimulus);
        assert_eq!(trace.taps[1].iter().map(plain).collect::<Vec<_>>(), model, "stall {stall:?}");
        assert_eq!(Icarus::default().simulate(&design, &stimulus).expect("Icarus runs"), trace);
    }
}

#[test]
fn a_frame_sum_adds_the_frames_up_to_the_last() {
    const FRAMES: u64 = 60;
    let cases = [
        (1u32, 2u32, Summand::Signed(4), 7, 0u32),
        (2, 3, Summand::Bipolar, 4, 0),
        (2, 1, Summand::Signed(1), 3, 2),
        (5, 20, Summand::Unsigned(3), 6, 0),
    ];
    for (beats, lanes, element, sum_bits, user) in cases {
        let what = format!("frame_sum({beats}, {lanes}, {element:?}, {sum_bits}, {user})");
        let bits = match element {
            Summand::Bipolar => 1,
            Summand::Unsigned(bits) | Summand::Signed(bits) => bits,
        };
        let number = |code: u64| match element {
            Summand::Bipolar => 2 * code as i64 - 1,
            Summand::Unsigned(_) => code as i64,
            Summand::Signed(bits) => code as i64 - if code >> (bits - 1) == 1 { 1 << bits } else { 0 },
        };
        let frames: Vec<Vec<Bits>> = (0..FRAMES)
            .map(|f| (0..beats).map(|b| pattern(lanes * bits, f * u64::from(beats) + u64::from(b))).collect())
            .collect();
        // Sums of 1, 2, 3, 4, 1, .. frames, the last frame's too.
        let mut ends = (1..5).cycle().flat_map(|n| (1..=n).map(move |i| i == n));
        let ends: Vec<bool> = (0..FRAMES).map(|_| ends.next() == Some(true)).collect();
        assert_eq!(ends.last(), Some(&true));
        // What is carried differs from frame to frame.
        let carried = |f: usize| f as u64 % (1 << user);
        let users =
            ends.iter().enumerate().map(|(f, e)| Bits::new(1 + user, carried(f) << 1 | u64::from(*e)));
        let users: Vec<Bits> = users.collect();
        let mut model: Vec<Plain> = Vec::new();
        let mut sums = vec![0i64; (beats * lanes) as usize];
        for (f, (frame, end)) in frames.iter().zip(&ends).enumerate() {
            for (at, sum) in sums.iter_mut().enumerate() {
                let (beat, lane) = (at / lanes as usize, at as u32 % lanes);
                *sum += number(frame[beat].extract(lane * bits, bits));
            }
            if *end {
                for (i, beat) in sums.chunks(lanes as usize).enumerate() {
                    let mut data = Bits::zero(lanes * sum_bits);
                    for (lane, sum) in beat.iter().enumerate() {
                        assert!((-1 << (sum_bits - 1)..1 << (sum_bits - 1)).contains(sum), "{what}: {sum}");
                        data.insert(lane as u32 * sum_bits, sum_bits, *sum as u64);
                    }
                    model.push((data, i + 1 == beats as usize, carried(f)));
                }
                sums.fill(0);
            }
        }
        let taps = vec![shape("s", lanes * bits, 1 + user), shape("m", lanes * sum_bits, user)];
        let design = design(frame_sum(beats, lanes, element, sum_bits, user), taps[0].clone(), taps);
        let trace = obeys(&what, &design, &frames, &users, &model);
        assert!(consecutive(&trace.taps[0], 0), "{what}: a beat a cycle");
        let given = trace.taps[0].iter().filter(|b| b.user & 1 == 1).map(|b| b.cycle + 2);
        assert!(given.eq(trace.taps[1].iter().map(|b| b.cycle)), "{what}: two edges later");
    }
}

/// An LFSR between streams: user bits are `enable`, `load`, `keep`, `again`, data is `start`; 0 leaves until the first `load`.
fn lfsr_bench(leap: u32, restores: bool) -> Arc<Module> {
    let mut b = Builder::new("lfsr_bench");
    let s = b.stream_input("s", lfsr_window(leap), if restores { 4 } else { 2 });
    let unit = b.instance("u_lfsr", &lfsr(leap, restores));
    let user = s.user.expect("there are some");
    for (i, port) in
        ["enable", "load", "keep", "again"].into_iter().enumerate().take(if restores { 4 } else { 2 })
    {
        let bit = b.slice(user, i as u32, 1);
        let bit = if i == 0 { b.and(bit, s.valid) } else { bit };
        b.connect(unit, port, bit);
    }
    b.connect(unit, "start", s.data);
    let begun = b.register("begun", 1, Some(0));
    let next = b.or(begun, s.valid);
    b.next(begun, next);
    let words = b.out(unit, "words");
    let zero = b.constant(leap, 0);
    let data = b.mux(begun, words, zero);
    let ready = b.stream_output("m", Stream { data, valid: s.valid, last: s.last, user: None });
    b.output("s_ready", ready, Role::Control);
    b.finish()
}

/// `count` more bits behind `bits`, one by one.
fn serially(bits: &mut Vec<bool>, count: u32) {
    for _ in 0..count {
        let t = bits.len();
        bits.push(bits[t - 64] ^ bits[t - 63] ^ bits[t - 61] ^ bits[t - 60]);
    }
}

/// Bits in order of time as a number: the first the most significant.
fn word(bits: &[bool]) -> Bits {
    let mut word = Bits::zero(bits.len() as u32);
    bits.iter().rev().enumerate().for_each(|(i, bit)| word.set(i as u32, *bit));
    word
}

#[test]
fn an_lfsr_leaps_as_one_goes_step_by_step() {
    const STEPS: u64 = 300;
    for (leap, restores) in
        [1, 7, 60, 61, 64, 130, 240, 500].into_iter().flat_map(|leap| [(leap, false), (leap, true)])
    {
        let window = lfsr_window(leap);
        assert!(window == 64 || leap > 240 * (window / 128), "leap {leap}: no wider than it needs");
        let held = window.max(leap);
        let (mut frames, mut users, mut model) = (vec![], vec![], vec![]);
        let (mut state, mut kept) = (vec![false; held as usize], vec![]);
        for step in 0..STEPS {
            let chance = pattern(64, step + 1000 * u64::from(leap)).extract(20, 20);
            let first = step == 0;
            let enable = first || chance & 3 != 0;
            let load = first || chance >> 2 & 7 == 0;
            let keep = first || chance >> 5 & 3 == 0;
            let again = !first && chance >> 7 & 3 == 0;
            // What follows a seed of its own; and anything at all where nobody looks.
            let start = load.then(|| {
                let seed = pattern(64, step + 77);
                let mut bits: Vec<bool> = (0..64).map(|i| seed.bit(i)).collect();
                serially(&mut bits, window + step as u32);
                bits.split_off(bits.len() - window as usize)
            });
            frames.push(vec![start.as_ref().map_or_else(|| pattern(window, step), |start| word(start))]);
            let user = [enable, load, keep, again].iter().rev().fold(0, |n, bit| n << 1 | u64::from(*bit));
            users.push(Bits::new(if restores { 4 } else { 2 }, if restores { user } else { user & 3 }));
            model.push(word(&state[(held - leap) as usize..]));
            if enable {
                let mut bits = match start {
                    Some(start) => start,
                    None if restores && again => kept.clone(),
                    None => state.split_off((held - window) as usize),
                };
                if keep {
                    kept.clone_from(&bits);
                }
                serially(&mut bits, leap);
                state = bits.split_off((window + leap - held) as usize);
            }
        }
        let (s, m) = (shape("s", window, users[0].width()), shape("m", leap, 0));
        let design = design(lfsr_bench(leap, restores), s, vec![m]);
        let stimulus = Stimulus {
            tap_beats: vec![frames.len()],
            frames: vec![frames],
            users,
            limit: 1000,
            ..Stimulus::default()
        };
        let trace = rtl(&design, &stimulus);
        for (step, (beat, words)) in trace.taps[0].iter().zip(&model).enumerate() {
            assert_eq!(beat.data, *words, "leap {leap}, restores {restores}: before step {step}");
        }
        assert_eq!(
            Icarus::default().simulate(&design, &stimulus).expect("Icarus runs"),
            trace,
            "leap {leap}"
        );
    }
}

/// Rounding units between streams: data is the words, and above them the codes; out come `w`, and above them `active`.
fn rounding_bench(lane: RoundingLane, lanes: u32, bits: u32) -> Arc<Module> {
    let mut b = Builder::new("rounding_bench");
    let s = b.stream_input("s", lanes * (bits + lane.code_bits(bits)), 0);
    let unit = b.instance("u_rounding", &lane.build(lanes, bits));
    let words = b.slice(s.data, 0, lanes * bits);
    let code = b.slice(s.data, lanes * bits, lanes * lane.code_bits(bits));
    b.connect(unit, "words", words);
    b.connect(unit, "code", code);
    let mut data = b.out(unit, "w");
    if lane == RoundingLane::Ternary {
        let active = b.out(unit, "active");
        data = b.concat(&[data, active]);
    }
    combinational(b, s, data)
}

/// Gives `data` beside each beat of `s`, and adds something clocked, so that the bench finds a clock and a reset.
fn combinational(mut b: Builder, s: Stream, data: Net) -> Arc<Module> {
    let ready = b.stream_output("m", Stream { data, valid: s.valid, last: s.last, user: None });
    b.output("s_ready", ready, Role::Control);
    let beat = b.register("beat", 1, Some(0));
    let flipped = b.not(beat);
    b.next_if(beat, s.valid, flipped);
    b.output("odd", beat, Role::Control);
    b.finish()
}

/// Every number with every random word, in every lane.
#[test]
fn rounding_units_round_as_the_laws_say() {
    const LANES: usize = 3;
    for (lane, bits) in [RoundingLane::Binary, RoundingLane::Ternary]
        .into_iter()
        .flat_map(|lane| [1u32, 2, 3, 5].map(|bits| (lane, bits)))
    {
        let one = 1i32 << bits;
        let least = if lane == RoundingLane::Binary { 0 } else { -one };
        let all: Vec<(i32, i32)> = (least..=one).flat_map(|n| (0..one).map(move |u| (n, u))).collect();
        let code_bits = lane.code_bits(bits);
        let lanes = LANES as u32;
        let of = |i: usize, l: usize| all[(i + l * 5) % all.len()];
        let beats: Vec<Bits> = (0..all.len())
            .map(|i| {
                let mut beat = Bits::zero(lanes * (bits + code_bits));
                for l in 0..LANES {
                    let (number, u) = of(i, l);
                    // Lane 0 takes the first bits of the sequence, which are the most significant.
                    beat.insert((lanes - 1 - l as u32) * bits, bits, u as u64);
                    let code = lane.code(bits, number);
                    assert!(code >> code_bits == 0);
                    (0..code_bits)
                        .for_each(|j| beat.set(lanes * bits + j * lanes + l as u32, code >> j & 1 == 1));
                }
                beat
            })
            .collect();
        let output = if lane == RoundingLane::Ternary { 2 * lanes } else { lanes };
        let s = shape("s", lanes * (bits + code_bits), 0);
        let design = design(rounding_bench(lane, lanes, bits), s, vec![shape("m", output, 0)]);
        let stimulus = Stimulus {
            tap_beats: vec![beats.len()],
            frames: vec![vec![beats]],
            limit: 5000,
            ..Stimulus::default()
        };
        let trace = rtl(&design, &stimulus);
        for (i, beat) in trace.taps[0].iter().enumerate() {
            for l in 0..LANES {
                let (number, u) = of(i, l);
                let w = beat.data.bit(l as u32);
                let context = format!("{lane:?}, {bits} bits, lane {l}: {number} with {u}");
                match lane {
                    RoundingLane::Binary => assert_eq!(w, u < number, "{context}"),
                    RoundingLane::Ternary => {
                        let trit = (number + u).div_euclid(one);
                        assert_eq!(beat.data.bit(lanes + l as u32), trit != 0, "{context}");
                        assert!(trit == 0 || w == (trit > 0), "{context}");
                    }
                }
            }
        }
        let icarus = Icarus::default().simulate(&design, &stimulus).expect("Icarus runs");
        assert_eq!(icarus, trace, "{lane:?}, {bits} bits");
    }
}

/// Sums against one to many thresholds, those reached or those not: data is the sum, above it the thresholds, above them `falls`.
#[test]
fn thresholds_are_counted_up_or_down() {
    const BITS: u32 = 5;
    for (steps, falling) in [1, 3, 7, 20].into_iter().flat_map(|steps| [(steps, false), (steps, true)]) {
        let width = BITS * (1 + steps) + u32::from(falling);
        let mut b = Builder::new("count_bench");
        let s = b.stream_input("s", width, 0);
        let unit = b.instance("u_count", &threshold_count(steps, BITS, falling, false));
        let sum = b.slice(s.data, 0, BITS);
        let thresholds = b.slice(s.data, BITS, steps * BITS);
        b.connect(unit, "sum", sum);
        b.connect(unit, "thresholds", thresholds);
        if falling {
            let falls = b.slice(s.data, width - 1, 1);
            b.connect(unit, "falls", falls);
        }
        let count = b.out(unit, "count");
        let top = combinational(b, s, count);
        let m = shape("m", bits_for(steps.into()), 0);
        let design = design(top, shape("s", width, 0), vec![m]);
        let frames = vec![(0..200).map(|n| pattern(width, n)).collect::<Vec<_>>()];
        let stimulus =
            Stimulus { tap_beats: vec![200], frames: vec![frames], limit: 1000, ..Stimulus::default() };
        let trace = rtl(&design, &stimulus);
        for (sent, beat) in stimulus.frames[0][0].iter().zip(&trace.taps[0]) {
            let number = |i: u32| sent.extract(i * BITS, BITS);
            let falls = falling && sent.bit(width - 1);
            let count = (1..=steps).filter(|i| (number(0) >= number(*i)) != falls).count();
            assert_eq!(beat.data.to_u64(), Some(count as u64), "{steps} steps, {sent}");
        }
        assert_eq!(
            Icarus::default().simulate(&design, &stimulus).expect("Icarus runs"),
            trace,
            "{steps} steps"
        );
    }
}
