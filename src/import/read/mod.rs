//! Reading: from the bytes of an untrusted file to nodes, attributes and tensors, within fixed limits; and editing a file's bytes.
//!
//! May use: `graph`. Used by: the passes behind it.

pub mod constant;
pub mod edit;
pub mod external;
pub mod file;
pub mod limits;
pub mod wire;
