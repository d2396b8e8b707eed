//! Estimates of cells against the cells that yosys made.

use stoxnor_testbenches::estimates::{Row, compared, plot};

fn ratio(pairs: &[&(Row, Row)]) -> f64 {
    let sum = |of: fn(&(Row, Row)) -> u64| pairs.iter().map(|pair| of(pair)).sum::<u64>() as f64;
    sum(|pair| pair.1.cells[0]) / sum(|pair| pair.0.cells[0])
}

fn near(pair: &(Row, Row), percent: f64) -> bool {
    (ratio(&[pair]) - 1.0).abs() * 100.0 <= percent
}

/// Block RAMs exactly; LUTs of whole cores within 10 %, of single layers, some of which are of a few LUTs, nearly always.
#[test]
fn estimates_are_near_what_yosys_makes() {
    let pairs = compared(|_| true);
    for (is, found) in &pairs {
        assert_eq!(is.cells[4], found.cells[4], "block RAMs of {} on {}", is.design, is.part);
    }
    let (samples, cores): (Vec<_>, Vec<_>) = pairs.iter().partition(|(is, _)| is.design.contains('#'));
    let far: Vec<_> = cores.iter().filter(|pair| !near(pair, 10.0)).collect();
    assert!(far.is_empty(), "{far:?}");
    assert!(samples.len() >= 500, "{} samples", samples.len());
    for (part, percent) in [("ecp5-85k", 3.0), ("gw2a-18c", 3.0), ("ice40-hx8k", 3.0), ("xc7a100t", 4.0)] {
        let own: Vec<_> = samples.iter().copied().filter(|(is, _)| is.part == part).collect();
        assert!((ratio(&own) - 1.0).abs() * 100.0 < percent, "{part}: {}", ratio(&own));
        let close = own.iter().filter(|pair| near(pair, 10.0)).count();
        let most = if part == "xc7a100t" { 65 } else { 85 };
        assert!(close * 100 >= own.len() * most, "{part}: {close} of {}", own.len());
    }
    let flops =
        pairs.iter().filter(|(is, found)| is.cells[2].abs_diff(found.cells[2]) * 50 <= is.cells[2]).count();
    assert!(flops * 100 >= pairs.len() * 80, "{flops} of {} within 2 % in flip-flops", pairs.len());
}

#[test]
fn the_guide_shows_the_estimates_of_today() {
    if stoxnor_testbenches::data::data_dir().is_some() {
        let drawn = plot(&compared(|_| true)).unwrap();
        let shown = include_str!("../../src/guide/estimates.svg");
        assert!(
            drawn == shown,
            "draw it again: cargo run --release -p stoxnor-testbenches --example estimate plot"
        );
    }
}
