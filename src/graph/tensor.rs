//! Tensors of the model file and of the host's computation: row-major, float32 or integer.

use crate::diagnostic::{
    Diagnostic, MODEL_INVALID, MODEL_TOO_LARGE, OPERATOR_UNSUPPORTED, Result, SAVE_AGAIN,
};

/// Maximum number of elements of a tensor: 2^26, the weights of an 8192 x 8192 layer.
pub const MAX_ELEMENTS: usize = 1 << 26;

/// Maximum number of axes of a tensor.
pub const MAX_RANK: usize = 8;

/// A dense array, row-major. The product of `shape` is the number of elements.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Tensor {
    /// Extent of each axis; a scalar has none.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data,
}

/// Elements of a tensor.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// float32.
    Float(Vec<f32>),
    /// Any integer type up to 64 bits, and booleans as 0 and 1.
    Int(Vec<i64>),
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::Int(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of the type in diagnostics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Float(_) => "float32",
            Self::Int(_) => "integer",
        }
    }

    /// The elements at `indices`, in that order. Every index is below [`len`](Self::len).
    #[must_use]
    pub fn pick(&self, indices: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Float(v) => Self::Float(indices.map(|i| v[i]).collect()),
            Self::Int(v) => Self::Int(indices.map(|i| v[i]).collect()),
        }
    }
}

impl Tensor {
    /// A tensor of `shape` with the elements `data`.
    ///
    /// # Errors
    /// If the shape does not match the number of elements, or exceeds a limit.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Self> {
        let elements = elements(&shape)?;
        if elements != data.len() {
            return Err(Diagnostic::new(
                &MODEL_INVALID,
                format!("shape {shape:?} has {elements} elements, the data {}", data.len()),
            )
            .help(SAVE_AGAIN)
            .into());
        }
        Ok(Self { shape, data })
    }

    /// A float32 vector.
    pub fn vector(values: Vec<f32>) -> Self {
        Self { shape: vec![values.len()], data: Data::Float(values) }
    }

    /// An integer vector.
    pub fn integers(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Data::Int(values) }
    }

    /// A float32 scalar.
    pub fn scalar(value: f32) -> Self {
        Self { shape: Vec::new(), data: Data::Float(vec![value]) }
    }

    /// A float32 tensor of zeros.
    ///
    /// # Errors
    /// If the shape exceeds a limit.
    pub fn zeros(shape: &[usize]) -> Result<Self> {
        Ok(Self { shape: shape.to_vec(), data: Data::Float(vec![0.0; elements(shape)?]) })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The elements as float32. An error names the tensor `what`.
    pub fn floats(&self, what: &str) -> Result<&[f32]> {
        match &self.data {
            Data::Float(v) => Ok(v),
            Data::Int(_) => Err(wrong_type(what, "float32", "integer", "export the model in float32")),
        }
    }

    /// The elements as integers. An error names the tensor `what`.
    pub fn ints(&self, what: &str) -> Result<&[i64]> {
        match &self.data {
            Data::Int(v) => Ok(v),
            Data::Float(_) => Err(wrong_type(what, "integer", "float32", SAVE_AGAIN)),
        }
    }
}

fn wrong_type(what: &str, wanted: &str, found: &str, help: &str) -> crate::diagnostic::Diagnostics {
    Diagnostic::new(&OPERATOR_UNSUPPORTED, format!("{what} is {found}, not {wanted}")).help(help).into()
}

/// The number of elements of a tensor of `shape`.
///
/// # Errors
/// If the product of all extents exceeds [`MAX_ELEMENTS`], or the rank exceeds [`MAX_RANK`]. Extents of 0 count as 1 here, so
/// that no product of some extents overflows.
pub fn elements(shape: &[usize]) -> Result<usize> {
    let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    if product.is_some_and(|n| n <= MAX_ELEMENTS) && shape.len() <= MAX_RANK {
        return Ok(shape.iter().product());
    }
    Err(Diagnostic::new(
        &MODEL_TOO_LARGE,
        format!(
            "a tensor of shape {} is beyond the limit of {MAX_ELEMENTS} elements and {MAX_RANK} axes",
            brief(shape)
        ),
    )
    .help("export the model with tensors within the limit, a batch of 1 for example")
    .into())
}

fn brief(shape: &[usize]) -> String {
    if shape.len() <= MAX_RANK {
        format!("{shape:?}")
    } else {
        format!("{:?}... ({} axes)", &shape[..MAX_RANK], shape.len())
    }
}

