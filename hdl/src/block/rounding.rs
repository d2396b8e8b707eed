//! Stochastic rounding of a stored number, with random bits, to a bit or a trit.

use std::sync::Arc;

use crate::{Builder, Module, Net, Role};

/// The rounding of a lane: its result for the random number u of B bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundingLane {
    /// A bit: 1 if u < P.
    Binary,
    /// A trit: floor((W + u) / 2^B).
    Ternary,
}

impl RoundingLane {
    /// Bits of a stored number if each lane has `bits` random bits.
    pub fn code_bits(self, bits: u32) -> u32 {
        match self {
            Self::Binary => bits + 1,
            Self::Ternary => bits + 2,
        }
    }

    /// The encoding of a number P (0 to 2^bits) or W (-2^bits to 2^bits).
    ///
    /// Binary: P; only the top bit is 1 if P is 2^bits. Ternary: W in two's complement. Ternary with one random bit: bit 0 and
    /// bit 1 say whether the trit is nonzero for u = 0 and for u = 1, bit 2 says whether W is not negative.
    pub fn code(self, bits: u32, number: i32) -> u64 {
        match self {
            Self::Ternary if bits == 1 => {
                let active = |u: i32| u64::from((number + u) >> 1 != 0);
                active(0) | active(1) << 1 | u64::from(number >= 0) << 2
            }
            _ => number as u64 & (u64::MAX >> (64 - self.code_bits(bits))),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Ternary => "ternary",
        }
    }

    /// A combinational module with `lanes` lanes of `bits` random bits each. Port `words`: lane l uses the bits `lanes * bits - 1
    /// - (l * bits + k)` for k = 0, 1, ..., the first as the most significant. Port `code`: bit j of lane l's number
    /// ([`code`](Self::code)) is bit `j * lanes + l`. Port `w`: 1 is +1. Port `active` (ternary): 1 is nonzero.
    pub fn build(self, lanes: u32, bits: u32) -> Arc<Module> {
        let mut b = Builder::new(format!("round_{}_{lanes}x{bits}", self.name()));
        b.doc(format!(
            "Stochastic rounding, {lanes} lanes, {bits} random {} each: u, against the stored number.",
            if bits == 1 { "bit" } else { "bits" }
        ));
        match self {
            Self::Binary => b.doc(format!("w = u < P, with P up to {}.", 1u32 << bits)),
            Self::Ternary => b.doc(format!(
                "floor((W + u) / {}) is -1, 0 or +1: active where it is not 0, w where W is not negative.",
                1u32 << bits
            )),
        }
        b.doc(if bits == 1 {
            format!("Lane l: u = words[{} - l];", lanes - 1)
        } else {
            format!("Lane l: u = the {bits} bits of words from {} - l * {bits} upwards;", (lanes - 1) * bits)
        });
        b.doc(match self {
            Self::Ternary if bits == 1 => {
                format!(
                    "code[l], code[{lanes} + l]: whether it is active for u = 0, for u = 1; code[{} + l]: w.",
                    2 * lanes
                )
            }
            Self::Binary => format!("bit j of P is code[j * {lanes} + l]."),
            Self::Ternary => format!("bit j of W, in two's complement, is code[j * {lanes} + l]."),
        });
        b.doc("Combinational.");
        let words = b.input("words", lanes * bits, Role::Data);
        let code = b.input("code", lanes * self.code_bits(bits), Role::Data);
        // All lanes in parallel: one net per bit of their numbers, least significant first.
        let random: Vec<Net> = (0..bits)
            .map(|k| {
                let plane: Vec<Net> =
                    (0..lanes).map(|l| b.slice(words, lanes * bits - (l + 1) * bits + k, 1)).collect();
                let plane = b.concat(&plane);
                b.named(format!("u_{k}"), plane)
            })
            .collect();
        let mut plane = |j: u32| b.slice(code, j * lanes, lanes);
        let stored: Vec<Net> = (0..self.code_bits(bits)).map(&mut plane).collect();
        match self {
            Self::Binary => {
                let mut below: Option<Net> = None;
                for (k, (u, p)) in random.iter().zip(&stored).enumerate() {
                    let less = b.not(*u);
                    let less = b.and(less, *p);
                    below = Some(match below {
                        None => less,
                        Some(before) => {
                            let equal = b.xnor(*u, *p);
                            let still = b.and(equal, before);
                            let below = b.or(less, still);
                            b.named(format!("below_{k}"), below)
                        }
                    });
                }
                let below = below.expect("at least one bit");
                let w = b.or(below, stored[bits as usize]);
                b.output("w", w, Role::Data);
            }
            Self::Ternary if bits == 1 => {
                let (u, not_u) = (random[0], b.not(random[0]));
                let at_one = b.and(u, stored[1]);
                let at_zero = b.and(not_u, stored[0]);
                let active = b.or(at_one, at_zero);
                b.output("w", stored[2], Role::Data);
                b.output("active", active, Role::Data);
            }
            Self::Ternary => {
                let mut carry: Option<Net> = None;
                for (k, (u, p)) in random.iter().zip(&stored).enumerate() {
                    let both = b.and(*u, *p);
                    carry = Some(match carry {
                        None => b.named("carry_0", both),
                        Some(before) => {
                            let either = b.or(*u, *p);
                            let passed = b.and(either, before);
                            let carry = b.or(both, passed);
                            b.named(format!("carry_{k}"), carry)
                        }
                    });
                }
                let carry = carry.expect("at least one bit");
                let (low, sign) = (stored[bits as usize], stored[bits as usize + 1]);
                let active = b.xor(low, carry);
                let w = b.not(sign);
                b.output("w", w, Role::Data);
                b.output("active", active, Role::Data);
            }
        }
        b.finish()
    }
}
