//! Hardware of an ensemble with one fault: `check` has to find it, at the layer, frame, member and element where a model of the fault
//! says it shows.

use std::sync::Arc;

use rand::RngExt;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor::engine::compare::DifferenceKind;
use stoxnor::engine::{Conditions, Engine};
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::layer::dense::{Dense, Stochastic};
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::layer::Layer;
use stoxnor::network::{ENSEMBLE, Network};
use stoxnor::unit::folding::Folding;
use stoxnor_hdl::{Bits, Cell, Driver, Module, Net};
use stoxnor_testbenches::conformance::{chain, compared, random, random_frames};
use stoxnor_testbenches::fault::{add_cell, add_register, edit_image, edit_module};

const SIZES: [usize; 4] = [24, 12, 8, 4];
const MEMBERS: usize = 3;
const SHARE: usize = 4;
const BITS: u32 = 2;
/// Each layer has lanes of its own, so that no two share a module that a fault is put into. Two row groups in turn take the same
/// words.
const FOLDS: [Folding; 3] = [Folding::new(2, 8), Folding::new(2, 6), Folding::new(2, 4)];
/// Members of each frame.
const NOW: [u32; 9] = [3, 1, 2, 3, 1, 2, 3, 1, 2];

const FLY: [Realisation; 3] = [Realisation::Fly, Realisation::Sampled, Realisation::Fly];
const SAMPLED: [Realisation; 3] = [Realisation::Sampled, Realisation::Fly, Realisation::Sampled];

/// What passes a boundary, pass after pass.
type RowGroups = Vec<Vec<i32>>;

struct Bed {
    network: Network,
    hardware: Hardware,
    matrices: Vec<StochasticMatrix>,
    /// For each layer its activations; none for the last.
    activations: Vec<Vec<Activation>>,
    frames: Vec<Vec<i32>>,
    /// For each boundary, what truly passes.
    truth: Vec<RowGroups>,
}

/// Frame and member of every pass.
fn passes() -> Vec<(usize, usize)> {
    NOW.iter().enumerate().flat_map(|(f, n)| (0..*n as usize).map(move |m| (f, m))).collect()
}

fn bed(law: Law, realisations: [Realisation; 3]) -> Bed {
    let mut rng = random(7);
    let rounding = Rounding { law, bits: BITS, share: SHARE, seed: 5 };
    let (mut matrices, mut activations) = (vec![], vec![]);
    for (i, pair) in SIZES.windows(2).enumerate() {
        let (fan_in, rows) = (pair[0], pair[1]);
        let real = |_, _| rng.random_range(-1.1f32..=1.1);
        matrices.push(StochasticMatrix::from_fn(rounding, i as u64 + 1, (rows, fan_in), real));
        let mut own = || Activation::bipolar((0..rows).map(|_| rng.random_range(-3..=3)));
        let count = if i + 2 < SIZES.len() { MEMBERS } else { 0 };
        activations.push((0..count).map(|_| own()).collect::<Vec<_>>());
    }
    let layers = (0..3).map(|i| {
        let matrix = matrices[i].clone();
        let stochastic = Stochastic { matrix, realisation: realisations[i], members: MEMBERS };
        Arc::new(Dense::stochastic(stochastic, activations[i].clone())) as Arc<dyn Layer>
    });
    let network = chain(Port { shape: vec![SIZES[0]], element: Element::Bipolar }, layers.collect());
    let hardware = lower(&network, &FOLDS);
    let frames = random_frames(4, &network, NOW.len());
    let mut bed = Bed { network, hardware, matrices, activations, frames, truth: vec![] };
    for index in 0..3 {
        let passed = bed.layer(index, |m| bed.matrices[index].sample(m));
        bed.truth.push(passed);
    }
    let mut sums = vec![vec![0; SIZES[3]]; NOW.len()];
    for ((frame, _), outputs) in passes().iter().zip(&bed.truth[2]) {
        sums[*frame].iter_mut().zip(outputs).for_each(|(sum, y)| *sum += y);
    }
    bed.truth.push(sums);
    bed
}

