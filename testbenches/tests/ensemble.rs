//! Stochastic layers and ensembles on every engine: the same members whatever the folding, the realisation and the stalls.

use proptest::prelude::*;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding};
use stoxnor::engine::{Conditions, Engine};
use stoxnor::frame::element::Element;
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::unit::folding::Folding;
use stoxnor_hdl::Bits;
use stoxnor_sim::{Simulator, simulate};
use stoxnor_testbenches::conformance::{
    Effort, Sampled, agree, compared, default_folds, random, random_folds, random_frames, random_sampled,
    random_sampled_of,
};
use stoxnor_testbenches::runs;

const REALISATIONS: [Realisation; 3] = [Realisation::Fly, Realisation::Sampled, Realisation::Stored];
const SOFTWARE: Effort = Effort { rtl: 4, verilator: 0, icarus: 0 };

/// A network of the size of the MNIST one, 784-256-256-10.
fn large(law: Law, bits: u32, realisation: Realisation, members: usize) -> Network {
    let rounding = Rounding { law, bits, share: 16, seed: 1 };
    let sampled = Sampled { rounding, realisations: vec![Some(realisation)], members, own_thresholds: true };
    random_sampled(7, &[784, 256, 256, 10], &sampled)
}

/// Three foldings: the default one, whose rows repeat the words of others; as many PE as rows that share; and more.
fn foldings(network: &Network) -> [Vec<Folding>; 3] {
    let by_hand = |list: [(usize, usize); 3]| list.map(|(pe, simd)| Folding::new(pe, simd)).to_vec();
    [
        default_folds(network, 1024),
        by_hand([(16, 28), (16, 16), (2, 8)]),
        by_hand([(32, 16), (32, 16), (10, 16)]),
    ]
}

/// Reference, fast and rtl at three foldings, M = 1 and 3, stalled and not.
fn conforms(law: Law, bits: u32) {
    let network = large(law, bits, Realisation::Fly, 3);
    for folds in foldings(&network) {
        let hardware = lower(&network, &folds);
        let frames = random_frames(1, &network, 2);
        for stall in [None, Some(1)] {
            for members in [1, 3] {
                let conditions = Conditions { stall, members: vec![members] };
                let what = format!("{law}, {folds:?}, {conditions:?}");
                agree(&what, &network, &hardware, &frames, &conditions, SOFTWARE);
            }
        }
    }
}

#[test]
fn a_binary_network_of_real_size() {
    conforms(Law::Binary, 2);
}

#[test]
fn a_ternary_network_of_real_size() {
    conforms(Law::Ternary, 1);
}

/// All engines at three foldings, M = 1 and 3 in frames behind one another, with stalls and without.
#[test]
fn networks_of_real_size_in_the_simulators() {
    for (law, bits) in [(Law::Binary, 2), (Law::Ternary, 1)] {
        let network = large(law, bits, Realisation::Fly, 3);
        let frames = random_frames(2, &network, 2);
        for folds in foldings(&network) {
            let hardware = lower(&network, &folds);
            for stall in runs(vec![Some(1)], vec![None, Some(1)]) {
                let conditions = Conditions { stall, members: vec![1, 3] };
                let what = format!("{law}, {folds:?}, {conditions:?}");
                let engines =
                    [Engine::Reference, Engine::Fast, Engine::Rtl, Engine::Verilator, Engine::Icarus];
                let report = compared(&network, &hardware, &frames, &engines, &conditions);
                assert!(report.equal, "{what}: {:?}", report.first_difference);
            }
        }
    }
}

/// The three realisations, a small network: every engine, values and the figures of each schedule.
#[test]
fn realisations_give_the_same_members_in_every_simulator() {
    for law in [Law::Binary, Law::Ternary] {
        for bits in [1, 3] {
            let rounding = Rounding { law, bits, share: 4, seed: 9 };
            let of = |realisations: Vec<Option<Realisation>>| {
                let sampled = Sampled { rounding, realisations, members: 3, own_thresholds: true };
                random_sampled(3, &[24, 12, 8, 4], &sampled)
            };
            let folds = [(2, 8), (4, 6), (1, 4)].map(|(pe, simd)| Folding::new(pe, simd));
            let mut all = REALISATIONS.map(|r| vec![Some(r)]).to_vec();
            all.push(vec![None, Some(Realisation::Sampled), Some(Realisation::Fly)]);
            let mut sums = Vec::new();
            for realisations in all {
                let network = of(realisations.clone());
                let hardware = lower(&network, &folds);
                let frames = random_frames(5, &network, 5);
                for stall in [None, Some(2)] {
                    let conditions = Conditions { stall, members: vec![2, 3, 1] };
                    let what = format!("{rounding:?} {realisations:?} {stall:?}");
                    // The stalls of the simulators cover what happens without them.
                    let verilator = if stall.is_some() { 5 } else { runs(0, 5) };
                    let effort = Effort { rtl: 5, verilator, icarus: 2 };
                    agree(&what, &network, &hardware, &frames, &conditions, effort);
                }
                if realisations.len() == 1 {
                    // What each engine agreed with above.
                    sums.push(stoxnor::engine::sums(&network, &frames));
                }
            }
            assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "{rounding:?}");
        }
    }
}

