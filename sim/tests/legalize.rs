//! What legalising does to a module: other text, the same values. Here rather than beside the pass, because the rtl engine judges it.

use std::sync::Arc;

use proptest::prelude::*;
use stoxnor_hdl::{Bits, Builder, Cell, Driver, Module, Net, Role, Stream, check::check, legalize, verilog};
use stoxnor_sim::icarus::Icarus;
use stoxnor_sim::{Design, Simulator, Stimulus, StreamShape, simulate};

fn checked(module: Arc<Module>) -> Arc<Module> {
    let issues = check(&module);
    assert!(issues.is_empty(), "{}", issues.iter().map(|i| format!("{i}\n")).collect::<String>());
    module
}

fn has_popcount(module: &Module) -> bool {
    module.nets.iter().any(|n| matches!(n.driver, Driver::Cell(Cell::Popcount(_))))
}

/// `count = popcount(bits)`.
fn popcount(width: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("popcount_{width}"));
    let bits = b.input("bits", width, Role::Data);
    let count = b.popcount(bits);
    b.output("count", count, Role::Data);
    checked(b.finish())
}

fn count(simulator: &mut Simulator, bits: &Bits) -> u64 {
    let (from, to) = (simulator.port("bits").unwrap(), simulator.port("count").unwrap());
    simulator.set(from, bits);
    simulator.settle();
    simulator.get(to).to_u64().unwrap()
}

#[test]
fn expanded_popcounts_count_every_pattern_up_to_ten_bits() {
    for width in 1..=10 {
        let module = popcount(width);
        let expanded = legalize(&module);
        assert!(has_popcount(&module) && !has_popcount(&expanded));
        let (mut cell, mut tree) = (Simulator::new(&module), Simulator::new(&expanded));
        for pattern in 0..1u64 << width {
            let bits = Bits::new(width, pattern);
            let ones = u64::from(pattern.count_ones());
            assert_eq!(count(&mut cell, &bits), ones, "cell, {bits:?}");
            assert_eq!(count(&mut tree, &bits), ones, "tree, {bits:?}");
        }
    }
}

proptest! {
    #[test]
    fn expanded_popcounts_count_wide_patterns(width in 11u32..400, words in prop::collection::vec(any::<u64>(), 7)) {
        let module = popcount(width);
        let (mut cell, mut tree) = (Simulator::new(&module), Simulator::new(&legalize(&module)));
        for bits in [Bits::from_words(width, words), Bits::from_words(width, [u64::MAX; 7]), Bits::zero(width)] {
            let ones = u64::from(bits.words().iter().map(|w| w.count_ones()).sum::<u32>());
            prop_assert_eq!(count(&mut cell, &bits), ones);
            prop_assert_eq!(count(&mut tree, &bits), ones);
        }
    }
}

/// The most sums in one expression of the module's Verilog; a write holds two, its address and its data.
fn longest(module: &Arc<Module>) -> usize {
    let text = verilog::print(module, &[]);
    let expressions = text.lines().flat_map(|line| line.split("] <= "));
    expressions.map(|e| e.matches(" + ").count()).max().unwrap_or(0)
}

