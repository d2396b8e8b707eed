//! The matrix unit of a [`Product`].

use crate::arith::product::{Product, Stochastic, computable};
use crate::arith::sampling::Realisation;
use crate::diagnostic::Result;
use crate::frame::element::Element;
use crate::unit::folding::Folding;
use crate::unit::matrix::rom::Rom;
use crate::unit::matrix::{
    BitPlanes, Fly, Form, MatrixUnit, Output, RowGroups, Sampled, Sampler, WeightSource,
};
use crate::unit::resources::Resources;

/// The parameters of a product's matrix unit.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// The module's name.
    pub name: &'a str,
    /// Element type of the operands.
    pub operand: Element,
    /// The minimum and maximum sum.
    pub range: (i64, i64),
    /// PE and SIMD.
    pub fold: Folding,
    /// The row groups of a frame.
    pub passes: RowGroups,
    /// User bits of the streams.
    pub user: u32,
    /// Whether operands are +1, -1 and, as padding, 0.
    pub masked: bool,
}

impl Product {
    /// The weight source: a ROM, or a sampler for stochastic weights.
    fn source<'a>(&'a self, name: &'a str, form: &'a BitPlanes, fold: Folding) -> Box<dyn WeightSource + 'a> {
        let sampler = |s: &'a Stochastic| Sampler { name, matrix: &s.matrix, members: s.members, fold };
        match &self.stochastic {
            Some(s) if s.realisation == Realisation::Fly => Box::new(Fly(sampler(s))),
            Some(s) if s.realisation == Realisation::Sampled => Box::new(Sampled(sampler(s))),
            _ => Box::new(Rom { name, form, members: self.matrices(), fold }),
        }
    }

    /// Calls `use_it` with the matrix unit.
    pub fn with_unit<R>(&self, unit: Unit<'_>, use_it: impl FnOnce(MatrixUnit<'_>) -> R) -> R {
        let Unit { name, operand, range, fold, passes, user, masked } = unit;
        let form = BitPlanes::new(self.kind(), operand);
        let form = match masked {
            true => form.masked(),
            false if self.stored_binary() => form.stored(fold),
            false => form,
        };
        let source = self.source(name, &form, fold);
        let output = match self.activations.list() {
            [] => Output::Sums(self.sum_element(operand, range)),
            list => Output::Activations(list),
        };
        use_it(MatrixUnit::new(name, self.matrices(), (fold, passes), user, &form, &*source, output))
    }

    /// The resources of the matrix unit.
    pub fn resources(&self, unit: Unit<'_>) -> Resources {
        let Unit { fold, operand, passes, .. } = unit;
        let reads_again = passes.folds(fold) > 1;
        self.with_unit(unit, |unit| Resources {
            lanes: (fold.pe * fold.simd) as u64,
            weight_bits: unit.weight_bits(),
            threshold_bits: unit.table_bits(),
            buffer_bits: if reads_again { self.fan_in() as u64 * u64::from(operand.bits()) } else { 0 },
        })
    }
    /// Element type of the output, for operands of type `operand` whose sums lie in `range`.
    ///
    /// # Errors
    /// If the sums do not fit 31 bits.
    pub fn element(&self, operand: Element, range: (i64, i64)) -> Result<Element> {
        computable(range)?;
        Ok(self.activation(0).map_or_else(|| self.sum_element(operand, range), |a| a.element))
    }

    pub(crate) fn sum_element(&self, operand: Element, range: (i64, i64)) -> Element {
        BitPlanes::new(self.kind(), operand).raw_sums(&self.matrices()).element(range)
    }
}
