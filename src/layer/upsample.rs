//! Nearest-neighbour upsampling of images.

use std::sync::Arc;

use stoxnor_hdl::Module;
use stoxnor_hdl::block::{LineBuffer, Loop};

use crate::arith::kernel::within_reach;
use crate::diagnostic::Result;
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::resources::Resources;
use crate::unit::window::LineBufferStage;

/// Nearest-neighbour upsampling: `y[i][j][c] = x[i / down][j / across][c]`, with integer division.
///
/// Frames of [height, width, channels] become [height * down, width * across, channels].
#[derive(Debug, Clone)]
pub struct Upsample {
    shape: [usize; 3],
    factor: [usize; 2],
}

impl Upsample {
    /// Upsampling of frames of `shape`, by `factor` = [down, across].
    ///
    /// # Panics
    /// If a factor is 0.
    pub fn new(shape: [usize; 3], factor: [usize; 2]) -> Self {
        assert!(!factor.contains(&0), "a pixel comes at least once");
        Self { shape, factor }
    }

    fn out(&self) -> [usize; 3] {
        let ([height, width, channels], [down, across]) = (self.shape, self.factor);
        [height * down, width * across, channels]
    }

    fn repeated(&self, frame: &[i32]) -> Vec<i32> {
        let ([_, width, channels], [down, across]) = (self.shape, self.factor);
        let [rows, columns, _] = self.out();
        let pixel = |i: usize, j: usize| &frame[(i / down * width + j / across) * channels..][..channels];
        (0..rows)
            .flat_map(|i| (0..columns).map(move |j| (i, j)))
            .flat_map(|(i, j)| pixel(i, j).to_vec())
            .collect()
    }

    /// A ring buffer that holds a row while it is repeated; a few words if rows are not repeated.
    fn buffer(&self, input: &Port, fold: Folding, user: u32) -> LineBufferStage {
        let ([height, width, channels], [down, across]) = (self.shape, self.factor.map(|f| f as u64));
        let words = (channels / fold.pe) as u64;
        let line = width as u64 * words;
        let pixels = |name, count| Loop::still(name, count, words);
        let mut inner = vec![Loop::still("slice", words, 1), Loop::still("x_again", across, 0)];
        if down > 1 {
            inner.extend([pixels("x", width as u64), Loop::still("y_again", down, 0)]);
        }
        let columns = if down > 1 { 1 } else { width as u64 };
        LineBufferStage::alone(LineBuffer {
            width: fold.pe as u32 * input.element.bits(),
            depth: 2,
            frame: height as u64 * line,
            inner,
            outer: [pixels("x_position", columns), Loop::still("y_position", height as u64, line)],
            taps: vec![Loop::still("tap", 1, 0)],
            skip: 0,
            border: None,
            user,
        })
    }
}

impl Layer for Upsample {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        input.streams_as(&self.shape)?;
        let [rows, columns, _] = self.out();
        within_reach(rows.saturating_mul(columns))?;
        Ok(Port { shape: self.out().to_vec(), element: input.element })
    }

    fn reference(&self, inputs: &[&[i32]], _: usize) -> Vec<i32> {
        self.repeated(inputs[0])
    }

    fn fast(&self, inputs: &[&Batch], _: usize) -> Batch {
        let batch = inputs[0];
        batch.each(batch.element(), self.out().iter().product(), |frame| self.repeated(frame))
    }

    fn lanes(&self) -> Lanes {
        let [height, width, channels] = self.shape;
        let [rows, columns, _] = self.out();
        Lanes::channelwise(channels, height * width, rows * columns)
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        self.buffer(&inputs[0], fold, user).buffer().build(name)
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        self.buffer(&inputs[0], fold, 0).schedule_alone()
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        Resources::buffer(self.buffer(&inputs[0], fold, 0).bits())
    }
}

/// The upsampling layer.
pub const KIND: Kind = Kind { name: "upsample", samples };

fn samples() -> Vec<Sample> {
    let forms = [
        ([2, 3, 4], [2, 2], Element::Bipolar),
        ([3, 2, 2], [1, 3], Element::Unsigned(3)),
        ([1, 5, 2], [1, 2], Element::Signed(4)),
        ([3, 1, 1], [3, 1], Element::Signed(20)),
        ([2, 2, 3], [1, 1], Element::Bipolar),
    ];
    let sample = |(shape, factor, element): ([usize; 3], [usize; 2], Element)| {
        (
            vec![Port { shape: shape.to_vec(), element }],
            Arc::new(Upsample::new(shape, factor)) as Arc<dyn Layer>,
        )
    };
    forms.into_iter().map(sample).collect()
}
