//! A weight source: a ROM with registered read that holds the weights of all members.

use std::fmt::Debug;

use stoxnor_hdl::{Bits, Builder, Image};

use crate::arith::matrix::IntMatrix;
use crate::unit::folding::{Cuts, Folding};
use crate::unit::matrix::source::Step;
use crate::unit::matrix::source::{WeightSource, Word, address, all};
use crate::unit::matrix::{Form, Words};

/// Weights in a ROM with registered read, in order of members.
#[derive(Debug)]
pub struct Rom<'a> {
    /// Name of the layer, used for the memory image.
    pub name: &'a str,
    /// The encoding of the weights.
    pub form: &'a dyn Form,
    /// The weights of each member; one matrix if all members share it.
    pub members: Vec<&'a IntMatrix>,
    /// PE and SIMD.
    pub fold: Folding,
}

impl WeightSource for Rom<'_> {
    fn latency(&self) -> u32 {
        1 + u32::from(self.fold.cuts.has(Cuts::Words))
    }

    fn tells_frames(&self) -> bool {
        self.members.len() > 1
    }

    fn document(&self, b: &mut Builder) {
        let weights = self.members[0];
        let steps = (weights.columns() / self.fold.simd) as u64;
        b.doc(format!("Weights: {}.", self.form.layout(self.fold, steps)));
        if self.members.len() > 1 {
            let words = weights.rows() / self.fold.pe * steps as usize;
            b.doc(format!("Member m has the {words} words from m * {words} on."));
        }
    }

    fn memory_bits(&self) -> u64 {
        let weights = self.members[0];
        (self.members.len() * weights.rows() * weights.columns()) as u64 * u64::from(self.form.kind().bits())
    }

    fn hardware(&self, b: &mut Builder, step: Step) -> Word {
        let words: Vec<Bits> = self.members.iter().flat_map(|w| self.form.encode(w, self.fold)).collect();
        let depth = words.len() as u64;
        let position_end = if depth > 1 { step.position_end(b) } else { None };
        let several = self.members.len() > 1;
        let last_member = step.last_member.filter(|_| several);
        let back = |b: &mut Builder, _| all(b, [position_end, last_member]).unwrap_or(step.issue);
        // A single member's words are the same at every position, and start at address 0.
        let again = step.position.filter(|_| several).map(|p| (position_end, p));
        let address = address(b, "weight_at", depth, step.issue, again, back);
        let words = Words {
            name: "u_weights",
            parameter: "WEIGHTS_FILE",
            image: Image { file: format!("{}_weights.mem", self.name), words },
            behind: self.fold.cuts.has(Cuts::Words).then_some("weights"),
        };
        let word = words.read(b, self.fold.roms, address, step.run);
        Word { word, ready: None }
    }
}
