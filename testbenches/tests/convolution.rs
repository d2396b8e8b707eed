//! Convolutions on every engine: forms that networks use, random ones, and stochastic weights.

use std::sync::Arc;

use proptest::prelude::*;
use rand::{Rng, RngExt};
use stoxnor::arith::activation::Activation;
use stoxnor::arith::kernel::{Fill, Sliding};
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::product::{Product, Stochastic};
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor::arith::window::Window;
use stoxnor::engine::{Conditions, Engine};
use stoxnor::engine::{Figures, measure};
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::layer::conv::Conv;
use stoxnor::layer::dense::Dense;
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::network::layer::Layer;
use stoxnor::unit::folding::Folding;
use stoxnor_testbenches::conformance::{
    Effort, agree, chain, compared, conform, default_folds, random, random_folds, random_frames,
};

/// What the next layer of a chain is to be: kernel, stride, dilation and padding of both axes alike, groups and rows.
#[derive(Debug, Clone)]
struct Form {
    window: Window,
    groups: usize,
    rows: usize,
    /// Type of what leaves; nothing for sums.
    element: Option<Element>,
    /// Values of the weights.
    values: Vec<i16>,
}

const BITS: [i16; 2] = [1, -1];
const TRITS: [i16; 3] = [0, 1, -1];
const FEW: [i16; 7] = [-4, 3, 1, 0, -1, 2, -3];

/// Thresholds within the reach of sums, so that all values occur.
fn activation(rng: &mut impl Rng, rows: usize, range: (i64, i64), element: Element) -> Activation {
    let (least, most) = element.range();
    let steps = if element == Element::Bipolar { 1 } else { most - least };
    let spread = ((range.1 - range.0) / 6).max(1);
    let mut row = || {
        let mut row: Vec<i32> = (0..steps).map(|_| rng.random_range(-spread..=spread) as i32).collect();
        row.sort_unstable();
        row
    };
    Activation::rising(element, least as i32, (0..rows).map(|_| row()).collect())
}

/// The layers of `forms` on an input of `element`, and at the end a dense layer of `classes` sums.
fn network(seed: u64, element: Element, channels: usize, forms: &[Form], classes: usize) -> Network {
    let mut rng = random(seed);
    let mut port =
        Port { shape: vec![forms[0].window.input[0], forms[0].window.input[1], channels], element };
    let first = port.clone();
    let mut layers: Vec<Arc<dyn Layer>> = Vec::new();
    for form in forms {
        let fill = if port.element == Element::Bipolar { Fill::Mask } else { Fill::Value(0) };
        let kernel = Sliding { window: form.window, channels: port.shape[2], groups: form.groups, fill };
        let mut value = |_, _| form.values[rng.random_range(0..form.values.len())];
        let weights = IntMatrix::from_fn(form.rows, kernel.fan_in(), &mut value);
        let range = Product::new(weights.clone(), vec![]).sum_range(port.element, kernel.masked());
        let stairs = form.element.map(|e| activation(&mut rng, form.rows, range, e));
        let layer = Arc::new(Conv::new(kernel, Product::new(weights, stairs.into_iter().collect())));
        port = layer.output(&[port]).unwrap();
        layers.push(layer);
    }
    if classes > 0 {
        let sign = |_, _| if rng.random() { 1 } else { -1 };
        layers.push(Arc::new(Dense::new(IntMatrix::from_fn(classes, port.elements(), sign), None)));
    }
    chain(first, layers)
}

fn same(input: [usize; 2], kernel: [usize; 2]) -> Window {
    let around = kernel.map(|k| k / 2);
    Window { before: around, after: around, ..Window::plain(input, kernel) }
}

fn form(window: Window, groups: usize, rows: usize, element: Element, values: &[i16]) -> Form {
    Form { window, groups, rows, element: Some(element), values: values.to_vec() }
}

