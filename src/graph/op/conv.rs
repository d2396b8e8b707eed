//! Convolutions.

use crate::arith::window::Window;
use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::geometry;
use crate::graph::op::geometry::Image;
use crate::graph::op::product::bounded;
use crate::graph::operator::{ONNX, Operator, Role, invalid};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[Operator {
    name: "Conv",
    domains: ONNX,
    inputs: (2, 3),
    attributes: &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
    role: Role::Product,
    eval: conv,
}];

/// The shape parameters of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// The input images.
    pub image: Image,
    /// The sliding window.
    pub window: Window,
    /// Number of output channels, a multiple of `groups`.
    pub outputs: usize,
    /// Number of channel groups; it divides the input channels too.
    pub groups: usize,
}

impl Convolution {
    /// The parameters of a Conv node, from the shapes of its image (including batch) and its weights [outputs, channels of a
    /// group, taps..].
    ///
    /// # Errors
    /// If shapes and attributes are inconsistent, or [`geometry::window`](crate::graph::op::geometry::window) rejects the window.
    pub fn of(attributes: &Attributes, image: &[usize], weights: &[usize]) -> Result<Self> {
        let shape = image;
        let image = Image::of("Conv", attributes, shape)?;
        let (outputs, depth, kernel) = match *weights {
            [m, c, h, w] if !image.line => (m, c, [h, w]),
            [m, c, l] if image.line => (m, c, [1, l]),
            _ => {
                return Err(invalid(format!("weights of shape {weights:?} for an image of shape {shape:?}")));
            }
        };
        if geometry::listed(&image, attributes)?.is_some_and(|given| given != kernel) {
            return Err(invalid(format!("kernel_shape is not that of weights of shape {weights:?}")));
        }
        let given = attributes.int("group", 1)?;
        let fits = |g: &usize| {
            *g > 0
                && outputs > 0
                && outputs.is_multiple_of(*g)
                && depth > 0
                && Some(image.channels) == depth.checked_mul(*g)
        };
        let groups = usize::try_from(given).ok().filter(fits).ok_or_else(|| {
            let channels = image.channels;
            invalid(format!("{channels} channels, {given} groups and weights of shape {weights:?} don't fit"))
        })?;
        let window = geometry::window("Conv", attributes, shape, kernel)?;
        Ok(Self { image, window, outputs, groups })
    }

    /// Input channels per output channel: those of one group.
    pub fn depth(&self) -> usize {
        self.image.channels / self.groups
    }

    /// Number of products per sum.
    pub fn terms(&self) -> usize {
        self.window.taps().saturating_mul(self.depth())
    }

    /// The output images.
    pub fn output(&self) -> Image {
        self.image.with(self.outputs, self.window.output())
    }
}

/// The bias of a node with `outputs` output channels, if it has one.
fn bias<'a>(x: &[&'a Tensor], outputs: usize) -> Result<Option<&'a [f32]>> {
    match x.get(2).filter(|b| !b.is_empty()) {
        Some(b) if b.shape == [outputs] => b.floats("the bias").map(Some),
        Some(b) => Err(invalid(format!("a bias of shape {:?} for {outputs} outputs", b.shape))),
        None => Ok(None),
    }
}

/// Zeros of the output shape of a Conv node, for shape inference without computing the convolution.
pub fn zeros(attributes: &Attributes, x: &[&Tensor]) -> Result<Tensor> {
    let form = Convolution::of(attributes, &x[0].shape, &x[1].shape)?;
    x[0].floats("the image")?;
    x[1].floats("the weights")?;
    bias(x, form.outputs)?;
    Tensor::zeros(&form.output().shape())
}

