//! Networks with several inputs: all engines agree at every boundary, under stalls of every port too, and models are what their float graphs
//! say.

use std::sync::Arc;

use rand::RngExt as _;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::product::{Product, Stochastic};
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor::engine::{Conditions, Engine};
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::import;
use stoxnor::import::FloatGraph;
use stoxnor::import::options::{FixedPoint, OnChip, Options};
use stoxnor::layer::add::Add;
use stoxnor::layer::concat::Concat;
use stoxnor::layer::dense::Dense;
use stoxnor::lower::lower;
use stoxnor::network::{Network, Source, UnnamedLayer};
use stoxnor::{Config, Frames, Model};
use stoxnor_testbenches::conformance::{
    Effort, agree, default_folds, of_inputs, random, random_folds, random_frames,
};
use stoxnor_testbenches::graph::{float_outputs, outputs};
use stoxnor_testbenches::onnx::branches;
use stoxnor_testbenches::onnx::{Attribute, Sliding};
use stoxnor_testbenches::random::run::no_entry_too_many;

fn port(shape: &[usize], element: Element) -> Port {
    Port { shape: shape.to_vec(), element }
}

fn layer(inputs: &[Source], layer: impl stoxnor::network::layer::Layer + 'static) -> UnnamedLayer {
    UnnamedLayer { origin: "layer".into(), inputs: inputs.to_vec(), layer: Arc::new(layer) }
}

fn weights(rows: usize, fan_in: usize) -> IntMatrix {
    IntMatrix::from_fn(rows, fan_in, |r, c| ((r * 5 + c * 3 + r * c) % 3) as i16 - 1)
}

/// Steps from 0 to 3.
fn stairs(rows: usize) -> Activation {
    Activation::rising(Element::Unsigned(2), 0, (0..rows as i32).map(|r| vec![-3 + r, r, 2 + r]).collect())
}

/// A dense layer for each of two inputs, and their sum; the second input goes on into a concatenation too.
fn joined() -> Network {
    let inputs = vec![port(&[12], Element::Bipolar), port(&[6], Element::Unsigned(3))];
    let (x, z) = (Source::Input(0), Source::Input(1));
    let found = vec![
        layer(&[x], Dense::new(weights(6, 12), Some(stairs(6)))),
        layer(&[z], Dense::new(weights(6, 6), Some(stairs(6)))),
        layer(&[Source::Layer(0), Source::Layer(1)], Add::new(vec![6], vec![1, 2], vec![stairs(6)])),
        layer(&[Source::Layer(2), z], Concat::new(&[], vec![6, 6])),
        layer(&[Source::Layer(3)], Dense::new(weights(4, 12), None)),
    ];
    of_inputs(inputs, found, &[]).expect("a legal network")
}

/// Three inputs of different lengths that meet without a layer in front, and two outputs.
fn at_once() -> Network {
    let inputs =
        vec![port(&[8], Element::Signed(3)), port(&[8], Element::Signed(3)), port(&[24], Element::Bipolar)];
    let found = vec![
        layer(&[Source::Input(1), Source::Input(0)], Add::new(vec![8], vec![1, -1], vec![])),
        layer(&[Source::Input(2)], Dense::new(weights(8, 24), None)),
        layer(&[Source::Layer(0), Source::Layer(1)], Add::new(vec![8], vec![1, 1], vec![stairs(8)])),
        layer(&[Source::Layer(2)], Dense::new(weights(3, 8), None)),
    ];
    of_inputs(inputs, found, &[3, 0]).expect("a legal network")
}

/// One input goes through a layer before the ensemble begins, the other straight into it.
fn sampled(realisation: Realisation) -> Network {
    let inputs = vec![port(&[8], Element::Bipolar), port(&[6], Element::Unsigned(2))];
    let rounding = Rounding { law: Law::Binary, bits: 2, share: 2, seed: 3 };
    let real = |r: usize, c: usize| ((r * 13 + c * 7) % 19) as f32 / 9.0 - 1.0;
    let matrix = StochasticMatrix::from_fn(rounding, 2, (6, 6), real);
    let product = Product::stochastic(Stochastic { matrix, realisation, members: 3 }, vec![stairs(6)]);
    let found = vec![
        layer(&[Source::Input(0)], Dense::new(weights(6, 8), Some(stairs(6)))),
        layer(&[Source::Layer(0)], Dense::from(product)),
        layer(&[Source::Layer(1), Source::Input(1)], Add::new(vec![6], vec![1, 1], vec![stairs(6)])),
        layer(&[Source::Layer(2)], Dense::new(weights(3, 6), None)),
    ];
    of_inputs(inputs, found, &[]).expect("a legal network")
}

