//! Writes the model that benchmarks run with, `models/dense_784_64_64_64_10.onnx`: a random binary network of the size of the public TFC networks,
//! in the form that Brevitas exports. Run it from the repository root: `cargo run -p stoxnor-testbenches --example bundled_model`.

use std::io;
use std::path::Path;

use stoxnor_testbenches::onnx::random_dense;

fn main() -> io::Result<()> {
    let sizes = [784, 64, 64, 64, 10];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/dense_784_64_64_64_10.onnx");
    std::fs::write(path, random_dense(1, &sizes))
}
