//! Sliding windows: the pixel that a kernel tap sees at a position.

/// A kernel that slides over an image. All extents are [height, width]; a one-dimensional signal is an image of height 1.
///
/// Along each axis, position i and tap u see pixel i * stride + u * dilation - before. Pixels outside the image are padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Window {
    /// Extent of the image.
    pub input: [usize; 2],
    /// Taps of the kernel.
    pub kernel: [usize; 2],
    /// Distance between neighbouring positions in pixels.
    pub stride: [usize; 2],
    /// Distance between neighbouring taps in pixels.
    pub dilation: [usize; 2],
    /// Padding above and left of the image.
    pub before: [usize; 2],
    /// Padding below and right of the image.
    pub after: [usize; 2],
}

/// Pixels along an axis, with the taps that see them.
#[derive(Debug, Clone)]
pub struct Seen {
    pixel: usize,
    step: usize,
    tap: usize,
    end: usize,
}

impl Iterator for Seen {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let seen = (self.pixel, self.tap);
        (self.tap < self.end).then(|| {
            self.pixel += self.step;
            self.tap += 1;
            seen
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.end - self.tap;
        (count, Some(count))
    }
}

impl ExactSizeIterator for Seen {}

impl Window {
    /// A kernel of stride and dilation 1, without padding.
    pub fn plain(input: [usize; 2], kernel: [usize; 2]) -> Self {
        Self { input, kernel, stride: [1; 2], dilation: [1; 2], before: [0; 2], after: [0; 2] }
    }

    /// One position whose kernel is the whole image.
    pub fn whole(input: [usize; 2]) -> Self {
        Self::plain(input, input)
    }

    /// Number of pixels from the kernel's first tap to its last, both included.
    pub fn extent(&self) -> [usize; 2] {
        [0, 1].map(|a| (self.kernel[a] - 1) * self.dilation[a] + 1)
    }

    /// The reason why the window is invalid, if it is: an extent of 0, a kernel larger than the padded image, or padding as large
    /// as the kernel's extent (a position could see padding only).
    pub fn fault(&self) -> Option<String> {
        for (axis, name) in ["height", "width"].into_iter().enumerate() {
            let [input, kernel, stride, dilation] =
                [self.input, self.kernel, self.stride, self.dilation].map(|v| v[axis]);
            if [input, kernel, stride, dilation].contains(&0) {
                return Some(format!(
                    "input {input}, kernel {kernel}, stride {stride} and dilation {dilation} along the {name} must be at least 1"
                ));
            }
            let (before, after) = (self.before[axis], self.after[axis]);
            let extent = (kernel - 1).checked_mul(dilation).and_then(|e| e.checked_add(1));
            let Some(extent) = extent.filter(|e| *e <= input.saturating_add(before).saturating_add(after))
            else {
                return Some(format!(
                    "{kernel} taps {dilation} apart do not fit into the {name} of {input} with padding {before} and {after}"
                ));
            };
            if before >= extent || after >= extent {
                return Some(format!(
                    "padding of {before} and {after} along the {name} is as much as the kernel's extent of {extent}"
                ));
            }
        }
        None
    }

    /// Number of positions along each axis.
    pub fn output(&self) -> [usize; 2] {
        let extent = self.extent();
        // A kernel larger than its image is a fault, which is told when the layer is built.
        let room = |a: usize| (self.input[a] + self.before[a] + self.after[a]).saturating_sub(extent[a]);
        // Fast engines ask for every position, most often without a stride.
        [0, 1].map(|a| if self.stride[a] == 1 { room(a) + 1 } else { room(a) / self.stride[a].max(1) + 1 })
    }

    /// Total number of positions.
    pub fn positions(&self) -> usize {
        self.output().iter().product()
    }

    /// Total number of taps.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Number of pixels of the image.
    pub fn pixels(&self) -> usize {
        self.input.iter().product()
    }

    /// Whether some position sees padding.
    pub fn pads(&self) -> bool {
        // Padding after the image may be out of reach of every position.
        let (output, extent) = (self.output(), self.extent());
        (0..2).any(|a| {
            self.before[a] > 0
                || (output[a] - 1) * self.stride[a] + extent[a] > self.before[a] + self.input[a]
        })
    }

