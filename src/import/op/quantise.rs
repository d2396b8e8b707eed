//! Quantisers: real numbers onto few levels.

use super::{Levels, ONNX, Operator, QUANTISED, Quantiser, Role, invalid, unsupported};
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, Diagnostics, Result};
use crate::import::attributes::Attributes;
use crate::tensor::{self, Data, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "BipolarQuant",
        domains: QUANTISED,
        inputs: (2, 2),
        attributes: &[],
        role: Role::Quantiser(Quantiser { levels: bipolar_levels, monotone: true }),
        eval: bipolar,
    },
    Operator {
        name: "MultiThreshold",
        domains: QUANTISED,
        inputs: (2, 2),
        attributes: &["out_scale", "out_bias", "out_dtype", "data_layout"],
        role: Role::Quantiser(Quantiser { levels: multi_threshold_levels, monotone: true }),
        eval: multi_threshold,
    },
    Operator {
        name: "Sign",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &[],
        // Three levels. Two, if 0 cannot occur: every value that can occur is looked at.
        role: Role::Quantiser(Quantiser {
            levels: |_, _| Ok(Levels::Bipolar { scale: 1.0 }),
            monotone: false,
        }),
        eval: sign,
    },
];

/// scale * (x >= 0 ? +1 : -1); not a number stays so.
fn bipolar(_: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let (values, scale) = (x[0].floats("the input")?, x[1].floats("the scale")?);
    let sign = |v: f32| match v {
        v if v >= 0.0 => 1.0,
        v if v < 0.0 => -1.0,
        v => v,
    };
    let (shape, out) = tensor::zip((&x[0].shape, values), (&x[1].shape, scale), |v, s| sign(v) * s)?;
    Ok(vec![Tensor { shape, data: Data::Float(out) }])
}

fn bipolar_levels(_: &Attributes, x: &[Option<&Tensor>]) -> Result<Levels> {
    let scale = constant(x, 1, "scale")?.floats("the scale")?;
    let first = *scale.first().ok_or_else(|| invalid("the scale is empty"))?;
    if let Some(other) = scale.iter().find(|s| **s != first) {
        return Err(unfit(format!("the scale differs between channels: {first} and {other}")));
    }
    Ok(Levels::Bipolar { scale: first })
}

/// out_scale * (number of thresholds t with x >= t) + out_bias.
///
/// Thresholds have shape [channels or 1, steps]; channels are axis 1, or the last axis where `data_layout` ends in C.
fn multi_threshold(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let scale = attributes.float("out_scale", 1.0)?;
    let bias = attributes.float("out_bias", 0.0)?;
    let (values, thresholds) = (x[0].floats("the input")?, x[1].floats("the thresholds")?);
    let &[rows, steps] = &x[1].shape[..] else {
        return Err(invalid(format!("the thresholds have shape {:?}, not [channels, steps]", x[1].shape)));
    };
    let axis = match attributes.text("data_layout", "NCHW")? {
        "NC" | "NCW" | "NCHW" => 1,
        "NWC" | "NHWC" => x[0].rank().saturating_sub(1),
        other => return Err(unsupported(format!("data_layout {other}"))),
    };
    let channels = *x[0].shape.get(axis).ok_or_else(|| invalid("the input has no channel axis (axis 1)"))?;
    if rows != 1 && rows != channels {
        return Err(invalid(format!("thresholds for {rows} channels where the input has {channels}")));
    }
    let inner: usize = x[0].shape[axis + 1..].iter().product();
    let out = values.iter().enumerate().map(|(i, v)| {
        let row = if rows == 1 { 0 } else { i / inner % channels };
        let count = thresholds[row * steps..][..steps].iter().filter(|t| v >= t).count();
        scale * count as f32 + bias
    });
    Ok(vec![Tensor { shape: x[0].shape.clone(), data: Data::Float(out.collect()) }])
}

fn multi_threshold_levels(attributes: &Attributes, x: &[Option<&Tensor>]) -> Result<Levels> {
    let steps = constant(x, 1, "thresholds")?.shape.get(1).copied().unwrap_or(0);
    let (scale, bias) = (attributes.float("out_scale", 1.0)?, attributes.float("out_bias", 0.0)?);
    if steps != 1 {
        return Err(unfit(format!("{steps} thresholds a channel")));
    }
    let (low, high) = (bias, scale + bias);
    if low != -high {
        return Err(unfit(format!("levels {low} and {high} (out_scale {scale}, out_bias {bias})")));
    }
    Ok(Levels::Bipolar { scale: high })
}

