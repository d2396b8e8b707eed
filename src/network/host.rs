//! The host's computation around the hardware: input quantisation, and outputs from the hardware's integers.

use crate::diagnostic::{Diagnostic, INPUT_VALUE, Result};
use crate::frame::element::Element;
use crate::graph::step::wrong_shape;
use crate::graph::tensor::{Data, Tensor};
use crate::network::Network;

impl Network {
    /// Quantises a frame of the graph's input to the hardware's input: integers, channels last, row-major.
    ///
    /// # Errors
    /// If the frame has another size, or a value does not become an integer of the input's type (such as NaN).
    pub fn quantise(&self, frame: &[f32]) -> Result<Vec<i32>> {
        let shape = self.front.input_shape();
        if frame.len() != shape.iter().product::<usize>() {
            return Err(wrong_shape(&format!("{} elements", frame.len()), shape).into());
        }
        let out = self.front.eval(&Tensor { shape: shape.to_vec(), data: Data::Float(frame.to_vec()) })?;
        let values = out.floats("the quantised input")?;
        let element = self.input.element;
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
