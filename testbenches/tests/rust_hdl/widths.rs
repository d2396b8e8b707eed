//! Why widths are never implicit in our hardware: what rust-hdl computes and what it prints are not always the same.

use rust_hdl_core::prelude::*;

use crate::bench;
use crate::bench::Values;

#[derive(LogicBlock, Default)]
struct Sums {
    pub clock: Signal<In, Clock>,
    pub a: Signal<In, Bits<4>>,
    pub b: Signal<In, Bits<4>>,
    pub sum: Signal<Out, Bits<8>>,
    pub above: Signal<Out, Bit>,
    pub safe: Signal<Out, Bits<8>>,
}

impl Logic for Sums {
    #[hdl_gen]
    fn update(&mut self) {
        self.sum.next = bit_cast::<8, 4>(self.a.val() + self.b.val());
        self.above.next = (self.a.val() + 1) > self.b.val();
        self.safe.next = bit_cast::<8, 4>(self.a.val()) + bit_cast::<8, 4>(self.b.val());
    }
}

#[test]
fn rust_hdl_prints_other_sums_than_it_computes() {
    let bits = stoxnor_hdl::Bits::new;
    let inputs: Vec<Values> = vec![vec![bits(4, 15), bits(4, 3)]; 2];
    let simulated = bench::rust_hdl(
        Sums::default(),
        &inputs,
        |sums, level| sums.clock.next = level.into(),
        |sums, values| {
            sums.a.next = values[0].clone().into();
            sums.b.next = values[1].clone().into();
        },
        |sums| vec![sums.sum.val().into(), sums.above.val().into(), sums.safe.val().into()],
    );
    let mut sums = Sums::default();
    sums.connect_all();
    assert!(check_all(&sums).is_ok());
    let gives = [("sum", 8), ("above", 1), ("safe", 8)];
    let printed = bench::icarus(&generate_verilog(&sums), &[], &inputs, &[("a", 4), ("b", 4)], &gives);
    // The form that the kernels use is the same in both.
    assert_eq!(simulated[1], [bits(8, 0x02), bits(1, 0), bits(8, 0x12)]);
    assert_eq!(printed[1], [bits(8, 0x12), bits(1, 1), bits(8, 0x12)].map(Some));
}
