//! ONNX's quantisers `QuantizeLinear` and `DequantizeLinear`: Brevitas's QCDQ graphs and ONNX Runtime's QDQ form.
//!
//! Between the two operators the tensor is integer. A `Clip` there restricts it to fewer bits than its type has.

use crate::diagnostic::{Diagnostic, INPUT_VALUE, Result};
use crate::graph::attributes::Attributes;
use crate::graph::dtype::type_name;
use crate::graph::operator::{
    Codes, Levels, ONNX, Operator, Quantiser, Role, axis, constant, invalid, unsupported,
};
use crate::graph::tensor::{Data, Tensor};

/// ONNX Runtime uses its own domain for 16-bit and 4-bit types in older operator sets; the semantics are the same.
const DOMAINS: &[&str] = &[ONNX[0], "com.microsoft"];

const UINT8: i64 = 2;

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "QuantizeLinear",
        domains: DOMAINS,
        inputs: (2, 3),
        // `saturate` applies to 8-bit floating-point types only.
        attributes: &["axis", "saturate", "block_size", "output_dtype", "precision"],
        role: Role::Quantiser(Quantiser { levels: quantize_levels, codes: None }),
        eval: quantize,
    },
    Operator {
        name: "DequantizeLinear",
        domains: DOMAINS,
        inputs: (2, 3),
        attributes: &["axis", "block_size", "output_dtype"],
        // The levels are those of the input: of a QuantizeLinear or of constants.
        role: Role::Quantiser(Quantiser { levels: |_, _| Ok(None), codes: Some(dequantize_codes) }),
        eval: dequantize,
    },
];

/// Scales and zero points: one for all elements, or one per index along an axis.
struct Parameters<'a> {
    scales: &'a [f32],
    /// As many as scales, or none.
    zeros: &'a [i64],
    /// Number of elements per index of the axis: the product of the extents after it.
    inner: usize,
}

