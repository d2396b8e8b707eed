//! Hardware units of layers: matrix unit, window (line buffer) and channel unit, with their folding, pipeline registers and resources.
//!
//! May use: `frame`, `arith`, `schedule`, and the blocks of `stoxnor-hdl`. Used by: `layer`, `lower`.

pub mod channel;
pub mod family;
pub mod folding;
pub mod matrix;
pub mod parts;
pub mod reading;
pub mod resources;
pub mod window;
