//! Fully connected layers of 1-bit weights and 1-bit inputs.

use std::sync::Arc;

use rayon::prelude::*;
use stoxnor_hdl::Module;

use crate::arith::bits::BitMatrix;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::fold::{Folding, Lanes};
use crate::layer::{Batch, Kind, Layer, Resources, Sample};
use crate::matrix::{Classical, Form, LATENCY, MatrixUnit, Output, Rom};
use crate::network::{Element, Port};
use crate::schedule::Schedule;

/// `y[r] = sum over c of w[r][c] * x[c]`, with an optional threshold: +1 where `y[r] >= threshold[r]`, else -1.
#[derive(Debug, Clone)]
pub struct Dense {
    weights: BitMatrix,
    thresholds: Option<Vec<i32>>,
}

impl Dense {
    /// Weights (rows by fan-in) and, unless the dot products leave as they are, one threshold a row.
    ///
    /// # Panics
    /// Where the number of thresholds is not that of the rows.
    pub fn new(weights: BitMatrix, thresholds: Option<Vec<i32>>) -> Self {
        assert!(thresholds.as_ref().is_none_or(|t| t.len() == weights.rows()), "one threshold a row");
        Self { weights, thresholds }
    }

    /// The weights, rows by fan-in.
    pub fn weights(&self) -> &BitMatrix {
        &self.weights
    }

    /// The thresholds of the dot products, one a row.
    pub fn thresholds(&self) -> Option<&[i32]> {
        self.thresholds.as_deref()
    }

    /// The dot products of one frame.
    pub fn dots(&self, x: &[i32]) -> Vec<i32> {
        assert_eq!(x.len(), self.weights.columns(), "elements of a frame");
        (0..self.weights.rows())
            .map(|r| {
                self.weights.row(r).iter().by_vals().zip(x).map(|(plus, x)| if plus { *x } else { -x }).sum()
            })
            .collect()
    }

    /// Thresholds of the popcount: `dot >= t` is `popcount >= ceil((t + fan_in) / 2)`, cut to what a popcount reaches.
    fn popcount_thresholds(&self) -> Option<Vec<u32>> {
        let fan_in = self.weights.columns() as i64;
        let of = |t: &i32| (i64::from(*t) + fan_in + 1).div_euclid(2).clamp(0, fan_in + 1) as u32;
        Some(self.thresholds.as_ref()?.iter().map(of).collect())
    }
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let fan_in = self.weights.columns();
        let [input] = inputs else {
            return Err(Diagnostic::new(
                &MODEL_INVALID,
                format!("{} inputs where one is needed", inputs.len()),
            )
            .into());
        };
        if input.elements() != fan_in || input.element != Element::Bipolar {
            let message = format!(
                "{} {} elements come in where the weights take {fan_in} bipolar ones",
                input.elements(),
                input.element
            );
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        let element = match self.thresholds {
            Some(_) => Element::Bipolar,
            None => Element::Signed(MatrixUnit::dot_bits(fan_in)),
        };
        Ok(Port { shape: vec![self.weights.rows()], element })
    }

    fn reference(&self, inputs: &[&[i32]]) -> Vec<i32> {
        let dots = self.dots(inputs[0]);
        match &self.thresholds {
            None => dots,
            Some(thresholds) => {
                dots.iter().zip(thresholds).map(|(y, t)| if y >= t { 1 } else { -1 }).collect()
            }
        }
    }

    fn fast(&self, inputs: &[&Batch]) -> Batch {
        let Batch::Bits { elements, words } = inputs[0] else { panic!("a dense layer takes bipolar frames") };
        let rows = self.weights.rows();
        let fan_in = self.weights.columns();
        assert_eq!(*elements, fan_in, "elements of a frame");
        let stride = fan_in.div_ceil(64);
        let frames = words.len() / stride;
        match self.popcount_thresholds() {
            Some(thresholds) => {
                let out_stride = rows.div_ceil(64);
                let mut out = vec![0u64; frames * out_stride];
                out.par_chunks_mut(out_stride).zip(words.par_chunks(stride)).for_each(|(to, frame)| {
                    popcounts(&self.weights, frame, |row, count| {
                        to[row / 64] |= u64::from(count >= thresholds[row]) << (row % 64);
                    });
                });
                Batch::Bits { elements: rows, words: out }
            }
            None => {
                let mut out = vec![0; frames * rows];
                out.par_chunks_mut(rows).zip(words.par_chunks(stride)).for_each(|(to, frame)| {
                    popcounts(&self.weights, frame, |row, count| to[row] = 2 * count as i32 - fan_in as i32);
                });
                Batch::Integers { elements: rows, values: out }
            }
        }
    }

    fn lanes(&self) -> Lanes {
        Lanes::dense(self.weights.rows(), self.weights.columns())
    }

