//! What is proved of each block.

use std::sync::Arc;

use stoxnor_hdl::block::{
    Cells, Lane, RoundingLane, SEGMENT, ThresholdSearch, fifo, fork, in_turn, join, lfsr, narrower,
    running_stream_register, stream_register, widener,
};
use stoxnor_hdl::inline::inlined;
use stoxnor_hdl::{Builder, Image, Role, bits_for};

use super::Method;
use super::Proof;
use super::harness::Harness;

/// All beats leave in order, none waits longer than it has to, and there is room for two.
pub fn of_stream_register(width: u32, user: u32) -> Proof {
    let name = format!("stream register, {width} bits, {user} user bits");
    of_two_entries(Harness::new(stream_register(width, user)), name, (width, user))
}

/// The same, and both flip-flops tell whether the second entry is empty.
pub fn of_running_stream_register(width: u32, user: u32) -> Proof {
    let mut h = Harness::new(running_stream_register(width, user));
    h.hold("s_run == s_ready");
    let name = format!("running stream register, {width} bits, {user} user bits");
    of_two_entries(h, name, (width, user))
}

fn of_two_entries(mut h: Harness, name: String, (width, user): (u32, u32)) -> Proof {
    h.stream("s");
    h.stream("m");
    h.show("valid_q", 1);
    h.show("spare_valid_q", 1);
    h.show("spare_data_q", width);
    h.show("spare_last_q", 1);
    let mut spare = "spare_last_q_i, spare_data_q_i".to_owned();
    if user > 0 {
        h.show("spare_user_q", user);
        spare = format!("spare_user_q_i, {spare}");
    }
    in_order(&mut h);
    h.hold("inside == valid_q_i + spare_valid_q_i && (valid_q_i || !spare_valid_q_i)");
    h.hold("m_valid == (inside != 0) && s_ready == (inside < 2)");
    h.hold("!(m_valid && leaving == beat) || m_word == kept");
    h.hold(format!("!(spare_valid_q_i && leaving + 3'd1 == beat) || {{{spare}}} == kept"));
    h.reach("inside == 2 && leaving == 3", 12);
    h.proof(name, Method::Induction(2))
}

/// Beats that have come and gone, and the word of any one of them: `inside`, `leaving`, `beat`, `kept`.
fn in_order(h: &mut Harness) {
    h.count("coming", "s_moves");
    h.count("leaving", "m_moves");
    h.add("wire [2:0] inside = coming - leaving;");
    h.any("beat", 8);
    h.keep("kept", h.word_bits("s"), "s_moves && coming == beat", "s_word");
}

/// All beats leave in order, none waits longer than it has to, and there is room for `depth` and the one that is offered.
pub fn of_fifo(depth: u32, width: u32, user: u32) -> Proof {
    assert!(depth < 7, "counters of beats go round");
    let mut h = Harness::new(fifo(depth, width, user));
    h.stream("s");
    h.stream("m");
    in_order(&mut h);
    let bits = bits_for(depth.into());
    h.show("count_q", bits);
    h.show("valid_q", 1);
    h.hold(format!("count_q_i <= {depth} && inside == count_q_i + valid_q_i && m_valid == valid_q_i"));
    h.hold(format!("s_ready == (inside - m_valid < {depth})"));
    h.show("full_q", 1);
    h.show("filled_q", 1);
    h.hold(format!("full_q_i == (count_q_i == {depth}) && filled_q_i == (count_q_i != 0)"));
    // A beat in memory moves on where the output is free.
    h.add(
        "reg due; always @(posedge clk) due <= running & (inside != {2'b0, m_valid}) & (~m_valid | m_ready);",
    );
    h.hold("!due || m_valid");
    let place = |at: u32| match depth {
        1 => "3'd0".to_owned(),
        _ => format!("(3'd{at} + (read_at_q_i > {at} ? 3'd{depth} : 3'd0) - read_at_q_i)"),
    };
    if depth > 1 {
        let bits = bits_for(u64::from(depth) - 1);
        h.show("read_at_q", bits);
        h.show("write_at_q", bits);
        h.ends("read_at", depth.into());
        h.ends("write_at", depth.into());
        h.hold(format!("read_at_q_i < {depth} && write_at_q_i < {depth}"));
        h.add("wire [3:0] next = {1'b0, read_at_q_i} + count_q_i;");
        h.hold(format!("write_at_q_i == next - (next >= {depth} ? 4'd{depth} : 4'd0)"));
    }
    h.hold("!(m_valid && leaving == beat) || m_word == kept");
    for at in 0..depth {
        h.show_as(&format!("data_{at}"), &format!("data_words[{at}]"), width);
        h.show_as(&format!("control_{at}"), &format!("control_words[{at}]"), 1 + user);
        h.add(format!("wire [2:0] place_{at} = {};", place(at)));
        h.hold(format!(
            "!(place_{at} < count_q_i && leaving + m_valid + place_{at} == beat) || {{control_{at}, data_{at}}} == kept"
        ));
    }
    h.reach(format!("inside == {} && leaving == 2", depth + 1), 2 * depth + 12);
    h.proof(format!("FIFO of {depth}, {width} bits, {user} user bits"), Method::Induction(2))
}

