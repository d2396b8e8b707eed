//! Graphs with images, through import: what the network computes is what the graph says, and every engine agrees.

use proptest::prelude::*;
use rand::RngExt;
use stoxnor::calibrate::calibrate;
use stoxnor::engine::Conditions;
use stoxnor::frame::batch::Batch;
use stoxnor::frame::element::Element;
use stoxnor::import;
use stoxnor::import::options::{OnChip, SamplingOptions};
use stoxnor::lower::lower;
use stoxnor_testbenches::conformance::{Effort, agree, random, random_folds, random_frames};
use stoxnor_testbenches::graph::run;
use stoxnor_testbenches::making::{K3, Making, SAME3, SIGNS, TRITS, holds, kinds, pixels};
use stoxnor_testbenches::onnx::{Attribute, BREVITAS, Builder, FINN, STOXNOR, Sliding};
use stoxnor_testbenches::qcdq::{INT8, UINT8};

#[test]
fn normalisation_stands_before_or_behind_a_maximum() {
    for behind in [false, true] {
        let mut g = Making::new(1, &[1, 3, 8, 8]);
        g.conv(&[6, 3, 3, 3], 1, K3, &SIGNS);
        let pool = |g: &mut Making| {
            g.then(|m, x| m.max_pool(x, Sliding::apart(&[2, 2])));
        };
        if behind {
            pool(&mut g);
        }
        g.normalise(6);
        if !behind {
            pool(&mut g);
        }
        g.quant(4.0, 2).classes(6 * 9, 3);
        let network = holds("batch norm and maximum", &g.end());
        assert_eq!(kinds(&network), ["conv", "maxpool", "dense"]);
    }
}

#[test]
fn bipolar_images_are_padded_by_a_mask_or_by_a_node_of_their_own() {
    for value in [None, Some(1.0), Some(-1.0), Some(0.0)] {
        let mut g = Making::new(2, &[1, 2, 6, 5]);
        g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS).normalise(4).bipolar();
        match value {
            None => g.conv(&[4, 4, 3, 3], 1, SAME3, &TRITS),
            Some(value) => {
                g.then(|m, x| m.pad(x, &[0, 0, 1, 1, 0, 0, 1, 1], value)).conv(&[4, 4, 3, 3], 1, K3, &SIGNS)
            }
        };
        g.normalise(4).bipolar().classes(4 * 12, 3);
        let network = holds(&format!("padding with {value:?}"), &g.end());
        assert_eq!(kinds(&network), ["conv", "conv", "dense"]);
    }
}

#[test]
fn channels_may_come_last() {
    let mut g = Making::new(3, &[1, 6, 7, 3]);
    g.turn(&[0, 3, 1, 2]).conv(&[4, 3, 3, 3], 1, K3, &SIGNS).turn(&[0, 2, 3, 1]);
    // Per channel, on the last axis.
    let bias = g.m.floats(&[4], &[1.0, -2.0, 3.0, 0.0]);
    g.then(|m, x| m.node("Add", &[x, &bias], Vec::new())).bipolar();
    g.then(|m, x| {
        let how = vec![Attribute::ints("kernel_shape", &[2, 2]), Attribute::ints("strides", &[2, 2])];
        m.node_of(FINN, "MaxPoolNHWC", &[x], how)
    });
    g.classes(4 * 4, 3);
    let network = holds("channels last", &g.end());
    assert_eq!(kinds(&network), ["conv", "maxpool", "dense"]);
}

#[test]
fn depthwise_grouped_strided_and_dilated_layers_with_a_bias() {
    let mut g = Making::new(4, &[1, 4, 9, 9]);
    let stride = Sliding { strides: &[2, 2], ..SAME3 };
    g.conv(&[4, 1, 3, 3], 4, stride, &TRITS).normalise(4).quant(2.0, 4);
    let (w, bias) = (
        g.weights(&[6, 2, 2, 2], &[1.0, -2.0, 3.0, 0.0]),
        g.m.floats(&[6], &[1.0, 0.0, -3.0, 2.0, 5.0, -1.0]),
    );
    let dilated = Sliding { kernel: &[2, 2], dilations: &[2, 1], ..Sliding::default() };
    g.then(|m, x| m.conv(x, &w, Some(&bias), 2, dilated)).normalise(6).quant(2.0, 2);
    g.conv(&[3, 6, 1, 1], 1, Sliding::default(), &SIGNS);
    let network = holds("forms of convolution", &g.end());
    assert_eq!(kinds(&network), ["conv", "conv", "conv"]);
}

