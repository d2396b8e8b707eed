//! ONNX Runtime's operators on integers are what their QDQ graphs are; integer inputs and batches of several frames are what the
//! same graph is for numbers and for one frame.

use rand::RngExt;
use stoxnor::import;
use stoxnor::import::FloatGraph;
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::random;
use stoxnor_testbenches::graph::{equals_graph, outputs};
use stoxnor_testbenches::onnx::{Attribute, Builder};
use stoxnor_testbenches::qcdq::{INT8, INT32, UINT8};

const MICROSOFT: &str = "com.microsoft";

/// A tensor of integers with its scale and zero point, by name.
#[derive(Clone)]
struct Coded([String; 3]);

impl Coded {
    fn names(&self) -> [&str; 3] {
        [&self.0[0], &self.0[1], &self.0[2]]
    }
}

/// Builds one network in either form: operators on integers, or their QDQ graphs.
struct Net {
    m: Builder,
    integers: bool,
}

impl Net {
    fn new(shape: &[usize], integers: bool) -> Self {
        Self { m: Builder::new(shape), integers }
    }

    /// Constants of a scale and a zero point of type `kind`.
    fn parameters(&mut self, scales: &[f32], kind: i32, zeros: &[i64]) -> [String; 2] {
        let shape = if scales.len() == 1 { vec![] } else { vec![scales.len()] };
        [self.m.floats(&shape, scales), self.m.integers(kind, &shape, zeros)]
    }

    fn quantise(&mut self, x: &str, scale: f32, zero: i64) -> Coded {
        let [s, z] = self.parameters(&[scale], UINT8, &[zero]);
        let q = self.m.node("QuantizeLinear", &[x, &s, &z], vec![]);
        Coded([q, s, z])
    }

    fn dequantise(&mut self, x: &Coded, axis: i64) -> String {
        self.m.node("DequantizeLinear", &x.names(), vec![Attribute::int("axis", axis)])
    }

    /// `op` of float32 operands, or its form on integers, whose inputs `order` puts together.
    fn apply(
        &mut self,
        (op, name, domain): (&str, &str, &str),
        operands: &[(&Coded, i64)],
        bias: Option<&[i64]>,
        (scale, zero): (f32, i64),
        attributes: Vec<Attribute>,
    ) -> Coded {
        let bias = bias.map(|b| self.m.integers(INT32, &[b.len()], b));
        if self.integers {
            let [s, z] = self.parameters(&[scale], UINT8, &[zero]);
            let mut inputs: Vec<&str> = operands.iter().flat_map(|(x, _)| x.names()).collect();
            match name {
                "QGemm" => inputs.extend(bias.as_deref().into_iter().chain([&*s, &*z])),
                "QLinearConcat" => drop(inputs.splice(0..0, [&*s, &*z])),
                _ => inputs.extend([&*s, &*z].into_iter().chain(bias.as_deref())),
            }
            let q = self.m.node_of(domain, name, &inputs, attributes);
            return Coded([q, s, z]);
        }
        let mut floats: Vec<String> = operands.iter().map(|(x, axis)| self.dequantise(x, *axis)).collect();
        if let Some(bias) = bias {
            let scale = self.m.node("Mul", &[&operands[0].0.0[1], &operands[1].0.0[1]], vec![]);
            floats.push(self.m.node("DequantizeLinear", &[&bias, &scale], vec![Attribute::int("axis", 0)]));
        }
        let inputs: Vec<&str> = floats.iter().map(String::as_str).collect();
        let y = self.m.node(op, &inputs, attributes);
        self.quantise(&y, scale, zero)
    }

    /// uint8 weights with scales and zero points of their own, far from 128 as well.
    fn weights(&mut self, shape: &[usize], channels: usize, seed: u64) -> Coded {
        let mut rng = random(seed);
        let count = shape.iter().product();
        let values: Vec<i64> = (0..count).map(|_| rng.random_range(0..=255)).collect();
        let scales: Vec<f32> = (0..channels).map(|_| 2f32.powi(rng.random_range(-6..-3))).collect();
        let zeros: Vec<i64> = (0..channels).map(|c| [3, 250, 128, 0][c % 4]).collect();
        let w = self.m.integers(UINT8, shape, &values);
        let [s, z] = self.parameters(&scales, UINT8, &zeros);
        Coded([w, s, z])
    }