/// `ratio` beats make a word, the first in the least significant bits, with the last one's `last` and user bits.
pub fn of_widener(ratio: u32, width: u32, user: u32) -> Proof {
    let mut h = Harness::new(widener(ratio, width, user));
    h.stream("s");
    h.stream("m");
    h.counter("part", ratio.into(), "s_moves");
    h.count("coming", &format!("s_moves && part == {}", ratio - 1));
    h.count("leaving", "m_moves");
    h.any("word", 8);
    h.any("of", ratio.into());
    let control = format!("s_word[{}:{width}]", width + user);
    h.keep("kept", width, "s_moves && coming == word && part == of", "s_data");
    h.keep(
        "kept_control",
        1 + user,
        &format!("s_moves && coming == word && part == {}", ratio - 1),
        &control,
    );
    h.show("part_q", bits_for(u64::from(ratio) - 1));
    h.ends("part", ratio.into());
    h.show("word_q", ratio * width);
    h.hold(format!("part_q_i == part && part < {ratio} && m_valid == (coming != leaving)"));
    h.hold("coming - leaving < 3'd2 && (!m_valid || part == 0)");
    h.hold("s_ready == (!m_valid || m_ready)");
    for at in 0..ratio {
        let bits = |from: u32| format!("word_q_i[{}:{}]", (from + 1) * width - 1, from * width);
        for part in 1..ratio {
            if at < part {
                let place = bits(ratio - part + at);
                h.hold(format!("!(coming == word && of == {at} && part == {part}) || {place} == kept"));
            }
        }
        h.hold(format!("!(m_valid && leaving == word && of == {at}) || {} == kept", bits(at)));
        let of_output = format!("m_data[{}:{}]", (at + 1) * width - 1, at * width);
        h.hold(format!("!(m_valid && leaving == word && of == {at}) || {of_output} == kept"));
    }
    let of_output = format!("m_word[{}:{}]", ratio * width + user, ratio * width);
    h.hold(format!("!(m_valid && leaving == word) || {of_output} == kept_control"));
    h.reach("leaving == 2", 3 * ratio + 4);
    h.proof(format!("widener of {ratio} x {width} bits, {user} user bits"), Method::Induction(2))
}

/// A word makes `ratio` beats, the least significant bits first; `last` stands on the last one.
pub fn of_narrower(ratio: u32, width: u32, user: u32) -> Proof {
    let mut h = Harness::new(narrower(ratio, width, user));
    h.stream("s");
    h.stream("m");
    h.counter("part", ratio.into(), "m_moves");
    h.count("coming", "s_moves");
    h.count("leaving", &format!("m_moves && part == {}", ratio - 1));
    h.any("word", 8);
    h.keep("kept", h.word_bits("s"), "s_moves && coming == word", "s_word");
    h.show("part_q", bits_for(u64::from(ratio) - 1));
    h.ends("part", ratio.into());
    h.show("word_q", ratio * width);
    h.show("last_q", 1);
    h.hold(format!("part_q_i == part && part < {ratio} && m_valid == (coming != leaving)"));
    h.hold("coming - leaving < 3'd2 && (m_valid || part == 0)");
    h.hold(format!("s_ready == (!m_valid || (m_ready && part == {}))", ratio - 1));
    let all = ratio * width;
    for part in 0..ratio {
        let here = format!("!(m_valid && leaving == word && part == {part})");
        let rest = (ratio - part) * width;
        h.hold(format!("{here} || word_q_i[{}:0] == kept[{}:{}]", rest - 1, all - 1, part * width));
        h.hold(format!("{here} || m_data == kept[{}:{}]", (part + 1) * width - 1, part * width));
        let last = if part + 1 == ratio { format!("kept[{all}]") } else { "1'b0".to_owned() };
        h.hold(format!("{here} || m_last == {last}"));
    }
    h.hold(format!("!(m_valid && leaving == word) || last_q_i == kept[{all}]"));
    if user > 0 {
        h.hold(format!("!(m_valid && leaving == word) || m_user == kept[{}:{}]", all + user, all + 1));
    }
    h.reach("leaving == 2", 3 * ratio + 4);
    h.proof(format!("narrower to {ratio} x {width} bits, {user} user bits"), Method::Induction(2))
}

