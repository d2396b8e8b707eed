//! The importer on the public models.

use prost::Message;
use stoxnor::graph::tensor::{Data, Tensor};
use stoxnor::import;
use stoxnor::network::Network;
use stoxnor_testbenches::data::{Array, data_dir, read_idx, read_npy, read_npz};
use stoxnor_testbenches::graph::{equals_float_graph, layers, run};
use stoxnor_testbenches::onnx::{Model, ValueInfo};

#[test]
fn tfc_in_brevitas_form_equals_the_goldens() {
    let Some(data) = data_dir() else { return };
    let network = import::load(&data.join("qonnx-zoo/TFC_1W1A.onnx")).unwrap();
    assert_eq!(network.name, "tfc_1w1a");
    assert_eq!(network.sha256, "e875070d9b8af1ff55923ab03c7ed9dd8787d387cb3274872fe5fc6a2905b2db");
    let (_, pixels) = read_idx(&data.join("mnist/t10k-images-idx3-ubyte.gz")).unwrap();
    let (_, labels) = read_idx(&data.join("mnist/t10k-labels-idx1-ubyte.gz")).unwrap();
    let golden = |name: &str| read_npz(&data.join("goldens/golden_TFC_1W1A_mnist.npz"), name).unwrap();
    let frames: Vec<Vec<f32>> =
        pixels.chunks(784).map(|image| image.iter().map(|&p| f32::from(p) / 255.0).collect()).collect();

    let integers = golden("int_last_matmul");
    let logits = golden("logits");
    let predictions = golden("pred_all10000");
    let mut correct = 0;
    for (i, frame) in frames.iter().enumerate() {
        let (sums, output) = run(&network, frame);
        let class = first_maximum(&output);
        assert_eq!(class as f64, predictions.values[i], "image {i}");
        correct += usize::from(class == usize::from(labels[i]));
        if i < 200 {
            assert_eq!(sums, integers.values[10 * i..][..10].iter().map(|&v| v as i32).collect::<Vec<_>>());
            close(&output, &logits.values[10 * i..][..10]);
        }
    }
    assert_eq!((frames.len(), correct), (10_000, 9_296));
    let model = std::fs::read(data.join("qonnx-zoo/TFC_1W1A.onnx")).unwrap();
    taps(&model, &network, &frames[..4], golden);
}

fn close(found: &[f32], wanted: &[f64]) {
    for (f, w) in found.iter().zip(wanted) {
        assert!((f64::from(*f) - w).abs() <= 1e-5 * w.abs().max(1e-3), "{found:?} {wanted:?}");
    }
}

/// `model` with `tensor` as its output.
fn cut(model: &[u8], tensor: &str) -> Vec<u8> {
    let mut model = Model::decode(model).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.outputs = vec![ValueInfo { name: tensor.into(), kind: None }];
    model.encode_to_vec()
}

