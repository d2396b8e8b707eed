//! What is proved of line buffers.

use std::fmt::Write as _;

use stoxnor::arith::window::Window;
use stoxnor::unit::window::LineBufferStage;
use stoxnor_hdl::bits_for;
use stoxnor_hdl::block::{Border, LineBuffer, Loop, Padding};

use super::Method;
use super::Proof;
use super::harness::Harness;

/// Frames are counted modulo this: more than there ever are between what comes and what leaves.
const FRAMES: u64 = 8;

/// A line buffer reads what each tap of each position sees, position by position, no word before it has come and none after its place
/// has been taken; as many beats for a frame as there are positions.
pub fn of_window(window: Window, side: bool, padding: Option<Padding>, user: u32) -> Proof {
    let buffer = buffer(&window, side, padding, user);
    let (frame, beats, taps, width) = (buffer.frame, buffer.beats(), buffer.taps.len() as u64, buffer.width);
    let mut h = Harness::new(buffer.build("window"));
    h.stream("s");
    h.stream("m");
    h.counter("coming", frame, "s_moves");
    h.counter("coming_frame", FRAMES, &format!("s_moves && coming == {}", frame - 1));
    h.counter("leaving", beats, "m_moves");
    h.counter("leaving_frame", FRAMES, &format!("m_moves && leaving == {}", beats - 1));
    h.take(format!("!running || !s_valid || s_last == (coming == {})", frame - 1));
    h.any("of", FRAMES);
    h.any("word", frame);
    h.keep("kept", width, "s_moves && coming_frame == of && coming == word", "s_data");
    h.hold(format!("!m_valid || m_last == (leaving == {})", beats - 1));
    if user > 0 {
        h.keep("said", user, "s_moves && coming_frame == of && coming == 0", "s_user");
        h.hold("!(m_valid && leaving_frame == of) || m_user == said");
    }
    let of_tap = buffer.beat_width() / taps as u32;
    for tap in 0..taps {
        let low = of_tap * tap as u32;
        h.add(format!("reg [{}:0] sees_{tap}; reg outside_{tap};", bits_for(frame) - 1));
        let mut cases = String::new();
        for beat in 0..beats {
            let each = beats as usize / window.positions();
            let at = (beat as usize % each) * taps as usize + tap as usize;
            let sees = window.pixel(beat as usize / each, at);
            let (pixel, outside) = (sees.unwrap_or(0), u8::from(sees.is_none()));
            cases += &format!("{beat}: begin sees_{tap} = {pixel}; outside_{tap} = {outside}; end\n");
        }
        h.add(format!(
            "always @* begin sees_{tap} = 0; outside_{tap} = 0; case (leaving)\n{cases}default: ; endcase end"
        ));
        let data = format!("m_data[{}:{low}]", low + width - 1);
        let whole = format!("m_data[{}:{low}]", low + of_tap - 1);
        let here = format!("m_valid && !outside_{tap}");
        h.hold(format!("!({here}) || coming_frame != leaving_frame || sees_{tap} < coming"));
        let known = format!("!({here} && leaving_frame == of && sees_{tap} == word)");
        let beyond = format!("!(m_valid && outside_{tap})");
        match buffer.border.as_ref().map(|b| &b.padding) {
            None => h.hold(format!("{known} || {data} == kept")),
            Some(Padding::Word(bits)) => {
                h.hold(format!("{known} || {data} == kept"));
                h.hold(format!("{beyond} || {data} == {}", bits.extract(0, width)));
            }
            Some(Padding::Flag) => {
                h.hold(format!("{known} || {whole} == {{1'b0, kept}}"));
                h.hold(format!("{beyond} || m_data[{}] == 1'b1", low + width));
            }
            Some(Padding::Mask) => {
                h.hold(format!("{known} || {whole} == {{!kept[1], 1'b1, !kept[0], 1'b1}}"));
                h.hold(format!("{beyond} || {whole} == 0"));
            }
        }
    }
    registers(&mut h, &buffer, &window);
    h.reach("leaving_frame == 1 && m_moves", 8 + (frame + beats) as u32);
    let ([rows, columns], [height, across]) = (window.kernel, window.input);
    let how = if side { "row by row" } else { "tap by tap" };
    let padded = match buffer.border.as_ref().map(|b| &b.padding) {
        None => "",
        Some(Padding::Word(_)) => ", padded with a word",
        Some(Padding::Flag) => ", padded with a flag",
        Some(Padding::Mask) => ", padded with nothing",
    };
    let what = format!("window of {rows} x {columns} over {height} x {across}, {how}{padded}");
    h.proof(what, Method::Induction(2))
}

