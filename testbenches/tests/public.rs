//! The public TFC network on every engine.

use stoxnor::engine;
use stoxnor::engine::Engine;
use stoxnor::import;
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::{Effort, agree, default_folds};
use stoxnor_testbenches::data::{data_dir, read_idx, read_npz};

fn first_maximum(values: &[f32]) -> usize {
    (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).expect("classes")
}

fn tfc() -> Option<(Network, Vec<Vec<i32>>)> {
    let data = data_dir()?;
    let network = import::load(&data.join("qonnx-zoo/TFC_1W1A.onnx")).unwrap();
    let (_, pixels) = read_idx(&data.join("mnist/t10k-images-idx3-ubyte.gz")).unwrap();
    let quantise = |image: &[u8]| {
        let frame: Vec<f32> = image.iter().map(|&p| f32::from(p) / 255.0).collect();
        network.quantise(&frame).unwrap()
    };
    let frames = pixels.chunks(784).map(quantise).collect();
    Some((network, frames))
}

#[test]
fn the_fast_engine_gives_the_golden_predictions_and_integers() {
    let Some((network, frames)) = tfc() else { return };
    let data = data_dir().expect("it was there");
    let golden = |name: &str| read_npz(&data.join("goldens/golden_TFC_1W1A_mnist.npz"), name).unwrap();
    let (_, labels) = read_idx(&data.join("mnist/t10k-labels-idx1-ubyte.gz")).unwrap();
    let sums = engine::sums(&network, &frames);
    let (integers, predictions) = (golden("int_last_matmul"), golden("pred_all10000"));
    for (found, wanted) in sums.iter().zip(integers.rows()) {
        assert!(found.iter().zip(wanted).all(|(f, w)| f64::from(*f) == *w), "{found:?} {wanted:?}");
    }
    let mut correct = 0;
    for ((sums, predicted), label) in sums.iter().zip(&predictions.values).zip(labels) {
        let wide: Vec<i64> = sums.iter().map(|s| i64::from(*s)).collect();
        let class = first_maximum(&network.finish(&wide, 1).unwrap());
        assert_eq!(class as f64, *predicted);
        correct += usize::from(class == usize::from(label));
    }
    assert_eq!((sums.len(), correct), (10_000, 9_296));
}

/// Every beat of every layer boundary, and every cycle, at three foldings, without stalls and with three stall seeds.
#[test]
fn every_engine_agrees_at_three_foldings_and_under_stalls() {
    let Some((network, frames)) = tfc() else { return };
    const EFFORT: Effort = Effort { rtl: 20, verilator: 4, icarus: 1 };
    for cycles in [1024, 6000, 64] {
        let folds = default_folds(&network, cycles);
        let hardware = lower(&network, &folds);
        for stall in [None, Some(1), Some(2), Some(3)] {
            agree(
                &format!("{folds:?}, stall {stall:?}"),
                &network,
                &hardware,
                &frames[..20],
                &engine::Conditions::stalled(stall),
                EFFORT,
            );
        }
    }
}

/// The two public forms of one network give the same integers at every layer boundary.
#[test]
fn both_forms_are_one_network() {
    let Some((brevitas, frames)) = tfc() else { return };
    let data = data_dir().expect("it was there");
    let finn = import::load(&data.join("finn-tfc-w1a1/model.onnx")).unwrap();
    let hidden = indicatif::ProgressBar::hidden();
    let folds = default_folds(&brevitas, 1024);
    let run = |network: &Network| {
        let hardware = lower(network, &folds);
        engine::run(Engine::Fast, network, &hardware, &frames, &engine::Conditions::default(), &hidden)
            .unwrap()
    };
    assert_eq!(run(&brevitas), run(&finn));
}
