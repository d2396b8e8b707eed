//! The built program as a user calls it: arguments, files, standard output, standard error, exit codes.
//!
//! These tests stand in the root package because Cargo builds the program for them and says where it is
//! (`CARGO_BIN_EXE_stoxnor`): a test of another package would run whatever was built last. Plain `std::process` is enough:
//! what matters are exit codes, JSON and files, and whole texts are compared by insta.

mod bed;
mod branches;
mod calibrate;
mod check;
mod commands;
mod compile;
mod diagnostics;
mod doubt;
mod eval;
mod host;
mod inputs;
mod sampled;
mod several_inputs;
mod synth;
mod tools;
