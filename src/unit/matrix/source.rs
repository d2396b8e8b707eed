//! Weight sources of a matrix unit: the interface.

use std::fmt::Debug;

use stoxnor_hdl::{Builder, Net, index_bits};

/// The control signals of a weight source.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The pipeline moves at the coming edge.
    pub run: Net,
    /// A step is issued at the coming edge.
    pub issue: Net,
    /// First step of a row group; `None` if there is one step per row group.
    pub first: Option<Net>,
    /// Last step of a row group; `None` if there is one step per row group.
    pub end: Option<Net>,
    /// Number of the row group in its frame; `None` if there is one.
    pub group: Option<Net>,
    /// First row group of a frame, if that signal exists anyway.
    pub loading: Option<Net>,
    /// Last row group of a frame; `None` if there is one.
    pub last_group: Option<Net>,
    /// Position in the frame; `None` if there is one.
    pub position: Option<Position>,
    /// Whether the frame is that of the last member; `None` if members do not differ.
    pub last_member: Option<Net>,
}

/// The current position of a frame. All positions use the same weights.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Index of the position.
    pub at: Net,
    /// Whether it is the last one.
    pub last: Net,
}

impl Step {
    /// Last step of a position; `None` if there is one step per position.
    pub(crate) fn position_end(self, b: &mut Builder) -> Option<Net> {
        let end = all(b, [self.end, self.last_group])?;
        let made = self.position.is_some() && self.end.is_some() && self.last_group.is_some();
        Some(if made { b.named("rows_end", end) } else { end })
    }

    /// First row group of a position; `None` if there is one.
    pub(crate) fn first_group(self, b: &mut Builder) -> Option<Net> {
        self.loading.or_else(|| self.group.map(|group| b.is(group, 0)))
    }

    /// First step of a frame; `None` if there is one step per frame.
    pub(crate) fn frame_begin(self, b: &mut Builder) -> Option<Net> {
        let group = self.first_group(b);
        let position = self.position.map(|p| b.is(p.at, 0));
        let begin = all(b, [self.first, group, position]);
        begin.map(|begin| b.named("frame_begin", begin))
    }
}

/// The AND of all nets that are present.
pub(crate) fn all(b: &mut Builder, nets: impl IntoIterator<Item = Option<Net>>) -> Option<Net> {
    nets.into_iter().flatten().reduce(|a, c| b.and(a, c))
}

/// An address counter below `count`. It advances at `step`, and returns to 0 at a step with `back`. If a frame has several
/// positions, it returns to the frame's first address at the end of each position but the last. `again` is (the last word of a
/// position, the position).
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

/// The output of a weight source.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// The word of the step that was issued [`latency`](WeightSource::latency) edges before.
    pub word: Net,
    /// Whether the next step may be issued; `None` if it always may.
    pub ready: Option<Net>,
}

/// A source of weight words for a matrix unit: one word per step, in the order of the steps, frame after frame.
pub trait WeightSource: Debug {
    /// Edges from a step's issue to its word, at least 1.
    fn latency(&self) -> u32;

    /// Edges from a frame's first step to the first edge at which the next frame's first step may be issued, as far as the source
    /// limits it. For the first frame they count from the first edge after reset. `None` if the source never delays a frame.
    fn sampling(&self) -> Option<u64> {
        None
    }

    /// Whether the source must know where a frame begins, and not only where a position does.
    fn tells_frames(&self) -> bool;

    /// Documents the layout of the memories in the module's header.
    fn document(&self, b: &mut Builder);

    /// Bits of the memories.
    fn memory_bits(&self) -> u64;

    /// Builds the source into a matrix unit.
    fn hardware(&self, b: &mut Builder, step: Step) -> Word;
}
