//! Simplifying: names are checked, nodes ordered, unused ones dropped, constants folded.
//!
//! May use: `graph`, `import::read`. Used by: `import::runs`, `import`.

pub mod codes;
pub mod fold;
pub mod member;
pub mod prune;
pub mod types;
pub mod validate;
