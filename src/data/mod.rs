//! Input and output files: npy, IDX, input scales, hashes.
//!
//! May use: `diagnostic`, `network`. Used by: the importer (hashes), `emit`, `config`, the commands.

pub mod arrays;
pub mod hash;
pub mod idx;
pub mod scale;
