//! Average pooling in one and two dimensions: sums over windows. The division is part of the thresholds, or of the host's
//! computation.

use std::sync::Arc;

use stoxnor_hdl::Module;

use crate::arith::activation::Activation;
use crate::arith::kernel::{Fill, Sliding};
use crate::arith::pooled::{WindowSum, Zones, sum_range};
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::resources::Resources;

/// `y[c] = sum over taps t of x[t][c]` at every position of a kernel, with an optional activation per channel.
///
/// Frames of [height, width, channels] become [output height, output width, channels].
#[derive(Debug, Clone)]
pub struct AveragePool(WindowSum);

impl AveragePool {
    /// A pooling by `kernel`, in which every channel is a group. There is no activation, one for all members of an ensemble, or
    /// one per member. Bipolar frames are padded with a mask, so that padding adds 0.
    ///
    /// # Panics
    /// If the kernel's groups are not single channels, or an activation does not fit them.
    pub fn new(kernel: Sliding, activations: Vec<Activation>) -> Self {
        Self(WindowSum::new(kernel, activations))
    }

    /// A pooling whose activations differ between the zones of the output, as where an average counts fewer pixels at the border:
    /// channel c of zone z has row z times the number of channels, plus c.
    ///
    /// # Panics
    /// As [`new`](Self::new), and if the zones are those of another image.
    pub fn zoned(kernel: Sliding, zones: Zones, activations: Vec<Activation>) -> Self {
        Self(WindowSum::zoned(kernel, Some(zones), activations))
    }

    /// The kernel.
    pub fn kernel(&self) -> &Sliding {
        self.0.kernel()
    }

    /// The minimum and maximum sum for inputs of type `input`.
    pub fn sum_range(&self, input: Element) -> (i64, i64) {
        sum_range(input, self.kernel().window.taps())
    }
}

impl Layer for AveragePool {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        self.kernel().accepts(input)?;
        if self.kernel().flagged() {
            let message = "a sum takes a value for what is outside of an image";
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        let [height, width] = self.kernel().window.output();
        let element = self.0.element(input.element)?;
        Ok(Port { shape: vec![height, width, self.kernel().channels], element })
    }

    fn members(&self) -> usize {
        self.0.activations().members()
    }

    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32> {
        self.0.activated(self.0.sums(inputs[0]), member)
    }

    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.0.fast(inputs[0], member)
    }

    fn fast_sums(&self, inputs: &[&Batch], _: usize) -> Batch {
        self.0.fast_sums(inputs[0])
    }

    fn lanes(&self) -> Lanes {
        Lanes::pool(self.kernel()).comparing(self.0.activations().steps())
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        self.0.unit(name, inputs[0].element, fold, user).hardware()
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        self.0.unit("", inputs[0].element, fold, 0).schedule()
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        self.0.unit("", inputs[0].element, fold, 0).resources()
    }
}

/// The average pooling layer.
pub const KIND: Kind = Kind { name: "avgpool", samples };

fn samples() -> Vec<Sample> {
    use Element::{Bipolar, Signed, Unsigned};

    use crate::arith::window::Window;
    use crate::layer::dense::staircase;
    use crate::layer::maxpool::windows;

    let [apart, padded, dilated, line, single, whole] = windows();
    let none: Option<(Element, usize)> = None;
    let forms = [
        (apart, 4, Bipolar, none, 0),
        (padded, 4, Bipolar, none, 0),
        (padded, 2, Bipolar, Some((Bipolar, 1)), 1),
        (apart, 3, Bipolar, Some((Unsigned(2), 3)), 3),
        (apart, 4, Unsigned(2), none, 0),
        (padded, 4, Unsigned(3), Some((Bipolar, 1)), 1),
        (padded, 2, Signed(3), Some((Signed(2), 3)), 3),
        (dilated, 2, Signed(1), none, 0),
        (line, 2, Unsigned(16), Some((Unsigned(4), 15)), 1),
        (single, 2, Bipolar, Some((Bipolar, 1)), 1),
        (single, 2, Signed(4), none, 0),
        (whole, 2, Bipolar, Some((Unsigned(1), 1)), 3),
        (whole, 1, Unsigned(1), none, 0),
    ];
    let sample = |(window, channels, element, activation, members)| {
        let fill = if element == Bipolar { Fill::Mask } else { Fill::Value(0) };
        let kernel = Sliding { window, channels, groups: channels, fill };
        let port = Port { shape: kernel.shape().to_vec(), element };
        let range = sum_range(element, kernel.window.taps());
        let stairs = |m: i64, (to, steps)| {
            let mut stairs = staircase(channels, (range.0 - m, range.1 + m), to, steps);
            // In members other than 0, channel 1 is decreasing.
            stairs.falls = (0..channels).map(|c| m > 0 && c == 1).collect();
            stairs
        };
        let activations = (0..members).filter_map(|m| Some(stairs(m, activation?))).collect();
        (vec![port], Arc::new(AveragePool::new(kernel, activations)) as Arc<dyn Layer>)
    };
    let zoned = |(window, channels, element, (to, steps), members): (Window, usize, Element, _, i64)| {
        let fill = if element == Bipolar { Fill::Mask } else { Fill::Value(0) };
        let kernel = Sliding { window, channels, groups: channels, fill };
        let port = Port { shape: kernel.shape().to_vec(), element };
        let range = sum_range(element, kernel.window.taps());
        let [height, width] = kernel.window.output();
        let parts = |extent: usize| (0..extent).map(|at| usize::from(at > 0 && at + 1 < extent)).collect();
        let zones = Zones::new(parts(height), parts(width));
        let rows = channels * zones.count();
        let stairs = |m: i64| {
            let mut stairs = staircase(rows, (range.0 - m, range.1 + m), to, steps);
            stairs.falls = (0..rows).map(|row| m > 0 && row % 3 == 1).collect();
            stairs
        };
        let activations = (0..members).map(stairs).collect();
        (vec![port], Arc::new(AveragePool::zoned(kernel, zones, activations)) as Arc<dyn Layer>)
    };
    let small = Window { before: [1, 1], after: [1, 1], ..Window::plain([3, 4], [3, 3]) };
    let row = Window { before: [0, 0], after: [0, 1], stride: [1, 2], ..Window::plain([1, 6], [1, 2]) };
    let places = Window::plain([3, 3], [1, 1]);
    // Zones of columns alone, and of rows alone.
    let sides = Window { before: [0, 1], after: [0, 1], ..Window::plain([2, 4], [1, 3]) };
    let ends = Window { before: [1, 0], after: [1, 0], ..Window::plain([4, 2], [3, 1]) };
    let zones = [
        (small, 2, Unsigned(2), (Unsigned(2), 3), 1),
        (small, 4, Bipolar, (Bipolar, 1), 1),
        (small, 2, Signed(3), (Unsigned(2), 3), 3),
        (row, 3, Unsigned(3), (Signed(3), 5), 1),
        (sides, 2, Unsigned(1), (Bipolar, 1), 1),
        (ends, 2, Unsigned(2), (Unsigned(2), 3), 1),
        (places, 1, Signed(4), (Unsigned(2), 3), 3),
    ];
    forms.into_iter().map(sample).chain(zones.into_iter().map(zoned)).collect()
}
