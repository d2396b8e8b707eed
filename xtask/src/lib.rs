//! What the project's own commands and its tests share.

pub mod house;