impl<'a> Parameters<'a> {
    /// Reads the parameters from all inputs. They apply to a tensor of the shape of input 0.
    fn new(attributes: &Attributes, x: &[&'a Tensor]) -> Result<Self> {
        let block = attributes.int("block_size", 0)?;
        if block != 0 {
            return Err(unsupported(format!(
                "block_size = {block}: scales of blocks; one for all elements, or for each place on an axis, are known"
            )));
        }
        let (shape, scales) = (&x[0].shape, x[1].floats("the scale")?);
        let inner = match (&x[1].shape[..], scales) {
            (_, [_]) => 1,
            (&[count], _) => {
                let axis = axis(attributes.int("axis", 1)?, shape.len())?;
                if shape[axis] != count {
                    return Err(invalid(format!(
                        "{count} scales where axis {axis} of {shape:?} has {} places",
                        shape[axis]
                    )));
                }
                shape[axis + 1..].iter().product()
            }
            (other, _) => return Err(invalid(format!("the scale has shape {other:?}, neither [] nor [n]"))),
        };
        let zeros = match x.get(2) {
            Some(zero) if !zero.is_empty() => zero.ints("the zero point")?,
            _ => &[],
        };
        if !zeros.is_empty() && zeros.len() != scales.len() {
            return Err(invalid(format!("{} zero points for {} scales", zeros.len(), scales.len())));
        }
        Ok(Self { scales, zeros, inner })
    }

    /// Scale and zero point of an element of the tensor.
    fn of(&self, element: usize) -> (f32, i64) {
        let place = element / self.inner % self.scales.len();
        (self.scales[place], self.zeros.get(place).copied().unwrap_or(0))
    }
}

/// The minimum and maximum integer of QuantizeLinear's output type.
///
/// The type is `output_dtype`, into which the importer writes the type of the zero point; uint8 if neither is given.
fn range(attributes: &Attributes, has_zero: bool) -> Result<(i64, i64)> {
    let kind = match attributes.int("output_dtype", 0)? {
        0 if has_zero => {
            return Err(unsupported("the type of the zero point is not known; it has to be a constant"));
        }
        0 => UINT8,
        kind => kind,
    };
    Ok(match kind {
        UINT8 => (0, 255),
        3 => (-128, 127),
        4 => (0, 65535),
        5 => (-32768, 32767),
        21 => (0, 15),
        22 => (-8, 7),
        25 => (0, 3),
        26 => (-2, 1),
        _ => {
            return Err(unsupported(format!(
                "quantisation to {}; int and uint of 2, 4, 8 and 16 bits are known",
                type_name(kind)
            )));
        }
    })
}

/// Rejects arithmetic in a type other than float32.
fn only_float(attributes: &Attributes, name: &str) -> Result<()> {
    match attributes.int(name, 0)? {
        0 | 1 => Ok(()),
        kind => Err(unsupported(format!("{name} = {kind} ({}); float32 is known", type_name(kind)))),
    }
}

/// saturate(round(x / scale) + zero), ties to even.
fn quantize(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    only_float(attributes, "precision")?;
    let values = x[0].floats("what is quantised")?;
    let parameters = Parameters::new(attributes, x)?;
    let (low, high) = range(attributes, !parameters.zeros.is_empty())?;
    if let Some(s) = parameters.scales.iter().find(|s| !s.is_normal()) {
        return Err(unsupported(format!("the scale is {s}; what is divided by it has no integer")));
    }
    if let Some(z) = parameters.zeros.iter().find(|z| !(low..=high).contains(*z)) {
        return Err(invalid(format!("the zero point {z} is outside its type's {low} .. {high}")));
    }
    let integer = |(at, v): (usize, &f32)| {
        let (scale, zero) = parameters.of(at);
        let y = (v / scale).round_ties_even();
        if y.is_nan() {
            return Err(Diagnostic::new(&INPUT_VALUE, format!("element {at} is {v}, which has no integer"))
                .help("give numbers, as inputs and as weights")
                .into());
        }
        // Both bounds have at most 17 bits, so clamping before adding the zero point is equivalent.
        Ok(y.clamp((low - zero) as f32, (high - zero) as f32) as i64 + zero)
    };
    let data = Data::Int(values.iter().enumerate().map(integer).collect::<Result<_>>()?);
    Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
}

/// The levels: every integer of the type.
fn quantize_levels(attributes: &Attributes, x: &[Option<&Tensor>]) -> Result<Option<Levels>> {
    constant(x, 1, "scale")?;
    let has_zero = x.len() > 2 && !constant(x, 2, "zero point")?.is_empty();
    let (first, last) = range(attributes, has_zero)?;
    let value = |code| Ok(Tensor { shape: Vec::new(), data: Data::Int(vec![code as i64]) });
    let count = (last - first + 1) as usize;
    Ok(Some(Levels { first, step: 1, count, scale: Some(Tensor::scalar(1.0)), value: Box::new(value) }))
}

/// (x - zero) * scale.
fn dequantize(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let Codes { integers, scales, .. } = dequantize_codes(attributes, x)?;
    let pairs = integers.floats("the integers")?.iter().zip(scales.floats("the scale")?);
    let data = Data::Float(pairs.map(|(i, s)| i * s).collect());
    Ok(vec![Tensor { shape: integers.shape, data }])
}

fn dequantize_codes(attributes: &Attributes, x: &[&Tensor]) -> Result<Codes> {
    only_float(attributes, "output_dtype")?;
    let Data::Int(values) = &x[0].data else {
        return Err(invalid(
            "DequantizeLinear of float32; it takes the integers of QuantizeLinear or of the file",
        ));
    };
    let parameters = Parameters::new(attributes, x)?;
    let (mut integers, mut scales) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
    for (at, v) in values.iter().enumerate() {
        let (scale, zero) = parameters.of(at);
        let above = v.checked_sub(zero).ok_or_else(|| invalid(format!("{v} less the zero point {zero}")))?;
        integers.push(above as f32);
        scales.push(scale);
    }
    let tensor = |v| Tensor { shape: x[0].shape.clone(), data: Data::Float(v) };
    Ok(Codes { integers: tensor(integers), scales: tensor(scales), rounding: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    fn run(name: &str, attributes: &Attributes, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok((find("", name).unwrap().eval)(attributes, inputs)?.remove(0))
    }

    fn typed(kind: i64) -> Attributes {
        Attributes::new(21).with("output_dtype", Attribute::Int(kind))
    }

    fn on_axis(axis: i64) -> Attributes {
        typed(3).with("axis", Attribute::Int(axis))
    }

    fn integers(shape: &[usize], values: &[i64]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::Int(values.to_vec())).unwrap()
    }

    #[test]
    fn ties_go_to_even_before_the_zero_point_and_ends_saturate() {
        let x = Tensor::vector(vec![-0.25, 0.25, 0.75, 1.25, f32::MAX, f32::NEG_INFINITY, -1e-45]);
        let half = Tensor::scalar(0.5);
        // Of half: -0.5, 0.5, 1.5 and 2.5. An odd zero point does not move the ties.
        let y = run("QuantizeLinear", &Attributes::new(13), &[&x, &half]).unwrap();
        assert_eq!(y, Tensor::integers(vec![0, 0, 2, 2, 255, 0, 0]));
        let y = run("QuantizeLinear", &typed(3), &[&x, &half, &integers(&[], &[3])]).unwrap();
        assert_eq!(y, Tensor::integers(vec![3, 3, 5, 5, 127, -128, 3]));
        for (kind, low, high) in [
            (2, 0, 255),
            (4, 0, 65535),
            (5, -32768, 32767),
            (21, 0, 15),
            (22, -8, 7),
            (25, 0, 3),
            (26, -2, 1),
        ] {
            let ends = Tensor::vector(vec![f32::MIN, f32::MAX]);
            let y = run("QuantizeLinear", &typed(kind), &[&ends, &half, &integers(&[], &[1])]).unwrap();
            assert_eq!(y, Tensor::integers(vec![low, high]), "type {kind}");
            let levels = quantize_levels(&typed(kind), &[None, Some(&half)]).unwrap().unwrap();
            assert_eq!((levels.codes().min(), levels.codes().max()), (Some(low), Some(high)));
        }
        let negative = run("QuantizeLinear", &typed(3), &[&x, &Tensor::scalar(-0.5)]).unwrap();
        assert_eq!(negative, Tensor::integers(vec![0, 0, -2, -2, -128, 127, 0]));
    }

    #[test]
    fn what_comes_back_is_integers_times_scales() {
        let x = integers(&[2, 3], &[-2, 0, 7, 5, 1, -8]);
        let (scales, zeros) = (Tensor::vector(vec![0.5, 3.0]), integers(&[2], &[0, 1]));
        let codes =
            dequantize_codes(&on_axis(0).with("output_dtype", Attribute::Int(1)), &[&x, &scales, &zeros]);
        let codes = codes.unwrap();
        assert_eq!(codes.integers.data, Data::Float(vec![-2.0, 0.0, 7.0, 4.0, 0.0, -9.0]));
        assert_eq!(codes.scales.data, Data::Float(vec![0.5, 0.5, 0.5, 3.0, 3.0, 3.0]));
        let none = Attributes::new(13);
        let y =
            run("DequantizeLinear", &none.clone().with("axis", Attribute::Int(-2)), &[&x, &scales, &zeros]);
        assert_eq!(y.unwrap().data, Data::Float(vec![-1.0, 0.0, 3.5, 12.0, 0.0, -27.0]));
        let three = Tensor::vector(vec![1.0, 2.0, 4.0]);
        let y = run("DequantizeLinear", &none, &[&x, &three]).unwrap();
        assert_eq!(y.data, Data::Float(vec![-2.0, 0.0, 28.0, 5.0, 2.0, -32.0]));
        // What goes in and out is the same on every axis.
        let back = run("QuantizeLinear", &typed(3), &[&y, &three, &integers(&[3], &[0, 0, 0])]).unwrap();
        assert_eq!(back, x);
        // An operand that is left out has no elements.
        let skipped = Tensor::vector(Vec::new());
        assert_eq!(run("DequantizeLinear", &none, &[&x, &three, &skipped]).unwrap(), y);
        // A bias of 32 bits.
        let bias = run("DequantizeLinear", &none, &[&integers(&[1], &[(1 << 30) + 1]), &Tensor::scalar(0.5)]);
        assert_eq!(bias.unwrap(), Tensor::vector(vec![(1u32 << 29) as f32]));
    }

    #[test]
    fn what_is_not_known_is_refused_and_nothing_panics() {
        let real = Tensor::new(vec![1, 2], Data::Float(vec![0.5, 1.0])).unwrap();
        let whole = integers(&[1, 2], &[1, -1]);
        let (one, zero) = (Tensor::scalar(1.0), integers(&[], &[0]));
        let said = |name: &str, attributes: &Attributes, inputs: &[&Tensor]| {
            run(name, attributes, inputs).expect_err("refused").to_string()
        };
        for s in [0.0, -0.0, f32::NAN, f32::INFINITY, 1e-45] {
            assert!(said("QuantizeLinear", &typed(3), &[&real, &Tensor::scalar(s)]).contains("the scale is"));
        }
        let nan = Tensor::vector(vec![1.0, f32::NAN]);
        let text = said("QuantizeLinear", &typed(3), &[&nan, &one, &zero]);
        assert!(text.contains("[input-value]") && text.contains("element 1 is NaN"), "{text}");
        let none = Attributes::new(13);
        assert!(said("QuantizeLinear", &none, &[&real, &one, &zero]).contains("type of the zero point"));
        assert!(said("QuantizeLinear", &typed(17), &[&real, &one]).contains("float8e4m3fn"));
        assert!(
            said("QuantizeLinear", &typed(i64::MIN), &[&real, &one]).contains("type -9223372036854775808")
        );
        assert!(said("QuantizeLinear", &typed(3), &[&whole, &one]).contains("integer, not float32"));
        assert!(said("DequantizeLinear", &none, &[&real, &one]).contains("of float32"));
        let far = integers(&[], &[200]);
        assert!(said("QuantizeLinear", &typed(3), &[&real, &one, &far]).contains("-128 .. 127"));
        let least = integers(&[1], &[i64::MIN]);
        assert!(said("DequantizeLinear", &none, &[&least, &one, &far]).contains("less the zero point 200"));

        let three = Tensor::vector(vec![1.0; 3]);
        let two = Tensor::vector(vec![1.0; 2]);
        let square = Tensor::new(vec![2, 2], Data::Float(vec![1.0; 4])).unwrap();
        let empty = Tensor::vector(Vec::new());
        for (name, x) in [("QuantizeLinear", &real), ("DequantizeLinear", &whole)] {
            let of = |name: &str, value| typed(0).with(name, Attribute::Int(value));
            assert!(said(name, &of("block_size", 2), &[x, &two]).contains("block_size = 2"));
            assert!(said(name, &of("axis", 1), &[x, &three]).contains("3 scales where axis 1"));
            for axis in [2, -3, i64::MAX, i64::MIN] {
                assert!(said(name, &of("axis", axis), &[x, &two]).contains("axis"));
            }
            assert!(said(name, &of("axis", 1), &[x, &square]).contains("shape [2, 2]"));
            assert!(said(name, &of("axis", 1), &[x, &empty]).contains("0 scales"));
            let zeros = integers(&[3], &[0; 3]);
            assert!(said(name, &of("axis", 1), &[x, &two, &zeros]).contains("3 zero points for 2 scales"));
            assert!(said(name, &of("axis", 1), &[x, &two, &two]).contains("the zero point is float32"));
            assert!(run(name, &of("axis", 1).with("axis", Attribute::Float(1.0)), &[x, &two]).is_err());
        }
        let double = typed(3).with("precision", Attribute::Int(11));
        assert!(said("QuantizeLinear", &double, &[&real, &one]).contains("precision = 11 (float64)"));
        assert!(said("DequantizeLinear", &typed(10), &[&whole, &one]).contains("float16"));
        assert!(quantize_levels(&typed(3), &[None, None]).is_err());
        assert!(quantize_levels(&typed(3), &[None, Some(&one), None]).is_err());
        // Tensors without elements.
        let nothing = Tensor::zeros(&[0, 2]).unwrap();
        assert!(
            run("QuantizeLinear", &typed(3).with("axis", Attribute::Int(0)), &[&nothing, &empty])
                .unwrap()
                .is_empty()
        );
        assert!(run("QuantizeLinear", &typed(3), &[&nothing, &two]).unwrap().is_empty());
    }
}
