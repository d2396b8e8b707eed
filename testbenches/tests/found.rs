//! What random model files found: graphs that once gave wrong answers, or were accepted and then not run, rebuilt small.

use stoxnor::import;
use stoxnor_testbenches::making::{K3, Making, SIGNS, holds, kinds};
use stoxnor_testbenches::onnx::{Attribute, Builder, QONNX, Sliding};

const HALVES: Sliding<'static> = Sliding { kernel: &[2, 2], strides: &[2, 2], ..K3 };

/// Images of signs.
fn signs(seed: u64, shape: &[usize]) -> Making {
    let mut g = Making::new(seed, shape);
    g.bipolar();
    g
}

fn said(g: Making) -> String {
    import::read("net", &g.end()).expect_err("refused").to_string()
}

/// As many channels as thresholds: a selection of channels takes rows of thresholds, never some of the thresholds of all.
#[test]
fn a_selection_moves_over_thresholds_of_all_channels() {
    let mut g = Making::new(1, &[1, 3]);
    g.then(|m, x| {
        let thresholds = m.floats(&[1, 3], &[-60.0, 0.0, 60.0]);
        let levels = m.node_of(QONNX, "MultiThreshold", &[x, &thresholds], Vec::new());
        let [from, to, axis] = [0, 2, 1].map(|n| m.ints(&[1], &[n]));
        m.node("Slice", &[&levels, &from, &to, &axis], Vec::new())
    });
    g.classes(2, 2);
    holds("a slice behind thresholds", &g.end());
}

/// A number added to its own sign has as many values as there are numbers, though the sign has three.
#[test]
fn a_number_and_its_sign_are_no_levels() {
    let mut m = Builder::new(&[1, 4]);
    let sign = m.node("Sign", &["x"], Vec::new());
    let sum = m.node("Add", &["x", &sign], Vec::new());
    let (low, high) = (m.floats(&[], &[-1.5]), m.floats(&[], &[1.0]));
    let clipped = m.node("Clip", &[&sum, &low, &high], Vec::new());
    let w = m.floats(&[4, 1], &[1.0, -1.0, 1.0, 1.0]);
    let y = m.node("MatMul", &[&clipped, &w], Vec::new());
    let text = import::read("net", &m.finish_at(13, &y)).expect_err("refused").to_string();
    assert!(text.contains("[input-not-quantised]"), "{text}");
}

/// A bound that is the running tensor itself is no constant.
#[test]
fn parameters_that_depend_on_the_input_are_refused() {
    let mut g = Making::new(3, &[1, 4]);
    g.quant(1.0, 3).then(|m, x| m.node("Clip", &[x, x], Vec::new()));
    g.classes(4, 2);
    let text = said(g);
    assert!(text.contains("[operator-unsupported]") && text.contains("parameters depend"), "{text}");
}

/// Channels and rows trade places between a convolution and an average: once, not again behind it.
#[test]
fn a_transposition_before_an_average_is_not_repeated() {
    let mut g = signs(4, &[1, 2, 4, 6]);
    g.conv(&[2, 2, 3, 3], 1, Sliding::default(), &SIGNS);
    g.turn(&[0, 2, 1, 3]).then(|m, x| m.average_pool(x, true, HALVES));
    g.normalise(2);
    holds("an average of transposed sums", &g.end());
}

/// Scales of the outputs of a product do not fit its sums as an image.
#[test]
fn scales_of_outputs_do_not_reach_an_average_of_another_shape() {
    let mut g = signs(5, &[1, 4]);
    g.then(|m, x| {
        // The third output's weights are multiples of 2.
        let w = m.floats(&[4, 4], &[1., -1., 2., -1., 1., 1., -2., 1., -1., 1., 2., 1., 1., 1., 2., -1.]);
        let product = m.node("MatMul", &[x, &w], Vec::new());
        let axis = m.ints(&[1], &[2]);
        m.node("Unsqueeze", &[&product, &axis], Vec::new())
    });
    g.then(|m, x| m.global_average_pool(x)).then(|m, x| {
        let shape = m.ints(&[3], &[1, 2, -1]);
        m.node("Reshape", &[x, &shape], Vec::new())
    });
    let text = said(g);
    assert!(text.contains("[activation-unsupported]"), "{text}");
}

/// Padding of sums with 0, and a maximum, in front of thresholds: the padding gets the level of 0.
#[test]
fn padding_before_a_maximum_gets_the_level_of_its_value() {
    let mut g = signs(6, &[1, 2, 4, 4]);
    g.conv(&[2, 2, 1, 1], 1, Sliding::default(), &SIGNS);
    g.then(|m, x| m.pad(x, &[0, 0, 0, 0, 0, 0, 3, 0], 0.0));
    g.then(|m, x| m.max_pool(x, Sliding { kernel: &[1, 1], ..HALVES }));
    g.then(|m, x| {
        let thresholds = m.floats(&[1, 1], &[-2.0]);
        m.node_of(QONNX, "MultiThreshold", &[x, &thresholds], Vec::new())
    });
    g.classes(16, 2);
    let network = holds("padding in front of a maximum", &g.end());
    assert!(kinds(&network).contains(&"maxpool"), "{:?}", kinds(&network));
}

/// The square of a maximum is not the maximum of squares.
#[test]
fn a_maximum_before_a_square_is_refused() {
    let mut g = signs(7, &[1, 2, 4, 4]);
    g.conv(&[2, 2, 1, 1], 1, Sliding::default(), &SIGNS);
    g.then(|m, x| m.max_pool(x, Sliding::apart(&[2, 2]))).then(|m, x| m.node("Mul", &[x, x], Vec::new()));
    g.quant(1.0, 3).classes(8, 2);
    let text = said(g);
    assert!(text.contains("neither only rise nor only fall"), "{text}");
}

/// Integers of the host, behind the last product, are padded with their value and summed.
#[test]
fn integers_of_the_host_are_padded_and_summed() {
    for pads in [[0, 0, 1, 1, 0, 0, 0, 1], [0; 8]] {
        let mut g = signs(8, &[1, 2, 4, 4]);
        g.conv(&[2, 2, 1, 1], 1, Sliding::default(), &SIGNS);
        g.then(|m, x| m.node("Cast", &[x], vec![Attribute::int("to", 6)]));
        g.then(|m, x| {
            m.node("Pad", &[x], vec![Attribute::ints("pads", &pads), Attribute::float("value", -1.0)])
        });
        // Padding moves behind the sum, with a constant in place of the attribute.
        g.then(|m, x| m.node("Add", &[x, x], Vec::new()));
        g.then(|m, x| m.node("ReduceSum", &[x], vec![Attribute::ints("axes", &[2, 3])]));
        holds("integers behind the last layer", &g.end());
    }
}
