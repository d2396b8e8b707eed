//! The importer on models of our own, on the public ones, and on damaged files.

use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stoxnor::arith::matrix::WeightKind;
use stoxnor::host::HostGraph;
use stoxnor::import::{self, FixedPoint, Options};
use stoxnor::network::{Element, Network, Source};
use stoxnor::tensor::{Data, Tensor};
use stoxnor_testbenches::data::{data_dir, read_idx, read_npy, read_npz};
use stoxnor_testbenches::onnx::{
    Attribute, BREVITAS, Builder, FINN, Model, Pair, QONNX, TensorProto, ValueInfo, few_bits, random_dense,
};

/// Every layer's frame, by the reference.
fn layers(network: &Network, input: &[i32]) -> Vec<Vec<i32>> {
    let mut frames: Vec<Vec<i32>> = Vec::new();
    for node in &network.nodes {
        let inputs: Vec<&[i32]> = node
            .inputs
            .iter()
            .map(|source| match source {
                Source::Input => input,
                Source::Layer(i) => &frames[*i],
            })
            .collect();
        let frame = node.layer.reference(&inputs);
        frames.push(frame);
    }
    frames
}

/// The last layer's integers and the graph's output for one frame.
fn run(network: &Network, frame: &[f32]) -> (Vec<i32>, Vec<f32>) {
    let sums = layers(network, &network.quantise(frame).unwrap()).pop().unwrap();
    let wide: Vec<i64> = sums.iter().map(|&s| s.into()).collect();
    let output = network.finish(&wide, 1).unwrap();
    (sums, output)
}

fn first_maximum(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

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
    assert_eq!(network.tail.steps()[0].operator.name, "Mul");
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
        let x = m.scalar("Pow", &x, 2.0);
        let x = m.scalar("Sub", &x, 1.0);
        m.bipolar(&x, 1.0)
    }));
    assert!(wave.contains("[threshold-inexact]"), "{wave}");
}

#[test]
fn every_reason_is_said_not_only_the_first() {
    let mut model = Builder::new(&[1, 4]);
    let x = model.node("Softplus", &["x"], Vec::new());
    let x = model.bipolar(&x, 1.0);
    let w = model.floats(&[4, 4], &[1.0; 16]);
    let x = model.node("MatMul", &[&x, &w], Vec::new());
    let x = model.node("Erf", &[&x], Vec::new());
    let y = model.node_of("my.domain", "BipolarQuant", &[&x, &w], Vec::new());
    let text = said(&model.finish(&y));
    assert_eq!(text.lines().count(), 3, "{text}");
    for name in ["Softplus_0", "Erf_3", "my.domain"] {
        assert!(text.contains(name), "{text}");
    }

    // A weight that is none behind an operator that is none; a real input, a bad weight, and reals between two layers.
    for (op, count) in [("Erf", 2), ("Relu", 3)] {
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
        assert_eq!((survey.layers.len(), survey.operators.0), (2, 3));
        assert_eq!((survey.layers[0].inputs, survey.layers[0].weights), (Some(2), None));
        assert_eq!((survey.layers[1].outputs, survey.layers[1].weights), (Some(1), Some(WeightKind::Binary)));
    }
}

#[test]
fn a_survey_shows_what_was_recognised() {
    let built = import::survey_bytes(&random_dense(3, &[6, 5, 4]), &Options::default());
    assert!(built.reasons.is_empty());
    assert_eq!(built.input, Some(vec![1, 6]));
    let types: Vec<_> =
        built.layers.iter().map(|l| (l.inputs, l.outputs, l.weights, l.input, l.output)).collect();
    let (binary, bipolar) = (Some(WeightKind::Binary), Some(Element::Bipolar));
    assert_eq!(
        types,
        [(Some(6), Some(5), binary, bipolar, bipolar), (Some(5), Some(4), binary, bipolar, None)]
    );
    let none = import::survey_bytes(b"no model", &Options::default());
    assert_eq!((none.input, none.layers.len(), none.reasons.len()), (None, 0, 1));
    assert!(import::survey(std::path::Path::new("no/such.onnx"), &Options::default()).is_err());
}