/// Few-bit inputs and activations, some of which fall, with sampled weights: every simulator.
#[test]
fn few_bit_ensembles_in_every_simulator() {
    for (index, element) in [Element::Unsigned(2), Element::Signed(3)].into_iter().enumerate() {
        let law = [Law::Ternary, Law::Binary][index];
        let rounding = Rounding { law, bits: 1 + index as u32, share: 4, seed: 5 };
        let realisations = vec![Some(Realisation::Fly), Some(Realisation::Sampled)];
        let sampled = Sampled { rounding, realisations, members: 3, own_thresholds: true };
        let network = random_sampled_of(element, 4, &[12, 8, 8, 3], &sampled);
        let hardware = lower(&network, &[(4, 6), (2, 4), (1, 2)].map(|(pe, simd)| Folding::new(pe, simd)));
        let frames = random_frames(5, &network, 4);
        for stall in [None, Some(3)] {
            let conditions = Conditions { stall, members: vec![3, 1] };
            let effort = Effort { rtl: 4, verilator: 4, icarus: 2 };
            agree(&format!("{element}, {stall:?}"), &network, &hardware, &frames, &conditions, effort);
        }
    }
}

/// The weights themselves, read where a unit multiplies with them: at three foldings and in three realisations those of the model, in order.
#[test]
fn the_weights_in_use_are_those_of_the_model() {
    for law in [Law::Binary, Law::Ternary] {
        for bits in [1, 2, 5] {
            for realisation in REALISATIONS {
                for (pe, simd) in [(1, 4), (2, 12), (4, 3), (12, 6)] {
                    let rounding = Rounding { law, bits, share: 4, seed: 3 };
                    let realisations = vec![Some(realisation)];
                    let sampled = Sampled { rounding, realisations, members: 3, own_thresholds: false };
                    let network = random_sampled(8, &[12, 12, 2], &sampled);
                    let found = in_use(&network, Folding::new(pe, simd));
                    let layer = format!("{:?}", network.nodes[0].layer);
                    assert!(layer.contains("StochasticMatrix"), "{layer}");
                    let reals = stochastic(&network, rounding);
                    for (member, rows) in found.iter().enumerate() {
                        let wanted = reals.sample(member);
                        for (row, weights) in rows.iter().enumerate() {
                            let what = format!(
                                "{rounding:?} {realisation:?} {pe}x{simd}, member {member}, row {row}"
                            );
                            assert_eq!(weights, wanted.row(row), "{what}");
                        }
                    }
                }
            }
        }
    }
}

/// The real weights of the first layer of [`random_sampled`] again.
fn stochastic(network: &Network, rounding: Rounding) -> stoxnor::arith::stochastic::StochasticMatrix {
    use rand::RngExt;
    let mut rng = random(8);
    let fan_in = network.entry_elements();
    let rows = network.nodes[0].output.elements();
    let reals: Vec<f32> = (0..rows * fan_in).map(|_| rng.random_range(-1.2f32..=1.2)).collect();
    stoxnor::arith::stochastic::StochasticMatrix::from_fn(rounding, 1, (rows, fan_in), |r, c| {
        reals[r * fan_in + c]
    })
}

/// For each of three members and each row, the weights that the processing elements of layer 1 see in the steps of a frame.
fn in_use(network: &Network, fold: Folding) -> Vec<Vec<Vec<i16>>> {
    let folds = [fold, Folding::new(1, 1)];
    let hardware = lower(network, &folds);
    let frames = random_frames(1, network, 2);
    let conditions = Conditions { stall: Some(4), members: vec![3, 2] };
    let stimulus = stoxnor::engine::stimulus(network, &hardware, &frames, &conditions);
    let mut simulator = Simulator::new(&hardware.design.top);
    let slot = |s: &Simulator, pe: usize, port: &str| s.named(&format!("u_l1_dense.u_pe_{pe}.{port}"));
    let ternary = slot(&simulator, 0, "active").is_some();
    let enable = slot(&simulator, 0, "enable").expect("named");
    let ports: Vec<_> = (0..fold.pe)
        .map(|p| (slot(&simulator, p, "w").expect("named"), slot(&simulator, p, "active")))
        .collect();
    let mut words: Vec<Vec<Vec<i16>>> = Vec::new();
    let _ = simulate(&hardware.design, &mut simulator, &stimulus, |_, s| {
        if s.bit(enable) {
            let weight = |w: &Bits, active: &Option<Bits>, lane: u32| match active {
                Some(active) if !active.bit(lane) => 0,
                _ => {
                    if w.bit(lane) {
                        1
                    } else {
                        -1
                    }
                }
            };
            let word = ports.iter().map(|(w, active)| {
                let (w, active) = (s.get(*w), active.map(|a| s.get(a)));
                (0..fold.simd as u32).map(|lane| weight(&w, &active, lane)).collect()
            });
            words.push(word.collect());
        }
    });
    assert_eq!(ternary, network.nodes[0].layer.weights() == Some(Law::Ternary.kind()));
    let (groups, steps) = (12 / fold.pe, 12 / fold.simd);
    assert_eq!(words.len(), 5 * groups * steps, "five passes");
    // The second frame has the first two members again.
    assert_eq!(words[..2 * groups * steps], words[3 * groups * steps..]);
    (0..3)
        .map(|member| {
            (0..12)
                .map(|row| {
                    let (group, p) = (row / fold.pe, row % fold.pe);
                    let first = (member * groups + group) * steps;
                    (first..first + steps).flat_map(|at| words[at][p].clone()).collect()
                })
                .collect()
        })
        .collect()
}

