//! Transposed convolutions, as the convolutions that they are.
//!
//! With a stride of s the outputs at distance s see the same taps: a transposed convolution is a convolution with s times s times the outputs,
//! one for each place in a block of pixels, whose channels are interleaved afterwards. It never multiplies the zeros of an enlarged image.

use crate::diagnostic::Result;
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::op::geometry::{Image, listed};
use crate::graph::op::layout::interleaved;
use crate::graph::op::{conv, index};
use crate::graph::operator::{Codes, ONNX, Operator, Role, invalid, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[Operator {
    name: "ConvTranspose",
    domains: ONNX,
    inputs: (2, 3),
    attributes: &[
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "output_padding",
        "output_shape",
        "pads",
        "strides",
    ],
    role: Role::Product,
    eval: conv_transpose,
}];

/// Maximum extent of a stride, a kernel, a dilation and a padding.
const MAX_EXTENT: i64 = 1 << 10;

/// A transposed convolution as a convolution, an interleaving and a crop.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Groups of channels.
    pub groups: usize,
    /// The stride, [height, width]: places of a block.
    pub stride: [usize; 2],
    /// The pixels that are cut away above and left of the interleaved image.
    pub cut: [usize; 2],
    /// Height and width of the output.
    pub size: [usize; 2],
    /// The convolution's kernel.
    kernel: [usize; 2],
    before: [usize; 2],
    after: [usize; 2],
    /// Inputs and outputs of a group.
    inputs: usize,
    outputs: usize,
    given: [usize; 2],
    dilation: [usize; 2],
    line: bool,
}

impl Plan {
    /// The plan for an image of shape `image` (including batch) and weights of shape `weights`, [inputs, outputs of a group, taps..].
    pub fn of(attributes: &Attributes, image: &[usize], weights: &[usize]) -> Result<Self> {
        let shape = Image::of("ConvTranspose", attributes, image)?;
        let (inputs, outputs, given) = match *weights {
            [i, o, h, w] if !shape.line => (i, o, [h, w]),
            [i, o, l] if shape.line => (i, o, [1, l]),
            _ => {
                return Err(invalid(format!("weights of shape {weights:?} for an image of shape {image:?}")));
            }
        };
        let groups = usize::try_from(attributes.int("group", 1)?).unwrap_or(0);
        if groups == 0
            || inputs != shape.channels
            || !inputs.is_multiple_of(groups)
            || outputs == 0
            || inputs == 0
        {
            return Err(invalid(format!(
                "{} channels, {groups} groups and weights of shape {weights:?} don't fit",
                shape.channels
            )));
        }
        if listed(&shape, attributes)?.is_some_and(|k| k != given) || given.contains(&0) {
            return Err(invalid(format!("kernel_shape is not that of weights of shape {weights:?}")));
        }
        if attributes.ints("output_shape")?.is_some() || attributes.text("auto_pad", "NOTSET")? != "NOTSET" {
            return Err(unsupported(
                "ConvTranspose with output_shape or auto_pad; give pads and output_padding",
            ));
        }
        let axes = if shape.line { 1 } else { 2 };
        let pair =
            |name: &str, otherwise: i64, least: i64, first: usize, missing: usize| -> Result<[usize; 2]> {
                let list = attributes.ints(name)?;
                let list = list.map_or_else(|| vec![otherwise; first + axes], <[i64]>::to_vec);
                let own = list
                    .get(first..first + axes)
                    .ok_or_else(|| invalid(format!("{name} has {} entries", list.len())))?;
                if let Some(bad) = own.iter().find(|v| !(least..=MAX_EXTENT).contains(*v)) {
                    return Err(unsupported(format!(
                        "{name} holds {bad}; {least} to {MAX_EXTENT} are supported"
                    )));
                }
                Ok(if axes == 1 { [missing, own[0] as usize] } else { [own[0] as usize, own[1] as usize] })
            };
        let (stride, dilation) = (pair("strides", 1, 1, 0, 1)?, pair("dilations", 1, 1, 0, 1)?);
        let more = pair("output_padding", 0, 0, 0, 0)?;
        let pads = [pair("pads", 0, 0, 0, 0)?, pair("pads", 0, 0, axes, 0)?];
        let mut plan = Self {
            groups,
            stride,
            cut: [0; 2],
            size: [0; 2],
            kernel: [1; 2],
            before: [0; 2],
            after: [0; 2],
            inputs: inputs / groups,
            outputs,
            given,
            dilation,
            line: shape.line,
        };
        for a in 0..2 {
            let (s, input) = (stride[a], shape.size[a]);
            let extent = (given[a].min(1 << 10) - 1) * dilation[a] + 1;
            let full = input.saturating_sub(1).saturating_mul(s) + extent;
            let cut = pads[0][a] + pads[1][a];
            if input == 0
                || given[a] > 1 << 10
                || pads.iter().any(|p| p[a] >= extent)
                || full + more[a] <= cut
                || more[a] >= s.max(2)
            {
                return Err(unsupported(format!(
                    "ConvTranspose of {} taps with pads {} and {} and output_padding {} over {input} places",
                    given[a], pads[0][a], pads[1][a], more[a]
                )));
            }
            plan.size[a] = full + more[a] - cut;
            let first = pads[0][a] / s;
            plan.cut[a] = pads[0][a] - first * s;
            let count = (pads[0][a] + plan.size[a] - 1) / s - first + 1;
            // Taps of a place in the block; more of them, which are 0, where the output is padded beyond the kernel's reach.
            let taps = extent.div_ceil(s);
            let after = (count + first).saturating_sub(input);
            let taps = taps.max(after + 1);
            plan.kernel[a] = taps;
            plan.before[a] = taps - 1 - first;
            plan.after[a] = after;
        }
        tensor::elements(&plan.weights_shape())?;
        Ok(plan)
    }

