//! Folding: the number of parallel lanes, which determines the cycles per frame.

use stoxnor_hdl::block::Cells;

use crate::arith::kernel::Sliding;
use crate::diagnostic::{Diagnostic, LANES_DO_NOT_DIVIDE, Result};
use crate::schedule::Stalls;

/// Parallelism of one layer, and its pipeline registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Folding {
    /// Processing elements: rows that are computed in parallel.
    pub pe: usize,
    /// Lanes per processing element: inputs that are consumed in parallel.
    pub simd: usize,
    /// Pipeline registers of the matrix unit.
    #[serde(default)]
    pub cuts: Cuts,
    /// How the matrix unit counts agreements.
    #[serde(default)]
    pub form: Counting,
    /// How a sum is compared with the thresholds of its row.
    #[serde(default)]
    pub thresholds: Comparing,
    /// How read-only memories become block RAM.
    #[serde(default)]
    pub roms: Roms,
}

/// How read-only memories with a register behind them become block RAM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Roms {
    /// By synthesis, which reads the contents from files.
    #[default]
    Inferred,
    /// As block RAMs of ECP5 with their own output registers, where they belong into block RAM. Their contents are in the Verilog.
    Ecp5,
}

impl Roms {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Inferred, Self::Ecp5];
}

/// How a sum is compared with several thresholds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Comparing {
    /// With all at once: those that it reaches are counted.
    #[default]
    Parallel,
    /// With one after another: a binary search, one comparison for each bit of the level.
    Search,
}

impl Comparing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Parallel, Self::Search];

    /// The name in configuration and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Search => "search",
        }
    }

    /// What is smaller for rows of so many thresholds: a search where it saves [`SAVED`] comparisons or more.
    pub fn smaller(thresholds: usize) -> Self {
        let steps = (usize::BITS - thresholds.leading_zeros()) as usize;
        if thresholds >= steps + SAVED { Self::Search } else { Self::Parallel }
    }
}

/// The fewest comparisons that a search must save, to pay for its registers and for memories of its own in each processing element.
const SAVED: usize = 8;

/// How a matrix unit counts the agreements of activations and weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counting {
    /// XNOR and a popcount in each lane's order.
    #[default]
    Classical,
    /// By running parities: half as many bits are added. The parities of the activations are computed once for all rows. Stored
    /// binary weights only; other units have the classical form then.
    Parity,
    /// In carry cells of ECP5, which take the operation of a lane and the adder behind it.
    Carry,
    /// In slices of Xilinx' 7-series: a LUT of two outputs takes the operations of two lanes and their adder.
    Slice,
}

impl Counting {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Classical, Self::Parity, Self::Carry, Self::Slice];

    /// The name in configuration and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classical => "classical",
            Self::Parity => "parity",
            Self::Carry => "carry",
            Self::Slice => "slice",
        }
    }

    /// The cells that it is laid out in.
    pub fn cells(self) -> Cells {
        match self {
            Self::Classical | Self::Parity => Cells::Portable,
            Self::Carry => Cells::Ccu2c,
            Self::Slice => Cells::Xilinx7,
        }
    }
}

impl Folding {
    /// This parallelism with the fewest pipeline registers, in the classical form, with comparisons in parallel.
    pub const fn new(pe: usize, simd: usize) -> Self {
        Self {
            pe,
            simd,
            cuts: Cuts::Fewest,
            form: Counting::Classical,
            thresholds: Comparing::Parallel,
            roms: Roms::Inferred,
        }
    }
}

/// Pipeline registers of a matrix unit. Each kind contains those before it: more registers allow a higher clock, and results come
/// a few cycles later. The cycles per frame stay.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Cuts {
    /// Behind the accumulator and the comparison with thresholds only.
    #[default]
    Fewest,
    /// Behind the memories: weight words, operands, thresholds.
    Words,
    /// Behind each popcount, and between comparing with several thresholds and counting them. The pipeline's stall is registered.
    Counts,
    /// Inside each popcount, behind every third level of its tree of adders, and behind the sum of the bit planes' counts.
    Trees,
    /// Behind every second level.
    Levels,
}

impl Cuts {
    /// All kinds, from few registers to many.
    pub const ALL: [Self; 5] = [Self::Fewest, Self::Words, Self::Counts, Self::Trees, Self::Levels];

