//! Convolutions in one and two dimensions, optionally grouped or depthwise, with binary, ternary, multi-bit and stochastic
//! weights.

use std::sync::Arc;

use stoxnor_hdl::Module;

use crate::arith::kernel::{Fill, Sliding};
use crate::arith::matrix::WeightKind;
use crate::arith::packed::Input;
use crate::arith::product::Product;
use crate::arith::sampling::Sampling;
use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::{Matrix, Schedule};
use crate::unit::folding::{Folding, Lanes};
use crate::unit::matrix::Unit;
use crate::unit::matrix::{MatrixUnit, RowGroups};
use crate::unit::resources::Resources;
use crate::unit::window::{LineBufferStage, WindowConsumer};

/// A [`Product`] at every position of a kernel. Column (v, u, c) of the weights, row-major, belongs to tap (v, u) and channel c
/// of the row's group. The rows are divided evenly among the groups, in order: row r belongs to group r * groups / rows.
#[derive(Debug, Clone)]
pub struct Conv {
    kernel: Sliding,
    product: Product,
}

impl Conv {
    /// A convolution with `kernel`. The weights have rows (output channels) by taps times channels per group.
    ///
    /// # Panics
    /// If weights and kernel do not fit each other.
    pub fn new(kernel: Sliding, product: Product) -> Self {
        assert!(
            kernel.groups > 0 && kernel.channels.is_multiple_of(kernel.groups),
            "whole groups of channels"
        );
        assert_eq!(product.fan_in(), kernel.fan_in(), "a weight for each tap and channel");
        assert!(product.rows().is_multiple_of(kernel.groups), "whole groups of rows");
        Self { kernel, product }
    }

    /// The kernel.
    pub fn kernel(&self) -> &Sliding {
        &self.kernel
    }

    /// The weights and the activation.
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// The minimum and maximum sum over all rows and members, for inputs of type `input`.
    pub fn sum_range(&self, input: Element) -> (i64, i64) {
        self.product.sum_range(input, self.kernel.masked())
    }

    fn group_rows(&self) -> usize {
        self.product.rows() / self.kernel.groups
    }

    fn passes(&self) -> RowGroups {
        RowGroups { positions: self.kernel.window.positions(), group_rows: self.group_rows() }
    }

    fn with_unit<R>(
        &self,
        name: &str,
        input: &Port,
        fold: Folding,
        user: u32,
        use_it: impl FnOnce(MatrixUnit<'_>) -> R,
    ) -> R {
        self.product.with_unit(self.unit(name, input, fold, user), use_it)
    }

    fn unit<'a>(&self, name: &'a str, input: &Port, fold: Folding, user: u32) -> Unit<'a> {
        let operand = self.kernel.operand(input.element);
        let (range, masked) = (self.sum_range(input.element), self.kernel.masked());
        Unit { name, operand, range, fold, passes: self.passes(), user, masked }
    }

    fn front(&self, input: &Port, fold: Folding, user: u32) -> Option<LineBufferStage> {
        let timing = self.with_unit("", input, fold, user, |unit| unit.timing());
        let fed = WindowConsumer { fold, groups: self.passes().side(fold), folds: self.passes().folds(fold) };
        // The required rate of the line buffer does not depend on when weights are available.
        let timing = Matrix { sampled: None, ..timing };
        LineBufferStage::new(&self.kernel, input.element, fed, timing, user)
    }

    /// Calls `compute` with the operands of a batch.
    fn packed(&self, input: &Batch, compute: impl FnOnce(Input<'_>) -> Batch) -> Batch {
        let planes = input.planes(self.kernel.fill.value());
        let Batch::Planes { element, elements, words } = &*planes else { unreachable!("bit planes") };
        assert_eq!(*elements, self.kernel.shape().iter().product::<usize>(), "elements of a frame");
        compute(Input { words, element: *element, elements: *elements, kernel: Some(&self.kernel) })
    }

    fn elements(&self) -> usize {
        self.kernel.window.positions() * self.product.rows()
    }
}

impl Layer for Conv {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        self.kernel.accepts(input)?;
        if self.kernel.flagged() {
            let message = "a product takes a value for what is outside of an image";
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        let operand = self.kernel.operand(input.element);
        let element = self.product.element(operand, self.sum_range(input.element))?;
        let [height, width] = self.kernel.window.output();
        Ok(Port { shape: vec![height, width, self.product.rows()], element })
    }

    fn members(&self) -> usize {
        self.product.members()
    }