    fn weights_shape(&self) -> Vec<usize> {
        let block = self.stride[0].saturating_mul(self.stride[1]);
        let outputs = self.groups.saturating_mul(block).saturating_mul(self.outputs);
        let mut shape = vec![outputs, self.inputs, self.kernel[0], self.kernel[1]];
        if self.line {
            shape.remove(2);
        }
        shape
    }

    /// For each weight of the convolution, the tap of the given weights; outside the kernel `None`, with the first tap of that channel.
    fn taps(&self) -> Vec<(Option<usize>, usize)> {
        let [sh, sw] = self.stride;
        let [kh, kw] = self.kernel;
        let [gh, gw] = self.given;
        let of = |place: usize, u: usize, a: usize| {
            let at = (self.kernel[a] - 1 - u) * self.stride[a] + place;
            let tap = at / self.dilation[a];
            (at.is_multiple_of(self.dilation[a]) && tap < self.given[a]).then_some(tap)
        };
        let rows = (0..self.groups).flat_map(|g| {
            (0..sh).flat_map(move |y| (0..sw).flat_map(move |x| (0..self.outputs).map(move |c| (g, y, x, c))))
        });
        let mut taps = Vec::new();
        for (g, y, x, c) in rows {
            for (i, u, v) in
                (0..self.inputs).flat_map(|i| (0..kh).flat_map(move |u| (0..kw).map(move |v| (i, u, v))))
            {
                let channel = ((g * self.inputs + i) * self.outputs + c) * gh * gw;
                let tap = of(y, u, 0).zip(of(x, v, 1)).map(|(u, v)| channel + u * gw + v);
                taps.push((tap, channel));
            }
        }
        taps
    }

    /// The convolution's weights [outputs, inputs of a group, taps..]. Taps that the kernel does not have are 0.
    pub fn weights(&self, weights: &Tensor) -> Result<Tensor> {
        let values = weights.floats("the weights")?;
        let data = self.taps().iter().map(|(tap, _)| tap.map_or(0.0, |tap| values[tap])).collect();
        Ok(Tensor { shape: self.weights_shape(), data: Data::Float(data) })
    }

    /// The integers and scales of the convolution's weights.
    pub fn codes(&self, codes: &Codes) -> Result<Codes> {
        let taps = self.taps();
        if codes.rounding.is_some() && taps.iter().any(|(tap, _)| tap.is_none()) {
            return Err(unsupported(
                "stochastic weights of a ConvTranspose whose stride does not divide its kernel",
            ));
        }
        let scales = codes.scales.floats("the scales")?;
        let scales = taps.iter().map(|(tap, first)| scales[tap.unwrap_or(*first)]).collect();
        Ok(Codes {
            integers: self.weights(&codes.integers)?,
            scales: Tensor { shape: self.weights_shape(), data: Data::Float(scales) },
            rounding: codes.rounding,
        })
    }

    /// The convolution's attributes.
    pub fn attributes(&self) -> Attributes {
        let list =
            |pair: [usize; 2]| pair[usize::from(self.line)..].iter().map(|v| *v as i64).collect::<Vec<_>>();
        Attributes::new(11)
            .with("group", Attribute::Int(self.groups as i64))
            .with("pads", Attribute::Ints([list(self.before), list(self.after)].concat()))
    }

    /// The extents of a block as a list with one entry for each axis of the image.
    pub fn block(&self) -> Vec<usize> {
        self.stride[usize::from(self.line)..].to_vec()
    }

    /// The first row and column of the output in the interleaved image and the ends, for each axis of the image.
    pub fn crop(&self) -> Vec<[usize; 2]> {
        (usize::from(self.line)..2).map(|a| [self.cut[a], self.cut[a] + self.size[a]]).collect()
    }
}