impl Bed {
    /// What comes to layer `index` in a pass.
    fn input(&self, index: usize, pass: usize) -> &[i32] {
        if index == 0 { &self.frames[passes()[pass].0] } else { &self.truth[index - 1][pass] }
    }

    /// What layer `index` gives in member `m` with these weights. Hardware counts the products that are +1; twice that number less the
    /// number of weights that are not 0 is the sum. The latter is a constant of the true weights, beside the thresholds.
    fn output(&self, index: usize, m: usize, weights: &IntMatrix, x: &[i32]) -> Vec<i32> {
        let active = |row: &[i16]| row.iter().filter(|w| **w != 0).count() as i32;
        let truly = self.matrices[index].sample(m);
        (0..weights.rows())
            .map(|r| {
                let row = weights.row(r);
                let positive = row.iter().zip(x).filter(|(w, x)| i32::from(**w) * **x > 0).count() as i32;
                let sum = 2 * positive - active(truly.row(r));
                self.activations[index].get(m).map_or(sum, |activation| activation.value(r, sum))
            })
            .collect()
    }

    /// What layer `index` gives with these weights of each member.
    fn layer(&self, index: usize, weights: impl Fn(usize) -> IntMatrix) -> RowGroups {
        let pass = |(pass, (_, m)): (usize, (usize, usize))| {
            self.output(index, m, &weights(m), self.input(index, pass))
        };
        passes().into_iter().enumerate().map(pass).collect()
    }

    fn conditions() -> Conditions {
        Conditions { stall: None, members: NOW.to_vec() }
    }

    /// Demands that every engine that runs the faulty hardware is found wrong at boundary `index` in all places where `faulty` differs
    /// from the truth, and first in the first of them.
    fn must_be_found(&self, what: &str, hardware: &Hardware, index: usize, faulty: &[Vec<i32>]) {
        let truth = &self.truth[index];
        assert_eq!(faulty.len(), truth.len(), "{what}");
        let differing: Vec<(usize, usize)> = (0..truth.len())
            .flat_map(|pass| (0..truth[pass].len()).map(move |element| (pass, element)))
            .filter(|(pass, element)| faulty[*pass][*element] != truth[*pass][*element])
            .collect();
        let (pass, element) = *differing.first().expect("the fault shows in these frames");
        let name = self.network.nodes.get(index).map_or(ENSEMBLE, |n| n.name.as_str());
        let (frame, member) = if name == ENSEMBLE { (pass, 0) } else { passes()[pass] };
        for engine in [Engine::Rtl, Engine::Verilator, Engine::Icarus] {
            let context = format!("{what}, {engine}");
            let engines = [Engine::Reference, engine];
            let report = compared(&self.network, hardware, &self.frames, &engines, &Self::conditions());
            assert!(!report.equal, "{context}: nothing is seen");
            let found = report.first_difference.expect("not equal");
            assert_eq!((found.kind, found.engine), (DifferenceKind::Value, engine), "{context}");
            assert_eq!(
                (found.layer.as_str(), found.frame, found.member, found.element),
                (name, frame, member, element),
                "{context}"
            );
            assert_eq!(found.expected, Some(truth[pass][element].into()), "{context}");
            assert_eq!(found.found, Some(faulty[pass][element].into()), "{context}");
            assert_eq!(
                report.layers[index].mismatches,
                differing.len(),
                "{context}: as many as the model has"
            );
            let before = report.layers[..index].iter().all(|l| l.mismatches == 0);
            assert!(before, "{context}: what is before is right");
        }
    }
}

/// A layer's generator and rounding units as registers and steps, to put faults into.
struct Machine<'a> {
    /// What an LFSR holds after a leap of so many bits.
    leap: &'a dyn Fn(u64, u32) -> u64,
    /// What the LFSR follows in a member.
    start: &'a dyn Fn(u64, usize) -> u64,
    /// A stored number with a random one.
    draw: &'a dyn Fn(i32, u32) -> i16,
    /// At which step of a row group that repeats words the LFSR goes back.
    again: usize,
    /// Whether what is kept is behind the leap.
    kept_late: bool,
}

