//! Operators on shapes and indices, and constants.

use crate::diagnostic::Result;
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::operator::{ONNX, Operator, Role, axis, invalid, list, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Constant",
        domains: ONNX,
        inputs: (0, 0),
        attributes: &["value", "value_float", "value_floats", "value_int", "value_ints"],
        role: Role::Constant,
        eval: constant,
    },
    Operator {
        name: "ConstantOfShape",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &["value"],
        role: Role::Constant,
        eval: constant_of_shape,
    },
    Operator {
        name: "Range",
        domains: ONNX,
        inputs: (3, 3),
        attributes: &[],
        role: Role::Constant,
        eval: range,
    },
    Operator {
        name: "Shape",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &["start", "end"],
        role: Role::Constant,
        eval: shape,
    },
    Operator {
        name: "Gather",
        domains: ONNX,
        inputs: (2, 2),
        attributes: &["axis"],
        role: Role::Select,
        eval: gather,
    },
    Operator {
        name: "Concat",
        domains: ONNX,
        inputs: (1, 1024),
        attributes: &["axis"],
        role: Role::Host,
        eval: concat,
    },
    Operator {
        name: "Expand",
        domains: ONNX,
        inputs: (2, 2),
        attributes: &[],
        role: Role::Host,
        eval: expand,
    },
    Operator {
        name: "ArgMax",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &["axis", "keepdims", "select_last_index"],
        role: Role::Host,
        eval: arg_max,
    },
    Operator {
        name: "TopK",
        domains: ONNX,
        inputs: (1, 2),
        attributes: &["axis", "k", "largest", "sorted"],
        role: Role::Host,
        eval: top_k,
    },
];

fn constant(attributes: &Attributes, _: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut given = attributes.names().filter_map(|name| attributes.get(name));
    let tensor = match (given.next(), given.next()) {
        (Some(Attribute::Tensor(t)), None) => t.clone(),
        (Some(Attribute::Float(v)), None) => Tensor::scalar(*v),
        (Some(Attribute::Floats(v)), None) => Tensor::vector(v.clone()),
        (Some(Attribute::Int(v)), None) => Tensor { shape: Vec::new(), data: Data::Int(vec![*v]) },
        (Some(Attribute::Ints(v)), None) => Tensor::integers(v.clone()),
        _ => return Err(unsupported("the constant is not one tensor, float or integer list")),
    };
    Ok(vec![tensor])
}

/// Equal elements, float32 zeros if no value is given.
fn constant_of_shape(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let extent = |&e: &i64| usize::try_from(e).map_err(|_| invalid(format!("an extent is {e}")));
    let shape = x[0].ints("the shape")?.iter().map(extent).collect::<Result<Vec<_>>>()?;
    let count = tensor::elements(&shape)?;
    let data = match attributes.get("value") {
        None => Data::Float(vec![0.0; count]),
        Some(Attribute::Tensor(t)) if t.len() == 1 => t.data.pick(std::iter::repeat_n(0, count)),
        Some(_) => return Err(invalid("the value is not a tensor of one element")),
    };
    Ok(vec![Tensor { shape, data }])
}

/// The integers from the first operand to before the second, by steps of the third.
fn range(_: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut parts = [0; 3];
    for (part, tensor) in parts.iter_mut().zip(x) {
        match tensor.ints("a bound of Range")? {
            [one] => *part = *one,
            more => return Err(invalid(format!("a bound of Range has {} elements, not one", more.len()))),
        }
    }
    let [start, limit, delta] = parts.map(i128::from);
    if delta == 0 {
        return Err(invalid("Range by steps of 0"));
    }
    let count =
        usize::try_from(((limit - start).abs() + delta.abs() - 1) / delta.abs()).unwrap_or(usize::MAX);
    let count = if (limit - start).signum() == delta.signum() { count } else { 0 };
    tensor::elements(&[count])?;
    Ok(vec![Tensor::integers((0..count as i128).map(|i| (start + i * delta) as i64).collect())])
}

