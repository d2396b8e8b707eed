//! Our hardware and hardware written in rust-hdl: held against each other, and used together.

mod bench;
mod beside;
mod lane;
mod pe;
mod widths;