/// The convolution's sums, interleaved and cropped; the bias is added last.
fn conv_transpose(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let plan = Plan::of(attributes, &x[0].shape, &x[1].shape)?;
    let weights = plan.weights(x[1])?;
    let sums = conv::conv(&plan.attributes(), &[x[0], &weights])?.remove(0);
    let mut out = interleaved(&sums, plan.groups, &plan.block())?;
    for (axis, [from, to]) in plan.crop().into_iter().enumerate() {
        let picks: Vec<usize> = (from..to).collect();
        let mut shape = out.shape.clone();
        shape[axis + 2] = picks.len();
        out = Tensor { data: index::along(&out, axis + 2, &picks), shape };
    }
    let Some(bias) = x.get(2).filter(|b| !b.is_empty()) else { return Ok(vec![out]) };
    let channels = plan.groups * plan.outputs;
    let bias = bias.floats("the bias")?;
    if bias.len() != channels {
        return Err(invalid(format!("a bias of {} numbers for {channels} outputs", bias.len())));
    }
    let pixels = out.len() / (out.shape[0] * channels).max(1);
    let values = out.floats("the sums")?.iter().enumerate();
    let data = values.map(|(i, v)| v + bias[i / pixels % channels]).collect();
    Ok(vec![Tensor { shape: out.shape.clone(), data: Data::Float(data) }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(shape: &[usize], shift: f32) -> Tensor {
        let n: usize = shape.iter().product();
        let data = (0..n).map(|i| (i * 7 % 11) as f32 - shift).collect();
        Tensor { shape: shape.to_vec(), data: Data::Float(data) }
    }

    /// By the definition: every input pixel adds its kernel to the output.
    fn scattered(x: &Tensor, w: &Tensor, form: [[usize; 2]; 5], groups: usize) -> Tensor {
        let [stride, dilation, before, after, more] = form;
        let ([_, ci, h, wide], [_, co, kh, kw]) =
            (x.shape[..].try_into().unwrap(), w.shape[..].try_into().unwrap());
        let ([h, wide], [ci, co]): ([usize; 2], [usize; 2]) = ([h, wide], [ci, co]);
        let (kh, kw): (usize, usize) = (kh, kw);
        let size = |a: usize, n: usize, k: usize| {
            (n - 1) * stride[a] + (k - 1) * dilation[a] + 1 + more[a] - before[a] - after[a]
        };
        let (oh, ow) = (size(0, h, kh), size(1, wide, kw));
        let mut out = vec![0.0; groups * co * oh * ow];
        let (xs, ws) = (x.floats("").unwrap(), w.floats("").unwrap());
        for i in 0..ci {
            for (y, xx) in (0..h).flat_map(|y| (0..wide).map(move |x| (y, x))) {
                for c in 0..co {
                    for (u, v) in (0..kh).flat_map(|u| (0..kw).map(move |v| (u, v))) {
                        let at = [y * stride[0] + u * dilation[0], xx * stride[1] + v * dilation[1]];
                        let (Some(oy), Some(ox)) =
                            (at[0].checked_sub(before[0]), at[1].checked_sub(before[1]))
                        else {
                            continue;
                        };
                        if oy < oh && ox < ow {
                            let channel = i / (ci / groups) * co + c;
                            out[(channel * oh + oy) * ow + ox] +=
                                xs[(i * h + y) * wide + xx] * ws[((i * co + c) * kh + u) * kw + v];
                        }
                    }
                }
            }
        }
        Tensor { shape: vec![1, groups * co, oh, ow], data: Data::Float(out) }
    }

    #[test]
    fn every_pixel_adds_its_kernel() {
        let forms = [
            ([3, 3], [[2, 2], [1, 1], [1, 1], [1, 1], [1, 1]], 1),
            ([2, 2], [[2, 2], [1, 1], [0, 0], [0, 0], [0, 0]], 1),
            ([4, 3], [[2, 3], [1, 1], [1, 0], [2, 1], [0, 2]], 2),
            ([3, 2], [[1, 1], [1, 2], [1, 0], [0, 1], [0, 0]], 1),
            ([2, 3], [[3, 1], [2, 1], [0, 2], [1, 0], [2, 0]], 2),
            ([1, 1], [[2, 2], [1, 1], [0, 0], [0, 0], [1, 1]], 1),
        ];
        for (kernel, form, groups) in forms {
            let x = ramp(&[1, 4, 3, 4], 5.0);
            let w = ramp(&[4, 3, kernel[0], kernel[1]], 4.0);
            let names = ["strides", "dilations", "output_padding"];
            let lists = [form[0], form[1], form[4]];
            let ints = |l: [usize; 2]| Attribute::Ints(l.map(|v| v as i64).to_vec());
            let pads = [form[2], form[3]].concat().iter().map(|v| *v as i64).collect();
            let attributes =
                names.iter().zip(lists).fold(Attributes::new(11), |a, (name, l)| a.with(name, ints(l)));
            let attributes =
                attributes.with("pads", Attribute::Ints(pads)).with("group", Attribute::Int(groups as i64));
            let found = conv_transpose(&attributes, &[&x, &w]).unwrap().remove(0);
            assert_eq!(found, scattered(&x, &w, form, groups), "{kernel:?} {form:?} {groups}");
        }
    }
}
