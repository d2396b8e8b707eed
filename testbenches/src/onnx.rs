//! ONNX files made in tests. The messages are written with prost, the importer reads them with code of its own: the two
//! check each other.

pub mod branches;
mod image;
mod proto;

use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};

pub use image::Sliding;
pub use proto::{
    Annotation, Attribute, Axis, Graph, Model, Node, Opset, Pair, Shape, TensorProto, TensorType, Type,
    ValueInfo,
};
use proto::{dims, value_info};

/// Domain of Brevitas's quantised operators.
pub const BREVITAS: &str = "onnx.brevitas";
/// Domain of FINN's quantised operators.
pub const FINN: &str = "finn.custom_op.general";
/// Domain of stoxnor's own operators.
pub const STOXNOR: &str = "stoxnor";
/// Domain of QONNX's quantised operators.
pub const QONNX: &str = "qonnx.custom_op.general";

/// Builds a model node by node. Each tensor is named after what makes it.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    /// The graph so far: tests break it at will.
    pub graph: Graph,
}

impl Builder {
    /// A graph with the float32 input `x`.
    pub fn new(shape: &[usize]) -> Self {
        let mut graph = Graph { name: "made in a test".into(), ..Graph::default() };
        graph.inputs.push(value_info("x", shape));
        Self { graph }
    }

    /// Adds an input of float32.
    pub fn input(&mut self, name: &str, shape: &[usize]) {
        self.graph.inputs.push(value_info(name, shape));
    }

    /// Adds a float32 constant and gives its name.
    pub fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        let name = format!("c{}", self.graph.initialisers.len());
        self.graph.initialisers.push(TensorProto::floats(&name, shape, values));
        name
    }

    /// Adds an int8 constant and gives its name.
    pub fn bytes(&mut self, shape: &[usize], values: &[i8]) -> String {
        let name = format!("c{}", self.graph.initialisers.len());
        let raw = values.iter().map(|v| *v as u8).collect();
        let tensor = TensorProto {
            name: name.clone(),
            dims: dims(shape),
            kind: 3,
            raw: Some(raw),
            ..TensorProto::default()
        };
        self.graph.initialisers.push(tensor);
        name
    }

    /// Adds an int64 constant and gives its name.
    pub fn ints(&mut self, shape: &[usize], values: &[i64]) -> String {
        let name = format!("c{}", self.graph.initialisers.len());
        self.graph.initialisers.push(TensorProto::ints(&name, shape, values));
        name
    }

    /// Adds a node of ONNX's own domain with one output, and gives that output's name.
    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        self.node_of("", op, inputs, attributes)
    }

    /// Adds a node of `domain` with one output, and gives that output's name.
    pub fn node_of(&mut self, domain: &str, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let index = self.graph.nodes.len();
        let output = format!("t{index}");
        self.graph.nodes.push(Node {
            inputs: inputs.iter().map(|&s| s.to_owned()).collect(),
            outputs: vec![output.clone()],
            name: format!("{op}_{index}"),
            op: op.into(),
            attributes,
            domain: domain.into(),
        });
        output
    }

    /// Adds `op` of the running tensor and a float32 scalar.
    pub fn scalar(&mut self, op: &str, x: &str, value: f32) -> String {
        let constant = self.floats(&[], &[value]);
        self.node(op, &[x, &constant], Vec::new())
    }

    /// Adds Brevitas's BipolarQuant with a scale.
    pub fn bipolar(&mut self, x: &str, scale: f32) -> String {
        let scale = self.floats(&[], &[scale]);
        self.node_of(BREVITAS, "BipolarQuant", &[x, &scale], Vec::new())
    }

    /// Adds QONNX's Quant with a scale, and the bits.
    pub fn quant(&mut self, x: &str, scale: f32, bits: u32, signed: bool, rounding: &str) -> String {
        let [scale, zero, bits] = [scale, 0.0, bits as f32].map(|v| self.floats(&[], &[v]));
        let attributes = vec![
            Attribute::int("signed", signed.into()),
            Attribute::int("narrow", 0),
            Attribute::string("rounding_mode", rounding),
        ];
        self.node_of(QONNX, "Quant", &[x, &scale, &zero, &bits], attributes)
    }

    /// Says the integer type of a tensor, as FINN does.
    pub fn annotate(&mut self, tensor: &str, kind: &str) {
        let pairs = vec![Pair::new("finn_datatype", kind)];
        self.graph.annotations.push(Annotation { tensor: tensor.into(), pairs });
    }

    /// Adds BatchNormalization with gamma, beta, mean and variance.
    pub fn normalise(&mut self, x: &str, parameters: [&[f32]; 4]) -> String {
        let [g, b, m, v] = parameters.map(|p| self.floats(&[p.len()], p));
        self.node("BatchNormalization", &[x, &g, &b, &m, &v], vec![Attribute::float("epsilon", 1e-5)])
    }

    /// Adds a graph output of undeclared shape; [`finish`](Self::finish) adds the last one.
    pub fn output(&mut self, name: &str) {
        self.graph.outputs.push(ValueInfo { name: name.into(), kind: None });
    }

    /// The file's bytes, with the graph output `output` (of undeclared shape).
    pub fn finish(self, output: &str) -> Vec<u8> {
        self.finish_at(9, output)
    }

    /// [`finish`](Self::finish), with a version of ONNX's operator set.
    pub fn finish_at(mut self, version: i64, output: &str) -> Vec<u8> {
        self.output(output);
        let opsets = vec![Opset { domain: String::new(), version }];
        Model { ir_version: 6, producer: "stoxnor".into(), graph: Some(self.graph), opsets }.encode_to_vec()
    }
}

