//! Tensors in all of ONNX's storage forms.

use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result, SAVE_AGAIN};
use crate::graph::dtype::{brain, half, type_name};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};
use crate::import::read::external::External;
use crate::import::read::limits::{MAX_FIELDS, limit, name, pair};
use crate::import::read::wire::fields;

/// A constant tensor of the file.
#[derive(Debug)]
pub struct Constant {
    /// The tensor's name.
    pub name: String,
    /// The tensor.
    pub tensor: Tensor,
    /// The ONNX code of the element type.
    pub kind: i64,
}

/// Parses a `TensorProto` in any of ONNX's storage forms. External data is read from `external`.
///
/// # Errors
/// If the tensor is malformed, too large or of an unsupported type. The diagnostic names the tensor.
pub fn read(message: &[u8], external: &External) -> Result<Constant> {
    let mut title = "";
    let mut parts = TensorFields::default();
    for field in fields(message) {
        match field? {
            (1, value) => {
                value.ints(&mut parts.dims)?;
                limit("axes", parts.dims.len(), MAX_FIELDS)?;
            }
            (2, value) => parts.kind = value.int()?,
            (3, _) => parts.segmented = true,
            (4, value) => value.floats(&mut parts.floats)?,
            (5 | 7 | 11, value) => value.ints(&mut parts.ints)?,
            (8, value) => title = name(value)?,
            (9, value) => parts.raw = Some(value.bytes()?),
            (10, value) => value.doubles(&mut parts.doubles)?,
            (13, value) => {
                limit("keys of external data", parts.place.len(), MAX_FIELDS)?;
                parts.place.push(pair(value.bytes()?)?);
            }
            (14, value) => parts.external = value.int()? == 1,
            _ => {}
        }
    }
    let kind = parts.kind;
    match parts.assemble(external) {
        Ok(tensor) => Ok(Constant { name: title.to_owned(), tensor, kind }),
        Err(found) if title.is_empty() => Err(found),
        Err(found) => Err(found.placed(&format!("tensor {title}"))),
    }
}

/// The fields of a `TensorProto`.
#[derive(Default)]
struct TensorFields<'a> {
    dims: Vec<i64>,
    kind: i64,
    segmented: bool,
    external: bool,
    /// Location of external data, as key-value pairs.
    place: Vec<(&'a str, &'a str)>,
    floats: Vec<f32>,
    doubles: Vec<f64>,
    ints: Vec<i64>,
    raw: Option<&'a [u8]>,
}

impl TensorFields<'_> {
    fn assemble(self, external: &External) -> Result<Tensor> {
        if self.segmented {
            return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, "the data is split into segments")
                .help("save the model with whole tensors")
                .into());
        }
        let shape = self.dims.iter().map(|&d| usize::try_from(d)).collect::<std::result::Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| {
            Diagnostic::new(&MODEL_INVALID, format!("shape {:?} has an illegal extent", self.dims))
                .help(SAVE_AGAIN)
        })?;
        // The size is checked before any allocation of that size.
        let count = tensor::elements(&shape)?;
        if self.external {
            let raw = external.read(&self.place, bytes(self.kind, count)?)?;
            return Tensor::new(shape, from_raw(self.kind, &raw, count)?);
        }
        let data = match self.raw {
            Some(raw) => from_raw(self.kind, raw, count)?,
            // Numbers of 64 bits become the nearest float32.
            None if self.kind == 11 => Data::Float(self.doubles.iter().map(|&v| v as f32).collect()),
            None => from_typed(self.kind, self.floats, self.ints, count)?,
        };
        Tensor::new(shape, data)
    }
}

/// Bit width and signedness of an element type with several elements per byte; `None` for other types.
fn packed(kind: i64) -> Option<(u32, bool)> {
    match kind {
        21 => Some((4, false)),
        22 => Some((4, true)),
        25 => Some((2, false)),
        26 => Some((2, true)),
        _ => None,
    }
}

/// Size of `count` elements in bytes.
fn bytes(kind: i64, count: usize) -> Result<usize> {
    Ok(match kind {
        2 | 3 | 9 => count,
        4 | 5 | 10 | 16 => count * 2,
        1 | 6 | 12 => count * 4,
        7 | 11 => count * 8,
        _ => match packed(kind) {
            Some((bits, _)) => (count * bits as usize).div_ceil(8),
            None => return Err(type_unsupported(kind)),
        },
    })
}

