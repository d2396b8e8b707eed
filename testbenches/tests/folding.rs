//! Foldings that are found for a part, against all foldings.

use indicatif::ProgressBar;
use rayon::prelude::*;
use stoxnor::area::Area;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding};
use stoxnor::config::{Config, LayerConfig};
use stoxnor::lower::lower;
use stoxnor::network::{Network, Node};
use stoxnor::synth::estimate::Estimate;
use stoxnor::synth::fold::{Bound, Choice, Found, Goal, fold};
use stoxnor::synth::part::{Part, Room};
use stoxnor::unit::folding::{Counting, Folding};
use stoxnor_testbenches::conformance::{Effort, Sampled, conform, random_dense, random_sampled};

fn found(network: &Network, part: &Part, goal: Goal) -> Result<Found, String> {
    let mut config = Config::default();
    part.complete(&mut config).unwrap();
    fold(std::slice::from_ref(network), &config, part, goal, &ProgressBar::hidden())
        .map_err(|error| error.to_string())
}

fn folds(found: &Found) -> Vec<Folding> {
    found.layers.iter().map(|layer| layer.fold).collect()
}

/// LUTs, flip-flops and block RAMs of a layer, and its cycles a frame.
type Layer = ([u64; 3], u64);

/// Every folding of each layer of a plain network on a part.
fn all(network: &Network, part: &Part) -> Vec<Vec<Layer>> {
    let mut config = Config::default();
    part.complete(&mut config).unwrap();
    let of_layer = |(index, node): (usize, &Node)| {
        let lanes = node.layer.lanes();
        let pairs = lanes.pe.iter().flat_map(|pe| lanes.simd.iter().map(move |simd| (*pe, *simd)));
        let size = |(pe, simd)| {
            let fold = lanes.folding(&node.name, Some(pe), Some(simd), 1).unwrap();
            layer(network, index, config.completed(network, index, fold).unwrap(), part)
        };
        pairs.collect::<Vec<_>>().into_par_iter().map(size).collect()
    };
    network.nodes.iter().enumerate().map(of_layer).collect()
}

fn layer(network: &Network, index: usize, fold: Folding, part: &Part) -> Layer {
    let node = &network.nodes[index];
    let inputs = network.inputs(index);
    // Where members differ, a bit marks the last one's pass.
    let user = u32::from(network.ensemble.is_some());
    let unit = part.family.placed(&node.layer.hardware(&node.name, &inputs, fold, user));
    let cells = Area::estimate(&unit, &[], part.family).cells;
    ([cells.luts(), cells.ff, cells.ram], node.layer.schedule(&inputs, fold).interval)
}

/// The estimate of the whole network, and its interval.
fn whole(network: &Network, folds: &[Folding], part: &Part) -> (Estimate, u64) {
    let mut hardware = lower(network, folds);
    hardware.design.top = part.family.placed(&hardware.design.top);
    let members = network.ensemble.as_ref().map_or(1, |ensemble| ensemble.members);
    (Estimate::new(network, &hardware, part), hardware.plan.interval(members))
}

#[test]
fn a_rate_is_reached_with_the_fewest_luts_of_all_foldings() {
    let network = random_dense(3, &[24, 12, 8]);
    let part: &Part = "up5k".parse().unwrap();
    let all = all(&network, part);
    for cycles in [1, 6, 24, 100, 288] {
        let found = found(&network, part, Goal::Interval(cycles)).unwrap();
        assert!(found.interval_cycles <= cycles, "{} for {cycles}", found.interval_cycles);
        let fewest = |layer: &Vec<Layer>| {
            layer.iter().filter(|(_, own)| *own <= cycles).map(|([luts, ..], _)| *luts).min().unwrap()
        };
        let least: u64 = all.iter().map(fewest).sum();
        let total: u64 =
            (0..2).map(|index| layer(&network, index, found.layers[index].fold, part).0[0]).sum();
        assert_eq!(total, least, "a frame every {cycles} cycles: {:?}", found.layers);
        assert_eq!(found.luts, whole(&network, &folds(&found), part).0.estimate.luts());
        // What lies between two layers may be merged, so the whole may be smaller than its layers.
        assert_eq!(found.bound, Bound::Luts(least.min(found.luts)));
    }
}