/// The 2-D tensors of the float graph for some images, layer by layer.
fn taps(model: &[u8], network: &Network, frames: &[Vec<f32>], golden: impl Fn(&str) -> Array) {
    let inputs: Vec<Vec<i32>> = frames.iter().map(|f| network.quantise(f).unwrap()).collect();
    let all: Vec<Vec<Vec<i32>>> = inputs.iter().map(|x| layers(network, x)).collect();
    let quantised = [
        "tap_03_BipolarQuant_37",
        "tap_06_BipolarQuant_45",
        "tap_09_BipolarQuant_53",
        "tap_12_BipolarQuant_61",
    ];
    for (depth, name) in quantised.iter().enumerate() {
        for (i, wanted) in golden(name).rows().enumerate() {
            let found = if depth == 0 { &inputs[i] } else { &all[i][depth - 1] };
            assert!(found.iter().zip(wanted).all(|(f, w)| f64::from(*f) == *w), "{name}, image {i}");
        }
    }
    // Cut behind a hidden layer's product, or its normalisation, the model gives that layer's integers, or the float
    // tensor made of them.
    for (tensor, name) in [
        ("42", "tap_04_MatMul_42"),
        ("43", "tap_05_BatchNormalization_43"),
        ("50", "tap_07_MatMul_50"),
        ("51", "tap_08_BatchNormalization_51"),
        ("58", "tap_10_MatMul_58"),
        ("59", "tap_11_BatchNormalization_59"),
    ] {
        let network = import::read("cut", &cut(model, tensor)).unwrap();
        for (frame, wanted) in frames.iter().zip(golden(name).rows()) {
            let (sums, output) = run(&network, frame);
            // Normalised values near 0 are differences of larger numbers: the error is relative to those.
            let largest = wanted.iter().fold(0f64, |m, w| m.max(w.abs()));
            assert!(
                output.iter().zip(wanted).all(|(f, w)| (f64::from(*f) - w).abs() <= 1e-6 * largest),
                "{name}"
            );
            if name.contains("MatMul") {
                assert!(sums.iter().zip(wanted).all(|(s, w)| f64::from(*s) == *w), "{name}");
            }
        }
    }
    let host = ["tap_14_Sub_67", "tap_15_Div_72", "tap_16_Mul_73", "tap_17_Add_74"];
    assert_eq!(network.outputs[0].tail.steps().len(), host.len());
    for (i, wanted) in golden(host[3]).rows().enumerate() {
        let sums: Vec<i64> = all[i][3].iter().map(|&s| s.into()).collect();
        close(&network.finish(&sums, 1).unwrap(), wanted);
    }
}

#[test]
fn tfc_in_finn_form_equals_its_expected_output() {
    let Some(data) = data_dir() else { return };
    let path = data.join("finn-tfc-w1a1/model.onnx");
    let network = import::load(&path).unwrap();
    let graph = import::float_graph(&std::fs::read(path).unwrap()).unwrap();
    let images = read_npy(&data.join("finn-tfc-w1a1/input.npy")).unwrap();
    let expected = read_npy(&data.join("finn-tfc-w1a1/expected_output.npy")).unwrap();
    assert_eq!(expected.values, [7.0, 2.0, 1.0, 0.0]);
    for (i, image) in images.rows().enumerate() {
        let frame: Vec<f32> = image.iter().map(|&v| v as f32).collect();
        let (sums, output) = run(&network, &frame);
        assert_eq!(output, [expected.values[i] as f32]);
        assert!(equals_float_graph(&network, &graph, &frame));
        if i == 0 {
            assert_eq!(sums, [-2, -4, 0, -2, -2, -4, -20, 52, -12, 0]);
        }
    }
    let brevitas = import::load(&data.join("qonnx-zoo/TFC_1W1A.onnx")).unwrap();
    // The same weights: at every layer boundary the two are equal on images of any kind.
    let (_, pixels) = read_idx(&data.join("mnist/t10k-images-idx3-ubyte.gz")).unwrap();
    for image in pixels.chunks(784).take(500) {
        let frame: Vec<f32> = image.iter().map(|&p| p.into()).collect();
        let scaled: Vec<f32> = frame.iter().map(|p| p / 255.0).collect();
        let (x, y) = (network.quantise(&frame).unwrap(), brevitas.quantise(&scaled).unwrap());
        assert!(x == y && layers(&network, &x) == layers(&brevitas, &y));
    }
}

#[test]
fn a_convolutional_model_as_a_float_graph_equals_its_golden_logits() {
    let Some(data) = data_dir().map(|d| d.join("bnn-pynq")) else { return };
    let graph = import::float_graph(&std::fs::read(data.join("cnv_w1a1_cifar10.onnx")).unwrap()).unwrap();
    let golden = |name| read_npz(&data.join("golden_cnv_w1a1_cifar10_train50.npz"), name).unwrap();
    let (images, logits) = (golden("input_u8"), golden("logits"));
    for (image, wanted) in images.rows().zip(logits.rows()).take(8) {
        let pixels = image.iter().map(|&p| p as f32).collect();
        let x = Tensor::new(graph.input_shape().to_vec(), Data::Float(pixels)).unwrap();
        let found = graph.eval(&x).unwrap();
        // Integers: the float graph's sums are exact.
        assert!(found.floats("").unwrap().iter().zip(wanted).all(|(f, w)| f64::from(*f) == *w), "{found:?}");
    }
}

fn first_maximum(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
