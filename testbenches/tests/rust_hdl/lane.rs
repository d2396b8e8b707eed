//! The stochastic rounding lane, written a second time in rust-hdl: the LFSR, bit after bit, and what four lanes of two random bits
//! round to, each by its definition.

use rand::RngExt;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use stoxnor_hdl::block::{RoundingLane, lfsr};
use stoxnor_hdl::{Builder, Role};
use stoxnor_sim::Simulator;
use stoxnor_testbenches::conformance::random;

use crate::bench;
use crate::bench::Ports;
use crate::bench::Values;

/// u < P.
#[derive(LogicBlock, Default)]
struct Binary {
    pub u: Signal<In, Bits<2>>,
    pub p: Signal<In, Bits<3>>,
    pub w: Signal<Out, Bit>,
}

impl Logic for Binary {
    #[hdl_gen]
    fn update(&mut self) {
        self.w.next = bit_cast::<3, 2>(self.u.val()) < self.p.val();
    }
}

/// floor((W + u) / 4), W in two's complement: both are extended to five bits, then added.
#[derive(LogicBlock, Default)]
struct Ternary {
    pub u: Signal<In, Bits<2>>,
    pub number: Signal<In, Bits<4>>,
    pub w: Signal<Out, Bit>,
    pub active: Signal<Out, Bit>,
    wide: Signal<Local, Bits<5>>,
    sum: Signal<Local, Bits<5>>,
    trit: Signal<Local, Bits<3>>,
}

impl Logic for Ternary {
    #[hdl_gen]
    fn update(&mut self) {
        self.wide.next =
            bit_cast::<5, 4>(self.number.val()) | (bit_cast::<5, 1>(self.number.val().get_bits::<1>(3)) << 4);
        self.sum.next = self.wide.val() + bit_cast::<5, 2>(self.u.val());
        self.trit.next = self.sum.val().get_bits::<3>(2);
        self.active.next = self.trit.val().any();
        self.w.next = !self.number.val().get_bit(3);
    }
}

/// b[t] = b[t-64] ^ b[t-63] ^ b[t-61] ^ b[t-60], eight times an edge.
#[derive(LogicBlock, Default)]
struct Lfsr {
    pub clock: Signal<In, Clock>,
    pub enable: Signal<In, Bit>,
    pub load: Signal<In, Bit>,
    pub start: Signal<In, Bits<64>>,
    pub words: Signal<Out, Bits<8>>,
    fresh: Signal<Local, Bits<64>>,
    last: Signal<Local, Bits<64>>,
    state: DFF<Bits<64>>,
}

impl Logic for Lfsr {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, state);
        self.last.next = self.state.q.val();
        if self.load.val() {
            self.last.next = self.start.val();
        }
        for _i in 0..8 {
            self.fresh.next = bit_cast::<64, 1>(self.last.val().get_bits::<1>(63))
                ^ bit_cast::<64, 1>(self.last.val().get_bits::<1>(62))
                ^ bit_cast::<64, 1>(self.last.val().get_bits::<1>(60))
                ^ bit_cast::<64, 1>(self.last.val().get_bits::<1>(59));
            self.last.next = (self.last.val() << 1) | self.fresh.val();
        }
        if self.enable.val() {
            self.state.d.next = self.last.val();
        }
        self.words.next = self.state.q.val().get_bits::<8>(0);
    }
}

/// The kernel: lane l takes two bits of the words, the first lane the first ones; bit j of its number is bit 4 j + l of the code.
#[derive(LogicBlock, Default)]
struct Kernel {
    pub clock: Signal<In, Clock>,
    pub enable: Signal<In, Bit>,
    pub load: Signal<In, Bit>,
    pub start: Signal<In, Bits<64>>,
    pub binary: Signal<In, Bits<12>>,
    pub ternary: Signal<In, Bits<16>>,
    pub words: Signal<Out, Bits<8>>,
    pub binary_w: Signal<Out, Bits<4>>,
    pub ternary_w: Signal<Out, Bits<4>>,
    pub active: Signal<Out, Bits<4>>,
    lfsr: Lfsr,
    binary_rest: Signal<Local, Bits<12>>,
    ternary_rest: Signal<Local, Bits<16>>,
    bit: Signal<Local, Bits<1>>,
    binaries: [Binary; 4],
    ternaries: [Ternary; 4],
}