fn shape(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let rank = x[0].rank() as i64;
    let clamp = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let (start, end) = (clamp(attributes.int("start", 0)?), clamp(attributes.int("end", rank)?));
    Ok(vec![Tensor::integers((start..end.max(start)).map(|i| x[0].shape[i] as i64).collect())])
}

/// The products of the extents before `axis`, of `axis` itself, and after it.
fn split(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

fn gather(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let (data, at) = (x[0], x[1]);
    let axis = axis(attributes.int("axis", 0)?, data.rank())?;
    let extent = data.shape[axis];
    let picks: Vec<usize> = at
        .ints("indices")?
        .iter()
        .map(|&i| crate::graph::operator::axis(i, extent))
        .collect::<Result<_>>()
        .map_err(|_| invalid(format!("an index is outside axis {axis} of extent {extent}")))?;
    let shape = [&data.shape[..axis], &at.shape, &data.shape[axis + 1..]].concat();
    tensor::elements(&shape)?;
    Ok(vec![Tensor { shape, data: along(data, axis, &picks) }])
}

/// The slices `picks` of `x` along `axis`, in that order. Every index is below the axis's extent.
pub(crate) fn along(x: &Tensor, axis: usize, picks: &[usize]) -> Data {
    let (outer, extent, inner) = split(&x.shape, axis);
    x.data.pick(
        (0..outer).flat_map(|o| {
            picks.iter().flat_map(move |&p| (0..inner).map(move |i| (o * extent + p) * inner + i))
        }),
    )
}

fn concat(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let Some(Attribute::Int(at)) = attributes.get("axis") else {
        return Err(invalid("the axis is not given"));
    };
    let at = axis(*at, x[0].rank())?;
    let mut shape = x[0].shape.clone();
    shape[at] = 0;
    for part in x {
        let fits =
            part.rank() == shape.len() && (0..shape.len()).all(|i| i == at || part.shape[i] == shape[i]);
        if !fits {
            return Err(invalid(format!(
                "shapes {:?} and {:?} do not join on axis {at}",
                x[0].shape, part.shape
            )));
        }
        shape[at] = shape[at].saturating_add(part.shape[at]);
    }
    tensor::elements(&shape)?;
    let outer: usize = shape[..at].iter().product();
    let runs = |part: &Tensor, o: usize| {
        let run = part.len() / outer.max(1);
        o * run..(o + 1) * run
    };
    let data = match &x[0].data {
        Data::Float(_) => {
            let parts = x.iter().map(|t| t.floats("a part")).collect::<Result<Vec<_>>>()?;
            let all = (0..outer).flat_map(|o| x.iter().zip(&parts).flat_map(move |(t, v)| &v[runs(t, o)]));
            Data::Float(all.copied().collect())
        }
        Data::Int(_) => {
            let parts = x.iter().map(|t| t.ints("a part")).collect::<Result<Vec<_>>>()?;
            let all = (0..outer).flat_map(|o| x.iter().zip(&parts).flat_map(move |(t, v)| &v[runs(t, o)]));
            Data::Int(all.copied().collect())
        }
    };
    Ok(vec![Tensor { shape, data }])
}

/// Repeats along axes, as broadcasting with a tensor of the given shape does.
fn expand(_: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let extent = |&e: &i64| usize::try_from(e).map_err(|_| invalid(format!("an extent is {e}")));
    let wanted = x[1].ints("the shape")?.iter().map(extent).collect::<Result<Vec<_>>>()?;
    let shape = tensor::broadcast(&x[0].shape, &wanted)?;
    let data = x[0].data.pick(tensor::broadcast_indices(&x[0].shape, &shape));
    Ok(vec![Tensor { shape, data }])
}

/// The index of the first of equal maxima, or of the last with `select_last_index`.
fn arg_max(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let at = axis(attributes.int("axis", 0)?, x[0].rank())?;
    let keep = attributes.int("keepdims", 1)? != 0;
    let last = attributes.int("select_last_index", 0)? != 0;
    let (outer, extent, inner) = split(&x[0].shape, at);
    if extent == 0 {
        return Err(invalid(format!("axis {at} is empty")));
    }
    let values = x[0].floats("the input")?;
    let mut best = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let value = |k: usize| values[(o * extent + k) * inner + i];
            let better =
                |k: usize, than: usize| if last { value(k) >= value(than) } else { value(k) > value(than) };
            best.push((1..extent).fold(0, |b, k| if better(k, b) { k } else { b }) as i64);
        }
    }
    let mut shape = x[0].shape.clone();
    if keep {
        shape[at] = 1
    } else {
        shape.remove(at);
    }
    Ok(vec![Tensor { shape, data: Data::Int(best) }])
}