#[test]
fn lines_are_images_too() {
    let mut g = Making::new(5, &[1, 2, 16]);
    let how = Sliding { kernel: &[3], strides: &[2], pads: &[1, 1], ..Sliding::default() };
    g.conv(&[4, 2, 3], 1, how, &SIGNS).normalise(4).quant(2.0, 3);
    g.then(|m, x| m.max_pool(x, Sliding::apart(&[2])));
    g.conv(&[4, 4, 2], 1, Sliding::default(), &TRITS).normalise(4).bipolar().classes(4 * 3, 2);
    let network = holds("one dimension", &g.end());
    assert_eq!(kinds(&network), ["conv", "maxpool", "conv", "dense"]);
}

#[test]
fn images_grow_and_change_their_order() {
    let mut g = Making::new(9, &[1, 2, 4, 3]);
    g.conv(&[4, 2, 1, 1], 1, Sliding::default(), &SIGNS);
    g.then(|m, x| m.resize(x, &[1.0, 1.0, 2.0, 3.0])).normalise(4).quant(2.0, 2);
    // Rows and columns change places.
    g.turn(&[0, 1, 3, 2]).conv(&[2, 4, 3, 3], 1, K3, &SIGNS);
    let network = holds("upsampling and a transposition", &g.end());
    assert_eq!(kinds(&network), ["conv", "upsample", "transpose", "conv"]);
}

#[test]
fn what_does_not_commute_is_refused() {
    let said = |g: Making| import::read("net", &g.end()).map(|_| ()).unwrap_err().to_string();
    let start = || {
        let mut g = Making::new(10, &[1, 2, 6, 6]);
        g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS);
        g
    };
    // Rectified sums are no levels.
    let mut g = start();
    g.then(|m, x| m.node("Relu", &[x], Vec::new()))
        .then(|m, x| m.average_pool(x, false, Sliding::apart(&[2, 2])));
    g.quant(1.0, 2).classes(4 * 4, 2);
    let text = said(g);
    assert!(text.contains("without a quantiser between") && text.contains("AveragePool"), "{text}");
    // Nor are their maxima, which an average may not take in their place.
    let mut g = start();
    g.then(|m, x| m.max_pool(x, Sliding::apart(&[2, 2])))
        .then(|m, x| m.average_pool(x, false, Sliding::apart(&[2, 2])));
    g.quant(1.0, 2).classes(4, 2);
    let text = said(g);
    assert!(text.contains("without a quantiser between"), "{text}");
    // At the border fewer pixels are averaged, and a product takes the averages as they are.
    let mut g = start();
    g.quant(1.0, 2).then(|m, x| m.average_pool(x, false, Sliding { strides: &[2, 2], ..SAME3 }));
    g.classes(4 * 4, 2);
    let text = said(g);
    assert!(text.contains("divides by fewer pixels at the border"), "{text}");
    // Sums with an offset are padded with 0, which is no sum.
    let mut g = start();
    g.then(|m, x| m.scalar("Add", x, 1.0)).then(|m, x| m.average_pool(x, true, SAME3));
    g.quant(1.0, 2).classes(4 * 16, 2);
    let text = said(g);
    assert!(text.contains("an offset is added to"), "{text}");
    // Padding that is no level.
    let mut g = start();
    g.bipolar().then(|m, x| m.pad(x, &[0, 0, 1, 1, 0, 0, 1, 1], 0.5)).conv(&[4, 4, 3, 3], 1, K3, &SIGNS);
    let text = said(g);
    assert!(text.contains("padding with 0.5"), "{text}");
    // A constant for each pixel.
    let mut g = start();
    let each: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let each = g.m.floats(&[1, 4, 4, 4], &each);
    g.then(|m, x| m.node("Add", &[x, &each], Vec::new())).bipolar().classes(4 * 16, 2);
    let text = said(g);
    assert!(text.contains("at every position"), "{text}");
    // A maximum of something that rises and falls.
    let mut g = start();
    g.then(|m, x| m.scalar("Pow", x, 2.0)).then(|m, x| m.max_pool(x, Sliding::apart(&[2, 2])));
    g.quant(64.0, 2).classes(4 * 4, 2);
    let text = said(g);
    assert!(text.contains("rise or fall") || text.contains("turns back"), "{text}");
}

