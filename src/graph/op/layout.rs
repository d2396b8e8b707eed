//! Operators that move elements and change no value.

use crate::diagnostic::Result;
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::operator::{CONFIGURED, Eval, ONNX, Operator, Role, axis, invalid, list, unsupported};
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
    layout("DepthToSpace", (1, 1), &["blocksize", "mode"], depth_to_space),
    layout("SpaceToDepth", (1, 1), &["blocksize"], space_to_depth),
    Operator {
        name: "Interleave",
        domains: &[CONFIGURED],
        inputs: (1, 1),
        attributes: &["block", "groups"],
        role: Role::Layout,
        eval: interleave,
    },
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

/// `x` as a tensor of `split`, with axis i of the result axis `perm[i]`, and that as a tensor of `shape`.
fn rearranged(x: &Tensor, split: Vec<usize>, perm: &[i64], shape: Vec<usize>) -> Result<Vec<Tensor>> {
    let split = reshaped(x, split)?.remove(0);
    let perm = Attributes::new(1).with("perm", Attribute::Ints(perm.to_vec()));
    reshaped(&transpose(&perm, &[&split])?[0], shape)
}

/// The axes of images [N, C, H, W] and the extent of blocks, at least 1.
fn blocks(attributes: &Attributes, x: &Tensor) -> Result<([usize; 4], usize)> {
    let [n, c, h, w] = x.shape[..] else {
        return Err(unsupported(format!("blocks of shape {:?}; [N, C, H, W] is supported", x.shape)));
    };
    let block = attributes.int("blocksize", 0)?;
    let block = usize::try_from(block).ok().filter(|b| (1..=1024).contains(b));
    Ok(([n, c, h, w], block.ok_or_else(|| invalid("blocksize is not 1 to 1024"))?))
}

/// Channels become blocks of pixels: mode DCR has the channels of a pixel's place in its block together, CRD the places of a channel.
fn depth_to_space(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let ([n, c, h, w], b) = blocks(attributes, x[0])?;
    if !c.is_multiple_of(b * b) {
        return Err(invalid(format!("{c} channels are not blocks of {b} x {b} pixels")));
    }
    let depth = c / (b * b);
    let shape = vec![n, depth, h.saturating_mul(b), w.saturating_mul(b)];
    match attributes.text("mode", "DCR")? {
        "DCR" => rearranged(x[0], vec![n, b, b, depth, h, w], &[0, 3, 4, 1, 5, 2], shape),
        "CRD" => rearranged(x[0], vec![n, depth, b, b, h, w], &[0, 1, 4, 2, 5, 3], shape),
        other => Err(invalid(format!("mode {other}"))),
    }
}

/// Channels of each of `groups` groups become blocks of pixels, those of a place in the block together: DepthToSpace with a block of any
/// extents.
pub fn interleaved(x: &Tensor, groups: usize, block: &[usize]) -> Result<Tensor> {
    let (rank, axes) = (x.rank(), block.len());
    let places = block.iter().fold(groups, |n, b| n.saturating_mul(*b));
    if rank != axes + 2 || places == 0 || !x.shape[1].is_multiple_of(places) {
        return Err(invalid(format!(
            "channels of shape {:?} in {groups} groups are not blocks of {block:?}",
            x.shape
        )));
    }
    let depth = x.shape[1] / places;
    let split = [&[x.shape[0], groups][..], block, &[depth], &x.shape[2..]].concat();
    let pixels = (0..axes as i64).flat_map(|a| [3 + axes as i64 + a, 2 + a]);
    let perm: Vec<i64> = [0, 1, 2 + axes as i64].into_iter().chain(pixels).collect();
    let size = x.shape[2..].iter().zip(block).map(|(e, b)| e.saturating_mul(*b));
    let shape = [x.shape[0], groups * depth].into_iter().chain(size).collect();
    Ok(rearranged(x, split, &perm, shape)?.remove(0))
}

fn interleave(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let extent = |v: &i64| usize::try_from(*v).map_err(|_| invalid(format!("an extent of {v}")));
    let block: Vec<usize> =
        attributes.ints("block")?.unwrap_or_default().iter().map(extent).collect::<Result<_>>()?;
    Ok(vec![interleaved(x[0], extent(&attributes.int("groups", 1)?)?, &block)?])
}

/// Blocks of pixels become channels, those of a place in the block together.
fn space_to_depth(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let ([n, c, h, w], b) = blocks(attributes, x[0])?;
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return Err(invalid(format!("{h} x {w} pixels are not blocks of {b} x {b}")));
    }
    let shape = vec![n, c.saturating_mul(b * b), h / b, w / b];
    rearranged(x[0], vec![n, c, h / b, b, w / b, b], &[0, 3, 5, 1, 2, 4], shape)
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
    fn blocks_become_channels_and_channels_blocks() {
        let x = ramp(&[1, 4, 1, 2]);
        let block = Attributes::new(13).with("blocksize", Attribute::Int(2));
        let y = run("DepthToSpace", block.clone(), &[&x]).unwrap();
        assert_eq!((y.shape.clone(), &y.data), (vec![1, 1, 2, 4], &Data::Int(vec![0, 2, 1, 3, 4, 6, 5, 7])));
        assert_eq!(run("SpaceToDepth", block.clone(), &[&y]).unwrap(), x);
        let x = ramp(&[1, 8, 1, 1]);
        let mode = |mode: &str| block.clone().with("mode", Attribute::String(mode.into()));
        let of = |name: &str| run("DepthToSpace", mode(name), &[&x]).unwrap().data;
        assert_eq!(of("DCR"), Data::Int(vec![0, 2, 4, 6, 1, 3, 5, 7]));
        assert_eq!(of("CRD"), Data::Int(vec![0, 1, 2, 3, 4, 5, 6, 7]));
        assert!(run("DepthToSpace", mode("DRC"), &[&x]).is_err());
        assert!(run("SpaceToDepth", block, &[&x]).is_err());
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