pub(crate) fn examples() -> Vec<(&'static str, Network)> {
    vec![
        ("joined behind layers", joined()),
        ("joined at once", at_once()),
        ("sampled on the fly", sampled(Realisation::Fly)),
        ("sampled into memories", sampled(Realisation::Sampled)),
    ]
}

#[test]
fn all_engines_agree_at_every_boundary() {
    for (what, network) in examples() {
        let random = |seed| random_folds(&mut random(seed), &network);
        for (index, folds) in [default_folds(&network, 60), random(1), random(2)].into_iter().enumerate() {
            let hardware = lower(&network, &folds);
            let frames = random_frames(7, &network, 5);
            let members = if network.ensemble.is_some() { vec![2, 3, 1] } else { vec![] };
            for stall in [None, Some(1), Some(2)] {
                let outside = if index == 0 && stall != Some(2) { 2 } else { 0 };
                let effort = Effort { rtl: 5, verilator: outside, icarus: outside.min(1) };
                let conditions = Conditions { stall, members: members.clone() };
                let context = format!("{what}, {folds:?}, stall {stall:?}");
                agree(&context, &network, &hardware, &frames, &conditions, effort);
            }
            no_entry_too_many(&network, &folds, &hardware)
                .unwrap_or_else(|e| panic!("{what}, {folds:?}: {e}"));
        }
    }
}

#[test]
fn an_input_that_no_layer_takes_is_refused() {
    let inputs = vec![port(&[4], Element::Bipolar), port(&[4], Element::Bipolar)];
    let found = vec![layer(&[Source::Input(0)], Dense::new(weights(2, 4), None))];
    let text = of_inputs(inputs, found, &[]).unwrap_err().to_string();
    assert!(text.contains("graph input x1"), "{text}");
}

/// An image and a vector with quantisers of their own.
fn image_and_vector() -> branches::Model {
    branches::Model::new(31, &[1, 2, 4, 4])
}

/// Multiples of 1/8, so that quantisers see ties.
fn eighths(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = random(seed);
    (0..count).map(|_| f32::from(rng.random_range(-16i8..=16)) / 8.0).collect()
}

fn is_exact(what: &str, bytes: &[u8], options: &Options) -> Network {
    let network = import::read_with("inputs", bytes, options).unwrap_or_else(|e| panic!("{what}: {e}"));
    let graph = FloatGraph::new(bytes).unwrap();
    let count = graph.inputs().iter().map(|input| input.shape.iter().product::<usize>()).sum();
    for seed in 0..20 {
        let frame = eighths(seed, count);
        assert_eq!(outputs(&network, &frame), float_outputs(&graph, &frame), "{what}");
    }
    let hardware = lower(&network, &default_folds(&network, 200));
    let frames = random_frames(3, &network, 3);
    for stall in [None, Some(5)] {
        let outside = usize::from(stall.is_some());
        let effort = Effort { rtl: 3, verilator: outside, icarus: outside };
        agree(what, &network, &hardware, &frames, &Conditions { stall, members: vec![] }, effort);
    }
    network
}

#[test]
fn models_with_two_inputs_are_what_their_float_graph_says() {
    let axis = || vec![Attribute::int("axis", 1)];
    // Joined behind layers; the vector stands after the image in the file, and its nodes before.
    let mut m = image_and_vector();
    m.builder.input("z", &[1, 5]);
    let z = m.quant("z", 0.25, 4, true);
    let v = m.dense(&z, [5, 3]);
    let v = m.quant(&v, 0.5, 3, true);
    let x = m.quant("x", 0.5, 3, true);
    let y = m.block(&x, [2, 3], 0.5);
    let y = m.builder.max_pool(&y, Sliding::apart(&[4, 4]));
    let y = m.builder.node("Flatten", &[&y], vec![]);
    let sum = m.add(&y, &v);
    let sum = m.quant(&sum, 0.5, 3, true);
    let both = m.builder.node("Concat", &[&sum, &v], axis());
    let y = m.dense(&both, [6, 4]);
    let network = is_exact("an image and a vector", &m.finish(&[y]), &Options::default());
    let names: Vec<&str> = network.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["x", "z"]);
    assert_eq!(network.entries[0].port.shape, [4, 4, 2]);

    // Joined at once, one of them in two branches, and an unused input.
    let mut m = branches::Model::new(32, &[1, 2, 4, 4]);
    m.builder.input("unused", &[1, 7]);
    m.builder.input("z", &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let z = m.quant("z", 0.5, 2, true);
    let sum = m.add(&x, &z);
    let sum = m.quant(&sum, 0.5, 3, true);
    let a = m.block(&z, [2, 2], 0.5);
    let y = m.add(&sum, &a);
    let y = m.quant(&y, 0.5, 3, true);
    let y = m.head(&y, [2, 3]);
    let network = is_exact("two images", &m.finish(&[y]), &Options::default());
    assert_eq!(network.entries.len(), 2);
}

