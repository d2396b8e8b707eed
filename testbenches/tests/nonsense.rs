//! Random model files through the importer: a network that equals the float32 executor, or a diagnostic, never a panic.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rayon::prelude::*;
use stoxnor_testbenches::random::onnx::{check, draw};

const GRAPHS: u64 = 1000;

#[test]
fn a_thousand_random_graphs_equal_the_float32_executor_or_are_refused() {
    let counts: Mutex<BTreeMap<&str, u32>> = Mutex::default();
    let failures: Vec<String> = (0..GRAPHS)
        .into_par_iter()
        .filter_map(|seed| match check(seed, &draw(seed)) {
            Ok(outcome) => {
                *counts.lock().unwrap().entry(outcome.word()).or_default() += 1;
                None
            }
            Err(what) => Some(format!("seed {seed}: {what}")),
        })
        .collect();
    let counts = counts.into_inner().unwrap();
    eprintln!("{counts:?}");
    assert!(failures.is_empty(), "{} graphs\n{}", failures.len(), failures.join("\n"));
    assert!(counts.get("inexact").is_none_or(|n| *n < 5), "{counts:?}");
    assert!(counts["equal"] >= GRAPHS as u32 / 20, "too few are taken to say much: {counts:?}");
}