#[test]
fn external_data_is_read_beside_the_model_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Builder::new(&[1, 4]);
    let x = model.bipolar("x", 1.0);
    let w = model.floats(&[4, 2], &[]);
    let y = model.node("MatMul", &[&x, &w], Vec::new());
    let stored = |place: &[(&str, &str)]| {
        let mut model = model.clone();
        let tensor = model.graph.initialisers.last_mut().unwrap();
        (tensor.raw, tensor.location) = (None, 1);
        tensor.external = place.iter().map(|(key, value)| Pair::new(key, value)).collect();
        let path = dir.path().join("m.onnx");
        std::fs::write(&path, model.finish(&y)).unwrap();
        path
    };
    let values = [1.0f32, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, -1.0];
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(dir.path().join("w.bin"), [&[0; 8][..], &bytes].concat()).unwrap();
    let good = stored(&[("location", "w.bin"), ("offset", "8"), ("length", "32")]);
    let network = import::load(&good).unwrap();
    assert_eq!(run(&network, &[1.0, 1.0, 1.0, 1.0]).0, [2, -2]);
    assert!(said(&std::fs::read(&good).unwrap()).contains("external data"));
    for (place, word) in [
        (&[("location", "w.bin"), ("offset", "12")][..], "32 bytes from 12 on"),
        (&[("location", "w.bin"), ("length", "31")], "31 bytes where 32"),
        (&[("location", "../w.bin")], "not a path below"),
        (&[("location", "/etc/hostname")], "not a path below"),
        (&[("location", ".")], "not a path below"),
        (&[("location", "none.bin")], "none.bin"),
        (&[], "no location"),
    ] {
        let text = import::load(&stored(place)).unwrap_err().to_string();
        assert!(text.contains(word) && text.contains("tensor c"), "{text}");
    }
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
        assert_eq!(network.tail.output_shape(), [1, 1]);
    }
    for (bytes, word) in [
        (typed(1, |t| t.floats = vec![1.0, 1.0]), "float32"),
        (typed(11, |t| t.raw = Some(vec![0; 16])), "float64"),
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

/// Whether network and float graph give the same numbers.
fn equals_float_graph(network: &Network, graph: &HostGraph, frame: &[f32]) -> bool {
    let x = Tensor::new(graph.input_shape().to_vec(), Data::Float(frame.to_vec())).unwrap();
    let wanted = match graph.eval(&x).unwrap().data {
        Data::Float(v) => v,
        Data::Int(v) => v.into_iter().map(|i| i as f32).collect(),
    };
    let found = run(network, frame).1;
    found.len() == wanted.len() && found.iter().zip(&wanted).all(|(f, w)| f == w || f.is_nan() && w.is_nan())
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

/// Reads damaged files; a diagnostic or a network is fine, anything else ends the test.
fn damage(model: &[u8], seed: u64, rounds: usize) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut refused = 0;
    for round in 0..rounds {
        let mut bytes = model.to_vec();
        match round % 4 {
            0 => bytes.truncate(rng.random_range(0..bytes.len())),
            1 => {
                for _ in 0..rng.random_range(1..20) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] ^= 1 << rng.random_range(0..8);
                }
            }
            2 => {
                let at = rng.random_range(0..bytes.len());
                let end = (at + rng.random_range(1..64)).min(bytes.len());
                bytes[at..end].fill(if rng.random() { 0xff } else { 0 });
            }
            _ => {
                let at = rng.random_range(0..bytes.len());
                let end = (at + rng.random_range(1..64)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
        if let Err(found) = import::read("damaged", &bytes) {
            assert!(found.list().iter().all(|d| d.code.exit == 2 && !d.message.is_empty()));
            refused += 1;
        }
    }
    refused
}

/// Changes what a field means and keeps the file readable.
fn twist(model: &mut Model, rng: &mut ChaCha8Rng) {
    let odd = [0, -1, 1, 2, 3, 64, 1 << 26, 1 << 40, i64::MAX, i64::MIN];
    let odd = odd[rng.random_range(0..odd.len())];
    let ops = [
        "Gather",
        "Concat",
        "TopK",
        "ArgMax",
        "Pow",
        "Sqrt",
        "Flatten",
        "Squeeze",
        "MultiThreshold",
        "Sign",
        "Quant",
        "Trunc",
        "Gemm",
        "XnorPopcountMatMul",
        "Relu",
        "Clip",
        "Softmax",
        "Cast",
        "Dropout",
        "MatMul",
        "Transpose",
        "Div",
    ];
    let kind = rng.random_range(0..11);
    let graph = model.graph.as_mut().unwrap();
    let names: Vec<String> =
        graph.nodes.iter().flat_map(|n| n.inputs.iter().chain(&n.outputs).cloned()).collect();
    let name = names[rng.random_range(0..names.len())].clone();
    let count = graph.nodes.len();
    let node = &mut graph.nodes[rng.random_range(0..count)];
    let tensors = graph.initialisers.len();
    let tensor = &mut graph.initialisers[rng.random_range(0..tensors)];
    match kind {
        0 => node.inputs[0] = name,
        1 => node.outputs[0] = name,
        2 => node.op = ops[rng.random_range(0..ops.len())].into(),
        3 => node.attributes.push(Attribute::int("axis", odd)),
        4 => node.attributes = vec![Attribute::ints("axes", &[odd]), Attribute::ints("perm", &[odd, 0])],
        5 => tensor.dims.push(odd),
        6 => tensor.dims = vec![odd, 1],
        7 => {
            let odd = [f32::NAN, f32::INFINITY, 0.0, -0.0, f32::MAX, 1e-45][rng.random_range(0..6)];
            if let Some((first, _)) = tensor.raw.as_mut().and_then(|raw| raw.split_first_chunk_mut()) {
                *first = odd.to_le_bytes();
            }
        }
        8 => {
            // Any number of any tensor: where it is a scale, sums stay exact.
            let odd = [
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                0.0,
                2f32.powi(100),
                -f32::MIN_POSITIVE,
                0.375,
                64.0,
                2f32.powi(30),
            ][rng.random_range(0..9)];
            if let Some(raw) = tensor.raw.as_mut().filter(|raw| raw.len() >= 4) {
                let at = rng.random_range(0..raw.len() / 4) * 4;
                raw[at..at + 4].copy_from_slice(&odd.to_le_bytes());
            }
        }
        9 => {
            let (name, text) = [
                ("rounding_mode", "UP"),
                ("rounding_mode", "\u{0}"),
                ("data_layout", "NHWC"),
                ("out_scale", "x"),
            ][rng.random_range(0..4)];
            node.attributes.push(Attribute::string(name, text));
        }
        _ => {
            let shape =
                graph.inputs[0].kind.as_mut().unwrap().tensor.as_mut().unwrap().shape.as_mut().unwrap();
            shape.axes[rng.random_range(0..2)].extent = Some(odd);
        }
    }
}

#[test]
fn twisted_graphs_end_in_diagnostics() {
    let models = [random_dense(9, &[6, 5, 4, 3]), few_bits(10, &[6, 5, 4, 3])];
    let models = models.map(|bytes| Model::decode(&bytes[..]).unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut refused = 0;
    for round in 0..2_000 {
        let mut twisted = models[round % 2].clone();
        for _ in 0..=round % 3 {
            twist(&mut twisted, &mut rng);
        }
        let bytes = twisted.encode_to_vec();
        match import::read("twisted", &bytes) {
            Err(found) => {
                assert!(found.list().iter().all(|d| d.code.exit == 2 && !d.message.is_empty()));
                refused += 1;
            }
            // What is still a network still computes what its graph says.
            Ok(network) => {
                let graph = import::float_graph(&bytes).unwrap();
                let frame: Vec<f32> =
                    (0..graph.input_shape().iter().product()).map(|_| rng.random()).collect();
                match network.quantise(&frame) {
                    Ok(_) => assert!(equals_float_graph(&network, &graph, &frame), "round {round}"),
                    Err(found) => assert_eq!(found.list()[0].code.word, "input-value"),
                }
            }
        }
    }
    assert!((1_000..1_950).contains(&refused), "{refused} of 2,000");
}

/// What the fuzz target does, on a stable toolchain: whatever the bytes, there is a network or a diagnostic, and a network
/// computes. `STOXNOR_FUZZ_ROUNDS` makes it longer.
#[test]
fn random_mutations_end_in_networks_or_diagnostics() {
    let rounds = std::env::var("STOXNOR_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/onnx");
    let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(cases)
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("model.onnx")).ok())
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 40);
    let (start, mut built) = (std::time::Instant::now(), 0);
    for round in 0..rounds {
        let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
        if round % 2 == 0 {
            // Readable files with another meaning.
            let mut model = Model::decode(&bytes[..]).unwrap();
            (0..=rng.random_range(0..3)).for_each(|_| twist(&mut model, &mut rng));
            bytes = model.encode_to_vec();
        }
        for _ in 0..rng.random_range(round % 2..6) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..5) {
                0 => bytes[at] = rng.random(),
                1 => bytes[at] ^= 1 << rng.random_range(0..8),
                2 => bytes.insert(at, rng.random()),
                3 => {
                    bytes.remove(at);
                }
                // A piece of another model.
                _ => {
                    let other = &seeds[rng.random_range(0..seeds.len())];
                    let from = rng.random_range(0..other.len());
                    let to = (from + rng.random_range(1..64)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
        let options =
            Options { input: rng.random::<bool>().then_some(FixedPoint { bits: 8, fraction_bits: 3 }) };
        let before = std::time::Instant::now();
        match import::read_with("fuzz", &bytes, &options) {
            // Every reason comes with a way out.
            Err(found) => {
                assert!(found.list().iter().all(|d| d.code.exit == 2 && d.help.is_some()), "{found}")
            }
            Ok(network) => {
                built += 1;
                let frame = vec![0.5; network.front.input_shape().iter().product()];
                if let Ok(input) = network.quantise(&frame) {
                    let sums: Vec<i64> =
                        layers(&network, &input).pop().unwrap().iter().map(|s| i64::from(*s)).collect();
                    network.finish(&sums, 1).unwrap();
                }
            }
        }
        assert!(before.elapsed().as_secs() < 30, "{:?} for one file", before.elapsed());
    }
    eprintln!("{built} of {rounds} files are still networks; {:?}", start.elapsed());
    assert!(built > 0);
}

#[test]
fn damaged_files_end_in_diagnostics() {
    for (seed, widths) in [(1, &[5, 4, 3, 2][..]), (2, &[40, 20, 10])] {
        for model in [random_dense(seed, widths), few_bits(seed, widths)] {
            let refused = damage(&model, seed, 600);
            assert!(refused > 150, "{refused} of 600");
        }
    }
    for bytes in
        [&b""[..], b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01", &[0; 4096], &[0xff; 4096], &[0x3a; 4096]]
    {
        assert!(said(bytes).contains("[model-unreadable]"), "{}", said(bytes));
    }
}

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
fn taps(
    model: &[u8],
    network: &Network,
    frames: &[Vec<f32>],
    golden: impl Fn(&str) -> stoxnor_testbenches::data::Array,
) {
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
    assert_eq!(network.tail.steps().len(), host.len());
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
fn damaged_public_models_end_in_diagnostics() {
    let Some(data) = data_dir() else { return };
    for (seed, name) in [(7, "qonnx-zoo/TFC_1W1A.onnx"), (8, "finn-tfc-w1a1/model.onnx")] {
        let bytes = std::fs::read(data.join(name)).unwrap();
        damage(&bytes, seed, 400);
    }
}

#[test]
fn a_convolutional_model_is_refused_with_every_reason() {
    let Some(data) = data_dir() else { return };
    let text = import::load(&data.join("bnn-pynq/cnv_w1a1_cifar10.onnx")).unwrap_err().to_string();
    // Every operator without a translation, and nothing that only follows from it.
    assert!(text.contains("Conv_0") && text.contains("Conv_5") && text.contains("MaxPool_1"), "{text}");
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn bombs_are_bounded() {
    let start = std::time::Instant::now();
    let mut doubling = Builder::new(&[1, 4]);
    let mut x = "x".to_owned();
    for _ in 0..64 {
        x = doubling.node("Concat", &[&x, &x], vec![Attribute::int("axis", 1)]);
    }
    assert!(said(&doubling.finish(&x)).contains("[model-too-large]"));

    let mut outer = Builder::new(&[1, 4]);
    let column = outer.floats(&[1 << 14, 1], &[1.0; 1 << 14]);
    let row = outer.floats(&[1, 1 << 14], &[1.0; 1 << 14]);
    let product = outer.node("Mul", &[&column, &row], Vec::new());
    let y = outer.node("Mul", &["x", &product], Vec::new());
    assert!(said(&outer.finish(&y)).contains("[model-too-large] node Mul_0"));

    for (shape, nodes) in [(1 << 22, 200), (4, 17_000)] {
        let mut long = Builder::new(&[1, shape]);
        let mut x = "x".to_owned();
        for _ in 0..nodes {
            x = long.node("Identity", &[&x], Vec::new());
        }
        assert!(said(&long.finish(&x)).contains("[model-too-large]"));
    }

    let mut named = Builder::new(&[1, 4]);
    let y = named.node("Identity", &["x"], Vec::new());
    named.graph.nodes[0].name = "n".repeat(5_000);
    assert!(said(&named.finish(&y)).contains("bytes in one name"));

    // Graph (6) within attribute (5) within node (1) within graph, 2,000 deep, in the model's graph (7).
    let wrapped = |field: u8, inner: Vec<u8>| {
        let mut out = vec![field << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut out).unwrap();
        out.extend(inner);
        out
    };
    let deep = (0..6_000).fold(Vec::new(), |inner, level| wrapped([6, 5, 1][level % 3], inner));
    let file = wrapped(7, deep);
    assert!(!said(&file).is_empty());
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
