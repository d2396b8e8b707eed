//! Random model files: operators in any order, most of them nonsense. The importer gives a network that equals the float32 executor, or
//! a diagnostic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stoxnor::graph::tensor::{Data, Tensor};
use stoxnor::import::{FloatGraph, read};
use stoxnor::network::Network;

use crate::graph::layers;
use crate::onnx::{Attribute, Builder, QONNX, Sliding};

/// Frames that each accepted model is run on.
const FRAMES: usize = 3;

/// What became of a random model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A network that equals the float32 executor.
    Equal,
    /// A network that differs from the executor, in whose graph levels are transcendental numbers.
    Inexact,
    /// A diagnostic of this code.
    Refused(&'static str),
}

impl Outcome {
    /// `equal`, or the code of the refusal.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Inexact => "inexact",
            Self::Refused(code) => code,
        }
    }
}

/// A random model file; the same seed gives the same bytes on every machine.
pub fn draw(seed: u64) -> Vec<u8> {
    let mut draw = Draw::new(seed);
    let nodes = draw.random.random_range(3..16);
    for _ in 0..nodes {
        draw.node();
    }
    draw.finish()
}

/// Imports a model file and compares it with the float32 executor.
///
/// # Errors
/// A panic, a model that is accepted and then takes no input, or other numbers than the executor's: the fact in words.
pub fn check(seed: u64, bytes: &[u8]) -> Result<Outcome, String> {
    let caught = catch_unwind(AssertUnwindSafe(|| compare(seed, bytes)));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
    })
}

fn compare(seed: u64, bytes: &[u8]) -> Result<Outcome, String> {
    let network = match read("random", bytes) {
        Ok(network) => network,
        Err(found) => {
            let first = &found.list()[0];
            return if first.message.is_empty() || first.help.is_none() {
                Err(format!("a refusal without a way out: {found}"))
            } else {
                Ok(Outcome::Refused(first.code.word))
            };
        }
    };
    let graph = FloatGraph::new(bytes).map_err(|e| format!("accepted, and the executor refuses: {e}"))?;
    let mut random = ChaCha8Rng::seed_from_u64(!seed);
    let shape = graph.input_shape().to_vec();
    for _ in 0..FRAMES {
        let frame: Vec<f32> =
            (0..shape.iter().product()).map(|_| random.random_range(-32..32) as f32 / 4.0).collect();
        let quantised = match network.quantise(&frame) {
            Ok(quantised) => quantised,
            // A square root of a negative input, and the like.
            Err(found) if found.to_string().contains("becomes NaN") => continue,
            Err(found) => return Err(format!("accepted, and takes no input: {found}")),
        };
        let found = outputs(&network, &quantised)?;
        let x = Tensor::new(shape.clone(), Data::Float(frame)).map_err(|e| e.to_string())?;
        let wanted = graph.eval(&x).map_err(|e| format!("the executor refuses a frame: {e}"))?;
        for (found, wanted) in found.iter().zip(&wanted) {
            match equal(found, &numbers(wanted)) {
                // The network sums integers, the executor multiples of a rounded number: next to a threshold they may differ.
                Err(_) if inexact(bytes) => return Ok(Outcome::Inexact),
                other => other?,
            }
        }
    }
    Ok(Outcome::Equal)
}

/// Whether a model file holds an operator whose results are no multiples of powers of two for such operands.
fn inexact(bytes: &[u8]) -> bool {
    const NAMES: &[&str] = &[
        "Tanh",
        "Sigmoid",
        "Exp",
        "Sqrt",
        "HardSigmoid",
        "HardSwish",
        "Elu",
        "Erf",
        "Softplus",
        "Softmax",
        "LogSoftmax",
    ];
    NAMES.iter().any(|name| bytes.windows(name.len()).any(|part| part == name.as_bytes()))
}

/// The graph's outputs for one frame, by the reference.
fn outputs(network: &Network, frame: &[i32]) -> Result<Vec<Vec<f32>>, String> {
    let frames = layers(network, frame);
    let sums: Vec<i64> =
        network.exits.iter().flat_map(|exit| frames[exit.layer].iter().map(|v| i64::from(*v))).collect();
    (0..network.outputs.len())
        .map(|index| network.finish_output(index, &sums, 1).map_err(|e| e.to_string()))
        .collect()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    match &tensor.data {
        Data::Float(v) => v.clone(),
        Data::Int(v) => v.iter().map(|i| *i as f32).collect(),
    }
}

