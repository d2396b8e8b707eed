//! Networks with averages, padding that repeats pixels, and interpolation, through import.

use stoxnor::frame::element::Element;
use stoxnor::import;
use stoxnor_testbenches::conformance::random;
use stoxnor_testbenches::making::{K3, Making, SAME3, SIGNS, TRITS, holds, kinds};
use stoxnor_testbenches::onnx::{Attribute, BREVITAS, Builder, FINN, Sliding};

/// Averages that divide by fewer pixels at the border: thresholds for each divisor.
#[test]
fn averages_count_what_they_see() {
    let windows = [
        SAME3,
        Sliding { strides: &[2, 2], ..SAME3 },
        Sliding { kernel: &[2, 3], strides: &[2, 1], pads: &[0, 1, 1, 0], ..Sliding::default() },
        Sliding { ceil: true, ..Sliding::apart(&[3, 2]) },
        Sliding { kernel: &[5, 1], pads: &[2, 0, 2, 0], ..Sliding::default() },
    ];
    for (form, how) in windows.into_iter().enumerate() {
        for include in [false, true] {
            // Behind a quantiser, with channels that fall behind the average, and a maximum in front of its quantiser.
            let mut g = Making::new(40 + form as u64, &[1, 2, 7, 7]);
            g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS).normalise(4).quant(1.0, 3);
            g.then(|m, x| m.average_pool(x, include, how)).normalise(4);
            if form == 1 {
                g.then(|m, x| m.max_pool(x, Sliding { strides: &[1, 1], ..Sliding::apart(&[2, 2]) }));
            }
            g.quant(0.25, 3).conv(&[3, 4, 1, 1], 1, Sliding::default(), &TRITS);
            let network = holds(&format!("window {form}, include {include}"), &g.end());
            assert_eq!(network.nodes[1].layer.kind(), "avgpool");
            // Signs: padding adds nothing.
            let mut g = Making::new(50 + form as u64, &[1, 2, 7, 7]);
            g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS).normalise(4).bipolar();
            g.then(|m, x| m.average_pool(x, include, how));
            g.then(|m, x| m.scalar("Sub", x, 0.03125)).bipolar();
            g.conv(&[3, 4, 1, 1], 1, Sliding::default(), &TRITS);
            holds(&format!("signs, window {form}, include {include}"), &g.end());
        }
        // Sums, which a normalisation follows: what is outside does not count.
        let mut g = Making::new(60 + form as u64, &[1, 2, 7, 7]);
        g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS).normalise(4);
        g.then(|m, x| m.average_pool(x, false, Sliding { ceil: false, ..how }));
        g.quant(0.5, 3).conv(&[3, 4, 1, 1], 1, Sliding::default(), &TRITS);
        let network = holds(&format!("sums, window {form}"), &g.end());
        assert_eq!(kinds(&network), ["conv", "avgpool", "conv"]);
        // At the end: the host divides.
        let mut g = Making::new(70 + form as u64, &[1, 2, 7, 7]);
        g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS).normalise(4).quant(1.0, 3);
        g.then(|m, x| m.average_pool(x, false, how)).normalise(4);
        let network = holds(&format!("at the end, window {form}"), &g.end());
        assert_eq!(kinds(&network), ["conv", "avgpool"]);
    }
}

/// An average as the first layer, and padding in front of an average of sums.
#[test]
fn averages_of_inputs_and_of_padded_sums() {
    let mut g = Making::new(80, &[1, 2, 6, 6]);
    g.then(|m, x| m.average_pool(x, false, Sliding::apart(&[2, 2]))).conv(&[4, 2, 3, 3], 1, K3, &SIGNS);
    g.normalise(4).bipolar().classes(4, 3);
    let network = holds("an average in front", &g.end());
    assert_eq!(kinds(&network), ["avgpool", "conv", "dense"]);
    let mut g = Making::new(81, &[1, 2, 6, 6]);
    g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS);
    g.then(|m, x| m.pad(x, &[0, 0, 1, 1, 0, 0, 1, 1], 0.0));
    g.then(|m, x| m.average_pool(x, false, Sliding::apart(&[2, 2]))).quant(0.5, 3).classes(36, 3);
    let network = holds("padded sums", &g.end());
    assert_eq!(kinds(&network), ["conv", "avgpool", "dense"]);
}

/// The outputs of a product along the last axis are columns for an average: it mixes their scales.
#[test]
fn averages_over_other_scales_are_no_sums() {
    for behind in [false, true] {
        let mut g = Making::new(88, &[1, 3, 2, 4]);
        let w = g.m.floats(&[4, 3], &[1.0, 1.0, 2.0, -1.0, 1.0, -2.0, 1.0, -1.0, 2.0, 1.0, 1.0, 2.0]);
        g.then(|m, x| m.node("MatMul", &[x, &w], Vec::new()));
        g.then(|m, x| m.average_pool(x, true, Sliding { kernel: &[1, 3], pads: &[0, 1, 0, 1], ..K3 }));
        if !behind {
            let network = holds("left to the host", &g.end());
            assert_eq!(kinds(&network), ["conv"]);
            continue;
        }
        g.quant(4.0, 3).conv(&[2, 3, 1, 1], 1, Sliding::default(), &SIGNS);
        let said = import::read("net", &g.end()).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("without a quantiser between"), "{said}");
    }
}

