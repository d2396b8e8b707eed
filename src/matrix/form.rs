//! Forms of a matrix unit: how weights are encoded and what a processing element does with them.

use std::fmt::Debug;

use stoxnor_hdl::block::xnor_pe;
use stoxnor_hdl::{Bits, Builder, Net, bits_for};

use super::MatrixUnit;
use crate::arith::bits::BitMatrix;
use crate::fold::Folding;

/// A form owns the encoding of the weight memory and the processing elements; layers don't know which is in use.
pub trait Form: Debug {
    /// Where a weight stands in the words of [`encode`](Self::encode), for the module's header.
    fn layout(&self, fold: Folding, steps: u64) -> String;

    /// The words of weights for the steps of a frame, in order.
    fn encode(&self, weights: &BitMatrix, fold: Folding) -> Vec<Bits>;

    /// Builds the processing elements; returns for each the net that holds the popcount of its row, one edge after the row's
    /// last step was accumulated.
    fn processing_elements(
        &self,
        b: &mut Builder,
        unit: &MatrixUnit<'_>,
        operand: Net,
        weights: Net,
        accumulate: Net,
        first: Option<Net>,
    ) -> Vec<Net>;
}

/// XNOR, popcount, accumulate: one weight bit a lane.
///
/// Word of fold f and step s: bit p * SIMD + l is the weight of row f * PE + p and column s * SIMD + l.
#[derive(Debug, Clone, Copy)]
pub struct Classical;

impl Form for Classical {
    fn layout(&self, fold: Folding, steps: u64) -> String {
        let Folding { pe, simd } = fold;
        format!("bit p * {simd} + l of word f * {steps} + s is 1 where w[f * {pe} + p][s * {simd} + l] is +1")
    }

    fn encode(&self, weights: &BitMatrix, fold: Folding) -> Vec<Bits> {
        let Folding { pe, simd } = fold;
        let mut words = Vec::with_capacity(weights.rows() / pe * (weights.columns() / simd));
        for group in 0..weights.rows() / pe {
            for step in 0..weights.columns() / simd {
                let mut word = Bits::zero((pe * simd) as u32);
                for p in 0..pe {
                    for lane in 0..simd {
                        let plus = weights.plus(group * pe + p, step * simd + lane);
                        word.set((p * simd + lane) as u32, plus);
                    }
                }
                words.push(word);
            }
        }
        words
    }

    fn processing_elements(
        &self,
        b: &mut Builder,
        unit: &MatrixUnit<'_>,
        operand: Net,
        weights: Net,
        accumulate: Net,
        first: Option<Net>,
    ) -> Vec<Net> {
        let simd = unit.fold.simd as u32;
        let element = xnor_pe(simd, bits_for(unit.fan_in as u64), first.is_some());
        (0..unit.fold.pe as u32)
            .map(|p| {
                let pe = b.instance(&format!("u_pe_{p}"), &element);
                let own = b.slice(weights, p * simd, simd);
                b.connect(pe, "enable", accumulate);
                first.iter().for_each(|f| b.connect(pe, "first", *f));
                b.connect(pe, "a", operand);
                b.connect(pe, "w", own);
                b.out(pe, "sum")
            })
            .collect()
    }
}