/// The shortest interval of all pairs of foldings of two layers that leave a tenth of LUTs and flip-flops free.
fn fastest(layers: &[Vec<Layer>], room: Room) -> u64 {
    let room = [room.lut * 9 / 10, room.ff * 9 / 10, room.ram];
    let pairs = layers[0].iter().flat_map(|a| layers[1].iter().map(move |b| (a, b)));
    let fitting = pairs.filter(|((a, _), (b, _))| (0..3).all(|of| a[of] + b[of] <= room[of]));
    fitting.map(|((_, a), (_, b))| *a.max(b)).min().unwrap()
}

#[test]
fn nothing_faster_than_the_bound_fits() {
    let network = random_dense(5, &[96, 48, 10]);
    let part: &Part = "up5k".parse().unwrap();
    let found = found(&network, part, Goal::Fit).unwrap();
    let fastest = fastest(&all(&network, part), part.room);
    assert!(fastest > 1, "all lanes at once must not fit for the test to say something");
    assert_eq!(found.bound, Bound::Cycles(fastest));
    let interval = found.interval_cycles;
    assert!(interval <= 2 * fastest, "{interval} where the layers alone allow {fastest}");
}

/// A part that all lanes at once fill to the last LUT, or to the last flip-flop, has not a tenth of them free.
#[test]
fn a_tenth_of_luts_and_of_flip_flops_stays_free() {
    let network = random_dense(5, &[96, 48, 10]);
    let part: &Part = "25k".parse().unwrap();
    let layers = all(&network, part);
    let at_once = |of: usize| -> u64 { layers.iter().map(|layer| layer.last().unwrap().0[of]).sum() };
    let plenty = Room { lut: 1_000_000, ff: 1_000_000, ram: 1000 };
    for room in [plenty, Room { lut: at_once(0), ..plenty }, Room { ff: at_once(1), ..plenty }] {
        let fastest = fastest(&layers, room);
        assert_eq!(fastest == 1, room.lut + room.ff == 2_000_000);
        let found = found(&network, &Part { room, ..*part }, Goal::Fit).unwrap();
        assert_eq!(found.bound, Bound::Cycles(fastest), "{room:?}");
        let (estimate, _) = whole(&network, &folds(&found), part);
        let cells = estimate.estimate;
        assert!(cells.luts() <= room.lut * 9 / 10 && cells.ff <= room.ff * 9 / 10, "{cells:?} of {room:?}");
    }
}

#[test]
fn the_fastest_that_fits_fits_and_its_engines_agree() {
    let network = random_dense(5, &[192, 96, 10]);
    for name in ["up5k", "hx8k", "gw1n-9", "25k"] {
        let part: &Part = name.parse().unwrap();
        let found = found(&network, part, Goal::Fit).unwrap();
        let (estimate, interval) = whole(&network, &folds(&found), part);
        assert!(estimate.fits, "{name}: {estimate:?}");
        assert_eq!(interval, found.interval_cycles);
        let mut config = Config::default();
        part.complete(&mut config).unwrap();
        let (default, slower) = whole(&network, &config.foldings(&network).unwrap(), part);
        assert!(default.fits && interval < slower, "{name}: {interval} cycles, by default {slower}");
        if name == "up5k" {
            let effort = Effort { rtl: 3, verilator: 0, icarus: 0 };
            conform("the fastest in an up5k", &network, &folds(&found), effort);
        }
    }
}

/// Frames pass once for each member: the rate is that of whole frames.
#[test]
fn members_count_in_the_rate() {
    let rounding = Rounding { law: Law::Ternary, bits: 1, share: 4, seed: 3 };
    let realisations = vec![Some(Realisation::Fly)];
    let sampled = Sampled { rounding, realisations, members: 3, own_thresholds: false };
    let network = random_sampled(7, &[24, 16, 8], &sampled);
    let members = u64::from(network.ensemble.as_ref().unwrap().members);
    assert!(members > 1);
    let part: &Part = "25k".parse().unwrap();
    for passes in [1, 5, 24] {
        let cycles = passes * members + members - 1;
        let found = found(&network, part, Goal::Interval(cycles)).unwrap();
        assert_eq!(whole(&network, &folds(&found), part).1, found.interval_cycles);
        assert!(found.interval_cycles <= cycles, "{} for {cycles}", found.interval_cycles);
        assert!(found.interval_cycles * 2 > cycles || passes == 1, "as slow as the rate allows");
    }
}

