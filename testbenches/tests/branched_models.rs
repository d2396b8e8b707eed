//! Models with branches: what is read is what the file's own float32 operators compute, and all engines agree on it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use stoxnor::calibrate::calibrate;
use stoxnor::engine::Conditions;
use stoxnor::import;
use stoxnor::import::FloatGraph;
use stoxnor::import::options::{Options, SamplingOptions};
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::{Effort, agree, default_folds, random, random_folds, random_frames};
use stoxnor_testbenches::graph::{float_outputs, outputs};
use stoxnor_testbenches::onnx::branches::{self, Model, residual};
use stoxnor_testbenches::onnx::{Attribute, STOXNOR, Sliding};

/// Reads a model, compares it with its float graph on random frames, and all engines with one another.
fn is_exact(what: &str, bytes: &[u8]) -> Network {
    is_exact_with(what, bytes, &Options::default())
}

fn is_exact_with(what: &str, bytes: &[u8], options: &Options) -> Network {
    let network = import::read_with("branched", bytes, options).unwrap_or_else(|e| panic!("{what}: {e}"));
    let graph = FloatGraph::new(bytes).unwrap();
    let mut rng = random(1);
    for _ in 0..20 {
        same_outputs(what, &network, &graph, &eighths(&mut rng, graph.input_shape()));
    }
    let frames = random_frames(3, &network, 3);
    let random = random_folds(&mut random(2), &network);
    for (index, folds) in [default_folds(&network, 1000), random].into_iter().enumerate() {
        let hardware = lower(&network, &folds);
        for stall in [None, Some(5)] {
            let outside = usize::from(index == 0 && stall.is_some());
            let effort = Effort { rtl: 3, verilator: outside, icarus: outside };
            let conditions = Conditions { stall, members: vec![] };
            agree(what, &network, &hardware, &frames, &conditions, effort);
        }
    }
    network
}

/// A frame of multiples of 1/8, so that quantisers see ties.
fn eighths(rng: &mut ChaCha8Rng, shape: &[usize]) -> Vec<f32> {
    (0..shape.iter().product()).map(|_| f32::from(rng.random_range(-16i8..=16)) / 8.0).collect()
}

fn same_outputs(what: &str, network: &Network, graph: &FloatGraph, frame: &[f32]) {
    assert_eq!(outputs(network, frame), float_outputs(graph, frame), "{what}");
}

fn refused(what: &str, bytes: &[u8]) -> String {
    match import::read("branched", bytes) {
        Ok(_) => panic!("{what} is read"),
        Err(found) => found.to_string(),
    }
}

/// Kinds of a network's layers.
fn kinds(network: &Network) -> Vec<&'static str> {
    network.nodes.iter().map(|n| n.layer.kind()).collect()
}

#[test]
fn residual_blocks_are_sums_of_streams() {
    let network = is_exact("one scale", &residual(1, [0.5, 0.5]));
    assert_eq!(kinds(&network), ["conv", "conv", "conv", "add", "conv", "add", "globalpool", "dense"]);
    is_exact("a multiple", &residual(2, [0.25, 0.5]));
    is_exact("a fraction", &residual(3, [0.375, 0.25]));
}