/// Depthwise-separable, strided, dilated, padded, grouped, 1-D, 2-bit and 4-bit.
fn examples() -> Vec<(&'static str, Network)> {
    let (b, u2, u4, s3) = (Element::Bipolar, Element::Unsigned(2), Element::Unsigned(4), Element::Signed(3));
    let separable = [
        form(same([6, 6], [3, 3]), 1, 4, u2, &BITS),
        form(same([6, 6], [3, 3]), 4, 4, u2, &FEW),
        form(Window::plain([6, 6], [1, 1]), 1, 6, b, &TRITS),
    ];
    let strided = [
        form(Window { stride: [2, 2], ..same([8, 8], [3, 3]) }, 1, 4, b, &BITS),
        form(Window { stride: [2, 1], ..Window::plain([4, 4], [2, 2]) }, 1, 4, b, &BITS),
    ];
    let dilated = [
        form(Window { dilation: [2, 2], ..Window::plain([7, 8], [3, 3]) }, 1, 2, u2, &TRITS),
        form(
            Window { dilation: [1, 3], before: [1, 2], after: [0, 1], ..Window::plain([3, 4], [2, 2]) },
            1,
            4,
            b,
            &BITS,
        ),
    ];
    let padded = [form(same([5, 4], [3, 3]), 1, 4, b, &BITS), form(same([5, 4], [5, 3]), 1, 4, b, &TRITS)];
    let grouped = [
        form(Window::plain([5, 5], [3, 3]), 1, 8, b, &BITS),
        form(Window::plain([3, 3], [2, 2]), 4, 8, s3, &BITS),
    ];
    let line = [
        form(Window { stride: [1, 2], before: [0, 1], ..Window::plain([1, 12], [1, 3]) }, 1, 4, u4, &FEW),
        form(Window { dilation: [1, 2], ..Window::plain([1, 6], [1, 2]) }, 2, 4, u4, &TRITS),
    ];
    vec![
        ("depthwise-separable", network(1, Element::Signed(8), 3, &separable, 3)),
        ("strided", network(2, b, 2, &strided, 3)),
        ("dilated", network(3, u2, 2, &dilated, 3)),
        ("padded", network(4, b, 3, &padded, 3)),
        ("grouped", network(5, b, 2, &grouped, 3)),
        ("one dimension, 4 bits", network(6, u4, 2, &line, 3)),
    ]
}

#[test]
fn the_forms_that_networks_use() {
    for (name, network) in examples() {
        let software = Effort { rtl: 3, verilator: 0, icarus: 0 };
        for seed in 0..3 {
            conform(name, &network, &random_folds(&mut random(seed), &network), software);
        }
        for cycles in [1, 500] {
            conform(name, &network, &default_folds(&network, cycles), software);
        }
    }
}

#[test]
fn the_forms_that_networks_use_in_the_simulators() {
    for (name, network) in examples() {
        let folds = random_folds(&mut random(7), &network);
        let hardware = lower(&network, &folds);
        let frames = random_frames(1, &network, 3);
        for stall in [None, Some(1)] {
            let effort = Effort { rtl: 3, verilator: 3, icarus: 1 };
            agree(name, &network, &hardware, &frames, &Conditions::stalled(stall), effort);
        }
    }
}

/// The interval is that of the slowest: what comes in, what is read, or what is multiplied.
#[test]
fn layers_never_wait_for_anything_but_the_slowest() {
    let b = Element::Bipolar;
    let of = |window: Window| network(1, b, 4, &[form(window, 1, 8, b, &BITS)], 0);
    let fold = |pe, simd| Folding::new(pe, simd);
    let large = Window { stride: [3, 3], ..Window::plain([12, 12], [3, 3]) };
    for (window, fold, interval) in [
        // 36 positions of 2 row groups and 9 steps.
        (Window::plain([8, 8], [3, 3]), fold(4, 4), 36 * 2 * 9),
        (same([8, 8], [3, 3]), fold(2, 12), 64 * 4 * 3),
        (same([8, 8], [3, 3]), fold(8, 36), 64),
        // 144 pixels come in for 16 positions of one step.
        (large, fold(8, 36), 144),
        (large, fold(8, 4), 16 * 9),
    ] {
        let network = of(window);
        let hardware = lower(&network, &[fold]);
        let measured = measure(&hardware, 1, &indicatif::ProgressBar::hidden()).unwrap();
        assert_eq!(measured.interval, interval, "{window:?} {fold:?}");
        assert_eq!(measured, Figures::of_schedule(&hardware, 1));
        assert_eq!(network.nodes[0].layer.lanes().cycles(fold), interval);
    }
}