/// The closed form of the interval, written out: the prefix with the input's beats, and the members times the slowest part of the loop.
#[test]
fn the_interval_is_that_of_the_prefix_or_of_all_members() {
    let rounding = Rounding { law: Law::Ternary, bits: 1, share: 4, seed: 1 };
    for (realisation, loop_cycles) in
        [(Realisation::Fly, 48), (Realisation::Stored, 48), (Realisation::Sampled, 8 * 12 + 2)]
    {
        let sampled = Sampled {
            rounding,
            realisations: vec![None, Some(realisation), Some(Realisation::Stored)],
            members: 8,
            own_thresholds: false,
        };
        let network = random_sampled(3, &[24, 12, 8, 4], &sampled);
        // The prefix takes 12 / 1 * 24 / 2 = 144 cycles a frame, the layers behind it 48 and 16, the replay 12.
        let folds = [(1, 2), (2, 1), (1, 2)].map(|(pe, simd)| Folding::new(pe, simd));
        let hardware = lower(&network, &folds);
        for members in 1..=8 {
            let measured =
                stoxnor::engine::measure(&hardware, members, &indicatif::ProgressBar::hidden()).unwrap();
            assert_eq!(
                measured.interval,
                144.max(u64::from(members) * loop_cycles),
                "{realisation:?}, {members}"
            );
            assert_eq!(
                (measured.latency, measured.interval),
                (hardware.latency(members), hardware.interval(members))
            );
        }
    }
}

/// A pass behind another at the very rate of a width converter: an empty last stage of a pipeline has to fill while the register behind it
/// is full, or the converter idles for a cycle.
#[test]
fn a_second_pass_comes_when_its_schedule_says() {
    let rounding = Rounding { law: Law::Binary, bits: 2, share: 1, seed: 1 };
    let realisations = vec![Some(Realisation::Fly)];
    let sampled = Sampled { rounding, realisations, members: 2, own_thresholds: false };
    let network = random_sampled(1, &[6, 1, 12, 1], &sampled);
    let hardware = lower(&network, &[(1, 1), (4, 1), (1, 2)].map(|(pe, simd)| Folding::new(pe, simd)));
    let measured = stoxnor::engine::measure(&hardware, 2, &indicatif::ProgressBar::hidden()).unwrap();
    assert_eq!((measured.latency, measured.interval), (hardware.latency(2), hardware.interval(2)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: runs(50, 150), ..ProptestConfig::default() })]

    /// Any chain of stochastic and other layers at any folding, members changing from frame to frame, inputs and activations of any type.
    #[test]
    fn any_ensemble_at_any_folding(
        seed: u64,
        sizes in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 6, 8, 12]), 2..5),
        law in prop::sample::select(vec![Law::Binary, Law::Ternary]),
        bits in prop::sample::select(vec![1u32, 2, 3, 8]),
        share in prop::sample::select(vec![1usize, 2, 3, 4, 64]),
        realisations in prop::collection::vec(
            prop::sample::select(vec![None, Some(Realisation::Fly), Some(Realisation::Sampled), Some(Realisation::Stored)]), 1..4),
        members in 1usize..6,
        own_thresholds: bool,
        element in prop::sample::select(vec![Element::Bipolar, Element::Unsigned(1), Element::Unsigned(3), Element::Signed(2), Element::Signed(4)]),
        now in prop::collection::vec(1u32..6, 1..4),
    ) {
        let rounding = Rounding { law, bits, share, seed };
        let sampled = Sampled { rounding, realisations, members, own_thresholds };
        let network = random_sampled_of(element, seed, &sizes, &sampled);
        let folds = random_folds(&mut random(seed ^ 1), &network);
        let hardware = lower(&network, &folds);
        let frames = random_frames(seed, &network, 4);
        let built = network.ensemble.as_ref().map_or(1, |e| e.max_members);
        let now: Vec<u32> = now.into_iter().map(|m| m.min(built)).collect();
        for stall in [None, Some(seed)] {
            let conditions = Conditions { stall, members: now.clone() };
            agree(&format!("{element} {sizes:?} {sampled:?} {folds:?} {now:?}"), &network, &hardware, &frames, &conditions, SOFTWARE);
        }
    }
}