    /// Convolutions, a pool of integers, a sum, a concatenation, averages and a dense layer, and the last integers' numbers.
    fn image(mut self) -> Vec<u8> {
        let conv = ("Conv", "QLinearConv", "");
        let pads = |p: i64| vec![Attribute::ints("pads", &[p; 4])];
        let x = self.quantise("x", 0.0625, 121);
        let w = self.weights(&[4, 2, 3, 3], 4, 1);
        let a = self.apply(conv, &[(&x, 1), (&w, 0)], Some(&[-148, 135, -87, 28]), (1.0, 9), pads(1));
        let w = self.weights(&[4, 2, 1, 1], 1, 2);
        let b = self.apply(conv, &[(&x, 1), (&w, 0)], None, (1.0, 77), pads(0));
        let sum = ("Add", "QLinearAdd", MICROSOFT);
        let a = self.apply(sum, &[(&a, 1), (&b, 1)], None, (2.0, 40), vec![]);
        // What moves integers, read by several nodes as well.
        let half = vec![Attribute::ints("kernel_shape", &[2, 2]), Attribute::ints("strides", &[2, 2])];
        let pooled = self.m.node("MaxPool", &[&a.0[0]], half);
        let a = Coded([pooled, a.0[1].clone(), a.0[2].clone()]);
        let cat = ("Concat", "QLinearConcat", MICROSOFT);
        let a = self.apply(cat, &[(&a, 1), (&a, 1)], None, (2.0, 40), vec![Attribute::int("axis", 1)]);
        let w = self.weights(&[3, 8, 3, 3], 3, 3);
        let a = self.apply(conv, &[(&a, 1), (&w, 0)], None, (64.0, 100), pads(1));
        let global = ("GlobalAveragePool", "QLinearGlobalAveragePool", MICROSOFT);
        let a = self.apply(global, &[(&a, 1)], None, (32.0, 90), vec![]);
        let flat = self.m.node("Flatten", &[&a.0[0]], vec![]);
        let a = Coded([flat, a.0[1].clone(), a.0[2].clone()]);
        let w = self.weights(&[5, 3], 5, 4);
        let turned = vec![Attribute::int("transB", 1)];
        let gemm = ("Gemm", "QGemm", MICROSOFT);
        let a = self.apply(gemm, &[(&a, 1), (&w, 0)], Some(&[5, -9, 130, 2, 0]), (64.0, 128), turned);
        let y = self.dequantise(&a, 1);
        self.m.finish_at(13, &y)
    }
}

