//! What networks and float graphs compute, for comparison.

use stoxnor::graph::step::HostGraph;
use stoxnor::graph::tensor::{Data, Tensor};
use stoxnor::import::FloatGraph;
use stoxnor::network::{Network, Source};

/// Every layer's frame, by the reference. `input` holds the integers of all inputs, one input after another.
pub fn layers(network: &Network, input: &[i32]) -> Vec<Vec<i32>> {
    let mut frames: Vec<Vec<i32>> = Vec::new();
    for node in &network.nodes {
        let inputs: Vec<&[i32]> = node
            .inputs
            .iter()
            .map(|source| match source {
                Source::Input(i) => network.entry_of(input, *i),
                Source::Layer(i) => &frames[*i],
            })
            .collect();
        let frame = node.layer.reference(&inputs, 0);
        frames.push(frame);
    }
    frames
}

/// The last layer's integers and the graph's output for one frame.
pub fn run(network: &Network, frame: &[f32]) -> (Vec<i32>, Vec<f32>) {
    let sums = layers(network, &network.quantise(frame).unwrap()).pop().unwrap();
    let wide: Vec<i64> = sums.iter().map(|&s| s.into()).collect();
    let output = network.finish(&wide, 1).unwrap();
    (sums, output)
}

/// Whether network and float graph give the same numbers.
pub fn equals_float_graph(network: &Network, graph: &HostGraph, frame: &[f32]) -> bool {
    let x = Tensor::new(graph.input_shape().to_vec(), Data::Float(frame.to_vec())).unwrap();
    let wanted = match graph.eval(&x).unwrap().data {
        Data::Float(v) => v,
        Data::Int(v) => v.into_iter().map(|i| i as f32).collect(),
    };
    let found = run(network, frame).1;
    found.len() == wanted.len() && found.iter().zip(&wanted).all(|(f, w)| f == w || f.is_nan() && w.is_nan())
}

/// All outputs for one frame, as the layers' reference and the host's tails compute them.
pub fn outputs(network: &Network, frame: &[f32]) -> Vec<Vec<f32>> {
    let frames = layers(network, &network.quantise(frame).unwrap());
    let of = |layer: usize| frames[layer].iter().map(|v| i64::from(*v));
    let sums: Vec<i64> = network.exits.iter().flat_map(|exit| of(exit.layer)).collect();
    (0..network.outputs.len()).map(|index| network.finish_output(index, &sums, 1).unwrap()).collect()
}

/// All outputs for one frame of all inputs, one input after another, as the file's own operators compute them.
pub fn float_outputs(graph: &FloatGraph, frame: &[f32]) -> Vec<Vec<f32>> {
    let mut rest = frame;
    let mut tensors = Vec::new();
    for input in graph.inputs() {
        let (own, others) = rest.split_at(input.shape.iter().product());
        tensors.push(Tensor::new(input.shape.clone(), Data::Float(own.to_vec())).unwrap());
        rest = others;
    }
    let floats = |tensor: Tensor| match tensor.data {
        Data::Float(v) => v,
        Data::Int(v) => v.into_iter().map(|i| i as f32).collect(),
    };
    graph.eval_all(&tensors).unwrap().into_iter().map(floats).collect()
}

/// Whether a network and the file's own operators give the same numbers at every output.
pub fn equals_graph(network: &Network, graph: &FloatGraph, frame: &[f32]) -> bool {
    let (found, wanted) = (outputs(network, frame), float_outputs(graph, frame));
    // A zero point of 1e-45 makes a level of -1e-45 where integers have 0.
    let same = |(f, w): (&f32, &f32)| f == w || (f - w).abs() < f32::MIN_POSITIVE || f.is_nan() && w.is_nan();
    let alike = |(f, w): (&Vec<f32>, &Vec<f32>)| f.len() == w.len() && f.iter().zip(w).all(same);
    found.len() == wanted.len() && found.iter().zip(&wanted).all(alike)
}
