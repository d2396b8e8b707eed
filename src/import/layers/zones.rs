//! Averages that divide by fewer pixels at the border: zones of the image, each with thresholds of its own.

use crate::arith::kernel::{Fill, Sliding};
use crate::arith::pooled::Zones;
use crate::arith::threshold::Lattice;
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::graph::op::geometry::Image;
use crate::graph::step::Step;
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::activation::{Found, keeps_order, narrow, staircase, stairs};
use crate::import::layers::grid::{Grid, of_sums};
use crate::import::layers::order::Order;
use crate::import::runs::steps::with;

/// The divisors of an average, one for each position of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divisors {
    /// Height and width.
    pub size: [usize; 2],
    /// Row-major.
    pub each: Vec<usize>,
}

impl Divisors {
    /// The divisor, if all positions have the same.
    pub fn common(&self) -> Option<usize> {
        self.each.first().copied().filter(|first| self.each.iter().all(|d| d == first))
    }

    /// The smallest divisor.
    pub fn least(&self) -> usize {
        self.each.iter().copied().min().unwrap_or(1)
    }

    /// The zones of equal divisors, and the divisor of each.
    pub fn zones(&self) -> (Zones, Vec<usize>) {
        let [height, width] = self.size;
        let at = |y: usize, x: usize| self.each[y * width + x];
        // Rows are alike if all columns divide by the same.
        let part = |seen: &mut Vec<usize>, place: usize, alike: &dyn Fn(usize) -> bool| {
            seen.iter().position(|other| alike(*other)).unwrap_or_else(|| {
                seen.push(place);
                seen.len() - 1
            })
        };
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        let own_rows =
            (0..height).map(|y| part(&mut rows, y, &|o| (0..width).all(|x| at(o, x) == at(y, x)))).collect();
        let own_columns = (0..width)
            .map(|x| part(&mut columns, x, &|o| (0..height).all(|y| at(y, o) == at(y, x))))
            .collect();
        let divisors = rows.iter().flat_map(|y| columns.iter().map(move |x| at(*y, *x))).collect();
        (Zones::new(own_rows, own_columns), divisors)
    }

    /// The division of `step`'s results, whose channels are on `axis`.
    pub fn division(&self, step: &Step, axis: usize) -> Result<Option<Step>> {
        let constant = match self.common() {
            Some(1) => return Ok(None),
            Some(divisor) => Tensor::scalar(divisor as f32),
            None => {
                let shape = step.shape.iter().enumerate();
                let shape = shape.map(|(a, extent)| if a == axis { 1 } else { *extent }).collect();
                Tensor { shape, data: Data::Float(self.each.iter().map(|d| *d as f32).collect()) }
            }
        };
        with(step, "Div", constant, &step.shape).map(Some)
    }
}

impl Divisors {
    /// Checks that an average with `kernel` may pad sums with 0 that are no levels of a quantiser: the graph pads what `steps` make of
    /// the sums. `one` is the shape of the sums at one position.
    ///
    /// # Errors
    /// If the padding counts, and is another number than the steps make of a sum of 0.
    pub fn padded_sums(&self, steps: &[Step], one: &[usize], kernel: &Sliding) -> Result<()> {
        let window = &kernel.window;
        let seen = |position| (0..window.taps()).filter(|tap| window.pixel(position, *tap).is_some()).count();
        if (0..window.positions()).all(|position| self.each[position] == seen(position)) {
            return Ok(());
        }
        let zeros = steps.iter().try_fold(Tensor::zeros(one)?, |x, step| step.eval(&x))?;
        if kernel.fill == Fill::Value(0) && zeros.floats("sums of 0")?.iter().all(|v| *v == 0.0) {
            return Ok(());
        }
        let message = "it pads sums that are no levels of a quantiser, and that an offset is added to";
        Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .help(
                "quantise before a padded average, leave the padding out of the count (count_include_pad = 0), or leave the bias out",
            )
            .into())
    }
}

/// Whether the channels of `image`, streamed in `order`, are not the `rows` of the product that the stream comes from: its outputs are
/// the innermost elements of the stream.
pub fn mixes(order: &Order, image: &Image, rows: usize) -> bool {
    let pixels = image.size.iter().product::<usize>();
    let channel = |at: usize| if image.channels_last { at % image.channels } else { at / pixels };
    rows != image.channels || (0..pixels * rows).any(|i| channel(order.at(i)) != i % rows)
}

/// What an average makes of its sums in one zone.
#[derive(Debug)]
pub struct Zone {
    /// The possible sums of each channel.
    pub rows: Vec<Lattice>,
    /// The steps behind the sums, the division included.
    pub steps: Vec<Step>,
}

/// The activation of an average with several zones, zone after zone, and its levels. Sums enter as tensors of shape `one`. `level` are
/// the levels of a quantiser; `None` if the steps round without one.
///
/// # Errors
/// If nothing rounds, or an activation rises and falls.
pub fn activation(step: &Step, zones: &[Zone], one: &[usize], level: Option<Grid>) -> Result<(Found, Grid)> {
    let mut grid: Option<Grid> = None;
    for zone in zones {
        keeps_order(one, &zone.steps)?;
        let Some(own) = level.map_or_else(|| of_sums(&zone.rows[0], one, &zone.steps), |l| Ok(Some(l)))?
        else {
            return Err(unquantised().into());
        };
        let own = narrow(&zone.rows, one, &zone.steps, &own)?;
        grid = Some(match grid {
            None => own,
            Some(all) if all.scale == own.scale => Grid {
                least: all.least.min(own.least),
                most: all.most.max(own.most),
                bipolar: all.bipolar && own.bipolar,
                ..all
            },
            Some(all) => {
                let message = format!(
                    "its results are multiples of {} where it divides by fewer pixels, and of {} elsewhere",
                    own.scale, all.scale
                );
                return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                    .at(step.place.clone())
                    .help("put a quantiser (Quant, QuantizeLinear) behind the average")
                    .into());
            }
        });
    }
    let grid = grid.ok_or_else(unquantised)?;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for zone in zones {
        all.extend(stairs(&zone.rows, one, &zone.steps, &grid)?);
        rows.extend(zone.rows.iter().copied());
    }
    let negate = all.iter().map(|s| s.negate).collect();
    Ok((Found::Monotone(staircase(&grid, &rows, all), negate), grid))
}

/// The diagnostic for an average whose sums have no common scale.
pub fn unquantised() -> Diagnostic {
    Diagnostic::new(&OPERATOR_UNSUPPORTED, "it divides by fewer pixels at the border, and no quantiser is behind it")
        .help(
            "put a quantiser behind the average, average without padding, or count the padding (count_include_pad = 1; PyTorch: \
             count_include_pad=True)",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_rows_and_columns_of_equal_divisors() {
        let divisors = Divisors { size: [3, 4], each: vec![4, 6, 6, 4, 6, 9, 9, 6, 4, 6, 6, 4] };
        let (zones, each) = divisors.zones();
        assert_eq!(each, [4, 6, 6, 9]);
        for (position, divisor) in divisors.each.iter().enumerate() {
            assert_eq!(each[zones.at(position)], *divisor);
        }
        assert_eq!((divisors.common(), divisors.least()), (None, 4));
        assert_eq!(zones.runs(0), [(0, 0), (1, 2), (2, 0)]);
        assert_eq!(zones.runs(1), [(0, 0), (1, 1), (3, 0)]);
    }
}
