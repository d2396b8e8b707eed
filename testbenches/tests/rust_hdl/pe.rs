//! The XNOR-popcount processing element, written a second time in rust-hdl: 8 lanes, sums of 12 bits.

use rand::RngExt;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use stoxnor_hdl::block::{Lane, PopcountCuts, ProcessingElement};
use stoxnor_sim::Simulator;
use stoxnor_testbenches::conformance::random;

use crate::bench;
use crate::bench::Ports;
use crate::bench::Values;

/// The kernel. Every operand has the width of the result before it is added.
#[derive(LogicBlock, Default)]
struct Kernel {
    pub clock: Signal<In, Clock>,
    pub enable: Signal<In, Bit>,
    pub first: Signal<In, Bit>,
    pub a: Signal<In, Bits<8>>,
    pub w: Signal<In, Bits<8>>,
    pub sum: Signal<Out, Bits<12>>,
    hits: Signal<Local, Bits<8>>,
    rest: Signal<Local, Bits<8>>,
    count: Signal<Local, Bits<12>>,
    total: DFF<Bits<12>>,
}

impl Logic for Kernel {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, total);
        self.hits.next = (self.a.val() & self.w.val()) | (!self.a.val() & !self.w.val());
        self.count.next = 0.into();
        self.rest.next = self.hits.val();
        for _i in 0..8 {
            self.count.next = self.count.val() + bit_cast::<12, 1>(self.rest.val().get_bits::<1>(0));
            self.rest.next = self.rest.val() >> 1;
        }
        if self.enable.val() {
            if self.first.val() {
                self.total.d.next = self.count.val();
            } else {
                self.total.d.next = self.total.q.val() + self.count.val();
            }
        }
        self.sum.next = self.total.q.val();
    }
}

stoxnor_hdl::rust_hdl_block! {
    /// Ours.
    struct Ours { enable, first, a, w, sum }
}

/// Both, with the same inputs.
#[derive(LogicBlock)]
struct Pair {
    pub clock: Signal<In, Clock>,
    pub enable: Signal<In, Bit>,
    pub first: Signal<In, Bit>,
    pub a: Signal<In, Bits<8>>,
    pub w: Signal<In, Bits<8>>,
    pub theirs: Signal<Out, Bits<12>>,
    pub sum: Signal<Out, Bits<12>>,
    kernel: Kernel,
    ours: Ours,
}

impl Logic for Pair {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, kernel, ours);
        self.kernel.enable.next = self.enable.val();
        self.kernel.first.next = self.first.val();
        self.kernel.a.next = self.a.val();
        self.kernel.w.next = self.w.val();
        self.ours.enable.next = self.enable.val().into();
        self.ours.first.next = self.first.val().into();
        self.ours.a.next = self.a.val().into();
        self.ours.w.next = self.w.val().into();
        self.theirs.next = self.kernel.sum.val();
        self.sum.next = self.ours.sum.val().into();
    }
}

const TAKES: &Ports = &[("enable", 1), ("first", 1), ("a", 8), ("w", 8)];
const CYCLES: usize = 5000;

/// Rows of some steps, then rows so long that the sum goes round; the first step starts one.
fn inputs() -> Vec<Values> {
    let mut rng = random(11);
    let mut cycle = |index: usize| {
        let row = if index < CYCLES / 2 { 12 } else { 2000 };
        let (enable, first) = (rng.random_bool(0.75), rng.random_ratio(1, row));
        let (enable, first) = (enable || index == 0, first || index == 0);
        let mut byte = || stoxnor_hdl::Bits::new(8, rng.random_range(0..256));
        vec![enable.into(), first.into(), byte(), byte()]
    };
    (0..CYCLES).map(&mut cycle).collect()
}

#[test]
fn the_processing_element_is_what_rust_hdl_makes_of_it() {
    let module = ProcessingElement {
        lane: Lane::Xnor,
        simd: 8,
        input: &[1],
        weights: &[1],
        bits: 12,
        accumulates: true,
        present: None,
        starts: false,
        cuts: PopcountCuts::default(),
    }
    .build();
    let pair = || {
        let mut pair = Pair {
            clock: Signal::default(),
            enable: Signal::default(),
            first: Signal::default(),
            a: Signal::default(),
            w: Signal::default(),
            theirs: Signal::default(),
            sum: Signal::default(),
            kernel: Kernel::default(),
            ours: Ours::new(&module, Simulator::new(&module)).unwrap(),
        };
        pair.connect_all();
        pair
    };
    let inputs = inputs();
    let simulated = bench::rust_hdl(
        pair(),
        &inputs,
        |pair, level| pair.clock.next = level.into(),
        |pair, values| {
            pair.enable.next = values[0].clone().into();
            pair.first.next = values[1].clone().into();
            pair.a.next = values[2].clone().into();
            pair.w.next = values[3].clone().into();
        },
        |pair| vec![pair.theirs.val().into(), pair.sum.val().into()],
    );
    let theirs: Vec<Values> = simulated.iter().map(|values| values[..1].to_vec()).collect();
    let ours: Vec<Values> = simulated.iter().map(|values| values[1..].to_vec()).collect();
    let round = theirs.windows(2).filter(|pair| pair[1][0] < pair[0][0]).count();
    assert!(round > 100, "sums end or go round {round} times");
    bench::same("kernel and block in rust-hdl", &theirs, &ours);
    bench::same("rust-hdl and our engine", &theirs, &bench::rtl(&module, &inputs, TAKES, &[("sum", 12)]));
    let verilog = generate_verilog(&pair());
    let printed = bench::icarus(&verilog, &[], &inputs, TAKES, &[("theirs", 12), ("sum", 12)]);
    bench::same("rust-hdl and Verilog of both", &bench::known(&simulated), &printed);
}
