//! Simplifying: checks names, sorts nodes, removes unused nodes, folds constants and rewrites operators on several branches.
//!
//! May use: `graph`, `import::read`. Used by: `import::runs`, `import`.

pub mod batch;
pub mod codes;
pub mod distribute;
pub mod expand;
pub mod fold;
pub mod folded;
pub mod fuse;
pub mod member;
pub mod prune;
pub mod qoperator;
pub mod types;
pub mod validate;
