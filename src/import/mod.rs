//! Model files become networks: every step is one small pass, and [`read`] is all of them in order.
//!
//! Files are not trusted. Whatever they hold, the result is a network or a list of diagnostics, within the limits of
//! [`file::MAX_BYTES`], [`file::MAX_NODES`] and [`MAX_ELEMENTS`](crate::tensor::MAX_ELEMENTS).

mod activation;
pub mod attributes;
mod chain;
mod constant;
pub mod file;
mod fold;
mod layers;
pub mod op;
mod prune;
mod segment;
mod validate;
mod weights;
mod wire;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::diagnostic::{Diagnostic, MODEL_UNREADABLE, Result};
use crate::emit::sha256;
use crate::host::HostGraph;
use crate::network::Network;

/// Reads the model file at `path`; the network takes its file stem as name.
pub fn load(path: &Path) -> Result<Network> {
    let unreadable = |e: std::io::Error| {
        Diagnostic::new(&MODEL_UNREADABLE, e.to_string())
            .at(path.display().to_string())
            .help("check the path and the permissions")
    };
    let mut bytes = Vec::new();
    // One byte above the limit is enough to see that it is exceeded, even where the path has no end.
    let most = file::MAX_BYTES as u64 + 1;
    File::open(path).and_then(|f| f.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    read(&name, &bytes).map_err(|found| found.placed(&path.display().to_string()))
}

/// Reads a model file's bytes; `name` names the network.
pub fn read(name: &str, bytes: &[u8]) -> Result<Network> {
    let file = file::parse(bytes)?;
    let graph = validate::validate(file)?;
    let graph = prune::prune(graph);
    let folded = fold::fold(graph)?;
    let chain = chain::chain(folded)?;
    let segments = segment::segment(&chain)?;
    let parts = layers::layers(&chain, &segments)?;
    Network::new(name, sha256(bytes), parts.front, parts.input, parts.layers, parts.tail)
}

/// The whole graph as float32 arithmetic on the host, one operation after the other: what a network must equal.
///
/// Only the scales differ: the graph sums scaled products, a [`Network`] scales an integer sum.
pub fn float_graph(bytes: &[u8]) -> Result<HostGraph> {
    let graph = prune::prune(validate::validate(file::parse(bytes)?)?);
    let chain = chain::chain(fold::fold(graph)?)?;
    Ok(HostGraph::new(chain.input, chain.steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_said_so() {
        for bytes in [&b""[..], b"\xff\xd8\xff\xe0\0\x10JFIF\0", &[0; 100], b"hello, world", b"\x3a\0"] {
            let found = read("x", bytes).unwrap_err();
            assert_eq!(found.exit(), 2, "{found}");
            assert!(!found.to_string().is_empty());
        }
        let missing = load(Path::new("no/such/model.onnx")).unwrap_err();
        assert_eq!(missing.list()[0].code.word, "model-unreadable");
        assert!(missing.to_string().contains("no/such/model.onnx"));
        assert!(load(Path::new(".")).is_err(), "a directory");
    }
}
