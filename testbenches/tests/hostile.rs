//! Damaged, twisted and hostile model files end in diagnostics, or in networks that compute what they say.

use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stoxnor::import;
use stoxnor::import::options::{FixedPoint, Options};
use stoxnor_testbenches::data::data_dir;
use stoxnor_testbenches::graph::{equals_graph, layers, run};
use stoxnor_testbenches::onnx::branches::{self, residual};
use stoxnor_testbenches::onnx::{
    Attribute, Builder, Model, Pair, SampledModel, few_bits, random_dense, sampled,
};

/// A network of sampled weights that is calibrated for three members.
fn ensemble(widths: &[usize]) -> Vec<u8> {
    sampled(
        3,
        widths,
        SampledModel { law: Some("ternary"), bits: 2, share: 4, members: 3, activation: 0, only: None },
    )
}

/// Convolutional networks with everything that stands between their layers.
fn convolutional() -> Vec<Vec<u8>> {
    let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/images");
    let mut models: Vec<Vec<u8>> = std::fs::read_dir(cases)
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("model.onnx")).ok())
        .collect();
    models.sort();
    assert!(models.len() >= 14);
    models
}

fn said(bytes: &[u8]) -> String {
    import::read("model", bytes).expect_err("refused").to_string()
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
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "Conv",
        "Pad",
        "Resize",
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
    let dense = [random_dense(9, &[6, 5, 4, 3]), few_bits(10, &[6, 5, 4, 3]), ensemble(&[6, 5, 4, 3])];
    let branched = [residual(1, [0.5, 0.5]), branches::random(3), branches::random(4), branches::random(5)];
    let models: Vec<Model> = dense
        .into_iter()
        .chain(convolutional())
        .chain(branched)
        .map(|bytes| Model::decode(&bytes[..]).unwrap())
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut refused = 0;
    for round in 0..2_000 {
        let mut twisted = models[round % models.len()].clone();
        for _ in 0..=round / 2 % 3 {
            twist(&mut twisted, &mut rng);
        }
        let bytes = twisted.encode_to_vec();
        match import::read("twisted", &bytes) {
            Err(found) => {
                assert!(found.list().iter().all(|d| d.code.exit == 2 && !d.message.is_empty()));
                refused += 1;
            }
            // What is still a network still computes what its graph says, unless the graph's weights are only sampled from.
            Ok(network) => {
                let graph = import::FloatGraph::new(&bytes).unwrap();
                let frame: Vec<f32> =
                    (0..graph.input_shape().iter().product()).map(|_| rng.random()).collect();
                match network.quantise(&frame) {
                    Ok(input) if network.ensemble.is_some() => drop(layers(&network, &input)),
                    Ok(_) => assert!(equals_graph(&network, &graph, &frame), "round {round}"),
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
    seeds.extend([&[6, 5, 4][..], &[12, 8, 6, 4]].map(ensemble));
    seeds.extend(convolutional());
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
        let options = Options {
            input: rng.random::<bool>().then_some(FixedPoint { bits: 8, fraction_bits: 3 }),
            ..Options::default()
        };
        let before = std::time::Instant::now();
        match import::read_with("fuzz", &bytes, &options) {
            // Every reason comes with a way out.
            Err(found) => {
                assert!(found.list().iter().all(|d| d.code.exit == 2 && d.help.is_some()), "{found}")
            }
            Ok(network) => {
                built += 1;
                let frame = vec![0.5; network.entries[0].front.input_shape().iter().product()];
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
        for model in [random_dense(seed, widths), few_bits(seed, widths), ensemble(widths)] {
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
fn damaged_public_models_end_in_diagnostics() {
    let Some(data) = data_dir() else { return };
    for (seed, name) in [(7, "qonnx-zoo/TFC_1W1A.onnx"), (8, "finn-tfc-w1a1/model.onnx")] {
        let bytes = std::fs::read(data.join(name)).unwrap();
        damage(&bytes, seed, 400);
    }
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
