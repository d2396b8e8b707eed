//! A set of kernels, and what they take.

/// Rows of weights in a block, each in a lane of its own.
pub const ROWS: usize = 8;
/// Operands that are computed at once.
pub const TILE: usize = 8;

/// A 64-bit word of each row of a block.
pub type Words = [u64; ROWS];
/// A sum of each row of a block, for each operand.
pub type Sums = [[i32; ROWS]; TILE];

/// The bits that are counted of an input word x: words of weights, in the order of the operand's words.
#[derive(Debug, Clone, Copy)]
pub enum Counted<'a> {
    /// Those where x and the weights differ.
    Differ(&'a [Words]),
    /// The same where the second list has a 1.
    DifferWhere(&'a [Words], &'a [Words]),
    /// Those that are 1 in both.
    Both(&'a [Words]),
}

impl Counted<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Differ(words) | Self::DifferWhere(words, _) | Self::Both(words) => words.len(),
        }
    }
}

/// Where the words of an operand are, relative to its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets {
    pub(super) list: Vec<usize>,
    most: usize,
}

impl Offsets {
    /// The offsets `list`.
    pub fn new(list: Vec<usize>) -> Self {
        let most = list.iter().copied().max().unwrap_or(0);
        Self { list, most }
    }

    /// The offset of each word.
    pub fn list(&self) -> &[usize] {
        &self.list
    }
}

/// The words of a tile's operands.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    /// Words, among others those of the operands.
    pub words: &'a [u64],
    /// Place of each operand.
    pub places: [usize; TILE],
    /// Where its words of a plane are from there.
    pub offsets: &'a Offsets,
    /// Where its planes are from there, with the factor of each one's count.
    pub planes: &'a [(usize, i32)],
}

/// A set of kernels.
#[derive(Debug)]
pub struct Kernels {
    /// Its name: what the processor must have, or `portable`.
    pub name: &'static str,
    pub(super) accumulate: unsafe fn(Counted<'_>, &Operands<'_>, &mut Sums),
    pub(super) reached: unsafe fn(&Sums, &[i32; ROWS]) -> [u8; TILE],
    pub(super) levels: unsafe fn(&Sums, &[[i32; ROWS]], &mut Sums),
    pub(super) plane: unsafe fn(&Sums, u32) -> [u8; TILE],
}

impl Kernels {
    /// Adds to each operand's and row's sum the number of bits that are counted in each plane, times the plane's factor.
    ///
    /// # Panics
    /// If the lists of words and offsets have different lengths, or an operand reaches beyond the words.
    #[allow(unsafe_code)]
    #[inline]
    pub fn accumulate(&self, counted: Counted<'_>, operands: &Operands<'_>, sums: &mut Sums) {
        let Operands { words, places, offsets, planes } = operands;
        assert_eq!(counted.len(), offsets.list.len(), "words of weights");
        if let Counted::DifferWhere(signs, mask) = counted {
            assert_eq!(signs.len(), mask.len(), "words of the mask");
        }
        let place = places.iter().fold(0, |most, place| most.max(*place));
        let plane = planes.iter().fold(0, |most, (at, _)| most.max(*at));
        let last = place.saturating_add(plane).saturating_add(offsets.most);
        if offsets.list.is_empty() {
            return;
        }
        assert!(last < words.len(), "words of the operands");
        // SAFETY: `all` has only sets whose features the processor has, and the assertions are what the loops rely on.
        unsafe { (self.accumulate)(counted, operands, sums) }
    }

    /// For each operand a byte whose bit r is 1 if the sum of row r is at least the row's threshold.
    #[allow(unsafe_code)]
    pub fn reached(&self, sums: &Sums, thresholds: &[i32; ROWS]) -> [u8; TILE] {
        // SAFETY: `all` has only sets whose features the processor has.
        unsafe { (self.reached)(sums, thresholds) }
    }

    /// Sets each operand's and row's level to the number of thresholds that its sum reaches.
    #[allow(unsafe_code)]
    pub fn levels(&self, sums: &Sums, thresholds: &[[i32; ROWS]], levels: &mut Sums) {
        // SAFETY: `all` has only sets whose features the processor has.
        unsafe { (self.levels)(sums, thresholds, levels) }
    }

    /// For each operand a byte whose bit r is bit `k` of the row's value, in two's complement.
    #[allow(unsafe_code)]
    pub fn plane(&self, values: &Sums, k: u32) -> [u8; TILE] {
        assert!(k < 32, "a bit of 32");
        // SAFETY: `all` has only sets whose features the processor has.
        unsafe { (self.plane)(values, k) }
    }
}