/// Unpacks the first `count` elements of bytes with several elements each, lowest bits first.
fn unpack(raw: impl Iterator<Item = u8>, (bits, signed): (u32, bool), count: usize) -> Data {
    let unused = 64 - bits;
    let element = |byte: u8, at: u32| {
        let top = u64::from(byte >> (at * bits)) << unused;
        if signed { top as i64 >> unused } else { (top >> unused) as i64 }
    };
    Data::Int(raw.flat_map(|byte| (0..8 / bits).map(move |at| element(byte, at))).take(count).collect())
}

/// Rejects `found` bytes if `count` elements have another size.
fn fill(kind: i64, count: usize, found: usize) -> Result<()> {
    let wanted = bytes(kind, count)?;
    if found == wanted {
        return Ok(());
    }
    let name = type_name(kind);
    let message = format!("{count} elements of {name} need {wanted} bytes, the file gives {found}");
    Err(Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into())
}

fn from_raw(kind: i64, raw: &[u8], count: usize) -> Result<Data> {
    fn ints<const N: usize>(raw: &[u8], f: impl Fn([u8; N]) -> i64) -> Data {
        Data::Int(raw.as_chunks().0.iter().map(|b| f(*b)).collect())
    }
    fill(kind, count, raw.len())?;
    if let Some(form) = packed(kind) {
        return Ok(unpack(raw.iter().copied(), form, count));
    }
    Ok(match kind {
        1 => Data::Float(raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        2 => ints(raw, |b| u8::from_le_bytes(b).into()),
        3 => ints(raw, |b| i8::from_le_bytes(b).into()),
        4 => ints(raw, |b| u16::from_le_bytes(b).into()),
        5 => ints(raw, |b| i16::from_le_bytes(b).into()),
        6 => ints(raw, |b| i32::from_le_bytes(b).into()),
        7 => ints(raw, i64::from_le_bytes),
        9 => ints(raw, |[b]| i64::from(b != 0)),
        10 => Data::Float(raw.as_chunks().0.iter().map(|b| half(u16::from_le_bytes(*b))).collect()),
        11 => Data::Float(raw.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()),
        16 => Data::Float(raw.as_chunks().0.iter().map(|b| brain(u16::from_le_bytes(*b))).collect()),
        _ => ints(raw, |b| u32::from_le_bytes(b).into()),
    })
}

fn from_typed(kind: i64, floats: Vec<f32>, ints: Vec<i64>, count: usize) -> Result<Data> {
    let (low, high) = match kind {
        1 => return Ok(Data::Float(floats)),
        2 => (0, u8::MAX.into()),
        3 => (i8::MIN.into(), i8::MAX.into()),
        4 => (0, u16::MAX.into()),
        5 => (i16::MIN.into(), i16::MAX.into()),
        6 => (i32::MIN.into(), i32::MAX.into()),
        7 => (i64::MIN, i64::MAX),
        9 => (0, 1),
        // The bits of numbers of 16 bits.
        10 | 16 => (0, u16::MAX.into()),
        12 => (0, u32::MAX.into()),
        // Bytes with several elements each.
        _ if packed(kind).is_some() => (0, u8::MAX.into()),
        _ => return Err(type_unsupported(kind)),
    };
    match ints.iter().find(|v| !(low..=high).contains(*v)) {
        Some(v) => {
            Err(Diagnostic::new(&MODEL_INVALID, format!("{v} is outside the element type's {low} .. {high}"))
                .help(SAVE_AGAIN)
                .into())
        }
        None if kind == 10 => Ok(Data::Float(ints.iter().map(|&bits| half(bits as u16)).collect())),
        None if kind == 16 => Ok(Data::Float(ints.iter().map(|&bits| brain(bits as u16)).collect())),
        None => match packed(kind) {
            Some(form) => {
                fill(kind, count, ints.len())?;
                Ok(unpack(ints.iter().map(|&byte| byte as u8), form, count))
            }
            None => Ok(Data::Int(ints)),
        },
    }
}

fn type_unsupported(kind: i64) -> Diagnostics {
    Diagnostic::new(
        &OPERATOR_UNSUPPORTED,
        format!(
            "elements of {} are not supported; float16 to float64, bool and integers to 64 bits, but for uint64, are",
            type_name(kind)
        ),
    )
    .help("export the model in float32")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8]) -> Result<(String, Tensor)> {
        crate::import::read::constant::read(message, &External::none()).map(|c| (c.name, c.tensor))
    }

    /// A message of one-byte fields: (field number, bytes) of wire type 2.
    fn message(kind: u8, dims: &[u8], parts: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = vec![0x10, kind, 0x0a, dims.len() as u8];
        out.extend(dims);
        for (field, bytes) in parts {
            out.extend([field << 3 | 2, bytes.len() as u8]);
            out.extend(*bytes);
        }
        out
    }

    #[test]
    fn raw_and_typed_forms_give_the_same() {
        let minus_two = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let wanted = Tensor::integers(vec![-2]);
        for (kind, raw) in [(3, &[0xfe][..]), (5, &[0xfe, 0xff]), (6, &[0xfe, 0xff, 0xff, 0xff])] {
            assert_eq!(read(&message(kind, &[1], &[(9, raw)])).unwrap().1, wanted, "raw type {kind}");
            assert_eq!(read(&message(kind, &[1], &[(5, &minus_two)])).unwrap().1, wanted, "typed {kind}");
        }
        assert_eq!(read(&message(7, &[1], &[(7, &minus_two)])).unwrap().1, wanted);
        let half = Tensor::new(vec![1, 1], Data::Float(vec![0.5])).unwrap();
        for field in [4, 9] {
            let (name, read) =
                read(&message(1, &[1, 1], &[(field, &[0, 0, 0, 0x3f]), (8, b"half")])).unwrap();
            assert_eq!((name.as_str(), &read), ("half", &half));
        }
        assert_eq!(read(&message(9, &[2], &[(9, &[0, 7])])).unwrap().1, Tensor::integers(vec![0, 1]));
        assert_eq!(read(&message(1, &[], &[(9, &[0; 4])])).unwrap().1, Tensor::scalar(0.0));
    }

    #[test]
    fn sizes_and_types_must_agree() {
        let said = |message: &[u8]| read(message).unwrap_err().to_string();
        assert!(said(&message(7, &[2], &[(9, &[0; 8])])).contains("need 16 bytes, the file gives 8"));
        assert!(said(&message(7, &[2], &[(7, &[1])])).contains("2 elements, the data 1"));
        assert!(said(&message(2, &[1], &[(5, &[0xac, 0x02])])).contains("300 is outside"));
        assert!(said(&message(14, &[1], &[(9, &[0; 8])])).contains("complex64"));
        assert!(said(&message(10, &[2], &[(9, &[0; 2])])).contains("2 elements of float16 need 4 bytes"));
        assert!(said(&message(11, &[2], &[(10, &[0; 8])])).contains("2 elements, the data 1"));
        assert!(said(&message(1, &[0x7f; 9], &[])).contains("limit"));
        assert!(said(&message(1, &[1], &[(8, b"w"), (13, b"")])).contains("tensor w"));
        assert!(said(&message(22, &[3], &[(9, &[0])])).contains("3 elements of int4 need 2 bytes"));
    }

    #[test]
    fn numbers_of_16_and_64_bits_become_the_nearest_float32() {
        let tenth = 0.1f64.to_le_bytes();
        for field in [9, 10] {
            assert_eq!(read(&message(11, &[1], &[(field, &tenth)])).unwrap().1, Tensor::vector(vec![0.1]));
        }
        // float16: 1.5, the largest, the least subnormal, -infinity; as raw bytes, and as the numbers of their bits.
        let bytes = [0x00, 0x3e, 0xff, 0x7b, 0x01, 0x00, 0x00, 0xfc];
        let values = Tensor::vector(vec![1.5, 65504.0, 2f32.powi(-24), f32::NEG_INFINITY]);
        assert_eq!(read(&message(10, &[4], &[(9, &bytes)])).unwrap().1, values);
        let typed = [0x80, 0x7c, 0xff, 0xf7, 0x01, 0x01, 0x80, 0xf8, 0x03];
        assert_eq!(read(&message(10, &[4], &[(5, &typed)])).unwrap().1, values);
        assert_eq!(read(&message(16, &[1], &[(9, &[0xc0, 0xbf])])).unwrap().1, Tensor::vector(vec![-1.5]));
    }

    #[test]
    fn small_integers_share_bytes_lowest_bits_first() {
        for field in [9, 5] {
            // As raw bytes, and as the numbers 0x71 and 0x08, one for each byte.
            let four = |kind| read(&message(kind, &[3], &[(field, &[0x71, 0x08])])).unwrap().1;
            assert_eq!(
                (four(21), four(22)),
                (Tensor::integers(vec![1, 7, 8]), Tensor::integers(vec![1, 7, -8]))
            );
            let two = |kind| read(&message(kind, &[5], &[(field, &[0x4e, 0x02])])).unwrap().1;
            assert_eq!(two(25), Tensor::integers(vec![2, 3, 0, 1, 2]));
            assert_eq!(two(26), Tensor::integers(vec![-2, -1, 0, 1, -2]));
        }
        for typed in [&[0x71][..], &[0x71, 0, 0]] {
            assert!(read(&message(21, &[3], &[(5, typed)])).is_err(), "{} bytes for three", typed.len());
        }
    }
}
