//! Every layer kind and many networks on every engine.

use std::sync::Arc;

use proptest::prelude::*;
use rand::RngExt;
use rayon::prelude::*;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::engine::Conditions;
use stoxnor::engine::Figures;
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::layer::KINDS;
use stoxnor::layer::dense::Dense;
use stoxnor::unit::folding::{Comparing, Counting, Cuts, Folding, Lanes, Roms};
use stoxnor_hdl::verilog;
use stoxnor_testbenches::conformance::{
    Effort, agree, conform, default_folds, folds_to, last_lanes, random, random_dense, random_few_bit,
    random_folds, random_frames, single,
};
use stoxnor_testbenches::runs;

const ALL: Effort = Effort { rtl: 20, verilator: 4, icarus: 1 };
const SOFTWARE: Effort = Effort { rtl: 6, verilator: 0, icarus: 0 };

/// A folding with registers and a form that change from turn to turn: all of them in twenty turns.
fn registered(turn: usize, pe: usize, simd: usize) -> Folding {
    let (cuts, form) =
        (Cuts::ALL[turn % Cuts::ALL.len()], Counting::ALL[turn / Cuts::ALL.len() % Counting::ALL.len()]);
    let roms = if form == Counting::Carry { Roms::Ecp5 } else { Roms::Inferred };
    Folding { cuts, form, roms, ..Folding::new(pe, simd) }
}

/// The ways in which a layer can compare with its thresholds.
fn comparisons(lanes: &Lanes) -> &'static [Comparing] {
    if lanes.thresholds > 1 { &Comparing::ALL } else { &[Comparing::Parallel] }
}

#[test]
fn every_kind_meets_the_demands_at_every_folding() {
    for kind in KINDS {
        for (index, (port, layer)) in (kind.samples)().into_iter().enumerate() {
            let network = single(port, layer);
            let lanes = last_lanes(&network);
            let mut turn = index;
            for &pe in &lanes.pe {
                for &simd in &lanes.simd {
                    let comparisons = comparisons(&lanes);
                    // Registers and forms take turns; each meets both comparisons.
                    let thresholds = comparisons[turn / 3 % comparisons.len()];
                    let fold = Folding { thresholds, ..registered(turn, pe, simd) };
                    let folds = folds_to(&network, fold);
                    conform(&format!("{} sample {index}", kind.name), &network, &folds, SOFTWARE);
                    turn += 1;
                }
            }
        }
    }
}

/// Rows of running parities that are wider than a segment, with and without a last lane of its own, for one bit plane and several.
#[test]
fn wide_rows_of_running_parities() {
    for (fan_in, element) in
        [(2 * 3 * 33, Element::Bipolar), (130, Element::Bipolar), (99, Element::Signed(3))]
    {
        let mut rng = random(fan_in as u64);
        let weights = IntMatrix::from_fn(6, fan_in, |_, _| if rng.random() { 1 } else { -1 });
        let network =
            single(vec![Port { shape: vec![fan_in], element }], Arc::new(Dense::new(weights, None)));
        let frames = random_frames(5, &network, 4);
        for simd in last_lanes(&network).simd.into_iter().filter(|simd| *simd > 31) {
            for cuts in Cuts::ALL {
                let fold = Folding { cuts, form: Counting::Parity, ..Folding::new(3, simd) };
                let hardware = stoxnor::lower::lower(&network, &[fold]);
                let effort = Effort { rtl: 4, verilator: 0, icarus: usize::from(cuts == Cuts::Trees) };
                agree(&format!("{fold:?}"), &network, &hardware, &frames, &Conditions::default(), effort);
            }
        }
    }
}

