//! Whatever bytes a model file holds, there is a network that computes, or a diagnostic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stoxnor::import;
use stoxnor::import::options::{FixedPoint, Options};

fuzz_target!(|bytes: &[u8]| {
    let options = Options { input: Some(FixedPoint { bits: 8, fraction_bits: 3 }) };
    match import::read_with("fuzz", bytes, &options) {
        Err(found) => assert!(found.list().iter().all(|d| d.code.exit == 2)),
        Ok(network) => {
            let frame = vec![0.5; network.entries[0].front.input_shape().iter().product()];
            if let Ok(input) = network.quantise(&frame) {
                let sums = stoxnor::engine::sums(&network, &[input]).remove(0);
                let sums: Vec<i64> = sums.into_iter().map(i64::from).collect();
                let _ = network.finish(&sums, 1);
            }
        }
    }
});
