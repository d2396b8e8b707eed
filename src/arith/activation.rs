//! Activations of integer sums.

use crate::arith::sampling::of_member;
use crate::frame::element::Element;

/// A step function of an integer sum, given by thresholds: `least` plus the number of thresholds t with sum >= t. Bipolar
/// elements are -1 below the single threshold and +1 from it on. In a decreasing row the number of thresholds that the sum does
/// not reach counts instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// Element type of the values.
    pub element: Element,
    /// The minimum value.
    pub least: i32,
    /// For each row its thresholds t in ascending order; sum y reaches t if y >= t. All rows have the same number of thresholds.
    pub thresholds: Vec<Vec<i32>>,
    /// For each row, whether the activation is decreasing; empty if no row is.
    pub falls: Vec<bool>,
}

impl Activation {
    /// An activation that is increasing in every row.
    pub fn rising(element: Element, least: i32, thresholds: Vec<Vec<i32>>) -> Self {
        Self { element, least, thresholds, falls: Vec::new() }
    }

    /// A bipolar activation with one threshold per row.
    pub fn bipolar(thresholds: impl IntoIterator<Item = i32>) -> Self {
        Self::rising(Element::Bipolar, -1, thresholds.into_iter().map(|t| vec![t]).collect())
    }

    /// The value for a sum of row `row`.
    pub fn value(&self, row: usize, sum: i32) -> i32 {
        let reached = match self.thresholds[row][..] {
            [one] => i32::from(one <= sum),
            ref all => all.partition_point(|t| *t <= sum) as i32,
        };
        let stairs = if self.falls(row) { self.steps() as i32 - reached } else { reached };
        self.least + stairs * self.step()
    }

    /// The bit pattern of the value of a row whose sum reaches so many thresholds, extended by its sign.
    pub fn code(&self, row: usize, reached: i32) -> i32 {
        let stairs = if self.falls(row) { self.steps() as i32 - reached } else { reached };
        if self.element == Element::Bipolar { stairs } else { self.least + stairs }
    }

    /// Whether the activation of a row is decreasing.
    pub fn falls(&self, row: usize) -> bool {
        self.falls.get(row).copied().unwrap_or(false)
    }

    /// The distance between neighbouring values.
    fn step(&self) -> i32 {
        if self.element == Element::Bipolar { 2 } else { 1 }
    }

    /// Number of thresholds per row.
    pub fn steps(&self) -> usize {
        self.thresholds.first().map_or(0, Vec::len)
    }

    /// Checks that there are `rows` rows with the same number of ascending thresholds, and that the values are in the element's
    /// range.
    ///
    /// # Panics
    /// If that is not so.
    pub fn assert_fits(&self, rows: usize) {
        assert_eq!(self.thresholds.len(), rows, "one list of thresholds a row");
        assert!(self.falls.is_empty() || self.falls.len() == rows, "one direction a row");
        assert!(
            self.thresholds.iter().all(|t| t.len() == self.steps() && t.is_sorted()),
            "ascending, as many in every row"
        );
        let (min, max) = self.element.range();
        let top = i64::from(self.least) + self.steps() as i64 * i64::from(self.step());
        assert!(
            self.steps() > 0 && i64::from(self.least) >= min && top <= max,
            "values within the element's range"
        );
    }
}

/// The activations of a layer: none if it outputs its sums, one for all members of an ensemble, or one per member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activations(Vec<Activation>);

impl Activations {
    /// The activations `list` of a layer with `rows` rows.
    ///
    /// # Panics
    /// If an activation does not fit the rows, or two have different types or numbers of thresholds.
    pub fn new(list: Vec<Activation>, rows: usize) -> Self {
        let steps = |a: &Activation| (a.element, a.steps());
        for activation in &list {
            activation.assert_fits(rows);
            assert_eq!(steps(activation), steps(&list[0]), "one kind of activation");
        }
        Self(list)
    }

    /// All activations.
    pub fn list(&self) -> &[Activation] {
        &self.0
    }

    /// The activation of a member; `None` if the layer outputs its sums.
    pub fn of(&self, member: usize) -> Option<&Activation> {
        (!self.0.is_empty()).then(|| of_member(&self.0, member))
    }

    /// Number of members with different activations; 1 if all share one.
    pub fn members(&self) -> usize {
        self.0.len().max(1)
    }

    /// Number of thresholds per row; 0 if the layer outputs its sums.
    pub fn steps(&self) -> usize {
        self.0.first().map_or(0, Activation::steps)
    }

    /// The output for a sum of row `row` in a member.
    pub fn value(&self, member: usize, row: usize, sum: i32) -> i32 {
        self.of(member).map_or(sum, |a| a.value(row, sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_rows_count_what_is_not_reached() {
        let mut a = Activation::rising(Element::Unsigned(2), 0, vec![vec![-1, 2, 2]; 2]);
        a.falls = vec![false, true];
        let values = |row| [-2, -1, 1, 2].map(|sum| a.value(row, sum));
        assert_eq!((values(0), values(1)), ([0, 1, 1, 3], [3, 2, 2, 0]));
        let sign = Activation { falls: vec![true], ..Activation::bipolar([0]) };
        assert_eq!([-1, 0].map(|sum| sign.value(0, sum)), [1, -1]);
    }
}