/// The sums themselves go on, and are normalised and quantised in front of the next branch alone.
#[test]
fn sums_that_are_not_quantised_branch_too() {
    let mut m = Model::new(4, &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let stem = m.block(&x, [2, 3], 0.5);
    let a = m.block(&stem, [3, 3], 0.5);
    let sum = m.add(&stem, &a);
    let y = m.normalise(&sum, 3);
    let y = m.quant(&y, 0.5, 2, true);
    let b = m.block(&y, [3, 3], 1.0);
    let sum = m.add(&sum, &b);
    let y = m.relu(&sum);
    let y = m.builder.max_pool(&y, Sliding::apart(&[2, 2]));
    let y = m.head(&y, [3, 2]);
    let network = is_exact("pre-activation", &m.finish(&[y]));
    assert!(kinds(&network).contains(&"threshold"), "{:?}", kinds(&network));
}

#[test]
fn channels_are_concatenated() {
    let mut m = Model::new(5, &[1, 2, 4, 2]);
    let x = m.quant("x", 0.5, 3, true);
    let a = m.block(&x, [2, 3], 0.5);
    let axis = || vec![Attribute::int("axis", 1)];
    let x1 = m.builder.node("Concat", &[&x, &a], axis());
    let b = m.block(&x1, [5, 2], 0.5);
    let x2 = m.builder.node("Concat", &[&x, &a, &b], axis());
    let c = m.block(&x2, [7, 2], 0.5);
    let all = m.builder.node("Concat", &[&x2, &c, &x2], axis());
    let y = m.head(&all, [16, 3]);
    let network = is_exact("dense block", &m.finish(&[y]));
    assert_eq!(kinds(&network).iter().filter(|k| **k == "concat").count(), 3);
}

/// What is concatenated has the range of all its parts, and its largest sums count.
#[test]
fn wide_and_narrow_channels_are_concatenated() {
    let mut m = Model::new(14, &[1, 4]);
    let x = m.quant("x", 0.5, 5, false);
    let narrow = m.quant(&x, 0.5, 2, false);
    let both = m.builder.node("Concat", &[&narrow, &x], vec![Attribute::int("axis", 1)]);
    let w = m.builder.floats(&[8, 2], &[0.5; 16]);
    let y = m.builder.node("MatMul", &[&both, &w], vec![]);
    let y = m.quant(&y, 1.0, 6, false);
    let y = m.dense(&y, [2, 3]);
    let bytes = m.finish(&[y]);
    let network = is_exact("wide and narrow", &bytes);
    let graph = FloatGraph::new(&bytes).unwrap();
    for value in [-1.0, 0.5, 7.75, 16.0] {
        same_outputs("wide and narrow", &network, &graph, &[value; 4]);
    }
}

#[test]
fn several_outputs_leave() {
    let mut m = Model::new(6, &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let trunk = m.block(&x, [2, 4], 0.25);
    let classes = m.head(&trunk, [4, 5]);
    let mask = m.conv(&trunk, [4, 1]);
    let mask = m.builder.node("Sigmoid", &[&mask], vec![]);
    let features = m.builder.scalar("Mul", &trunk, 3.0);
    let network =
        is_exact("three heads", &m.finish(&[classes.clone(), mask.clone(), features.clone(), trunk.clone()]));
    let names: Vec<&str> = network.outputs.iter().map(|o| &o.name[..]).collect();
    assert_eq!(names, [&classes[..], &mask, &features, &trunk]);
    assert_eq!(network.exits.len(), 3, "two outputs of one layer leave once");
}

#[test]
fn vectors_branch_as_images_do() {
    let mut m = Model::new(7, &[1, 6]);
    let x = m.quant("x", 0.5, 3, true);
    let a = m.dense(&x, [6, 6]);
    let a = m.normalise(&a, 6);
    let a = m.quant(&a, 0.5, 3, true);
    let difference = m.builder.node("Sub", &[&a, &x], vec![]);
    let difference = m.quant(&difference, 1.0, 3, true);
    let twice = m.add(&difference, &difference);
    let b = m.dense(&twice, [6, 5]);
    let b = m.builder.bipolar(&b, 0.5);
    let both = m.builder.node("Concat", &[&b, &difference], vec![Attribute::int("axis", -1)]);
    let w = m.weights(&[11, 2]);
    let mut two = m.builder.clone();
    let y = two.node("MatMul", &[&both, &w], vec![]);
    is_exact("two scales", &two.finish(&y));
    let y = m.dense(&b, [5, 3]);
    let network = is_exact("vectors", &m.finish(&[y]));
    assert!(kinds(&network).starts_with(&["dense", "add"]), "{:?}", kinds(&network));
}

#[test]
fn what_is_no_sum_of_integers_is_refused() {
    let start = |seed| {
        let mut m = Model::new(seed, &[1, 2, 4, 4]);
        let x = m.quant("x", 0.5, 3, true);
        let stem = m.block(&x, [2, 2], 0.5);
        (m, stem)
    };
    // A branch without a quantiser.
    let (mut m, stem) = start(8);
    let raw = m.conv(&stem, [2, 2]);
    let raw = m.normalise(&raw, 2);
    let sum = m.add(&raw, &stem);
    let y = m.head(&sum, [2, 2]);
    let text = refused("a real branch", &m.finish(&[y]));
    assert!(text.contains("without a quantiser between"), "{text}");
    // Scales without a common part.
    let (mut m, stem) = start(9);
    let other = m.block(&stem, [2, 2], 0.123_456);
    let sum = m.add(&other, &stem);
    let y = m.head(&sum, [2, 2]);
    let text = refused("two scales", &m.finish(&[y]));
    assert!(
        text.contains("[join-scales]")
            && text.contains("0.5 and 0.123456") | text.contains("0.123456 and 0.5"),
        "{text}"
    );
    // A concatenation of the same.
    let (mut m, stem) = start(9);
    let other = m.block(&stem, [2, 2], 0.123_456);
    let both = m.builder.node("Concat", &[&stem, &other], vec![Attribute::int("axis", 1)]);
    let y = m.head(&both, [4, 2]);
    let text = refused("two scales", &m.finish(&[y]));
    assert!(text.contains("[join-scales]") && text.contains("0.5 and 0.123456"), "{text}");
    // A maximum between a sum of unequal scales and its quantiser.
    let (mut m, stem) = start(15);
    let other = m.block(&stem, [2, 2], 0.123_456);
    let sum = m.add(&other, &stem);
    let sum = m.builder.max_pool(&sum, Sliding::apart(&[2, 2]));
    let sum = m.normalise(&sum, 2);
    let y = m.quant(&sum, 0.5, 3, true);
    let y = m.head(&y, [2, 2]);
    assert!(refused("a maximum", &m.finish(&[y])).contains("[join-scales]"));
    // Two shapes.
    let (mut m, stem) = start(11);
    let half = m.builder.max_pool(&stem, Sliding::apart(&[2, 2]));
    let sum = m.add(&stem, &half);
    let y = m.head(&sum, [2, 2]);
    let text = import::read("shapes", &m.finish(&[y])).unwrap_err().to_string();
    assert!(text.contains("[1, 2, 2, 2]"), "{text}");
    // A real input that branches.
    let mut m = Model::new(12, &[1, 2, 4, 4]);
    let a = m.block("x", [2, 2], 0.5);
    let b = m.block("x", [2, 2], 0.5);
    let sum = m.add(&a, &b);
    let y = m.head(&sum, [2, 2]);
    let bytes = m.finish(&[y]);
    assert!(refused("a real input", &bytes).contains("real numbers"));
    let fixed = import::FixedPoint { bits: 8, fraction_bits: 3 };
    let network =
        is_exact_with("a fixed-point input", &bytes, &Options { input: Some(fixed), ..Options::default() });
    assert_eq!(kinds(&network)[..3], ["conv", "conv", "add"]);
}

/// Factors of the two integers put all pairs of levels on their side of every threshold.
#[test]
fn sums_of_unequal_scales_are_exact() {
    for (seed, scales) in [(20, [0.3, 0.17]), (21, [0.123_456, 0.5]), (22, [0.071, 0.713])] {
        let mut m = Model::new(seed, &[1, 2, 4, 4]);
        let x = m.quant("x", 0.5, 3, true);
        let a = m.block(&x, [2, 3], scales[0]);
        let b = m.block(&x, [2, 3], scales[1]);
        let sum = m.builder.node(if seed == 22 { "Sub" } else { "Add" }, &[&a, &b], vec![]);
        let sum = if seed == 20 { m.normalise(&sum, 3) } else { m.relu(&sum) };
        let sum = m.quant(&sum, 0.5, 3, seed == 20);
        let y = m.builder.max_pool(&sum, Sliding::apart(&[2, 2]));
        let y = m.head(&y, [3, 2]);
        let network = is_exact("unequal scales", &m.finish(&[y]));
        assert_eq!(kinds(&network), ["conv", "conv", "add", "maxpool", "globalpool", "dense"]);
    }
}

/// The real numbers of two convolutions are added, and only the sum is quantised.
#[test]
fn raw_sums_meet_in_front_of_a_quantiser() {
    let mut m = Model::new(23, &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let stem = m.block(&x, [2, 3], 0.5);
    let a = m.conv(&stem, [3, 3]);
    let a = m.normalise(&a, 3);
    let sum = m.add(&a, &stem);
    let sum = m.relu(&sum);
    let first = m.quant(&sum, 0.25, 3, false);
    let b = m.conv(&first, [3, 3]);
    let sum = m.add(&first, &b);
    let second = m.builder.bipolar(&sum, 1.0);
    let y = m.head(&second, [3, 2]);
    let network = is_exact("raw sums", &m.finish(&[y]));
    let found = kinds(&network);
    assert_eq!(found.iter().filter(|k| **k == "scale").count(), 2, "a factor for each channel: {found:?}");
    assert_eq!(found.iter().filter(|k| **k == "add").count(), 2, "{found:?}");
}

#[test]
fn sums_and_means_of_several_branches() {
    let mut m = Model::new(24, &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let parts: Vec<String> = [0.25, 0.313_7, 0.706_1].iter().map(|s| m.block(&x, [2, 3], *s)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let sum = m.builder.node("Sum", &parts, vec![]);
    let sum = m.quant(&sum, 0.5, 3, true);
    let other = m.block(&x, [2, 3], 0.5);
    let mean = m.builder.node("Mean", &[&sum, &other], vec![]);
    let y = m.quant(&mean, 0.5, 3, true);
    let y = m.head(&y, [3, 2]);
    let network = is_exact("sums of several", &m.finish(&[y]));
    assert_eq!(kinds(&network).iter().filter(|k| **k == "add").count(), 2, "{:?}", kinds(&network));
}

/// The quantiser behind a concatenation becomes part of its branches.
#[test]
fn a_quantiser_behind_a_concatenation_takes_any_branches() {
    let mut m = Model::new(25, &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let a = m.block(&x, [2, 3], 0.3);
    let raw = m.conv(&x, [2, 2]);
    let both = m.builder.node("Concat", &[&a, &raw, &x], vec![Attribute::int("axis", 1)]);
    let both = m.normalise(&both, 7);
    let both = m.relu(&both);
    let y = m.quant(&both, 0.5, 3, false);
    let y = m.head(&y, [7, 2]);
    let network = is_exact("one quantiser", &m.finish(&[y]));
    assert_eq!(kinds(&network), ["conv", "conv", "threshold", "concat", "globalpool", "dense"]);
}

/// Squeeze and excite: every channel's factor over all positions. A gate of two maps. One pixel added to all.
#[test]
fn branches_are_multiplied_and_repeated() {
    let mut m = Model::new(26, &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let stem = m.block(&x, [2, 3], 0.5);
    let mean = m.builder.global_average_pool(&stem);
    let mean = m.quant(&mean, 0.25, 3, true);
    let product = m.builder.node("Mul", &[&stem, &mean], vec![]);
    let y = m.quant(&product, 0.5, 3, true);
    let gate = m.conv(&y, [3, 3]);
    let gate = m.builder.bipolar(&gate, 1.0);
    let product = m.builder.node("Mul", &[&gate, &y], vec![]);
    let sum = m.add(&product, &mean);
    let y = m.quant(&sum, 0.5, 3, true);
    let y = m.head(&y, [3, 2]);
    let network = is_exact("squeeze and excite", &m.finish(&[y]));
    let found = kinds(&network);
    assert_eq!(found.iter().filter(|k| **k == "mul").count(), 2, "{found:?}");
    assert_eq!(found.iter().filter(|k| **k == "upsample").count(), 2, "{found:?}");
}

/// Random graphs of convolutions, sums, products, differences, concatenations and outputs.
#[test]
fn random_models_are_what_their_float_graphs_say() {
    let mut read = 0;
    for seed in 0..150 {
        let bytes = branches::random(seed);
        let network = match import::read("random", &bytes) {
            Ok(network) => network,
            Err(found) => {
                assert!(found.list().iter().all(|d| d.code.exit == 2), "seed {seed}: {found}");
                continue;
            }
        };
        read += 1;
        let graph = FloatGraph::new(&bytes).unwrap();
        let mut rng = random(seed);
        for _ in 0..4 {
            same_outputs(&format!("seed {seed}"), &network, &graph, &eighths(&mut rng, graph.input_shape()));
        }
    }
    assert!(read > 100, "{read} of 150 are read");
}

/// A residual block whose branch is sampled: members are those of the plain networks that they are.
#[test]
fn a_sampled_branch_is_an_ensemble() {
    let mut m = Model::new(13, &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let stem = m.block(&x, [2, 3], 0.5);
    let w = m.weights(&[3, 3, 3, 3]);
    let attributes = vec![
        Attribute::string("law", "binary"),
        Attribute::int("bits", 2),
        Attribute::int("share", 1),
        Attribute::int("seed", 1),
    ];
    let w = m.builder.node_of(STOXNOR, "StochasticQuant", &[&w], attributes);
    let how = Sliding { kernel: &[3, 3], pads: &[1, 1, 1, 1], ..Sliding::default() };
    let y = m.builder.conv(&stem, &w, None, 1, how);
    let y = m.normalise(&y, 3);
    let y = m.quant(&y, 0.5, 3, true);
    let sum = m.add(&y, &stem);
    let y = m.quant(&sum, 0.5, 3, true);
    let y = m.head(&y, [3, 2]);
    let bytes = m.finish(&[y]);
    let sampling = SamplingOptions { members: Some(3), ..SamplingOptions::default() };
    let options = Options { sampling, ..Options::default() };
    let network = import::read_with("sampled", &bytes, &options).unwrap();
    assert_eq!(network.ensemble.as_ref().map(|e| e.first), Some(1));
    let frames = random_frames(3, &network, 4);
    let hardware = lower(&network, &default_folds(&network, 1000));
    let conditions = Conditions { stall: Some(3), members: vec![3, 1, 2] };
    agree("sampled", &network, &hardware, &frames, &conditions, Effort { rtl: 4, verilator: 2, icarus: 1 });
    // Statistics are measured along chains alone.
    let calibrated = calibrate("sampled", &bytes, &options, |_| Ok(frames), |_| {});
    let text = calibrated.map(drop).unwrap_err().to_string();
    assert!(text.contains("branches"), "{text}");
}
