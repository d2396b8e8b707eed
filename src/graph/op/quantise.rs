//! Quantisers with few levels: BipolarQuant, MultiThreshold and Sign.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::operator::{
    Codes, Levels, ONNX, Operator, QUANTISED, Quantiser, Role, constant, invalid, numbers, unfit, unsupported,
};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

/// Upper bound (exclusive) on the thresholds per channel that are listed as levels.
const MAX_STEPS: usize = 1 << 16;

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "BipolarQuant",
        domains: QUANTISED,
        inputs: (2, 2),
        attributes: &[],
        role: Role::Quantiser(Quantiser { levels: bipolar_levels, codes: Some(bipolar_codes) }),
        eval: bipolar,
    },
    Operator {
        name: "MultiThreshold",
        domains: QUANTISED,
        inputs: (2, 2),
        attributes: &["out_scale", "out_bias", "out_dtype", "data_layout"],
        role: Role::Quantiser(Quantiser { levels: multi_threshold_levels, codes: None }),
        eval: multi_threshold,
    },
    Operator {
        name: "Sign",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &[],
        // Three levels: the sign of 0 is 0.
        role: Role::Quantiser(Quantiser { levels: |_, _| Ok(Some(sign_levels())), codes: None }),
        eval: sign,
    },
];

/// scale * (x >= 0 ? +1 : -1); NaN stays NaN.
fn bipolar(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let Codes { integers, scales, .. } = bipolar_codes(attributes, x)?;
    let out = integers.floats("the signs")?.iter().zip(scales.floats("the scale")?).map(|(i, s)| i * s);
    Ok(vec![Tensor { shape: integers.shape.clone(), data: Data::Float(out.collect()) }])
}

fn bipolar_codes(_: &Attributes, x: &[&Tensor]) -> Result<Codes> {
    let (values, scale) = (x[0].floats("the input")?, x[1].floats("the scale")?);
    let sign = |v: f32| match v {
        v if v >= 0.0 => 1.0,
        v if v < 0.0 => -1.0,
        v => v,
    };
    let (shape, integers) = tensor::zip((&x[0].shape, values), (&x[1].shape, scale), |v, _| sign(v))?;
    let (_, scales) = tensor::zip((&x[0].shape, values), (&x[1].shape, scale), |_, s| s)?;
    let tensor = |v| Tensor { shape: shape.clone(), data: Data::Float(v) };
    Ok(Codes { integers: tensor(integers), scales: tensor(scales), rounding: None })
}

fn bipolar_levels(_: &Attributes, x: &[Option<&Tensor>]) -> Result<Option<Levels>> {
    let scale = numbers(constant(x, 1, "scale")?).into_owned();
    let values = scale.clone();
    let value = move |code: f32| {
        let data = Data::Float(values.floats("the scale")?.iter().map(|s| code * s).collect());
        Ok(Tensor { shape: values.shape.clone(), data })
    };
    Ok(Some(Levels { first: -1, step: 2, count: 2, scale: Some(scale), value: Box::new(value) }))
}

/// out_scale * (number of thresholds t with x >= t) + out_bias.
///
/// Thresholds have shape [channels or 1, steps]. Channels are axis 1, or the last axis if `data_layout` ends in C.
fn multi_threshold(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let scale = attributes.float("out_scale", 1.0)?;
    let bias = attributes.float("out_bias", 0.0)?;
    let (values, thresholds) = (x[0].floats("the input")?, x[1].floats("the thresholds")?);
    let &[rows, steps] = &x[1].shape[..] else {
        return Err(invalid(format!("the thresholds have shape {:?}, not [channels, steps]", x[1].shape)));
    };
    let axis = match attributes.text("data_layout", "")? {
        // Without `data_layout`, three axes are NWC.
        "" if x[0].rank() == 3 => 2,
        "" | "NC" | "NCW" | "NCHW" => 1,
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

fn multi_threshold_levels(attributes: &Attributes, x: &[Option<&Tensor>]) -> Result<Option<Levels>> {
    let steps = constant(x, 1, "thresholds")?.shape.get(1).copied().unwrap_or(0);
    let (scale, bias) = (attributes.float("out_scale", 1.0)?, attributes.float("out_bias", 0.0)?);
    if steps >= MAX_STEPS {
        return Err(unfit(format!("{steps} thresholds a channel")));
    }
    Ok(Some(Levels {
        first: 0,
        step: 1,
        count: steps + 1,
        scale: Some(Tensor::scalar(scale)),
        value: Box::new(move |count| Ok(Tensor::scalar(scale * count + bias))),
    }))
}

fn sign_levels() -> Levels {
    let value = Box::new(|code| Ok(Tensor::scalar(code)));
    Levels { first: -1, step: 1, count: 3, scale: Some(Tensor::scalar(1.0)), value }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

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
    fn levels_are_what_the_graph_gives() {
        let t = Tensor::new(vec![1, 3], Data::Float(vec![0.0; 3])).unwrap();
        let a = Attributes::new(1)
            .with("out_scale", Attribute::Float(0.5))
            .with("out_bias", Attribute::Float(-1.0));
        let levels = multi_threshold_levels(&a, &[None, Some(&t)]).unwrap().unwrap();
        let values: Vec<f32> =
            levels.codes().map(|c| (levels.value)(c as f32).unwrap().floats("").unwrap()[0]).collect();
        assert_eq!(values, [-1.0, -0.5, 0.0, 0.5]);
        let scale = Tensor::vector(vec![1.0, 2.0]);
        let levels = bipolar_levels(&Attributes::new(1), &[None, Some(&scale)]).unwrap().unwrap();
        assert_eq!((levels.value)(-1.0).unwrap(), Tensor::vector(vec![-1.0, -2.0]));
        assert!(bipolar_levels(&Attributes::new(1), &[None, None]).is_err());
    }

    #[test]
    fn three_axes_without_a_layout_have_their_channels_last() {
        let x = Tensor::new(vec![1, 1, 2], Data::Float(vec![1.0, 1.0])).unwrap();
        let own = Tensor::new(vec![2, 1], Data::Float(vec![0.0, 2.0])).unwrap();
        let y = run(QUANTISED[2], "MultiThreshold", &Attributes::new(1), &[&x, &own]).unwrap();
        assert_eq!(y.data, Data::Float(vec![1.0, 0.0]));
    }
}