/// `count` bits, one by one, each the exclusive or of those so far before it.
fn serially(mut state: u64, count: u32, taps: [u32; 4]) -> u64 {
    for _ in 0..count {
        let bit = taps.iter().fold(0, |sum, tap| sum ^ state >> (tap - 1) & 1);
        state = state << 1 | bit;
    }
    state
}

fn leap(state: u64, count: u32) -> u64 {
    serially(state, count, [64, 63, 61, 60])
}

fn binary(number: i32, u: u32) -> i16 {
    if (u as i32) < number { 1 } else { -1 }
}

fn ternary(number: i32, u: u32) -> i16 {
    (number + u as i32).div_euclid(1 << BITS) as i16
}

fn right(law: Law) -> Machine<'static> {
    let draw: &dyn Fn(i32, u32) -> i16 = match law {
        Law::Binary => &binary,
        Law::Ternary => &ternary,
    };
    Machine { leap: &leap, start: &|seed, _| seed, draw, again: 0, kept_late: false }
}

impl Machine<'_> {
    fn weights(&self, matrix: &StochasticMatrix, fold: Folding, member: usize) -> IntMatrix {
        let width = fold.simd as u32 * BITS;
        let mut weights = vec![vec![0; matrix.columns()]; matrix.rows()];
        let (mut state, mut kept) = (0, 0);
        for group in 0..matrix.rows() / fold.pe {
            let fresh = (group * fold.pe).is_multiple_of(SHARE);
            for step in 0..matrix.columns() / fold.simd {
                let base = if group == 0 && step == 0 {
                    (self.start)(matrix.seed(member), member)
                } else if !fresh && step == self.again {
                    kept
                } else {
                    state
                };
                state = (self.leap)(base, width);
                if fresh && step == 0 {
                    kept = if self.kept_late { state } else { base };
                }
                for lane in 0..fold.simd {
                    let (column, below) = (step * fold.simd + lane, width - (lane as u32 + 1) * BITS);
                    let u = (state >> below) as u32 & ((1 << BITS) - 1);
                    let first = group * fold.pe;
                    for (p, row) in weights[first..first + fold.pe].iter_mut().enumerate() {
                        row[column] = (self.draw)(matrix.code(first + p, column), u);
                    }
                }
            }
        }
        IntMatrix::from_fn(matrix.rows(), matrix.columns(), |row, column| weights[row][column])
    }

    /// What layer `index` gives with such weights.
    fn outputs(&self, bed: &Bed, index: usize) -> RowGroups {
        bed.layer(index, |m| self.weights(&bed.matrices[index], FOLDS[index], m))
    }
}

fn lfsr_of(index: usize) -> String {
    format!("lfsr_{}_restoring", FOLDS[index].simd as u32 * BITS)
}

fn cells(m: &mut Module) -> impl Iterator<Item = &mut Cell> {
    m.nets.iter_mut().filter_map(|n| if let Driver::Cell(cell) = &mut n.driver { Some(cell) } else { None })
}

fn net(m: &Module, name: &str) -> Net {
    m.net(name).unwrap_or_else(|| panic!("no net is called {name}"))
}

fn register<'a>(m: &'a mut Module, name: &str) -> &'a mut stoxnor_hdl::Register {
    let q = net(m, name);
    m.registers.iter_mut().find(|r| r.q == q).expect("a register")
}

/// Puts a fault into layer 1 where that rounds as it goes, and into the same layer where it is sampled into memory.
fn in_both(what: &str, law: Law, fault: impl Fn(&Hardware) -> Hardware, machine: &Machine<'_>) {
    for realisations in [FLY, SAMPLED] {
        let bed = bed(law, realisations);
        let context = format!("{what}, {:?}", realisations[0]);
        bed.must_be_found(&context, &fault(&bed.hardware), 0, &machine.outputs(&bed, 0));
    }
}

