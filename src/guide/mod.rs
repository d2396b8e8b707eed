//! The guide: how the house is laid out, and how to use it, read it and add to it.

#![allow(clippy::doc_markdown)]

macro_rules! chapters {
    ($($name:ident: $text:expr;)*) => {
        $(#[doc = $text] pub mod $name {})*
    };
}

chapters! {
    house: include_str!("house.md");
    layers: include_str!("layers.md");
    streams: include_str!("streams.md");
    schedule: include_str!("schedule.md");
    branches: include_str!("branches.md");
    verilog: include_str!("verilog.md");
    synthesis: concat!(include_str!("synthesis.md"), include_str!("estimates.svg"));
    boards: include_str!("boards.md");
    integration: include_str!("integration.md");
    configuration: include_str!("configuration.md");
    engines: include_str!("engines.md");
    extending: include_str!("extending.md");
    import: include_str!("import.md");
    images: include_str!("images.md");
    numerics: include_str!("numerics.md");
    rust_hdl: include_str!("rust_hdl.md");
    stochastic: include_str!("stochastic.md");
    diagnostics: include_str!("diagnostics.md");
    testing: include_str!("testing.md");
    measurements: include_str!("measurements.md");
}
