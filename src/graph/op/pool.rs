//! Max pooling and average pooling.

use crate::arith::window::Window;
use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::geometry;
use crate::graph::op::geometry::Image;
use crate::graph::op::product::bounded;
use crate::graph::operator::{
    CONFIGURED, Eval, ONNX, Operator, QUANTISED, Role, axis, invalid, list, numbers, unsupported,
};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[
    pool(
        "MaxPool",
        ONNX,
        &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        Role::Select,
        max_pool,
    ),
    pool("GlobalMaxPool", ONNX, &[], Role::Select, |a, x| largest("GlobalMaxPool", a, x[0])),
    pool(
        "MaxPoolNHWC",
        QUANTISED,
        &["ceil_mode", "kernel_shape", "pads", "strides"],
        Role::Select,
        |a, x| largest("MaxPoolNHWC", a, x[0]),
    ),
    pool(
        "AveragePool",
        ONNX,
        &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        Role::Pool,
        |a, x| average("AveragePool", a, x[0]),
    ),
    pool("GlobalAveragePool", ONNX, &[], Role::Pool, |a, x| average("GlobalAveragePool", a, x[0])),
    Operator {
        name: "ReduceMean",
        domains: ONNX,
        inputs: (1, 2),
        attributes: &["axes", "keepdims", "noop_with_empty_axes"],
        role: Role::Pool,
        eval: reduce_mean,
    },
    pool("GlobalSumPool", &[CONFIGURED], &[], Role::Pool, |a, x| average("GlobalSumPool", a, x[0])),
    pool(
        "QuantAvgPool2d",
        QUANTISED,
        &["data_layout", "ibits", "kernel", "obits", "signed", "stride"],
        Role::Host,
        quantised_average,
    ),
];

const fn pool(
    name: &'static str,
    domains: &'static [&'static str],
    attributes: &'static [&'static str],
    role: Role,
    eval: Eval,
) -> Operator {
    Operator { name, domains, inputs: (1, 1), attributes, role, eval }
}

/// Applies `make` to every position of `window` and the values that it sees, taps in row-major order.
fn slide(
    x: &Tensor,
    image: Image,
    window: &Window,
    make: impl Fn(usize, &[f32]) -> Result<f32>,
) -> Result<Vec<Tensor>> {
    let x = numbers(x);
    let values = x.floats("the image")?;
    let made = image.with(image.channels, window.output());
    let shape = made.shape();
    let size = tensor::elements(&shape)?;
    // All positions are visited even if there are no channels.
    let steps = size.max(window.positions()).saturating_mul(window.taps());
    bounded(steps, || format!("a window of {:?} over shape {:?}", window.kernel, x.shape))?;
    let mut out = vec![0.0; size];
    let mut seen = Vec::new();
    for position in 0..window.positions() {
        let pixels: Vec<usize> = (0..window.taps()).filter_map(|tap| window.pixel(position, tap)).collect();
        for (n, c) in (0..image.batch).flat_map(|n| (0..image.channels).map(move |c| (n, c))) {
            seen.clear();
            seen.extend(pixels.iter().map(|&p| values[image.element(n, c, p)]));
            out[made.element(n, c, position)] = make(position, &seen)?;
        }
    }
    Ok(vec![Tensor { shape, data: Data::Float(out) }])
}

fn max_pool(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    if attributes.int("storage_order", 0)? != 0 {
        return Err(unsupported("storage_order 1: indices of maxima are not computed"));
    }
    largest("MaxPool", attributes, x[0])
}

