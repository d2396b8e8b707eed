//! Foldings that are found for a part, against all foldings.

use indicatif::ProgressBar;
use stoxnor::area::Area;
use stoxnor::config::{Config, LayerConfig};
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::synth::estimate::Estimate;
use stoxnor::synth::fold::{Found, Goal, fold};
use stoxnor::synth::part::Part;
use stoxnor::unit::folding::{Counting, Folding};
use stoxnor_testbenches::conformance::{Effort, conform, random_dense};

fn found(network: &Network, part: &'static Part, goal: Goal) -> Result<Found, String> {
    let mut config = Config::default();
    part.complete(&mut config).unwrap();
    fold(network, &config, part, goal, &ProgressBar::hidden()).map_err(|error| error.to_string())
}

/// LUTs and flip-flops of a layer, and its cycles a frame.
fn layer(network: &Network, index: usize, fold: Folding, part: &Part) -> (u64, u64) {
    let node = &network.nodes[index];
    let inputs = network.inputs(index);
    let unit = part.family.placed(&node.layer.hardware(&node.name, &inputs, fold, 0));
    let cells = Area::estimate(&unit, &[], part.family).cells;
    (cells.luts(), node.layer.schedule(&inputs, fold).interval)
}

#[test]
fn a_rate_is_reached_with_the_fewest_luts_of_all_foldings() {
    let network = random_dense(3, &[24, 12, 8]);
    let part: &Part = "up5k".parse().unwrap();
    let mut config = Config::default();
    part.complete(&mut config).unwrap();
    for cycles in [1, 6, 24, 100, 288] {
        let found = found(&network, part, Goal::Interval(cycles)).unwrap();
        assert!(found.interval_cycles <= cycles, "{} for {cycles}", found.interval_cycles);
        let total: u64 = (0..2).map(|index| layer(&network, index, found.folds[index], part).0).sum();
        let mut least = 0;
        for (index, node) in network.nodes.iter().enumerate() {
            let lanes = node.layer.lanes();
            let pairs = lanes.pe.iter().flat_map(|pe| lanes.simd.iter().map(move |simd| (*pe, *simd)));
            let all = pairs.map(|(pe, simd)| {
                let fold = lanes.folding(&node.name, Some(pe), Some(simd), 1).unwrap();
                layer(&network, index, config.completed(&network, index, fold).unwrap(), part)
            });
            least += all.filter(|(_, own)| *own <= cycles).map(|(luts, _)| luts).min().unwrap();
        }
        assert_eq!(total, least, "a frame every {cycles} cycles: {:?}", found.folds);
    }
}

#[test]
fn the_fastest_that_fits_fits_and_its_engines_agree() {
    let network = random_dense(5, &[192, 96, 10]);
    let mut before = u64::MAX;
    for name in ["up5k", "hx8k", "gw1n-9", "25k"] {
        let part: &Part = name.parse().unwrap();
        let found = found(&network, part, Goal::Fit).unwrap();
        let mut hardware = lower(&network, &found.folds);
        hardware.design.top = part.family.placed(&hardware.design.top);
        let estimate = Estimate::new(&network, &hardware, part);
        assert!(estimate.fits, "{name}: {estimate:?}");
        assert_eq!(hardware.plan.interval(1), found.interval_cycles);
        assert!(found.bound_cycles <= found.interval_cycles && found.interval_cycles <= 1024);
        assert!(name == "gw1n-9" || found.interval_cycles <= before, "{name} is larger than the part before");
        before = found.interval_cycles;
        if name == "up5k" {
            let effort = Effort { rtl: 3, verilator: 0, icarus: 0 };
            conform("the fastest in an up5k", &network, &found.folds, effort);
        }
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
    let kept = fold(&network, &config, part, Goal::Fit, &ProgressBar::hidden()).unwrap();
    assert_eq!((kept.folds[0].pe, kept.folds[0].form), (3, Counting::Parity));
    let error = found(&network, part, Goal::Interval(1)).unwrap_err();
    assert!(error.contains("no folding with a frame every 1 cycles fits ice40-up5k"), "{error}");
}
