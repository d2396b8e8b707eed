//! The importer on models of our own.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stoxnor::arith::matrix::WeightKind;
use stoxnor::frame::element::Element;
use stoxnor::import;
use stoxnor::import::options::Options;
use stoxnor_testbenches::graph::{equals_float_graph, layers, run};
use stoxnor_testbenches::onnx::{
    Attribute, BREVITAS, Builder, FINN, QONNX, Sliding, TensorProto, random_dense,
};

fn said(bytes: &[u8]) -> String {
    import::read("model", bytes).expect_err("refused").to_string()
}

/// x -> BipolarQuant -> 2 x 3 layer -> `activation` -> 3 x 1 layer.
fn small(activation: impl FnOnce(&mut Builder, String) -> String) -> Vec<u8> {
    let mut model = Builder::new(&[1, 2]);
    let x = model.bipolar("x", 1.0);
    let w = model.floats(&[2, 3], &[1.0, -1.0, 1.0, 1.0, 1.0, -1.0]);
    let dots = model.node("MatMul", &[&x, &w], Vec::new());
    let x = activation(&mut model, dots);
    let w = model.floats(&[3, 1], &[1.0, -1.0, 1.0]);
    let y = model.node("MatMul", &[&x, &w], Vec::new());
    model.finish(&y)
}

#[test]
fn small_networks_compute_what_their_graph_says() {
    // Dots a + b, -a + b, a - b: at (1, 1) they are 2, 0, 0.
    let plain = import::read("2-3-1", &small(|m, x| m.bipolar(&x, 1.0))).unwrap();
    assert_eq!(plain.name, "m2_3_1");
    assert_eq!(plain.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["l1_dense", "l2_dense"]);
    assert_eq!(run(&plain, &[1.0, 0.0]), (vec![1], vec![1.0]));
    // (-1, 1): dots 0, 2, -2 -> + + - -> 1 - 1 - 1.
    assert_eq!(run(&plain, &[-0.5, 3.0]).0, [-1]);
    let shifted = import::read(
        "s",
        &small(|m, x| {
            let x = m.scalar("Sub", &x, 0.5);
            m.bipolar(&x, 1.0)
        }),
    );
    // (1, 1): dots 2, 0, 0 -> + - - -> 1 + 1 - 1.
    assert_eq!(run(&shifted.unwrap(), &[1.0, 1.0]).0, [1]);
}

#[test]
fn scales_of_weights_and_activations_meet_in_the_chain_and_the_tail() {
    let mut model = Builder::new(&[1, 2]);
    let x = model.bipolar("x", 0.25);
    let latent = model.floats(&[2, 3], &[0.3, -0.0, 1.0, 0.0, 0.1, -2.0]);
    let w = model.bipolar(&latent, 2.0);
    let dots = model.node("MatMul", &[&x, &w], Vec::new());
    // Dots of ±1 times 0.5: active iff dot/2 >= 0.9, that is dot = 2.
    let x = model.scalar("Sub", &dots, 0.9);
    let x = model.bipolar(&x, 0.5);
    let w = model.floats(&[3, 2], &[3.0, 1.0, -3.0, 1.0, 3.0, -1.0]);
    let y = model.node("MatMul", &[&x, &w], Vec::new());
    let network = import::read("scaled", &model.finish(&y)).unwrap();
    assert_eq!(network.outputs[0].tail.steps()[0].operator.name, "Mul");
    // Latent zeros of either sign are +1: columns (+ +), (+ +), (+ -); at (1, 1) the dots are 2, 2, 0.
    assert_eq!(run(&network, &[1.0, 1.0]), (vec![-1, 3], vec![-1.5, 1.5]));
}

