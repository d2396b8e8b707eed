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

/// Zones of an image: positions with thresholds of their own. Rows and columns are divided separately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zones {
    /// For each row and each column its part, numbered from 0.
    parts: [Vec<usize>; 2],
}

impl Zones {
    /// The part of each row and of each column; part p of the rows and part q of the columns are zone p times the number of parts of
    /// the columns, plus q.
    ///
    /// # Panics
    /// If there are no rows or no columns, or a part is left out.
    pub fn new(rows: Vec<usize>, columns: Vec<usize>) -> Self {
        let parts = [rows, columns];
        for axis in &parts {
            let most = axis.iter().max().expect("an image");
            assert!((0..*most).all(|part| axis.contains(&part)), "parts numbered from 0");
        }
        Self { parts }
    }

    /// Number of parts of an axis.
    fn extent(&self, axis: usize) -> usize {
        self.parts[axis].iter().max().map_or(1, |most| most + 1)
    }

    /// Number of zones.
    pub fn count(&self) -> usize {
        self.extent(0) * self.extent(1)
    }

    /// Height and width of the image.
    pub fn size(&self) -> [usize; 2] {
        [self.parts[0].len(), self.parts[1].len()]
    }

    /// The zone of a position, row-major.
    pub fn at(&self, position: usize) -> usize {
        let width = self.parts[1].len();
        self.parts[0][position / width] * self.extent(1) + self.parts[1][position % width]
    }

    /// The runs of an axis that lie in one part: the first place of each, and what it adds to the number of the zone.
    pub fn runs(&self, axis: usize) -> Vec<(usize, usize)> {
        let factor = if axis == 0 { self.extent(1) } else { 1 };
        let parts = &self.parts[axis];
        let begins = |at: &usize| *at == 0 || parts[*at] != parts[at - 1];
        (0..parts.len()).filter(begins).map(|at| (at, parts[at] * factor)).collect()
    }
}

/// Sums each channel's taps at every position of a kernel, then applies an activation. Every channel is a group of its own.
/// Shared by layers that add or only compare.
#[derive(Debug, Clone)]
pub struct WindowSum {
    kernel: Sliding,
    zones: Option<Zones>,
    activations: Activations,
}

impl WindowSum {
    /// A kernel with no activation, one for all members, or one per member. The rows of an activation are the channels.
    ///
    /// # Panics
    /// If the kernel's groups are not single channels, or an activation does not fit.
    pub fn new(kernel: Sliding, activations: Vec<Activation>) -> Self {
        Self::zoned(kernel, None, activations)
    }

    /// As [`new`](Self::new), with activations that differ between the zones of the output: channel c of zone z has row z times the
    /// number of channels, plus c.
    ///
    /// # Panics
    /// If the kernel's groups are not single channels, an activation does not fit, or the zones are those of another image.
    pub fn zoned(kernel: Sliding, zones: Option<Zones>, activations: Vec<Activation>) -> Self {
        assert_eq!(kernel.groups, kernel.channels, "a group for each channel");
        assert!(zones.as_ref().is_none_or(|z| z.size() == kernel.window.output()), "zones of the output");
        let zones = zones.filter(|zones| zones.count() > 1);
        let rows = kernel.channels * zones.as_ref().map_or(1, Zones::count);
        let activations = Activations::new(activations, rows);
        Self { kernel, zones, activations }
    }

    /// The kernel.
    pub fn kernel(&self) -> &Sliding {
        &self.kernel
    }

    /// The zones of the output; `None` if all positions have the same activations.
    pub fn zones(&self) -> Option<&Zones> {
        self.zones.as_ref()
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
        let zone = |position| self.zones.as_ref().map_or(0, |zones| zones.at(position));
        let row = |i: usize| zone(i / channels) * channels + i % channels;
        let value = |(i, sum)| self.activations.value(member, row(i), sum);
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