/// Hardware that is one pixel, one tap or one channel off is told from the network, at its layer.
#[test]
fn a_window_that_reads_something_else_is_found() {
    let of = |window: Window, groups: usize| {
        network(9, Element::Unsigned(3), 4, &[form(window, groups, 4, Element::Unsigned(2), &FEW)], 2)
    };
    let window = Window { before: [1, 1], after: [1, 1], ..Window::plain([5, 5], [3, 3]) };
    let network = of(window, 1);
    let frames = random_frames(4, &network, 2);
    let others = [
        Window { before: [1, 0], after: [1, 2], ..window },
        Window { before: [2, 1], after: [0, 1], ..window },
        Window { dilation: [1, 2], before: [1, 2], after: [1, 2], ..window },
    ];
    for other in others {
        let hardware = lower(&of(other, 1), &[Folding::new(2, 4), Folding::new(1, 1)]);
        let engines = [Engine::Reference, Engine::Rtl];
        let report = compared(&network, &hardware, &frames, &engines, &Conditions::default());
        let found = report.first_difference.expect("a difference");
        assert_eq!((found.layer.as_str(), found.engine), ("l1_conv", Engine::Rtl), "{other:?}");
    }
}

/// The stochastic network of a test: two convolutions, the second padded, and a dense layer.
fn sampled(rounding: Rounding, realisations: [Realisation; 3], members: usize) -> Network {
    let mut rng = random(3);
    let input = Port { shape: vec![5, 5, 2], element: Element::Unsigned(2) };
    let windows = [Window { stride: [2, 2], ..same([5, 5], [3, 3]) }, same([3, 3], [3, 3])];
    let mut layers: Vec<Arc<dyn Layer>> = Vec::new();
    let mut port = input.clone();
    for (index, realisation) in realisations.into_iter().enumerate() {
        let fill = if port.element == Element::Bipolar { Fill::Mask } else { Fill::Value(0) };
        let kernel = windows.get(index).map(|window| Sliding {
            window: *window,
            channels: port.shape[2],
            groups: 1,
            fill,
        });
        let (rows, fan_in) =
            (if index < 2 { 8 } else { 4 }, kernel.as_ref().map_or(port.elements(), Sliding::fan_in));
        let reals: Vec<f32> = (0..rows * fan_in).map(|_| rng.random_range(-1.2f32..=1.2)).collect();
        let real = |r: usize, c: usize| reals[r * fan_in + c];
        let matrix = StochasticMatrix::from_fn(rounding, index as u64 + 1, (rows, fan_in), real);
        let thresholds = (0..8).map(|_| activation(&mut rng, rows, (-18, 18), Element::Bipolar));
        let activations = if index < 2 { thresholds.take(members).collect() } else { vec![] };
        let product = Product::stochastic(Stochastic { matrix, realisation, members }, activations);
        let layer: Arc<dyn Layer> = match kernel {
            Some(kernel) => Arc::new(Conv::new(kernel, product)),
            None => Arc::new(Dense::from(product)),
        };
        port = layer.output(&[port]).unwrap();
        layers.push(layer);
    }
    chain(input, layers)
}

const REALISATIONS: [Realisation; 3] = [Realisation::Fly, Realisation::Sampled, Realisation::Stored];

/// One sampled network a member, the same at every position: the sums of M members are those of M networks of the drawn weights, in each
/// realisation, at each folding, on every engine.
#[test]
fn members_are_the_same_at_every_position_in_each_realisation() {
    for (law, bits, share) in [(Law::Binary, 2, 2), (Law::Ternary, 1, 8), (Law::Ternary, 3, 4)] {
        let rounding = Rounding { law, bits, share, seed: 11 };
        let mut sums = Vec::new();
        let mixed = [Realisation::Stored, Realisation::Fly, Realisation::Sampled];
        for realisations in REALISATIONS.map(|r| [r; 3]).into_iter().chain([mixed]) {
            let network = sampled(rounding, realisations, 3);
            let frames = random_frames(5, &network, 4);
            for folds in [[(2, 6), (4, 8), (2, 8)], [(8, 2), (8, 24), (4, 24)]] {
                let folds = folds.map(|(pe, simd)| Folding::new(pe, simd));
                let hardware = lower(&network, &folds);
                for stall in [None, Some(2)] {
                    let conditions = Conditions { stall, members: vec![2, 3, 1] };
                    let what = format!("{rounding:?} {realisations:?} {folds:?} {stall:?}");
                    let effort = Effort { rtl: 4, verilator: 0, icarus: 0 };
                    agree(&what, &network, &hardware, &frames, &conditions, effort);
                }
            }
            sums.push(stoxnor::engine::sums(&network, &frames));
        }
        assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "{rounding:?}");
        // The networks of the drawn weights, one by one.
        let network = sampled(rounding, REALISATIONS, 3);
        let frames = random_frames(5, &network, 4);
        for (frame, sums) in frames.iter().zip(&sums[0]) {
            let member =
                |m: usize| network.nodes.iter().fold(frame.clone(), |x, node| node.layer.reference(&[&x], m));
            let total = (0..3).map(member).reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect());
            assert_eq!(total.as_ref(), Some(sums), "{rounding:?}");
        }
    }
}

