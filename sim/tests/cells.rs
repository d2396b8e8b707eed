//! Layouts in vendors' cells have the values of their models, also at sizes that no proof reaches: both in the rtl engine.

use std::sync::Arc;

use stoxnor_hdl::block::{Cells, LEVELS, Lane};
use stoxnor_hdl::{Bits, Module, check::check, legalize};
use stoxnor_sim::Simulator;

/// The next of a sequence of words without order.
fn word(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 32 ^ *state
}

/// The module and its cells, with the same random inputs, while `run` is 1 and while it is not.
fn the_same(module: &Arc<Module>, stages: u32) {
    let issues = check(module);
    assert!(issues.is_empty(), "{}", issues.iter().map(|i| format!("{i}\n")).collect::<String>());
    let cells = legalize(module);
    assert!(cells.instances.iter().any(|i| i.module.primitive.is_some()), "{} has cells", module.name);
    let mut both = [Simulator::new(module), Simulator::new(&cells)];
    let mut state = u64::from(stages);
    let mut ran = 0;
    for step in 0..40 {
        for port in module.ports.iter().filter(|port| !port.output) {
            let width = module.width(port.net);
            let mut one = || match step {
                0..6 => 0,
                6..12 => u64::MAX,
                _ => word(&mut state),
            };
            let mut value = Bits::from_words(width, (0..width.div_ceil(64)).map(|_| one()));
            if port.name == "run" {
                value = Bits::new(1, u64::from(step % 5 != 3));
                ran += u32::from(step % 5 != 3);
            }
            for simulator in &mut both {
                let slot = simulator.port(&port.name).unwrap();
                simulator.set(slot, &value);
            }
        }
        let output = module.ports.iter().find(|port| port.output).unwrap();
        let [model, own] = both.each_mut().map(|simulator| {
            simulator.settle();
            simulator.edge(false);
            simulator.settle();
            simulator.get(simulator.port(&output.name).unwrap())
        });
        assert!(ran < stages || model == own, "{}, step {step}: {model:?}, in cells {own:?}", module.name);
    }
}

#[test]
fn popcounts_in_cells_count() {
    for cells in [Cells::Ccu2c, Cells::Xilinx7] {
        for lane in [Lane::Xor, Lane::MaskedXnor, Lane::And, Lane::One] {
            for lanes in [2, 3, 4, 5, 6, 7, 9, 12, 17, 25, 31, 48, 64, 100, 129, 300] {
                for levels in [0, LEVELS] {
                    let stages = cells.stages(lane, lanes, levels);
                    for bits in [1, 2, 3, 4, 10] {
                        the_same(&cells.popcount(lane, lanes, bits, levels), stages);
                    }
                }
            }
        }
    }
}

#[test]
fn sums_of_products_in_cells_add() {
    for cells in [Cells::Ccu2c, Cells::Xilinx7] {
        for lane in [Lane::Xor, Lane::Xnor, Lane::MaskedXnor] {
            for input in [&[1, 2, 4][..], &[1, 2, -4], &[1, 2, 4, 8, 16, 32, 64, -128]] {
                for lanes in [2, 5, 16, 49] {
                    for bits in [input.len() as u32, 9, 20] {
                        let stages = cells.product_stages(lane, lanes, input);
                        the_same(&cells.products(lane, lanes, input, bits, true), stages);
                        the_same(&cells.products(lane, lanes, input, bits, false), 0);
                    }
                }
            }
        }
    }
}

#[test]
fn accumulators_in_cells_accumulate() {
    for cells in [Cells::Ccu2c, Cells::Xilinx7] {
        for (bits, addend) in [(2, 1), (4, 4), (5, 3), (8, 8), (13, 7)] {
            for (starts, carries) in [(false, false), (true, false), (false, true), (true, true)] {
                the_same(&cells.next_sum(bits, addend, starts, carries), 0);
            }
        }
    }
}