impl Logic for Kernel {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, lfsr);
        self.lfsr.enable.next = self.enable.val();
        self.lfsr.load.next = self.load.val();
        self.lfsr.start.next = self.start.val();
        self.words.next = self.lfsr.words.val();
        // A cast in a loop may not depend on the loop's variable, so the codes move along, and bits are copied.
        self.binary_rest.next = self.binary.val();
        self.ternary_rest.next = self.ternary.val();
        for i in 0..4 {
            self.binaries[i].u.next = self.lfsr.words.val().get_bits::<2>(6 - 2 * i);
            self.binaries[i].p.next = bit_cast::<3, 1>(self.binary_rest.val().get_bits::<1>(0))
                | (bit_cast::<3, 1>(self.binary_rest.val().get_bits::<1>(4)) << 1)
                | (bit_cast::<3, 1>(self.binary_rest.val().get_bits::<1>(8)) << 2);
            self.binary_rest.next = self.binary_rest.val() >> 1;
            self.ternaries[i].u.next = self.lfsr.words.val().get_bits::<2>(6 - 2 * i);
            self.ternaries[i].number.next = bit_cast::<4, 1>(self.ternary_rest.val().get_bits::<1>(0))
                | (bit_cast::<4, 1>(self.ternary_rest.val().get_bits::<1>(4)) << 1)
                | (bit_cast::<4, 1>(self.ternary_rest.val().get_bits::<1>(8)) << 2)
                | (bit_cast::<4, 1>(self.ternary_rest.val().get_bits::<1>(12)) << 3);
            self.ternary_rest.next = self.ternary_rest.val() >> 1;
        }
        self.binary_w.next = 0.into();
        self.ternary_w.next = 0.into();
        self.active.next = 0.into();
        for i in 0..4 {
            self.bit.next = self.binaries[3 - i].w.val().into();
            self.binary_w.next = (self.binary_w.val() << 1) | bit_cast::<4, 1>(self.bit.val());
            self.bit.next = self.ternaries[3 - i].w.val().into();
            self.ternary_w.next = (self.ternary_w.val() << 1) | bit_cast::<4, 1>(self.bit.val());
            self.bit.next = self.ternaries[3 - i].active.val().into();
            self.active.next = (self.active.val() << 1) | bit_cast::<4, 1>(self.bit.val());
        }
    }
}

stoxnor_hdl::rust_hdl_block! {
    /// Ours.
    struct Ours { enable, load, start, binary, ternary, words, binary_w, ternary_w, active }
}

/// Our three blocks in one module.
fn ours() -> std::sync::Arc<stoxnor_hdl::Module> {
    let mut b = Builder::new("lanes");
    let source = b.instance("u_lfsr", &lfsr(8, false));
    for (name, width, role) in
        [("enable", 1, Role::Control), ("load", 1, Role::Control), ("start", 64, Role::Data)]
    {
        let net = b.input(name, width, role);
        b.connect(source, name, net);
    }
    let words = b.out(source, "words");
    b.output("words", words, Role::Data);
    for (name, lane) in [("binary", RoundingLane::Binary), ("ternary", RoundingLane::Ternary)] {
        let code = b.input(name, 4 * lane.code_bits(2), Role::Data);
        let unit = b.instance(&format!("u_{name}"), &lane.build(4, 2));
        b.connect(unit, "words", words);
        b.connect(unit, "code", code);
        let w = b.out(unit, "w");
        b.output(format!("{name}_w"), w, Role::Data);
        if lane == RoundingLane::Ternary {
            let active = b.out(unit, "active");
            b.output("active", active, Role::Data);
        }
    }
    b.finish()
}

/// Both, with the same inputs; what they give, side by side.
#[derive(LogicBlock)]
struct Pair {
    pub clock: Signal<In, Clock>,
    pub enable: Signal<In, Bit>,
    pub load: Signal<In, Bit>,
    pub start: Signal<In, Bits<64>>,
    pub binary: Signal<In, Bits<12>>,
    pub ternary: Signal<In, Bits<16>>,
    pub their_words: Signal<Out, Bits<8>>,
    pub their_binary_w: Signal<Out, Bits<4>>,
    pub their_ternary_w: Signal<Out, Bits<4>>,
    pub their_active: Signal<Out, Bits<4>>,
    pub words: Signal<Out, Bits<8>>,
    pub binary_w: Signal<Out, Bits<4>>,
    pub ternary_w: Signal<Out, Bits<4>>,
    pub active: Signal<Out, Bits<4>>,
    kernel: Kernel,
    ours: Ours,
}

