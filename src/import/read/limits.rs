//! Limits on untrusted files, and diagnostics of invalid files.

use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_TOO_LARGE, MODEL_UNREADABLE, Result};
use crate::import::read::wire::{Value, fields};

/// Maximum size of a model file in bytes: 256 MiB.
pub const MAX_BYTES: usize = 1 << 28;

/// Maximum number of nodes of a graph, and of initialisers.
pub const MAX_NODES: usize = 1 << 14;

/// Maximum number of inputs, outputs and attributes of one node.
pub const MAX_FIELDS: usize = 1 << 10;

/// Maximum length of a name in bytes.
pub const MAX_NAME: usize = 1 << 12;

/// Parses a `StringStringEntryProto`: a key and its value.
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

/// A UTF-8 string of at most [`MAX_NAME`] bytes.
pub fn name(value: Value<'_>) -> Result<&str> {
    let name = value.text()?;
    limit("bytes in one name", name.len(), MAX_NAME)?;
    Ok(name)
}

/// Rejects another element if there are `have` already and the limit is `max`.
pub fn limit(what: &str, have: usize, max: usize) -> Result<()> {
    if have >= max { Err(too_large(what, have + 1, max)) } else { Ok(()) }
}

/// The diagnostic for `found` or more elements where the limit is `most`.
pub fn too_large(what: &str, found: usize, most: usize) -> Diagnostics {
    Diagnostic::new(&MODEL_TOO_LARGE, format!("the model has {found} {what} or more; the limit is {most}"))
        .help("export a smaller model, or simplify the graph before the import (onnxsim)")
        .into()
}

/// The diagnostic for a file that is not an ONNX model.
pub fn unreadable(what: impl Into<String>) -> Diagnostics {
    Diagnostic::new(&MODEL_UNREADABLE, format!("not an ONNX file: {}", what.into()))
        .help("give an ONNX model (.onnx)")
        .into()
}
