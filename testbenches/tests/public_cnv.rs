//! The public CNV network for CIFAR-10: its golden logits and activations, and one image on the cycle engines at the default folding.

use stoxnor::config::Config;
use stoxnor::engine::Figures;
use stoxnor::engine::{Conditions, Engine};
use stoxnor::import;
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::compared;
use stoxnor_testbenches::data::{Array, data_dir, read_npz};
use stoxnor_testbenches::graph::layers;

/// A golden array.
fn golden(name: &str) -> Array {
    let data = data_dir().expect("asked for before").join("bnn-pynq");
    read_npz(&data.join("golden_cnv_w1a1_cifar10_train50.npz"), name).unwrap()
}

/// The network, and the 50 images as integers.
fn cnv() -> Option<(Network, Vec<Vec<i32>>)> {
    let data = data_dir()?.join("bnn-pynq");
    let network = import::load(&data.join("cnv_w1a1_cifar10.onnx")).unwrap();
    let images = golden("input_u8");
    let pixels = |image: &[f64]| image.iter().map(|p| *p as f32).collect::<Vec<_>>();
    let frames = images.rows().map(|image| network.quantise(&pixels(image)).unwrap()).collect();
    Some((network, frames))
}

#[test]
fn logits_and_activations_are_the_golden_ones() {
    let Some((network, frames)) = cnv() else { return };
    let kinds: Vec<&str> = network.nodes.iter().map(|n| n.layer.kind()).collect();
    let blocks =
        ["conv", "conv", "maxpool", "conv", "conv", "maxpool", "conv", "conv", "dense", "dense", "dense"];
    assert_eq!(kinds, blocks);
    let logits = golden("logits");
    let fast = stoxnor::engine::sums(&network, &frames);
    assert_eq!(frames.len(), 50);
    for ((frame, wanted), fast) in frames.iter().zip(logits.rows()).zip(&fast) {
        let wanted: Vec<i32> = wanted.iter().map(|v| *v as i32).collect();
        assert_eq!(fast, &wanted);
        assert_eq!(layers(&network, frame).pop().unwrap(), wanted);
    }
    // Every quantised activation of two images; tensors have their channels first, streams last.
    let activated = (0..network.nodes.len() - 1).filter(|i| kinds[*i] != "maxpool");
    for (tap, layer) in activated.enumerate() {
        let wanted = golden(&format!("tap_MultiThreshold_{tap}_out0"));
        let shape = &network.nodes[layer].output.shape;
        let channels = shape[shape.len() - 1];
        for (frame, wanted) in frames.iter().zip(wanted.rows()) {
            let found = &layers(&network, frame)[layer];
            let pixels = found.len() / channels;
            let equal =
                (0..found.len()).all(|i| found[i] == wanted[i % channels * pixels + i / channels] as i32);
            assert!(equal, "activations of layer {layer}");
        }
    }
}

#[test]
fn one_image_is_exact_at_every_boundary_and_cycle() {
    let Some((network, frames)) = cnv() else { return };
    let folds = Config::default().foldings(&network).unwrap();
    let hardware = lower(&network, &folds);
    let engines = [Engine::Reference, Engine::Fast, Engine::Rtl, Engine::Verilator];
    let report = compared(&network, &hardware, &frames[..1], &engines, &Conditions::default());
    assert!(report.equal, "{:?}", report.first_difference);
    assert_eq!(report.layers.len(), 11);
    // Measured on the rtl engine's control, and what the schedules say.
    assert_eq!(report.figures.interval, 32_768);
    assert_eq!(report.figures, Figures::of_schedule(&hardware, 1));
}
