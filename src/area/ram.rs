//! Memories: what yosys makes each of, by its cost of block RAM, of memory in LUTs and of logic.
//!
//! The rules and costs are those of its pass `memory_libmap` and of the libraries `brams*.txt` and `lutrams*.txt` of the families.

use crate::unit::family::Family;

/// How a memory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// Of cells of block RAM.
    Block(Shape),
    /// Of cells of memory in LUTs, read without a clock.
    Distributed(Shape),
    /// Of flip-flops (what is written) and multiplexers.
    Logic,
}

/// Cells side by side and one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Number of cells; a cell of double size counts twice.
    pub cells: u64,
    /// Ranges of addresses that lie in different cells.
    pub ranges: u32,
    /// Words in a range.
    pub words: u32,
}

/// A kind of cell.
struct Kind {
    /// Bits of an address of a word of the least width.
    address: u32,
    /// Widths, one for each way to divide the cell.
    widths: &'static [u32],
    /// Least width at a write port.
    written: u32,
    /// The widest word that one enable writes; 0 stands for the widest of `widths`.
    byte: u32,
    cost: u32,
    /// The part of the cost that counts by the bits that are used.
    scaled: u32,
    /// Cells that it is counted as.
    size: u64,
    /// Whether it can be read-only.
    rom: bool,
}

const BLOCK: Kind = Kind {
    address: 14,
    widths: &[1, 2, 4, 9, 18, 36],
    written: 1,
    byte: 9,
    cost: 128,
    scaled: 0,
    size: 1,
    rom: true,
};

const DISTRIBUTED: Kind =
    Kind { address: 4, widths: &[4], written: 4, byte: 0, cost: 4, scaled: 0, size: 1, rom: false };

/// Kinds of block RAM with a port that reads and one that writes, of a family.
fn blocks(family: Family) -> &'static [Kind] {
    const NARROW: &[u32] = &[1, 2, 4, 9, 18];
    const ICE40: &[Kind] =
        &[Kind { address: 11, widths: &[2, 4, 8, 16], written: 2, byte: 1, cost: 64, ..BLOCK }];
    const ECP5: &[Kind] = &[Kind { widths: NARROW, ..BLOCK }, Kind { written: 36, ..BLOCK }];
    const GOWIN: &[Kind] = &[BLOCK];
    const XILINX: &[Kind] = &[
        Kind { cost: 129, ..BLOCK },
        Kind { cost: 257, address: 15, widths: &[1, 2, 4, 9, 18, 36, 72], size: 2, ..BLOCK },
    ];
    match family {
        Family::Ice40 => ICE40,
        Family::Generic | Family::Ecp5 => ECP5,
        Family::Gowin => GOWIN,
        Family::Xilinx7 => XILINX,
    }
}

/// Kinds of memory in LUTs.
fn distributed(family: Family) -> &'static [Kind] {
    const GOWIN: &[Kind] = &[Kind { scaled: 4, ..DISTRIBUTED }];
    const LATTICE: &[Kind] = &[DISTRIBUTED];
    const DUAL: Kind = Kind { cost: 8, scaled: 8, ..DISTRIBUTED };
    const SIMPLE: Kind = Kind { scaled: 7, ..DUAL };
    const XILINX: &[Kind] = &[
        Kind { address: 5, widths: &[4], written: 4, ..DUAL },
        Kind { address: 6, widths: &[2], written: 2, ..DUAL },
        Kind { address: 7, widths: &[1], written: 1, ..DUAL },
        Kind { address: 5, widths: &[6], written: 6, ..SIMPLE },
        Kind { address: 6, widths: &[3], written: 3, ..SIMPLE },
    ];
    match family {
        Family::Ice40 => &[],
        Family::Generic | Family::Ecp5 => LATTICE,
        Family::Gowin => GOWIN,
        Family::Xilinx7 => XILINX,
    }
}