/// What the registers and the memories hold, told from the beats that have come and gone: what makes the proof inductive.
fn registers(h: &mut Harness, buffer: &LineBuffer, window: &Window) {
    let LineBuffer { depth, frame, .. } = *buffer;
    let beats = buffer.beats();
    let each = beats / window.positions() as u64;
    let ahead = depth / frame + 1;
    // The beat that is read next, of which frame, and where in the ring that begins.
    h.counter("came_to", depth, "s_moves");
    let next_base = modulo(&format!("(10'd0 + base + {frame})"), depth + frame, depth);
    h.add(format!(
        "wire ends = leaving == {};
         reg [9:0] base;
         wire [9:0] next_base = {next_base};
         always @(posedge clk) if (rst) base <= 0; else if (m_moves && ends) base <= next_base;
         wire [9:0] reading = !m_valid ? leaving : ends ? 0 : leaving + 1'b1;
         wire [2:0] reading_frame = m_valid && ends ? leaving_frame + 3'd1 : leaving_frame;
         wire [9:0] reading_base = m_valid && ends ? next_base : base;
         wire [2:0] more = coming_frame - reading_frame;
         wire [9:0] there = more * {frame} + coming;
         wire part = |coming;
         reg due; always @(posedge clk) due <= running & readable & (~m_valid | m_ready);",
        beats - 1
    ));
    h.hold(format!(
        "base < {depth} && leaving < {beats} && coming < {frame} && came_to < {depth} && more <= {ahead}"
    ));
    // Of each beat: words that are free before it, words that have to be there for it and for those before it, where it is.
    let levels: Vec<&Loop> = buffer.loops().collect();
    let runs = |beat: u64| -> Vec<u64> {
        let mut rest = beat;
        levels.iter().map(|l| (rest % l.count, rest /= l.count).0).collect()
    };
    let sum = |beat: u64, of: &dyn Fn(&Loop) -> u64| -> u64 {
        runs(beat).iter().zip(&levels).map(|(run, level)| run * of(level)).sum()
    };
    let freed = |beat: u64| match beat / each {
        0 => 0,
        position => {
            let columns = buffer.outer[0].count;
            buffer.freed((position - 1) / columns, (position - 1) % columns)
        }
    };
    let taps = buffer.taps.len();
    let needs = |beat: u64| {
        let taps = (0..taps).map(|tap| (beat % each) as usize * taps + tap);
        taps.filter_map(|tap| window.pixel((beat / each) as usize, tap)).map(|pixel| pixel as u64 + 1).max()
    };
    // Nothing of a frame is read before its first word.
    let needs = |beat: u64| needs(beat).unwrap_or(0).max(1);
    let mut cases = String::new();
    // Where a beat's first word is; that of beat `beats` is the first one of the next frame.
    let word = |beat: u64| match beat == beats {
        true => frame.cast_signed() + buffer.start(),
        false => sum(beat, &|l| l.words).cast_signed() + buffer.start(),
    };
    for beat in 0..beats {
        let before = (0..beat).map(needs).max().unwrap_or(0);
        let at = word(beat);
        let _ = writeln!(
            cases,
            "{beat}: begin freed = {}; needs = {}; before = {before}; at = {}; at_next = {}; at_ring = {}; end",
            freed(beat),
            needs(beat),
            at.rem_euclid(1024),
            word(beat + 1).rem_euclid(1024),
            at.rem_euclid(depth.cast_signed())
        );
    }
    h.add(format!(
        "reg [9:0] freed, needs, before, at, at_next, at_ring;
         always @* begin freed = 0; needs = 0; before = 0; at = 0; at_next = 0; at_ring = 0;
         case (reading)\n{cases}default: ; endcase end
         wire readable = there >= needs;
         wire [9:0] held = there - freed;"
    ));
    h.hold(format!("there >= freed && there >= before && held <= {depth} && s_ready == (held < {depth})"));
    h.hold("!due || m_valid");
    let number = |h: &mut Harness, name: &str, value: &str| {
        let bits = h.show_if_there(name).expect("every line buffer has it");
        h.add(format!("wire [{}:0] {name}_due = {value};", bits - 1));
        h.hold(format!("{name}_i == {name}_due"));
        bits
    };
    number(h, "room_q", &format!("{} - held", depth - 1));
    let middle = 1u64 << (h.show_if_there("ahead_q").expect("every line buffer has it") - 1);
    h.hold(format!("ahead_q_i == (({middle} + 2048 - 1 + there - at) & {})", 2 * middle - 1));
    h.show_if_there("ahead_after_q").expect("every line buffer has it");
    h.hold(format!("ahead_after_q_i == (({middle} + 2048 - 1 + there - at_next) & {})", 2 * middle - 1));
    number(h, "available_q", "readable");
    number(h, "frame_there_q", "more != 0 || part");
    for (tap, offset) in buffer.taps.iter().enumerate() {
        let name = if tap == 0 { "read_at_q".to_owned() } else { format!("read_at_{tap}_q") };
        let at = format!("(reading_base + at_ring + {})", offset.words % depth);
        number(h, &name, &modulo(&at, 3 * depth, depth));
    }
    // What belongs to the beat that is read next.
    let step = |beat: u64| (word(beat + 1) - word(beat)).rem_euclid(depth.cast_signed()).cast_unsigned();
    let held = |h: &mut Harness, name: &str, value: &dyn Fn(u64) -> u64| {
        if let Some(bits) = h.show_if_there(name) {
            h.hold(format!("{name}_i == {}", table(beats, |beat| value(beat) & ((1 << bits) - 1))));
        }
    };
    held(h, "step_q", &step);
    held(h, "step_back_q", &|beat| step(beat).wrapping_sub(depth));
    held(h, "frame_end_q", &|beat| u64::from(beat + 1 == beats));
    held(h, "freed_q", &|beat| if beat + 1 == beats { frame } else { freed(beat + 1) } - freed(beat));
    for tap in 0..buffer.taps.len() {
        let outside = |beat: u64| {
            let at = (beat % each) as usize * buffer.taps.len() + tap;
            u64::from(window.pixel((beat / each) as usize, at).is_none())
        };
        held(h, &format!("outside_{tap}_q"), &outside);
    }
    number(h, "write_at_q", "came_to");
    h.ends("write_at", depth);
    h.hold(format!("came_to == {}", modulo("(reading_base + there)", depth + frame * (ahead + 1), depth)));
    number(h, "frames_q", "more + part");
    number(h, "at_start_q", "coming == 0");
    // The counters tell of the beat after that one.
    let after = |beat: u64| (beat + 1) % beats;
    for (level, index) in levels.iter().zip(0..) {
        if h.show_if_there(&format!("{}_q", level.name)).is_some() {
            h.hold(format!("{}_q_i == {}", level.name, table(beats, |beat| runs(after(beat))[index])));
            h.ends(level.name, level.count);
        }
    }
    for (axis, name) in ["y_q", "x_q"].into_iter().enumerate() {
        if h.show_if_there(name).is_some() {
            h.hold(format!("{name}_i == {}", table(beats, |beat| sum(after(beat), &|l| l.pixels[axis]))));
        }
    }
    h.add("wire [2:0] distance = of - reading_frame;");
    if buffer.user > 0 {
        let frames = depth / frame + 2;
        h.counter("turn", frames, "m_moves && ends");
        h.hold(format!("turn < {frames}"));
        h.add(format!(
            "wire [9:0] reading_turn = {};",
            modulo("(10'd0 + turn + (m_valid && ends))", frames + 1, frames)
        ));
        number(h, "from_q", "reading_turn");
        number(h, "into_q", &modulo("(reading_turn + more + part)", 2 * frames + 2, frames));
        h.ends("from", frames);
        h.ends("into", frames);
        h.add(format!(
            "wire [9:0] turn_of = {};",
            modulo("(reading_turn + distance)", frames + FRAMES, frames)
        ));
        for k in 0..frames {
            h.show(&format!("user_{k}_q"), buffer.user);
            let begun = "(distance < more || (distance == more && coming != 0))";
            h.hold(format!("!({begun} && turn_of == {k}) || user_{k}_q_i == said"));
        }
    }
    h.add(format!("wire [9:0] place = {};", {
        let sum = format!("(reading_base + distance * {frame} + word)");
        modulo(&sum, depth + (FRAMES + 1) * frame, depth)
    }));
    h.add(
        "wire in_ring = (distance < more || (distance == more && word < coming)) && !(distance == 0 && word < freed);",
    );
    for tap in 0..taps {
        let suffix = if taps == 1 { String::new() } else { format!("_{tap}") };
        for place in 0..depth {
            let own = format!("held{suffix}_{place}");
            h.show_as(&own, &format!("words{suffix}[{place}]"), buffer.width);
            h.hold(format!("!(in_ring && place == {place}) || {own} == kept"));
        }
    }
}

