//! QuantizeLinear, Clip and DequantizeLinear: networks of them are what their graph says, ties included, and what the same network
//! in QONNX's form is.

use rand::RngExt;
use stoxnor::engine;
use stoxnor::frame::element::Element;
use stoxnor::import;
use stoxnor::import::options::Options;
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::{Effort, conform, default_folds, random, random_folds};
use stoxnor_testbenches::graph::equals_float_graph;
use stoxnor_testbenches::onnx::{Attribute, Builder, QONNX};
use stoxnor_testbenches::qcdq::{ACTIVATIONS, Bits, Form, INT8, network};

/// ONNX's number of int16.
const INT16: i32 = 5;

const WIDTHS: [&[usize]; 3] = [&[12, 9, 7, 5, 4], &[20, 16, 3], &[5, 8, 8, 8, 8, 8, 8, 2]];

/// Inputs on multiples of half the first quantiser's step, half of them ties, and some between.
fn frames(seed: u64, count: usize, inputs: usize) -> Vec<Vec<f32>> {
    let mut rng = random(seed);
    let mut value = || match rng.random_range(0..4) {
        0 => rng.random_range(-20.0f32..40.0),
        _ => rng.random_range(-160i16..320) as f32 * 0.125,
    };
    (0..count).map(|_| (0..inputs).map(|_| value()).collect()).collect()
}

#[test]
fn networks_are_what_their_float_graph_says_at_ties_too() {
    // Odd zero points: rounding comes before the zero point is added.
    let odd = ACTIVATIONS.map(|b| Bits { zero: if b.zero == 0 { 0 } else { b.zero + 1 }, ..b });
    for seed in 0..12 {
        let widths = WIDTHS[seed as usize % 3];
        for activations in [ACTIVATIONS, odd] {
            let bytes = network(seed, widths, (&activations, seed as usize), 1.0, Form::Qcdq);
            let built = import::read("qcdq", &bytes).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let graph = import::float_graph(&bytes).unwrap();
            assert_eq!(built.nodes.len(), widths.len() - 1);
            for frame in frames(seed, 60, widths[0]) {
                assert!(equals_float_graph(&built, &graph, &frame), "seed {seed}: {frame:?}");
            }
        }
    }
}

/// One input through two layers: every integer there is, and so every tie.
#[test]
fn every_sum_of_a_layer_is_rounded_as_the_graph_rounds_it() {
    for to in ACTIVATIONS.into_iter().chain([
        Bits { bits: 2, signed: true, zero: 1 },
        Bits { bits: 8, signed: true, zero: 127 },
        Bits { bits: 8, signed: false, zero: 255 },
        Bits { bits: 3, signed: false, zero: 7 },
    ]) {
        // A step of 4 sums: every fourth is a tie.
        let mut m = Builder::new(&[1, 1]);
        let x = m.activation("x", 1.0, Bits { bits: 8, signed: true, zero: 0 }, Form::Qcdq);
        let w = m.integers(INT8, &[1, 2], &[5, -3]);
        let w = m.dequantize(&w, &[0.25], Bits { bits: 8, signed: true, zero: 0 });
        let x = m.node("MatMul", &[&x, &w], Vec::new());
        let x = m.activation(&x, 1.0, to, Form::Qcdq);
        let w = m.floats(&[2, 2], &[1.0, 0.0, 0.0, 1.0]);
        let y = m.node("MatMul", &[&x, &w], Vec::new());
        let bytes = m.finish(&y);
        let built = import::read("one", &bytes).unwrap();
        let graph = import::float_graph(&bytes).unwrap();
        let step = |v: f32| {
            let (low, high) = to.range();
            ((v.round_ties_even() as i64 + to.zero).clamp(low, high) - to.zero) as f32
        };
        for v in -130..=130 {
            let x = v as f32;
            assert!(equals_float_graph(&built, &graph, &[x]), "{to:?} at {x}");
            let x = x.clamp(-128.0, 127.0);
            let input = built.quantise(&[v as f32]).unwrap();
            let sums: Vec<i64> = engine::sums(&built, &[input])[0].iter().map(|s| i64::from(*s)).collect();
            let found = built.finish(&sums, 1).unwrap();
            assert_eq!(found, [step(1.25 * x), step(-0.75 * x)], "{to:?} at {x}");
        }
    }
}