/// The shape to which `a` and `b` broadcast by the rules of numpy and ONNX.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let axis = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |j| shape[j]);
    let mut out = Vec::with_capacity(rank);
    for i in 0..rank {
        out.push(match (axis(a, i), axis(b, i)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            (x, y) => {
                return Err(Diagnostic::new(
                    &MODEL_INVALID,
                    format!("shapes {a:?} and {b:?} do not broadcast: {x} against {y} on axis {i}"),
                )
                .help(SAVE_AGAIN)
                .into());
            }
        });
    }
    elements(&out)?;
    Ok(out)
}

/// For each element of a tensor of shape `to`, the flat index into a tensor of shape `from` that broadcasts to it.
pub fn broadcast_indices(from: &[usize], to: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let mut stride = 1;
    let mut steps = vec![0; to.len()];
    for (axis, &extent) in from.iter().enumerate().rev() {
        if extent != 1 {
            steps[axis + to.len() - from.len()] = stride;
        }
        stride *= extent;
    }
    indices(to.to_vec(), steps)
}

/// The flat indices of a row-major walk over `shape`, where a step along axis i adds `steps[i]`.
pub fn indices(shape: Vec<usize>, steps: Vec<usize>) -> impl Iterator<Item = usize> {
    let total: usize = shape.iter().product();
    let mut position = vec![0; shape.len()];
    let mut at = 0;
    (0..total).map(move |_| {
        let now = at;
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            at += steps[axis];
            if position[axis] < shape[axis] {
                break;
            }
            at -= steps[axis] * shape[axis];
            position[axis] = 0;
        }
        now
    })
}

/// Applies `f` to every pair of elements of `a` and `b` after broadcasting.
pub fn zip<T: Copy, U>(
    (a_shape, a): (&[usize], &[T]),
    (b_shape, b): (&[usize], &[T]),
    mut f: impl FnMut(T, T) -> U,
) -> Result<(Vec<usize>, Vec<U>)> {
    let shape = broadcast(a_shape, b_shape)?;
    let n: usize = shape.iter().product();
    let out = if a.len() == n && b.len() == n {
        a.iter().zip(b).map(|(&x, &y)| f(x, y)).collect()
    } else if let ([y], true) = (b, a.len() == n) {
        a.iter().map(|&x| f(x, *y)).collect()
    } else if let ([x], true) = (a, b.len() == n) {
        b.iter().map(|&y| f(*x, y)).collect()
    } else {
        broadcast_indices(a_shape, &shape)
            .zip(broadcast_indices(b_shape, &shape))
            .map(|(i, j)| f(a[i], b[j]))
            .collect()
    };
    Ok((shape, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert_eq!(elements(&[]).unwrap(), 1);
        assert_eq!(elements(&[2, 0, 3]).unwrap(), 0);
        assert!(elements(&[usize::MAX, usize::MAX]).is_err());
        assert!(elements(&[MAX_ELEMENTS, 2]).is_err());
        assert!(elements(&[0, MAX_ELEMENTS, 2]).is_err());
        assert!(elements(&[1; MAX_RANK + 1]).is_err());
        assert!(Tensor::new(vec![2, 2], Data::Int(vec![1, 2, 3])).is_err());
    }

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast(&[1, 64, 1], &[64, 1]).unwrap(), [1, 64, 1]);
        assert_eq!(broadcast(&[3, 1], &[4]).unwrap(), [3, 4]);
        assert_eq!(broadcast(&[1], &[]).unwrap(), [1]);
        assert!(broadcast(&[3], &[4]).is_err());
        assert!(broadcast(&[MAX_ELEMENTS, 1], &[1, 2]).is_err(), "an outer product is bounded too");
        let (shape, sums) = zip((&[2, 1], &[10, 20]), (&[3], &[1, 2, 3]), |a, b| a + b).unwrap();
        assert_eq!((shape, sums), (vec![2, 3], vec![11, 12, 13, 21, 22, 23]));
        let (shape, same) = zip((&[1], &[5]), (&[1, 1, 1], &[2]), |a, b| a - b).unwrap();
        assert_eq!((shape, same), (vec![1, 1, 1], vec![3]));
        let (shape, none) = zip((&[0], &[]), (&[1], &[1]), |a: i64, b| a - b).unwrap();
        assert_eq!((shape, none), (vec![0], vec![]));
    }
}
