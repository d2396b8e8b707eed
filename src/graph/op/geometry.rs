//! Image axes and sliding windows: kernels, strides and padding of a node.
//!
//! An image has shape [N, C, H, W] or [N, C, L] (height 1). Channels-last operators have [N, H, W, C].

use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::graph::attributes::Attributes;
use crate::graph::operator::{invalid, unsupported};
use crate::graph::tensor::MAX_ELEMENTS;

/// Operators whose window is the whole image.
const WHOLE: [&str; 4] = ["GlobalAveragePool", "GlobalMaxPool", "GlobalSumPool", "ReduceMean"];

/// The axes of a batch of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Images in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Whether the channels are the last axis.
    pub channels_last: bool,
    /// Whether the file has no height axis; the height is 1.
    pub line: bool,
}

impl Image {
    /// The image axes of an input of `operator` with shape `shape`.
    pub fn of(operator: &str, attributes: &Attributes, shape: &[usize]) -> Result<Self> {
        let channels_last = match operator {
            "MaxPoolNHWC" => true,
            "QuantAvgPool2d" => match attributes.text("data_layout", "NCHW")? {
                "NCHW" => false,
                "NHWC" => true,
                other => return Err(unsupported(format!("data_layout {other}"))),
            },
            _ => false,
        };
        let (batch, channels, size, line) = match *shape {
            [n, h, w, c] if channels_last => (n, c, [h, w], false),
            [n, c, h, w] if !channels_last => (n, c, [h, w], false),
            [n, c, l] if !channels_last => (n, c, [1, l], true),
            _ => {
                let wanted = if channels_last { "[N, H, W, C]" } else { "[N, C, H, W] or [N, C, L]" };
                return Err(unsupported(format!("{operator} of shape {shape:?}; {wanted} is supported")));
            }
        };
        Ok(Self { batch, channels, size, channels_last, line })
    }

    /// The same axes with another number of channels and another size.
    pub fn with(self, channels: usize, size: [usize; 2]) -> Self {
        Self { channels, size, ..self }
    }

    /// Shape of the tensor in the file.
    pub fn shape(&self) -> Vec<usize> {
        let (n, c, [h, w]) = (self.batch, self.channels, self.size);
        match (self.channels_last, self.line) {
            (true, _) => vec![n, h, w, c],
            (false, false) => vec![n, c, h, w],
            (false, true) => vec![n, c, w],
        }
    }

    /// Flat index of an element: image of the batch, channel, and pixel (row-major).
    pub fn element(&self, image: usize, channel: usize, pixel: usize) -> usize {
        let pixels = self.size[0] * self.size[1];
        if self.channels_last {
            (image * pixels + pixel) * self.channels + channel
        } else {
            (image * self.channels + channel) * pixels + pixel
        }
    }

    /// Number of kernel axes in the file.
    fn axes(&self) -> usize {
        if self.line { 1 } else { 2 }
    }

    /// Numbers per file axis as [height, width]; a missing height is `height`.
    fn pair(&self, given: &[usize], height: usize) -> [usize; 2] {
        match *given {
            [h, w] => [h, w],
            _ => [height, given[0]],
        }
    }

    /// Attribute `name` as [height, width]: one number of at least 1 per axis.
    fn list(&self, attributes: &Attributes, name: &str) -> Result<Option<[usize; 2]>> {
        let Some(given) = attributes.ints(name)? else { return Ok(None) };
        Ok(Some(self.pair(&extents(name, given, (1, self.axes()))?, 1)))
    }
}

/// `given` as `count` extents of at min `min`. They are bounded so that their products and sums do not overflow.
fn extents(name: &str, given: &[i64], (min, count): (usize, usize)) -> Result<Vec<usize>> {
    if given.len() != count {
        return Err(invalid(format!("{name} has {} entries where {count} are wanted", given.len())));
    }
    given.iter().map(|&v| extent(name, v, min)).collect()
}

fn extent(name: &str, given: i64, least: usize) -> Result<usize> {
    usize::try_from(given)
        .ok()
        .filter(|v| (least..=MAX_ELEMENTS).contains(v))
        .ok_or_else(|| unsupported(format!("{name} holds {given}; {least} to {MAX_ELEMENTS} are supported")))
}

/// The kernel of a pooling node, [height, width], over an image of `shape` (including batch).
pub fn kernel(operator: &str, attributes: &Attributes, shape: &[usize]) -> Result<[usize; 2]> {
    let image = Image::of(operator, attributes, shape)?;
    match operator {
        _ if WHOLE.contains(&operator) => Ok(image.size),
        "QuantAvgPool2d" => Ok([extent("kernel", attributes.int("kernel", 0)?, 1)?; 2]),
        _ => listed(&image, attributes)?.ok_or_else(|| invalid("kernel_shape is not given")),
    }
}

/// Attribute `kernel_shape` as [height, width]; `None` if it is not given.
pub fn listed(image: &Image, attributes: &Attributes) -> Result<Option<[usize; 2]>> {
    image.list(attributes, "kernel_shape")
}

