//! Activations of the sums of a tile, as bits: the arithmetic of the fast engine.

use crate::arith::activation::Activation;
use crate::arith::kernels::{self, Kernels, ROWS, Sums, TILE};
use crate::arith::packed::{Tile, blocks, rows_of};

/// Up to so many thresholds are compared one after the other; more are searched.
const COMPARED: usize = 24;

/// An activation by blocks of rows.
#[derive(Debug)]
pub struct Stairs<'a> {
    kernels: &'static Kernels,
    activation: &'a Activation,
    /// Block by block the first threshold of each row, then the second ones, and so on.
    thresholds: Vec<[i32; ROWS]>,
    codes: Vec<Codes>,
}

/// The values of a block's rows as bit patterns.
#[derive(Debug, Clone, Default)]
struct Codes {
    /// That of level 0.
    first: [i32; ROWS],
    /// What a level adds: 1, or -1 in decreasing rows.
    add: [i32; ROWS],
    /// Bit 0 of those of level 0.
    turned: u8,
}

impl<'a> Stairs<'a> {
    /// The activation of rows in groups of `group_rows`.
    pub fn new(activation: &'a Activation, group_rows: usize) -> Self {
        let steps = activation.steps();
        let count = blocks(activation.thresholds.len(), group_rows);
        let mut thresholds = vec![[i32::MAX; ROWS]; count * steps];
        let mut codes = vec![Codes::default(); count];
        for (block, Codes { first, add, turned }) in codes.iter_mut().enumerate() {
            for (r, row) in rows_of(block, group_rows).enumerate() {
                let own = thresholds[block * steps..][..steps].iter_mut();
                own.zip(&activation.thresholds[row]).for_each(|(to, threshold)| to[r] = *threshold);
                first[r] = activation.code(row, 0);
                add[r] = activation.code(row, 1) - first[r];
                *turned |= ((first[r] & 1) as u8) << r;
            }
        }
        Self { kernels: kernels::chosen(), activation, thresholds, codes }
    }

    /// Planes of the values.
    pub fn planes(&self) -> usize {
        self.activation.element.bits() as usize
    }

    /// For each plane of the values the bits of each operand's rows: bit r is that of the tile's row r. Those beyond its last row are 0: no
    /// sum reaches their thresholds, and their patterns are 0.
    pub fn bits(&self, tile: &Tile<'_>, mut each: impl FnMut(usize, [u8; TILE])) {
        let steps = self.activation.steps();
        let thresholds = &self.thresholds[tile.block * steps..][..steps];
        let Codes { first, add, turned } = &self.codes[tile.block];
        if let ([threshold], 1) = (thresholds, self.planes()) {
            let mut bits = self.kernels.reached(tile.sums, threshold);
            bits.iter_mut().for_each(|bits| *bits ^= turned);
            return each(0, bits);
        }
        let mut values = [[0; ROWS]; TILE];
        if steps <= COMPARED {
            self.kernels.levels(tile.sums, thresholds, &mut values);
        } else {
            self.search(tile, &mut values);
        }
        for value in &mut values {
            for r in 0..ROWS {
                value[r] = first[r].wrapping_add(value[r].wrapping_mul(add[r]));
            }
        }
        for k in 0..self.planes() {
            each(k, self.kernels.plane(&values, k as u32));
        }
    }

    /// The levels of a tile by a search in each row's thresholds.
    fn search(&self, tile: &Tile<'_>, levels: &mut Sums) {
        for (sums, levels) in tile.sums.iter().zip(levels).take(tile.at.len()) {
            let rows = &self.activation.thresholds[tile.row..][..tile.rows];
            for (level, (sum, row)) in levels.iter_mut().zip(sums.iter().zip(rows)) {
                *level = row.partition_point(|threshold| threshold <= sum) as i32;
            }
        }
    }
}