/// QuantizeLinear, Clip and DequantizeLinear around a convolution, as Brevitas writes it.
#[test]
fn quantize_linear_around_convolutions() {
    let mut g = Making { m: Builder::new(&[1, 2, 6, 6]), x: "x".into(), rng: random(11) };
    let around = |g: &mut Making, scale: f32, kind: i32, zero: i64, clip: Option<(i64, i64)>| {
        let (s, z) = (g.m.floats(&[], &[scale]), g.m.integers(kind, &[], &[zero]));
        g.then(|m, x| {
            let mut x = m.node("QuantizeLinear", &[x, &s, &z], Vec::new());
            if let Some((low, high)) = clip {
                let (low, high) = (m.integers(kind, &[], &[low]), m.integers(kind, &[], &[high]));
                x = m.node("Clip", &[&x, &low, &high], Vec::new());
            }
            m.node("DequantizeLinear", &[&x, &s, &z], Vec::new())
        });
    };
    around(&mut g, 1.0, UINT8, 0, None);
    let values: Vec<i64> = (0..4 * 2 * 9).map(|_| g.rng.random_range(-3..=3)).collect();
    let w = g.m.integers(INT8, &[4, 2, 3, 3], &values);
    let (s, z) = (g.m.floats(&[4], &[0.5, 0.25, 1.0, 0.5]), g.m.integers(INT8, &[4], &[0; 4]));
    let w = g.m.node("DequantizeLinear", &[&w, &s, &z], vec![Attribute::int("axis", 0)]);
    g.then(|m, x| m.conv(x, &w, None, 1, SAME3));
    around(&mut g, 32.0, UINT8, 0, Some((0, 15)));
    g.then(|m, x| m.max_pool(x, Sliding::apart(&[2, 2]))).classes(4 * 9, 3);
    let bytes = g.m.finish_at(13, &g.x);
    let network = holds("QCDQ", &bytes);
    assert_eq!(kinds(&network), ["conv", "maxpool", "dense"]);
}

/// Networks of the size of ImageNet's are read without computing their products; what schedules cannot go through is refused.
#[test]
fn large_images_are_taken_or_refused() {
    let net = |size: usize, kernel: usize| {
        let mut g = Making::new(1, &[1, 3, size, size]);
        let pads = [kernel as i64 / 2; 4];
        let how = Sliding { pads: &pads, ..Sliding::default() };
        g.conv(&[32, 3, 3, 3], 1, SAME3, &SIGNS).quant(16.0, 2).conv(
            &[64, 32, kernel, kernel],
            1,
            how,
            &SIGNS,
        );
        import::read("net", &g.end())
    };
    assert_eq!(kinds(&net(160, 3).unwrap()), ["conv", "conv"]);
    let grown = |by: f32| {
        let mut g = Making::new(1, &[1, 3, 60, 60]);
        g.conv(&[1, 3, 1, 1], 1, Sliding::default(), &SIGNS).quant(16.0, 2);
        g.then(|m, x| m.resize(x, &[1.0, 1.0, by, by])).conv(&[1, 1, 1, 1], 1, Sliding::default(), &SIGNS);
        import::read("net", &g.end())
    };
    assert_eq!(kinds(&grown(4.0).unwrap()), ["conv", "upsample", "conv"]);
    for refused in [net(500, 7), grown(50.0)] {
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("[model-too-large]") && text.contains("are read for a frame"), "{text}");
    }
}

/// Stochastic weights of a convolution: the members of the network are the networks of the drawn weights.
#[test]
fn convolutions_are_sampled_by_name() {
    let mut g = Making::new(12, &[1, 2, 5, 5]);
    let reals: Vec<f32> = (0..4 * 2 * 9).map(|_| g.rng.random_range(-1.1..1.1)).collect();
    let w = g.m.floats(&[4, 2, 3, 3], &reals);
    let how =
        vec![Attribute::string("law", "ternary"), Attribute::int("bits", 2), Attribute::int("share", 2)];
    let w = g.m.node_of(STOXNOR, "StochasticQuant", &[&w], how);
    g.then(|m, x| m.conv(x, &w, None, 1, SAME3)).normalise(4).bipolar().classes(100, 3);
    let network = import::read("net", &g.end()).unwrap();
    assert_eq!(network.members(), 16);
    assert_eq!(kinds(&network), ["conv", "dense"]);
    let hardware = lower(&network, &random_folds(&mut random(1), &network));
    let frames = random_frames(1, &network, 2);
    let effort = Effort { rtl: 2, verilator: 0, icarus: 0 };
    let conditions = Conditions { stall: Some(1), members: vec![3, 1] };
    agree("a sampled convolution", &network, &hardware, &frames, &conditions, effort);
}