/// Every stream gets every beat once, and when does not depend on the others.
pub fn of_fork(ways: u32, width: u32, user: u32) -> Proof {
    let mut h = Harness::new(fork(ways, width, user));
    h.stream("s");
    h.count("coming", "s_moves");
    let mut served = Vec::new();
    for k in 0..ways {
        h.stream(&format!("m{k}"));
        h.count(&format!("leaving_{k}"), &format!("m{k}_moves"));
        h.show(&format!("has_{k}_q"), 1);
        // Those that have the beat are one ahead.
        h.hold(format!("leaving_{k} == coming + {{2'b0, has_{k}_q_i}} && (s_valid || !has_{k}_q_i)"));
        h.hold(format!("m{k}_valid == (s_valid && leaving_{k} == coming)"));
        h.hold(format!("!m{k}_valid || m{k}_word == s_word"));
        served.push(format!("(leaving_{k} != coming || m{k}_ready)"));
    }
    h.hold(format!("!s_valid || s_ready == ({})", served.join(" && ")));
    h.reach("coming == 2 && leaving_0 == 3", 10);
    h.proof(format!("fork to {ways}, {width} bits, {user} user bits"), Method::Induction(2))
}

/// A beat of each stream leaves together, side by side.
pub fn of_join(widths: &[u32], user: u32) -> Proof {
    let mut h = Harness::new(join(widths, user));
    let all = |what: &str| (0..widths.len()).map(|k| format!("s{k}_{what}")).collect::<Vec<_>>();
    let data: Vec<String> = all("data").into_iter().rev().collect();
    h.hold(format!("m_valid == ({})", all("valid").join(" && ")));
    h.hold(format!("m_data == {{{}}}", data.join(", ")));
    h.hold(format!("m_last == ({})", all("last").join(" && ")));
    if user > 0 {
        h.hold(format!("m_user == ({})", all("user").join(" & ")));
    }
    for ready in all("ready") {
        h.hold(format!("{ready} == (m_valid && m_ready)"));
    }
    h.proof(format!("join of {widths:?} bits, {user} user bits"), Method::Combinational)
}

/// Beats come from each stream in its turn; `last` stands where all streams have had theirs, in frames of `rounds` rounds.
pub fn of_turns(counts: &[u32], width: u32, user: u32, rounds: u32) -> Proof {
    let mut h = Harness::new(in_turn(counts, width, user));
    let total: u32 = counts.iter().sum();
    h.counter("at", total.into(), "m_moves");
    h.counter("round", rounds.into(), &format!("m_moves && at == {}", total - 1));
    h.show("place_q", bits_for(u64::from(total) - 1));
    h.ends("place", total.into());
    h.hold(format!("place_q_i == at && at < {total} && round < {rounds}"));
    let last_round = rounds - 1;
    let mut from = 0;
    for (k, count) in counts.iter().enumerate() {
        let to = from + count;
        h.stream(&format!("s{k}"));
        h.add(format!("wire turn_{k} = at >= {from} && at < {to};"));
        // A stream's last beat is its last one of the last round.
        h.take(format!(
            "!running || !s{k}_valid || !turn_{k} || s{k}_last == (round == {last_round} && at == {})",
            to - 1
        ));
        h.hold(format!("!turn_{k} || (m_valid == s{k}_valid && m_data == s{k}_data)"));
        if user > 0 {
            h.hold(format!("!turn_{k} || m_user == s{k}_user"));
        }
        h.hold(format!("s{k}_ready == (turn_{k} && m_ready)"));
        if k + 1 < counts.len() {
            h.show(&format!("ended_{k}_q"), 1);
            h.hold(format!("ended_{k}_q_i == (round == {last_round} && at >= {to})"));
        }
        from = to;
    }
    h.stream("m");
    h.hold(format!("!m_valid || m_last == (round == {last_round} && at == {})", total - 1));
    h.reach("m_moves && m_last", total * rounds + 4);
    h.proof(format!("turns of {counts:?} beats, {rounds} rounds a frame"), Method::Induction(2))
}