/// `[input] bits` is the type of every input that the graph leaves unquantised, and `quantise = "hardware"` acts on every input.
#[test]
fn options_of_the_input_are_those_of_every_input() {
    let model = |quantised: bool| {
        let mut m = branches::Model::new(33, &[1, 6]);
        m.builder.input("z", &[1, 4]);
        let [x, z] =
            ["x", "z"].map(|name| if quantised { m.quant(name, 0.5, 3, true) } else { name.to_owned() });
        let (a, b) = (m.dense(&x, [6, 3]), m.dense(&z, [4, 3]));
        let (a, b) = (m.quant(&a, 0.5, 3, true), m.quant(&b, 0.5, 3, true));
        let sum = m.add(&a, &b);
        let sum = m.quant(&sum, 0.5, 3, true);
        let y = m.dense(&sum, [3, 2]);
        m.finish(&[y])
    };
    let refused = import::read("inputs", &model(false)).unwrap_err();
    assert_eq!(refused.list().len(), 2, "{refused}");
    let fixed = Options { input: Some(FixedPoint { bits: 8, fraction_bits: 3 }), ..Options::default() };
    let network = is_exact("fixed point", &model(false), &fixed);
    assert!(network.entries.iter().all(|entry| entry.port.element == Element::Signed(8)));

    let on_chip = Options { on_chip: Some(OnChip { scale: None }), ..Options::default() };
    let network = import::read_with("inputs", &model(true), &on_chip).unwrap();
    let kinds: Vec<&str> = network.nodes.iter().map(|n| n.layer.kind()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "threshold").count(), 2, "{kinds:?}");
    let host = import::read("inputs", &model(true)).unwrap();
    for seed in 0..20 {
        let mut rng = random(seed);
        let frame: Vec<f32> = (0..10).map(|_| f32::from(rng.random_range(0..4u8))).collect();
        assert_eq!(outputs(&network, &frame), outputs(&host, &frame));
    }
}

#[test]
fn the_library_takes_frames_of_each_input() {
    let mut m = branches::Model::new(34, &[1, 6]);
    m.builder.input("z", &[1, 4]);
    let (x, z) = (m.quant("x", 0.5, 3, true), m.quant("z", 0.5, 3, true));
    let both = m.builder.node("Concat", &[&x, &z], vec![Attribute::int("axis", 1)]);
    let y = m.dense(&both, [10, 3]);
    let bytes = m.finish(&[y]);
    let model = Model::from_bytes("two", &bytes, &Config::default()).unwrap();
    let told: Vec<(String, Vec<usize>)> = model.inputs().into_iter().map(|i| (i.name, i.shape)).collect();
    assert_eq!(told, [("x".to_owned(), vec![6]), ("z".to_owned(), vec![4])]);
    let (x, z) = (eighths(1, 12), eighths(2, 8));
    let frames = Frames::of_inputs(&[Frames::new(6, x.clone()), Frames::new(4, z.clone())]).unwrap();
    let graph = FloatGraph::new(&bytes).unwrap();
    let wanted: Vec<f32> = (0..2)
        .flat_map(|f| float_outputs(&graph, &[&x[6 * f..][..6], &z[4 * f..][..4]].concat()).remove(0))
        .collect();
    for engine in [Engine::Reference, Engine::Fast, Engine::Rtl] {
        assert_eq!(model.run(&frames, engine).unwrap()[0].values, wanted);
    }
    assert!(model.check(&frames, &[Engine::Fast, Engine::Rtl]).unwrap().equal);
    let text = Frames::of_inputs(&[Frames::new(6, x), Frames::new(4, vec![0.0; 4])]).unwrap_err().to_string();
    assert!(text.contains("2 and 1 frames"), "{text}");
    let text = model.run(&Frames::new(6, vec![0.0; 6]), Engine::Fast).unwrap_err().to_string();
    assert!(text.contains("frames of 6 elements where the inputs have 10"), "{text}");
    assert!(model.read_frames("x.npy").unwrap_err().to_string().contains("2 inputs (x, z)"));
}
