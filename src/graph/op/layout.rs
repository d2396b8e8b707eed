//! Operators that move elements and change no value.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::operator::{Eval, ONNX, Operator, Role, axis, invalid, list, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::Tensor;

pub(crate) const OPERATORS: &[Operator] = &[
    layout("Identity", (1, 1), &[], |_, x| Ok(vec![x[0].clone()])),
    layout("Dropout", (1, 3), &["ratio", "seed", "is_test"], dropout),
    layout("Reshape", (1, 2), &["shape", "allowzero"], reshape),
    layout("Flatten", (1, 1), &["axis"], flatten),
    layout("Transpose", (1, 1), &["perm"], transpose),
    layout("Unsqueeze", (1, 2), &["axes"], unsqueeze),
    layout("Squeeze", (1, 2), &["axes"], squeeze),
];

const fn layout(
    name: &'static str,
    inputs: (usize, usize),
    attributes: &'static [&'static str],
    eval: Eval,
) -> Operator {
    Operator { name, domains: ONNX, inputs, attributes, role: Role::Layout, eval }
}

/// In inference Dropout is the identity; its second output is a mask of ones.
fn dropout(_: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    if let Some(training) = x.get(2).filter(|t| !t.is_empty())
        && training.ints("training_mode")?.iter().any(|&v| v != 0)
    {
        return Err(unsupported("training_mode is on; export the model in evaluation mode"));
    }
    let mask = Tensor { shape: x[0].shape.clone(), data: tensor::Data::Int(vec![1; x[0].len()]) };
    Ok(vec![x[0].clone(), mask])
}

fn reshaped(x: &Tensor, shape: Vec<usize>) -> Result<Vec<Tensor>> {
    if tensor::elements(&shape)? != x.len() {
        return Err(invalid(format!("shape {:?} does not become {shape:?}: {} elements", x.shape, x.len())));
    }
    Ok(vec![Tensor { shape, data: x.data.clone() }])
}

/// Extent 0 keeps the input's extent (unless `allowzero`); -1 is inferred from the number of elements.
fn reshape(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let keep = attributes.int("allowzero", 0)? == 0;
    let wanted = list(attributes, "shape", x, 1)?.ok_or_else(|| invalid("no shape is given"))?;
    if wanted.len() > tensor::MAX_RANK {
        return Err(unsupported(format!("{} axes; the limit is {}", wanted.len(), tensor::MAX_RANK)));
    }
    let mut shape = Vec::with_capacity(wanted.len());
    let mut rest = None;
    for (i, &extent) in wanted.iter().enumerate() {
        shape.push(match extent {
            0 if keep => *x[0].shape.get(i).ok_or_else(|| invalid(format!("no axis {i} to keep")))?,
            -1 if rest.is_none() => {
                rest = Some(i);
                1
            }
            _ => usize::try_from(extent).map_err(|_| invalid(format!("target shape {wanted:?}")))?,
        });
    }
    if let Some(i) = rest {
        let others = tensor::elements(&shape)?;
        if others == 0 || !x[0].len().is_multiple_of(others) {
            return Err(invalid(format!("shape {:?} does not divide into {wanted:?}", x[0].shape)));
        }
        shape[i] = x[0].len() / others;
    }
    reshaped(x[0], shape)
}

fn flatten(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let shape = &x[0].shape;
    let at = match attributes.int("axis", 1)? {
        end if end == shape.len() as i64 => shape.len(),
        other => axis(other, shape.len())?,
    };
    let (outer, inner) = shape.split_at(at);
    reshaped(x[0], vec![outer.iter().product(), inner.iter().product()])
}

/// Output axis i is input axis `perm[i]`; by default the axes are reversed.
fn transpose(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let x = x[0];
    let perm: Vec<usize> = match attributes.ints("perm")? {
        Some(perm) if perm.len() != x.rank() => {
            return Err(invalid(format!("perm has {} entries for {} axes", perm.len(), x.rank())));
        }
        Some(perm) => perm.iter().map(|&a| axis(a, x.rank())).collect::<Result<_>>()?,
        None => (0..x.rank()).rev().collect(),
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.rank()) {
        return Err(invalid(format!("perm {perm:?} is no permutation of {} axes", x.rank())));
    }
    let mut strides = vec![1; x.rank()];
    for i in (1..x.rank()).rev() {
        strides[i - 1] = strides[i] * x.shape[i];
    }
    let shape: Vec<usize> = perm.iter().map(|&a| x.shape[a]).collect();
    let steps = perm.iter().map(|&a| strides[a]).collect();
    let data = x.data.pick(tensor::indices(shape.clone(), steps));
    Ok(vec![Tensor { shape, data }])
}

