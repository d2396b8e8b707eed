//! The host's computation around the hardware: input quantisation, and outputs from the hardware's integers.

use crate::diagnostic::{Diagnostic, INPUT_SHAPE, INPUT_VALUE, Result};
use crate::frame::element::Element;
use crate::graph::step::wrong_shape;
use crate::graph::tensor::{Data, Tensor};
use crate::network::{Entry, Network};

impl Entry {
    /// The integers of one frame of this input.
    fn quantise(&self, frame: &[f32]) -> Result<Vec<i32>> {
        let shape = self.front.input_shape().to_vec();
        let out = self.front.eval(&Tensor { shape, data: Data::Float(frame.to_vec()) })?;
        let values = out.floats("the quantised input")?;
        let element = self.port.element;
        let (min, max) = element.range();
        let bipolar = element == Element::Bipolar;
        let integer = |(at, &v): (usize, &f32)| {
            if v.fract() == 0.0 && (min as f32..=max as f32).contains(&v) && !(bipolar && v == 0.0) {
                return Ok(v as i32);
            }
            let message = format!("element {at} of the input becomes {v}, which is no {element} number");
            Err(Diagnostic::new(&INPUT_VALUE, message)
                .help("inputs must be numbers that the graph's input quantiser turns into its integers")
                .into())
        };
        values.iter().enumerate().map(integer).collect()
    }
}

impl Network {
    /// The integer frame that the hardware takes of a frame of the graph's inputs: both hold one input after another, and each input's
    /// integers are row-major with channels last.
    ///
    /// Errors: a frame of the wrong size, and a value that is no integer of the input's type, such as not a number.
    pub fn quantise(&self, frame: &[f32]) -> Result<Vec<i32>> {
        let sizes = self.entries.iter().map(|e| e.front.input_shape().iter().product::<usize>());
        if frame.len() != sizes.clone().sum::<usize>() {
            return Err(match &self.entries[..] {
                [one] => wrong_shape(&format!("{} elements", frame.len()), one.front.input_shape()).into(),
                all => {
                    let shapes: Vec<&[usize]> = all.iter().map(|e| e.front.input_shape()).collect();
                    let message =
                        format!("{} elements given where the inputs have the shapes {shapes:?}", frame.len());
                    Diagnostic::new(&INPUT_SHAPE, message)
                        .help("give a frame of each input, one after another")
                        .into()
                }
            });
        }
        let mut rest = frame;
        let mut integers = Vec::with_capacity(self.entry_elements());
        for (entry, size) in self.entries.iter().zip(sizes) {
            let (own, others) = rest.split_at(size);
            rest = others;
            integers.extend(entry.quantise(own).map_err(|found| match self.entries.len() {
                1 => found,
                _ => found.placed(&format!("input {}", entry.name)),
            })?);
        }
        Ok(integers)
    }

    /// The graph's first output for one frame; see [`finish_output`](Self::finish_output).
    pub fn finish(&self, sums: &[i64], members: u32) -> Result<Vec<f32>> {
        self.finish_output(0, sums, members)
    }

    /// Output `index` of the graph for one frame: its tail is applied once, in float32, to `sums` / `members`.
    ///
    /// `sums` holds the integers of all exits, concatenated, each summed over `members` >= 1 networks. Indices (TopK, ArgMax) are
    /// returned as float32 too.
    pub fn finish_output(&self, index: usize, sums: &[i64], members: u32) -> Result<Vec<f32>> {
        let tail = &self.outputs[index].tail;
        let shape = tail.input_shape();
        if sums.len() != self.exit_elements() {
            return Err(wrong_shape(&format!("{} sums", sums.len()), shape).into());
        }
        let mean = sums[self.place_of(index)].iter().map(|&s| s as f32 / members as f32).collect();
        let out = tail.eval(&Tensor { shape: shape.to_vec(), data: Data::Float(mean) })?;
        Ok(match out.data {
            Data::Float(v) => v,
            Data::Int(v) => v.into_iter().map(|i| i as f32).collect(),
        })
    }
}
