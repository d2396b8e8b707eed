//! Where a matrix unit's weights come from.

use std::fmt::Debug;
use std::sync::Arc;

use stoxnor_hdl::{Bits, Builder, Image, Net, index_bits};

use super::Form;
use crate::arith::matrix::IntMatrix;
use crate::fold::Folding;

/// How hardware holds the members of stochastic weights. All give the same weights, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Realisation {
    /// The real weights, rounded as they are used.
    #[default]
    Fly,
    /// The real weights, rounded once a member into one half of a memory while the other half is used.
    Sampled,
    /// The members themselves.
    Stored,
}

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
    pub(super) fn position_end(self, b: &mut Builder) -> Option<Net> {
        let end = all(b, [self.end, self.last_group])?;
        let made = self.position.is_some() && self.end.is_some() && self.last_group.is_some();
        Some(if made { b.named("rows_end", end) } else { end })
    }

    /// First row group of a position; `None` where every one is.
    pub(super) fn first_group(self, b: &mut Builder) -> Option<Net> {
        self.loading.or_else(|| self.group.map(|group| b.is(group, 0)))
    }

    /// First step of a frame; `None` where every one is.
    pub(super) fn frame_begin(self, b: &mut Builder) -> Option<Net> {
        let group = self.first_group(b);
        let position = self.position.map(|p| b.is(p.at, 0));
        let begin = all(b, [self.first, group, position]);
        begin.map(|begin| b.named("frame_begin", begin))
    }
}

/// The conjunction of those that are there.
pub(super) fn all(b: &mut Builder, nets: impl IntoIterator<Item = Option<Net>>) -> Option<Net> {
    nets.into_iter().flatten().reduce(|a, c| b.and(a, c))
}

/// An address below `count` that goes on at `step`, and back to 0 at a step where `back` says so. Where a frame has positions, it goes back to
/// where the frame began at the end of each but the last; `again` tells the last word of a position, and the position.
pub(super) fn address(
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

/// Weights in a ROM with a registered read, member after member.
#[derive(Debug)]
pub struct Rom<'a> {
    /// Name of the layer, which the memory image is named after.
    pub name: &'a str,
    /// How a word of weights is made up.
    pub form: &'a dyn Form,
    /// The weights of each member; one where all have the same.
    pub members: Vec<&'a IntMatrix>,
    /// PE and SIMD.
    pub fold: Folding,
}

impl WeightSource for Rom<'_> {
    fn latency(&self) -> u32 {
        1
    }

    fn tells_frames(&self) -> bool {
        self.members.len() > 1
    }

    fn document(&self, b: &mut Builder) {
        let weights = self.members[0];
        let steps = (weights.columns() / self.fold.simd) as u64;
        b.doc(format!("Weights: {}.", self.form.layout(self.fold, steps)));
        if self.members.len() > 1 {
            let words = weights.rows() / self.fold.pe * steps as usize;
            b.doc(format!("Member m has the {words} words from m * {words} on."));
        }
    }

    fn memory_bits(&self) -> u64 {
        let weights = self.members[0];
        (self.members.len() * weights.rows() * weights.columns()) as u64 * u64::from(self.form.kind().bits())
    }

    fn hardware(&self, b: &mut Builder, step: Step) -> Word {
        let words: Vec<Bits> = self.members.iter().flat_map(|w| self.form.encode(w, self.fold)).collect();
        let depth = words.len() as u64;
        let position_end = if depth > 1 { step.position_end(b) } else { None };
        let several = self.members.len() > 1;
        let last_member = step.last_member.filter(|_| several);
        let back = |b: &mut Builder, _| all(b, [position_end, last_member]).unwrap_or(step.issue);
        // One member's words are the same at every position, and lie at 0.
        let again = step.position.filter(|_| several).map(|p| (position_end, p));
        let image = Arc::new(Image { file: format!("{}_weights.mem", self.name), words });
        let address = address(b, "weight_at", depth, step.issue, again, back);
        let memory = super::memory(b, "u_weights", "WEIGHTS_FILE", &image);
        b.connect(memory, "address", address);
        b.connect(memory, "enable", step.run);
        Word { word: b.out(memory, "data"), ready: None }
    }
}
