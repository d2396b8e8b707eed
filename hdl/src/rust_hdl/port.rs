//! A port of run-time width, and the conversion of its values to rust-hdl's types.

use rust_hdl_core::ast::VerilogLiteral;
use rust_hdl_core::bits::Bits as Fixed;
use rust_hdl_core::prelude::{
    Atom, AtomKind, Block, Clock, Logic, PinConstraint, Probe, TypeDescriptor, TypeKind, VCDValue,
};
use rust_hdl_core::signal::get_signal_id;

use crate::Bits;

/// A port of a generated module. It corresponds to rust-hdl's `Signal`, with a width that is known only at run time.
///
/// A kernel writes `next` and reads `val()`, with `into()` because the types differ: `self.unit.a.next = self.x.val().into()` and
/// `self.y.next = self.unit.sum.val().into()`. Both become plain assignments in the kernel's Verilog.
#[derive(Debug, Clone)]
pub struct Port {
    /// The value to assign; it must have the port's width.
    pub next: Bits,
    val: Bits,
    name: String,
    output: bool,
    changed: bool,
    connected: bool,
    id: usize,
}

impl Port {
    pub(super) fn new(name: &str, width: u32, output: bool) -> Self {
        Self {
            next: Bits::zero(width),
            val: Bits::zero(width),
            name: name.to_owned(),
            output,
            changed: false,
            connected: false,
            id: get_signal_id(),
        }
    }

    /// The port's name in the generated module.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of bits.
    pub fn width(&self) -> u32 {
        self.val.width()
    }

    /// Whether the port is an output of the generated module.
    pub fn output(&self) -> bool {
        self.output
    }

    /// The current value, as for a `Signal`: a new output value is visible at once, a new input value once it has been taken
    /// over.
    pub fn val(&self) -> Bits {
        if self.output { self.next.clone() } else { self.val.clone() }
    }

    /// The value as the module sees it.
    pub(super) fn seen(&self) -> &Bits {
        &self.val
    }
}

impl Atom for Port {
    fn bits(&self) -> usize {
        self.width() as usize
    }

    fn connected(&self) -> bool {
        self.connected
    }

    fn changed(&self) -> bool {
        self.changed
    }

    fn kind(&self) -> AtomKind {
        if self.output { AtomKind::OutputParameter } else { AtomKind::InputParameter }
    }

    fn descriptor(&self) -> TypeDescriptor {
        let width = self.bits();
        TypeDescriptor { name: format!("Bits::<{width}>"), kind: TypeKind::Bits(width) }
    }

    fn vcd(&self) -> VCDValue {
        // rust-hdl does not export the type of a bit, but constructs one here.
        let bit = |on: bool| match VCDValue::from(on) {
            VCDValue::Single(bit) => bit,
            _ => unreachable!("a bool is a single bit"),
        };
        VCDValue::Vector((0..self.width()).rev().map(|i| bit(self.val.bit(i))).collect())
    }

    fn id(&self) -> usize {
        self.id
    }

    /// The low 64 bits. rust-hdl prints only the values of constants, and a port is none.
    fn verilog(&self) -> VerilogLiteral {
        self.val.words().first().copied().unwrap_or(0).into()
    }

    fn constraints(&self) -> Vec<PinConstraint> {
        vec![]
    }
}

impl Logic for Port {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.connected = true;
    }
}

impl Block for Port {
    fn connect_all(&mut self) {}

    fn update_all(&mut self) {
        let (found, width) = (self.next.width(), self.width());
        assert!(found == width, "port {} has {width} bits and was given {found}", self.name);
        self.changed = self.val != self.next;
        if self.changed {
            self.val.clone_from(&self.next);
        }
    }

    fn has_changed(&self) -> bool {
        self.changed
    }

    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_atom(name, self);
    }
}

impl<const N: usize> From<Fixed<N>> for Bits {
    fn from(value: Fixed<N>) -> Self {
        if N <= 64 {
            return Self::new(N as u32, value.into());
        }
        let mut bits = Self::zero(N as u32);
        for index in 0..N {
            bits.set(index as u32, value.get_bit(index));
        }
        bits
    }
}

impl From<bool> for Bits {
    fn from(value: bool) -> Self {
        Self::new(1, value.into())
    }
}

impl From<Clock> for Bits {
    fn from(value: Clock) -> Self {
        value.clk.into()
    }
}

/// Panics if the value has another width: nothing is extended or truncated silently.
impl<const N: usize> From<Bits> for Fixed<N> {
    fn from(value: Bits) -> Self {
        assert!(value.width() as usize == N, "a value of {} bits does not make Bits<{N}>", value.width());
        match value.to_u64() {
            Some(small) => small.into(),
            None => Fixed::Long(std::array::from_fn::<bool, N, _>(|i| value.bit(i as u32)).into()),
        }
    }
}

/// Panics if the value has more than one bit.
impl From<Bits> for bool {
    fn from(value: Bits) -> Self {
        assert!(value.width() == 1, "a value of {} bits makes no bool", value.width());
        value.bit(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<const N: usize>() {
        let mut bits = Bits::zero(N as u32);
        (0..N as u32).step_by(3).for_each(|i| bits.set(i, true));
        bits.set(N as u32 - 1, true);
        let fixed: Fixed<N> = bits.clone().into();
        assert!((0..N).all(|i| fixed.get_bit(i) == bits.bit(i as u32)), "{N} bits");
        assert_eq!(Bits::from(fixed), bits);
        assert_eq!(Bits::from(Fixed::<N>::from(Bits::zero(N as u32))), Bits::zero(N as u32));
    }

    #[test]
    fn values_go_there_and_back() {
        round_trip::<1>();
        round_trip::<8>();
        round_trip::<32>();
        round_trip::<33>();
        round_trip::<64>();
        round_trip::<65>();
        round_trip::<200>();
        assert!(bool::from(Bits::from(true)));
    }

    #[test]
    #[should_panic(expected = "a value of 5 bits does not make Bits<4>")]
    fn nothing_is_cut() {
        let _: Fixed<4> = Bits::new(5, 3).into();
    }

    #[test]
    #[should_panic(expected = "port a has 4 bits and was given 3")]
    fn an_assignment_of_another_width_is_found() {
        let mut port = Port::new("a", 4, false);
        port.next = Fixed::<3>::from(1).into();
        port.update_all();
    }
}
