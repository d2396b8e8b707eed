//! Sums of products on bit planes in 64-bit words: the arithmetic of the fast engine around its [`kernels`](crate::arith::kernels).
//!
//! Rows of weights stand in blocks of eight, and operands in tiles of eight. A tile's sums begin with each row's constant; each pair of a
//! plane of the weights and a plane of the input adds its count, times a factor ([`PlaneSums`]). Bits that differ are counted in place of
//! those that agree: n bits agree in n less those that differ.

use rayon::prelude::*;

use crate::arith::bits::BitMatrix;
use crate::arith::kernel::Sliding;
use crate::arith::kernels::{self, Counted, Kernels, Offsets, Operands, ROWS, Sums, TILE, Words};
use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::planes::{PlaneSums, Row};
use crate::frame::element::Element;

/// Operands whose words stay in the cache while all rows are computed.
const PANEL: usize = 8 * TILE;

/// Weights as the kernels take them. Rows that see the same operands are a group; each begins a new block.
#[derive(Debug, Clone)]
pub struct Blocks {
    kind: WeightKind,
    columns: usize,
    group_rows: usize,
    /// Block by block, plane by plane, word by word. Rows beyond a group's last are 0.
    words: Vec<Words>,
    rows: Vec<Row>,
}

impl Blocks {
    /// The bit planes of weights whose groups have `group_rows` rows. Binary: sign. Ternary: sign, then nonzero. Signed: bits, least
    /// significant first.
    pub fn new(weights: &IntMatrix, kind: WeightKind, group_rows: usize) -> Self {
        let (rows, columns) = (weights.rows(), weights.columns());
        let stride = columns.div_ceil(64);
        let planes: Vec<BitMatrix> = match kind {
            WeightKind::Binary => vec![weights.bits(|w| w > 0)],
            WeightKind::Ternary => vec![weights.bits(|w| w > 0), weights.bits(|w| w != 0)],
            WeightKind::Signed(bits) => (0..bits).map(|j| weights.bits(|w| w >> j & 1 == 1)).collect(),
        };
        let mut words = vec![[0; ROWS]; blocks(rows, group_rows) * planes.len() * stride];
        for (block, to) in words.chunks_mut(planes.len() * stride).enumerate() {
            for (r, row) in rows_of(block, group_rows).enumerate() {
                let from = planes.iter().flat_map(|plane| plane.words(row));
                to.iter_mut().zip(from).for_each(|(to, word)| to[r] = *word);
            }
        }
        let rows = (0..rows).map(|row| Row::of(weights.row(row))).collect();
        Self { kind, columns, group_rows, words, rows }
    }

    fn stride(&self) -> usize {
        self.columns.div_ceil(64)
    }

    /// What is counted with plane `j` of a block's weights.
    fn counted(&self, block: usize, j: usize) -> Counted<'_> {
        let stride = self.stride();
        let plane = |at: usize| &self.words[at * stride..][..stride];
        match self.kind {
            WeightKind::Binary => Counted::Differ(plane(block)),
            WeightKind::Ternary => Counted::DifferWhere(plane(2 * block), plane(2 * block + 1)),
            WeightKind::Signed(bits) => Counted::Both(plane(block * bits as usize + j)),
        }
    }
}

/// The number of blocks of rows in groups of `group_rows`.
pub(crate) fn blocks(rows: usize, group_rows: usize) -> usize {
    rows / group_rows * group_rows.div_ceil(ROWS)
}

/// The rows of a block.
pub(crate) fn rows_of(block: usize, group_rows: usize) -> std::ops::Range<usize> {
    let of_group = group_rows.div_ceil(ROWS);
    let (group, at) = (block / of_group, block % of_group * ROWS);
    group * group_rows + at..group * group_rows + group_rows.min(at + ROWS)
}

/// How popcounts of inputs of one type become sums.
struct Form {
    /// For each plane of the weights the planes of the input: where they are in an operand, and the factor of the count.
    planes: Vec<Vec<(usize, i32)>>,
    /// For each block the constants of its rows.
    constants: Vec<[i32; ROWS]>,
}