/// Values and indices of the K largest (or smallest) elements; of equal elements the lower index comes first.
fn top_k(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let at = axis(attributes.int("axis", -1)?, x[0].rank())?;
    let (outer, extent, inner) = split(&x[0].shape, at);
    let k = match list(attributes, "none", x, 1)? {
        Some([k]) => *k,
        Some(_) => return Err(invalid("K is not one number")),
        None => attributes.int("k", -1)?,
    };
    let k = usize::try_from(k)
        .ok()
        .filter(|k| *k <= extent)
        .ok_or_else(|| invalid(format!("K = {k} of {extent}")))?;
    let largest = attributes.int("largest", 1)? != 0;
    let values = x[0].floats("the input")?;
    let mut shape = x[0].shape.clone();
    shape[at] = k;
    let total = outer * k * inner;
    let (mut best, mut indices) = (vec![0.0; total], vec![0; total]);
    let mut order: Vec<usize> = Vec::new();
    for o in 0..outer {
        for i in 0..inner {
            let value = |k: usize| values[(o * extent + k) * inner + i];
            order.clear();
            order.extend(0..extent);
            order.sort_by(|&a, &b| {
                let up = value(a).total_cmp(&value(b));
                // -0 and +0 are equal, as in the runtimes.
                let up = if value(a) == value(b) { std::cmp::Ordering::Equal } else { up };
                (if largest { up.reverse() } else { up }).then(a.cmp(&b))
            });
            for (rank, &from) in order[..k].iter().enumerate() {
                best[(o * k + rank) * inner + i] = value(from);
                indices[(o * k + rank) * inner + i] = from as i64;
            }
        }
    }
    Ok(vec![
        Tensor { shape: shape.clone(), data: Data::Float(best) },
        Tensor { shape, data: Data::Int(indices) },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::find;

    fn run(name: &str, attributes: &[(&str, i64)], inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let mut a = Attributes::new(9);
        for (name, value) in attributes {
            a.insert(name, Attribute::Int(*value));
        }
        (find("", name).unwrap().eval)(&a, inputs)
    }

    #[test]
    fn the_shape_chain_of_an_exported_view() {
        let x = Tensor::zeros(&[1, 1, 28, 28]).unwrap();
        let shape = run("Shape", &[], &[&x]).unwrap().remove(0);
        assert_eq!(shape, Tensor::integers(vec![1, 1, 28, 28]));
        let zero = Tensor { shape: vec![], data: Data::Int(vec![0]) };
        let batch = run("Gather", &[("axis", 0)], &[&shape, &zero]).unwrap().remove(0);
        assert_eq!(batch, Tensor { shape: vec![], data: Data::Int(vec![1]) });
        let both = [&Tensor::integers(vec![1]), &Tensor::integers(vec![-1])];
        assert_eq!(run("Concat", &[("axis", 0)], &both).unwrap()[0], Tensor::integers(vec![1, -1]));
    }

    #[test]
    fn expand_repeats_along_axes() {
        let x = Tensor::new(vec![2, 1], Data::Int(vec![3, 4])).unwrap();
        let wide = run("Expand", &[], &[&x, &Tensor::integers(vec![1, 1, 2])]).unwrap().remove(0);
        assert_eq!((wide.shape, wide.data), (vec![1, 2, 2], Data::Int(vec![3, 3, 4, 4])));
        assert!(run("Expand", &[], &[&x, &Tensor::integers(vec![3, 1])]).is_err());
        assert!(run("Expand", &[], &[&x, &Tensor::integers(vec![1 << 40])]).is_err());
    }

    #[test]
    fn constants_of_a_shape_and_ranges() {
        let shape = Tensor::integers(vec![2, 1]);
        assert_eq!(run("ConstantOfShape", &[], &[&shape]).unwrap()[0], Tensor::zeros(&[2, 1]).unwrap());
        let one = Attributes::new(9).with("value", Attribute::Tensor(Tensor::integers(vec![7])));
        let sevens = (find("", "ConstantOfShape").unwrap().eval)(&one, &[&shape]).unwrap().remove(0);
        assert_eq!((sevens.shape, sevens.data), (vec![2, 1], Data::Int(vec![7, 7])));
        assert!(run("ConstantOfShape", &[], &[&Tensor::integers(vec![-1])]).is_err());
        assert!(run("ConstantOfShape", &[], &[&Tensor::integers(vec![1 << 40])]).is_err());
        let of = |a, b, c| run("Range", &[], &[a, b, c].map(|v| Tensor::integers(vec![v])).each_ref());
        assert_eq!(of(1, 8, 3).unwrap()[0], Tensor::integers(vec![1, 4, 7]));
        assert_eq!(of(2, -1, -1).unwrap()[0], Tensor::integers(vec![2, 1, 0]));
        assert_eq!(of(2, -1, 1).unwrap()[0], Tensor::integers(vec![]));
        assert!(of(0, 1, 0).is_err() && of(i64::MIN, i64::MAX, 1).is_err());
    }

    #[test]
    fn gather_and_concat_work_on_any_axis() {
        let x = Tensor::new(vec![2, 3], Data::Int((0..6).collect())).unwrap();
        let picked = run("Gather", &[("axis", 1)], &[&x, &Tensor::integers(vec![2, -3])]).unwrap();
        assert_eq!(picked[0].data, Data::Int(vec![2, 0, 5, 3]));
        assert!(run("Gather", &[], &[&x, &Tensor::integers(vec![2])]).is_err());
        let wide = run("Concat", &[("axis", 1)], &[&x, &picked[0]]).unwrap();
        assert_eq!(wide[0].data, Data::Int(vec![0, 1, 2, 2, 0, 3, 4, 5, 5, 3]));
        assert!(run("Concat", &[("axis", 0)], &[&x, &picked[0]]).is_err());
    }

    #[test]
    fn of_equal_values_the_first_wins() {
        let x = Tensor::new(vec![1, 5], Data::Float(vec![1.0, 3.0, -0.0, 3.0, 0.0])).unwrap();
        let top = run("TopK", &[], &[&x, &Tensor::integers(vec![4])]).unwrap();
        assert_eq!(top[0].data, Data::Float(vec![3.0, 3.0, 1.0, -0.0]));
        assert_eq!(top[1].data, Data::Int(vec![1, 3, 0, 2]));
        assert_eq!(run("ArgMax", &[("axis", 1)], &[&x]).unwrap()[0].data, Data::Int(vec![1]));
        let last = run("ArgMax", &[("axis", 1), ("keepdims", 0), ("select_last_index", 1)], &[&x]).unwrap();
        assert_eq!((&last[0].shape, &last[0].data), (&vec![1], &Data::Int(vec![3])));
        assert!(run("TopK", &[], &[&x, &Tensor::integers(vec![6])]).is_err());
    }
}