/// Statistics of a sampled convolution are those of its sums at all positions, channel by channel.
#[test]
fn calibration_goes_over_all_positions() {
    let mut g = Making::new(14, &[1, 2, 5, 5]);
    let reals: Vec<f32> = (0..4 * 2 * 9).map(|_| g.rng.random_range(-1.1..1.1)).collect();
    let w = g.m.floats(&[4, 2, 3, 3], &reals);
    let how = vec![Attribute::string("law", "binary"), Attribute::int("bits", 1), Attribute::int("share", 4)];
    let w = g.m.node_of(STOXNOR, "StochasticQuant", &[&w], how);
    g.then(|m, x| m.conv(x, &w, None, 1, SAME3)).normalise(4).bipolar().classes(100, 3);
    let bytes = g.end();
    let frames = random_frames(3, &import::read("net", &bytes).unwrap(), 8);
    let options = import::Options {
        sampling: SamplingOptions { max_members: Some(2), ..SamplingOptions::default() },
        ..import::Options::default()
    };
    let done = calibrate("net", &bytes, &options, |_| Ok(frames.clone()), |_| ()).unwrap();
    let outline = import::outline("net", &done.bytes, &import::Options::default()).unwrap();
    let steps = &outline.behind[0].steps;
    let normalisation = steps.iter().find(|s| s.operator.name == "BatchNormalization").unwrap();
    let told = normalisation.constants()[3].unwrap().floats("the means").unwrap();
    // The weights of the first member, without thresholds, at every position.
    let layer = &outline.network.nodes[0].layer;
    let batch = Batch::pack(outline.network.entries[0].port.element, 50, &frames);
    let sums = layer.fast_sums(&[&batch], 0).unpack();
    for (channel, told) in told.iter().enumerate() {
        let own = sums.iter().flatten().skip(channel).step_by(4).map(|v| f64::from(*v));
        let mean = own.sum::<f64>() / (8.0 * 25.0);
        assert!((mean - f64::from(*told)).abs() < 1e-3, "channel {channel}: {mean} and {told}");
    }
}

/// A normalisation behind a maximum, or an average, sees something else than the layer's sums: no statistics are made up.
#[test]
fn calibration_refuses_what_is_not_normalised_sums() {
    for average in [false, true] {
        let mut g = Making::new(15, &[1, 2, 6, 6]);
        let reals: Vec<f32> = (0..4 * 2 * 9).map(|_| g.rng.random_range(-1.1..1.1)).collect();
        let w = g.m.floats(&[4, 2, 3, 3], &reals);
        let how =
            vec![Attribute::string("law", "binary"), Attribute::int("bits", 1), Attribute::int("share", 4)];
        let w = g.m.node_of(STOXNOR, "StochasticQuant", &[&w], how);
        g.then(|m, x| m.conv(x, &w, None, 1, K3));
        let pool = Sliding::apart(&[2, 2]);
        g.then(|m, x| if average { m.average_pool(x, false, pool) } else { m.max_pool(x, pool) });
        g.normalise(4).bipolar().classes(16, 3);
        let bytes = g.end();
        let network = import::read("net", &bytes).unwrap();
        let frames = random_frames(3, &network, 2);
        let options = import::Options::default();
        let said = calibrate("net", &bytes, &options, |_| Ok(frames), |_| ()).unwrap_err().to_string();
        assert!(said.contains("does not normalise the layer's sums"), "average {average}: {said}");
    }
}

/// The input's quantiser as a layer: hardware takes raw pixels, scaled ones are scaled back, and all else stays the same.
#[test]
fn raw_pixels_are_thresholded_on_the_chip() {
    let graph = |scaled: bool| {
        let mut m = Builder::new(&[1, 3, 5, 4]);
        let mut x = "x".to_owned();
        if scaled {
            x = m.scalar("Mul", &x, 2.0);
            x = m.scalar("Sub", &x, 1.0);
        } else {
            let mean = m.floats(&[3, 1, 1], &[100.0, 128.0, 90.0]);
            x = m.node("Sub", &[&x, &mean], Vec::new());
        }
        let mut g = Making { m, x, rng: random(5) };
        if scaled {
            g.bipolar()
        } else {
            g.quant(16.0, 3)
        };
        g.conv(&[4, 3, 3, 3], 1, SAME3, &SIGNS).normalise(4).bipolar().classes(80, 3);
        g.end()
    };
    for scaled in [false, true] {
        let bytes = graph(scaled);
        let on_chip = Some(OnChip { scale: scaled.then_some((1.0, 255.0)) });
        let options = import::Options { on_chip, ..import::Options::default() };
        let (host, chip) =
            (import::read("net", &bytes).unwrap(), import::read_with("net", &bytes, &options).unwrap());
        assert_eq!(kinds(&chip), ["threshold", "conv", "dense"]);
        assert_eq!(chip.entries[0].port.element, Element::Unsigned(8));
        for seed in 0..4 {
            let raw = pixels(seed, 60);
            let x: Vec<f32> = if scaled { raw.iter().map(|p| p / 255.0).collect() } else { raw.clone() };
            let integers = chip.quantise(&x).unwrap();
            // Channels last, and nothing but the pixels.
            assert_eq!((integers[1] as f32, integers[3] as f32), (raw[20], raw[1]));
            assert_eq!(run(&chip, &x), run(&host, &x), "scaled {scaled}, image {seed}");
        }
        let hardware = lower(&chip, &random_folds(&mut random(2), &chip));
        let frames = random_frames(1, &chip, 2);
        let effort = Effort { rtl: 2, verilator: 0, icarus: 0 };
        agree("raw pixels", &chip, &hardware, &frames, &Conditions::default(), effort);
    }
}