impl Form {
    /// The planes of the input are `apart` words apart.
    fn new(blocks: &Blocks, input: Element, apart: usize) -> Self {
        let sums = PlaneSums::new(blocks.kind, input.planes(), input == Element::Bipolar);
        let differ = !matches!(blocks.kind, WeightKind::Signed(_));
        let sign = if differ { -sums.gain } else { sums.gain };
        let of_weights = |c: &i64| {
            let factors = sums.input.iter().map(|d| (sign * c * d) as i32);
            factors.enumerate().map(|(k, factor)| (k * apart, factor)).collect()
        };
        let agree = sums.gain * sums.input.iter().sum::<i64>();
        // Binary weights are all active.
        let constant = |row: &Row| {
            let all = if differ { agree * row.active } else { 0 };
            (sums.constant_of(row) + all) as i32
        };
        let of_block = |block| {
            let mut constants = [0; ROWS];
            let rows = &blocks.rows[rows_of(block, blocks.group_rows)];
            constants.iter_mut().zip(rows).for_each(|(to, row)| *to = constant(row));
            constants
        };
        let count = self::blocks(blocks.rows.len(), blocks.group_rows);
        Self {
            planes: sums.weights.iter().map(of_weights).collect(),
            constants: (0..count).map(of_block).collect(),
        }
    }
}

/// Frames of bit planes, and the operands in them.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The words of all frames.
    pub words: &'a [u64],
    /// Type of the elements.
    pub element: Element,
    /// Elements of a frame.
    pub elements: usize,
    /// The kernel that slides over them; without one, a frame is an operand.
    pub kernel: Option<&'a Sliding>,
}

impl Input<'_> {
    /// Operands of a group in a frame.
    pub fn positions(&self) -> usize {
        self.kernel.map_or(1, |kernel| kernel.window.positions())
    }

    fn frame_words(&self) -> usize {
        self.element.bits() as usize * self.elements.div_ceil(64)
    }
}

/// Sums of up to eight rows for up to eight operands.
#[derive(Debug)]
pub struct Tile<'a> {
    /// The block.
    pub block: usize,
    /// Its first row.
    pub row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Where the outputs of each operand begin, in the numbers of [`Output`].
    pub at: &'a [usize],
    /// The sums.
    pub sums: &'a Sums,
}

/// What becomes of sums.
pub trait Output: Sync {
    /// What the output is made of.
    type Item: Copy + Default + Send;

    /// Items of a frame.
    fn size(&self) -> usize;

    /// Where the outputs of an operand begin: `frame` is the number of a frame in a part of the output, `position` that of the operand in
    /// the frame.
    fn at(&self, frame: usize, position: usize) -> usize;

    /// Puts a tile into a part of the output.
    fn put(&self, tile: &Tile<'_>, to: &mut [Self::Item]);
}

/// Computes the sums of all frames.
pub fn compute<O: Output>(blocks: &Blocks, input: Input<'_>, output: &O) -> Vec<O::Item> {
    let job = Job::new(blocks, input);
    let frames = input.words.len() / input.frame_words();
    let mut out = vec![O::Item::default(); frames * output.size()];
    let threads = rayon::current_num_threads();
    let at_once = PANEL.div_ceil(input.positions()).min(frames.div_ceil(threads)).max(1);
    out.par_chunks_mut(at_once * output.size())
        .enumerate()
        .for_each_init(Panel::default, |panel, (chunk, out)| job.frames(chunk * at_once, panel, output, out));
    out
}

/// The operands of a panel.
#[derive(Default)]
struct Panel {
    tiles: Vec<Found>,
    /// Words of operands that were gathered.
    buffer: Vec<u64>,
}

/// The operands of a tile.
struct Found {
    count: usize,
    /// Where the outputs begin.
    at: [usize; TILE],
    /// Where the operands are: in the frames, or in the buffer.
    places: [usize; TILE],
    in_frames: bool,
}

struct Job<'a> {
    kernels: &'static Kernels,
    blocks: &'a Blocks,
    input: Input<'a>,
    positions: usize,
    frame_words: usize,
    /// For operands that are read in the frame.
    placed: Option<(Offsets, Form)>,
    /// For those that are gathered.
    gathered: (Offsets, Form),
    /// Words of a gathered operand.
    size: usize,
}

