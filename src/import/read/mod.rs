//! Reading: parses an untrusted file into nodes, attributes and tensors, within fixed limits, and edits a file's bytes.
//!
//! May use: `graph`. Used by: the later passes of `import`.

pub mod constant;
pub mod edit;
pub mod external;
pub mod file;
pub mod limits;
pub mod wire;
