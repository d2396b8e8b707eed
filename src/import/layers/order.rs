//! The order in which a tensor's elements are streamed.

use crate::diagnostic::Result;
use crate::graph::op::geometry::Image;
use crate::graph::step::Step;
use crate::graph::tensor::{Data, Tensor};

/// For each element of a stream, its index in the graph's tensor; `None` for the identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order(Option<Vec<usize>>);

impl Order {
    /// The order of an image: channels last, row-major.
    pub fn of(image: &Image) -> Self {
        let pixels = image.size.iter().product::<usize>();
        if image.channels_last || pixels == 1 || image.channels == 1 {
            return Self(None);
        }
        let element = |i: usize| image.element(0, i % image.channels, i / image.channels);
        Self(Some((0..pixels * image.channels).map(element).collect()))
    }

    /// The index in the tensor of element `i` of the stream.
    pub fn at(&self, i: usize) -> usize {
        self.0.as_ref().map_or(i, |order| order[i])
    }

    /// Whether this can be the order of a tensor of so many elements.
    pub fn fits(&self, elements: usize) -> bool {
        self.0.as_ref().is_none_or(|order| order.len() == elements)
    }

    /// Whether stream and tensor have the same order.
    pub fn is_same(&self) -> bool {
        self.0.is_none()
    }

    /// The order after a step that moves elements of a tensor of shape `before`.
    pub fn through(self, step: &Step, before: &[usize]) -> Result<Self> {
        let elements: usize = before.iter().product();
        let ramp = Data::Int((0..elements as i64).collect());
        let moved = step.eval(&Tensor { shape: before.to_vec(), data: ramp })?;
        let mut place = vec![0; elements];
        for (at, from) in moved.ints("a moved index")?.iter().enumerate() {
            place[*from as usize] = at;
        }
        let order: Vec<usize> = (0..elements).map(|i| place[self.at(i)]).collect();
        Ok(Self((!order.iter().copied().eq(0..elements)).then_some(order)))
    }

    /// For each of `elements` elements of a stream of this order, its index in a stream of order `from`.
    pub fn places_in(&self, from: &Self, elements: usize) -> Vec<usize> {
        let mut place = vec![0; elements];
        (0..elements).for_each(|i| place[from.at(i)] = i);
        (0..elements).map(|i| place[self.at(i)]).collect()
    }
}

/// The shape and permutation of axes of a transposition whose output element i is input element `map[i]`; `None` if there is
/// none.
pub fn transposition(map: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    // Nested loops, innermost first: (trip count, stride in the source).
    let mut loops: Vec<(usize, usize)> = Vec::new();
    let mut rest: Vec<usize> = map.to_vec();
    while let [first, second, ..] = rest[..] {
        let stride = second.checked_sub(first)?;
        let runs = rest.iter().enumerate().take_while(|(i, at)| **at == first + i * stride).count();
        let regular = |count: &usize| {
            rest.len().is_multiple_of(*count)
                && rest.chunks(*count).all(|c| c.iter().enumerate().all(|(i, at)| *at == c[0] + i * stride))
        };
        let count = (2..=runs).rev().find(regular)?;
        loops.push((count, stride));
        rest = rest.into_iter().step_by(count).collect();
    }
    let mut sorted = loops.clone();
    sorted.sort_by_key(|(_, stride)| std::cmp::Reverse(*stride));
    let mut expected = 1;
    for (count, stride) in sorted.iter().rev() {
        if *stride != expected {
            return None;
        }
        expected *= count;
    }
    let axis = |of: &(usize, usize)| sorted.iter().position(|s| s == of);
    let axes = loops.iter().rev().map(axis).collect::<Option<Vec<usize>>>()?;
    (rest.first() == Some(&0)).then_some((sorted.into_iter().map(|(count, _)| count).collect(), axes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::{Attribute, Attributes};
    use crate::import::layers::activation::tests::step;

    fn image(channels: usize, size: [usize; 2]) -> Image {
        Image { batch: 1, channels, size, channels_last: false, line: false }
    }

    #[test]
    fn images_stream_channels_last() {
        let order = Order::of(&image(2, [1, 3]));
        assert_eq!((0..6).map(|i| order.at(i)).collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
        let mut turn = step("", "Transpose", &[], &[1, 1, 3, 2]);
        turn.attributes = Attributes::new(9).with("perm", Attribute::Ints(vec![0, 2, 3, 1]));
        assert!(order.through(&turn, &[1, 2, 1, 3]).unwrap().is_same());
        assert!(Order::of(&image(5, [1, 1])).is_same());
    }

    #[test]
    fn transpositions_are_found_in_their_maps() {
        let turned = |shape: [usize; 3], axes: [usize; 3]| {
            let strides = [shape[1] * shape[2], shape[2], 1];
            let out = axes.map(|a| shape[a]);
            let at = |i: usize| {
                let places = [i / (out[1] * out[2]), i / out[2] % out[1], i % out[2]];
                (0..3).map(|d| places[d] * strides[axes[d]]).sum()
            };
            (0..shape.iter().product()).map(at).collect::<Vec<usize>>()
        };
        for axes in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 1, 0]] {
            let map = turned([2, 3, 4], axes);
            let (shape, found) = transposition(&map).unwrap();
            // Axes that stay together may be one.
            let full = |s: &[usize], a: &[usize]| {
                let strides: Vec<usize> = (0..s.len()).map(|i| s[i + 1..].iter().product()).collect();
                (0..24)
                    .map(|i| {
                        let mut left = i;
                        let mut at = 0;
                        for &axis in a.iter().rev() {
                            at += left % s[axis] * strides[axis];
                            left /= s[axis];
                        }
                        at
                    })
                    .collect::<Vec<usize>>()
            };
            assert_eq!(full(&shape, &found), map, "{axes:?}");
        }
        assert_eq!(transposition(&[1, 0, 2]), None);
        let nchw = Order::of(&image(2, [2, 2]));
        assert_eq!(transposition(&nchw.places_in(&Order::default(), 8)), Some((vec![2, 4], vec![1, 0])));
    }
}
