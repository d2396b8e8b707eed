//! Hardware with one fault: `check` has to find it, at the layer, frame and element where arithmetic says it shows.

use stoxnor::engine::compare::DifferenceKind;
use stoxnor::engine::{Conditions, Engine};
use stoxnor::lower::plan::Part;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::schedule::{Matrix, Schedule};
use stoxnor::unit::folding::Folding;
use stoxnor_hdl::{Cell, Driver, Module};
use stoxnor_testbenches::conformance::{compared, random_dense, random_frames};
use stoxnor_testbenches::fault::{add_cell, add_register, edit_image, edit_module};

const FRAMES: usize = 20;

struct Bed {
    network: Network,
    hardware: Hardware,
    frames: Vec<Vec<i32>>,
    /// For each layer (0 is the input), the true frames that leave it.
    truth: Vec<Vec<Vec<i32>>>,
}

/// 24-12-8-4; each layer with lanes of its own, so that no two share a module that a fault is put into.
fn bed() -> Bed {
    let network = random_dense(9, &[24, 12, 8, 4]);
    let folds = [Folding::new(3, 8), Folding::new(2, 6), Folding::new(1, 4)];
    let hardware = lower(&network, &folds);
    let frames = random_frames(4, &network, FRAMES);
    let mut truth = vec![frames.clone()];
    for node in &network.nodes {
        let outputs = truth.last().unwrap().iter().map(|x| node.layer.reference(&[x], 0)).collect();
        truth.push(outputs);
    }
    Bed { network, hardware, frames, truth }
}

/// Where frames differ first.
fn first_difference(a: &[Vec<i32>], b: &[Vec<i32>]) -> Option<(usize, usize)> {
    a.iter()
        .zip(b)
        .enumerate()
        .find_map(|(frame, (a, b))| Some((frame, a.iter().zip(b).position(|(a, b)| a != b)?)))
}

impl Bed {
    /// The frames that layer `index` gives when `change` has been at its inputs.
    fn with_inputs(&self, index: usize, change: impl Fn(&[i32]) -> Vec<i32>) -> Vec<Vec<i32>> {
        let layer = &self.network.nodes[index].layer;
        self.truth[index].iter().map(|x| layer.reference(&[&change(x)], 0)).collect()
    }

    /// Demands that every engine that runs the faulty hardware is found wrong at layer `index`, first where `faulty` differs
    /// from the truth.
    fn must_be_found(&self, what: &str, hardware: &Hardware, index: usize, faulty: &[Vec<i32>]) {
        let (frame, element) =
            first_difference(&self.truth[index + 1], faulty).expect("the fault shows in these frames");
        for engine in [Engine::Rtl, Engine::Verilator, Engine::Icarus] {
            let report = compared(
                &self.network,
                hardware,
                &self.frames,
                &[Engine::Reference, engine],
                &Conditions::default(),
            );
            assert!(!report.equal, "{what}: {engine} sees nothing");
            let found = report.first_difference.expect("not equal");
            assert_eq!(
                (found.engine, found.layer.as_str(), found.frame, found.element),
                (engine, self.network.nodes[index].name.as_str(), frame, element),
                "{what}"
            );
            assert_eq!(found.expected, Some(self.truth[index + 1][frame][element].into()), "{what}");
            assert_eq!(found.found, Some(faulty[frame][element].into()), "{what}");
            assert!(
                report.layers[..index].iter().all(|l| l.mismatches == 0),
                "{what}: the layers before are right"
            );
        }
    }
}

#[test]
fn without_a_fault_nothing_is_found() {
    let bed = bed();
    for engine in [Engine::Rtl, Engine::Verilator, Engine::Icarus] {
        let report = compared(
            &bed.network,
            &bed.hardware,
            &bed.frames,
            &[Engine::Reference, engine],
            &Conditions::default(),
        );
        assert!(report.equal, "{:?}", report.first_difference);
    }
}

