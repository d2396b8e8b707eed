//! Constants in all the forms in which ONNX stores them.

use super::external::External;
use super::file::{MAX_FIELDS, limit, name, pair};
use super::wire::fields;
use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result, SAVE_AGAIN};
use crate::tensor::{self, Data, Tensor};

/// Reads a tensor in any of ONNX's storage forms. Errors name the tensor.
///
/// Data in a file of its own is read from `external`.
pub fn read(message: &[u8], external: &External) -> Result<(String, Tensor)> {
    let mut title = "";
    let mut parts = Parts::default();
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
            (13, value) => {
                limit("keys of external data", parts.place.len(), MAX_FIELDS)?;
                parts.place.push(pair(value.bytes()?)?);
            }
            (14, value) => parts.external = value.int()? == 1,
            _ => {}
        }
    }
    match parts.assemble(external) {
        Ok(tensor) => Ok((title.to_owned(), tensor)),
        Err(found) if title.is_empty() => Err(found),
        Err(found) => Err(found.placed(&format!("tensor {title}"))),
    }
}

/// The fields of a tensor's message.
#[derive(Default)]
struct Parts<'a> {
    dims: Vec<i64>,
    kind: i64,
    segmented: bool,
    external: bool,
    /// Where external data is, as keys and values.
    place: Vec<(&'a str, &'a str)>,
    floats: Vec<f32>,
    ints: Vec<i64>,
    raw: Option<&'a [u8]>,
}

impl Parts<'_> {
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
        // The size is known to be sane before anything of that size is allocated.
        let count = tensor::elements(&shape)?;
        if self.external {
            let raw = external.read(&self.place, count * width(self.kind)?)?;
            return Tensor::new(shape, from_raw(self.kind, &raw, count)?);
        }
        let data = match self.raw {
            Some(raw) => from_raw(self.kind, raw, count)?,
            None => from_typed(self.kind, self.floats, self.ints)?,
        };
        Tensor::new(shape, data)
    }
}

/// Bytes of one element.
fn width(kind: i64) -> Result<usize> {
    match kind {
        2 | 3 | 9 => Ok(1),
        4 | 5 => Ok(2),
        1 | 6 | 12 => Ok(4),
        7 => Ok(8),
        _ => Err(type_unsupported(kind)),
    }
}

fn from_raw(kind: i64, raw: &[u8], count: usize) -> Result<Data> {
    fn ints<const N: usize>(raw: &[u8], f: impl Fn([u8; N]) -> i64) -> Data {
        Data::Int(raw.as_chunks().0.iter().map(|b| f(*b)).collect())
    }
    let width = width(kind)?;
    if raw.len() != count * width {
        return Err(Diagnostic::new(
            &MODEL_INVALID,
            format!(
                "{count} elements of {width} bytes need {} bytes, the file gives {}",
                count * width,
                raw.len()
            ),
        )
        .help(SAVE_AGAIN)
        .into());
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
        _ => ints(raw, |b| u32::from_le_bytes(b).into()),
    })
}

fn from_typed(kind: i64, floats: Vec<f32>, ints: Vec<i64>) -> Result<Data> {
    let (low, high) = match kind {
        1 => return Ok(Data::Float(floats)),
        2 => (0, u8::MAX.into()),
        3 => (i8::MIN.into(), i8::MAX.into()),
        4 => (0, u16::MAX.into()),
        5 => (i16::MIN.into(), i16::MAX.into()),
        6 => (i32::MIN.into(), i32::MAX.into()),
        7 => (i64::MIN, i64::MAX),
        9 => (0, 1),
        12 => (0, u32::MAX.into()),
        _ => return Err(type_unsupported(kind)),
    };
    match ints.iter().find(|v| !(low..=high).contains(*v)) {
        Some(v) => {
            Err(Diagnostic::new(&MODEL_INVALID, format!("{v} is outside the element type's {low} .. {high}"))
                .help(SAVE_AGAIN)
                .into())
        }
        None => Ok(Data::Int(ints)),
    }
}

/// ONNX's name of an element type.
pub fn type_name(kind: i64) -> String {
    const NAMES: [&str; 17] = [
        "undefined",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
    ];
    match usize::try_from(kind).ok().and_then(|k| NAMES.get(k)) {
        Some(name) => (*name).to_owned(),
        None => format!("type {kind}"),
    }
}

fn type_unsupported(kind: i64) -> Diagnostics {
    Diagnostic::new(
        &OPERATOR_UNSUPPORTED,
        format!(
            "elements of {} are not supported; float32, bool and integers to 64 bits are",
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
        super::read(message, &External::none())
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
        assert!(said(&message(10, &[1], &[(9, &[0; 2])])).contains("float16"));
        assert!(said(&message(1, &[0x7f; 9], &[])).contains("limit"));
        assert!(said(&message(1, &[1], &[(8, b"w"), (13, b"")])).contains("tensor w"));
    }
}
