//! All tests of this package in one program: their simulators' runs share the cores.

mod blocks;
mod cells;
mod common;
mod ensemble_blocks;
mod legalize;