    /// Whether every position sees exactly its own pixel (a 1 x 1 kernel).
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.stride == [1; 2] && !self.pads()
    }

    /// For each axis, the pixels of the image that are seen at a position, in order, each with its tap.
    pub fn seen(&self, position: usize) -> [Seen; 2] {
        let across = self.output()[1];
        let axis = |axis: usize, position: usize| {
            let (from, step) = (position * self.stride[axis], self.dilation[axis]);
            let first = self.before[axis].saturating_sub(from).div_ceil(step);
            let end = (self.input[axis] + self.before[axis]).saturating_sub(from).div_ceil(step);
            let pixel = (from + first * step).saturating_sub(self.before[axis]);
            Seen { pixel, step, tap: first, end: end.min(self.kernel[axis]).max(first) }
        };
        [axis(0, position / across), axis(1, position % across)]
    }

    /// The pixel that the first tap sees at a position where no tap sees padding.
    pub fn first(&self, position: usize) -> Option<usize> {
        let (across, extent) = (self.output()[1], self.extent());
        let at = |axis: usize, position: usize| {
            let at = (position * self.stride[axis]).checked_sub(self.before[axis])?;
            (at + extent[axis] <= self.input[axis]).then_some(at)
        };
        Some(at(0, position / across)? * self.input[1] + at(1, position % across)?)
    }

    /// The pixel that tap `tap` sees at position `position`; `None` for padding. All three indices are row-major.
    pub fn pixel(&self, position: usize, tap: usize) -> Option<usize> {
        let across = self.output()[1];
        let at = |axis: usize, position: usize, tap: usize| {
            let padded = position * self.stride[axis] + tap * self.dilation[axis];
            padded.checked_sub(self.before[axis]).filter(|p| *p < self.input[axis])
        };
        let y = at(0, position / across, tap / self.kernel[1])?;
        let x = at(1, position % across, tap % self.kernel[1])?;
        Some(y * self.input[1] + x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_see_their_pixels() {
        let w = Window {
            stride: [2, 1],
            dilation: [1, 2],
            before: [1, 0],
            after: [0, 1],
            ..Window::plain([4, 5], [2, 2])
        };
        assert_eq!((w.fault(), w.extent(), w.output()), (None, [2, 3], [2, 4]));
        assert!(w.pads());
        for p in 0..w.positions() {
            let [rows, columns] = w.seen(p);
            let pairs = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
            let taps: Vec<_> = pairs.map(|((y, v), (x, u))| (v * 2 + u, y * 5 + x)).collect();
            let due: Vec<_> = (0..4).filter_map(|t| Some((t, w.pixel(p, t)?))).collect();
            assert_eq!(taps, due, "position {p}");
            assert_eq!(w.first(p), (due.len() == 4).then(|| due[0].1), "position {p}");
        }
        let seen = |p| (0..4).map(|t| w.pixel(p, t)).collect::<Vec<_>>();
        assert_eq!(seen(0), [None, None, Some(0), Some(2)]);
        assert_eq!(seen(7), [Some(8), None, Some(13), None]);
        assert!(!Window::plain([4, 4], [2, 2]).pads());
        assert!(
            !Window { stride: [2, 2], after: [0, 1], ..Window::plain([4, 4], [2, 2]) }.pads(),
            "out of reach"
        );
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert!(Window::plain([2, 2], [3, 1]).fault().is_some_and(|f| f.contains("do not fit")));
        assert!(
            Window { before: [1, 0], ..Window::plain([2, 2], [1, 1]) }
                .fault()
                .is_some_and(|f| f.contains("as much"))
        );
        assert!(Window { stride: [0, 1], ..Window::plain([2, 2], [1, 1]) }.fault().is_some());
        let huge = Window { dilation: [usize::MAX, 1], ..Window::plain([2, 2], [3, 1]) };
        assert!(huge.fault().is_some());
    }
}