/// One block of a random network.
#[derive(Debug, Clone)]
struct Block {
    depthwise: bool,
    kernel: i64,
    stride: i64,
    padded: bool,
    bits: u32,
    /// 0: none; 1, 2: a maximum before the normalisation, or behind the quantiser; 3: an average behind it.
    pool: u8,
    values: usize,
}

fn block() -> impl Strategy<Value = Block> {
    (any::<bool>(), 1i64..4, 1i64..3, any::<bool>(), 1u32..5, 0u8..4, 0usize..3).prop_map(
        |(depthwise, kernel, stride, padded, bits, pool, values)| Block {
            depthwise,
            kernel,
            stride,
            padded: padded && kernel > 1,
            bits,
            pool,
            values,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    /// Random convolutional networks are what their graph says, on every image, to the last bit.
    #[test]
    fn random_networks_equal_their_graph(seed in any::<u64>(), blocks in prop::collection::vec(block(), 1..4)) {
        let mut g = Making::new(seed, &[1, 2, 9, 8]);
        let (mut channels, mut size) = (2usize, [9i64, 8]);
        for b in &blocks {
            let pad = if b.padded { 1 } else { 0 };
            let after = size.map(|s| (s + 2 * pad - b.kernel) / b.stride + 1);
            if after.iter().any(|s| *s < 2) {
                break;
            }
            let (kernel, strides, pads) = ([b.kernel; 2], [b.stride; 2], [pad; 4]);
            let how = Sliding { kernel: &kernel, strides: &strides, pads: &pads, ..Sliding::default() };
            let values: &[f32] = [&SIGNS[..], &TRITS, &[3.0, -2.0, 1.0, 0.0, -4.0]][b.values];
            let k = b.kernel as usize;
            if b.depthwise {
                g.conv(&[channels, 1, k, k], channels as i64, how, values);
            } else {
                g.conv(&[4, channels, k, k], 1, how, values);
                channels = 4;
            }
            size = after;
            let maximum = |g: &mut Making| {
                g.then(|m, x| m.max_pool(x, Sliding::apart(&[2, 2])));
            };
            if b.pool == 1 {
                maximum(&mut g);
            }
            g.normalise(channels);
            if b.bits == 1 { g.bipolar() } else { g.quant(2.0, b.bits) };
            if b.pool == 2 {
                maximum(&mut g);
            }
            if b.pool == 3 {
                g.then(|m, x| m.average_pool(x, true, Sliding::apart(&[2, 2]))).quant(0.5, 3);
            }
            if b.pool > 0 {
                size = size.map(|s| s / 2);
            }
        }
        let features = channels * (size[0] * size[1]) as usize;
        g.classes(features, 3);
        holds(&format!("{blocks:?}"), &g.end());
    }
}

/// Quantised twice: what is known of the first quantiser does not hide the second.
#[test]
fn a_maximum_between_two_quantisers() {
    let mut g = Making::new(13, &[1, 2, 6, 6]);
    g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS).normalise(4).quant(1.0, 4);
    g.then(|m, x| m.max_pool(x, Sliding::apart(&[2, 2]))).normalise(4);
    g.then(|m, x| m.node_of(BREVITAS, "BipolarQuant", &[x, "one"], Vec::new()));
    let one = stoxnor_testbenches::onnx::TensorProto::floats("one", &[], &[1.0]);
    g.m.graph.initialisers.push(one);
    g.classes(16, 3);
    let network = holds("two quantisers", &g.end());
    assert_eq!(kinds(&network), ["conv", "maxpool", "dense"]);
}