/// A lane's bit, or trit, is what the law says, for every stored number and every random one.
pub fn of_rounding(lane: RoundingLane, lanes: u32, bits: u32) -> Proof {
    let mut h = Harness::new(lane.build(lanes, bits));
    let most = 1i32 << bits;
    let (least, law) = match lane {
        RoundingLane::Binary => (0, "binary"),
        RoundingLane::Ternary => (-most, "ternary"),
    };
    let code_bits = lane.code_bits(bits);
    for l in 0..lanes {
        let code: Vec<String> = (0..code_bits).rev().map(|j| format!("code[{}]", j * lanes + l)).collect();
        h.add(format!("wire [{}:0] code_{l} = {{{}}};", code_bits - 1, code.join(", ")));
        let top = (lanes - l) * bits;
        h.add(format!("wire [{}:0] u_{l} = words[{}:{}];", bits - 1, top - 1, top - bits));
        for number in least..=most {
            let here = format!("code_{l} != {code_bits}'d{}", lane.code(bits, number));
            match lane {
                RoundingLane::Binary => h.hold(format!("{here} || w[{l}] == (u_{l} < {number})")),
                RoundingLane::Ternary => {
                    // floor((W + u) / 2^B) is -1 below 0, 1 from 2^B on.
                    let (minus, plus) = (format!("({number} + $signed({{1'b0, u_{l}}}) < 0)"), most - number);
                    let plus = format!("($signed({{1'b0, u_{l}}}) >= {plus})");
                    h.hold(format!("{here} || active[{l}] == ({minus} || {plus})"));
                    h.hold(format!("{here} || !active[{l}] || w[{l}] == {plus}"));
                }
            }
        }
    }
    h.proof(format!("{law} rounding, {lanes} lanes of {bits} random bits"), Method::Combinational)
}

/// A leap is so many single steps, nothing moves without `enable`, and what was noted comes again.
pub fn of_lfsr(leap: u32, restores: bool) -> Proof {
    assert!(leap <= 240, "a window of 64 bits");
    let mut h = Harness::new(lfsr(leap, restores));
    let state = leap.max(64);
    h.show("state_q", state);
    let mut base = "state_q_i[63:0]".to_owned();
    if restores {
        h.show("kept_q", 64);
        base = format!("(again ? kept_q_i : {base})");
    }
    h.add(format!("wire [{}:0] sequence;", leap + 63));
    h.add(format!("assign sequence[{}:{leap}] = load ? start : {base};", leap + 63));
    // The bits before a bit are in the places above it.
    for at in 0..leap {
        let before: Vec<String> = [64, 63, 61, 60].iter().map(|t| format!("sequence[{}]", at + t)).collect();
        h.add(format!("assign sequence[{at}] = {};", before.join(" ^ ")));
    }
    h.add(format!(
        "reg known = 1'b0; reg [{0}:0] due;
         always @(posedge clk) begin known <= 1'b1; due <= enable ? sequence[{0}:0] : state_q_i; end",
        state - 1
    ));
    h.hold("!known || state_q_i == due");
    h.hold(format!("words == state_q_i[{}:0]", leap - 1));
    if restores {
        h.add(format!(
            "reg [63:0] noted;
             always @(posedge clk) noted <= enable && keep ? sequence[{}:{leap}] : kept_q_i;",
            leap + 63
        ));
        h.hold("!known || kept_q_i == noted");
    }
    let what = if restores { ", restoring" } else { "" };
    h.proof(format!("LFSR, {leap} bits at a time{what}"), Method::Induction(1))
}

/// The count that is emitted is the number of lanes that agree.
pub fn of_popcount(lane: Lane, cells: Cells, lanes: u32, bits: u32) -> Proof {
    let mut h = Harness::new(cells.popcount(lane, lanes, bits, 0));
    let sum = sum_of_lanes(&mut h, lane, lanes, bits);
    h.hold(format!("count == {sum}"));
    h.proof(format!("popcount of {lanes} lanes, {lane:?}, {cells:?}, {bits} bits"), Method::Combinational)
}