/// The maximum of each window. NaN is ignored unless all values are NaN.
fn largest(operator: &str, attributes: &Attributes, x: &Tensor) -> Result<Vec<Tensor>> {
    if let Data::Int(values) = &x.data {
        // float32 holds these integers exactly.
        if let Some(v) = values.iter().find(|v| v.unsigned_abs() > 1 << 24) {
            return Err(unsupported(format!("{operator} of {v}; integers to 2^24 are known")));
        }
        let mut made = largest(operator, attributes, &numbers(x))?;
        for tensor in &mut made {
            let data = tensor.floats("the maxima")?.iter().map(|v| *v as i64).collect();
            tensor.data = Data::Int(data);
        }
        return Ok(made);
    }
    let kernel = geometry::kernel(operator, attributes, &x.shape)?;
    let window = geometry::window(operator, attributes, &x.shape, kernel)?;
    let larger = |best: f32, v: f32| if v > best || best.is_nan() { v } else { best };
    slide(x, Image::of(operator, attributes, &x.shape)?, &window, |_, seen| {
        seen.iter().copied().reduce(larger).ok_or_else(blind)
    })
}

/// The diagnostic for a position whose taps all see padding.
fn blind() -> crate::diagnostic::Diagnostics {
    unsupported("a position of the window sees padding alone")
}

/// The window of an average over an image of `shape` (including batch), and the divisor at each position, row-major.
///
/// The divisor is the number of pixels seen. With `count_include_pad` padding counts too, except the padding that `ceil_mode`
/// adds.
pub fn divisors(operator: &str, attributes: &Attributes, shape: &[usize]) -> Result<(Window, Vec<usize>)> {
    let kernel = geometry::kernel(operator, attributes, shape)?;
    if operator == "GlobalSumPool" {
        return Ok((Window::whole(kernel), vec![1]));
    }
    let (window, overhang) = geometry::overhanging(operator, attributes, shape, kernel)?;
    let padded = attributes.int("count_include_pad", 0)? != 0;
    let counted = |axis: usize, position: usize| {
        let (first, end) = if padded {
            (0, window.before[axis] + window.input[axis] + window.after[axis] - overhang[axis])
        } else {
            (window.before[axis], window.before[axis] + window.input[axis])
        };
        let at = |tap: &usize| position * window.stride[axis] + tap * window.dilation[axis];
        (0..window.kernel[axis]).filter(|tap| (first..end).contains(&at(tap))).count()
    };
    let [high, wide] = window.output();
    bounded(high.saturating_mul(window.kernel[0]).max(wide.saturating_mul(window.kernel[1])), || {
        format!("a window of {:?} over shape {shape:?}", window.kernel)
    })?;
    tensor::elements(&[high, wide])?;
    let columns: Vec<usize> = (0..wide).map(|x| counted(1, x)).collect();
    let divisors =
        (0..high).map(|y| counted(0, y)).flat_map(|rows| columns.iter().map(move |columns| rows * columns));
    let divisors: Vec<usize> = divisors.collect();
    if divisors.contains(&0) {
        return Err(blind());
    }
    Ok((window, divisors))
}

/// Each sum is float32, taps in row-major order, and then divided.
fn average(operator: &str, attributes: &Attributes, x: &Tensor) -> Result<Vec<Tensor>> {
    let (window, divisors) = divisors(operator, attributes, &x.shape)?;
    slide(x, Image::of(operator, attributes, &x.shape)?, &window, |position, seen| {
        Ok(seen.iter().fold(0.0, |sum, v| sum + v) / divisors[position] as f32)
    })
}

/// The mean over all axes after the channels.
fn reduce_mean(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let rank = x[0].rank();
    let given = list(attributes, "axes", x, 1)?.unwrap_or_default();
    let mut axes = given.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
    axes.sort_unstable();
    if rank < 3 || !axes.iter().copied().eq(2..rank) {
        return Err(unsupported(format!(
            "the mean over axes {given:?} of shape {:?}; all axes behind [N, C] are supported",
            x[0].shape
        )));
    }
    let mut means = average("ReduceMean", attributes, x[0])?;
    if attributes.int("keepdims", 1)? == 0 {
        means[0].shape.truncate(2);
    }
    Ok(means)
}

