//! The bundled traffic sign network: convolutions of sampled weights, trained on GTSRB.

use std::path::Path;

use stoxnor::arith::sampling::Realisation;
use stoxnor::config::Config;
use stoxnor::engine::Figures;
use stoxnor::engine::{Conditions, Engine};
use stoxnor::import;
use stoxnor::import::options::{LayerSampling, Options, SamplingOptions};
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::unit::folding::Folding;
use stoxnor_testbenches::conformance::{compared, default_folds, random_frames};

/// The network with its members held in one way, the last layer always on the fly.
fn network(realisation: Realisation) -> Network {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/gtsrb_conv.onnx");
    let names = ["l1_conv", "l3_conv", "l5_conv", "l7_conv"];
    let said = LayerSampling { realisation: Some(realisation), ..LayerSampling::default() };
    let sampling = SamplingOptions {
        layers: names.into_iter().map(|name| (name.to_owned(), said)).collect(),
        max_members: Some(4),
        ..SamplingOptions::default()
    };
    import::load_with(&model, &Options { sampling, ..Options::default() }).unwrap()
}

const REALISATIONS: [Realisation; 3] = [Realisation::Fly, Realisation::Sampled, Realisation::Stored];

#[test]
fn it_is_four_sampled_convolutions_and_a_dense_layer() {
    let network = network(Realisation::Fly);
    let kinds: Vec<&str> = network.nodes.iter().map(|n| n.layer.kind()).collect();
    assert_eq!(kinds, ["conv", "maxpool", "conv", "maxpool", "conv", "maxpool", "conv", "dense"]);
    assert_eq!(
        (&network.entries[0].port.shape[..], network.exits[0].port.elements()),
        (&[32, 32, 3][..], 43)
    );
}

/// Two foldings of the three realisations: the same integers at every boundary, each schedule exact.
#[test]
fn realisations_and_foldings_give_the_same_members() {
    let conditions = Conditions { stall: None, members: vec![2] };
    let mut sums = Vec::new();
    for realisation in REALISATIONS {
        let network = network(realisation);
        let frames = random_frames(1, &network, 1);
        for cycles in [32_768, 9_000] {
            let hardware = lower(&network, &default_folds(&network, cycles));
            let engines = [Engine::Reference, Engine::Fast, Engine::Rtl];
            let report = compared(&network, &hardware, &frames, &engines, &conditions);
            assert!(report.equal, "{realisation:?} {cycles}: {:?}", report.first_difference);
            assert_eq!(report.figures, Figures::of_schedule(&hardware, 2), "{realisation:?} {cycles}");
        }
        sums.push(stoxnor::engine::sums(&network, &frames));
    }
    assert!(sums.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn one_image_of_one_member_in_the_simulators() {
    for realisation in REALISATIONS {
        let network = network(realisation);
        let frames = random_frames(2, &network, 1);
        let folds: Vec<Folding> = Config::default().foldings(&network).unwrap();
        let hardware = lower(&network, &folds);
        let engines = [Engine::Rtl, Engine::Verilator];
        let conditions = Conditions { stall: Some(1), members: vec![1] };
        let report = compared(&network, &hardware, &frames, &engines, &conditions);
        assert!(report.equal, "{realisation:?}: {:?}", report.first_difference);
    }
}
