//! The search for a row's level among its thresholds, in place of a comparison with each.

use std::sync::Arc;

use stoxnor_hdl::block::ThresholdSearch;
use stoxnor_hdl::{Bits, Builder, Image, Net, bits_for};

use crate::unit::folding::{Cuts, Folding};
use crate::unit::matrix::table::Table;

/// Bits of a processing element's thresholds from which one memory and one comparison serve several steps of a search. yosys makes
/// such a memory of block RAM; smaller ones are logic, which is smaller where each step has its own.
const SHARED_BITS: u64 = 3072;

/// A search in each processing element.
#[derive(Debug)]
pub struct Search {
    table: Table,
    pe: usize,
    /// The number that no sum reaches.
    never: u64,
    block: ThresholdSearch,
}

/// Edges with `run` from the sums to the levels that are found among `thresholds` thresholds.
pub fn latency(thresholds: usize, cuts: Cuts) -> u32 {
    let block = ThresholdSearch {
        levels: levels(thresholds),
        bits: 1,
        rows: 1,
        falling: false,
        steps: 1,
        registered: cuts.has(Cuts::Words),
    };
    block.latency()
}

/// Bits of a level.
fn levels(thresholds: usize) -> u32 {
    bits_for(thresholds as u64)
}

impl Search {
    /// The search in `table` of a unit that begins at most one every `interval` edges. No sum reaches the number `never`.
    pub fn new(table: Table, fold: Folding, interval: u64, never: u64) -> Self {
        let levels = levels(table.numbers());
        let registered = fold.cuts.has(Cuts::Words);
        let rows = table.depth(fold.pe);
        let shared = (rows << levels) * u64::from(table.bits) >= SHARED_BITS;
        let time = (interval / (1 + u64::from(registered))).clamp(1, levels.into()) as u32;
        let block = ThresholdSearch {
            levels,
            bits: table.bits,
            rows: rows as u32,
            falling: table.falls.is_some(),
            steps: if shared { time } else { 1 },
            registered,
        };
        Self { table, pe: fold.pe, never, block }
    }

    /// Number of words of row groups, over all members.
    pub fn groups(&self) -> u64 {
        self.block.rows.into()
    }

    /// Bits of all memories.
    pub fn total_bits(&self) -> u64 {
        self.pe as u64 * self.block.memory_bits()
    }

    /// The words of each stage of processing element `p`.
    fn contents(&self, p: usize) -> Vec<Vec<Bits>> {
        let Table { members, falls, .. } = &self.table;
        let row = |m: usize, row: usize| {
            let numbers = members[m][row].iter().map(|number| *number as u64).collect();
            (numbers, falls.as_ref().is_some_and(|falls| falls[m][row]))
        };
        let rows = 0..members[0].len();
        let own = |m: usize| rows.clone().skip(p).step_by(self.pe).map(move |r| row(m, r));
        self.block.contents(&(0..members.len()).flat_map(own).collect::<Vec<_>>(), self.never)
    }

    /// What is common to the names of a memory's image and parameter.
    fn names(&self, p: usize, stage: usize) -> String {
        let of = if self.pe > 1 { format!("_{p}") } else { String::new() };
        let part = if self.block.stages().len() > 1 { format!("_step_{stage}") } else { String::new() };
        format!("{}{of}{part}", self.table.name)
    }

    /// The layout of the memories, for the module's header.
    pub fn layout(&self) -> Vec<String> {
        let (pe, groups) = (self.pe, self.table.members[0].len() / self.pe);
        let ThresholdSearch { levels, bits, .. } = self.block;
        let word = if self.table.members.len() == 1 { "f".to_owned() } else { format!("(m * {groups} + f)") };
        let stages = self.block.stages();
        let file = match (pe, stages.len()) {
            (1, 1) => self.table.name.to_owned(),
            (1, _) => format!("{}_step_k", self.table.name),
            (_, 1) => format!("{}_p", self.table.name),
            (..) => format!("{}_p_step_k", self.table.name),
        };
        let mut lines = vec![format!(
            "Thresholds: a search of {levels} steps finds the level, its most significant bit first. Memory {file} is that of the rows f * {pe} + p{}, {bits} bits a word:",
            if self.table.members.len() == 1 { "" } else { " of member m" }
        )];
        for (k, stage) in stages.iter().enumerate() {
            let which = if stages.len() > 1 { format!("k = {k}: ") } else { String::new() };
            let found = match stage.start {
                0 => word.clone(),
                start => format!("({word} * {} + the {start} bits found)", 1 << start),
            };
            lines.push(match stage.len() {
                1 if stage.start == 0 => format!("{which}word {word}."),
                1 => format!("{which}word {}.", found.trim_matches(['(', ')'])),
                n => format!(
                    "{which}word {found} * {} + node. Step 0 has node 1; behind node n comes node 2 * n, or 2 * n + 1 where the bit is 1.",
                    1 << n
                ),
            });
        }
        if self.block.falling {
            lines.push("A word's top bit is 1 where the element falls as the sum grows: a bit of the level is 1 below the threshold there.".to_owned());
        }
        lines
    }

    /// The levels of the sums, [`latency`] edges with `run` later. `at` is the address of their thresholds, `start` whether there are
    /// sums.
    pub fn hardware(
        &self,
        b: &mut Builder,
        unit: &str,
        codes: &[Net],
        at: Net,
        (start, run): (Net, Net),
    ) -> Vec<Net> {
        let module = self.block.build();
        let mut level = |(p, code): (usize, &Net)| {
            let search = b.instance(&format!("u_activation_{p}"), &module);
            b.connect(search, "run", run);
            if self.block.starts() {
                b.connect(search, "start", start);
            }
            if self.groups() > 1 {
                b.connect(search, "at", at);
            }
            b.connect(search, "sum", *code);
            for (stage, words) in self.contents(p).into_iter().enumerate() {
                let name = self.names(p, stage);
                let image = Arc::new(Image { file: format!("{unit}_{name}.mem"), words });
                let file = b.parameter(format!("{}_FILE", name.to_uppercase()), Some(image));
                b.bind(search, &format!("STAGE_{stage}_FILE"), file);
            }
            b.out(search, "level")
        };
        codes.iter().enumerate().map(&mut level).collect()
    }
}