/// A sum of products in carry cells is the weighted sum of the planes' counts.
pub fn of_products(lane: Lane, cells: Cells, lanes: u32, input: &[i64], bits: u32) -> Proof {
    let mut h = Harness::new(cells.products(lane, lanes, input, bits, false));
    let last = input.len() - 1;
    for k in 0..lanes {
        let number: Vec<String> = (0..=last)
            .rev()
            .map(|plane| match lane {
                Lane::Xor => format!("a_{plane}[{k}] ^ w[{k}]"),
                _ => format!("~(a_{plane}[{k}] ^ w[{k}]) & active[{k}]"),
            })
            .collect();
        let sign = if input[last] < 0 { number[0].clone() } else { "1'b0".to_owned() };
        let wide = format!("{{{{{}{{{sign}}}}}, {}}}", bits as usize - input.len(), number.join(", "));
        let before = if k == 0 { String::new() } else { format!("sum_{} + ", k - 1) };
        h.add(format!("wire [{}:0] sum_{k} = {before}{wide};", bits - 1));
    }
    h.hold(format!("sum == sum_{}", lanes - 1));
    h.proof(format!("sum of {lanes} products, {lane:?}, {cells:?}, {input:?}"), Method::Combinational)
}

/// The next value of an accumulator in carry cells is the sum that it says.
pub fn of_next_sum(cells: Cells, bits: u32, addend: u32, starts: bool, carries: bool) -> Proof {
    let mut h = Harness::new(cells.next_sum(bits, addend, starts, carries));
    let start = if starts { "start".to_owned() } else { format!("{bits}'d0") };
    let carry = if carries { " + carry" } else { "" };
    h.hold(format!("next == (first ? {start} : sum) + addend{carry}"));
    h.proof(
        format!("accumulator, {cells:?}, {bits} bits, addends of {addend}, {start}{carry}"),
        Method::Combinational,
    )
}

/// The count with a register behind every `levels` levels inside is the count of the lanes as they were.
pub fn of_popcount_in_stages(lane: Lane, cells: Cells, (lanes, levels): (u32, u32), bits: u32) -> Proof {
    let mut h = Harness::new(cells.popcount(lane, lanes, bits, levels));
    let (stages, width) = (cells.stages(lane, lanes, levels), bits.min(bits_for(lanes.into())));
    let mut due = sum_of_lanes(&mut h, lane, lanes, bits);
    let mut known = "1'b1".to_owned();
    for stage in 0..stages {
        h.add(format!(
            "reg [{}:0] due_{stage}; reg known_{stage} = 1'b0;
             always @(posedge clk) if (run) begin due_{stage} <= {due}; known_{stage} <= {known}; end",
            width - 1
        ));
        (due, known) = (format!("due_{stage}"), format!("known_{stage}"));
    }
    h.hold(format!("!{known} || count == {due}"));
    let what = format!("popcount of {lanes} lanes in {stages} stages, {lane:?}, {cells:?}, {bits} bits");
    h.proof(what, Method::Bounded(2 * stages + 2))
}