#[test]
fn what_the_configuration_names_stays_and_what_cannot_be_is_said() {
    let network = random_dense(5, &[192, 96, 10]);
    let part: &Part = "up5k".parse().unwrap();
    let mut config = Config::default();
    part.complete(&mut config).unwrap();
    let name = network.nodes[0].name.clone();
    // Two lanes are the fewest for parities.
    let given = LayerConfig { pe: Some(3), form: Some(Counting::Parity), ..LayerConfig::default() };
    config.layers.insert(name, given);
    let kept =
        fold(std::slice::from_ref(&network), &config, part, Goal::Fit, &ProgressBar::hidden()).unwrap();
    assert_eq!((kept.layers[0].fold.pe, kept.layers[0].fold.form), (3, Counting::Parity));
    let error = found(&network, part, Goal::Interval(1)).unwrap_err();
    assert!(
        error.contains("no folding with a frame every 1 cycles leaves a tenth of ice40-up5k free"),
        "{error}"
    );
}

/// Each layer's weights in whichever realisation is the smallest: the fewest LUTs of all foldings in all realisations, and what comes out
/// of it is a network whose engines agree.
#[test]
fn realisations_are_searched_layer_by_layer() {
    let rounding = Rounding { law: Law::Ternary, bits: 2, share: 1, seed: 3 };
    let networks = Realisation::ALL.map(|realisation| {
        let realisations = vec![Some(realisation)];
        random_sampled(
            7,
            &[48, 32, 8],
            &Sampled { rounding, realisations, members: 4, own_thresholds: false },
        )
    });
    let part: &Part = "25k".parse().unwrap();
    let mut config = Config::default();
    part.complete(&mut config).unwrap();
    let members = u64::from(networks[0].ensemble.as_ref().unwrap().members);
    let all = networks.each_ref().map(|network| all(network, part));
    let layers = |index: usize| all.iter().flat_map(move |of| of[index].iter());
    for cycles in [400, 1600] {
        // With block RAMs to spare, then with one less than that takes: another realisation must do.
        let mut ram = 1000;
        let mut before = Vec::new();
        for _ in 0..2 {
            let scarce = Part { room: Room { ram, ..part.room }, ..*part };
            let goal = Goal::Interval(cycles);
            let found = fold(&networks, &config, &scarce, goal, &ProgressBar::hidden()).unwrap();
            let fast = |(_, own): &&Layer| *own * members <= cycles;
            let pairs = layers(0).filter(fast).flat_map(|a| layers(1).filter(fast).map(move |b| (a.0, b.0)));
            let least = pairs.filter(|(a, b)| a[2] + b[2] <= ram).map(|(a, b)| a[0] + b[0]).min().unwrap();
            let size = |(index, choice): (usize, &Choice)| {
                layer(&networks[choice.network], index, choice.fold, part).0
            };
            let sizes: Vec<[u64; 3]> = found.layers.iter().enumerate().map(size).collect();
            assert_eq!(sizes[0][0] + sizes[1][0], least, "a frame every {cycles} cycles: {:?}", found.layers);
            let mut mixed = networks[0].clone();
            for (index, choice) in found.layers.iter().enumerate() {
                mixed.nodes[index] = networks[choice.network].nodes[index].clone();
            }
            let (estimate, interval) = whole(&mixed, &folds(&found), part);
            assert_eq!(interval, found.interval_cycles);
            assert!(estimate.estimate.ram <= ram, "{:?}", estimate.estimate);
            let effort = Effort { rtl: 3, verilator: 0, icarus: 0 };
            conform("realisations that were found", &mixed, &folds(&found), effort);
            let chosen: Vec<usize> = found.layers.iter().map(|choice| choice.network).collect();
            assert_ne!(chosen, before, "with {ram} block RAMs");
            (ram, before) = (estimate.estimate.ram - 1, chosen);
        }
    }
}
