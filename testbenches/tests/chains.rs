//! Property: whatever monotone chain stands between two products, the network computes what the graph says, at every input.

use proptest::prelude::*;
use stoxnor::engine;
use stoxnor::graph::tensor::{Data, Tensor};
use stoxnor::import;
use stoxnor_testbenches::onnx::{Attribute, Builder, FINN, few_bits, random_dense};

const MODES: [&str; 7] = ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"];
const CHANNELS: usize = 3;

/// One elementwise step; numbers are eighths, so that most sums hit ties and edges.
#[derive(Debug, Clone)]
enum Link {
    Constant(&'static str, [i8; CHANNELS], bool),
    Relu,
    Clip(i8, u8),
    Normalise([i8; CHANNELS], [i8; CHANNELS]),
    Quant(u32, bool, usize),
    Reshape,
    Trunc(usize),
}

/// What ends the chain.
#[derive(Debug, Clone)]
enum End {
    Bipolar,
    Quant(u32, bool, usize, i32),
    Threshold(Vec<[i8; CHANNELS]>),
    Sign,
}

fn link() -> impl Strategy<Value = Link> {
    let constants = prop::array::uniform3(-12i8..12);
    prop_oneof![
        (prop::sample::select(vec!["Add", "Sub", "Mul"]), constants.clone(), any::<bool>())
            .prop_map(|(op, c, first)| Link::Constant(op, c, first)),
        Just(Link::Relu),
        (-20i8..4, 0u8..30).prop_map(|(low, more)| Link::Clip(low, more)),
        (constants.clone(), constants).prop_map(|(gamma, beta)| Link::Normalise(gamma, beta)),
        (2u32..9, any::<bool>(), 0..MODES.len())
            .prop_map(|(bits, signed, mode)| Link::Quant(bits, signed, mode)),
        Just(Link::Reshape),
        (0..MODES.len()).prop_map(Link::Trunc),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Bipolar),
        (1u32..9, any::<bool>(), 0..MODES.len(), -3..1).prop_map(|(b, s, m, e)| End::Quant(b, s, m, e)),
        prop::collection::vec(prop::array::uniform3(-40i8..40), 1..9).prop_map(End::Threshold),
        Just(End::Sign),
    ]
}

fn eighths(values: &[i8]) -> Vec<f32> {
    values.iter().map(|v| f32::from(*v) / 8.0).collect()
}

