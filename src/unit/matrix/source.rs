//! Where a matrix unit's weights come from.

use std::fmt::Debug;

use stoxnor_hdl::{Builder, Net, index_bits};

/// The control that a weight source follows.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The pipeline moves at the coming edge.
    pub run: Net,
    /// A step is issued at the coming edge.
    pub issue: Net,
    /// First step of a row group; `None` where every step is.
    pub first: Option<Net>,
    /// Last step of a row group; `None` where every step is.
    pub end: Option<Net>,
    /// Number of the row group in its frame; `None` where there is one.
    pub group: Option<Net>,
    /// First row group of a frame, where that is told anyway.
    pub loading: Option<Net>,
    /// Last row group of a frame; `None` where every one is.
    pub last_group: Option<Net>,
    /// Position in a frame; `None` where there is one.
    pub position: Option<Position>,
    /// The frame is that of the last member; `None` where members make no difference.
    pub last_member: Option<Net>,
}

/// Which of a frame's positions is computed: all take the same weights.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Its number.
    pub at: Net,
    /// The last one.
    pub last: Net,
}

impl Step {
    /// Last step of a position; `None` where every one is.
    pub(crate) fn position_end(self, b: &mut Builder) -> Option<Net> {
        let end = all(b, [self.end, self.last_group])?;
        let made = self.position.is_some() && self.end.is_some() && self.last_group.is_some();
        Some(if made { b.named("rows_end", end) } else { end })
    }

    /// First row group of a position; `None` where every one is.
    pub(crate) fn first_group(self, b: &mut Builder) -> Option<Net> {
        self.loading.or_else(|| self.group.map(|group| b.is(group, 0)))
    }

    /// First step of a frame; `None` where every one is.
    pub(crate) fn frame_begin(self, b: &mut Builder) -> Option<Net> {
        let group = self.first_group(b);
        let position = self.position.map(|p| b.is(p.at, 0));
        let begin = all(b, [self.first, group, position]);
        begin.map(|begin| b.named("frame_begin", begin))
    }
}

/// The conjunction of those that are there.
pub(crate) fn all(b: &mut Builder, nets: impl IntoIterator<Item = Option<Net>>) -> Option<Net> {
    nets.into_iter().flatten().reduce(|a, c| b.and(a, c))
}

/// An address below `count` that goes on at `step`, and back to 0 at a step where `back` says so. Where a frame has positions, it goes back to
/// where the frame began at the end of each but the last; `again` tells the last word of a position, and the position.
pub(crate) fn address(
    b: &mut Builder,
    name: &str,
    count: u64,
    step: Net,
    again: Option<(Option<Net>, Position)>,
    back: impl FnOnce(&mut Builder, Net) -> Net,
) -> Net {
    if count <= 1 {
        return b.constant(1, 0);
    }
    let q = b.register(name, index_bits(count), Some(0));
    let back = back(b, q);
    let (zero, one) = (b.constant(b.width(q), 0), b.constant(b.width(q), 1));
    let up = b.add(q, one);
    let mut next = b.mux(back, zero, up);
    if let Some((end, position)) = again {
        let next_frame = b.named(format!("{name}_next"), next);
        let more = b.not(position.last);
        let repeats = end.map_or(more, |end| b.and(end, more));
        let leaves = all(b, [Some(step), end, Some(position.last)]).expect("step is there");
        let base = b.registered(&format!("{name}_base"), Some(0), leaves, next_frame);
        next = b.mux(repeats, base, next_frame);
    }
    b.next_if(q, step, next);
    q
}

/// What a weight source gives a matrix unit.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// The word of the step that was issued [`latency`](WeightSource::latency) edges before.
    pub word: Net,
    /// Whether the step at hand may be issued; `None` where it always may.
    pub ready: Option<Net>,
}

/// Gives a matrix unit one word of weights for each step, in the order of the steps, frame after frame.
pub trait WeightSource: Debug {
    /// Edges from a step's issue to its word, at least 1.
    fn latency(&self) -> u32;

    /// Edges from one frame's first step to the first at which the next frame's may be issued, as far as the source decides; for the
    /// first frame, from the first edge behind a reset. `None` where it never makes a frame wait.
    fn sampling(&self) -> Option<u64> {
        None
    }

    /// Whether it matters to it where a frame begins, and not only where a position does.
    fn tells_frames(&self) -> bool;

    /// What stands where in its memories, for the module's header.
    fn document(&self, b: &mut Builder);

    /// Bits of its memories.
    fn memory_bits(&self) -> u64;

    /// Builds the source into a matrix unit.
    fn hardware(&self, b: &mut Builder, step: Step) -> Word;
}
