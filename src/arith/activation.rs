//! Activations of integer sums.

use crate::arith::sampling::of_member;
use crate::frame::element::Element;

/// A staircase: `least` plus the number of thresholds that the sum reaches; for bipolar elements -1 below the one threshold
/// and +1 from it on. In a row that falls it is the number of thresholds that the sum does not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// Type of what leaves.
    pub element: Element,
    /// The least value.
    pub least: i32,
    /// For each row the thresholds of the sum y, ascending, reached where y >= t; as many in every row.
    pub thresholds: Vec<Vec<i32>>,
    /// For each row whether it falls as the sum grows; no entries where none does.
    pub falls: Vec<bool>,
}

impl Activation {
    /// An activation whose rows all rise.
    pub fn rising(element: Element, least: i32, thresholds: Vec<Vec<i32>>) -> Self {
        Self { element, least, thresholds, falls: Vec::new() }
    }

    /// A bipolar activation: one threshold a row.
    pub fn bipolar(thresholds: impl IntoIterator<Item = i32>) -> Self {
        Self::rising(Element::Bipolar, -1, thresholds.into_iter().map(|t| vec![t]).collect())
    }

    /// The value for a row's sum.
    pub fn value(&self, row: usize, sum: i32) -> i32 {
        let reached = match self.thresholds[row][..] {
            [one] => i32::from(one <= sum),
            ref all => all.partition_point(|t| *t <= sum) as i32,
        };
        let stairs = if self.falls(row) { self.steps() as i32 - reached } else { reached };
        self.least + stairs * self.step()
    }

    /// Whether a row falls as the sum grows.
    pub fn falls(&self, row: usize) -> bool {
        self.falls.get(row).copied().unwrap_or(false)
    }

    /// From one value to the next.
    fn step(&self) -> i32 {
        if self.element == Element::Bipolar { 2 } else { 1 }
    }

    /// Thresholds a row.
    pub fn steps(&self) -> usize {
        self.thresholds.first().map_or(0, Vec::len)
    }

    /// Requires as many ascending thresholds in each of `rows` rows, and values within the element's range.
    ///
    /// # Panics
    /// Where that is not so.
    pub fn assert_fits(&self, rows: usize) {
        assert_eq!(self.thresholds.len(), rows, "one list of thresholds a row");
        assert!(self.falls.is_empty() || self.falls.len() == rows, "one direction a row");
        assert!(
            self.thresholds.iter().all(|t| t.len() == self.steps() && t.is_sorted()),
            "ascending, as many in every row"
        );
        let (least, most) = self.element.range();
        let top = i64::from(self.least) + self.steps() as i64 * i64::from(self.step());
        assert!(
            self.steps() > 0 && i64::from(self.least) >= least && top <= most,
            "values within the element's range"
        );
    }
}

/// The activations of a layer: none, where its sums leave as they are, one for all members of an ensemble, or one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activations(Vec<Activation>);

impl Activations {
    /// Activations of `rows` rows.
    ///
    /// # Panics
    /// Where one does not fit the rows, or two are of different kinds.
    pub fn new(list: Vec<Activation>, rows: usize) -> Self {
        let steps = |a: &Activation| (a.element, a.steps());
        for activation in &list {
            activation.assert_fits(rows);
            assert_eq!(steps(activation), steps(&list[0]), "one kind of activation");
        }
        Self(list)
    }

    /// All of them.
    pub fn list(&self) -> &[Activation] {
        &self.0
    }

    /// That of a member.
    pub fn of(&self, member: usize) -> Option<&Activation> {
        (!self.0.is_empty()).then(|| of_member(&self.0, member))
    }

    /// Members that differ; 1 where all have the same.
    pub fn members(&self) -> usize {
        self.0.len().max(1)
    }

    /// What leaves for the sum of a row in a member.
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
