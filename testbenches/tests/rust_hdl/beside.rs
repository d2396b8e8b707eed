//! An accelerator beside widgets written in rust-hdl: simulated together there, and emitted as one design.
//!
//! The guide's chapter shows parts of this file; a test below holds it to that.

use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use stoxnor::engine::{frames_to_beats, sums};
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::unit::folding::Folding;
use stoxnor_hdl::block::{fifo, stream_register};
use stoxnor_hdl::rust_hdl::{Generated, Unfit};
use stoxnor_sim::Simulator;
use stoxnor_testbenches::conformance::random_dense;

use crate::bench;
use crate::bench::Values;

stoxnor_hdl::rust_hdl_block! {
    /// Accelerators without user bits, whatever their widths are.
    pub struct Accelerator { s_data, s_valid, s_ready, s_last, m_data, m_valid, m_ready, m_last }
}

/// Makes frames of four beats of three bits, with gaps.
#[derive(LogicBlock, Default)]
struct Source {
    pub clock: Signal<In, Clock>,
    pub reset: Signal<In, Bit>,
    pub ready: Signal<In, Bit>,
    pub data: Signal<Out, Bits<3>>,
    pub valid: Signal<Out, Bit>,
    pub last: Signal<Out, Bit>,
    offered: Signal<Local, Bit>,
    state: DFF<Bits<8>>,
    beat: DFF<Bits<2>>,
}

impl Logic for Source {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, state, beat);
        self.offered.next =
            !self.reset.val() & (self.state.q.val().get_bit(4) | self.state.q.val().get_bit(2));
        self.data.next = self.state.q.val().get_bits::<3>(5);
        self.valid.next = self.offered.val();
        self.last.next = self.beat.q.val() == 3;
        if !self.offered.val() | self.ready.val() {
            self.state.d.next = (self.state.q.val() << 2) + self.state.q.val() + 3;
        }
        if self.offered.val() & self.ready.val() {
            self.beat.d.next = self.beat.q.val() + 1;
        }
    }
}

/// Takes three beats of four and keeps a checksum of them.
#[derive(LogicBlock, Default)]
struct Sink {
    pub clock: Signal<In, Clock>,
    pub data: Signal<In, Bits<4>>,
    pub valid: Signal<In, Bit>,
    pub ready: Signal<Out, Bit>,
    pub checksum: Signal<Out, Bits<16>>,
    open: Signal<Local, Bit>,
    cycle: DFF<Bits<2>>,
    sum: DFF<Bits<16>>,
}

impl Logic for Sink {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, cycle, sum);
        self.cycle.d.next = self.cycle.q.val() + 1;
        self.open.next = self.cycle.q.val().any();
        self.ready.next = self.open.val();
        if self.valid.val() & self.open.val() {
            self.sum.d.next = ((self.sum.q.val() << 1)
                | bit_cast::<16, 1>(self.sum.q.val().get_bits::<1>(15)))
                ^ bit_cast::<16, 4>(self.data.val());
        }
        self.checksum.next = self.sum.q.val();
    }
}

/// All of it.
#[derive(LogicBlock)]
struct System {
    pub clock: Signal<In, Clock>,
    pub reset: Signal<In, Bit>,
    pub checksum: Signal<Out, Bits<16>>,
    source: Source,
    accelerator: Accelerator,
    sink: Sink,
}

impl Logic for System {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, source, accelerator, sink);
        self.source.reset.next = self.reset.val();
        self.accelerator.reset.next = self.reset.val();
        self.accelerator.s_data.next = self.source.data.val().into();
        self.accelerator.s_valid.next = self.source.valid.val().into();
        self.accelerator.s_last.next = self.source.last.val().into();
        self.source.ready.next = self.accelerator.s_ready.val().into();
        self.sink.data.next = self.accelerator.m_data.val().into();
        self.sink.valid.next = self.accelerator.m_valid.val().into();
        self.accelerator.m_ready.next = self.sink.ready.val().into();
        self.checksum.next = self.sink.checksum.val();
    }
}

fn network() -> Network {
    random_dense(3, &[12, 4, 2])
}

fn system(folds: &[Folding]) -> Result<System, Unfit> {
    let module = lower(&network(), folds).design.top;
    let mut system = System {
        clock: Signal::default(),
        reset: Signal::default(),
        checksum: Signal::default(),
        source: Source::default(),
        accelerator: Accelerator::new(&module, Simulator::new(&module))?,
        sink: Sink::default(),
    };
    system.connect_all();
    Ok(system)
}

const FOLDS: [Folding; 2] = [Folding::new(2, 3), Folding::new(1, 2)];

