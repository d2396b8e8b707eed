//! Layer kinds: one file each; [`KINDS`] lists them.
//!
//! May use: `network` (the trait), `unit`, `arith`, `schedule`. Used by: the importer.

use crate::network::layer::Kind;

macro_rules! kinds {
    ($($kind:ident,)*) => {
        $(pub mod $kind;)*

        /// Every layer kind.
        pub static KINDS: &[Kind] = &[$($kind::KIND),*];
    };
}

// A layer kind consists of its file and its line here.
kinds! {
    dense,
    conv,
    maxpool,
    avgpool,
    threshold,
    upsample,
    transpose,
    scale,
    topk,
    globalpool,
    add,
    mul,
    concat,
    select,
}
