//! Streams between layers: element types, ports (shape and element type of a stream), and batches of frames.
//!
//! May use: `diagnostic`. Used by every room above.

pub mod batch;
pub mod element;
pub mod port;