    /// The name in configuration and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fewest => "fewest",
            Self::Words => "words",
            Self::Counts => "counts",
            Self::Trees => "trees",
            Self::Levels => "levels",
        }
    }

    /// Whether the registers of `kind` are there.
    pub fn has(self, kind: Self) -> bool {
        self >= kind
    }

    /// When the pipeline stalls: by one flip-flop where the clock asks for short paths.
    pub fn stalls(self) -> Stalls {
        if self.has(Self::Counts) { Stalls::Full } else { Stalls::Blocked }
    }
}

/// The legal foldings of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// Rows of the weight matrix; PE divides them.
    pub rows: usize,
    /// Columns of the weight matrix, the fan-in of a row.
    pub fan_in: usize,
    /// Legal PE, ascending.
    pub pe: Vec<usize>,
    /// Legal SIMD, ascending.
    pub simd: Vec<usize>,
    /// Taps of the kernel along each axis; 1 without a kernel.
    pub kernel: [usize; 2],
    /// Number of positions of a kernel: all rows are computed once per position.
    pub positions: usize,
    /// Pixels of the input frame; 1 if it is no image.
    pub pixels: usize,
    /// Channels of a pixel that feed a row; all elements if the frame is no image.
    pub channels: usize,
    /// Number of rows that share their input channels.
    pub group_rows: usize,
    /// Whether agreements can be counted by running parities ([`Counting::Parity`]), from two lanes on.
    pub parity: bool,
    /// Thresholds of a row; 0 without an activation.
    pub thresholds: usize,
}

/// Upper bound of SIMD in a default folding, as long as a higher PE suffices instead.
const SIMD_PREFERRED: usize = 64;

impl Lanes {
    /// Foldings of a dense layer: SIMD is any divisor of the fan-in.
    pub fn dense(rows: usize, fan_in: usize) -> Self {
        Self {
            rows,
            fan_in,
            pe: divisors(rows),
            simd: divisors(fan_in),
            kernel: [1; 2],
            positions: 1,
            pixels: 1,
            channels: fan_in,
            group_rows: rows,
            parity: false,
            thresholds: 0,
        }
    }

    /// Foldings of a layer whose rows are computed at every position of a kernel. SIMD divides the channels of a group, or is the
    /// channels times a divisor of the number of taps. PE divides the rows of a group; if a group is one channel, PE may cover
    /// several groups.
    pub fn kernel(rows: usize, kernel: &Sliding) -> Self {
        let (channels, group_rows) = (kernel.group(), rows / kernel.groups);
        let whole =
            |pe: &usize| group_rows.is_multiple_of(*pe) || channels == 1 && pe.is_multiple_of(group_rows);
        let mut simd = divisors(channels);
        simd.extend(divisors(kernel.window.taps()).iter().skip(1).map(|d| d * channels));
        Self {
            rows,
            fan_in: kernel.fan_in(),
            pe: divisors(rows).into_iter().filter(whole).collect(),
            simd,
            kernel: kernel.window.kernel,
            positions: kernel.window.positions(),
            pixels: kernel.window.pixels(),
            channels,
            group_rows,
            parity: false,
            thresholds: 0,
        }
    }

    /// Foldings of a layer that processes channels separately: `channels` per pixel, `input` input pixels and `output` output
    /// pixels. PE divides the channels.
    pub fn channelwise(channels: usize, input: usize, output: usize) -> Self {
        Self {
            rows: channels,
            fan_in: 1,
            pe: divisors(channels),
            simd: vec![1],
            kernel: [1; 2],
            positions: output,
            pixels: input,
            channels: 1,
            group_rows: 1,
            parity: false,
            thresholds: 0,
        }
    }

    /// Foldings of a layer that reads the channels of several inputs in turn, `channels` of each per pixel. PE divides all of
    /// these.
    pub fn joined(channels: &[usize], pixels: usize) -> Self {
        let mut lanes = Self::channelwise(channels.iter().sum(), pixels, pixels);
        lanes.pe.retain(|pe| channels.iter().all(|c| c.is_multiple_of(*pe)));
        lanes
    }

    /// Foldings of a layer that reduces the taps of each channel one after another.
    pub fn pool(kernel: &Sliding) -> Self {
        Self { simd: vec![1], ..Self::kernel(kernel.channels, kernel) }
    }

    /// Elements per input beat.
    pub fn input_lanes(&self, fold: Folding) -> usize {
        fold.simd.min(self.channels) * (fold.pe / self.group_rows).max(1)
    }

