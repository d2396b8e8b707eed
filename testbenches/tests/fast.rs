//! The fast engine's layers on shapes that hardware tests are too slow for: channels that fill words, many rows, thresholds and planes.

use rand::RngExt as _;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::kernel::{Fill, Sliding};
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::product::Product;
use stoxnor::arith::window::Window;
use stoxnor::frame::batch::Batch;
use stoxnor::frame::element::Element;
use stoxnor::layer::conv::Conv;
use stoxnor::layer::maxpool::MaxPool;
use stoxnor::network::layer::Layer;
use stoxnor_testbenches::conformance::random;

/// The types of inputs.
const TYPES: [Element; 7] = [
    Element::Bipolar,
    Element::Unsigned(1),
    Element::Signed(1),
    Element::Unsigned(2),
    Element::Signed(3),
    Element::Unsigned(8),
    Element::Signed(9),
];

fn value(rng: &mut impl rand::Rng, element: Element) -> i32 {
    match element {
        Element::Bipolar => rng.random_range(0..2) * 2 - 1,
        other => {
            let (least, most) = other.range();
            rng.random_range(least..=most) as i32
        }
    }
}

/// The layer gives for random frames what its reference gives; `seed` is named where it does not.
fn same(seed: u64, layer: &dyn Layer, element: Element, elements: usize) {
    let mut rng = random(!seed);
    let count = rng.random_range(1..20);
    let mut frame = || -> Vec<i32> { (0..elements).map(|_| value(&mut rng, element)).collect() };
    let frames: Vec<Vec<i32>> = (0..count).map(|_| frame()).collect();
    let batch = Batch::pack(element, elements, &frames);
    let due: Vec<Vec<i32>> = frames.iter().map(|frame| layer.reference(&[frame], 0)).collect();
    assert_eq!(layer.fast(&[&batch], 0).unpack(), due, "seed {seed}: {layer:?}");
}

/// A window that sees pixels, with or without padding.
fn window(rng: &mut impl rand::Rng) -> Window {
    loop {
        let mut pair =
            |least: usize, most: usize| [rng.random_range(least..=most), rng.random_range(least..=most)];
        let (input, kernel) = (pair(1, 7), pair(1, 3));
        let (stride, dilation, before, after) = (pair(1, 2), pair(1, 2), pair(0, 1), pair(0, 1));
        let window = Window { input, kernel, stride, dilation, before, after };
        if window.fault().is_none() {
            return window;
        }
    }
}

#[test]
fn convolutions_of_any_shape() {
    // Operands that are read in place, with padding at the border or none; operands that are gathered; searched thresholds.
    let mut seen = [0; 4];
    for seed in 0..400 {
        let mut rng = random(seed);
        let groups = [1, 1, 1, 2, 3][rng.random_range(0..5)];
        let own = [1, 3, 20, 30, 64, 64, 65, 128][rng.random_range(0..8)];
        let element = TYPES[rng.random_range(0..TYPES.len())];
        let outside = value(&mut rng, element);
        let masked = element == Element::Bipolar && rng.random();
        let fill = if masked { Fill::Mask } else { Fill::Value(outside) };
        let kernel = Sliding { window: window(&mut rng), channels: groups * own, groups, fill };
        let rows = groups * rng.random_range(1..20);
        let values: &[i16] = [&[-1, 1][..], &[-1, 0, 1], &[-4, -1, 0, 2, 3]][rng.random_range(0..3)];
        let weights =
            IntMatrix::from_fn(rows, kernel.fan_in(), |_, _| values[rng.random_range(0..values.len())]);
        let output = TYPES[rng.random_range(0..TYPES.len())];
        let (least, most) = output.range();
        let steps = match output {
            Element::Bipolar => 1,
            _ => rng.random_range(1..=most - least) as usize,
        };
        let (low, high) = Product::new(weights.clone(), vec![]).sum_range(element, kernel.masked());
        let mut stairs = || -> Vec<i32> {
            let mut row: Vec<i32> = (0..steps).map(|_| rng.random_range(low - 1..=high + 1) as i32).collect();
            row.sort_unstable();
            row
        };
        let thresholds = (0..rows).map(|_| stairs()).collect();
        let falls = (0..rows).map(|_| rng.random()).collect();
        let activation = Activation { falls, ..Activation::rising(output, least as i32, thresholds) };
        let activation = if rng.random_range(0..4) == 0 { vec![] } else { vec![activation] };
        let in_place = own % 64 == 0;
        let cases = [
            in_place && !kernel.window.pads(),
            in_place && kernel.window.pads(),
            !in_place,
            !activation.is_empty() && steps > 24,
        ];
        seen.iter_mut().zip(cases).for_each(|(count, case)| *count += u32::from(case));
        let elements = kernel.shape().iter().product();
        same(seed, &Conv::new(kernel, Product::new(weights, activation)), element, elements);
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn pools_of_any_shape() {
    for seed in 0..300 {
        let mut rng = random(seed);
        let channels = [1, 5, 63, 64, 65, 128, 130][rng.random_range(0..7)];
        let element = TYPES[rng.random_range(0..TYPES.len())];
        let kernel = Sliding { window: window(&mut rng), channels, groups: channels, fill: Fill::Nothing };
        // A position that sees nothing but padding has no maximum.
        if (0..kernel.window.positions()).any(|p| kernel.window.seen(p).iter().any(|axis| axis.len() == 0)) {
            continue;
        }
        let falls = if rng.random() { vec![] } else { (0..channels).map(|_| rng.random()).collect() };
        let elements = kernel.shape().iter().product();
        same(seed, &MaxPool::new(kernel, falls), element, elements);
    }
}