/// Each sum is float32: taps in row-major order, for each tap the channels of the group. Padding is 0; the bias is added last.
pub fn conv(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let form = Convolution::of(attributes, &x[0].shape, &x[1].shape)?;
    let (image, output) = (form.image, form.output());
    let (values, weights) = (x[0].floats("the image")?, x[1].floats("the weights")?);
    let bias = bias(x, form.outputs)?;
    let shape = output.shape();
    let size = tensor::elements(&shape)?;
    // All positions are visited even if the batch is empty.
    bounded(size.max(form.window.positions()).saturating_mul(form.terms()), || {
        format!("Conv of shapes {:?} and {:?}", x[0].shape, x[1].shape)
    })?;
    let (taps, depth, terms, width) =
        (form.window.taps(), form.depth(), form.terms(), form.outputs / form.groups);
    // Layout per group: for each term the weights of all outputs, contiguous.
    let terms_first = (0..form.groups * terms * width).map(|i| {
        let (group, tap, channel, output) =
            (i / (terms * width), i / (depth * width) % taps, i / width % depth, i % width);
        weights[((group * width + output) * depth + channel) * taps + tap]
    });
    let weights: Vec<f32> = terms_first.collect();
    let (mut patch, mut sums) = (vec![0.0; terms], vec![0.0; width]);
    let mut out = vec![0.0; size];
    for position in 0..form.window.positions() {
        let seen: Vec<Option<usize>> = (0..taps).map(|tap| form.window.pixel(position, tap)).collect();
        for (n, group) in (0..image.batch).flat_map(|n| (0..form.groups).map(move |g| (n, g))) {
            for (pixel, patch) in seen.iter().zip(patch.chunks_exact_mut(depth)) {
                for (c, value) in patch.iter_mut().enumerate() {
                    *value = pixel.map_or(0.0, |p| values[image.element(n, group * depth + c, p)]);
                }
            }
            sums.fill(0.0);
            for (v, row) in patch.iter().zip(weights[group * terms * width..].chunks_exact(width)) {
                sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += v * w);
            }
            for (m, &sum) in sums.iter().enumerate() {
                let m = group * width + m;
                out[output.element(n, m, position)] = bias.map_or(sum, |b| sum + b[m]);
            }
        }
    }
    Ok(vec![Tensor { shape, data: Data::Float(out) }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::Float(values.to_vec())).unwrap()
    }

    fn ramp(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        tensor(shape, &(0..n).map(|v| v as f32).collect::<Vec<_>>())
    }

    fn given(lists: &[(&str, &[i64])]) -> Attributes {
        let with =
            |a: Attributes, (name, list): &(&str, &[i64])| a.with(name, Attribute::Ints(list.to_vec()));
        lists.iter().fold(Attributes::new(11), with)
    }

    fn run(attributes: &Attributes, inputs: &[&Tensor]) -> Tensor {
        conv(attributes, inputs).unwrap().remove(0)
    }

    #[test]
    fn a_kernel_slides_over_all_channels() {
        // Rows 0 1 2 / 3 4 5 / 6 7 8, and the same plus 9.
        let x = ramp(&[1, 2, 3, 3]);
        let w = tensor(&[1, 2, 2, 2], &[1.0, 0.0, 0.0, -1.0, 0.0, 2.0, 0.0, 0.0]);
        // -4 of the first channel, and twice the pixel to the right of the second.
        let y = run(&given(&[]), &[&x, &w]);
        assert_eq!(y, tensor(&[1, 1, 2, 2], &[16.0, 18.0, 22.0, 24.0]));
        let y = run(&given(&[]), &[&x, &w, &Tensor::vector(vec![0.5])]);
        assert_eq!(y, tensor(&[1, 1, 2, 2], &[16.5, 18.5, 22.5, 24.5]));
    }

    #[test]
    fn padding_is_zero_and_strides_skip() {
        let (x, ones) = (ramp(&[1, 1, 3, 3]), tensor(&[1, 1, 3, 3], &[1.0; 9]));
        let same = given(&[("pads", &[1, 1, 1, 1]), ("kernel_shape", &[3, 3])]);
        let all = [8.0, 15.0, 12.0, 21.0, 36.0, 27.0, 20.0, 33.0, 24.0];
        assert_eq!(run(&same, &[&x, &ones]), tensor(&[1, 1, 3, 3], &all));
        let auto = given(&[]).with("auto_pad", Attribute::String("SAME_UPPER".into()));
        assert_eq!(run(&auto, &[&x, &ones]), tensor(&[1, 1, 3, 3], &all));
        let apart = given(&[("pads", &[1, 1, 1, 1]), ("strides", &[2, 2])]);
        assert_eq!(run(&apart, &[&x, &ones]), tensor(&[1, 1, 2, 2], &[8.0, 12.0, 20.0, 24.0]));
        let wide = given(&[("dilations", &[2, 2])]);
        let corners = run(&wide, &[&x, &tensor(&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0])]);
        assert_eq!(corners, tensor(&[1, 1, 1, 1], &[8620.0]));
    }

    #[test]
    fn groups_see_their_own_channels() {
        // Two images of four channels of two pixels; two groups with two outputs each.
        let x = ramp(&[2, 4, 2]);
        let w = tensor(&[4, 2, 1], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -1.0]);
        let y = run(&given(&[]).with("group", Attribute::Int(2)), &[&x, &w]);
        let wanted = [0., 1., 2., 3., 10., 12., -2., -2., 8., 9., 10., 11., 26., 28., -2., -2.];
        assert_eq!(y, tensor(&[2, 4, 2], &wanted));
        let depthwise = tensor(&[4, 1, 2], &[1.0, 1.0, 1.0, -1.0, 2.0, 0.0, 0.0, 2.0]);
        let y = run(&given(&[]).with("group", Attribute::Int(4)), &[&x, &depthwise]);
        assert_eq!(y, tensor(&[2, 4, 1], &[1., -1., 8., 14., 17., -1., 24., 30.]));
    }

    #[test]
    fn sums_are_added_tap_by_tap() {
        // In this order the large terms cancel before the small one comes; by channels first it would be lost.
        let x = tensor(&[1, 2, 2], &[1e9, 1.0, -1e9, 1.0]);
        assert_eq!(run(&given(&[]), &[&x, &tensor(&[1, 2, 2], &[1.0; 4])]), tensor(&[1, 1, 1], &[2.0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = ramp(&[1, 2, 3, 3]);
        let refused = |a: &Attributes, inputs: &[&Tensor]| {
            assert!(conv(a, inputs).is_err(), "{:?}", inputs.iter().map(|t| &t.shape).collect::<Vec<_>>());
        };
        let none = given(&[]);
        for shape in
            [&[1, 1, 2, 2][..], &[1, 2, 2], &[1, 2, 4, 4], &[0, 2, 2, 2], &[1, 0, 1, 1], &[1, 2, 0, 1]]
        {
            refused(&none, &[&x, &Tensor::zeros(shape).unwrap()]);
        }
        let w = Tensor::zeros(&[3, 2, 2, 2]).unwrap();
        for group in [0, 2, -1, i64::MAX, i64::MIN] {
            refused(&given(&[]).with("group", Attribute::Int(group)), &[&x, &w]);
        }
        refused(&given(&[("kernel_shape", &[2, 1])]), &[&x, &w]);
        refused(&none, &[&x, &w, &Tensor::vector(vec![0.0; 2])]);
        refused(&none, &[&Tensor::integers(vec![1]), &w]);
        let padded = given(&[("pads", &[8191; 4]), ("dilations", &[8191; 2])]);
        refused(&padded, &[&x, &Tensor::zeros(&[1, 2, 2, 2]).unwrap()]);
        let empty = Tensor::zeros(&[0, 2, 3, 3]).unwrap();
        assert_eq!(run(&none, &[&empty, &w]).shape, [0, 3, 2, 2]);
        let wide = Tensor::zeros(&[1, 2, 4096, 4096]).unwrap();
        let large = Tensor::zeros(&[4, 2, 3, 3]).unwrap();
        refused(&none, &[&wide, &large]);
    }
}
