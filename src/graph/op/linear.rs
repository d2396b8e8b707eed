//! Linear interpolation: the coordinates of resized axes, and enlargements as transposed convolutions.

use crate::diagnostic::Result;
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::op::index::along;
use crate::graph::operator::{invalid, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

/// A resized axis: its number, its new extent and its scale.
pub type Resized = (usize, usize, f32);

/// The place in an axis of extent `from` that place `x` of the resized axis comes from. float32 as in the runtimes.
pub fn coordinate(transformation: &str, x: f32, from: usize, (_, to, scale): Resized) -> Result<f32> {
    let (input, output) = (from as f32, to as f32);
    Ok(match transformation {
        "asymmetric" => x / scale,
        "half_pixel" => (x + 0.5) / scale - 0.5,
        "pytorch_half_pixel" if to == 1 => 0.0,
        "pytorch_half_pixel" => (x + 0.5) / scale - 0.5,
        "half_pixel_symmetric" => {
            // The rounding of the output's extent is distributed to both ends.
            let offset = input / 2.0 * (1.0 - output / (scale * input));
            offset + (x + 0.5) / scale - 0.5
        }
        "tf_half_pixel_for_nn" => (x + 0.5) / scale,
        "align_corners" if to == 1 => 0.0,
        "align_corners" => x * (input - 1.0) / (output - 1.0),
        other => return Err(unsupported(format!("coordinate_transformation_mode {other}"))),
    })
}

/// Linear interpolation along `axes`, one after another from the last one. Coordinates outside of an axis are its ends.
pub fn linear(x: &Tensor, axes: &[Resized], transformation: &str) -> Result<Vec<Tensor>> {
    let mut out = x.clone();
    out.floats("the image")?;
    for &resized in axes.iter().rev() {
        let (axis, to, scale) = resized;
        let from = x.shape[axis];
        if from == 0 && to > 0 {
            return Err(invalid(format!("axis {axis} is empty and becomes {to} long")));
        }
        if from == to && scale == 1.0 {
            continue;
        }
        let mut shape = out.shape.clone();
        shape[axis] = to;
        let size = tensor::elements(&shape)?;
        let last = from.saturating_sub(1);
        let places = (0..to).map(|place| {
            let at = coordinate(transformation, place as f32, from, resized)?.clamp(0.0, last as f32);
            let low = (at.floor() as usize).min(last);
            Ok((low, (low + 1).min(last), at - low as f32))
        });
        let places: Vec<(usize, usize, f32)> = places.collect::<Result<_>>()?;
        let side = |high: bool| {
            let picks: Vec<usize> = places.iter().map(|(a, b, _)| if high { *b } else { *a }).collect();
            along(&out, axis, &picks)
        };
        let (Data::Float(low), Data::Float(high)) = (side(false), side(true)) else {
            return Err(unsupported("interpolation of integers"));
        };
        let inner: usize = shape[axis + 1..].iter().product();
        let value = |i: usize| {
            let part = places[i / inner % to].2;
            (1.0 - part) * low[i] + part * high[i]
        };
        out = Tensor { shape, data: Data::Float((0..size).map(value).collect()) };
    }
    Ok(vec![out])
}

/// A linear enlargement of an image by whole factors, as a transposed convolution of the image with repeated edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enlargement {
    /// For each spatial axis the pixels that are repeated before and behind it.
    pub edges: Vec<[usize; 2]>,
    /// For each spatial axis the weights, times its divisor.
    weights: Vec<Vec<usize>>,
    /// For each spatial axis its factor, and the outputs that are cut away before and behind.
    strides: Vec<usize>,
    cut: Vec<[usize; 2]>,
    /// What all weights are divided by.
    pub divisor: usize,
}

impl Enlargement {
    /// The enlargement of an image [1, C, ..] of shape `before` to shape `after`.
    ///
    /// # Errors
    /// If a factor is no power of two up to 8, or the coordinates are not those of such a convolution.
    pub fn of(before: &[usize], after: &[usize], transformation: &str) -> Result<Self> {
        let known = before.len() == after.len()
            && (3..=4).contains(&before.len())
            && before[..2] == after[..2]
            && before[0] == 1;
        if !known {
            return Err(unsupported(format!("linear interpolation from shape {before:?} to {after:?}")));
        }
        let centred = match transformation {
            "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric" => true,
            "asymmetric" => false,
            other => {
                return Err(unsupported(format!("linear interpolation with the coordinates {other}")));
            }
        };
        let mut found =
            Self { edges: Vec::new(), weights: Vec::new(), strides: Vec::new(), cut: Vec::new(), divisor: 1 };
        for (from, to) in before[2..].iter().zip(&after[2..]) {
            let factor = to / (*from).max(1);
            if *from == 0 || factor * from != *to || !factor.is_power_of_two() || factor > 8 {
                return Err(unsupported(format!("linear interpolation of {from} rows or columns to {to}")));
            }
            found.strides.push(factor);
            if factor == 1 {
                found.edges.push([0, 0]);
                found.weights.push(vec![1]);
                found.cut.push([0, 0]);
                continue;
            }
            // The output at distance t from the first one of a pixel weighs the pixel with (whole - |2 t + 1 - f|) / whole, or with
            // (f - |t|) / f.
            let f = factor as i64;
            let weight = |t: i64| if centred { 2 * f - (2 * t + 1 - f).abs() } else { f - t.abs() };
            let taps: Vec<i64> = (-2 * f..=2 * f).filter(|t| weight(*t) > 0).collect();
            let (first, edges) = (taps[0], if centred { [1, 1] } else { [0, 1] });
            let begin = edges[0] as i64 * f - first;
            let full = (*from as i64 + edges[0] as i64 + edges[1] as i64 - 1) * f + taps.len() as i64;
            found.weights.push(taps.iter().map(|t| weight(*t) as usize).collect());
            found.edges.push(edges);
            found.cut.push([begin as usize, (full - begin - *to as i64) as usize]);
            found.divisor *= if centred { 2 * factor } else { factor };
        }
        Ok(found)
    }