/// Constants are multiples of powers of two, so that sums are exact and levels are never missed; the tail may divide and root.
fn equal(found: &[f32], wanted: &[f32]) -> Result<(), String> {
    let largest = wanted.iter().filter(|w| w.is_finite()).fold(0f32, |m, w| m.max(w.abs()));
    let close = |f: f32, w: f32| f == w || f.is_nan() && w.is_nan() || (f - w).abs() <= 1e-5 * largest;
    if found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| close(*f, *w)) {
        return Ok(());
    }
    Err(format!("{found:?} where the float32 executor gives {wanted:?}"))
}

/// A graph while it is drawn.
struct Draw {
    random: ChaCha8Rng,
    graph: Builder,
    /// The tensors so far and their shapes.
    tensors: Vec<(String, Vec<usize>)>,
}

impl Draw {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let image = random.random_bool(0.7);
        let shape = if image {
            let [c, h, w] = [random.random_range(1..5), random.random_range(2..7), random.random_range(1..7)];
            vec![1, c, h, w]
        } else {
            vec![1, random.random_range(2..13)]
        };
        let graph = Builder::new(&shape);
        let mut draw = Self { random, graph, tensors: vec![("x".to_owned(), shape)] };
        if draw.random.random_bool(0.9) {
            draw.quantiser(0);
        }
        draw
    }

    fn finish(mut self) -> Vec<u8> {
        let (last, _) = self.tensors[self.tensors.len() - 1].clone();
        if self.tensors.len() > 2 && self.random.random_bool(0.2) {
            let other = self.random.random_range(1..self.tensors.len() - 1);
            let name = self.tensors[other].0.clone();
            self.graph.output(&name);
        }
        self.graph.finish_at(13, &last)
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.random.random_range(0..list.len())]
    }

    /// A multiple of an eighth.
    fn value(&mut self) -> f32 {
        self.random.random_range(-24..25) as f32 / 8.0
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.value()).collect()
    }

    /// Adds a node on some tensor, the last one as a rule. What the executor refuses is mostly left out.
    fn node(&mut self) {
        let at = match self.random.random_bool(0.75) {
            true => self.tensors.len() - 1,
            false => self.random.random_range(0..self.tensors.len()),
        };
        match self.random.random_range(0..18) {
            0..3 => self.quantiser(at),
            3..6 => self.product(at),
            6..8 => self.pool(at),
            8..10 => self.elementwise(at),
            10 => self.normalisation(at),
            11 => self.pad(at),
            12 => self.layout(at),
            13..15 => self.join(at),
            15 | 16 => self.geometry(at),
            _ => self.any(at),
        }
    }

    /// Takes the node that was added last; its shape is what the executor makes of zeros.
    fn keep(&mut self, name: String) {
        let bytes = self.graph.clone().finish_at(13, &name);
        let shape = FloatGraph::new(&bytes).ok().and_then(|graph| {
            let zeros = Tensor::zeros(graph.input_shape()).ok()?;
            Some(graph.eval(&zeros).ok()?.pop()?.shape)
        });
        match shape {
            Some(shape) if shape.iter().product::<usize>() < 4096 => self.tensors.push((name, shape)),
            _ if self.random.random_bool(0.03) => self.tensors.push((name, vec![1, 4])),
            _ => {
                self.graph.graph.nodes.pop();
            }
        }
    }

    fn quantiser(&mut self, at: usize) {
        let x = self.tensors[at].0.clone();
        let scale = self.one_of(&[0.25f32, 0.5, 1.0, 1.0, 2.0]);
        let name = match self.random.random_range(0..6) {
            0 | 1 => self.graph.bipolar(&x, scale),
            2 => self.graph.node("Sign", &[&x], vec![]),
            3 => {
                let steps = self.one_of(&[1, 3]);
                let mut levels = self.values(steps);
                levels.sort_by(f32::total_cmp);
                let levels = self.graph.floats(&[1, steps], &levels);
                self.graph.node_of(QONNX, "MultiThreshold", &[&x, &levels], vec![])
            }
            _ => {
                let bits = self.random.random_range(2..5);
                let signed = self.random.random_bool(0.5);
                let rounding = self.one_of(&["ROUND", "FLOOR", "HALF_UP", "CEIL"]);
                self.graph.quant(&x, scale, bits, signed, rounding)
            }
        };
        self.keep(name);
    }

    fn weights(&mut self, shape: &[usize]) -> String {
        let levels = self.one_of(&[&[-1.0f32, 1.0][..], &[-1.0, 0.0, 1.0], &[-2.0, -1.0, 0.0, 1.0, 3.0]]);
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.one_of(levels)).collect();
        self.graph.floats(shape, &values)
    }

    fn product(&mut self, at: usize) {
        let (x, shape) = self.tensors[at].clone();
        let outputs = self.random.random_range(1..6);
        let name = if shape.len() == 4 && self.random.random_bool(0.8) {
            let divisors: Vec<usize> =
                (1..=shape[1].max(1)).filter(|g| shape[1].is_multiple_of(*g)).collect();
            let groups = self.one_of(&divisors);
            let kernel = [self.random.random_range(1..4), self.random.random_range(1..4)];
            let w = self.weights(&[outputs * groups, shape[1] / groups, kernel[0], kernel[1]]);
            let pads = self.pads();
            let strides = [self.random.random_range(1..3), self.random.random_range(1..3)];
            let kernel = kernel.map(|k| k as i64);
            let how = Sliding { strides: &strides, pads: &pads, ..Sliding::apart(&kernel) };
            self.graph.conv(&x, &w, None, groups as i64, how)
        } else {
            let inputs = shape.last().copied().unwrap_or(1);
            let w = self.weights(&[inputs, outputs]);
            self.graph.node("MatMul", &[&x, &w], vec![])
        };
        self.keep(name);
    }

    fn pads(&mut self) -> [i64; 4] {
        if self.random.random_bool(0.6) {
            return [0; 4];
        }
        std::array::from_fn(|_| self.random.random_range(0..2))
    }

    fn pool(&mut self, at: usize) {
        let x = self.tensors[at].0.clone();
        let kernel = self.one_of(&[[1i64, 1], [2, 2], [2, 1], [4, 2]]);
        let pads = self.pads();
        let strides = [self.random.random_range(1..3), self.random.random_range(1..3)];
        let how = Sliding { strides: &strides, pads: &pads, ..Sliding::apart(&kernel) };
        let name = match self.random.random_range(0..5) {
            0 | 1 => self.graph.max_pool(&x, how),
            2 => {
                let counts = self.random.random_bool(0.7);
                self.graph.average_pool(&x, counts, how)
            }
            3 => self.graph.global_average_pool(&x),
            _ => {
                let scales =
                    self.one_of(&[[1.0f32, 1.0, 2.0, 2.0], [1.0, 1.0, 1.0, 3.0], [1.0, 1.0, 0.5, 1.0]]);
                match self.random.random_range(0..3) {
                    0 => self.graph.resize(&x, &scales),
                    1 => {
                        let how = self.one_of(&["half_pixel", "asymmetric", "align_corners"]);
                        self.graph.interpolate(&x, &scales, how)
                    }
                    _ => {
                        let mode = self.one_of(&["edge", "reflect", "wrap"]);
                        let around = [pads[0], pads[1]];
                        self.graph.pad_mode(&x, mode, &[0, 0, around[0], around[1], 0, 0, around[1], 1])
                    }
                }
            }
        };
        self.keep(name);
    }

    fn elementwise(&mut self, at: usize) {
        let (x, shape) = self.tensors[at].clone();
        let op = self.one_of(&["Mul", "Add", "Sub", "Div", "Relu", "Clip", "Neg", "Max", "Min"]);
        let name = match op {
            "Relu" | "Neg" => self.graph.node(op, &[&x], vec![]),
            "Clip" => {
                let [low, high] = [-1.5f32, 1.0].map(|v| self.graph.floats(&[], &[v]));
                self.graph.node(op, &[&x, &low, &high], vec![])
            }
            "Div" => self.graph.scalar(op, &x, 2.0),
            _ => {
                let constant = match (self.random.random_range(0..3), &shape[..]) {
                    (0, [_, channels, rest @ ..]) => {
                        let values = self.values(*channels);
                        let shape = [&[1, *channels][..], &vec![1; rest.len()]].concat();
                        self.graph.floats(&shape, &values)
                    }
                    (1, whole) if self.random.random_bool(0.2) => {
                        let values = self.values(whole.iter().product());
                        self.graph.floats(whole, &values)
                    }
                    _ => {
                        let value = self.value();
                        self.graph.floats(&[], &[value])
                    }
                };
                let turned = self.random.random_bool(0.2);
                let operands = if turned { [&constant[..], &x] } else { [&x[..], &constant] };
                self.graph.node(op, &operands, vec![])
            }
        };
        self.keep(name);
    }

    fn normalisation(&mut self, at: usize) {
        let (x, shape) = self.tensors[at].clone();
        let channels = shape.get(1).copied().unwrap_or(1);
        let [gamma, beta, mean] = std::array::from_fn(|_| self.values(channels));
        let variance: Vec<f32> = (0..channels).map(|_| self.one_of(&[1.0f32, 4.0, 0.5])).collect();
        let name = self.graph.normalise(&x, [&gamma, &beta, &mean, &variance]);
        self.keep(name);
    }

    fn pad(&mut self, at: usize) {
        let (x, shape) = self.tensors[at].clone();
        let rank = shape.len();
        let mut pads = vec![0i64; 2 * rank];
        for axis in 0..rank {
            let rare = axis < 2;
            for end in [axis, axis + rank] {
                if self.random.random_bool(if rare { 0.05 } else { 0.5 }) {
                    pads[end] = self.one_of(&[1, 1, 2, -1]);
                }
            }
        }
        let value = self.one_of(&[0.0f32, 0.0, 1.0, -1.0, 0.5]);
        let name = self.graph.pad(&x, &pads, value);
        self.keep(name);
    }

    fn layout(&mut self, at: usize) {
        let (x, shape) = self.tensors[at].clone();
        let elements: usize = shape.iter().product();
        let name = match self.random.random_range(0..6) {
            0 => self.graph.node("Flatten", &[&x], vec![]),
            1 => {
                let rows: Vec<usize> =
                    (1..=elements.max(1)).filter(|r| elements.is_multiple_of(*r)).collect();
                let rows = self.one_of(&rows) as i64;
                let to = self.graph.ints(&[3], &[1, rows, -1]);
                self.graph.node("Reshape", &[&x, &to], vec![])
            }
            2 if !shape.is_empty() => {
                let mut perm: Vec<i64> = (0..shape.len() as i64).collect();
                let from = self.random.random_range(0..perm.len());
                let to = self.random.random_range(0..perm.len());
                perm.swap(from, to);
                self.graph.node("Transpose", &[&x], vec![Attribute::ints("perm", &perm)])
            }
            3 => self.graph.node("Identity", &[&x], vec![]),
            4 => {
                let axes = self.graph.ints(&[1], &[self.random.random_range(0..3)]);
                self.graph.node("Unsqueeze", &[&x, &axes], vec![])
            }
            _ => self.graph.node("Squeeze", &[&x], vec![]),
        };
        self.keep(name);
    }

    /// Selections of channels, rows and columns, blocks of pixels, transposed convolutions, and sums over pixels.
    fn geometry(&mut self, at: usize) {
        let (x, shape) = self.tensors[at].clone();
        let channels = shape.get(1).copied().unwrap_or(1).max(1);
        let name = match self.random.random_range(0..6) {
            0 | 1 => {
                let start = self.random.random_range(0..3);
                let axis = self.random.random_range(1..shape.len().max(2)) as i64;
                let step = self.one_of(&[1, 1, 2, -1]);
                let (start, end) =
                    if step < 0 { (-1, -100) } else { (start, start + self.one_of(&[1, 2, 100])) };
                let lists = [start, end, axis, step].map(|v| self.graph.ints(&[1], &[v]));
                self.graph.node("Slice", &[&x, &lists[0], &lists[1], &lists[2], &lists[3]], vec![])
            }
            2 => {
                let count = self.random.random_range(1..5);
                let picks: Vec<i64> =
                    (0..count).map(|_| self.random.random_range(0..channels) as i64).collect();
                let picks = self.graph.ints(&[count], &picks);
                self.graph.node("Gather", &[&x, &picks], vec![Attribute::int("axis", 1)])
            }
            3 => self.graph.node("DepthToSpace", &[&x], vec![Attribute::int("blocksize", 2)]),
            4 => {
                let [outputs, high, wide] = std::array::from_fn(|_| self.random.random_range(1..4));
                let w = self.weights(&[channels, outputs, high, wide]);
                let strides = [self.random.random_range(1..4), self.random.random_range(1..3)];
                let pads = self.pads();
                let attributes = vec![Attribute::ints("strides", &strides), Attribute::ints("pads", &pads)];
                self.graph.node("ConvTranspose", &[&x, &w], attributes)
            }
            _ => {
                let first = self.one_of(&[2, 2, 1]);
                let axes = self.graph.ints(&[2], &[first, first + 1]);
                let keep = Attribute::int("keepdims", self.random.random_range(0..2));
                self.graph.node("ReduceSum", &[&x, &axes], vec![keep])
            }
        };
        self.keep(name);
    }

    /// Another tensor of the same shape, if there is one, or any.
    fn join(&mut self, at: usize) {
        let (x, shape) = self.tensors[at].clone();
        let alike: Vec<usize> = (0..self.tensors.len()).filter(|i| self.tensors[*i].1 == shape).collect();
        let other = match self.random.random_bool(0.8) {
            true => self.one_of(&alike),
            false => self.random.random_range(0..self.tensors.len()),
        };
        let other = self.tensors[other].0.clone();
        let name = match self.random.random_range(0..6) {
            0..3 => self.graph.node("Add", &[&x, &other], vec![]),
            3 => self.graph.node("Sub", &[&x, &other], vec![]),
            4 => self.graph.node("Mul", &[&x, &other], vec![]),
            _ => {
                let axis = self.one_of(&[1, 1, 1, -1, 2]);
                self.graph.node("Concat", &[&x, &other], vec![Attribute::int("axis", axis)])
            }
        };
        self.keep(name);
    }

    /// Any operator of one operand, wherever it may stand.
    fn any(&mut self, at: usize) {
        const UNARY: &[&str] = &[
            "Softmax",
            "Sigmoid",
            "Tanh",
            "Abs",
            "Round",
            "Floor",
            "Ceil",
            "Exp",
            "Sqrt",
            "LeakyRelu",
            "HardSigmoid",
            "HardSwish",
            "Elu",
            "Erf",
            "Softplus",
            "ArgMax",
            "ReduceMean",
            "ReduceMax",
            "ReduceSum",
            "GlobalMaxPool",
            "Dropout",
            "Cast",
            "Shape",
            "Not",
            "LogSoftmax",
            "DepthToSpace",
            "SpaceToDepth",
            "PRelu",
            "Slice",
            "Split",
        ];
        let x = self.tensors[at].0.clone();
        let op = self.one_of(UNARY);
        let attributes = match op {
            "DepthToSpace" | "SpaceToDepth" => vec![Attribute::int("blocksize", 2)],
            "Cast" => vec![Attribute::int("to", self.one_of(&[1, 6, 7, 9]))],
            _ => vec![],
        };
        let name = match op {
            "Slice" => {
                let [starts, ends, axes] =
                    [0, 2, self.random.random_range(1..4)].map(|v| self.graph.ints(&[1], &[v]));
                self.graph.node(op, &[&x, &starts, &ends, &axes], vec![])
            }
            "PRelu" => {
                let slope = self.graph.floats(&[1], &[0.25]);
                self.graph.node(op, &[&x, &slope], vec![])
            }
            _ => self.graph.node(op, &[&x], attributes),
        };
        self.keep(name);
    }
}
