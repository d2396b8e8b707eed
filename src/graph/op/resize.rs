//! Operators that change a tensor's extents: resizing, and padding.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::index::along;
use crate::graph::op::linear::{Resized, coordinate, linear};
use crate::graph::operator::{CONFIGURED, ONNX, Operator, Role, axis, invalid, list, number, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Pad",
        domains: ONNX,
        inputs: (1, 4),
        attributes: &["mode", "pads", "value"],
        role: Role::Select,
        eval: pad,
    },
    Operator {
        name: "Upsample",
        domains: ONNX,
        inputs: (1, 2),
        attributes: &["mode", "scales"],
        role: Role::Select,
        eval: upsample,
    },
    Operator {
        name: "Resize",
        domains: ONNX,
        inputs: (2, 4),
        attributes: &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        role: Role::Select,
        eval: resize,
    },
    Operator {
        name: "Interpolate",
        domains: &[CONFIGURED],
        inputs: (1, 4),
        attributes: &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
            "scales",
        ],
        role: Role::Host,
        eval: |attributes, x| match attributes.floats("scales")? {
            Some(_) => upsample(attributes, x),
            None => resize(attributes, x),
        },
    },
];

/// Upsample and Resize between pixels are no selection: `operator`, or the operator that stands for it.
pub fn interpolating(operator: &'static Operator, attributes: &Attributes) -> &'static Operator {
    let mode = attributes.text("mode", "nearest");
    if ["Upsample", "Resize"].contains(&operator.name) && mode.is_ok_and(|mode| mode != "nearest") {
        return &OPERATORS[OPERATORS.len() - 1];
    }
    operator
}

/// Input number `input`; `None` if it is omitted.
fn given<'a>(x: &[&'a Tensor], input: usize) -> Option<&'a Tensor> {
    x.get(input).copied().filter(|t| !t.is_empty())
}

/// Rejects attribute `name` unless it is `wanted`.
fn only(attributes: &Attributes, name: &str, wanted: &str) -> Result<()> {
    match attributes.text(name, wanted)? {
        text if text == wanted => Ok(()),
        other => Err(unsupported(format!("{name} {other}; {wanted} is supported"))),
    }
}

/// The axes that a list of numbers refers to: those listed, or all.
fn axes(listed: Option<&[i64]>, rank: usize) -> Result<Vec<usize>> {
    let Some(listed) = listed else { return Ok((0..rank).collect()) };
    let mut seen = vec![false; rank];
    let each = listed.iter().map(|&a| {
        let found = axis(a, rank)?;
        if std::mem::replace(&mut seen[found], true) {
            return Err(invalid(format!("axis {a} is given twice")));
        }
        Ok(found)
    });
    each.collect()
}