/// The cheapest way to divide cells of a kind for words of `width` bits: its cost and shape.
fn divided(kind: &Kind, [width, depth, writes, reads]: [u32; 4]) -> Option<(u64, Shape)> {
    let bytes = kind.widths.iter().rposition(|w| kind.byte >= *w).unwrap_or(kind.widths.len() - 1);
    let mut best: Option<(u64, Shape)> = None;
    for (step, unit) in kind.widths.iter().enumerate() {
        if writes > 0 && *unit < kind.written && step < bytes {
            continue;
        }
        let byte = if kind.byte == 0 || kind.byte > *unit { *unit } else { kind.byte };
        let byte = if writes == 0 { 1 } else { byte };
        let words = 1 << (kind.address - step as u32);
        let ranges = depth.div_ceil(words);
        let [wide, several, unit] = [width, ranges, *unit].map(u64::from);
        let cells = (several * wide.next_multiple_of(byte.into())).div_ceil(unit);
        let more = several - 1;
        let choices = more * wide * u64::from(reads) + if more > 0 { several * u64::from(writes) } else { 0 };
        let cost =
            u64::from(kind.cost - kind.scaled) * cells + u64::from(kind.scaled) * several * wide / unit;
        let cost = cost + choices / 2 + 2 * u64::from(reads);
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, Shape { cells: cells * kind.size, ranges, words }));
        }
    }
    best
}

/// What a memory is made of.
///
/// `sizes` are its bits a word, its words, and its ports that write and that read; `block` says whether it asks for block RAM.
pub(super) fn made(family: Family, sizes: [u32; 4], block: bool) -> Made {
    let [width, depth, writes, _] = sizes;
    let least = |kinds: &[Kind]| {
        let kinds = kinds.iter().filter(|kind| kind.rom || writes > 0);
        kinds.filter_map(|kind| divided(kind, sizes)).min_by_key(|(cost, _)| *cost)
    };
    let in_blocks = least(blocks(family));
    if let (true, Some((_, shape))) = (block, in_blocks) {
        return Made::Block(shape);
    }
    let bits = u64::from(width) * u64::from(depth);
    let logic = match (writes > 0, family) {
        (true, _) => bits,
        (false, Family::Xilinx7) => bits / 64,
        (false, _) => bits / 16,
    };
    let in_luts = least(distributed(family));
    let mut best = (logic, Made::Logic);
    for (cost, made) in
        [in_luts.map(|(c, s)| (c, Made::Distributed(s))), in_blocks.map(|(c, s)| (c, Made::Block(s)))]
            .into_iter()
            .flatten()
    {
        if cost < best.0 {
            best = (cost, made);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(family: Family, width: u32, depth: u32, writes: u32, block: bool) -> (char, u64) {
        match made(family, [width, depth, writes, 1], block) {
            Made::Block(shape) => ('b', shape.cells),
            Made::Distributed(shape) => ('d', shape.cells),
            Made::Logic => ('l', 0),
        }
    }

    #[test]
    fn small_written_memories_are_in_luts_where_there_are_any() {
        assert_eq!(cells(Family::Ecp5, 8, 16, 1, false), ('d', 2));
        assert_eq!(cells(Family::Gowin, 49, 16, 1, false), ('d', 13));
        assert_eq!(cells(Family::Ice40, 8, 4, 1, false), ('l', 0));
        assert_eq!(cells(Family::Ice40, 49, 16, 1, true), ('b', 4));
    }

    #[test]
    fn large_memories_are_in_the_fewest_block_rams() {
        assert_eq!(cells(Family::Ecp5, 8, 784, 1, false), ('b', 1));
        assert_eq!(cells(Family::Ecp5, 36, 1024, 1, false), ('b', 2));
        assert_eq!(cells(Family::Ecp5, 1, 32_768, 0, true), ('b', 2));
        assert_eq!(cells(Family::Xilinx7, 72, 512, 1, false), ('b', 2));
        assert_eq!(cells(Family::Ice40, 16, 512, 0, true), ('b', 2));
    }

    #[test]
    fn read_only_memories_are_logic_unless_they_are_large_or_ask() {
        assert_eq!(cells(Family::Ecp5, 8, 16, 0, false), ('l', 0));
        assert_eq!(cells(Family::Ecp5, 8, 16, 0, true), ('b', 1));
    }
}