/// A random dense network in Brevitas's form: `widths[0]` inputs as numbers p/255, hidden layers of 1-bit weights
/// behind a Transpose, batch normalisation (a quarter of its gammas negative) and BipolarQuant, and a last layer with
/// an affine tail. The same seed gives the same bytes on every machine.
pub fn random_dense(seed: u64, widths: &[usize]) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut model = Builder::new(&[1, widths[0]]);
    let mut x = model.scalar("Mul", "x", 2.0);
    x = model.scalar("Sub", &x, 1.0);
    x = model.bipolar(&x, 1.0);
    for (layer, pair) in widths.windows(2).enumerate() {
        let &[inputs, outputs] = pair else { continue };
        let latent: Vec<f32> = (0..inputs * outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
        let latent = model.floats(&[outputs, inputs], &latent);
        let w = model.bipolar(&latent, 1.0);
        let w = model.node("Transpose", &[&w], vec![Attribute::ints("perm", &[1, 0])]);
        x = model.node("MatMul", &[&x, &w], Vec::new());
        if layer + 2 == widths.len() {
            x = model.scalar("Mul", &x, 0.0625);
            x = model.scalar("Add", &x, -1.25);
            return model.finish(&x);
        }
        let spread = (inputs as f32).sqrt();
        let mut draw =
            |low: f32, high: f32| -> Vec<f32> { (0..outputs).map(|_| rng.random_range(low..high)).collect() };
        let (gamma, beta) = (draw(-0.5, 1.5), draw(-1.0, 1.0));
        let (mean, variance) = (draw(-spread, spread), draw(0.5 * inputs as f32, 2.0 * inputs as f32));
        x = model.normalise(&x, [&gamma, &beta, &mean, &variance]);
        x = model.bipolar(&x, 1.0);
    }
    model.finish(&x)
}

/// A random dense network of few bits in QONNX's form: Quant before every layer and on all weights, Gemm, Relu, Clip and
/// MultiThreshold by turns. Scales are powers of two: the graph's float32 sums are exact.
pub fn few_bits(seed: u64, widths: &[usize]) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut model = Builder::new(&[1, widths[0]]);
    let mut x = model.quant("x", 0.125, 4, true, "ROUND");
    for (layer, pair) in widths.windows(2).enumerate() {
        let &[inputs, outputs] = pair else { continue };
        let latent: Vec<f32> = (0..inputs * outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut draw =
            |n: usize, to: f32| -> Vec<f32> { (0..n).map(|_| rng.random_range(-to..to)).collect() };
        if layer % 2 == 0 {
            let latent = model.floats(&[outputs, inputs], &latent);
            let w = model.quant(&latent, 0.25, 3, true, "HALF_UP");
            let bias = model
                .floats(&[outputs], &draw(outputs, 8.0).iter().map(|b| b.round() / 8.0).collect::<Vec<_>>());
            x = model.node("Gemm", &[&x, &w, &bias], vec![Attribute::int("transB", 1)]);
        } else {
            let latent = model.floats(&[inputs, outputs], &latent);
            let w = model.quant(&latent, 0.5, 2, true, "FLOOR");
            x = model.node("MatMul", &[&x, &w], Vec::new());
        }
        if layer + 2 == widths.len() {
            return model.finish(&x);
        }
        match layer % 3 {
            0 => {
                x = model.node("Relu", &[&x], Vec::new());
                x = model.quant(&x, 0.25, 3, false, "ROUND");
            }
            1 => {
                let [low, high] = [-1.0, 1.0].map(|v| model.floats(&[], &[v]));
                x = model.node("Clip", &[&x, &low, &high], Vec::new());
                x = model.quant(&x, 0.25, 4, true, "CEIL");
            }
            _ => {
                let thresholds = model.floats(&[outputs, 3], &draw(outputs * 3, 2.0));
                let scaled = vec![Attribute::float("out_scale", 0.5), Attribute::float("out_bias", -1.0)];
                x = model.node_of(FINN, "MultiThreshold", &[&x, &thresholds], scaled);
            }
        }
    }
    model.finish(&x)
}