#[test]
fn stochastic_convolutions_in_the_simulators() {
    for (index, realisations) in REALISATIONS.map(|r| [r; 3]).into_iter().enumerate() {
        let rounding = Rounding { law: Law::Ternary, bits: 1 + index as u32 % 2, share: 4, seed: 3 };
        let network = sampled(rounding, realisations, 3);
        let folds = [(2, 6), (4, 24), (2, 8)].map(|(pe, simd)| Folding::new(pe, simd));
        let hardware = lower(&network, &folds);
        let frames = random_frames(5, &network, 3);
        for stall in [None, Some(2)] {
            let conditions = Conditions { stall, members: vec![2, 3, 1] };
            let engines = [Engine::Reference, Engine::Fast, Engine::Rtl, Engine::Verilator, Engine::Icarus];
            let report = compared(&network, &hardware, &frames, &engines, &conditions);
            assert!(report.equal, "{realisations:?} {stall:?}: {:?}", report.first_difference);
        }
    }
}

/// A window that fits an image of about this size.
fn window() -> impl Strategy<Value = Window> {
    let axis = || (1usize..8, 1usize..6, 1usize..4, 1usize..3, 0usize..4, 0usize..4);
    (axis(), axis(), any::<bool>()).prop_map(|(y, x, line)| {
        let y = if line { (1, 1, 1, 1, 0, 0) } else { y };
        let mut window = Window::plain([1, 1], [1, 1]);
        for (a, (input, kernel, stride, dilation, before, after)) in [y, x].into_iter().enumerate() {
            let extent = (kernel - 1) * dilation + 1;
            (window.input[a], window.kernel[a], window.stride[a], window.dilation[a]) =
                (input, kernel, stride, dilation);
            (window.before[a], window.after[a]) = (before.min(extent - 1), after.min(extent - 1));
            window.input[a] =
                input.max((extent + 1).saturating_sub(window.before[a] + window.after[a]).max(1));
        }
        window
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any convolution, between others or not, at any folding: all values, every beat's cycle, the figures.
    #[test]
    fn any_convolution_at_any_folding(
        seed in any::<u64>(),
        window in window(),
        groups in prop::sample::select(vec![(1, 1, 2), (1, 3, 2), (2, 2, 4), (3, 3, 6), (4, 4, 4), (2, 4, 2)]),
        element in prop::sample::select(vec![Element::Bipolar, Element::Unsigned(2), Element::Signed(3)]),
        values in prop::sample::select(vec![BITS.to_vec(), TRITS.to_vec(), FEW.to_vec()]),
    ) {
        let (groups, channels, rows) = groups;
        let out = if seed % 2 == 0 { Element::Bipolar } else { Element::Unsigned(2) };
        let [height, width] = window.output();
        let pointwise = Form {
            window: Window::plain([height, width], [1, 1]),
            groups: 1,
            rows: 2,
            element: None,
            values: BITS.to_vec(),
        };
        let forms = [form(window, groups, rows, out, &values), pointwise];
        let network = network(seed, element, channels, &forms, 0);
        let folds = random_folds(&mut random(seed), &network);
        let hardware = lower(&network, &folds);
        let frames = random_frames(seed, &network, 3);
        for stall in [None, Some(seed)] {
            let effort = Effort { rtl: 3, verilator: 0, icarus: 0 };
            agree(&format!("{folds:?}"), &network, &hardware, &frames, &Conditions::stalled(stall), effort);
        }
    }
}