    fn hardware(&self, name: &str, _inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        let form = Classical;
        let source = Rom::new(format!("{name}_weights.mem"), form.encode(&self.weights, fold));
        let thresholds = self.popcount_thresholds();
        MatrixUnit {
            name,
            rows: self.weights.rows(),
            fan_in: self.weights.columns(),
            fold,
            user,
            form: &form,
            source: &source,
            output: thresholds.as_deref().map_or(Output::Dots, Output::Thresholds),
        }
        .build()
    }

    fn schedule(&self, fold: Folding) -> Schedule {
        let folds = self.weights.rows() / fold.pe;
        let steps = self.weights.columns() / fold.simd;
        Schedule::matrix(folds as u64, steps as u64, LATENCY)
    }

    fn resources(&self, fold: Folding) -> Resources {
        let (rows, fan_in) = (self.weights.rows() as u64, self.weights.columns() as u64);
        let threshold_bits = u64::from(MatrixUnit::threshold_bits(self.weights.columns()));
        Resources {
            lanes: (fold.pe * fold.simd) as u64,
            weight_bits: rows * fan_in,
            threshold_bits: if self.thresholds.is_some() { rows * threshold_bits } else { 0 },
            buffer_bits: if fold.pe < self.weights.rows() { fan_in } else { 0 },
        }
    }
}

/// Calls `each(row, popcount of x xnor row)` for every row. Padding bits, 0 on both sides, agree and are taken off.
#[inline(always)]
fn popcounts_of(weights: &BitMatrix, x: &[u64], each: &mut impl FnMut(usize, u32)) {
    let padding = (x.len() * 64 - weights.columns()) as u32;
    for row in 0..weights.rows() {
        let count: u32 = x.iter().zip(weights.words(row)).map(|(a, w)| (!(a ^ w)).count_ones()).sum();
        each(row, count - padding);
    }
}

/// [`popcounts_of`] with the processor's own popcount instruction where it has one.
#[allow(unsafe_code)]
fn popcounts(weights: &BitMatrix, x: &[u64], mut each: impl FnMut(usize, u32)) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "popcnt")]
        fn with_instruction(weights: &BitMatrix, x: &[u64], each: &mut impl FnMut(usize, u32)) {
            popcounts_of(weights, x, each);
        }
        if std::arch::is_x86_feature_detected!("popcnt") {
            // SAFETY: the feature has just been detected.
            return unsafe { with_instruction(weights, x, &mut each) };
        }
    }
    popcounts_of(weights, x, &mut each);
}

/// Dense layers.
pub const KIND: Kind = Kind { name: "dense", samples };

fn samples() -> Vec<Sample> {
    let sample = |rows: usize, fan_in: usize, thresholds: bool| {
        let weights = BitMatrix::from_fn(rows, fan_in, |r, c| (r * 31 + c * 17 + r * c) % 7 < 3);
        let edges = [-(fan_in as i32), 0, 1, fan_in as i32 + 1, -1];
        let thresholds = thresholds.then(|| (0..rows).map(|r| edges[r % edges.len()]).collect());
        let layer: Arc<dyn Layer> = Arc::new(Dense::new(weights, thresholds));
        (Port { shape: vec![fan_in], element: Element::Bipolar }, layer)
    };
    vec![
        sample(1, 1, true),
        sample(6, 12, true),
        sample(8, 70, true),
        sample(5, 9, false),
        sample(1, 64, false),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_of_the_popcount_decide_like_those_of_the_dot() {
        for fan_in in 1..8i32 {
            for t in -fan_in - 3..=fan_in + 3 {
                let dense = Dense::new(BitMatrix::from_fn(1, fan_in as usize, |_, _| true), Some(vec![t]));
                let threshold = dense.popcount_thresholds().unwrap()[0];
                for popcount in 0..=fan_in {
                    let by_dot = 2 * popcount - fan_in >= t;
                    assert_eq!(
                        popcount as u32 >= threshold,
                        by_dot,
                        "fan-in {fan_in}, t {t}, popcount {popcount}"
                    );
                }
            }
        }
    }

    #[test]
    fn fast_equals_reference() {
        for (port, layer) in samples() {
            let n = port.elements();
            let frames: Vec<Vec<i32>> = (0..9)
                .map(|f| (0..n).map(|e| if (e * e + f * 5 + e * f) % 3 == 0 { 1 } else { -1 }).collect())
                .collect();
            let batch = Batch::pack_bipolar(n, frames.iter().map(Vec::as_slice));
            assert_eq!(batch.unpack(), frames);
            let expected: Vec<Vec<i32>> = frames.iter().map(|f| layer.reference(&[f])).collect();
            assert_eq!(layer.fast(&[&batch]).unpack(), expected, "{layer:?}");
        }
    }
}
