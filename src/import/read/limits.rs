//! Limits on untrusted files, and the diagnostics of a broken one.

use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_TOO_LARGE, MODEL_UNREADABLE, Result};
use crate::import::read::wire::{Value, fields};

/// Largest model file, in bytes: 256 MiB.
pub const MAX_BYTES: usize = 1 << 28;

/// Most nodes of a graph, and most initialisers.
pub const MAX_NODES: usize = 1 << 14;

/// Most inputs, outputs and attributes of one node.
pub const MAX_FIELDS: usize = 1 << 10;

/// Longest name, in bytes.
pub const MAX_NAME: usize = 1 << 12;

/// A key and its value.
pub fn pair(message: &[u8]) -> Result<(&str, &str)> {
    let (mut key, mut text) = ("", "");
    for field in fields(message) {
        match field? {
            (1, value) => key = name(value)?,
            (2, value) => text = name(value)?,
            _ => {}
        }
    }
    Ok((key, text))
}

/// A name of bounded length.
pub fn name(value: Value<'_>) -> Result<&str> {
    let name = value.text()?;
    limit("bytes in one name", name.len(), MAX_NAME)?;
    Ok(name)
}

/// Refuses one more than `most`.
pub fn limit(what: &str, have: usize, most: usize) -> Result<()> {
    if have >= most { Err(too_large(what, have + 1, most)) } else { Ok(()) }
}

/// Refuses `found` or more of something of which `most` are allowed.
pub fn too_large(what: &str, found: usize, most: usize) -> Diagnostics {
    Diagnostic::new(&MODEL_TOO_LARGE, format!("the model has {found} {what} or more; the limit is {most}"))
        .help("export a smaller model, or simplify the graph before the import (onnxsim)")
        .into()
}

/// Refuses a file that is not an ONNX model, and says why.
pub fn unreadable(what: impl Into<String>) -> Diagnostics {
    Diagnostic::new(&MODEL_UNREADABLE, format!("not an ONNX file: {}", what.into()))
        .help("give an ONNX model (.onnx)")
        .into()
}