/// Sums of many addends, built from the left, from the right and as a tree, where wires, registers, memories and instances read them.
#[test]
fn long_expressions_are_split_wherever_they_stand() {
    let mut inner = Builder::new("inner");
    let a = inner.input("a", 6, Role::Data);
    inner.output("z", a, Role::Data);
    let inner = checked(inner.finish());
    for shape in ["left", "right", "tree"] {
        let mut b = Builder::new(format!("sums_{shape}"));
        let addends: Vec<Net> = (0..60).map(|i| b.input(format!("x{i}"), 6, Role::Data)).collect();
        let address: Vec<Net> = (0..60).map(|i| b.input(format!("c{i}"), 6, Role::Control)).collect();
        let enable = b.input("enable", 1, Role::Control);
        let sum = |b: &mut Builder, of: &[Net]| match shape {
            "left" => of.iter().copied().reduce(|sum, x| b.add(sum, x)).unwrap(),
            "right" => of.iter().rev().copied().reduce(|sum, x| b.add(x, sum)).unwrap(),
            _ => {
                let mut level = of.to_vec();
                while level.len() > 1 {
                    level = level
                        .chunks(2)
                        .map(|p| if p.len() == 2 { b.add(p[0], p[1]) } else { p[0] })
                        .collect();
                }
                level[0]
            }
        };
        let plain = sum(&mut b, &addends);
        b.output("plain", plain, Role::Data);
        let next = sum(&mut b, &addends);
        let held = b.registered("held", Some(0), enable, next);
        b.output("held", held, Role::Data);
        let given = sum(&mut b, &addends);
        let unit = b.instance("u_inner", &inner);
        b.connect(unit, "a", given);
        let passed = b.out(unit, "z");
        b.output("passed", passed, Role::Data);
        let words = b.memory("words", 6, 64, None);
        let (to, from, data) = (sum(&mut b, &address), sum(&mut b, &address), sum(&mut b, &addends));
        b.write(words, to, enable, data);
        let read = b.read(words, "read", from, enable);
        b.output("read", read, Role::Data);
        let module = checked(b.finish());
        let lines = longest(&module);
        assert!((3..=8).contains(&lines), "{shape}: {lines} operators in an expression");
        let text = verilog::print(&module, &[]);
        assert!(!text.contains("unnamed"), "{text}");

        let (mut whole, mut split) = (Simulator::new(&module), Simulator::new(&legalize(&module)));
        for round in 0..20u64 {
            for simulator in [&mut whole, &mut split] {
                for i in 0..60 {
                    let value = Bits::new(6, (round * 61 + i * i * 7) % 64);
                    for name in ["x", "c"] {
                        let port = simulator.port(&format!("{name}{i}")).unwrap();
                        simulator.set(port, &value);
                    }
                }
                let enable = simulator.port("enable").unwrap();
                simulator.set_bit(enable, round % 3 != 1);
                simulator.settle();
            }
            let expected = (0..60).map(|i| (round * 61 + i * i * 7) % 64).sum::<u64>() % 64;
            for port in ["plain", "held", "passed", "read"] {
                let value = |s: &Simulator| s.get(s.port(port).unwrap());
                assert_eq!(value(&whole), value(&split), "{shape}: {port}");
            }
            assert_eq!(whole.get(whole.port("plain").unwrap()), Bits::new(6, expected));
            whole.edge(false);
            split.edge(false);
        }
    }
}

/// Names that the passes give never meet a name that is there.
#[test]
fn given_names_keep_clear_of_others() {
    let mut b = Builder::new("crowded");
    let x = b.input("x", 9, Role::Data);
    let y = b.input("y", 9, Role::Data);
    let taken: Vec<Net> = ["count_bits", "count_l1_0", "q_d", "count_part"]
        .iter()
        .map(|name| {
            let odd = b.xor(x, y);
            b.named(*name, odd)
        })
        .collect();
    let agree = b.xnor(x, y);
    let count = b.popcount(agree);
    let count = b.named("count", count);
    let next = taken.iter().copied().reduce(|a, t| b.and(a, t)).unwrap();
    let next = b.xor(next, x);
    let q = b.register("q", 9, Some(0));
    b.next(q, next);
    b.output("z", q, Role::Data);
    b.output("n", count, Role::Data);
    let module = checked(b.finish());
    let legal = legalize(&module);
    let mut names: Vec<_> = legal.nets.iter().filter_map(|n| n.name.as_deref()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "a name was given twice");
    assert!(check(&legal).is_empty());
}

/// `^~x` is one operator in Verilog, and another one; `~~x` is none.
#[test]
fn unary_operators_in_a_row_stay_two() {
    let mut b = Builder::new("unary");
    let s = b.stream_input("s", 4, 0);
    let mut parts = Vec::new();
    for reduce in [Builder::reduce_xor, Builder::reduce_and, Builder::reduce_or, Builder::not] {
        let inverse = b.not(s.data);
        parts.push(reduce(&mut b, inverse));
        let reduced = reduce(&mut b, s.data);
        parts.push(b.not(reduced));
    }
    let data = b.concat(&parts);
    let ready = b.stream_output("m", Stream { data, valid: s.valid, last: s.last, user: None });
    b.output("s_ready", ready, Role::Control);
    let beat = b.registered("beat", Some(0), s.valid, s.last);
    b.output("beat", beat, Role::Control);
    let design = design(checked(b.finish()));
    let beats: Vec<Bits> = (0..16).map(|v| Bits::new(4, v)).collect();
    let stimulus =
        Stimulus { tap_beats: vec![16], frames: vec![vec![beats]], limit: 100, ..Stimulus::default() };
    let ours = simulate(&design, &mut Simulator::new(&design.top), &stimulus, |_, _| {}).expect("ends");
    assert_eq!(Icarus::default().simulate(&design, &stimulus).expect("Icarus runs"), ours);
}