/// Padding with a constant, or with pixels of the image. `pads` holds the padding before each axis, then the padding after each axis; a
/// negative number cuts away.
fn pad(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let (value, rest) = (given(x, 2), x);
    let pads = list(attributes, "pads", rest, 1)?.ok_or_else(|| invalid("no pads are given"))?;
    let axes = axes(given(rest, 3).map(|t| t.ints("axes")).transpose()?, x[0].rank())?;
    if pads.len() != 2 * axes.len() {
        return Err(invalid(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let mode = attributes.text("mode", "constant")?;
    let mut x = x[0].clone();
    let mut shape = x.shape.clone();
    let mut before = vec![0; x.rank()];
    for (i, &axis) in axes.iter().enumerate() {
        let ends = [pads[i], pads[i + axes.len()]];
        let picks = picks(mode, x.shape[axis], ends)?;
        if picks.len() != x.shape[axis] || !picks.iter().copied().eq(0..picks.len()) {
            let mut shape = x.shape.clone();
            shape[axis] = picks.len();
            tensor::elements(&shape)?;
            x = Tensor { data: along(&x, axis, &picks), shape };
        }
        shape[axis] = picks.len();
        if mode == "constant" {
            let [first, last] = ends.map(|v| usize::try_from(v).unwrap_or(0));
            before[axis] = first;
            shape[axis] = shape[axis].saturating_add(first).saturating_add(last);
        }
    }
    let size = tensor::elements(&shape)?;
    let mut strides = vec![1; x.rank()];
    for i in (1..x.rank()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    let start: usize = before.iter().zip(&strides).map(|(b, s)| b * s).sum();
    let places = tensor::indices(x.shape.clone(), strides).map(|at| start + at);
    let data = match &x.data {
        Data::Float(v) => {
            let value = match value {
                Some(value) => number(value, "value of the padding")?,
                None => attributes.float("value", 0.0)?,
            };
            Data::Float(around(v, places, vec![value; size]))
        }
        Data::Int(v) => {
            let value = match value.map(|t| &t.data) {
                Some(Data::Float(v)) if v.first().is_some_and(|v| v.fract() == 0.0) => v[0] as i64,
                Some(_) => value.map(|t| t.ints("the value of the padding")).transpose()?.map_or(0, |v| v[0]),
                None => attributes.float("value", 0.0)? as i64,
            };
            Data::Int(around(v, places, vec![value; size]))
        }
    };
    Ok(vec![Tensor { shape, data }])
}

/// The places of an axis of extent `extent` that `pads` (before, after) leave or repeat, without constants.
fn picks(mode: &str, extent: usize, pads: [i64; 2]) -> Result<Vec<usize>> {
    let whole = i64::try_from(extent).unwrap_or(i64::MAX);
    if pads.iter().any(|p| p.unsigned_abs() > tensor::MAX_ELEMENTS as u64) {
        return Err(unsupported(format!("pads of {pads:?}; the limit is {}", tensor::MAX_ELEMENTS)));
    }
    let cut = pads.map(|p| (-p).max(0));
    if cut[0] + cut[1] > whole {
        return Err(invalid(format!("pads {pads:?} cut more away than the extent of {extent}")));
    }
    let source = |at: i64| match mode {
        "edge" => at.clamp(0, whole - 1),
        "reflect" if at < 0 => -at,
        "reflect" if at >= whole => 2 * (whole - 1) - at,
        "wrap" => at.rem_euclid(whole),
        _ => at,
    };
    let range = match mode {
        "constant" => cut[0]..whole - cut[1],
        "edge" | "reflect" | "wrap" if whole > 0 => -pads[0]..whole + pads[1],
        _ => return Err(unsupported(format!("mode {mode}; constant, edge, reflect and wrap are supported"))),
    };
    let picks: Vec<i64> = range.map(source).collect();
    match picks.iter().all(|at| (0..whole).contains(at)) {
        true => Ok(picks.into_iter().map(|at| at as usize).collect()),
        false => Err(invalid(format!("pads {pads:?} reflect more than the extent of {extent}"))),
    }
}

/// `out` with `values` at `places`.
fn around<T: Copy>(values: &[T], places: impl Iterator<Item = usize>, mut out: Vec<T>) -> Vec<T> {
    places.zip(values).for_each(|(place, v)| out[place] = *v);
    out
}

/// The coordinate mapping from a resized axis to the original one.
#[derive(Debug, Clone, Copy)]
struct Map<'a> {
    /// `coordinate_transformation_mode`.
    transformation: &'a str,
    /// `nearest_mode`.
    nearest: &'a str,
}

/// The mapping of Upsample, and of Resize in operator set 10.
const FLOOR: Map<'_> = Map { transformation: "asymmetric", nearest: "floor" };

impl Map<'_> {
    /// For each of `to` elements of the resized axis, the index in the original axis of extent `from`. float32 as in the
    /// runtimes.
    fn picks(self, from: usize, (axis, to, scale): Resized) -> Result<Vec<usize>> {
        let whole = |x: f32| {
            Ok(match self.nearest {
                "round_prefer_floor" => (x - 0.5).ceil(),
                "round_prefer_ceil" => (x + 0.5).floor(),
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                other => return Err(unsupported(format!("nearest_mode {other}"))),
            })
        };
        let last = from.saturating_sub(1);
        // The cast saturates: negative coordinates become 0.
        let place = |x| coordinate(self.transformation, x as f32, from, (axis, to, scale));
        (0..to).map(|x| Ok((whole(place(x)?)? as usize).min(last))).collect()
    }
}

/// Nearest-neighbour resizing along `axes`, given as (axis, extent, scale).
fn nearest(x: &Tensor, axes: &[Resized], map: Map<'_>) -> Result<Vec<Tensor>> {
    let mut out = x.clone();
    for &(axis, to, scale) in axes {
        let from = x.shape[axis];
        if from == 0 && to > 0 {
            return Err(invalid(format!("axis {axis} is empty and becomes {to} long")));
        }
        let mut shape = out.shape.clone();
        shape[axis] = to;
        tensor::elements(&shape)?;
        out = Tensor { data: along(&out, axis, &map.picks(from, (axis, to, scale))?), shape };
    }
    Ok(vec![out])
}

/// For each of `axes` its new extent and its scale.
fn scaled(x: &Tensor, axes: &[usize], scales: &[f32]) -> Result<Vec<Resized>> {
    if scales.len() != axes.len() {
        return Err(invalid(format!("{} scales for {} axes", scales.len(), axes.len())));
    }
    let each = axes.iter().zip(scales).map(|(&axis, &scale)| {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(invalid(format!("a scale is {scale}")));
        }
        // The cast saturates; extents that are too large are rejected by the number of elements.
        Ok((axis, (x.shape[axis] as f32 * scale) as usize, scale))
    });
    each.collect()
}

/// Resizing along `axes` in the operator's mode.
fn moded(attributes: &Attributes, x: &Tensor, axes: &[Resized], map: Map<'_>) -> Result<Vec<Tensor>> {
    match attributes.text("mode", "nearest")? {
        "nearest" => nearest(x, axes, map),
        "linear" | "bilinear" => linear(x, axes, map.transformation),
        other => Err(unsupported(format!("mode {other}; nearest and linear are supported"))),
    }
}

/// The coordinates of Upsample and Resize: the attribute, or those of their first versions.
pub fn transformation(attributes: &Attributes) -> Result<&str> {
    match attributes.opset < 11 {
        true => Ok(FLOOR.transformation),
        false => attributes.text("coordinate_transformation_mode", "half_pixel"),
    }
}

fn upsample(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let scales = match given(x, 1) {
        Some(scales) => scales.floats("the scales")?,
        None => attributes.floats("scales")?.ok_or_else(|| invalid("no scales are given"))?,
    };
    let axes: Vec<usize> = (0..x[0].rank()).collect();
    moded(attributes, x[0], &scaled(x[0], &axes, scales)?, FLOOR)
}

/// Inputs: X and scales in operator set 10; X, roi (unused by nearest), scales and sizes in later ones.
fn resize(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    only(attributes, "keep_aspect_ratio_policy", "stretch")?;
    for name in ["antialias", "exclude_outside"] {
        if attributes.int(name, 0)? != 0 {
            return Err(unsupported(format!("{name} of Resize")));
        }
    }
    let old = attributes.opset < 11;
    let map = if old {
        FLOOR
    } else {
        Map {
            transformation: transformation(attributes)?,
            nearest: attributes.text("nearest_mode", "round_prefer_floor")?,
        }
    };
    let axes = axes(attributes.ints("axes")?, x[0].rank())?;
    let (scales, sizes) = (given(x, if old { 1 } else { 2 }), if old { None } else { given(x, 3) });
    let to = match (scales, sizes) {
        (Some(scales), None) => scaled(x[0], &axes, scales.floats("the scales")?)?,
        (None, Some(sizes)) => {
            let sizes = sizes.ints("the sizes")?;
            if sizes.len() != axes.len() {
                return Err(invalid(format!("{} sizes for {} axes", sizes.len(), axes.len())));
            }
            let each = axes.iter().zip(sizes).map(|(&axis, &size)| {
                let to = usize::try_from(size).map_err(|_| invalid(format!("a size is {size}")))?;
                Ok((axis, to, to as f32 / x[0].shape[axis] as f32))
            });
            each.collect::<Result<_>>()?
        }
        _ => return Err(invalid("scales or sizes must be given, and not both")),
    };
    moded(attributes, x[0], &to, map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    fn run(name: &str, attributes: &Attributes, inputs: &[&Tensor]) -> Result<Tensor> {
        let operator = find("", name).unwrap();
        operator.accepts(attributes, inputs.len())?;
        Ok((operator.eval)(attributes, inputs)?.remove(0))
    }

    fn line(values: &[f32]) -> Tensor {
        Tensor::new(vec![1, 1, values.len()], Data::Float(values.to_vec())).unwrap()
    }

    fn ramp(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        Tensor::new(shape.to_vec(), Data::Float((0..n).map(|v| v as f32).collect())).unwrap()
    }

    fn texts(opset: i64, list: &[(&str, &str)]) -> Attributes {
        let with =
            |a: Attributes, (name, text): &(&str, &str)| a.with(name, Attribute::String((*text).into()));
        list.iter().fold(Attributes::new(opset), with)
    }

    #[test]
    fn padding_stands_around() {
        let x = ramp(&[1, 1, 2, 2]);
        let old = Attributes::new(9)
            .with("pads", Attribute::Ints(vec![0, 0, 1, 0, 0, 0, 0, 1]))
            .with("value", Attribute::Float(-1.0));
        let wanted = Tensor::new(
            vec![1, 1, 3, 3],
            Data::Float(vec![-1.0, -1.0, -1.0, 0.0, 1.0, -1.0, 2.0, 3.0, -1.0]),
        );
        assert_eq!(run("Pad", &old, &[&x]).unwrap(), wanted.clone().unwrap());
        let pads = Tensor::integers(vec![1, 0, 0, 1]);
        let (value, axes) = (Tensor::scalar(-1.0), Tensor::integers(vec![-2, 3]));
        let new = Attributes::new(18);
        assert_eq!(run("Pad", &new, &[&x, &pads, &value, &axes]).unwrap(), wanted.unwrap());
        let whole = Tensor::integers(vec![7, 8]);
        let y = run("Pad", &new, &[&whole, &Tensor::integers(vec![0, 1])]).unwrap();
        assert_eq!(y, Tensor::integers(vec![7, 8, 0]));
    }

    #[test]
    fn padding_cuts_repeats_and_reflects() {
        let x = line(&[1.0, 2.0, 3.0]);
        let of = |mode: &str, pads: [i64; 2]| {
            let pads = Tensor::integers(vec![0, 0, pads[0], 0, 0, pads[1]]);
            run("Pad", &texts(19, &[("mode", mode)]), &[&x, &pads]).map(|t| t.data)
        };
        assert_eq!(of("constant", [-1, 1]).unwrap(), Data::Float(vec![2.0, 3.0, 0.0]));
        assert_eq!(of("edge", [2, -1]).unwrap(), Data::Float(vec![1.0, 1.0, 1.0, 2.0]));
        assert_eq!(of("reflect", [1, 2]).unwrap(), Data::Float(vec![2.0, 1.0, 2.0, 3.0, 2.0, 1.0]));
        assert_eq!(of("wrap", [1, 1]).unwrap(), Data::Float(vec![3.0, 1.0, 2.0, 3.0, 1.0]));
        assert!(
            of("reflect", [3, 0]).is_err()
                && of("constant", [-2, -2]).is_err()
                && of("mirror", [0, 0]).is_err()
        );
    }

    #[test]
    fn padding_without_sense_is_refused() {
        let x = ramp(&[2]);
        let of = |pads: &[i64]| run("Pad", &Attributes::new(11), &[&x, &Tensor::integers(pads.to_vec())]);
        for pads in [&[-2, -1][..], &[0], &[i64::MAX, i64::MAX], &[i64::MIN, 0], &[1 << 26, 0]] {
            assert!(of(pads).is_err(), "{pads:?}");
        }
        let twice = Tensor::integers(vec![0, -1]);
        let pads = Tensor::integers(vec![0; 4]);
        assert!(run("Pad", &Attributes::new(18), &[&x, &pads, &Tensor::scalar(0.0), &twice]).is_err());
        assert!(run("Pad", &Attributes::new(11), &[&x]).is_err());
    }

    #[test]
    fn upsampling_repeats() {
        let x = ramp(&[1, 1, 2, 2]);
        let scales = [1.0, 1.0, 2.0, 1.5];
        let wanted = [0., 0., 1., 0., 0., 1., 2., 2., 3., 2., 2., 3.];
        let wanted = Tensor::new(vec![1, 1, 4, 3], Data::Float(wanted.to_vec())).unwrap();
        let seven = Attributes::new(7).with("scales", Attribute::Floats(scales.to_vec()));
        assert_eq!(run("Upsample", &seven, &[&x]).unwrap(), wanted);
        let scales = Tensor::vector(scales.to_vec());
        assert_eq!(run("Upsample", &Attributes::new(9), &[&x, &scales]).unwrap(), wanted);
        assert_eq!(run("Resize", &Attributes::new(10), &[&x, &scales]).unwrap(), wanted);
        assert!(run("Upsample", &texts(9, &[("mode", "cubic")]), &[&x, &scales]).is_err());
        assert!(run("Upsample", &Attributes::new(9), &[&x]).is_err());
    }

    #[test]
    fn every_transformation_picks_its_neighbours() {
        let x = line(&[0.0, 1.0, 2.0, 3.0]);
        let (none, ones) = (Tensor::vector(Vec::new()), Tensor::integers(vec![1, 1, 0]));
        let picked = |transformation, nearest, to: i64| {
            let a =
                texts(19, &[("coordinate_transformation_mode", transformation), ("nearest_mode", nearest)]);
            let mut sizes = ones.clone();
            sizes.data = Data::Int(vec![1, 1, to]);
            run("Resize", &a, &[&x, &none, &none, &sizes]).unwrap().floats("").unwrap().to_vec()
        };
        // At 0, 4/3 and 8/3; at 1/6, 3/2 and 17/6; at 2/3, 2 and 10/3; at 0, 3/2 and 3.
        assert_eq!(picked("asymmetric", "floor", 3), [0.0, 1.0, 2.0]);
        assert_eq!(picked("asymmetric", "ceil", 3), [0.0, 2.0, 3.0]);
        assert_eq!(picked("half_pixel", "round_prefer_floor", 3), [0.0, 1.0, 3.0]);
        assert_eq!(picked("half_pixel", "round_prefer_ceil", 3), [0.0, 2.0, 3.0]);
        assert_eq!(picked("half_pixel_symmetric", "round_prefer_ceil", 3), [0.0, 2.0, 3.0]);
        assert_eq!(picked("tf_half_pixel_for_nn", "floor", 3), [0.0, 2.0, 3.0]);
        assert_eq!(picked("align_corners", "round_prefer_floor", 3), [0.0, 1.0, 3.0]);
        assert_eq!(picked("half_pixel", "floor", 8), [0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0]);
        assert_eq!(picked("half_pixel", "round_prefer_floor", 1), [1.0]);
        assert_eq!(picked("pytorch_half_pixel", "round_prefer_floor", 1), [0.0]);
        assert_eq!(picked("align_corners", "floor", 1), [0.0]);
        // 4 * 0.7 = 2.8 becomes 2 places, at 3/14 and 23/14; moved by 4/2 * (1 - 2/2.8) = 4/7 they are at 11/14 and 31/14.
        let scales = Tensor::vector(vec![1.0, 1.0, 0.7]);
        for (mode, wanted) in [("half_pixel", [0.0, 1.0]), ("half_pixel_symmetric", [0.0, 2.0])] {
            let a = texts(19, &[("coordinate_transformation_mode", mode), ("nearest_mode", "floor")]);
            let y = run("Resize", &a, &[&x, &none, &scales]).unwrap();
            assert_eq!(y.data, Data::Float(wanted.to_vec()), "{mode}");
        }
    }

    #[test]
    fn resizing_between_pixels_is_an_operator_of_its_own() {
        let (x, scales) = (line(&[0.0, 4.0]), Tensor::vector(vec![1.0, 1.0, 2.0]));
        let wanted = |v: [f32; 4]| Data::Float(v.to_vec());
        let old = texts(9, &[("mode", "linear")]);
        assert_eq!(run("Upsample", &old, &[&x, &scales]).unwrap().data, wanted([0.0, 2.0, 4.0, 4.0]));
        let new = texts(13, &[("mode", "linear")]);
        let none = Tensor::vector(Vec::new());
        assert_eq!(run("Resize", &new, &[&x, &none, &scales]).unwrap().data, wanted([0.0, 1.0, 3.0, 4.0]));
        let (plain, other) = (texts(13, &[]), find("", "Resize").unwrap());
        assert_eq!(interpolating(other, &new).name, "Interpolate");
        assert_eq!(interpolating(other, &plain).name, "Resize");
        let seven = Attributes::new(7)
            .with("scales", Attribute::Floats(vec![1.0, 1.0, 2.0]))
            .with("mode", Attribute::String("linear".into()));
        let y = (interpolating(other, &new).eval)(&seven, &[&x]).unwrap();
        assert_eq!(y[0].data, wanted([0.0, 2.0, 4.0, 4.0]));
    }

    #[test]
    fn resizing_some_axes() {
        let a = texts(18, &[]).with("axes", Attribute::Ints(vec![-1]));
        let none = Tensor::vector(Vec::new());
        let y = run("Resize", &a, &[&ramp(&[1, 2, 2]), &none, &Tensor::vector(vec![2.0])]).unwrap();
        let wanted = Tensor::new(vec![1, 2, 4], Data::Float(vec![0., 0., 1., 1., 2., 2., 3., 3.]));
        assert_eq!(y, wanted.unwrap());
    }

    #[test]
    fn resizing_that_is_not_computed_is_refused() {
        let x = line(&[0.0, 1.0]);
        let (none, twice) = (Tensor::vector(Vec::new()), Tensor::vector(vec![1.0, 1.0, 2.0]));
        for (name, text) in [
            ("mode", "cubic"),
            ("coordinate_transformation_mode", "tf_crop_and_resize"),
            ("nearest_mode", "up"),
            ("keep_aspect_ratio_policy", "not_larger"),
        ] {
            assert!(run("Resize", &texts(18, &[(name, text)]), &[&x, &none, &twice]).is_err(), "{name}");
        }
        let plain = texts(13, &[]);
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e30] {
            let scales = Tensor::vector(vec![1.0, 1.0, scale]);
            assert!(run("Resize", &plain, &[&x, &none, &scales]).is_err(), "{scale}");
        }
        for sizes in [&[1, 1][..], &[1, 1, -1], &[1, 1, i64::MAX]] {
            let sizes = Tensor::integers(sizes.to_vec());
            assert!(run("Resize", &plain, &[&x, &none, &none, &sizes]).is_err(), "{sizes:?}");
        }
        assert!(run("Resize", &plain, &[&x, &none, &twice, &Tensor::integers(vec![1, 1, 2])]).is_err());
        assert!(run("Resize", &plain, &[&x, &none]).is_err());
        let empty = Tensor::zeros(&[1, 1, 0]).unwrap();
        assert!(run("Resize", &plain, &[&empty, &none, &none, &Tensor::integers(vec![1, 1, 2])]).is_err());
        assert_eq!(run("Resize", &plain, &[&empty, &none, &twice]).unwrap().shape, [1, 1, 0]);
    }
}