/// Sums, rounded to integers and shifted right by the bits that they may exceed `obits` by.
///
/// The sum is an average times the number of values, as in QONNX, so that inexact sums have the same rounding errors.
fn quantised_average(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut out = average("QuantAvgPool2d", attributes, x[0])?;
    let (values, shift) = shift(attributes, &x[0].shape)?;
    let divisor = 2f32.powi(shift as i32);
    let shifted = |v: &f32| ((v * values as f32).round_ties_even() / divisor).floor();
    out[0].data = Data::Float(out[0].floats("the averages")?.iter().map(shifted).collect());
    Ok(out)
}

/// The number of values that QuantAvgPool2d sums, and its shift: the width of the largest sum of `ibits` values, minus `obits`.
pub fn shift(attributes: &Attributes, shape: &[usize]) -> Result<(usize, u32)> {
    let bits = |name: &str| {
        let given = attributes.int(name, 0)?;
        u32::try_from(given)
            .ok()
            .filter(|bits| (1..=32).contains(bits))
            .ok_or_else(|| invalid(format!("{name} is {given}; 1 to 32 are possible")))
    };
    let (from, to) = (bits("ibits")?, bits("obits")?);
    let values: usize = geometry::kernel("QuantAvgPool2d", attributes, shape)?.iter().product();
    let largest = ((1u128 << from) - 1) * values as u128;
    Ok((values, (u128::BITS - largest.leading_zeros()).saturating_sub(to)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::Float(values.to_vec())).unwrap()
    }

    fn ramp(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        tensor(shape, &(0..n).map(|v| v as f32).collect::<Vec<_>>())
    }

    fn given(lists: &[(&str, &[i64])], flags: &[(&str, i64)]) -> Attributes {
        let with =
            |a: Attributes, (name, list): &(&str, &[i64])| a.with(name, Attribute::Ints(list.to_vec()));
        let lists = lists.iter().fold(Attributes::new(11), with);
        flags.iter().fold(lists, |a, (name, value)| a.with(name, Attribute::Int(*value)))
    }

    fn run(name: &str, attributes: &Attributes, inputs: &[&Tensor]) -> Result<Tensor> {
        let operator = find("", name).or_else(|| find("qonnx.custom_op.general", name)).unwrap();
        operator.accepts(attributes, inputs.len())?;
        Ok((operator.eval)(attributes, inputs)?.remove(0))
    }

    #[test]
    fn the_largest_of_each_window() {
        // Rows 0 1 2 3 / 4 5 6 7 / 8 9 10 11, negated: the first of each window is the largest, padding never.
        let x = tensor(&[1, 1, 3, 4], &(0..12).map(|v| -(v as f32)).collect::<Vec<_>>());
        let halves = given(&[("kernel_shape", &[2, 2]), ("strides", &[2, 2])], &[]);
        assert_eq!(run("MaxPool", &halves, &[&x]).unwrap(), tensor(&[1, 1, 1, 2], &[0.0, -2.0]));
        let up = given(&[("kernel_shape", &[2, 2]), ("strides", &[2, 2])], &[("ceil_mode", 1)]);
        assert_eq!(run("MaxPool", &up, &[&x]).unwrap(), tensor(&[1, 1, 2, 2], &[0.0, -2.0, -8.0, -10.0]));
        let padded = given(&[("kernel_shape", &[2, 2]), ("strides", &[2, 2]), ("pads", &[1, 1, 1, 1])], &[]);
        let y = run("MaxPool", &padded, &[&x]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 3], &[0.0, -1.0, -3.0, -4.0, -5.0, -7.0]));
        let wide = given(&[("kernel_shape", &[2, 2]), ("dilations", &[2, 3])], &[]);
        assert_eq!(run("MaxPool", &wide, &[&ramp(&[1, 1, 3, 4])]).unwrap(), tensor(&[1, 1, 1, 1], &[11.0]));
        assert_eq!(run("GlobalMaxPool", &given(&[], &[]), &[&x]).unwrap(), tensor(&[1, 1, 1, 1], &[0.0]));
        assert!(run("MaxPool", &halves.with("storage_order", Attribute::Int(1)), &[&x]).is_err());
    }

    #[test]
    fn the_largest_in_one_dimension_and_with_channels_last() {
        let pair = given(&[("kernel_shape", &[2]), ("strides", &[2])], &[]);
        assert_eq!(
            run("MaxPool", &pair, &[&ramp(&[1, 2, 4])]).unwrap(),
            tensor(&[1, 2, 2], &[1., 3., 5., 7.])
        );
        let nhwc = given(&[("kernel_shape", &[2, 2]), ("strides", &[2, 2]), ("pads", &[0; 4])], &[]);
        let y = run("MaxPoolNHWC", &nhwc, &[&ramp(&[1, 2, 4, 2])]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 2], &[10., 11., 14., 15.]));
    }

    #[test]
    fn what_is_not_a_number_is_no_maximum() {
        let pair = given(&[("kernel_shape", &[2]), ("strides", &[2])], &[]);
        let x = tensor(&[1, 1, 6], &[f32::NAN, 1.0, 2.0, f32::NAN, -0.0, 0.0]);
        let y = run("MaxPool", &pair, &[&x]).unwrap();
        let bits: Vec<u32> = y.floats("").unwrap().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [1.0f32.to_bits(), 2.0f32.to_bits(), (-0.0f32).to_bits()]);
        let none = tensor(&[1, 1, 2], &[f32::NAN; 2]);
        assert!(run("MaxPool", &pair, &[&none]).unwrap().floats("").unwrap()[0].is_nan());
    }

    #[test]
    fn averages_count_padding_where_they_are_told_to() {
        let x = ramp(&[1, 1, 3, 3]);
        let lists: &[(&str, &[i64])] = &[("kernel_shape", &[2, 2]), ("strides", &[2, 2]), ("pads", &[1; 4])];
        let y = run("AveragePool", &given(lists, &[]), &[&x]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 2], &[0.0, 1.5, 4.5, 6.0]));
        let y = run("AveragePool", &given(lists, &[("count_include_pad", 1)]), &[&x]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 2], &[0.0, 0.75, 2.25, 6.0]));
        let same =
            given(&[("kernel_shape", &[2, 2])], &[]).with("auto_pad", Attribute::String("SAME_UPPER".into()));
        let y = run("AveragePool", &same, &[&x]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 3, 3], &[2.0, 3.0, 3.5, 5.0, 6.0, 6.5, 6.5, 7.5, 8.0]));
    }

    #[test]
    fn what_ceil_mode_adds_never_counts() {
        let x = tensor(&[1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]);
        let lists: &[(&str, &[i64])] = &[("kernel_shape", &[2]), ("strides", &[2])];
        for include in [0, 1] {
            let a = given(lists, &[("ceil_mode", 1), ("count_include_pad", include)]);
            assert_eq!(run("AveragePool", &a, &[&x]).unwrap(), tensor(&[1, 1, 3], &[1.5, 3.5, 5.0]));
        }
        // 6 pixels padded to 8: kernels of 3 at 0, 2, 4 and 6; the last sees one pixel of padding beside what was added.
        let lists: &[(&str, &[i64])] = &[("kernel_shape", &[3]), ("strides", &[2]), ("pads", &[1, 1])];
        let a = given(lists, &[("ceil_mode", 1), ("count_include_pad", 1)]);
        let y = run("AveragePool", &a, &[&ramp(&[1, 1, 6])]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 4], &[1.0 / 3.0, 2.0, 4.0, 2.5]));
    }

    #[test]
    fn means_of_whole_images() {
        let x = ramp(&[1, 2, 2, 2]);
        let wanted = tensor(&[1, 2, 1, 1], &[1.5, 5.5]);
        let none = || given(&[], &[]);
        assert_eq!(run("GlobalAveragePool", &none(), &[&x]).unwrap(), wanted);
        assert_eq!(run("ReduceMean", &given(&[("axes", &[3, -2])], &[]), &[&x]).unwrap(), wanted);
        let axes = Tensor::integers(vec![-1, -2]);
        let flat = run("ReduceMean", &given(&[], &[("keepdims", 0)]), &[&x, &axes]).unwrap();
        assert_eq!(flat, tensor(&[1, 2], &[1.5, 5.5]));
        assert_eq!(
            run("GlobalAveragePool", &none(), &[&ramp(&[1, 1, 3])]).unwrap(),
            tensor(&[1, 1, 1], &[1.0])
        );
        for axes in [&[1, 2][..], &[2], &[2, 2], &[2, 3, 4], &[0, 1, 2, 3], &[i64::MIN]] {
            assert!(run("ReduceMean", &given(&[("axes", axes)], &[]), &[&x]).is_err(), "{axes:?}");
        }
        assert!(run("ReduceMean", &none(), &[&x]).is_err(), "all axes");
    }

    #[test]
    fn quantised_averages_shift_their_sums() {
        // Sums of 4 numbers of 4 bits have up to 6: 60 takes 6 bits, so that 2 are cut for 4.
        let flags = |kernel, stride| {
            given(&[], &[("kernel", kernel), ("stride", stride), ("ibits", 4), ("obits", 4), ("signed", 0)])
        };
        let x = ramp(&[1, 1, 4, 4]);
        let y = run("QuantAvgPool2d", &flags(2, 2), &[&x]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 2], &[2.0, 4.0, 10.0, 12.0]));
        let falling = tensor(&[1, 1, 2, 2], &[-1.0, -2.0, -3.0, -1.0]);
        assert_eq!(run("QuantAvgPool2d", &flags(2, 1), &[&falling]).unwrap().data, Data::Float(vec![-2.0]));
        let nhwc = flags(2, 2).with("data_layout", Attribute::String("NHWC".into()));
        let y = run("QuantAvgPool2d", &nhwc, &[&ramp(&[1, 2, 2, 2])]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 1, 2], &[3.0, 4.0]));
        let wide = given(&[], &[("kernel", 2), ("stride", 2), ("ibits", 33), ("obits", 4)]);
        assert!(run("QuantAvgPool2d", &wide, &[&x]).is_err());
        assert!(
            run("QuantAvgPool2d", &given(&[], &[("ibits", 4), ("obits", 4)]), &[&x]).is_err(),
            "no kernel"
        );
    }

    #[test]
    fn windows_without_pixels_and_without_end_are_refused() {
        // Taps at -1 and 2 of two pixels.
        let around = given(&[("kernel_shape", &[2]), ("dilations", &[3]), ("pads", &[1, 1])], &[]);
        for name in ["MaxPool", "AveragePool"] {
            let said = run(name, &around, &[&ramp(&[1, 1, 2])]).unwrap_err().to_string();
            assert!(said.contains("padding alone"), "{said}");
            let large = given(&[("kernel_shape", &[1 << 12, 1 << 12]), ("pads", &[4095; 4])], &[]);
            assert!(run(name, &large, &[&Tensor::zeros(&[1, 1, 4096, 4096]).unwrap()]).is_err());
            let long =
                given(&[("kernel_shape", &[2]), ("dilations", &[1 << 26]), ("pads", &[1 << 26; 2])], &[]);
            assert!(run(name, &long, &[&ramp(&[1, 1, 2])]).is_err());
            assert!(run(name, &around, &[&Tensor::integers(vec![1])]).is_err());
            let pair = given(&[("kernel_shape", &[2])], &[]);
            assert_eq!(run(name, &pair, &[&Tensor::zeros(&[0, 3, 4]).unwrap()]).unwrap().shape, [0, 3, 3]);
        }
    }
}
