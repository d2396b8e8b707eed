//! Runs: cuts the graph where branches begin and join. Each run is a chain of operators on one tensor, cut into segments at its
//! products.
//!
//! May use: `graph`, `import::simplify`, `import::options`. Used by: `import::layers`, `import`.

pub mod arrange;
pub mod chain;
pub mod input;
pub mod levels;
pub mod picks;
pub mod program;
pub mod rewrite;
pub mod segment;
pub mod split;
pub mod steps;
