//! What a step selects: for each axis of a tensor, the places that it takes, with a constant in between.

use crate::graph::step::Step;
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

/// Maximum number of elements of a tensor whose selection is looked at: float32 counts them exactly.
pub const MAX_ELEMENTS: usize = 1 << 23;

/// A selection: element (i, j, ..) of the output is the input's element at the i-th place of the first axis, the j-th of the second,
/// and so on; `value` where one of them is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Picks {
    /// For each axis the places.
    pub axes: Vec<Vec<Option<usize>>>,
    /// The constant.
    pub value: f32,
}

impl Picks {
    /// What `step` selects of a tensor of shape `before`; `None` if it computes anything else, or axes come and go.
    pub fn of(step: &Step, before: &[usize]) -> Option<Self> {
        const NAMES: [&str; 7] = ["Pad", "Slice", "Split", "Gather", "Upsample", "Resize", "Expand"];
        let rank = before.len();
        let elements = tensor::elements(before).ok()?.max(tensor::elements(&step.shape).ok()?);
        let fits =
            NAMES.contains(&step.operator.name) && step.shape.len() == rank && elements <= MAX_ELEMENTS;
        if !fits || step.position() != Some(0) || elements == 0 || before.contains(&0) {
            return None;
        }
        // Places are numbered; a second numbering tells them from the constant.
        let numbered = |first: usize| {
            let ramp = (first..first + before.iter().product::<usize>()).map(|v| v as f32).collect();
            step.eval(&Tensor { shape: before.to_vec(), data: Data::Float(ramp) }).ok()
        };
        let (first, second) = (numbered(1)?, numbered(2)?);
        let (first, second) = (first.floats("places").ok()?, second.floats("places").ok()?);
        let from = |i: usize| {
            if first[i] + 1.0 == second[i] {
                Some(Some(first[i] as usize - 1))
            } else {
                (first[i] == second[i]).then_some(None)
            }
        };
        let from: Vec<Option<usize>> = (0..first.len()).map(from).collect::<Option<_>>()?;
        let value = from.iter().position(Option::is_none).map_or(0.0, |i| first[i]);
        let strides =
            |shape: &[usize]| (0..rank).map(|a| shape[a + 1..].iter().product()).collect::<Vec<usize>>();
        let (ins, outs) = (strides(before), strides(&step.shape));
        let at = |index: usize, axis: usize, strides: &[usize], shape: &[usize]| {
            index / strides[axis] % shape[axis]
        };
        let mut axes: Vec<Vec<Option<usize>>> = step.shape.iter().map(|extent| vec![None; *extent]).collect();
        for (i, place) in from.iter().enumerate() {
            let Some(place) = place else { continue };
            for axis in 0..rank {
                let own = at(*place, axis, &ins, before);
                let seen = &mut axes[axis][at(i, axis, &outs, &step.shape)];
                if seen.is_some_and(|seen| seen != own) {
                    return None;
                }
                *seen = Some(own);
            }
        }
        let found = Self { axes, value };
        let whole = |(i, place): (usize, &Option<usize>)| {
            let places = (0..rank).map(|axis| found.axes[axis][at(i, axis, &outs, &step.shape)]);
            let wanted: Option<usize> = places.zip(&ins).map(|(place, stride)| Some(place? * stride)).sum();
            wanted == *place && (place.is_some() || first[i] == value)
        };
        from.iter().enumerate().all(whole).then_some(found)
    }

    /// Whether the places along `axis` are all of `extent`, in order.
    pub fn keeps(&self, axis: usize, extent: usize) -> bool {
        self.axes[axis].len() == extent && self.axes[axis].iter().enumerate().all(|(i, at)| *at == Some(i))
    }

    /// Whether the output is the input.
    pub fn is_identity(&self, before: &[usize]) -> bool {
        before.iter().enumerate().all(|(axis, extent)| self.keeps(axis, *extent))
    }

    /// Whether only `axis` differs, without constants: then its places.
    pub fn only(&self, axis: usize, before: &[usize]) -> Option<Vec<usize>> {
        let others = (0..before.len()).all(|a| a == axis || self.keeps(a, before[a]));
        if others { self.axes.get(axis)?.iter().copied().collect() } else { None }
    }

    /// The padding before and after each axis, if that is all it does: negative numbers cut away.
    pub fn pads(&self, before: &[usize]) -> Option<Vec<[i64; 2]>> {
        let each = |(places, extent): (&Vec<Option<usize>>, &usize)| {
            let first = places.iter().position(Option::is_some)?;
            let count = places[first..].iter().take_while(|p| p.is_some()).count();
            let start = places[first]?;
            let run = (0..count).all(|i| places[first + i] == Some(start + i));
            let clean = places[first + count..].iter().all(Option::is_none);
            let end = extent.checked_sub(start + count)?;
            let side = |added: usize, cut: usize| added as i64 - cut as i64;
            let once = (first == 0 || start == 0) && (first + count == places.len() || end == 0);
            (run && clean && once).then(|| [side(first, start), side(places.len() - first - count, end)])
        };
        self.axes.iter().zip(before).map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::{Attribute, Attributes};
    use crate::graph::op;
    use crate::graph::step::Operand;
    use std::sync::Arc;

    fn step(name: &str, constants: &[Tensor], attributes: Attributes, shape: &[usize]) -> Step {
        let constants = constants.iter().map(|t| Operand::Constant(Arc::new(t.clone())));
        Step {
            operator: op::find("", name).unwrap(),
            node: name.to_owned(),
            place: name.to_owned(),
            attributes,
            operands: std::iter::once(Operand::Running).chain(constants).collect(),
            output: 0,
            shape: shape.to_vec(),
            codes: None,
        }
    }

    #[test]
    fn pads_are_read_with_their_constant() {
        let pads = Tensor::integers(vec![0, 0, 1, -1, 0, 1, 0, 2]);
        let pad = step("Pad", &[pads, Tensor::scalar(3.0)], Attributes::new(13), &[1, 2, 3, 4]);
        let picks = Picks::of(&pad, &[1, 1, 2, 3]).unwrap();
        assert_eq!(picks.axes[2], [None, Some(0), Some(1)]);
        assert_eq!(picks.value, 3.0);
        assert_eq!(picks.pads(&[1, 1, 2, 3]), Some(vec![[0, 0], [0, 1], [1, 0], [-1, 2]]));
        assert!(picks.only(1, &[1, 1, 2, 3]).is_none());
    }

    #[test]
    fn channels_are_read_in_their_order() {
        let gather = Attributes::new(13).with("axis", Attribute::Int(1));
        let gather = step("Gather", &[Tensor::integers(vec![2, 0, 0])], gather, &[1, 3, 2]);
        let picks = Picks::of(&gather, &[1, 3, 2]).unwrap();
        assert_eq!(picks.only(1, &[1, 3, 2]), Some(vec![2, 0, 0]));
        assert!(picks.pads(&[1, 3, 2]).is_none() && !picks.is_identity(&[1, 3, 2]));
    }
}