#[test]
fn without_a_fault_nothing_is_found() {
    for law in [Law::Binary, Law::Ternary] {
        for realisations in [FLY, SAMPLED] {
            let bed = bed(law, realisations);
            for (matrix, fold) in bed.matrices.iter().zip(FOLDS) {
                (0..MEMBERS).for_each(|m| assert_eq!(right(law).weights(matrix, fold, m), matrix.sample(m)));
            }
            let reference = stoxnor::engine::reference(&bed.network, &bed.frames, &NOW);
            let truth: Vec<Vec<i32>> = bed.truth.iter().map(|passes| passes.concat()).collect();
            assert!(reference.iter().map(|b| &b.values).eq(&truth), "the model without a fault");
            let engines = match realisations[0] {
                Realisation::Fly => vec![Engine::Reference, Engine::Rtl, Engine::Verilator],
                _ => vec![Engine::Reference, Engine::Rtl, Engine::Icarus],
            };
            let report = compared(&bed.network, &bed.hardware, &bed.frames, &engines, &Bed::conditions());
            assert!(report.equal, "{:?}", report.first_difference);
        }
    }
}

#[test]
fn a_tap_in_the_wrong_place() {
    let fault = |hardware: &Hardware| {
        edit_module(hardware, &lfsr_of(0), |m| {
            let base = net(m, "base");
            let own = FOLDS[0].simd as u32 * BITS;
            let tap = cells(m).find(|c| **c == Cell::Slice(base, 61 - own)).expect("the tap");
            *tap = Cell::Slice(base, 62 - own);
        })
    };
    let machine = Machine { leap: &|state, n| serially(state, n, [64, 63, 62, 60]), ..right(Law::Binary) };
    in_both("tap 62 for 61", Law::Binary, fault, &machine);
}

#[test]
fn a_seed_with_a_wrong_bit() {
    const BIT: u32 = 17;
    for member in [1, 2] {
        let fault = |hardware: &Hardware| {
            edit_image(hardware, "l1_dense_starts.mem", |words| {
                let word = &mut words[member];
                word.set(BIT, !word.bit(BIT));
            })
        };
        let start = |seed, m| if m == member { seed ^ 1 << BIT } else { seed };
        let machine = Machine { start: &start, ..right(Law::Ternary) };
        let bed = bed(Law::Ternary, if member == 1 { FLY } else { SAMPLED });
        let what = format!("seed of member {member}");
        bed.must_be_found(&what, &fault(&bed.hardware), 0, &machine.outputs(&bed, 0));
    }
}

#[test]
fn a_leap_that_is_one_short() {
    let fault = |hardware: &Hardware| {
        edit_module(hardware, &lfsr_of(0), |m| {
            let width = FOLDS[0].simd as u32 * BITS;
            let (base, fresh) = (net(m, "base"), net(m, "fresh"));
            let fewer = add_cell(m, "fewer", width - 1, Cell::Slice(fresh, 1));
            let more = add_cell(m, "more", 64 - (width - 1), Cell::Slice(base, 0));
            let next = add_cell(m, "short", 64, Cell::Concat(vec![fewer, more]));
            register(m, "state_q").next = Some(next);
        })
    };
    let machine = Machine { leap: &|state, n| leap(state, n - 1), ..right(Law::Ternary) };
    in_both("leap one short", Law::Ternary, fault, &machine);
}

#[test]
fn rounding_that_takes_equal_for_less() {
    let fault = |hardware: &Hardware| {
        edit_module(hardware, "round_binary_8x2", |m| {
            // The lowest bit decides last: below it, equal counts as less.
            let u = net(m, "u_0");
            let not_u =
                m.nets.iter().position(|n| n.driver == Driver::Cell(Cell::Not(u))).expect("u is turned");
            let less = cells(m).find_map(|c| match c {
                Cell::And(a, p) if a.index() == not_u => Some((*a, *p, c)),
                _ => None,
            });
            let (a, p, cell) = less.expect("the lowest comparison");
            *cell = Cell::Or(a, p);
        })
    };
    let draw = |number: i32, u: u32| if u as i32 <= number { 1 } else { -1 };
    in_both("<= for <", Law::Binary, fault, &Machine { draw: &draw, ..right(Law::Binary) });
}