/// The sliding window of `operator` with `kernel` ([height, width]) over an image of `shape` (including batch). `ceil_mode` only
/// adds padding below and right of the image.
///
/// # Errors
/// If the shape is no image, the attributes are no valid window, or a position could see nothing but padding.
pub fn window(
    operator: &str,
    attributes: &Attributes,
    shape: &[usize],
    kernel: [usize; 2],
) -> Result<Window> {
    overhanging(operator, attributes, shape, kernel).map(|(window, _)| window)
}

/// [`window`], and the part of the padding below and right of the image that exists only because of `ceil_mode`.
pub fn overhanging(
    operator: &str,
    attributes: &Attributes,
    shape: &[usize],
    kernel: [usize; 2],
) -> Result<(Window, [usize; 2])> {
    let image = Image::of(operator, attributes, shape)?;
    let mut window = Window::plain(image.size, kernel);
    if operator == "QuantAvgPool2d" {
        window.stride = [extent("stride", attributes.int("stride", 1)?, 1)?; 2];
    } else if !WHOLE.contains(&operator) {
        window.stride = image.list(attributes, "strides")?.unwrap_or([1; 2]);
        window.dilation = image.list(attributes, "dilations")?.unwrap_or([1; 2]);
    }
    pad(&image, attributes, &mut window)?;
    if let Some(fault) = window.fault() {
        let help = match fault.starts_with("padding") {
            true => {
                "pad in a Pad node in front of it (torch.nn.functional.pad), whose padding may be larger than the kernel"
            }
            false => {
                "choose a kernel, strides and dilations with which the kernel fits into the padded image"
            }
        };
        let message = format!("{operator}: {fault}");
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message).help(help).into());
    }
    let mut overhang = [0; 2];
    if attributes.int("ceil_mode", 0)? != 0 {
        let (output, extent) = (window.output(), window.extent());
        for axis in 0..2 {
            let stride = window.stride[axis];
            let padded = window.input[axis] + window.before[axis] + window.after[axis];
            let rest = (padded - extent[axis]) % stride;
            // ceil_mode adds a position if pixels remain, unless it would start beyond the image.
            if rest > 0 && output[axis] * stride < window.input[axis] + window.before[axis] {
                overhang[axis] = stride - rest;
                window.after[axis] += overhang[axis];
            }
        }
        if overhang != [0; 2] && attributes.text("auto_pad", "NOTSET")? == "VALID" {
            return Err(unsupported("ceil_mode with auto_pad VALID, which says that there is no padding"));
        }
    }
    Ok((window, overhang))
}