/// What [`sampled`] writes of a network's weights.
#[derive(Debug, Clone, Copy)]
pub struct SampledModel {
    /// `binary` or `ternary`; `None` leaves plain real weights, and no StochasticQuant.
    pub law: Option<&'static str>,
    /// Random bits of a weight.
    pub bits: i64,
    /// Rows that share them.
    pub share: i64,
    /// Members that batch normalisation has its own statistics for; 0 for one statistic of all.
    pub members: usize,
    /// Bits of the activations between layers, signed; 0 for BipolarQuant.
    pub activation: u32,
    /// Writes the plain network that this member is, without anything stochastic.
    pub only: Option<usize>,
}

impl SampledModel {
    /// The weights of a member of layer `layer` (from 1), drawn from real ones [outputs, inputs].
    fn draw(
        &self,
        layer: usize,
        (outputs, inputs): (usize, usize),
        reals: &[f32],
        member: usize,
    ) -> Vec<f32> {
        let law = if self.law == Some("binary") { Law::Binary } else { Law::Ternary };
        let rounding = Rounding { law, bits: self.bits as u32, share: self.share as usize, seed: 1 };
        let matrix = StochasticMatrix::from_fn(rounding, layer as u64, (outputs, inputs), |r, c| {
            reals[r * inputs + c]
        });
        let drawn = matrix.sample(member);
        (0..outputs).flat_map(|r| drawn.row(r).iter().map(|w| f32::from(*w)).collect::<Vec<_>>()).collect()
    }
}

/// A random dense network of sampled weights: raw pixels (0 to 255) are inputs, weights are 8-bit integers over 127, hidden layers end in
/// batch normalisation (a quarter of its gammas negative) and BipolarQuant. The same seed and widths give the same weights.
pub fn sampled(seed: u64, widths: &[usize], how: SampledModel) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut model = Builder::new(&[1, widths[0]]);
    let mut x = model.scalar("Sub", "x", 127.5);
    x = model.bipolar(&x, 1.0);
    for (layer, pair) in widths.windows(2).enumerate() {
        let &[inputs, outputs] = pair else { continue };
        // Most trained weights are near -1, 0 and +1.
        let latent: Vec<i8> =
            (0..inputs * outputs).map(|_| (rng.random_range(-190i16..=190)).clamp(-127, 127) as i8).collect();
        let mut w = match how.only {
            Some(member) => {
                let reals: Vec<f32> = latent.iter().map(|w| f32::from(*w) / 127.0).collect();
                model.floats(&[outputs, inputs], &how.draw(layer + 1, (outputs, inputs), &reals, member))
            }
            None => {
                let stored = model.bytes(&[outputs, inputs], &latent);
                let real = model.node("Cast", &[&stored], vec![Attribute::int("to", 1)]);
                model.scalar("Div", &real, 127.0)
            }
        };
        if let Some(law) = how.law.filter(|_| how.only.is_none()) {
            let attributes = vec![
                Attribute::string("law", law),
                Attribute::int("bits", how.bits),
                Attribute::int("share", how.share),
                Attribute::int("seed", 1),
            ];
            w = model.node_of(STOXNOR, "StochasticQuant", &[&w], attributes);
        }
        let w = model.node("Transpose", &[&w], vec![Attribute::ints("perm", &[1, 0])]);
        x = model.node("MatMul", &[&x, &w], Vec::new());
        if layer + 2 == widths.len() {
            x = model.scalar("Mul", &x, 0.0625);
            x = model.scalar("Add", &x, -1.25);
            return model.finish(&x);
        }
        let spread = (inputs as f32).sqrt() / 2.0;
        let mut draw = |n: usize, low: f32, high: f32| -> Vec<f32> {
            (0..n).map(|_| rng.random_range(low..high)).collect()
        };
        let (gamma, beta) = (draw(outputs, -0.5, 1.5), draw(outputs, -1.0, 1.0));
        let sets = how.members.max(1);
        let mean = draw(outputs * sets, -spread, spread);
        let variance = draw(outputs * sets, 0.25 * inputs as f32, inputs as f32);
        if how.members == 0 || how.only.is_some() {
            let own = how.only.filter(|_| how.members > 0).unwrap_or(0) * outputs..;
            let (mean, variance) = (&mean[own.clone()][..outputs], &variance[own][..outputs]);
            x = model.normalise(&x, [&gamma, &beta, mean, variance]);
        } else {
            let of = |model: &mut Builder, values: &[f32]| {
                let all = model.floats(&[sets, outputs], values);
                model.node_of(STOXNOR, "Member", &[&all], Vec::new())
            };
            let (mean, variance) = (of(&mut model, &mean), of(&mut model, &variance));
            let [gamma, beta] = [&gamma, &beta].map(|p| model.floats(&[outputs], p));
            let epsilon = vec![Attribute::float("epsilon", 1e-5)];
            x = model.node("BatchNormalization", &[&x, &gamma, &beta, &mean, &variance], epsilon);
        }
        x = match how.activation {
            0 => model.bipolar(&x, 1.0),
            bits => model.quant(&x, 0.5, bits, true, "ROUND"),
        };
    }
    model.finish(&x)
}
