//! Operators on images, in whole graphs: read from files, evaluated in float32.

use stoxnor::graph::tensor::{Data, Tensor};
use stoxnor::import;
use stoxnor_testbenches::onnx::{Builder, Sliding};

/// What the graph of `bytes` makes of 0, 1, 2 and so on.
fn of_ramp(bytes: &[u8]) -> Tensor {
    let graph = import::float_graph(bytes).unwrap();
    let n: usize = graph.input_shape().iter().product();
    let ramp = (0..n).map(|v| v as f32).collect();
    let out = graph.eval(&Tensor::new(graph.input_shape().to_vec(), Data::Float(ramp)).unwrap()).unwrap();
    assert_eq!(out.shape, graph.output_shape(), "the inferred shape");
    out
}

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), Data::Float(values.to_vec())).unwrap()
}

#[test]
fn a_convolution_pooled_and_flattened() {
    let mut m = Builder::new(&[1, 1, 4, 4]);
    // The difference to the right neighbour, and the one below plus a half.
    let w = m.floats(&[2, 1, 2, 2], &[-1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let bias = m.floats(&[2], &[0.0, 0.5]);
    let how = Sliding { pads: &[0, 0, 1, 1], kernel: &[2, 2], ..Sliding::default() };
    let x = m.conv("x", &w, Some(&bias), 1, how);
    let x = m.max_pool(&x, Sliding::apart(&[2, 2]));
    let y = m.node("Flatten", &[&x], Vec::new());
    // At the right edge the neighbour is padding, 0: less than the pixel itself.
    let wanted = [1.0, 1.0, 1.0, 1.0, 9.5, 11.5, 13.5, 15.5];
    assert_eq!(of_ramp(&m.finish(&y)), tensor(&[1, 8], &wanted));
}

#[test]
fn groups_strides_and_averages() {
    let mut m = Builder::new(&[1, 2, 4, 4]);
    let w = m.floats(&[2, 1, 1, 1], &[1.0, -1.0]);
    let x = m.conv("x", &w, None, 2, Sliding { strides: &[2, 2], ..Sliding::default() });
    let x = m.pad(&x, &[0, 0, 1, 0, 0, 0, 0, 1], 2.0);
    // 2 2 2 / 0 2 2 / 8 10 2 and 2 2 2 / -16 -18 2 / -24 -26 2.
    let mean = m.global_average_pool(&x);
    let wanted = [30.0 / 9.0, -74.0 / 9.0];
    assert_eq!(of_ramp(&m.clone().finish(&mean)), tensor(&[1, 2, 1, 1], &wanted));
    let how = Sliding { ceil: true, ..Sliding::apart(&[2, 2]) };
    let y = m.average_pool(&x, false, how);
    let wanted = [1.5, 2.0, 9.0, 2.0, -7.5, 2.0, -25.0, 2.0];
    assert_eq!(of_ramp(&m.finish(&y)), tensor(&[1, 2, 2, 2], &wanted));
}

#[test]
fn lines_are_images_of_height_one() {
    let mut m = Builder::new(&[1, 1, 6]);
    let w = m.floats(&[1, 1, 2], &[1.0, 10.0]);
    let x = m.conv("x", &w, None, 1, Sliding { dilations: &[2], ..Sliding::default() });
    let y = m.max_pool(&x, Sliding::apart(&[2]));
    assert_eq!(of_ramp(&m.finish(&y)), tensor(&[1, 1, 2], &[31.0, 53.0]));
}

#[test]
fn images_grow_by_repetition() {
    let mut m = Builder::new(&[1, 1, 1, 2]);
    let y = m.resize("x", &[1.0, 1.0, 2.0, 2.0]);
    assert_eq!(of_ramp(&m.finish_at(10, &y)), tensor(&[1, 1, 2, 4], &[0., 0., 1., 1., 0., 0., 1., 1.]));
}

/// Weights behind a quantiser are folded like any constant.
#[test]
fn constants_fold_through_image_operators() {
    let mut m = Builder::new(&[1, 1, 2, 2]);
    let latent = m.floats(&[1, 1, 2, 2], &[0.5, -0.5, 0.0, -2.0]);
    let w = m.bipolar(&latent, 1.0);
    let w = m.pad(&w, &[0, 0, 0, 0, 0, 0, 1, 0], 0.0);
    let how = Sliding { pads: &[0, 0, 1, 0], ..Sliding::default() };
    let y = m.conv("x", &w, None, 1, how);
    // 0 - 1 + 2 - 3, and a row of padding that nothing is multiplied with.
    assert_eq!(of_ramp(&m.finish(&y)), tensor(&[1, 1, 1, 1], &[-2.0]));
}

/// Whatever the attributes hold: a graph or a diagnostic, and soon.
#[test]
fn hostile_windows_are_said() {
    let odd =
        [&[][..], &[0, 0], &[-1, 1], &[3], &[1, 1, 1, 1], &[-1; 4], &[i64::MAX; 4], &[i64::MIN, 2], &[2, 2]];
    let mut refused = 0;
    for case in 0..odd.len().pow(3) {
        let [kernel, strides, pads] = [1, odd.len(), odd.len().pow(2)].map(|by| odd[case / by % odd.len()]);
        for op in ["Conv", "MaxPool", "AveragePool"] {
            let mut m = Builder::new(&[1, 1, 5, 5]);
            let how = Sliding { kernel, strides, pads, dilations: strides, ceil: op != "Conv" };
            let y = match op {
                "Conv" => {
                    let w = m.floats(&[1, 1, 2, 2], &[1.0; 4]);
                    m.conv("x", &w, None, 1, how)
                }
                "MaxPool" => m.max_pool("x", how),
                _ => m.average_pool("x", true, how),
            };
            if let Err(found) = import::float_graph(&m.finish(&y)) {
                refused += 1;
                assert!(found.list().iter().all(|d| d.at.is_some()), "{found}");
            }
        }
    }
    assert!(refused > 2000, "{refused}");
}