/// An expression below `limit` modulo `modulus`.
fn modulo(sum: &str, limit: u64, modulus: u64) -> String {
    let choose = |others: String, k: u64| format!("{others}{sum} >= {0} ? {sum} - 10'd{0} : ", k * modulus);
    format!("({}{sum})", (1..=limit / modulus).rev().fold(String::new(), choose))
}

/// A number for each beat that may be read next.
fn table(beats: u64, of: impl Fn(u64) -> u64) -> String {
    let choose =
        (0..beats).fold(String::new(), |all, beat| format!("{all}reading == {beat} ? {} : ", of(beat)));
    format!("({choose}0)")
}

/// Words of two bits, one a pixel, in a ring as small as it may be; a row of taps side by side, or one tap.
fn buffer(window: &Window, side: bool, padding: Option<Padding>, user: u32) -> LineBuffer {
    let wide = |v: [usize; 2]| v.map(|v| v as u64);
    let [stride, dilation, kernel] = [window.stride, window.dilation, window.kernel].map(wide);
    let [positions, across] = [wide(window.output()), wide(window.input)];
    let level = |name, count, axis: usize, pixels: u64| {
        let words = if axis == 0 { pixels * across[1] } else { pixels };
        Loop { name, count, words, pixels: if axis == 0 { [pixels, 0] } else { [0, pixels] } }
    };
    let tap_rows = level("kernel_y", kernel[0], 0, dilation[0]);
    let taps = if side { kernel[1] } else { 1 };
    let buffer = LineBuffer {
        width: 2,
        depth: 2,
        frame: across[0] * across[1],
        inner: if side {
            vec![tap_rows]
        } else {
            vec![level("kernel_x", kernel[1], 1, dilation[1]), tap_rows]
        },
        outer: [
            level("x_position", positions[1], 1, stride[1]),
            level("y_position", positions[0], 0, stride[0]),
        ],
        taps: (0..taps).map(|x| level("tap", 1, 1, x * dilation[1])).collect(),
        skip: 0,
        border: padding.map(|padding| Border {
            extent: across,
            before: wide(window.before),
            words: 1,
            padding,
        }),
        user,
    };
    LineBufferStage::alone(buffer).buffer().clone()
}