fn read(bytes: &[u8]) -> Network {
    import::read("m", bytes).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(bytes: &[u8]) -> String {
    import::read("m", bytes).unwrap_err().to_string()
}

/// Frames on and between the levels of a quantiser of step 1/16.
fn frames(count: usize, elements: usize) -> Vec<Vec<f32>> {
    let mut rng = random(7);
    (0..count)
        .map(|_| (0..elements).map(|_| rng.random_range(-300i16..300) as f32 / 32.0).collect())
        .collect()
}

/// What adds nodes behind a tensor; it returns the name of their output.
type Step<'a> = &'a dyn Fn(&mut Builder, &str) -> String;

#[test]
fn operators_on_integers_are_their_qdq_graphs() {
    let [short, long] = [true, false].map(|integers| Net::new(&[1, 2, 6, 6], integers).image());
    let (found, wanted) = (read(&short), read(&long));
    let (graph, own) = (FloatGraph::new(&long).unwrap(), FloatGraph::new(&short).unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for frame in frames(20, 72) {
        assert_eq!(outputs(&found, &frame), outputs(&wanted, &frame));
        assert!(equals_graph(&found, &graph, &frame) && equals_graph(&found, &own, &frame));
        seen.extend(outputs(&found, &frame)[0].iter().map(|v| v.to_bits()));
    }
    assert!(seen.len() > 9, "{} values", seen.len());
}

#[test]
fn products_of_integers_subtract_their_zero_points() {
    let mut m = Builder::new(&[1, 6]);
    let scale = m.floats(&[], &[0.0625]);
    let zero = m.integers(UINT8, &[], &[120]);
    let x = m.node("QuantizeLinear", &["x", &scale, &zero], vec![]);
    let values: Vec<i64> = (0..24).map(|i| i * 37 % 256).collect();
    let w = m.integers(UINT8, &[6, 4], &values);
    let zeros = m.integers(UINT8, &[4], &[0, 255, 7, 128]);
    let y = m.node("MatMulInteger", &[&x, &w, &zero, &zeros], vec![]);
    let y = m.node("Cast", &[&y], vec![Attribute::int("to", 1)]);
    let y = m.scalar("Mul", &y, 0.25);
    let network = read(&m.finish_at(13, &y));
    for frame in frames(9, 6) {
        let integer = |v: &f32| ((v * 16.0).round_ties_even() + 120.0).clamp(0.0, 255.0) as i64 - 120;
        let zeros = [0, 255, 7, 128];
        let of = |c: usize| -> i64 {
            frame.iter().enumerate().map(|(r, v)| integer(v) * (values[r * 4 + c] - zeros[c])).sum()
        };
        let wanted: Vec<f32> = (0..4).map(|c| of(c) as f32 * 0.25).collect();
        assert_eq!(outputs(&network, &frame), [wanted]);
    }
}

#[test]
fn forms_that_are_not_there_are_said() {
    let mut m = Builder::new(&[1, 4]);
    let q = m.node("DynamicQuantizeLinear", &["x"], vec![]);
    let found = import::read("m", &m.finish_at(13, &q)).unwrap_err();
    assert!(found.list()[0].help.as_ref().is_some_and(|h| h.contains("quantize_static")), "{found}");
    let mut net = Net::new(&[1, 2, 4, 4], true);
    let x = net.quantise("x", 0.5, 0);
    let last = vec![Attribute::int("channels_last", 1)];
    let global = ("GlobalAveragePool", "QLinearGlobalAveragePool", MICROSOFT);
    let y = net.apply(global, &[(&x, 1)], None, (0.5, 0), last);
    assert!(refused(&net.m.finish_at(13, &y.0[0])).contains("channels_last = 1"));
    let mut m = Builder::new(&[1, 4]);
    let q = m.node("QLinearConv", &["x"], vec![]);
    assert!(refused(&m.finish_at(13, &q)).contains("1 inputs and 1 outputs"));
}

/// A dense network of the input `x` of shape `shape`, behind `front`.
fn dense(shape: &[usize], element: i32, front: impl Fn(&mut Builder) -> String) -> Vec<u8> {
    let mut m = Builder::new(shape);
    let kind = m.graph.inputs[0].kind.as_mut().unwrap();
    kind.tensor.as_mut().unwrap().element = element;
    let x = front(&mut m);
    let w = m.integers(INT8, &[6, 3], &(0..18).map(|i| i * 29 % 17 - 8).collect::<Vec<_>>());
    let scale = m.floats(&[], &[0.5]);
    let w = m.node("DequantizeLinear", &[&w, &scale], vec![]);
    let y = m.node("MatMul", &[&x, &w], vec![]);
    m.finish_at(13, &y)
}

#[test]
fn an_input_of_integers_is_a_frame_of_these_numbers() {
    let float = |m: &mut Builder| m.node("Cast", &["x"], vec![Attribute::int("to", 1)]);
    for (kind, low, high) in [(2, 0, 255), (3, -128, 127), (4, 0, 65535), (5, -32768, 32767), (9, 0, 1)] {
        let network = read(&dense(&[1, 6], kind, float));
        let frame: Vec<f32> = [low, high, 0, 1, high, low].map(|v: i32| v as f32).into();
        let weight = |i: usize| ((i as i64 * 29 % 17 - 8) as f32) * 0.5;
        let of = |c: usize| -> f32 { frame.iter().enumerate().map(|(r, v)| v * weight(r * 3 + c)).sum() };
        assert_eq!(outputs(&network, &frame), [(0..3).map(of).collect::<Vec<f32>>()], "type {kind}");
        for wrong in [0.5, low as f32 - 1.0, high as f32 + 1.0, f32::NAN] {
            let frame: Vec<f32> = (0..6).map(|i| if i == 2 { wrong } else { 0.0 }).collect();
            assert!(network.quantise(&frame).is_err(), "{wrong} as type {kind}");
        }
    }
    // The graph's own quantiser, behind integers of 64 bits: fractions are no frames of it either.
    let network = read(&dense(&[1, 6], 7, |m| {
        let x = m.node("Cast", &["x"], vec![Attribute::int("to", 1)]);
        let scale = m.floats(&[], &[2.0]);
        let q = m.node("QuantizeLinear", &[&x, &scale], vec![]);
        m.node("DequantizeLinear", &[&q, &scale], vec![])
    }));
    assert!(network.quantise(&[900.0, 3.0, 0.0, -5.0, 1.0, 2.0]).is_ok());
    assert!(network.quantise(&[0.5; 6]).unwrap_err().to_string().contains("0.5"));
    let text = refused(&dense(&[1, 6], 8, float));
    assert!(text.contains("string"), "{text}");
}

/// Quantises `x` to integers of 8 bits and dequantises it.
fn quantised(m: &mut Builder, x: &str) -> String {
    let scale = m.floats(&[], &[0.25]);
    let q = m.node("QuantizeLinear", &[x, &scale], vec![]);
    m.node("DequantizeLinear", &[&q, &scale], vec![])
}

#[test]
fn a_batch_of_independent_frames_is_one_frame() {
    let shaped = |batch: usize| {
        dense(&[batch, 2, 3], 1, move |m| {
            let x = quantised(m, "x");
            let x = m.node("Transpose", &[&x], vec![Attribute::ints("perm", &[0, 2, 1])]);
            let shape = m.ints(&[2], &[batch as i64, -1]);
            let x = m.node("Reshape", &[&x, &shape], vec![]);
            // A constant of as many rows as frames would mix them; one row does not.
            let row = m.floats(&[1, 6], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            m.node("Add", &[&x, &row], vec![])
        })
    };
    let wanted = read(&shaped(1));
    for batch in [2, 4, 6, 97] {
        let found = read(&shaped(batch));
        assert_eq!(found.entries[0].front.input_shape(), [1, 2, 3]);
        for frame in frames(5, 6) {
            assert_eq!(outputs(&found, &frame), outputs(&wanted, &frame));
        }
    }
}

#[test]
fn a_batch_that_is_mixed_is_refused_or_one_frame() {
    let mixing: [(&str, Step<'_>); 6] = [
        ("a mean over the batch", &|m, x| {
            let mean = m.node("ReduceMean", &[x], vec![Attribute::ints("axes", &[0])]);
            m.node("Add", &[x, &mean], vec![])
        }),
        ("a row for each frame", &|m, x| {
            let rows = m.floats(&[4, 1], &[1.0, 2.0, 3.0, 4.0]);
            m.node("Add", &[x, &rows], vec![])
        }),
        ("Softmax over the batch", &|m, x| m.node("Softmax", &[x], vec![Attribute::int("axis", 0)])),
        ("frames in another order", &|m, x| {
            let order = m.ints(&[4], &[3, 2, 1, 0]);
            m.node("Gather", &[x, &order], vec![Attribute::int("axis", 0)])
        }),
        ("turned", &|m, x| {
            let shape = m.ints(&[2], &[6, 4]);
            let x = m.node("Reshape", &[x, &shape], vec![]);
            m.node("Transpose", &[&x], vec![])
        }),
        ("frames shifted by one", &|m, x| m.node("Pad", &[x], vec![Attribute::ints("pads", &[1, 0, -1, 0])])),
    ];
    for (what, mix) in mixing {
        let text = refused(&dense(&[4, 6], 1, |m| {
            let x = quantised(m, "x");
            mix(m, &x)
        }));
        // Some of these operators refuse that axis themselves.
        let itself = ["a mean over the batch", "frames shifted by one"].contains(&what);
        assert!(itself || text.contains("may mix them"), "{what}: {text}");
    }
    // One result: the whole tensor is a frame.
    let column = dense(&[6, 1], 1, |m| {
        let x = quantised(m, "x");
        m.node("Transpose", &[&x], vec![])
    });
    let row = dense(&[1, 6], 1, |m| quantised(m, "x"));
    let (column, row) = (read(&column), read(&row));
    assert_eq!(column.entries[0].front.input_shape(), [1, 6, 1]);
    for frame in frames(5, 6) {
        assert_eq!(outputs(&column, &frame), outputs(&row, &frame));
    }
}