#[test]
fn one_threshold_a_channel_or_for_all_in_every_domain() {
    let bipolar = || vec![Attribute::float("out_scale", 2.0), Attribute::float("out_bias", -1.0)];
    for domain in [BREVITAS, FINN, QONNX] {
        for thresholds in [vec![2.0, 0.5, -1.0], vec![0.5]] {
            let bytes = small(|m, x| {
                let t = m.floats(&[thresholds.len(), 1], &thresholds);
                m.node_of(domain, "MultiThreshold", &[&x, &t], bipolar())
            });
            let network = import::read("mt", &bytes).unwrap();
            for frame in [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]] {
                let [a, b] = frame;
                let wanted: Vec<i32> = [a + b, b - a, a - b]
                    .iter()
                    .enumerate()
                    .map(|(c, dot)| if *dot >= thresholds[c % thresholds.len()] { 1 } else { -1 })
                    .collect();
                let input = network.quantise(&frame).unwrap();
                assert_eq!(layers(&network, &input)[0], wanted, "{domain} {thresholds:?} {frame:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_built_is_said_with_its_node() {
    let uneven = said(&small(|m, x| {
        let s = m.floats(&[1, 3], &[1.0, 0.3, 1.0]);
        m.node_of(BREVITAS, "BipolarQuant", &[&x, &s], Vec::new())
    }));
    assert!(uneven.contains("[activation-unsupported] node BipolarQuant_2"), "{uneven}");
    assert!(uneven.contains("no multiple of its scale 0.3"), "{uneven}");
    let relu = said(&small(|m, x| m.node("Relu", &[&x], Vec::new())));
    assert!(relu.contains("[activation-unsupported] node MatMul_3"), "{relu}");
    let ending = said(&small(|m, x| m.node("Softmax", &[&x], Vec::new())));
    assert!(
        ending.contains("[operator-unsupported] node Softmax_2 (Softmax, number 3 of the graph)"),
        "{ending}"
    );
    let none = said(&small(|_, x| x));
    assert!(none.contains("[activation-unsupported] node MatMul_2"), "{none}");
    let mut raw = Builder::new(&[1, 2]);
    let w = raw.floats(&[2, 1], &[1.0, -1.0]);
    let y = raw.node("MatMul", &["x", &w], Vec::new());
    assert!(said(&raw.finish(&y)).contains("[input-not-quantised] node MatMul_0"));
    let mut odd = Builder::new(&[1, 2]);
    let x = odd.bipolar("x", 1.0);
    let w = odd.floats(&[2, 2], &[1.0, 0.123_456, 1.0, -1.0]);
    let y = odd.node("MatMul", &[&x, &w], Vec::new());
    let text = said(&odd.finish(&y));
    assert!(
        text.contains("[weights-unsupported] node MatMul_1") && text.contains("2 magnitudes (0.123456, 1)"),
        "{text}"
    );
    let wave = said(&small(|m, x| {
        let x = m.scalar("Pow", &x, -1.0);
        m.bipolar(&x, 1.0)
    }));
    assert!(wave.contains("[threshold-inexact]"), "{wave}");
}

#[test]
fn every_reason_is_said_not_only_the_first() {
    let mut model = Builder::new(&[1, 4]);
    let x = model.node("Hardmax", &["x"], Vec::new());
    let x = model.bipolar(&x, 1.0);
    let w = model.floats(&[4, 4], &[1.0; 16]);
    let x = model.node("MatMul", &[&x, &w], Vec::new());
    let x = model.node("Det", &[&x], Vec::new());
    let y = model.node_of("my.domain", "BipolarQuant", &[&x, &w], Vec::new());
    let text = said(&model.finish(&y));
    assert_eq!(text.lines().count(), 3, "{text}");
    for name in ["Hardmax_0", "Det_3", "my.domain"] {
        assert!(text.contains(name), "{text}");
    }

    // A weight that is none behind an operator that is none; a real input, a bad weight, and reals between two layers.
    for (op, count) in [("Det", 2), ("Relu", 3)] {
        let mut model = Builder::new(&[1, 2]);
        let x = model.node(op, &["x"], Vec::new());
        let w = model.floats(&[2, 2], &[0.7, 0.123_456, 1.0, -1.0]);
        let x = model.node("MatMul", &[&x, &w], Vec::new());
        let w = model.floats(&[2, 1], &[1.0, -1.0]);
        let y = model.node("MatMul", &[&x, &w], Vec::new());
        let survey = import::survey_bytes(&model.finish(&y), &Options::default());
        let text: Vec<String> = survey.reasons.iter().map(|r| format!("[{}] {r}", r.code.word)).collect();
        assert_eq!(text.len(), count, "{text:?}");
        assert!(text.iter().any(|t| t.contains("[weights-unsupported] node MatMul_1")), "{text:?}");
        assert!(survey.reasons.iter().all(|r| r.help.is_some()), "{text:?}");
        assert_eq!((survey.layers.len(), survey.operators.0), (2, 3), "{op}");
        assert_eq!((survey.layers[0].inputs, survey.layers[0].weights), (Some(2), None));
        assert_eq!((survey.layers[1].outputs, survey.layers[1].weights), (Some(1), Some(WeightKind::Binary)));
    }
}

#[test]
fn a_survey_shows_what_was_recognised() {
    let built = import::survey_bytes(&random_dense(3, &[6, 5, 4]), &Options::default());
    assert!(built.reasons.is_empty());
    assert_eq!(built.inputs, [("x".to_owned(), vec![1, 6])]);
    let types: Vec<_> =
        built.layers.iter().map(|l| (l.inputs, l.outputs, l.weights, l.input, l.output)).collect();
    let (binary, bipolar) = (Some(WeightKind::Binary), Some(Element::Bipolar));
    assert_eq!(
        types,
        [(Some(6), Some(5), binary, bipolar, bipolar), (Some(5), Some(4), binary, bipolar, None)]
    );
    // Behind an operator that is not known, weights are told all the same.
    let mut m = Builder::new(&[1, 3, 6, 6]);
    let (x, w) = (m.node("Det", &["x"], Vec::new()), m.floats(&[4, 3, 2, 2], &[0.5; 48]));
    let y = m.conv(&x, &w, None, 1, Sliding::default());
    let broken = import::survey_bytes(&m.finish(&y), &Options::default());
    let told: Vec<_> = broken.layers.iter().map(|l| (l.inputs, l.outputs, l.weights)).collect();
    assert_eq!(told, [(Some(12), Some(4), binary)]);
    let none = import::survey_bytes(b"no model", &Options::default());
    assert_eq!((none.inputs.len(), none.layers.len(), none.reasons.len()), (0, 0, 1));
    assert!(import::survey(std::path::Path::new("no/such.onnx"), &Options::default()).is_err());
}

#[test]
fn tensors_are_read_in_every_storage_form() {
    let typed = |kind: i32, f: fn(&mut TensorProto)| {
        let mut model = Builder::new(&[1, 2]);
        let x = model.bipolar("x", 1.0);
        let w = model.floats(&[2, 1], &[1.0, -1.0]);
        let x = model.node("MatMul", &[&x, &w], Vec::new());
        let mut tensor = TensorProto { name: "c".into(), kind, dims: vec![2], ..TensorProto::default() };
        f(&mut tensor);
        model.graph.initialisers.push(tensor);
        let y = model.node("Reshape", &[&x, "c"], Vec::new());
        model.finish(&y)
    };
    let int32 = typed(6, |t| t.int32s = vec![-1, 1]);
    let int64 = typed(7, |t| t.int64s = vec![-1, 1]);
    let raw8 = typed(3, |t| t.raw = Some(vec![0xff, 1]));
    let raw16 = typed(5, |t| t.raw = Some(vec![0xff, 0xff, 1, 0]));
    for bytes in [int32, int64, raw8, raw16] {
        let network = import::read("typed", &bytes).unwrap();
        assert_eq!(network.outputs[0].tail.output_shape(), [1, 1]);
    }
    for (bytes, word) in [
        (typed(1, |t| t.floats = vec![1.0, 1.0]), "float32"),
        (typed(11, |t| t.raw = Some(vec![0; 16])), "not integer"),
        (typed(7, |t| t.raw = Some(vec![0; 15])), "16 bytes"),
        (typed(7, |t| t.location = 1), "external"),
        (typed(3, |t| t.int32s = vec![-1, 400]), "400"),
        (typed(7, |t| t.dims = vec![1 << 40, 1 << 40]), "limit"),
        (typed(7, |t| t.dims = vec![-2]), "illegal"),
    ] {
        let text = said(&bytes);
        assert!(text.contains(word) && (text.contains("tensor c") || text.contains("Reshape")), "{text}");
    }
}

#[test]
fn random_networks_equal_their_float_graph() {
    for seed in 0..12 {
        let widths = [&[20, 7, 3][..], &[65, 64, 33, 10], &[1, 1, 1], &[9, 8, 8, 8, 8, 4]][seed as usize % 4];
        let bytes = random_dense(seed, widths);
        let network = import::read("random", &bytes).unwrap();
        let graph = import::float_graph(&bytes).unwrap();
        assert_eq!(network.nodes.len(), widths.len() - 1);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..50 {
            let frame: Vec<f32> = (0..widths[0]).map(|_| f32::from(rng.random::<u8>()) / 255.0).collect();
            assert!(equals_float_graph(&network, &graph, &frame), "seed {seed}");
        }
    }
    assert_eq!(random_dense(5, &[8, 4, 2]), random_dense(5, &[8, 4, 2]));
    assert_ne!(random_dense(5, &[8, 4, 2]), random_dense(6, &[8, 4, 2]));
}

#[test]
fn frames_of_the_wrong_size_or_kind_are_refused() {
    let network = import::read("random", &random_dense(1, &[4, 3, 2])).unwrap();
    assert!(network.quantise(&[0.0; 3]).unwrap_err().to_string().contains("[input-shape]"));
    let nan = network.quantise(&[0.0, 1.0, f32::NAN, 0.0]).unwrap_err().to_string();
    assert!(nan.contains("[input-value]") && nan.contains("element 2"), "{nan}");
    assert!(network.finish(&[0; 3], 1).is_err());
    assert_eq!(network.finish(&[6, -6], 3).unwrap(), network.finish(&[2, -2], 1).unwrap());
}