/// Weights and thresholds in block RAMs of ECP5, of one bank and of two, in front of units of every form.
#[test]
fn block_rams_of_ecp5_serve_every_form() {
    // 576 words of 4 bits, and 16,900 words of a bit.
    for (sizes, simd, banked) in [([64, 36], 4, false), ([130, 130], 1, true)] {
        let network = random_dense(4, &sizes);
        for (index, form) in Counting::ALL.into_iter().enumerate() {
            // Each form meets one of the two in each size, where not all are asked for.
            let both = [Cuts::Words, Cuts::Levels];
            let own = both[usize::from(index.is_multiple_of(2) == banked)];
            for cuts in runs(vec![own], both.to_vec()) {
                let fold = Folding { cuts, form, roms: Roms::Ecp5, ..Folding::new(1, simd) };
                let text: String = verilog::files(&stoxnor::lower::lower(&network, &[fold]).design.top, &[])
                    .into_iter()
                    .map(|f| f.text)
                    .collect();
                assert!(text.contains("DP16KD #("), "{fold:?}: no block RAM");
                assert_eq!(text.contains("bank_read"), banked, "{fold:?}: banks");
                let (most, least) =
                    (Effort { rtl: 3, verilator: 1, icarus: 1 }, Effort { rtl: 2, verilator: 0, icarus: 1 });
                let effort = if form == Counting::Classical { most } else { least };
                conform(&format!("{fold:?}"), &network, &[fold], effort);
            }
        }
    }
}

#[test]
fn small_networks_serial_and_parallel_in_every_simulator() {
    let network = random_dense(5, &[12, 8, 6, 4]);
    let serial = vec![Folding::new(1, 1); 3];
    conform("serial", &network, &serial, ALL);
    let parallel: Vec<Folding> = network
        .nodes
        .iter()
        .map(|n| {
            let lanes = n.layer.lanes();
            Folding::new(lanes.rows, lanes.fan_in)
        })
        .collect();
    conform("parallel", &network, &parallel, ALL);
}

/// The example of the FIFO rule: 64 x 64 at PE 1, SIMD 8 is 512 cycles, twice.
#[test]
fn two_equal_layers_never_idle() {
    let network = random_dense(1, &[64, 64, 64]);
    let hardware = stoxnor::lower::lower(&network, &[Folding::new(1, 8); 2]);
    let measured = stoxnor::engine::measure(&hardware, 1, &indicatif::ProgressBar::hidden()).unwrap();
    assert_eq!(measured.interval, 512);
    assert_eq!(measured, Figures::of_schedule(&hardware, 1));
}

#[test]
fn a_network_of_the_public_size_at_three_foldings() {
    let network = random_dense(2, &[784, 64, 64, 64, 10]);
    for cycles in [1024, 5000, 100] {
        let folds = default_folds(&network, cycles);
        let hardware = stoxnor::lower::lower(&network, &folds);
        let frames = random_frames(1, &network, 4);
        agree(&format!("{cycles} cycles"), &network, &hardware, &frames, &Conditions::default(), SOFTWARE);
    }
}

/// Layers of binary, ternary and few-bit weights on inputs and activations of every type, in every simulator.
#[test]
fn few_bit_networks_in_every_simulator() {
    for seed in 0..runs(3, 8) {
        let network = random_few_bit(seed, &[12, 8, 6, 4]);
        let folds = random_folds(&mut random(seed + 100), &network);
        let hardware = stoxnor::lower::lower(&network, &folds);
        let frames = random_frames(seed, &network, ALL.rtl);
        for stall in [None, Some(seed)] {
            agree(
                &format!("seed {seed}, folds {folds:?}"),
                &network,
                &hardware,
                &frames,
                &Conditions::stalled(stall),
                ALL,
            );
        }
    }
}