/// Sets the padding from `pads` or `auto_pad`.
fn pad(image: &Image, attributes: &Attributes, window: &mut Window) -> Result<()> {
    let axes = image.axes();
    let pads = match attributes.ints("pads")? {
        Some(given) => extents("pads", given, (0, 2 * axes))?,
        None => vec![0; 2 * axes],
    };
    let auto = attributes.text("auto_pad", "NOTSET")?;
    if auto != "NOTSET" && pads.iter().any(|&p| p != 0) {
        return Err(invalid(format!("both pads and auto_pad {auto} are given")));
    }
    match auto {
        "NOTSET" => {
            (window.before, window.after) = (image.pair(&pads[..axes], 0), image.pair(&pads[axes..], 0));
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            for axis in 0..2 {
                let (input, stride) = (window.input[axis], window.stride[axis]);
                let extent = window.kernel[axis].saturating_sub(1) * window.dilation[axis] + 1;
                let last = input.div_ceil(stride).saturating_sub(1) * stride;
                let total = (last + extent).saturating_sub(input);
                let (small, large) = (total / 2, total.div_ceil(2));
                (window.before[axis], window.after[axis]) =
                    if auto == "SAME_UPPER" { (small, large) } else { (large, small) };
            }
        }
        other => return Err(invalid(format!("auto_pad {other}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;

    fn given(lists: &[(&str, &[i64])]) -> Attributes {
        let with =
            |a: Attributes, (name, list): &(&str, &[i64])| a.with(name, Attribute::Ints(list.to_vec()));
        lists.iter().fold(Attributes::new(11), with)
    }

    fn auto(attributes: Attributes, how: &str) -> Attributes {
        attributes.with("auto_pad", Attribute::String(how.into()))
    }

    #[test]
    fn pads_are_befores_then_afters() {
        let a = given(&[("pads", &[1, 0, 0, 2]), ("strides", &[2, 1]), ("dilations", &[1, 2])]);
        let found = window("Conv", &a, &[1, 3, 4, 5], [2, 2]).unwrap();
        let wanted = Window {
            stride: [2, 1],
            dilation: [1, 2],
            before: [1, 0],
            after: [0, 2],
            ..Window::plain([4, 5], [2, 2])
        };
        assert_eq!(found, wanted);
        let line = given(&[("pads", &[1, 2]), ("strides", &[3]), ("kernel_shape", &[4])]);
        assert_eq!(kernel("MaxPool", &line, &[1, 2, 9]).unwrap(), [1, 4]);
        let found = window("MaxPool", &line, &[1, 2, 9], [1, 4]).unwrap();
        let wanted =
            Window { stride: [1, 3], before: [0, 1], after: [0, 2], ..Window::plain([1, 9], [1, 4]) };
        assert_eq!(found, wanted);
    }

    #[test]
    fn automatic_padding_keeps_one_position_for_every_stride() {
        // 5 pixels at stride 2: positions 0, 2, 4 of 4 taps reach to 8, so 3 pixels are padding.
        let strides = || given(&[("strides", &[2, 2])]);
        let of = |how| window("Conv", &auto(strides(), how), &[1, 1, 5, 6], [4, 3]);
        let upper = of("SAME_UPPER").unwrap();
        assert_eq!((upper.before, upper.after, upper.output()), ([1, 0], [2, 1], [3, 3]));
        let lower = of("SAME_LOWER").unwrap();
        assert_eq!((lower.before, lower.after, lower.output()), ([2, 1], [1, 0], [3, 3]));
        let valid = of("VALID").unwrap();
        assert_eq!((valid.before, valid.after, valid.output()), ([0; 2], [0; 2], [1, 2]));
        assert!(of("SAME").is_err());
        let both = auto(given(&[("pads", &[1, 1, 1, 1])]), "SAME_UPPER");
        assert!(window("Conv", &both, &[1, 1, 5, 5], [3, 3]).is_err());
    }

    #[test]
    fn ceil_mode_adds_a_position_that_sees_pixels() {
        let ceil = |strides: &[i64], pads: &[i64]| {
            given(&[("strides", strides), ("pads", pads)]).with("ceil_mode", Attribute::Int(1))
        };
        let of = |a: &Attributes, input: usize, k| overhanging("MaxPool", a, &[1, 1, input], [1, k]);
        let (found, overhang) = of(&ceil(&[2], &[0, 0]), 6, 3).unwrap();
        assert_eq!((found.after, overhang, found.output()), ([0, 1], [0, 1], [1, 3]));
        // The third position would start at pixel 6 of 5, in the padding.
        let (found, overhang) = of(&ceil(&[3], &[0, 1]), 5, 2).unwrap();
        assert_eq!((found.after, overhang, found.output()), ([0, 1], [0, 0], [1, 2]));
        assert!(of(&auto(ceil(&[2], &[0, 0]), "VALID"), 6, 3).is_err());
        assert!(of(&auto(ceil(&[2], &[0, 0]), "VALID"), 7, 3).is_ok(), "nothing is left over");
    }

    #[test]
    fn channels_may_come_last() {
        let pool = given(&[("kernel_shape", &[2, 3])]);
        let shape = [2, 4, 6, 5];
        assert_eq!(kernel("MaxPoolNHWC", &pool, &shape).unwrap(), [2, 3]);
        assert_eq!(window("MaxPoolNHWC", &pool, &shape, [2, 3]).unwrap(), Window::plain([4, 6], [2, 3]));
        let image = Image::of("MaxPoolNHWC", &pool, &shape).unwrap();
        assert_eq!((image.shape(), image.element(1, 2, 7)), (shape.to_vec(), 120 + 7 * 5 + 2));
        let average = Attributes::new(1)
            .with("kernel", Attribute::Int(2))
            .with("stride", Attribute::Int(3))
            .with("data_layout", Attribute::String("NHWC".into()));
        let found = window("QuantAvgPool2d", &average, &shape, [2, 2]).unwrap();
        assert_eq!(found, Window { stride: [3, 3], ..Window::plain([4, 6], [2, 2]) });
        assert_eq!(kernel("GlobalMaxPool", &Attributes::new(1), &shape).unwrap(), [6, 5]);
        assert!(window("MaxPoolNHWC", &pool, &[1, 4, 6], [2, 3]).is_err());
    }

    #[test]
    fn what_makes_no_window_is_refused() {
        let shape = [1, 1, 4, 4];
        let huge = [i64::MAX; 2];
        for lists in [
            &[("strides", &[0, 1][..])][..],
            &[("strides", &[1])],
            &[("strides", &huge)],
            &[("dilations", &[-1, 1])],
            &[("dilations", &[1 << 26; 2])],
            &[("pads", &[0, 0])],
            &[("pads", &[-1, 0, 0, 0])],
            &[("pads", &[i64::MIN; 4])],
            &[("pads", &[2, 0, 0, 0])],
            &[("pads", &[1 << 26; 4])],
        ] {
            assert!(window("Conv", &given(lists), &shape, [2, 2]).is_err(), "{lists:?}");
        }
        for how in ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"] {
            let a = auto(given(&[]), how);
            assert!(window("Conv", &a, &[1, 1, 0, 4], [1, 1]).is_err(), "{how}: no pixel");
            assert!(window("Conv", &a, &shape, [0, 1]).is_err(), "{how}: no tap");
        }
        assert!(window("Conv", &given(&[]), &shape, [5, 1]).is_err());
        assert!(window("Conv", &given(&[]), &[4, 4], [1, 1]).is_err());
        assert!(kernel("MaxPool", &given(&[]), &shape).is_err());
        assert!(kernel("MaxPool", &given(&[("kernel_shape", &[2])]), &shape).is_err());
    }
}