#[test]
fn rounding_with_a_carry_too_many() {
    let fault = |hardware: &Hardware| {
        edit_module(hardware, "round_ternary_8x2", |m| {
            let carry = net(m, "carry_0").index();
            let Driver::Cell(Cell::And(u, w)) = m.nets[carry].driver else { panic!("a half adder") };
            m.nets[carry].driver = Driver::Cell(Cell::Or(u, w));
        })
    };
    // One more; what would be 2 has an even number of active bits and so is none.
    let draw = |number: i32, u: u32| {
        let trit = (number + u as i32 + 1).div_euclid(1 << BITS);
        if trit == 2 { 0 } else { trit as i16 }
    };
    in_both("carry-in", Law::Ternary, fault, &Machine { draw: &draw, ..right(Law::Ternary) });
}

#[test]
fn a_row_group_that_goes_back_a_step_late() {
    let fault = |hardware: &Hardware| {
        edit_module(hardware, "l1_dense", |m| {
            let at = m.instances.iter().position(|i| i.name == "u_lfsr").expect("one LFSR");
            let port = |m: &Module, name: &str| {
                m.instances[at].module.ports.iter().position(|p| p.name == name).expect("a port")
            };
            let (again, enable) = (port(m, "again"), port(m, "enable"));
            let connected = |m: &Module, port: usize| m.instances[at].connections[port].expect("connected");
            let (on_time, advance) = (connected(m, again), connected(m, enable));
            let late = add_register(m, "again_late", on_time);
            register(m, "again_late").enable = Some(advance);
            m.instances[at].connections[again] = Some(late);
        })
    };
    in_both("again a step late", Law::Binary, fault, &Machine { again: 1, ..right(Law::Binary) });
}

#[test]
fn a_beginning_that_is_kept_a_leap_late() {
    let fault = |hardware: &Hardware| {
        edit_module(hardware, &lfsr_of(0), |m| {
            let next = register(m, "state_q").next;
            register(m, "kept_q").next = next;
        })
    };
    in_both("kept a leap late", Law::Ternary, fault, &Machine { kept_late: true, ..right(Law::Ternary) });
}

/// The first time it gives the right frame, again and again the other one that it holds.
#[test]
fn a_replay_buffer_that_swaps_its_halves() {
    let bed = bed(Law::Binary, FLY);
    let faulty = edit_module(&bed.hardware, "replay_d3_w8_m3", |m| {
        let half = net(m, "half_q");
        let turns = |driver: &Driver| matches!(driver, Driver::Cell(Cell::Xor(a, _)) if *a == half);
        let next_half = m.nets.iter().position(|n| turns(&n.driver)).expect("the half of the next pass");
        let wrong = add_cell(m, "wrong_half", 1, Cell::Not(half));
        let chosen = cells(m).find_map(|c| match c {
            Cell::Mux { select, .. } if select.index() == next_half => Some(select),
            _ => None,
        });
        *chosen.expect("the half is chosen") = wrong;
    });
    let other = |frame: usize| if frame + 1 < bed.frames.len() { frame + 1 } else { frame - 1 };
    let outputs: RowGroups = passes()
        .into_iter()
        .map(|(frame, m)| {
            let x = &bed.frames[if m == 0 { frame } else { other(frame) }];
            bed.output(0, m, &bed.matrices[0].sample(m), x)
        })
        .collect();
    bed.must_be_found("halves of the replay buffer", &faulty, 0, &outputs);
}

/// 3 passes become 2, 2 become 1, and where 1 is asked for, only the most that is built ends the frame.
#[test]
fn a_replay_buffer_that_gives_a_pass_too_few() {
    let bed = bed(Law::Ternary, SAMPLED);
    let faulty = edit_module(&bed.hardware, "replay_d3_w8_m3", |m| {
        let further = net(m, "further_said").index();
        let two = add_cell(m, "two", 2, Cell::Const(Bits::new(2, 2)));
        let Driver::Cell(Cell::Sub(_, one)) = &mut m.nets[further].driver else { panic!("a difference") };
        *one = two;
    });
    let given = NOW.iter().enumerate().flat_map(|(frame, n)| {
        let passes = if *n == 1 { MEMBERS } else { *n as usize - 1 };
        (0..passes).map(move |m| (frame, m))
    });
    let outputs: RowGroups =
        given.map(|(frame, m)| bed.output(0, m, &bed.matrices[0].sample(m), &bed.frames[frame])).collect();
    bed.must_be_found("a pass too few", &faulty, 0, &outputs);
}

