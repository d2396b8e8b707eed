//! Stochastic layers and ensembles on every engine: the same members whatever the folding, the realisation and the stalls.

use proptest::prelude::*;
use stoxnor::arith::stochastic::{Law, Rounding};
use stoxnor::engine::Conditions;
use stoxnor::matrix::Realisation;
use stoxnor_testbenches::conformance::{
    Effort, Sampled, agree, random, random_folds, random_frames, random_sampled,
};

const SOFTWARE: Effort = Effort { rtl: 4, verilator: 0, icarus: 0 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Any chain of stochastic and other layers at any folding, members changing from frame to frame.
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
        now in prop::collection::vec(1u32..6, 1..4),
    ) {
        let rounding = Rounding { law, bits, share, seed };
        let sampled = Sampled { rounding, realisations, members, own_thresholds };
        let network = random_sampled(seed, &sizes, &sampled);
        let folds = random_folds(&mut random(seed ^ 1), &network);
        let hardware = stoxnor::lower::lower(&network, &folds);
        let frames = random_frames(seed, &network, 4);
        let built = network.ensemble.as_ref().map_or(1, |e| e.max_members);
        let now: Vec<u32> = now.into_iter().map(|m| m.min(built)).collect();
        for stall in [None, Some(seed)] {
            let conditions = Conditions { stall, members: now.clone() };
            agree(&format!("{sizes:?} {sampled:?} {folds:?} {now:?}"), &network, &hardware, &frames, &conditions, SOFTWARE);
        }
    }
}