/// The input's type, and integers and thresholds of every layer.
fn parts(network: &Network) -> Vec<String> {
    // Bit vectors print where in memory they lie.
    let placeless = |text: String| {
        let pieces =
            text.split("addr: 0x").map(|piece| piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
        pieces.collect::<String>()
    };
    let layers = network.nodes.iter().map(|n| placeless(format!("{:?}", n.layer)));
    layers.chain([format!("{:?}", network.entries[0].port)]).collect()
}

#[test]
fn the_same_network_of_quant_has_the_same_layers() {
    for seed in 0..6 {
        // Quant adds the zero point in float32, where what is nearly a tie becomes one: with scales that are no powers of two
        // the two forms agree where there is none.
        let none = ACTIVATIONS.map(|b| Bits { zero: 0, ..b });
        for (unit, activations) in [(1.0, &ACTIVATIONS), (0.013_7, &none)] {
            let widths = WIDTHS[seed as usize % 3];
            let of = |form| network(seed, widths, (activations, seed as usize), unit, form);
            let [one, other] = [Form::Qcdq, Form::Quant].map(|form| import::read("same", &of(form)).unwrap());
            for (layer, (one, other)) in parts(&one).iter().zip(&parts(&other)).enumerate() {
                assert!(one == other, "seed {seed}, unit {unit}, layer {}", layer + 1);
            }
            assert_eq!(one.nodes.len(), other.nodes.len());
            for frame in frames(seed, 10, widths[0]) {
                let input = one.quantise(&frame).unwrap();
                assert_eq!(input, other.quantise(&frame).unwrap());
                let sums = engine::sums(&one, std::slice::from_ref(&input));
                let wide: Vec<i64> = sums[0].iter().map(|s| i64::from(*s)).collect();
                assert_eq!(one.finish(&wide, 1).unwrap(), other.finish(&wide, 1).unwrap());
            }
        }
    }
}

#[test]
fn types_follow_from_clips_and_zero_points() {
    let bytes = network(0, &[4, 4, 4, 4, 4, 4, 4], (&ACTIVATIONS, 0), 1.0, Form::Qcdq);
    let found = import::survey_bytes(&bytes, &Options::default());
    assert!(found.reasons.is_empty(), "{:?}", found.reasons);
    let types: Vec<Element> = found.layers.iter().filter_map(|l| l.input).collect();
    // Values -128 to 127, -6 to 9, and -90 to 165.
    let wanted = [Element::Unsigned(8), Element::Signed(4), Element::Unsigned(2), Element::Signed(8)];
    assert_eq!(types[..4], wanted);
    assert_eq!(types[4..], [Element::Signed(5), Element::Signed(9)]);
}

#[test]
fn the_engines_agree() {
    for (seed, widths) in [(0, &[12, 8, 6, 6, 4][..]), (1, &[6, 6, 4, 4, 4, 4, 3])] {
        let bytes = network(seed, widths, (&ACTIVATIONS, 3 * seed as usize), 1.0, Form::Qcdq);
        let built = import::read("qcdq", &bytes).unwrap();
        let effort = Effort { rtl: 4, verilator: 0, icarus: 0 };
        conform("qcdq", &built, &default_folds(&built, 40), effort);
        conform("qcdq", &built, &random_folds(&mut random(seed), &built), effort);
    }
}

#[test]
fn a_quantised_bias_tells_nothing_of_the_weights() {
    let mut m = Builder::new(&[1, 2]);
    let eight = Bits { bits: 8, signed: true, zero: 0 };
    let x = m.activation("x", 1.0, eight, Form::Qcdq);
    let w = m.floats(&[2, 2], &[3.0, -1.0, 0.0, 2.0]);
    let bias = m.integers(INT8, &[2], &[100, -100]);
    let bias = m.dequantize(&bias, &[0.5], eight);
    let y = m.node("Gemm", &[&x, &w, &bias], Vec::new());
    let bytes = m.finish(&y);
    let built = import::read("plain", &bytes).unwrap();
    assert!(equals_float_graph(&built, &import::float_graph(&bytes).unwrap(), &[7.0, -3.0]));
}

#[test]
fn what_is_not_exact_is_refused_with_its_node() {
    let eight = Bits { bits: 8, signed: true, zero: 0 };
    let said = |f: &dyn Fn(&mut Builder) -> String| {
        let mut m = Builder::new(&[1, 2]);
        let y = f(&mut m);
        let found = import::read("refused", &m.finish(&y)).expect_err("refused");
        assert!(found.list().iter().all(|d| d.help.is_some()), "{found}");
        found.to_string()
    };
    let layer = |m: &mut Builder, x: &str| {
        let w = m.floats(&[2, 2], &[1.0, -1.0, 1.0, 1.0]);
        m.node("MatMul", &[x, &w], Vec::new())
    };
    // Scales of an input's channels; scales of the inputs of weights; unsigned weights far from 0.
    let text = said(&|m| {
        let scales = [0.5, 0.3];
        let (x, zero) = (m.floats(&[2], &scales), m.integers(INT8, &[2], &[0, 0]));
        let q = m.node("QuantizeLinear", &["x", &x, &zero], Vec::new());
        let x = m.node("DequantizeLinear", &[&q, &x, &zero], Vec::new());
        layer(m, &x)
    });
    assert!(text.contains("[activation-unsupported] node QuantizeLinear_0"), "{text}");
    let text = said(&|m| {
        let x = m.activation("x", 1.0, eight, Form::Qcdq);
        let w = m.integers(INT8, &[2, 2], &[1, 2, 3, 4]);
        let w = m.dequantize(&w, &[0.5, 0.25], eight);
        m.node("MatMul", &[&x, &w], Vec::new())
    });
    assert!(
        text.contains("[weights-unsupported] node MatMul_3") && text.contains("scales 0.5 and 0.25"),
        "{text}"
    );
    let text = said(&|m| {
        let x = m.activation("x", 1.0, eight, Form::Qcdq);
        let w = m.integers(INT16, &[2, 2], &[1, 2, 300, 4]);
        let scale = m.floats(&[], &[0.5]);
        let w = m.node("DequantizeLinear", &[&w, &scale], Vec::new());
        m.node("MatMul", &[&x, &w], Vec::new())
    });
    assert!(text.contains("300 times its scale, beyond 9 bits"), "{text}");
    // Real numbers that only look quantised.
    let text = said(&|m| {
        let x = m.node("Cast", &["x"], vec![Attribute::int("to", 6)]);
        let x = m.dequantize(&x, &[0.5], eight);
        layer(m, &x)
    });
    assert!(text.contains("[input-not-quantised]"), "{text}");
    let text = said(&|m| {
        let [scale, zero, from, to] = [1.0, 0.0, 8.0, 4.0].map(|v| m.floats(&[], &[v]));
        let x = m.node_of(QONNX, "Trunc", &["x", &scale, &zero, &from, &to], Vec::new());
        layer(m, &x)
    });
    assert!(text.contains("[input-not-quantised]"), "{text}");
    let text = said(&|m| {
        let scale = m.floats(&[], &[1.0]);
        let zero = m.node("Cast", &["x"], vec![Attribute::int("to", 3)]);
        let x = m.node("QuantizeLinear", &["x", &scale, &zero], Vec::new());
        layer(m, &x)
    });
    assert!(text.contains("QuantizeLinear_1"), "{text}");
    // Integers go into no product.
    let text = said(&|m| {
        let x = m.quantize("x", &[1.0], eight);
        layer(m, &x)
    });
    assert!(text.contains("node MatMul_1"), "{text}");
    // 16 bits between layers.
    let text = said(&|m| {
        let x = m.activation("x", 1.0, eight, Form::Qcdq);
        let w = m.floats(&[2, 2], &[127.0, -1.0, 1.0, 1.0]);
        let x = m.node("MatMul", &[&x, &w], Vec::new());
        let (scale, zero) = (m.floats(&[], &[1.0]), m.integers(5, &[], &[0]));
        let x = m.node("QuantizeLinear", &[&x, &scale, &zero], Vec::new());
        let x = m.node("DequantizeLinear", &[&x, &scale, &zero], Vec::new());
        layer(m, &x)
    });
    assert!(
        text.contains("[activation-unsupported]") && text.contains("has 15 bits (-16384 to 16256)"),
        "{text}"
    );
}

/// Scales, zero points and attributes of every unsuitable kind: a network or reasons, and no panic.
#[test]
fn hostile_parameters_are_answered() {
    let mut rng = random(5);
    let floats = [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45, f32::MAX, f32::MIN_POSITIVE, 0.5];
    let (mut built, mut refused) = (0, 0);
    for _ in 0..600 {
        let at = rng.random_range(0..6);
        let mut pick = |n: usize| rng.random_range(0..n);
        let mut m = Builder::new(&[1, 2]);
        let shapes: [&[usize]; 7] = [&[], &[1], &[2], &[3], &[0], &[1, 2], &[2, 2, 2, 2, 2, 2, 2, 2, 2]];
        let kinds = [1, 2, 3, 4, 5, 6, 7, 9, 10, 17, 21, 22, 25, 26];
        let axes = [0, 1, -1, -2, 2, i64::MAX, i64::MIN];
        let mut parameters = |m: &mut Builder, sound: bool| {
            let shape = if sound { &[] } else { shapes[pick(7)] };
            let count = shape.iter().product();
            let scale = m.floats(shape, &vec![if sound { 0.5 } else { floats[pick(8)] }; count]);
            let zeros = vec![if sound { 0 } else { [0, 1, 127, -128, 255][pick(5)] }; count];
            let kind = if sound { 3 } else { kinds[pick(14)] };
            let zero = match kind {
                1 => m.floats(shape, &vec![0.0; count]),
                _ => m.integers(kind, shape, &zeros),
            };
            (scale, zero, vec![Attribute::int("axis", if sound { 1 } else { axes[pick(7)] })])
        };
        let (s, z, a) = parameters(&mut m, at != 0);
        let x = m.node("QuantizeLinear", &["x", &s, &z], a);
        let (s, z, a) = parameters(&mut m, at != 1);
        let mut x = m.node("DequantizeLinear", &[&x, &s, &z], a);
        let w = m.integers(INT8, &[2, 2], &[3, -1, 0, 2]);
        let (s, z, a) = parameters(&mut m, at != 2);
        let w = m.node("DequantizeLinear", &[&w, &s, &z], a);
        x = m.node("MatMul", &[&x, &w], Vec::new());
        let (s, z, a) = parameters(&mut m, at != 3);
        x = m.node("QuantizeLinear", &[&x, &s, &z], a);
        let (s, z, a) = parameters(&mut m, at != 4);
        x = m.node("DequantizeLinear", &[&x, &s, &z], a);
        let latent = m.floats(&[2, 1], &[0.5, -3.0]);
        let (s, z, a) = parameters(&mut m, at != 5);
        let w = m.node("QuantizeLinear", &[&latent, &s, &z], a.clone());
        let w = m.node("DequantizeLinear", &[&w, &s, &z], a);
        let y = m.node("MatMul", &[&x, &w], Vec::new());
        match import::read("hostile", &m.finish(&y)) {
            Ok(_) => built += 1,
            Err(found) => {
                assert!(found.list().iter().all(|d| d.help.is_some()), "{found}");
                refused += 1;
            }
        }
    }
    assert!(built > 20 && refused > 200, "{built} built, {refused} refused");
}