    /// With the form of running parities, if `parity`.
    #[must_use]
    pub fn counting(self, parity: bool) -> Self {
        Self { parity, ..self }
    }

    /// With so many thresholds a row.
    #[must_use]
    pub fn comparing(self, thresholds: usize) -> Self {
        Self { thresholds, ..self }
    }

    /// Restricts PE for `share` neighbouring rows that share random bits: PE divides `share` or is a multiple of it, unless all
    /// rows share.
    #[must_use]
    pub fn sharing(mut self, share: usize) -> Self {
        self.pe.retain(|pe| share >= self.rows || share.is_multiple_of(*pe) || pe.is_multiple_of(share));
        self
    }

    /// The maximum PE.
    fn most_pe(&self) -> usize {
        self.pe.last().copied().unwrap_or(1)
    }

    /// The maximum SIMD.
    fn most_simd(&self) -> usize {
        self.simd.last().copied().unwrap_or(1)
    }

    /// Cycles per frame: the maximum of computing the rows, receiving the input, and reading the windows.
    pub fn cycles(&self, fold: Folding) -> u64 {
        let [positions, rows] = [self.positions, self.rows / fold.pe].map(|n| n as u64);
        let elements = self.pixels * self.channels * (self.rows / self.group_rows);
        let words = elements / self.input_lanes(fold);
        let taps = (fold.simd / self.channels).max(1);
        let read = taps / side_by_side(self.kernel, taps, (self.group_rows / fold.pe).max(1));
        let operands = (self.rows / self.group_rows.max(fold.pe)) as u64;
        let steps = (self.fan_in / fold.simd) as u64;
        (positions * rows * steps).max(words as u64).max(positions * operands * steps * read as u64)
    }

    /// The default folding for a target of `cycles` per frame. It is the least PE with the smallest legal SIMD up to 64 that meets
    /// the target. If there is none, SIMD is the largest legal one up to 64, and PE is the smallest legal one that meets the target.
    /// If there is none, PE is the maximum, and SIMD is the smallest legal one that meets the target, or the maximum.
    pub fn default_folding(&self, cycles: u64) -> Folding {
        let meets = |pe, simd| self.cycles(Folding::new(pe, simd)) <= cycles;
        let least = self.pe.first().copied().unwrap_or(1);
        if let Some(&simd) = self.simd.iter().find(|s| **s <= SIMD_PREFERRED && meets(least, **s)) {
            return Folding::new(least, simd);
        }
        let simd = self.simd.iter().copied().rfind(|s| *s <= SIMD_PREFERRED).unwrap_or(1);
        if let Some(pe) = self.pe.iter().copied().find(|p| meets(*p, simd)) {
            return Folding::new(pe, simd);
        }
        let max_pe = self.most_pe();
        let grown = self.simd.iter().copied().find(|s| meets(max_pe, *s));
        Folding::new(max_pe, grown.unwrap_or(self.most_simd()))
    }

    /// The folding with the user's PE and SIMD; missing ones are chosen for the target `cycles`.
    ///
    /// # Errors
    /// If a given number is not legal; the help lists the legal ones.
    pub fn folding(
        &self,
        name: &str,
        pe: Option<usize>,
        simd: Option<usize>,
        cycles: u64,
    ) -> Result<Folding> {
        let refuse = |what: &str, of: String, given: usize, legal: &[usize]| {
            let legal: Vec<String> = legal.iter().map(usize::to_string).collect();
            Diagnostic::new(&LANES_DO_NOT_DIVIDE, format!("{of} cannot be split over {what} = {given}"))
                .at(format!("layer {name}"))
                .help(format!("use one of {}", legal.join(", ")))
        };
        let mut errors = Vec::new();
        if let Some(pe) = pe.filter(|p| !self.pe.contains(p)) {
            let shared = match self.rows.is_multiple_of(pe.max(1)) {
                true if self.group_rows < self.rows => ", in groups of which each takes its own channels,",
                true => ", of which some share random bits,",
                false => "",
            };
            errors.push(refuse("pe", format!("{} rows{shared}", self.rows), pe, &self.pe));
        }
        if let Some(simd) = simd.filter(|s| !self.simd.contains(s)) {
            errors.push(refuse("simd", format!("a fan-in of {}", self.fan_in), simd, &self.simd));
        }
        crate::diagnostic::Diagnostics::collected(errors)?;
        Ok(match (pe, simd) {
            (Some(pe), Some(simd)) => Folding::new(pe, simd),
            (None, None) => self.default_folding(cycles),
            // If one number is given: the smallest other one that meets the target, or the maximum.
            (Some(pe), None) => {
                let meets =
                    self.simd.iter().copied().find(|&simd| self.cycles(Folding::new(pe, simd)) <= cycles);
                Folding::new(pe, meets.unwrap_or(self.most_simd()))
            }
            (None, Some(simd)) => {
                let meets = self.pe.iter().copied().find(|&pe| self.cycles(Folding::new(pe, simd)) <= cycles);
                Folding::new(meets.unwrap_or(self.most_pe()), simd)
            }
        })
    }
}