/// A search finds the number of thresholds that a sum reaches, of given rows, each with whether it is decreasing.
pub fn of_search(search: ThresholdSearch, rows: &[(Vec<u64>, bool)]) -> Proof {
    let ThresholdSearch { levels, bits, .. } = search;
    let block = search.build();
    let mut b = Builder::new("search");
    let instance = b.instance("u_search", &block);
    for port in block.ports.iter().filter(|port| !port.output) {
        let net = b.input(port.name.clone(), block.width(port.net), port.role);
        b.connect(instance, &port.name, net);
    }
    for (stage, words) in search.contents(rows, (1 << bits) - 1).into_iter().enumerate() {
        let image = Arc::new(Image { file: format!("search_{stage}.mem"), words });
        let name = format!("STAGE_{stage}_FILE");
        let file = b.parameter(name.clone(), Some(image));
        b.bind(instance, &name, file);
    }
    let level = b.out(instance, "level");
    b.output("level", level, Role::Data);
    let mut h = Harness::new(inlined(&b.finish()));
    let at = if rows.len() > 1 { "at" } else { "1'b0" };
    // No sum is greater than the number that none reaches.
    h.take(format!("sum != {{{bits}{{1'b1}}}}"));
    let count = |(row, (thresholds, falls)): (usize, &(Vec<u64>, bool))| {
        let sign = if *falls { "<" } else { ">=" };
        let reached = |t: &u64| format!("{{{}'d0, sum {sign} {bits}'d{t}}}", levels);
        let terms: Vec<String> = thresholds.iter().map(reached).collect();
        format!("{at} == {row} ? {} : ", terms.join(" + "))
    };
    let counts: String = rows.iter().enumerate().map(count).collect();
    h.add(format!("wire [{levels}:0] counted = {counts}0;"));
    let starts = if search.starts() { "start" } else { "1'b1" };
    let inside = if rows.len() > 1 { format!("at < {}", rows.len()) } else { "1'b1".to_owned() };
    let latency = search.latency();
    let (mut due, mut known) = ("counted".to_owned(), format!("({starts} && {inside})"));
    for edge in 0..latency {
        h.add(format!(
            "reg [{levels}:0] due_{edge}; reg known_{edge} = 1'b0;
             always @(posedge clk) if (run) begin due_{edge} <= {due}; known_{edge} <= {known}; end"
        ));
        (due, known) = (format!("due_{edge}"), format!("known_{edge}"));
    }
    if search.starts() {
        // A search begins as many edges behind the one before it as a stage takes.
        let most = search.stages().iter().map(|stage| stage.len()).max().unwrap_or(1) as u32;
        let edges = most * (latency / levels);
        for edge in 0..edges {
            let before = if edge == 0 { "start".to_owned() } else { format!("began_{}", edge - 1) };
            h.add(format!(
                "reg began_{edge} = 1'b0; always @(posedge clk) if (run) began_{edge} <= {before};"
            ));
        }
        (0..edges - 1).for_each(|edge| h.take(format!("!(start && began_{edge})")));
    }
    h.hold(format!("!{known} || {{1'b0, level}} == {due}"));
    let kind = if search.falling { ", decreasing ones too" } else { "" };
    let what = format!(
        "search of {levels} steps in {} stages, {} rows{kind}, {} edges",
        search.stages().len(),
        rows.len(),
        latency
    );
    // Registers begin with any value, so searches before the first one are among the runs.
    h.proof(what, Method::Bounded(latency + 4))
}

/// The number of lanes that agree, lane by lane, one after another, modulo 2^`bits`.
fn sum_of_lanes(h: &mut Harness, lane: Lane, lanes: u32, bits: u32) -> String {
    let hit = |k: u32| match lane {
        Lane::Xnor => format!("(a[{k}] == w[{k}])"),
        Lane::Xor => format!("(a[{k}] != w[{k}])"),
        Lane::MaskedXnor => format!("(a[{k}] == w[{k}] && active[{k}])"),
        Lane::And => format!("(a[{k}] && w[{k}])"),
        Lane::One => format!("a[{k}]"),
        // The second lane of a pair is what its parities leave.
        Lane::Parity => {
            let (k, half) = (k / 2, k % 2);
            let parity = |k: u32| format!("t[{k}] ^ w[{}]", lanes.div_ceil(2) + k);
            let first = format!("a[{k}] ^ w[{k}]");
            match (half, k % SEGMENT) {
                (0, _) => format!("({first})"),
                (_, 0) => format!("({} ^ {first})", parity(k)),
                _ => format!("({} ^ {} ^ {first})", parity(k), parity(k - 1)),
            }
        }
    };
    h.add(format!("wire [{0}:0] sum_0 = {{{0}'d0, {1}}};", bits_for(lanes.into()), scalar(&hit(0), lanes)));
    for k in 1..lanes {
        h.add(format!(
            "wire [{}:0] sum_{k} = sum_{} + {};",
            bits_for(lanes.into()),
            k - 1,
            scalar(&hit(k), lanes)
        ));
    }
    let bits = bits.min(bits_for(lanes.into()));
    format!("sum_{}[{}:0]", lanes - 1, bits - 1)
}

/// Ports of one lane are no vectors.
fn scalar(hit: &str, lanes: u32) -> String {
    if lanes == 1 { hit.replace("[0]", "") } else { hit.to_owned() }
}