impl Logic for Pair {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, kernel, ours);
        self.kernel.enable.next = self.enable.val();
        self.kernel.load.next = self.load.val();
        self.kernel.start.next = self.start.val();
        self.kernel.binary.next = self.binary.val();
        self.kernel.ternary.next = self.ternary.val();
        self.ours.enable.next = self.enable.val().into();
        self.ours.load.next = self.load.val().into();
        self.ours.start.next = self.start.val().into();
        self.ours.binary.next = self.binary.val().into();
        self.ours.ternary.next = self.ternary.val().into();
        self.their_words.next = self.kernel.words.val();
        self.their_binary_w.next = self.kernel.binary_w.val();
        self.their_ternary_w.next = self.kernel.ternary_w.val();
        self.their_active.next = self.kernel.active.val();
        self.words.next = self.ours.words.val().into();
        self.binary_w.next = self.ours.binary_w.val().into();
        self.ternary_w.next = self.ours.ternary_w.val().into();
        self.active.next = self.ours.active.val().into();
    }
}

impl Pair {
    fn new() -> Self {
        let module = ours();
        let mut pair = Self {
            clock: Signal::default(),
            enable: Signal::default(),
            load: Signal::default(),
            start: Signal::default(),
            binary: Signal::default(),
            ternary: Signal::default(),
            their_words: Signal::default(),
            their_binary_w: Signal::default(),
            their_ternary_w: Signal::default(),
            their_active: Signal::default(),
            words: Signal::default(),
            binary_w: Signal::default(),
            ternary_w: Signal::default(),
            active: Signal::default(),
            kernel: Kernel::default(),
            ours: Ours::new(&module, Simulator::new(&module)).unwrap(),
        };
        pair.connect_all();
        pair
    }
}

const TAKES: &Ports = &[("enable", 1), ("load", 1), ("start", 64), ("binary", 12), ("ternary", 16)];
const OURS: &Ports = &[("words", 8), ("binary_w", 4), ("ternary_w", 4), ("active", 4)];
const THEIRS: &Ports =
    &[("their_words", 8), ("their_binary_w", 4), ("their_ternary_w", 4), ("their_active", 4)];
const CYCLES: usize = 3000;

/// A load in the first cycle and rarely after it; numbers that a lane may hold, both ends among them.
fn inputs() -> Vec<Values> {
    let mut rng = random(12);
    let mut cycle = |index: usize| {
        let enable = rng.random_bool(0.75) || index == 0;
        let load = rng.random_ratio(1, 100) || index == 0;
        let start = stoxnor_hdl::Bits::new(64, rng.random());
        let mut code = |lane: RoundingLane, least: i32| {
            let mut code = stoxnor_hdl::Bits::zero(4 * lane.code_bits(2));
            for l in 0..4 {
                let number = lane.code(2, rng.random_range(least..=4));
                (0..lane.code_bits(2)).for_each(|j| code.set(4 * j + l, number >> j & 1 == 1));
            }
            code
        };
        let (binary, ternary) = (code(RoundingLane::Binary, 0), code(RoundingLane::Ternary, -4));
        vec![enable.into(), load.into(), start, binary, ternary]
    };
    (0..CYCLES).map(&mut cycle).collect()
}

#[test]
fn the_rounding_lanes_are_what_rust_hdl_makes_of_them() {
    let inputs = inputs();
    let simulated = bench::rust_hdl(
        Pair::new(),
        &inputs,
        |pair, level| pair.clock.next = level.into(),
        |pair, values| {
            pair.enable.next = values[0].clone().into();
            pair.load.next = values[1].clone().into();
            pair.start.next = values[2].clone().into();
            pair.binary.next = values[3].clone().into();
            pair.ternary.next = values[4].clone().into();
        },
        |pair| {
            vec![
                pair.their_words.val().into(),
                pair.their_binary_w.val().into(),
                pair.their_ternary_w.val().into(),
                pair.their_active.val().into(),
                pair.words.val().into(),
                pair.binary_w.val().into(),
                pair.ternary_w.val().into(),
                pair.active.val().into(),
            ]
        },
    );
    let theirs: Vec<Values> = simulated.iter().map(|values| values[..4].to_vec()).collect();
    let ours: Vec<Values> = simulated.iter().map(|values| values[4..].to_vec()).collect();
    bench::same("kernel and blocks in rust-hdl", &theirs, &ours);
    bench::same("rust-hdl and our engine", &theirs, &bench::rtl(&self::ours(), &inputs, TAKES, OURS));
    let verilog = generate_verilog(&Pair::new());
    let printed = bench::icarus(&verilog, &[], &inputs, TAKES, &[THEIRS, OURS].concat());
    bench::same("rust-hdl and Verilog of both", &bench::known(&simulated), &printed);
}