/// The divisors of `n`, ascending.
pub fn divisors(n: usize) -> Vec<usize> {
    (1..=n).filter(|d| n.is_multiple_of(*d)).collect()
}

/// The number of kernel taps that a line buffer reads in parallel, if the matrix unit consumes `taps` taps per beat and uses each
/// beat for `folds` steps. It is a part of a kernel row or whole rows, and no more than needed to keep the matrix unit busy.
pub fn side_by_side([rows, columns]: [usize; 2], taps: usize, folds: usize) -> usize {
    let regular = |side: &usize| {
        let of_rows = || side.is_multiple_of(columns) && rows.is_multiple_of(side / columns);
        taps.is_multiple_of(*side) && (columns.is_multiple_of(*side) || of_rows())
    };
    let sides: Vec<usize> = (1..=taps).filter(regular).collect();
    let enough = sides.iter().copied().find(|side| side * folds >= taps);
    enough.or(sides.last().copied()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default(rows: usize, fan_in: usize, cycles: u64) -> (usize, usize) {
        let fold = Lanes::dense(rows, fan_in).default_folding(cycles);
        (fold.pe, fold.simd)
    }

    #[test]
    fn default_foldings_are_legal() {
        let whole = Lanes { pe: vec![6], simd: vec![3], ..Lanes::dense(6, 3) };
        for cycles in [1, 6, 1 << 20] {
            assert_eq!(whole.default_folding(cycles), Folding::new(6, 3));
        }
    }

    #[test]
    fn default_foldings_follow_the_rule() {
        assert_eq!(default(64, 784, 1024), (1, 49), "smallest SIMD at PE = 1");
        assert_eq!(default(64, 64, 1024), (1, 4));
        assert_eq!(default(10, 64, 1024), (1, 1));
        assert_eq!(default(256, 784, 1024), (4, 56), "SIMD would exceed 64: largest up to 64, then PE");
        assert_eq!(default(64, 784, 10), (64, 98), "all PE, then SIMD");
        assert_eq!(default(64, 784, 0), (64, 784), "out of reach: everything");
    }

    #[test]
    fn illegal_foldings_name_the_legal_ones() {
        let lanes = Lanes::dense(64, 784);
        let error = lanes.folding("l1_dense", Some(6), Some(5), 1024).unwrap_err();
        assert_eq!(error.list().len(), 2);
        assert_eq!(error.list()[0].to_string(), "layer l1_dense: 64 rows cannot be split over pe = 6");
        assert_eq!(error.list()[0].help.as_deref(), Some("use one of 1, 2, 4, 8, 16, 32, 64"));
    }

    #[test]
    fn rows_that_share_random_bits_limit_pe() {
        let pe = |rows, share| Lanes::dense(rows, 4).sharing(share).pe;
        assert_eq!(pe(12, 4), [1, 2, 4, 12], "3 and 6 are neither divisors nor multiples of 4");
        assert_eq!(pe(10, 64), [1, 2, 5, 10], "one group");
        assert_eq!(pe(6, 1), [1, 2, 3, 6]);
        let error = Lanes::dense(12, 4).sharing(4).folding("l1_dense", Some(3), None, 9).unwrap_err();
        assert_eq!(
            error.list()[0].to_string(),
            "layer l1_dense: 12 rows, of which some share random bits, cannot be split over pe = 3"
        );
    }

    #[test]
    fn one_given_lane_count_decides_the_other() {
        let lanes = Lanes::dense(64, 784);
        assert_eq!(lanes.folding("x", Some(8), None, 1024).unwrap(), Folding::new(8, 7));
        assert_eq!(lanes.folding("x", None, Some(98), 128).unwrap(), Folding::new(4, 98));
    }
}
