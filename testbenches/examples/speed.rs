//! Frames a second of the fast engine, with one thread, on frames in memory: `cargo run --release -p stoxnor-testbenches --example speed
//! [NAME...]`. The best of five passes. The variable `STOXNOR_KERNELS` names another set of kernels
//! than the fastest.

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::time::Instant;

use stoxnor::arith::kernels;
use stoxnor::emit::bench::random_frames;
use stoxnor::engine;
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::random_dense;
use stoxnor_testbenches::cores::core;

/// Names and frames of a pass.
const NETWORKS: [(&str, usize); 6] =
    [("tfc", 10_000), ("lfc", 10_000), ("4096", 64), ("cnv", 200), ("gtsrb", 200), ("mnist", 300)];

const PASSES: usize = 5;

/// A network by its name; `None` where its file is not there.
fn network(name: &str) -> Result<Option<Network>, stoxnor::Diagnostics> {
    match name {
        "lfc" => Ok(Some(random_dense(1, &[784, 1024, 1024, 1024, 10]))),
        "4096" => Ok(Some(random_dense(1, &[4096, 4096, 4096]))),
        name => Ok(core(name)?.map(|(network, _)| network)),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    if let Some(word) = words.iter().find(|word| NETWORKS.iter().all(|(name, _)| name != word)) {
        return Err(format!("{word} is none of the networks").into());
    }
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let mut out = io::stdout();
    writeln!(out, "| network | frames/s, {} |\n|---|---|", kernels::chosen().name)?;
    for (name, count) in NETWORKS {
        if !words.is_empty() && words.iter().all(|word| word != name) {
            continue;
        }
        let Some(network) = network(name).map_err(|error| error.to_string())? else {
            writeln!(out, "| {name} | its model is not there |")?;
            continue;
        };
        let frames = random_frames(&network, count, &[]).frames;
        let passes = (0..PASSES).map(|_| {
            let start = Instant::now();
            std::hint::black_box(engine::sums(&network, &frames));
            start.elapsed().as_secs_f64()
        });
        let rate = count as f64 / passes.fold(f64::MAX, f64::min);
        writeln!(out, "| {name} | {rate:.0} |")?;
    }
    Ok(())
}