#[test]
fn an_accelerator_works_beside_widgets_of_rust_hdl() {
    let cycles = 1500;
    let reset = |cycle: usize| cycle < 3;
    let inputs: Vec<Values> = (0..cycles).map(|cycle| vec![reset(cycle).into()]).collect();
    let trace = bench::rust_hdl(
        system(&FOLDS).unwrap(),
        &inputs,
        |system, level| system.clock.next = level.into(),
        |system, values| system.reset.next = values[0].clone().into(),
        |system| {
            let a = &system.accelerator;
            let ports = [&a.s_data, &a.s_valid, &a.s_ready, &a.s_last, &a.m_data, &a.m_valid, &a.m_ready];
            let ports = ports.map(stoxnor_hdl::rust_hdl::Port::val).to_vec();
            [vec![system.checksum.val().into()], ports].concat()
        },
    );
    // What went in and what came out, beat by beat.
    let (mut beats, mut frame, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for values in &trace[3..] {
        let bit = |index: usize| values[index].bit(0);
        if bit(2) && bit(3) {
            let data = values[1].clone();
            frame.extend((0..3).map(|i| if data.bit(i) { 1 } else { -1 }));
            if bit(4) {
                beats.push(std::mem::take(&mut frame));
            }
        }
        if bit(6) && bit(7) {
            results.push(values[5].clone());
        }
    }
    let network = network();
    let wanted = frames_to_beats(&sums(&network, &beats), 1, network.exits[0].port.element).concat();
    assert!(results.len() > 150, "{} beats", results.len());
    assert_eq!(results[..], wanted[..results.len()]);
    // The same in one file of Verilog.
    let system = system(&FOLDS).unwrap();
    let verilog = generate_verilog(&system);
    let images = system.accelerator.core().images();
    assert_eq!(images[0].name, "conformance_top_conformance_l1_dense_weights.mem");
    let printed = bench::icarus(&verilog, &images, &inputs, &[("reset", 1)], &[("checksum", 16)]);
    let checksums: Vec<Values> = trace.iter().map(|values| values[..1].to_vec()).collect();
    bench::same("rust-hdl and Verilog", &bench::known(&checksums), &printed);
    assert_ne!(checksums[cycles - 1], checksums[cycles / 2]);
}

stoxnor_hdl::rust_hdl_block! {
    /// A FIFO.
    struct Fifo { s_data, s_valid, s_ready, s_last, m_data, m_valid, m_ready, m_last }
}

/// A FIFO one level down: clock and data arrive a step of the simulation later than at its neighbours.
#[derive(LogicBlock)]
struct Deep {
    pub clock: Signal<In, Clock>,
    pub reset: Signal<In, Bit>,
    pub s_data: Signal<In, Bits<70>>,
    pub s_valid: Signal<In, Bit>,
    pub s_last: Signal<In, Bit>,
    pub m_ready: Signal<In, Bit>,
    pub s_ready: Signal<Out, Bit>,
    pub m_data: Signal<Out, Bits<70>>,
    pub m_valid: Signal<Out, Bit>,
    pub m_last: Signal<Out, Bit>,
    queue: Fifo,
}

impl Logic for Deep {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, queue);
        self.queue.reset.next = self.reset.val();
        self.queue.s_data.next = self.s_data.val().into();
        self.queue.s_valid.next = self.s_valid.val().into();
        self.queue.s_last.next = self.s_last.val().into();
        self.queue.m_ready.next = self.m_ready.val().into();
        self.s_ready.next = self.queue.s_ready.val().into();
        self.m_data.next = self.queue.m_data.val().into();
        self.m_valid.next = self.queue.m_valid.val().into();
        self.m_last.next = self.queue.m_last.val().into();
    }
}

/// A FIFO between two units of one module, which have numbered ports.
#[derive(LogicBlock)]
struct Chain {
    pub clock: Signal<In, Clock>,
    pub reset: Signal<In, Bit>,
    pub s_data: Signal<In, Bits<70>>,
    pub s_valid: Signal<In, Bit>,
    pub s_last: Signal<In, Bit>,
    pub m_ready: Signal<In, Bit>,
    pub s_ready: Signal<Out, Bit>,
    pub m_data: Signal<Out, Bits<70>>,
    pub m_valid: Signal<Out, Bit>,
    pub m_last: Signal<Out, Bit>,
    front: Generated,
    deep: Deep,
    back: Generated,
}

impl Logic for Chain {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, front, deep, back);
        self.front.reset.next = self.reset.val();
        self.deep.reset.next = self.reset.val();
        self.back.reset.next = self.reset.val();
        // The ports in their order: s_data, s_valid, s_ready, s_last, m_data, m_valid, m_ready, m_last.
        self.front.port[0].next = self.s_data.val().into();
        self.front.port[1].next = self.s_valid.val().into();
        self.front.port[3].next = self.s_last.val().into();
        self.s_ready.next = self.front.port[2].val().into();
        self.deep.s_data.next = self.front.port[4].val().into();
        self.deep.s_valid.next = self.front.port[5].val().into();
        self.deep.s_last.next = self.front.port[7].val().into();
        self.front.port[6].next = self.deep.s_ready.val().into();
        self.back.port[0].next = self.deep.m_data.val().into();
        self.back.port[1].next = self.deep.m_valid.val().into();
        self.back.port[3].next = self.deep.m_last.val().into();
        self.deep.m_ready.next = self.back.port[2].val().into();
        self.m_data.next = self.back.port[4].val().into();
        self.m_valid.next = self.back.port[5].val().into();
        self.m_last.next = self.back.port[7].val().into();
        self.back.port[6].next = self.m_ready.val().into();
    }
}

