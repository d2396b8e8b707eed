//! Writes the bundled models of `models/`, random networks: one of binary weights of the size of the public TFC networks, in the form that
//! Brevitas exports, and one of ternary weights that are sampled. Run it from the repository root:
//! `cargo run -p stoxnor-testbenches --example bundled_model`.

use std::io;
use std::path::Path;

use stoxnor_testbenches::onnx::{SampledModel, random_dense, sampled};

fn main() -> io::Result<()> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    std::fs::write(models.join("dense_784_64_64_64_10.onnx"), random_dense(1, &[784, 64, 64, 64, 10]))?;
    let how = SampledModel { law: Some("ternary"), bits: 1, share: 64, members: 0, only: None };
    std::fs::write(models.join("sampled_784_64_64_10.onnx"), sampled(1, &[784, 64, 64, 10], how))
}