    /// The attributes of the transposed convolution of `channels` channels.
    pub fn attributes(&self, channels: usize) -> Attributes {
        let ints = |values: Vec<usize>| Attribute::Ints(values.into_iter().map(|v| v as i64).collect());
        let side = |end: usize| self.cut.iter().map(move |c| c[end]);
        Attributes::new(13)
            .with("group", Attribute::Int(channels as i64))
            .with("strides", ints(self.strides.clone()))
            .with("pads", ints(side(0).chain(side(1)).collect()))
    }

    /// Its weights times the divisor, [channels, 1, taps..].
    pub fn weights(&self, channels: usize) -> Tensor {
        let one = self
            .weights
            .iter()
            .fold(vec![1], |all, own| all.iter().flat_map(|a| own.iter().map(move |w| a * w)).collect());
        let mut shape = vec![channels, 1];
        shape.extend(self.weights.iter().map(Vec::len));
        let data = (0..channels).flat_map(|_| one.iter().map(|w| *w as f32)).collect();
        Tensor { shape, data: Data::Float(data) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::find;

    fn line(values: &[f32]) -> Tensor {
        Tensor { shape: vec![1, 1, values.len()], data: Data::Float(values.to_vec()) }
    }

    #[test]
    fn values_between_two_places() {
        let x = line(&[0.0, 4.0, 12.0]);
        let made = |to: usize, how: &str| {
            let out = linear(&x, &[(2, to, to as f32 / 3.0)], how).unwrap().remove(0);
            out.floats("").unwrap().to_vec()
        };
        assert_eq!(made(6, "half_pixel"), [0.0, 1.0, 3.0, 6.0, 10.0, 12.0]);
        assert_eq!(made(6, "asymmetric"), [0.0, 2.0, 4.0, 8.0, 12.0, 12.0]);
        assert_eq!(made(5, "align_corners"), [0.0, 2.0, 4.0, 8.0, 12.0]);
        assert!(linear(&x, &[(2, 6, 2.0)], "elsewhere").is_err());
    }

    /// Every enlargement is a transposed convolution of the image with repeated edges.
    #[test]
    fn enlargements_are_transposed_convolutions() {
        for (transformation, down, across) in
            [("half_pixel", 2, 4), ("asymmetric", 2, 2), ("asymmetric", 1, 4), ("pytorch_half_pixel", 8, 1)]
        {
            let (before, after) = ([1, 2, 3, 4], [1, 2, 3 * down, 4 * across]);
            let x = Tensor {
                shape: before.to_vec(),
                data: Data::Float((0..24).map(|v| ((v * 7) % 11) as f32).collect()),
            };
            let axes = [(2, after[2], down as f32), (3, after[3], across as f32)];
            let wanted = linear(&x, &axes, transformation).unwrap().remove(0);
            let plan = Enlargement::of(&before, &after, transformation).unwrap();
            let mut edges = x;
            for (axis, [first, last]) in plan.edges.iter().enumerate() {
                let extent = before[2 + axis];
                let picks: Vec<usize> =
                    (0..first + extent + last).map(|i| i.saturating_sub(*first).min(extent - 1)).collect();
                let mut shape = edges.shape.clone();
                shape[2 + axis] = picks.len();
                edges = Tensor { data: along(&edges, 2 + axis, &picks), shape };
            }
            let transposed = find("", "ConvTranspose").unwrap();
            let made = (transposed.eval)(&plan.attributes(2), &[&edges, &plan.weights(2)]).unwrap().remove(0);
            assert_eq!(made.shape, after);
            let scaled: Vec<f32> = made.floats("").unwrap().iter().map(|v| v / plan.divisor as f32).collect();
            assert_eq!(scaled, wanted.floats("").unwrap(), "{transformation} {down} {across}");
        }
        for (after, transformation) in
            [([1, 2, 9, 4], "half_pixel"), ([1, 2, 6, 6], "half_pixel"), ([1, 2, 6, 8], "align_corners")]
        {
            assert!(Enlargement::of(&[1, 2, 3, 4], &after, transformation).is_err());
        }
    }
}