impl<'a> Job<'a> {
    fn new(blocks: &'a Blocks, input: Input<'a>) -> Self {
        let whole = || Offsets::new((0..blocks.stride()).collect());
        let placed = match input.kernel {
            None => Some(whole()),
            Some(kernel) => kernel.in_place().map(Offsets::new),
        };
        let operand = input.kernel.map_or(input.element, |kernel| kernel.operand(input.element));
        let placed =
            placed.map(|offsets| (offsets, Form::new(blocks, input.element, input.elements.div_ceil(64))));
        Self {
            kernels: kernels::chosen(),
            blocks,
            input,
            positions: input.positions(),
            frame_words: input.frame_words(),
            placed,
            gathered: (whole(), Form::new(blocks, operand, blocks.stride())),
            size: operand.bits() as usize * blocks.stride(),
        }
    }

    /// Computes the frames of a part of the output, from frame `first` on.
    fn frames<O: Output>(&self, first: usize, panel: &mut Panel, output: &O, out: &mut [O::Item]) {
        let operands = out.len() / output.size() * self.positions;
        let of_group = self.blocks.group_rows.div_ceil(ROWS);
        let groups = self.blocks.rows.len() / self.blocks.group_rows;
        for (group, begin) in (0..groups).flat_map(|g| (0..operands).step_by(PANEL).map(move |at| (g, at))) {
            panel.tiles.clear();
            let end = operands.min(begin + PANEL);
            for at in (begin..end).step_by(TILE) {
                self.find(first, group, at..end.min(at + TILE), output, panel);
            }
            for block in group * of_group..(group + 1) * of_group {
                let rows = rows_of(block, self.blocks.group_rows);
                for found in &panel.tiles {
                    let mut sums = [[0; ROWS]; TILE];
                    self.sums(block, found, &panel.buffer, &mut sums);
                    let at = &found.at[..found.count];
                    output.put(&Tile { block, row: rows.start, rows: rows.len(), at, sums: &sums }, out);
                }
            }
        }
    }

    /// Finds the operands of a tile, or gathers them.
    fn find(
        &self,
        first: usize,
        group: usize,
        operands: std::ops::Range<usize>,
        output: &impl Output,
        panel: &mut Panel,
    ) {
        let count = operands.len();
        let (mut frame, mut position) = (operands.start / self.positions, operands.start % self.positions);
        let (mut at, mut places, mut seen) = ([0; TILE], [0; TILE], [(0, 0); TILE]);
        let mut in_frames = self.placed.is_some();
        for t in 0..count {
            seen[t] = (frame, position);
            at[t] = output.at(frame, position);
            let place = self.input.kernel.map_or(Some(0), |kernel| kernel.place(position, group));
            in_frames &= place.is_some();
            places[t] = (first + frame) * self.frame_words + place.unwrap_or(0);
            position += 1;
            if position == self.positions {
                (frame, position) = (frame + 1, 0);
            }
        }
        if in_frames {
            let last = places[count - 1];
            places[count..].fill(last);
        } else {
            let kernel = self.input.kernel.expect("whole frames are in place");
            let begin = panel.tiles.len() * TILE * self.size;
            places = std::array::from_fn(|t| begin + t * self.size);
            panel.buffer.resize(panel.buffer.len().max(begin + TILE * self.size), 0);
            let to = panel.buffer[begin..].chunks_mut(self.size);
            for ((frame, position), to) in seen.into_iter().zip(to).take(count) {
                let frame = &self.input.words[(first + frame) * self.frame_words..][..self.frame_words];
                kernel.gather_planes(self.input.element, frame, position, group, to);
            }
        }
        panel.tiles.push(Found { count, at, places, in_frames });
    }

    fn sums(&self, block: usize, found: &Found, buffer: &[u64], sums: &mut Sums) {
        let (words, (offsets, form)) = match &self.placed {
            Some(placed) if found.in_frames => (self.input.words, placed),
            _ => (buffer, &self.gathered),
        };
        sums.fill(form.constants[block]);
        for (j, planes) in form.planes.iter().enumerate() {
            let operands = Operands { words, places: found.places, offsets, planes };
            self.kernels.accumulate(self.blocks.counted(block, j), &operands, sums);
        }
    }
}