/// Inputs that drive every row's sum to the ends of its range: a sum one bit too narrow would wrap here. All engines.
#[test]
fn sums_hold_the_ends_of_their_range() {
    let mut rng = random(11);
    for (index, input) in [Element::Bipolar, Element::Unsigned(3), Element::Signed(4), Element::Signed(16)]
        .into_iter()
        .enumerate()
    {
        for most in [1i16, 1, 7, 127] {
            let binary = index % 2 == 0 && most == 1;
            let weights = IntMatrix::from_fn(6, 12, |_, _| match rng.random_range(-most..=most) {
                0 if binary => 1,
                w => w,
            });
            let (least, end) = input.range();
            let drive = |row: usize, up: bool| -> Vec<i32> {
                let at = |w: &i16| if (*w > 0) == up { end as i32 } else { least as i32 };
                weights.row(row).iter().map(at).collect()
            };
            let frames: Vec<Vec<i32>> = (0..6).flat_map(|r| [drive(r, true), drive(r, false)]).collect();
            let layer = Dense::new(weights.clone(), None);
            let (low, high) = layer.sum_range(input);
            let sums: Vec<i64> = frames
                .iter()
                .flat_map(|f| layer.product().sums(f, 0..layer.product().rows(), 0))
                .map(i64::from)
                .collect();
            assert_eq!(
                (sums.iter().min(), sums.iter().max()),
                (Some(&low), Some(&high)),
                "the ends are reached"
            );
            let network = single(vec![Port { shape: vec![12], element: input }], Arc::new(layer));
            for (fold, icarus) in [(Folding::new(1, 3), 12), (Folding::new(6, 12), 0)] {
                let hardware = stoxnor::lower::lower(&network, &[fold]);
                let effort = Effort { rtl: 12, verilator: 0, icarus };
                agree(
                    &format!("{input}, weights to {most}, {fold:?}"),
                    &network,
                    &hardware,
                    &frames,
                    &Conditions::default(),
                    effort,
                );
            }
        }
    }
}

/// The samples of every kind at one folding in the simulators: each form of a processing element and of an activation. Icarus runs all of
/// them, Verilator a share.
#[test]
fn every_kind_in_every_simulator() {
    let samples = KINDS.iter().flat_map(|kind| (kind.samples)().into_iter().map(move |s| (kind.name, s)));
    samples.enumerate().collect::<Vec<_>>().into_par_iter().for_each(|(index, (kind, (port, layer)))| {
        let network = single(port, layer);
        let lanes = last_lanes(&network);
        let middle = |list: &[usize]| list[list.len() / 2];
        let folds = folds_to(&network, registered(index, middle(&lanes.pe), middle(&lanes.simd)));
        let hardware = stoxnor::lower::lower(&network, &folds);
        let frames = random_frames(3, &network, 6);
        // Registers change from sample to sample, in fours: of each third sample, all of them meet Verilator.
        let verilator = if index.is_multiple_of(runs(3, 1)) { ALL.verilator } else { 0 };
        let effort = Effort { verilator, ..ALL };
        agree(
            &format!("{kind}, sample {index} of all, {folds:?}"),
            &network,
            &hardware,
            &frames,
            &Conditions::default(),
            effort,
        );
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: runs(20, 60), ..ProptestConfig::default() })]

    /// Any chain at any folding: all engines agree under stalls, and the closed form of latency and interval is exact.
    #[test]
    fn any_chain_at_any_folding(seed: u64, sizes in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 6, 8, 12, 16, 24]), 2..5)) {
        let network = random_dense(seed, &sizes);
        let folds = random_folds(&mut random(seed ^ 1), &network);
        let hardware = stoxnor::lower::lower(&network, &folds);
        let frames = random_frames(seed, &network, 6);
        for stall in [None, Some(seed)] {
            agree(&format!("{sizes:?} {folds:?}"), &network, &hardware, &frames, &Conditions::stalled(stall), SOFTWARE);
        }
    }
    /// The same with weights and activations of any kind.
    #[test]
    fn any_few_bit_chain_at_any_folding(seed: u64, sizes in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 6, 8, 12]), 2..5)) {
        let network = random_few_bit(seed, &sizes);
        let folds = random_folds(&mut random(seed ^ 1), &network);
        let hardware = stoxnor::lower::lower(&network, &folds);
        let frames = random_frames(seed, &network, 5);
        for stall in [None, Some(seed)] {
            agree(&format!("{sizes:?} {folds:?}"), &network, &hardware, &frames, &Conditions::stalled(stall), SOFTWARE);
        }
    }
}