#[test]
fn a_sum_that_does_not_begin_again() {
    let bed = bed(Law::Ternary, FLY);
    let output = bed.network.exits[0].port.element;
    let Element::Signed(bits) = output else { panic!("sums have signs") };
    let Element::Signed(summand) = bed.network.nodes[2].output.element else { panic!("sums have signs") };
    let faulty = edit_module(&bed.hardware, &format!("frame_sum_d2_2xs{summand}_b{bits}"), |m| {
        let never = add_cell(m, "never", 1, Cell::Const(Bits::zero(1)));
        register(m, "first_q").next = Some(never);
    });
    let mut sums = vec![0i32; SIZES[3]];
    let outputs: RowGroups = bed.truth[3]
        .iter()
        .map(|frame| {
            sums.iter_mut().zip(frame).for_each(|(sum, y)| *sum += y);
            sums.iter().map(|sum| output.decode(output.encode(*sum))).collect()
        })
        .collect();
    bed.must_be_found("sum without a beginning", &faulty, 3, &outputs);
}

/// It goes through all members' thresholds whatever the number of members.
#[test]
fn thresholds_that_do_not_go_back_to_the_first_member() {
    let bed = bed(Law::Binary, SAMPLED);
    let words = (MEMBERS * SIZES[1] / FOLDS[0].pe) as u64;
    let faulty = edit_module(&bed.hardware, "l1_dense", |m| {
        let at = net(m, "thresholds_at_q");
        let last = add_cell(m, "last_word", m.width(at), Cell::Const(Bits::new(m.width(at), words - 1)));
        let wraps = add_cell(m, "wraps", 1, Cell::Eq(at, last));
        let next = register(m, "thresholds_at_q").next.expect("it moves").index();
        let Driver::Cell(Cell::Mux { select, .. }) = &mut m.nets[next].driver else { panic!("a choice") };
        *select = wraps;
    });
    let outputs: RowGroups = passes()
        .into_iter()
        .enumerate()
        .map(|(pass, (_, m))| {
            let sampled = bed.matrices[0].sample(m);
            bed.output(0, pass % MEMBERS, &sampled, bed.input(0, pass))
        })
        .collect();
    bed.must_be_found("thresholds of another member", &faulty, 0, &outputs);
}

/// Every second member is read from the half of the one before, where it still is: the sampler writes behind the reader.
#[test]
fn a_sampled_layer_that_reads_one_half_only() {
    let bed = bed(Law::Ternary, SAMPLED);
    let words = (SIZES[1] / FOLDS[0].pe * SIZES[0] / FOLDS[0].simd) as u64;
    let faulty = edit_module(&bed.hardware, "l1_dense", |m| {
        let at = net(m, "read_at_q");
        let last = add_cell(m, "last_word", m.width(at), Cell::Const(Bits::new(m.width(at), words - 1)));
        let wraps = add_cell(m, "wraps", 1, Cell::Eq(at, last));
        let next = register(m, "read_at_q").next.expect("it moves").index();
        let Driver::Cell(Cell::Mux { select, .. }) = &mut m.nets[next].driver else { panic!("a choice") };
        *select = wraps;
    });
    let outputs: RowGroups = passes()
        .into_iter()
        .enumerate()
        .map(|(pass, (_, m))| {
            let (_, sampled) = passes()[pass / 2 * 2];
            bed.output(0, m, &bed.matrices[0].sample(sampled), bed.input(0, pass))
        })
        .collect();
    bed.must_be_found("one half only", &faulty, 0, &outputs);
}