#[test]
fn units_that_share_modules_are_one_design() {
    let queue = fifo(4, 70, 0);
    let chain = || {
        let unit = |module| Generated::new(&module, Simulator::new(&module)).unwrap();
        let mut chain = Chain {
            clock: Signal::default(),
            reset: Signal::default(),
            s_data: Signal::default(),
            s_valid: Signal::default(),
            s_last: Signal::default(),
            m_ready: Signal::default(),
            s_ready: Signal::default(),
            m_data: Signal::default(),
            m_valid: Signal::default(),
            m_last: Signal::default(),
            front: unit(stream_register(70, 0)),
            deep: Deep {
                clock: Signal::default(),
                reset: Signal::default(),
                s_data: Signal::default(),
                s_valid: Signal::default(),
                s_last: Signal::default(),
                m_ready: Signal::default(),
                s_ready: Signal::default(),
                m_data: Signal::default(),
                m_valid: Signal::default(),
                m_last: Signal::default(),
                queue: Fifo::new(&queue, Simulator::new(&queue)).unwrap(),
            },
            back: unit(stream_register(70, 0)),
        };
        chain.connect_all();
        chain
    };
    let mut rng = stoxnor_testbenches::conformance::random(13);
    let mut cycle = |index: usize| {
        use rand::RngExt;
        let data = stoxnor_hdl::Bits::from_words(70, [rng.random(), rng.random()]);
        let mut often = || stoxnor_hdl::Bits::from(rng.random_bool(0.6));
        vec![(index < 3).into(), data, often(), often(), often()]
    };
    let inputs: Vec<Values> = (0..1500).map(&mut cycle).collect();
    let trace = bench::rust_hdl(
        chain(),
        &inputs,
        |chain, level| chain.clock.next = level.into(),
        |chain, values| {
            chain.reset.next = values[0].clone().into();
            chain.s_data.next = values[1].clone().into();
            chain.s_valid.next = values[2].clone().into();
            chain.s_last.next = values[3].clone().into();
            chain.m_ready.next = values[4].clone().into();
        },
        |chain| {
            vec![
                chain.s_ready.val().into(),
                chain.m_valid.val().into(),
                chain.m_last.val().into(),
                chain.m_data.val().into(),
            ]
        },
    );
    // A FIFO's data is not known before its first beat, so the rest is compared with Icarus, and data where it is valid.
    let takes = [("reset", 1), ("s_data", 70), ("s_valid", 1), ("s_last", 1), ("m_ready", 1)];
    let gives = [("s_ready", 1), ("m_valid", 1), ("m_last", 1), ("m_data", 70)];
    let printed = bench::icarus(&generate_verilog(&chain()), &[], &inputs, &takes, &gives);
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    for (cycle, (values, printed)) in trace.iter().zip(&printed).enumerate().skip(3) {
        let known: Vec<_> = values.iter().cloned().map(Some).collect();
        assert_eq!(known[..2], printed[..2], "cycle {cycle}");
        if values[0].bit(0) && inputs[cycle][2].bit(0) {
            sent.push((inputs[cycle][1].clone(), inputs[cycle][3].clone()));
        }
        if values[1].bit(0) {
            assert_eq!(known, *printed, "cycle {cycle}");
            if inputs[cycle][4].bit(0) {
                received.push((values[3].clone(), values[2].clone()));
            }
        }
    }
    assert!(received.len() > 400, "{} beats", received.len());
    assert_eq!(received[..], sent[..received.len()]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let module = stream_register(4, 0);
    let engine = || Simulator::new(&module);
    stoxnor_hdl::rust_hdl_block! { struct Less { s_data, s_valid, s_ready, s_last, m_data, m_valid, m_ready } }
    stoxnor_hdl::rust_hdl_block! {
        struct More { s_data, s_valid, s_ready, s_last, m_data, m_valid, m_ready, m_last, m_user }
    }
    assert_eq!(Less::new(&module, engine()).unwrap_err(), Unfit::PortLeftOut("m_last".to_owned()));
    assert_eq!(More::new(&module, engine()).unwrap_err(), Unfit::NoSuchPort("m_user".to_owned()));
    let block = Generated::new(&module, engine()).unwrap();
    assert_eq!(block.index("m_ready"), Some(6));
    // rom's image comes from an instance.
    let rom = stoxnor_hdl::block::rom(4, 4);
    assert!(matches!(Generated::new(&rom, Simulator::new(&rom)), Err(Unfit::NoImage(_))));
}

/// Another width than the kernel says is found when a value goes through, before anything is emitted.
#[test]
#[should_panic(expected = "port s_data has 6 bits and was given 3")]
fn another_width_is_found() {
    let mut system = system(&[Folding::new(2, 6), Folding::new(1, 2)]).unwrap();
    system.update_all();
}

/// What the guide shows is what is tested here.
#[test]
fn the_guide_shows_this_file() {
    let guide = include_str!("../../../src/guide/rust_hdl.md");
    let blocks: Vec<&str> =
        guide.split("```rust,ignore\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 4);
    for block in blocks {
        assert!(include_str!("beside.rs").contains(block), "not in this file:\n{block}");
    }
}
