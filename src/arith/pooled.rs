//! Sums of each channel over windows, and their activations: the computation of pooling and threshold layers.

use crate::arith::activation::{Activation, Activations};
use crate::arith::kernel::Sliding;
use crate::frame::batch::Batch;
use crate::frame::element::Element;

/// The minimum and maximum sum of `taps` inputs.
pub fn sum_range(input: Element, taps: usize) -> (i64, i64) {
    let (min, max) = input.range();
    (min * taps as i64, max * taps as i64)
}

/// Sums each channel's taps at every position of a kernel, then applies an activation. Every channel is a group of its own.
/// Shared by layers that add or only compare.
#[derive(Debug, Clone)]
pub struct WindowSum {
    kernel: Sliding,
    activations: Activations,
}

impl WindowSum {
    /// A kernel with no activation, one for all members, or one per member. The rows of an activation are the channels.
    ///
    /// # Panics
    /// If the kernel's groups are not single channels, or an activation does not fit.
    pub fn new(kernel: Sliding, activations: Vec<Activation>) -> Self {
        assert_eq!(kernel.groups, kernel.channels, "a group for each channel");
        let activations = Activations::new(activations, kernel.channels);
        Self { kernel, activations }
    }

    /// The kernel.
    pub fn kernel(&self) -> &Sliding {
        &self.kernel
    }

    /// The activations.
    pub fn activations(&self) -> &Activations {
        &self.activations
    }

    /// The sums of a frame, in plain integer arithmetic.
    pub fn sums(&self, frame: &[i32]) -> Vec<i32> {
        let Sliding { window, channels, .. } = self.kernel;
        let places = (0..window.positions()).flat_map(|p| (0..channels).map(move |c| (p, c)));
        places.map(|(p, c)| self.kernel.gather(frame, p, c).iter().sum()).collect()
    }

    /// The output for the sums of a frame in a member.
    pub fn activated(&self, sums: Vec<i32>, member: usize) -> Vec<i32> {
        let channels = self.kernel.channels;
        let value = |(i, sum)| self.activations.value(member, i % channels, sum);
        sums.into_iter().enumerate().map(value).collect()
    }

    /// The sums of a batch of frames.
    pub fn fast_sums(&self, frames: &Batch) -> Batch {
        frames.each(None, self.elements(), |frame| self.sums(frame))
    }

    /// Output elements per frame.
    pub fn elements(&self) -> usize {
        self.kernel.window.positions() * self.kernel.channels
    }
}
