//! Runs: the graph is cut where branches begin and meet; each run becomes a chain of operators on one tensor, cut at its products.
//!
//! May use: `graph`, `import::simplify`, `import::options`. Used by: `import::layers`, `import`.

pub mod chain;
pub mod input;
pub mod rewrite;
pub mod segment;
pub mod steps;