#[test]
fn a_flipped_weight_bit() {
    let bed = bed();
    // l3_dense, PE 1, SIMD 4: word 2 * row + step, lane; row 2, column 4 + 3.
    let (row, column) = (2, 7);
    let faulty = edit_image(&bed.hardware, "l3_dense_weights.mem", |words| {
        let word = &mut words[2 * row + 1];
        word.set(3, !word.bit(3));
    });
    let outputs: Vec<Vec<i32>> = bed
        .with_inputs(2, |x| x.to_vec())
        .into_iter()
        .zip(&bed.truth[2])
        .map(|(mut y, x)| {
            // The weight's sign was that of the change: find it from the memory's own bit.
            let was_plus = bed
                .hardware
                .design
                .top
                .parameters
                .iter()
                .filter_map(|p| p.image.as_ref())
                .find(|i| i.file.ends_with("_l3_dense_weights.mem"))
                .unwrap()
                .words[2 * row + 1]
                .bit(3);
            y[row] += if was_plus { -2 * x[column] } else { 2 * x[column] };
            y
        })
        .collect();
    bed.must_be_found("flipped weight bit", &faulty, 2, &outputs);
}

#[test]
fn a_threshold_off_by_one() {
    let bed = bed();
    // l2_dense, PE 2: word 1 holds the negative thresholds of rows 2 and 3; one more popcount is two more of the dot product.
    let (word, lane) = (1, 1);
    let row = 3;
    let top = &bed.hardware.design.top;
    let image = top
        .parameters
        .iter()
        .filter_map(|p| p.image.as_ref())
        .find(|i| i.file.ends_with("_l2_dense_thresholds.mem"));
    let truly = &image.unwrap().words[word];
    let bits = truly.width() / 2;
    let modulus = 1 << bits;
    let old = truly.extract(lane * bits, bits);
    let threshold = (modulus - old) % modulus + 1;
    let faulty = edit_image(&bed.hardware, "l2_dense_thresholds.mem", |words| {
        words[word].insert(lane * bits, bits, (old + modulus - 1) % modulus);
    });
    let weights = image_weights(&bed, "l2_dense_weights.mem", row, 2, 6, 12);
    let outputs: Vec<Vec<i32>> = bed.truth[1]
        .iter()
        .zip(&bed.truth[2])
        .map(|(x, y)| {
            let popcount = x.iter().zip(&weights).filter(|(x, w)| (**x > 0) == **w).count() as i32;
            let mut y = y.clone();
            y[row] = if popcount >= threshold as i32 { 1 } else { -1 };
            y
        })
        .collect();
    bed.must_be_found("threshold off by one", &faulty, 1, &outputs);
}

/// One row of weights, read back from the memory image.
fn image_weights(bed: &Bed, file: &str, row: usize, pe: usize, simd: usize, fan_in: usize) -> Vec<bool> {
    let top = &bed.hardware.design.top;
    let image =
        top.parameters.iter().filter_map(|p| p.image.as_ref()).find(|i| i.file.ends_with(file)).unwrap();
    let (group, p) = (row / pe, row % pe);
    (0..fan_in)
        .map(|c| image.words[group * (fan_in / simd) + c / simd].bit((p * simd + c % simd) as u32))
        .collect()
}

#[test]
fn a_swapped_popcount_input() {
    let bed = bed();
    // The processing elements of l2_dense (SIMD 6): activations of lanes 0 and 1 change places, the weights stay.
    let faulty = edit_module(&bed.hardware, "xnor_pe_s6_b5_start", |m| {
        let a = m.net("a").unwrap();
        let lanes: Vec<_> = [1, 0, 2, 3, 4, 5]
            .iter()
            .map(|&l| add_cell(m, &format!("lane_{l}"), 1, Cell::Slice(a, l)))
            .collect();
        let swapped = add_cell(m, "swapped", 6, Cell::Concat(lanes));
        let port = m.instances[0].module.ports.iter().position(|p| p.name == "a").unwrap();
        m.instances[0].connections[port] = Some(swapped);
    });
    let outputs = bed.with_inputs(1, |x| {
        let mut x = x.to_vec();
        x.chunks_mut(6).for_each(|beat| beat.swap(0, 1));
        x
    });
    bed.must_be_found("swapped popcount input", &faulty, 1, &outputs);
}

