//! Rows of several thresholds: comparisons in parallel and searches, with every division of the steps and every number of thresholds.

use std::sync::Arc;

use rayon::prelude::*;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::engine::Conditions;
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::layer::dense::Dense;
use stoxnor::layer::threshold::Threshold;
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::unit::folding::{Comparing, Cuts, Folding};
use stoxnor_hdl::Bits;
use stoxnor_testbenches::conformance::{Effort, compared, conform, random_frames, single};
use stoxnor_testbenches::fault::edit_image;

const RTL: Effort = Effort { rtl: 6, verilator: 0, icarus: 0 };
const ALL: Effort = Effort { rtl: 6, verilator: 3, icarus: 1 };

/// Rows of `steps` ascending thresholds from below the minimum to above the maximum of sums up to `most`; every third row decreases.
fn stairs(rows: usize, steps: usize, most: i32, member: i32) -> Activation {
    let element = Element::Unsigned(usize::BITS - steps.leading_zeros());
    let at = |row: i32, t: i32| {
        -most - 1 + (t * 2 * (most + 2) / steps as i32 + row * 5 % 7 + member).min(2 * most + 2)
    };
    let of = |row: usize| {
        let mut list: Vec<i32> = (0..steps).map(|t| at(row as i32, t as i32)).collect();
        list.sort_unstable();
        list
    };
    let mut stairs = Activation::rising(element, 0, (0..rows).map(of).collect());
    stairs.falls = (0..rows).map(|row| row % 3 == 1).collect();
    stairs
}

fn dense(rows: usize, fan_in: usize, steps: usize) -> Network {
    let weight = |r: usize, c: usize| if (r * 31 + c * 17 + r * c) % 5 < 2 { 1 } else { -1 };
    let layer =
        Dense::new(IntMatrix::from_fn(rows, fan_in, weight), Some(stairs(rows, steps, 3 * fan_in as i32, 0)));
    single(vec![Port { shape: vec![fan_in], element: Element::Signed(3) }], Arc::new(layer))
}

fn threshold(channels: usize, steps: usize, members: i32) -> Network {
    let activations = (0..members).map(|m| stairs(channels, steps, 30, m)).collect();
    let shape = vec![3, channels];
    let layer = Threshold::new(shape.clone(), activations);
    single(vec![Port { shape, element: Element::Signed(6) }], Arc::new(layer))
}

fn searching(pe: usize, simd: usize, cuts: Cuts) -> Folding {
    Folding { cuts, thresholds: Comparing::Search, ..Folding::new(pe, simd) }
}

#[test]
fn any_number_of_thresholds_in_any_time() {
    for steps in [2, 3, 4, 5, 7, 8, 12, 15, 100, 255] {
        for (pe, simd) in [(1, 12), (2, 6), (2, 4), (4, 3), (2, 2), (8, 1)] {
            for cuts in Cuts::ALL {
                let what = format!("{steps} thresholds");
                conform(&what, &dense(8, 12, steps), &[searching(pe, simd, cuts)], RTL);
            }
        }
    }
}

#[test]
fn a_sum_at_every_edge() {
    for steps in [2, 6, 15, 200] {
        for (pe, members) in [(1, 1), (4, 3), (2, 3)] {
            for cuts in Cuts::ALL {
                let what = format!("{steps} thresholds of {members} members");
                conform(&what, &threshold(4, steps, members), &[searching(pe, 1, cuts)], RTL);
            }
        }
    }
}

#[test]
fn searches_in_every_simulator() {
    let cases = vec![
        (dense(8, 12, 15), searching(2, 1, Cuts::Fewest)),
        (dense(8, 12, 255), searching(1, 4, Cuts::Fewest)),
        (dense(8, 12, 255), searching(4, 2, Cuts::Words)),
        (dense(8, 12, 5), searching(8, 12, Cuts::Trees)),
        (threshold(4, 15, 3), searching(2, 1, Cuts::Fewest)),
    ];
    cases.into_par_iter().for_each(|(network, fold)| conform(&format!("{fold:?}"), &network, &[fold], ALL));
}

/// Every word of a search is used: a threshold off by one that some sum lies at is found, and the word that no node has changes nothing.
#[test]
fn a_threshold_off_by_one_is_found() {
    use stoxnor::engine::Engine::{Reference, Rtl};
    let network = dense(8, 12, 255);
    let hardware = lower(&network, &[searching(2, 1, Cuts::Fewest)]);
    let frames = random_frames(3, &network, 40);
    let equal = |hardware: &_| {
        let conditions = Conditions::default();
        compared(&network, hardware, &frames, &[Reference, Rtl], &conditions).equal
    };
    assert!(equal(&hardware));
    // The first node of row 2 is its threshold number 128, which sums around 0 meet.
    let changed = |word: usize, by: u64| {
        edit_image(&hardware, "l1_dense_thresholds_0.mem", |words: &mut Vec<Bits>| {
            let bits = words[word].width() - 1;
            let old = words[word].extract(0, bits);
            words[word].insert(0, bits, old.wrapping_add(by) & ((1 << bits) - 1));
        })
    };
    assert!(!equal(&changed(257, 1)), "the first node of the second row group");
    assert!(equal(&changed(256, 1)), "there is no node 0");
}