/// One random cell: its kind, its operands by number, and a width or a position.
type Recipe = (u8, [u16; 3], u16);

/// Widths of the inputs and the cells between them and the output.
fn recipes() -> impl Strategy<Value = (Vec<u32>, Vec<Recipe>)> {
    let cell = (0u8..23, any::<[u16; 3]>(), any::<u16>());
    (prop::collection::vec(1u32..=130, 1..4), prop::collection::vec(cell, 1..40))
}

/// A net to take operands from. One that is used again, or of which bits are taken, gets a name.
struct Value {
    net: Net,
    used: bool,
    /// Some bits may go unread.
    cut: bool,
}

struct Pool {
    b: Builder,
    nets: Vec<Value>,
    names: usize,
}

impl Pool {
    fn named(&mut self, net: Net) -> Net {
        self.names += 1;
        self.b.named(format!("v{}", self.names), net)
    }

    fn take(&mut self, pick: u16, needs_name: bool) -> Net {
        let at = usize::from(pick) % self.nets.len();
        if self.nets[at].used || needs_name {
            self.nets[at].net = self.named(self.nets[at].net);
        }
        self.nets[at].used = true;
        self.nets[at].net
    }

    fn push(&mut self, net: Net) {
        self.nets.push(Value { net, used: false, cut: false });
    }

    /// An operand brought to `width`.
    fn operand(&mut self, pick: u16, width: u32) -> Net {
        let at = usize::from(pick) % self.nets.len();
        let has = self.b.width(self.nets[at].net);
        self.nets[at].cut |= has > width;
        let net = self.take(pick, has > width || has < width && pick % 2 == 1);
        if has > width {
            self.b.slice(net, u32::from(pick) % (has - width + 1), width)
        } else if pick % 2 == 1 {
            self.b.sign_extend(net, width)
        } else {
            self.b.zero_extend(net, width)
        }
    }
}

/// A stream of the inputs side by side through random cells; what no cell reads in full is in the output.
fn random_module((inputs, cells): &(Vec<u32>, Vec<Recipe>)) -> Arc<Module> {
    let mut b = Builder::new("random_cells");
    let s = b.stream_input("s", inputs.iter().sum(), 0);
    let mut p = Pool { b, nets: Vec::new(), names: 0 };
    let mut low = 0;
    for &width in inputs {
        let part = p.b.slice(s.data, low, width);
        p.push(part);
        low += width;
    }
    for &(kind, [i, j, k], number) in cells {
        let a = p.take(i, matches!(kind, 10 | 13));
        let width = p.b.width(a);
        let net = match kind {
            0 => p.b.not(a),
            1..=8 => {
                let c = p.operand(j, width);
                match kind {
                    1 => p.b.and(a, c),
                    2 => p.b.or(a, c),
                    3 => p.b.xor(a, c),
                    4 => p.b.xnor(a, c),
                    5 => p.b.add(a, c),
                    6 => p.b.sub(a, c),
                    7 => p.b.eq(a, c),
                    _ => p.b.less(a, c),
                }
            }
            9 => {
                let (select, off) = (p.operand(j, 1), p.operand(k, width));
                p.b.mux(select, a, off)
            }
            10 => {
                let at = usize::from(i) % p.nets.len();
                p.nets[at].cut = true;
                let low = u32::from(number) % width;
                p.b.slice(a, low, 1 + u32::from(j) % (width - low))
            }
            11 => {
                let c = p.take(j, false);
                let narrow = p.b.width(c) + width <= 130;
                if narrow { p.b.concat(&[a, c]) } else { p.b.mux_by_parity(a, c) }
            }
            12 => p.b.zero_extend(a, width.max(1 + u32::from(number) % 130)),
            13 => p.b.sign_extend(a, width.max(1 + u32::from(number) % 130)),
            14 => p.b.reduce_and(a),
            15 => p.b.reduce_or(a),
            16 => p.b.reduce_xor(a),
            17 => p.b.popcount(a),
            18 => {
                let c = p.b.constant(width, u64::from(number) & (u64::MAX >> (64 - width.min(64))));
                p.b.xor(a, c)
            }
            // The forms that the printer writes shorter.
            19 | 20 => {
                let c = p.operand(j, width);
                let yes = if kind == 19 { p.b.eq(a, c) } else { p.b.less(a, c) };
                p.b.not(yes)
            }
            21 => {
                let bit = p.operand(j, 1);
                let is = p.b.is(bit, u64::from(number) % 2);
                let is = if number % 3 == 0 { p.b.not(is) } else { is };
                let other = p.operand(k, width);
                p.b.mux(is, other, a)
            }
            _ => p.b.registered(&format!("r{}", p.nets.len()), Some(0), s.valid, a),
        };
        p.push(net);
    }
    let shown: Vec<u16> = (0..).zip(&p.nets).filter(|(_, v)| !v.used || v.cut).map(|(at, _)| at).collect();
    let parts: Vec<Net> = shown.into_iter().map(|at| p.take(at, false)).collect();
    let data = p.b.concat(&parts);
    let data = p.b.named("all", data);
    let ready = p.b.stream_output("m", Stream { data, valid: s.valid, last: s.last, user: None });
    p.b.output("s_ready", ready, Role::Control);
    let beat = p.b.register("beat", 1, Some(0));
    let flipped = p.b.not(beat);
    p.b.next(beat, flipped);
    p.b.output("odd", beat, Role::Control);
    checked(p.b.finish())
}