#[test]
fn a_width_converter_with_reversed_order() {
    let bed = bed();
    // In front of l2_dense two beats of 3 become one of 6; here the second lands below the first.
    let faulty = edit_module(&bed.hardware, "widener_2x3", |m| {
        for info in &mut m.nets {
            if let Driver::Cell(Cell::Concat(parts)) = &mut info.driver {
                parts.reverse();
            }
        }
        // What is kept is now the lower part.
        let word = m.net("word_q").unwrap();
        for info in &mut m.nets {
            if let Driver::Cell(Cell::Slice(of, low)) = &mut info.driver
                && *of == word
            {
                *low = 0;
            }
        }
    });
    let outputs =
        bed.with_inputs(1, |x| x.chunks(6).flat_map(|beat| [&beat[3..], &beat[..3]].concat()).collect());
    bed.must_be_found("reversed width converter", &faulty, 1, &outputs);
}

/// A frame whose end is not marked where it should be: seen at the layer that passes it on, at the frame's final beat.
#[test]
fn a_lost_last() {
    let bed = bed();
    let faulty = edit_module(&bed.hardware, "widener_2x3", |m| {
        let never = add_cell(m, "never", 1, Cell::Const(stoxnor_hdl::Bits::zero(1)));
        m.ports.iter_mut().find(|p| p.name == "m_last").unwrap().net = never;
    });
    for engine in [Engine::Rtl, Engine::Verilator, Engine::Icarus] {
        let report = compared(
            &bed.network,
            &faulty,
            &bed.frames,
            &[Engine::Reference, engine],
            &Conditions::default(),
        );
        let found = report.first_difference.expect("not equal");
        assert_eq!(found.kind, DifferenceKind::Missing);
        assert_eq!((found.layer.as_str(), found.frame, found.element), ("l2_dense", 0, 6), "{engine}");
        assert_eq!(report.layers[0].mismatches, 0);
    }
}

/// Right values on time by no engine's word but the schedule's: a schedule that promises another latency is a difference.
#[test]
fn a_schedule_that_is_not_kept() {
    let bed = bed();
    let mut promised = bed.hardware.clone();
    let last = promised.plan.stages.len() - 1;
    promised.plan.stages[last].part =
        Part::Layer(2, Schedule::matrix(Matrix { folds: 4, steps: 2, latency: 4, ..Matrix::default() }));
    let report = compared(
        &bed.network,
        &promised,
        &bed.frames,
        &[Engine::Reference, Engine::Rtl],
        &Conditions::default(),
    );
    let found = report.first_difference.expect("not equal");
    assert_eq!((found.kind, found.layer.as_str()), (DifferenceKind::Cycle, "l3_dense"));
    assert_eq!(found.expected, found.found.map(|cycles| cycles + 1));
}

/// A beat behind the last one of the last frame, which repeats it: nothing that was wanted is wrong.
#[test]
fn a_beat_too_many() {
    let bed = bed();
    let faulty = edit_module(&bed.hardware, "l3_dense", |m| {
        let net = |m: &Module, name: &str| m.net(name).unwrap();
        let (valid, last, ready) = (net(m, "out_m_valid"), net(m, "out_m_last"), net(m, "m_ready"));
        let ending = add_cell(m, "ending", 1, Cell::And(valid, last));
        let ended = add_cell(m, "ended", 1, Cell::And(ending, ready));
        let again = add_register(m, "again", ended);
        let more = add_cell(m, "more", 1, Cell::Or(valid, again));
        m.ports.iter_mut().find(|p| p.name == "m_valid").unwrap().net = more;
    });
    for engine in [Engine::Rtl, Engine::Verilator, Engine::Icarus] {
        let report = compared(
            &bed.network,
            &faulty,
            &bed.frames[..1],
            &[Engine::Reference, engine],
            &Conditions::default(),
        );
        let found = report.first_difference.expect("not equal");
        assert_eq!((found.layer.as_str(), found.frame, found.element), ("l3_dense", 1, 0), "{engine}");
        assert_eq!((found.kind, found.expected), (DifferenceKind::Missing, None), "{engine}");
    }
}