/// Inputs of 3 bits, a layer of `weights`, the chain, and a layer that keeps every channel apart.
fn model(weights: &[[i8; CHANNELS]], chain: &[Link], end: &End) -> Vec<u8> {
    let mut m = Builder::new(&[1, weights.len()]);
    let x = m.quant("x", 0.5, 3, true, "ROUND");
    let w: Vec<f32> = weights.iter().flatten().map(|v| f32::from(*v)).collect();
    let w = m.floats(&[weights.len(), CHANNELS], &w);
    let mut x = m.node("MatMul", &[&x, &w], Vec::new());
    for link in chain {
        x = match link {
            Link::Constant(op, values, first) => {
                let c = m.floats(&[1, CHANNELS], &eighths(values));
                let inputs = if *first { [&c, &x] } else { [&x, &c] };
                m.node(op, &[inputs[0], inputs[1]], Vec::new())
            }
            Link::Relu => m.node("Relu", &[&x], Vec::new()),
            Link::Clip(low, more) => {
                let low = f32::from(*low) / 8.0;
                let bounds =
                    vec![Attribute::float("min", low), Attribute::float("max", low + f32::from(*more) / 8.0)];
                m.node("Clip", &[&x], bounds)
            }
            Link::Normalise(gamma, beta) => {
                m.normalise(&x, [&eighths(gamma), &eighths(beta), &[0.25, -1.0, 0.3], &[1.0, 0.5, 3.0]])
            }
            Link::Quant(bits, signed, mode) => m.quant(&x, 0.25, *bits, *signed, MODES[*mode]),
            Link::Reshape => {
                let to = m.ints(&[2], &[0, -1]);
                m.node("Reshape", &[&x, &to], Vec::new())
            }
            Link::Trunc(mode) => {
                let [scale, zero, from, to] = [0.125, 0.0, 8.0, 7.0].map(|v| m.floats(&[], &[v]));
                let mode = vec![Attribute::string("rounding_mode", MODES[*mode])];
                m.node_of(FINN, "Trunc", &[&x, &scale, &zero, &from, &to], mode)
            }
        };
    }
    x = match end {
        End::Bipolar => m.bipolar(&x, 0.5),
        End::Quant(bits, signed, mode, exponent) => {
            m.quant(&x, 2f32.powi(*exponent), *bits, *signed, MODES[*mode])
        }
        End::Threshold(steps) => {
            let t: Vec<f32> =
                (0..CHANNELS).flat_map(|c| steps.iter().map(move |s| f32::from(s[c]) / 8.0)).collect();
            let t = m.floats(&[CHANNELS, steps.len()], &t);
            let scaled = vec![Attribute::float("out_scale", 0.5), Attribute::float("out_bias", -1.0)];
            m.node_of(FINN, "MultiThreshold", &[&x, &t], scaled)
        }
        End::Sign => m.node("Sign", &[&x], Vec::new()),
    };
    let w = m.floats(&[CHANNELS, CHANNELS], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let y = m.node("MatMul", &[&x, &w], Vec::new());
    m.finish(&y)
}

fn equal(bytes: &[u8], frames: &[Vec<f32>]) -> Result<(), TestCaseError> {
    let network = match import::read("chain", bytes) {
        Ok(network) => network,
        Err(found) => return Err(TestCaseError::fail(format!("refused: {found}"))),
    };
    let graph = import::float_graph(bytes).unwrap();
    let inputs: Vec<Vec<i32>> = frames.iter().map(|f| network.quantise(f).unwrap()).collect();
    for ((frame, input), sums) in frames.iter().zip(&inputs).zip(engine::sums(&network, &inputs)) {
        let x = Tensor::new(graph.input_shape().to_vec(), Data::Float(frame.clone())).unwrap();
        let wanted = graph.eval(&x).unwrap();
        let slow = network.nodes.iter().fold(input.clone(), |x, node| node.layer.reference(&[&x], 0));
        prop_assert_eq!(&slow, &sums);
        let sums: Vec<i64> = sums.iter().map(|s| i64::from(*s)).collect();
        let found = network.finish(&sums, 1).unwrap();
        // -0 and +0 are equal.
        prop_assert_eq!(found.as_slice(), wanted.floats("the output").unwrap(), "at {:?}", frame);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_chain_is_what_the_graph_says_at_every_input(
        weights in prop::collection::vec(prop::array::uniform3(-4i8..=4), 1..4),
        chain in prop::collection::vec(link(), 0..5),
        end in end(),
    ) {
        // All inputs that there are: the domain is small.
        let count = 8usize.pow(weights.len() as u32);
        let digit = |i: usize, at: usize| (i / 8usize.pow(at as u32) % 8) as f32 / 2.0 - 2.0;
        let frames: Vec<Vec<f32>> = (0..count).map(|i| (0..weights.len()).map(|at| digit(i, at)).collect()).collect();
        equal(&model(&weights, &chain, &end), &frames)?;
    }

    #[test]
    fn random_networks_equal_their_graph(
        seed in any::<u64>(),
        widths in prop::collection::vec(1usize..12, 2..6),
        values in prop::collection::vec(-2.0f32..2.0, 12 * 8),
    ) {
        let frames: Vec<Vec<f32>> = values.chunks(12).map(|c| c[..widths[0]].to_vec()).collect();
        equal(&few_bits(seed, &widths), &frames)?;
        equal(&random_dense(seed, &widths), &frames)?;
    }
}