/// A concatenation would be too wide: something else that reads both.
trait Narrow {
    fn mux_by_parity(&mut self, a: Net, c: Net) -> Net;
}

impl Narrow for Builder {
    fn mux_by_parity(&mut self, a: Net, c: Net) -> Net {
        let odd = self.reduce_xor(c);
        let width = self.width(a);
        let zero = self.constant(width, 0);
        self.mux(odd, a, zero)
    }
}

fn design(top: Arc<Module>) -> Design {
    let width = |name: &str| top.width(top.port(name).unwrap().net);
    let shape = |name: &str, width| StreamShape { name: name.to_owned(), width, user: 0 };
    let (input, output) = (shape("s", width("s_data")), shape("m", width("m_data")));
    Design { top, inputs: vec![input], taps: vec![output], exits: vec![0] }
}

fn stimulus(width: u32, words: &[u64]) -> Stimulus {
    let mut beats: Vec<Bits> = words
        .iter()
        .map(|w| {
            Bits::from_words(
                width,
                (0..8).map(|i| w.wrapping_mul(0x9e37_79b9_7f4a_7c15 + 2 * i).rotate_left(17)),
            )
        })
        .collect();
    beats.extend([Bits::zero(width), Bits::from_words(width, [u64::MAX; 8]), Bits::zero(width)]);
    Stimulus { tap_beats: vec![beats.len()], frames: vec![vec![beats]], limit: 1000, ..Stimulus::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn legalised_random_modules_compute_the_same(recipe in recipes(), words in prop::collection::vec(any::<u64>(), 6)) {
        let module = random_module(&recipe);
        let legal = legalize(&module);
        prop_assert!(!has_popcount(&legal));
        let (written, printed) = (design(module), design(legal));
        let stimulus = stimulus(written.inputs[0].width, &words);
        let run = |d: &Design| simulate(d, &mut Simulator::new(&d.top), &stimulus, |_, _| {}).expect("ends");
        prop_assert_eq!(run(&written), run(&printed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// The printed text, judged by a simulator that shares nothing with ours.
    #[test]
    fn random_modules_compute_the_same_in_icarus(recipe in recipes(), words in prop::collection::vec(any::<u64>(), 6)) {
        let design = design(random_module(&recipe));
        let stimulus = stimulus(design.inputs[0].width, &words);
        let ours = simulate(&design, &mut Simulator::new(&design.top), &stimulus, |_, _| {}).expect("ends");
        let theirs = Icarus::default().simulate(&design, &stimulus).expect("Icarus runs");
        prop_assert_eq!(theirs, ours);
    }
}