/// Rectified sums in front of an average, where they are few levels by themselves.
#[test]
fn few_rectified_sums_are_levels() {
    for (form, op) in ["Relu", "Abs", "MaxPool"].into_iter().enumerate() {
        let mut g = Making::new(85 + form as u64, &[1, 2, 8, 8]);
        g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS).normalise(4).quant(2.0, 2);
        g.conv(&[4, 4, 1, 1], 1, Sliding::default(), &SIGNS);
        if op == "MaxPool" {
            g.normalise(4).then(|m, x| m.node("Relu", &[x], Vec::new()));
            g.then(|m, x| m.max_pool(x, Sliding { strides: &[1, 1], ..Sliding::apart(&[2, 2]) }));
        } else {
            g.then(|m, x| m.node(op, &[x], Vec::new()));
        }
        g.then(|m, x| m.average_pool(x, false, Sliding { strides: &[2, 2], ..SAME3 }));
        g.quant(0.5, 4).conv(&[3, 4, 1, 1], 1, Sliding::default(), &TRITS);
        let network = holds(op, &g.end());
        assert!(kinds(&network).contains(&"avgpool"));
    }
}

/// Padding that repeats edges, mirrors or wraps around, behind a quantiser and between sums and their quantiser.
#[test]
fn pixels_are_repeated_and_mirrored() {
    let wide: [i64; 8] = [0, 0, 2, 1, 0, 0, 1, 2];
    for (form, (mode, pads)) in
        [("edge", wide), ("reflect", wide), ("wrap", wide), ("reflect", [0, 0, 0, 2, 0, 0, 0, 2])]
            .into_iter()
            .enumerate()
    {
        let mut g = Making::new(90 + form as u64, &[1, 2, 5, 4]);
        g.conv(&[4, 2, 3, 3], 1, SAME3, &SIGNS).normalise(4).quant(2.0, 2);
        g.then(|m, x| m.pad_mode(x, mode, &pads)).conv(&[3, 4, 3, 3], 1, K3, &TRITS).bipolar();
        let network = holds(&format!("{mode} of {pads:?} behind a quantiser"), &g.end());
        assert!(kinds(&network).contains(&"concat"), "{:?}", kinds(&network));
        let mut g = Making::new(95 + form as u64, &[1, 2, 5, 4]);
        g.conv(&[4, 2, 3, 3], 1, SAME3, &SIGNS).then(|m, x| m.pad_mode(x, mode, &pads));
        g.normalise(4).bipolar().conv(&[3, 4, 3, 3], 1, K3, &TRITS);
        holds(&format!("{mode} of {pads:?} behind sums"), &g.end());
    }
    // The first layer's input, which the host pads.
    let mut g = Making::new(99, &[1, 2, 5, 4]);
    g.then(|m, x| m.pad_mode(x, "reflect", &[0, 0, 1, 1, 0, 0, 1, 1])).conv(&[3, 2, 3, 3], 1, K3, &TRITS);
    holds("the input", &g.end());
}