    fn sampling(&self) -> Option<Sampling> {
        self.product.sampling()
    }

    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32> {
        let mut out = Vec::with_capacity(self.elements());
        for position in 0..self.kernel.window.positions() {
            for group in 0..self.kernel.groups {
                let x = self.kernel.gather(inputs[0], position, group);
                let rows = group * self.group_rows()..(group + 1) * self.group_rows();
                out.extend(self.product.activated(self.product.sums(&x, rows.clone(), member), rows, member));
            }
        }
        out
    }

    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.packed(inputs[0], |input| self.product.fast(input, member, self.group_rows()))
    }

    fn fast_sums(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.packed(inputs[0], |input| self.product.fast_sums(input, member, self.group_rows()))
    }

    fn weights(&self) -> Option<WeightKind> {
        Some(self.product.kind())
    }

    fn lanes(&self) -> Lanes {
        Lanes::kernel(self.product.rows(), &self.kernel)
            .sharing(self.product.share())
            .counting(self.product.stored_binary() && !self.kernel.masked())
            .comparing(self.product.thresholds())
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        match self.front(&inputs[0], fold, user) {
            None => self.with_unit(name, &inputs[0], fold, user, |unit| unit.build()),
            Some(front) => {
                let matrix = format!("{name}_matrix");
                let matrix = self.with_unit(&matrix, &inputs[0], fold, user, |unit| unit.build());
                let formula = self.kernel.formula("the weights times what the taps see");
                front.module(name, formula, &self.schedule(inputs, fold), &matrix)
            }
        }
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        let matrix = Schedule::matrix(self.with_unit("", &inputs[0], fold, 0, |unit| unit.timing()));
        match self.front(&inputs[0], fold, 0) {
            None => matrix,
            Some(front) => front.schedule(&matrix),
        }
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        let unit = self.product.resources(self.unit("", &inputs[0], fold, 0));
        let front = self.front(&inputs[0], fold, 0).map_or(0, |front| front.bits());
        Resources { buffer_bits: unit.buffer_bits + front, ..unit }
    }
}

/// The convolution layer.
pub const KIND: Kind = Kind { name: "conv", samples };

/// Window, [channels, groups, rows], weights, input type, padding, and type and number of thresholds of the activation.
type Form = (Window, [usize; 3], &'static [i16], Element, Fill, Option<(Element, usize)>);

fn samples() -> Vec<Sample> {
    use crate::arith::matrix::IntMatrix;
    use crate::layer::dense::{scattered, staircase};

    let bits: &[i16] = &[1, -1];
    let trits: &[i16] = &[0, 1, -1, 0, -1];
    let few: &[i16] = &[-4, 3, 1, 0, -1, 2, -3];
    let plain = Window::plain;
    let same = |input, kernel: [usize; 2]| {
        let around = kernel.map(|k: usize| k / 2);
        Window { before: around, after: around, ..plain(input, kernel) }
    };
    let strided = Window { stride: [2, 2], ..plain([6, 7], [3, 3]) };
    let dilated = Window { dilation: [2, 1], before: [2, 0], after: [1, 1], ..plain([5, 4], [2, 3]) };
    let line = Window { stride: [1, 2], before: [0, 1], ..plain([1, 9], [1, 3]) };
    let far = Window { stride: [3, 3], ..plain([5, 5], [1, 1]) };
    let forms: [Form; 13] = [
        (plain([4, 5], [3, 3]), [2, 1, 4], bits, Element::Bipolar, Fill::Mask, Some((Element::Bipolar, 1))),
        (same([4, 3], [3, 3]), [2, 1, 2], bits, Element::Bipolar, Fill::Mask, Some((Element::Bipolar, 1))),
        (same([3, 4], [3, 3]), [3, 1, 2], trits, Element::Bipolar, Fill::Mask, None),
        (
            same([3, 3], [2, 2]),
            [2, 1, 2],
            bits,
            Element::Bipolar,
            Fill::Value(1),
            Some((Element::Unsigned(2), 3)),
        ),
        (strided, [2, 1, 3], bits, Element::Unsigned(2), Fill::Value(0), Some((Element::Bipolar, 1))),
        (dilated, [2, 2, 4], few, Element::Signed(3), Fill::Value(0), None),
        (
            same([4, 4], [3, 3]),
            [4, 4, 4],
            few,
            Element::Unsigned(2),
            Fill::Value(0),
            Some((Element::Unsigned(2), 3)),
        ),
        (plain([4, 4], [2, 2]), [2, 2, 4], bits, Element::Bipolar, Fill::Mask, None),
        (line, [2, 1, 2], trits, Element::Unsigned(4), Fill::Value(0), Some((Element::Signed(3), 7))),
        (plain([2, 3], [1, 1]), [4, 1, 2], bits, Element::Bipolar, Fill::Mask, Some((Element::Bipolar, 1))),
        (far, [2, 1, 2], bits, Element::Bipolar, Fill::Mask, None),
        (
            plain([5, 4], [3, 3]),
            [3, 1, 2],
            bits,
            Element::Signed(8),
            Fill::Value(0),
            Some((Element::Bipolar, 1)),
        ),
        (
            plain([2, 2], [2, 2]),
            [2, 1, 2],
            &[-255, 255, 130, 0, -256, -1],
            Element::Unsigned(8),
            Fill::Value(0),
            None,
        ),
    ];
    forms
        .into_iter()
        .map(|(window, [channels, groups, rows], values, input, fill, activation)| {
            let kernel = Sliding { window, channels, groups, fill };
            let weights: IntMatrix = scattered(rows, kernel.fan_in(), values);
            let range = Product::new(weights.clone(), vec![]).sum_range(input, kernel.masked());
            let activations = activation.map(|(element, steps)| staircase(rows, range, element, steps));
            let product = Product::new(weights, activations.into_iter().collect());
            let layer: Arc<dyn Layer> = Arc::new(Conv::new(kernel.clone(), product));
            (vec![Port { shape: kernel.shape().to_vec(), element: input }], layer)
        })
        .collect()
}