fn sign(_: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let sign = |v: &f32| match *v {
        v if v > 0.0 => 1.0,
        v if v < 0.0 => -1.0,
        0.0 => 0.0,
        v => v,
    };
    let out = x[0].floats("the input")?.iter().map(sign).collect();
    Ok(vec![Tensor { shape: x[0].shape.clone(), data: Data::Float(out) }])
}

fn constant<'a>(x: &[Option<&'a Tensor>], input: usize, what: &str) -> Result<&'a Tensor> {
    x.get(input)
        .copied()
        .flatten()
        .ok_or_else(|| unsupported(format!("the {what} is computed from the graph's input")))
}

fn unfit(fact: String) -> Diagnostics {
    Diagnostic::new(&ACTIVATION_UNSUPPORTED, fact)
        .help("1-bit activations are supported: two levels -s and +s with one s for all channels (BipolarQuant, or MultiThreshold with one threshold, out_scale 2 and out_bias -1)")
        .into()
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;
    use crate::import::attributes::Attribute;

    fn run(domain: &str, name: &str, attributes: &Attributes, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok((find(domain, name).unwrap().eval)(attributes, inputs)?.remove(0))
    }

    #[test]
    fn zero_of_either_sign_is_plus_one() {
        let x = Tensor::vector(vec![0.0, -0.0, -1e-45, 2.0, f32::NAN]);
        for domain in QUANTISED {
            let y = run(domain, "BipolarQuant", &Attributes::new(1), &[&x, &Tensor::scalar(0.5)]).unwrap();
            let y = y.floats("").unwrap().to_vec();
            assert_eq!(y[..4], [0.5, 0.5, -0.5, 0.5]);
            assert!(y[4].is_nan());
        }
    }

    #[test]
    fn thresholds_count_inclusively_per_channel_or_shared() {
        let bipolar = Attributes::new(1)
            .with("out_scale", Attribute::Float(2.0))
            .with("out_bias", Attribute::Float(-1.0));
        let x = Tensor::new(vec![1, 2], Data::Float(vec![3.0, 3.0])).unwrap();
        let own = Tensor::new(vec![2, 1], Data::Float(vec![3.0, 3.5])).unwrap();
        let domain = QUANTISED[1];
        assert_eq!(
            run(domain, "MultiThreshold", &bipolar, &[&x, &own]).unwrap().data,
            Data::Float(vec![1.0, -1.0])
        );
        let shared = Tensor::new(vec![1, 3], Data::Float(vec![0.0, 3.0, 9.0])).unwrap();
        let counts = run(domain, "MultiThreshold", &Attributes::new(1), &[&x, &shared]).unwrap();
        assert_eq!(counts.data, Data::Float(vec![2.0, 2.0]));
        let last = Attributes::new(1).with("data_layout", Attribute::String("NHWC".into()));
        let image = Tensor::new(vec![1, 2, 1, 2], Data::Float(vec![3.2; 4])).unwrap();
        let y = run(domain, "MultiThreshold", &last, &[&image, &own]).unwrap();
        assert_eq!(y.data, Data::Float(vec![1.0, 0.0, 1.0, 0.0]));
        let three = Tensor::new(vec![3, 1], Data::Float(vec![0.0; 3])).unwrap();
        assert!(run(domain, "MultiThreshold", &bipolar, &[&x, &three]).is_err());
    }

    #[test]
    fn levels_are_two_and_symmetric_or_refused() {
        let t = Tensor::new(vec![1, 1], Data::Float(vec![0.0])).unwrap();
        let at = |scale, bias, t: &Tensor| {
            let a = Attributes::new(1)
                .with("out_scale", Attribute::Float(scale))
                .with("out_bias", Attribute::Float(bias));
            multi_threshold_levels(&a, &[None, Some(t)])
        };
        assert_eq!(at(2.0, -1.0, &t).unwrap(), Levels::Bipolar { scale: 1.0 });
        assert_eq!(at(-2.0, 1.0, &t).unwrap(), Levels::Bipolar { scale: -1.0 });
        assert!(at(1.0, 0.0, &t).is_err());
        assert!(at(2.0, -1.0, &Tensor::new(vec![1, 2], Data::Float(vec![0.0; 2])).unwrap()).is_err());
        let uneven = Tensor::vector(vec![1.0, 2.0]);
        assert!(bipolar_levels(&Attributes::new(1), &[None, Some(&uneven)]).is_err());
    }
}