/// Linear interpolation by powers of two between quantisers: a transposed convolution. In front of the first quantiser and behind the
/// last product it is the host's.
#[test]
fn images_grow_between_their_pixels() {
    let forms = [("half_pixel", [2.0, 2.0]), ("pytorch_half_pixel", [4.0, 1.0]), ("asymmetric", [2.0, 4.0])];
    for (form, (how, [down, across])) in forms.into_iter().enumerate() {
        let mut g = Making::new(110 + form as u64, &[1, 2, 3, 4]);
        g.conv(&[4, 2, 3, 3], 1, SAME3, &SIGNS).normalise(4).quant(2.0, 2);
        g.then(|m, x| m.interpolate(x, &[1.0, 1.0, down, across], how)).quant(0.25, 4);
        g.conv(&[2, 4, 1, 1], 1, Sliding::default(), &SIGNS);
        holds(how, &g.m.finish_at(13, &g.x));
    }
    for how in ["half_pixel", "align_corners"] {
        let mut g = Making::new(115, &[1, 2, 3, 4]);
        g.conv(&[4, 2, 3, 3], 1, SAME3, &SIGNS).then(|m, x| m.interpolate(x, &[1.0, 1.0, 3.0, 1.5], how));
        let network = holds("behind the last layer", &g.m.finish_at(13, &g.x));
        assert_eq!(kinds(&network), ["conv"]);
        let mut m = Builder::new(&[1, 2, 3, 4]);
        let x = m.interpolate("x", &[1.0, 1.0, 3.0, 1.5], how);
        let x = m.quant(&x, 16.0, 4, false, "ROUND");
        let mut g = Making { m, x, rng: random(116) };
        g.conv(&[4, 2, 3, 3], 1, SAME3, &SIGNS);
        let network = holds("in front of the input's quantiser", &g.m.finish_at(13, &g.x));
        assert_eq!(kinds(&network), ["conv"]);
    }
    for (scales, how) in [([1.0, 1.0, 3.0, 1.0], "half_pixel"), ([1.0, 1.0, 2.0, 2.0], "align_corners")] {
        let mut g = Making::new(117, &[1, 2, 3, 4]);
        g.conv(&[4, 2, 3, 3], 1, SAME3, &SIGNS).quant(2.0, 2);
        g.then(|m, x| m.interpolate(x, &scales, how)).quant(0.5, 3);
        g.conv(&[2, 4, 1, 1], 1, Sliding::default(), &SIGNS);
        let said = import::read("net", &g.m.finish_at(13, &g.x)).map(|_| ()).unwrap_err();
        let said = &said.list()[0];
        assert!(said.message.contains("linear interpolation"), "{said}");
        assert!(said.help.as_ref().is_some_and(|help| help.contains("align_corners=False")), "{said:?}");
    }
}

#[test]
fn averages_are_exact_sums() {
    // Of levels with a quantiser behind, then of levels in front of a product, then of sums behind a normalisation.
    let mut g = Making::new(6, &[1, 2, 8, 8]);
    g.conv(&[4, 2, 3, 3], 1, SAME3, &SIGNS).normalise(4).quant(2.0, 3);
    g.then(|m, x| m.average_pool(x, false, Sliding::apart(&[2, 2]))).quant(0.5, 3);
    g.conv(&[4, 4, 3, 3], 1, SAME3, &TRITS).normalise(4).quant(2.0, 2);
    g.then(|m, x| m.global_average_pool(x)).classes(4, 3);
    let network = holds("averages", &g.end());
    assert_eq!(kinds(&network), ["conv", "avgpool", "conv", "globalpool", "dense"]);
    let mut g = Making::new(7, &[1, 2, 4, 4]);
    g.conv(&[4, 2, 1, 1], 1, Sliding::default(), &SIGNS).normalise(4);
    g.then(|m, x| m.global_average_pool(x)).normalise(4).quant(1.0, 3).classes(4, 3);
    let network = holds("a normalisation before an average", &g.end());
    assert_eq!(kinds(&network), ["conv", "globalpool", "dense"]);
    let mut g = Making::new(8, &[1, 2, 4, 4]);
    g.conv(&[4, 2, 1, 1], 1, Sliding::default(), &SIGNS).normalise(4).quant(2.0, 2);
    g.then(|m, x| m.global_average_pool(x)).normalise(4);
    let network = holds("an average at the end", &g.end());
    assert_eq!(kinds(&network), ["conv", "globalpool"]);
}

/// Averages whose rounding is an integer shift: Trunc as Brevitas writes it, and QuantAvgPool2d.
#[test]
fn averages_that_drop_bits() {
    for form in 0..3 {
        let mut g = Making::new(20, &[1, 2, 6, 6]);
        g.conv(&[4, 2, 3, 3], 1, K3, &SIGNS).normalise(4).quant(1.0, 3);
        if form == 0 {
            g.then(|m, x| m.average_pool(x, false, Sliding::apart(&[2, 2])));
            g.then(|m, x| {
                let x = m.scalar("Mul", x, 4.0);
                let [s, z, from, to] = [1.0, 0.0, 5.0, 3.0].map(|v| m.floats(&[], &[v]));
                let mode = vec![Attribute::string("rounding_mode", "FLOOR")];
                m.node_of(BREVITAS, "Trunc", &[&x, &s, &z, &from, &to], mode)
            });
        } else {
            if form == 2 {
                g.turn(&[0, 2, 3, 1]);
            }
            g.then(|m, x| {
                let ints = [("kernel", 2), ("stride", 2), ("ibits", 3), ("obits", 3), ("signed", 0)];
                let mut how: Vec<Attribute> = ints.map(|(n, v)| Attribute::int(n, v)).to_vec();
                how.push(Attribute::string("data_layout", if form == 2 { "NHWC" } else { "NCHW" }));
                m.node_of(FINN, "QuantAvgPool2d", &[x], how)
            });
        }
        g.classes(16, 3);
        let network = holds(&format!("form {form}"), &g.end());
        assert_eq!(kinds(&network), ["conv", "avgpool", "dense"]);
        assert_eq!(network.nodes[1].output.element, Element::Unsigned(3));
    }
}