fn unsqueeze(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let axes = list(attributes, "axes", x, 1)?.ok_or_else(|| invalid("no axes are given"))?;
    let rank = x[0].rank() + axes.len();
    if rank > tensor::MAX_RANK {
        return Err(unsupported(format!("{rank} axes; the limit is {}", tensor::MAX_RANK)));
    }
    let mut is_new = vec![false; rank];
    for &a in axes {
        if std::mem::replace(&mut is_new[axis(a, rank)?], true) {
            return Err(invalid(format!("axis {a} is given twice")));
        }
    }
    let mut old = x[0].shape.iter();
    reshaped(x[0], is_new.iter().filter_map(|&new| if new { Some(1) } else { old.next().copied() }).collect())
}

fn squeeze(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let shape = &x[0].shape;
    let mut gone: Vec<bool> = vec![false; shape.len()];
    match list(attributes, "axes", x, 1)? {
        Some(axes) => {
            for &a in axes {
                let a = axis(a, shape.len())?;
                if shape[a] != 1 {
                    return Err(invalid(format!("axis {a} has extent {}, not 1", shape[a])));
                }
                gone[a] = true;
            }
        }
        None => gone = shape.iter().map(|&d| d == 1).collect(),
    }
    reshaped(x[0], shape.iter().zip(gone).filter(|(_, gone)| !gone).map(|(d, _)| *d).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;
    use crate::graph::tensor::Data;

    fn run(name: &str, attributes: Attributes, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok((find("", name).unwrap().eval)(&attributes, inputs)?.remove(0))
    }

    fn ramp(shape: &[usize]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::Int((0..shape.iter().product::<usize>() as i64).collect())).unwrap()
    }

    fn given(name: &str, values: &[i64]) -> Attributes {
        Attributes::new(9).with(name, Attribute::Ints(values.to_vec()))
    }

    #[test]
    fn reshape_keeps_and_completes() {
        let x = ramp(&[2, 3, 4]);
        let to = |shape: &[i64]| run("Reshape", Attributes::new(9), &[&x, &Tensor::integers(shape.to_vec())]);
        assert_eq!(to(&[0, -1]).unwrap().shape, [2, 12]);
        assert_eq!(to(&[-1, 0]).unwrap().shape, [8, 3]);
        for bad in
            [&[5, -1][..], &[-1, -1], &[2, 3], &[i64::MAX, i64::MAX], &[-2, 12], &[0, 0, 0, 0], &[0; 100]]
        {
            assert!(to(bad).is_err(), "{bad:?}");
        }
        assert_eq!(run("Reshape", given("shape", &[24]), &[&x]).unwrap().shape, [24]);
    }

    #[test]
    fn transpose_moves_the_elements() {
        let t = run("Transpose", given("perm", &[2, 0, 1]), &[&ramp(&[2, 1, 3])]).unwrap();
        assert_eq!((t.shape, t.data), (vec![3, 2, 1], Data::Int(vec![0, 3, 1, 4, 2, 5])));
        assert!(run("Transpose", given("perm", &[0, 0]), &[&ramp(&[2, 2])]).is_err());
        assert_eq!(run("Transpose", Attributes::new(9), &[&ramp(&[2, 3])]).unwrap().shape, [3, 2]);
    }

    #[test]
    fn axes_come_and_go_as_attribute_or_input() {
        let x = ramp(&[1, 3]);
        let up = run("Unsqueeze", given("axes", &[3, -4]), &[&x]).unwrap();
        assert_eq!(up.shape, [1, 1, 3, 1]);
        let axes = Tensor::integers(vec![0, 3]);
        assert_eq!(run("Squeeze", Attributes::new(13), &[&up, &axes]).unwrap().shape, [1, 3]);
        assert_eq!(run("Squeeze", Attributes::new(13), &[&up]).unwrap().shape, [3]);
        assert!(run("Squeeze", given("axes", &[1]), &[&x]).is_err());
        assert!(run("Unsqueeze", given("axes", &[0, 0]), &[&x]).is_err());
        assert!(run("Unsqueeze", given("axes", &[0; 1000]), &[&x]).is_err());
    }

    #[test]
    fn flatten_splits_at_an_axis() {
        let x = ramp(&[2, 3, 4]);
        let at = |axis| {
            run("Flatten", Attributes::new(9).with("axis", Attribute::Int(axis)), &[&x]).map(|t| t.shape)
        };
        assert_eq!(at(0).unwrap(), [1, 24]);
        assert_eq!(at(-1).unwrap(), [6, 4]);
        assert_eq!(at(3).unwrap(), [24, 1]);
        assert!(at(4).is_err());
    }
}
