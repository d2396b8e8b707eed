//! A reader of the protobuf wire format, without copies.
//!
//! ONNX uses four wire types and a dozen messages. They are read without recursion and without copies, so that memory and time
//! are bounded by the size of the file. General decoders allocate some hundred bytes for every two bytes of a hostile file.

use crate::diagnostic::{Diagnostic, MODEL_UNREADABLE, Result};

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0: integers, booleans, enumerations.
    Varint(u64),
    /// Wire type 1: double.
    Fixed64([u8; 8]),
    /// Wire type 2: strings, bytes, messages, packed lists.
    Bytes(&'a [u8]),
    /// Wire type 5: float.
    Fixed32([u8; 4]),
}

impl<'a> Value<'a> {
    /// The payload of a length-delimited field: a string, bytes or a message.
    pub fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(b) => Ok(b),
            _ => Err(malformed("a field that should hold bytes holds a number")),
        }
    }

    /// A UTF-8 string.
    pub fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed("a name is not UTF-8"))
    }

    /// A signed integer (`int32`, `int64` or an enumeration).
    pub fn int(self) -> Result<i64> {
        match self {
            Self::Varint(v) => Ok(v as i64),
            _ => Err(malformed("a field that should hold an integer does not")),
        }
    }

    /// A float32.
    pub fn float(self) -> Result<f32> {
        match self {
            Self::Fixed32(b) => Ok(f32::from_le_bytes(b)),
            _ => Err(malformed("a field that should hold a float does not")),
        }
    }

    /// Appends one integer, or a packed list of them.
    pub fn ints(self, to: &mut Vec<i64>) -> Result<()> {
        match self {
            Self::Varint(v) => to.push(v as i64),
            Self::Bytes(mut rest) => {
                while !rest.is_empty() {
                    to.push(varint(&mut rest)? as i64);
                }
            }
            _ => return Err(malformed("a field that should hold integers does not")),
        }
        Ok(())
    }

    /// Appends one float32, or a packed list of them.
    pub fn floats(self, to: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Fixed32(b) => to.push(f32::from_le_bytes(b)),
            Self::Bytes(b) => {
                let (whole, rest) = b.as_chunks();
                if !rest.is_empty() {
                    return Err(malformed("a list of floats ends within a float"));
                }
                to.extend(whole.iter().map(|b| f32::from_le_bytes(*b)));
            }
            _ => return Err(malformed("a field that should hold floats does not")),
        }
        Ok(())
    }

    /// Appends one float64, or a packed list of them.
    pub fn doubles(self, to: &mut Vec<f64>) -> Result<()> {
        match self {
            Self::Fixed64(b) => to.push(f64::from_le_bytes(b)),
            Self::Bytes(b) => {
                let (whole, rest) = b.as_chunks();
                if !rest.is_empty() {
                    return Err(malformed("a list of doubles ends within a number"));
                }
                to.extend(whole.iter().map(|b| f64::from_le_bytes(*b)));
            }
            _ => return Err(malformed("a field that should hold doubles does not")),
        }
        Ok(())
    }
}

/// Iterator over the fields of one message, in file order: (field number, value).
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of `message`.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>)> {
        let key = varint(&mut self.rest)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(*self.chunk()?),
            2 => {
                let length = varint(&mut self.rest)?;
                let Some((bytes, rest)) =
                    usize::try_from(length).ok().and_then(|n| self.rest.split_at_checked(n))
                else {
                    return Err(malformed(format!(
                        "a field of {length} bytes stands where only {} bytes are left",
                        self.rest.len()
                    )));
                };
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(*self.chunk()?),
            other => return Err(malformed(format!("wire type {other} does not occur in ONNX"))),
        };
        match key >> 3 {
            0 => Err(malformed("field number 0 does not exist")),
            number => Ok((number, value)),
        }
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let Some((chunk, rest)) = self.rest.split_first_chunk() else {
            return Err(malformed("the data ends within a number"));
        };
        self.rest = rest;
        Ok(chunk)
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for (i, &byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *rest = &rest[i + 1..];
            return Ok(value);
        }
    }
    Err(malformed("the data ends within an integer, or the integer has more than 64 bits"))
}

fn malformed(what: impl Into<String>) -> crate::diagnostic::Diagnostics {
    Diagnostic::new(&MODEL_UNREADABLE, format!("not an ONNX file, or a damaged one: {}", what.into()))
        .help("check that the file was copied whole and that it is an ONNX model")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_wire_type() {
        let message =
            [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 1, 0, 0, 0, 0, 0, 0, 0];
        let all: Vec<_> = fields(&message).map(Result::unwrap).collect();
        assert_eq!(all[0], (1, Value::Varint(150)));
        assert_eq!(all[1].1.text().unwrap(), "hi");
        assert_eq!(all[2].1.float().unwrap(), 1.0);
        assert_eq!(all[3], (4, Value::Fixed64([1, 0, 0, 0, 0, 0, 0, 0])));
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn lists_are_packed_or_not() {
        let mut ints = Vec::new();
        Value::Bytes(&[1, 0xac, 0x02]).ints(&mut ints).unwrap();
        Value::Varint(u64::MAX).ints(&mut ints).unwrap();
        assert_eq!(ints, [1, 300, -1]);
        assert!(Value::Bytes(&[0; 5]).floats(&mut Vec::new()).is_err());
    }

    #[test]
    fn damage_is_an_error_and_ends_the_walk() {
        for message in [
            &[0x08][..],      // no value
            &[0x12, 0x05, 1], // longer than the rest
            &[0x0b],          // a group
            &[0x1d, 0, 0],    // half a float
            &[0x00, 0x00],    // field 0
            &[0xff; 11],      // endless integer
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            let mut walk = fields(message);
            assert!(walk.next().unwrap().is_err(), "{message:?}");
            assert!(walk.next().is_none());
        }
    }
}
