//! The search for the number of thresholds that a sum reaches.

use std::ops::Range;
use std::sync::Arc;

use super::{rom, threshold};
use crate::{Bits, Builder, Module, Net, Role, index_bits};

/// A binary search for how many of a row's ascending thresholds a sum reaches: the *level*, from 0 to 2^`levels` - 1. Each step
/// compares the sum with one threshold and finds one bit of the level, the most significant first. The bits found so far are a
/// part of the address of the next threshold, so a step needs neither a multiplexer nor the row's other thresholds.
///
/// The steps are divided into stages. A stage has one comparison and one memory, which it uses for each of its steps in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThresholdSearch {
    /// Bits of the level, at least 1.
    pub levels: u32,
    /// Bits of a sum and of a threshold, unsigned.
    pub bits: u32,
    /// Number of rows, each with thresholds of its own.
    pub rows: u32,
    /// Whether some rows are decreasing: their level is the number of thresholds that the sum does not reach. Each word then has a
    /// bit above the threshold that says so.
    pub falling: bool,
    /// Maximum number of steps in a stage. If a stage has several, a search begins where port `start` is 1, and the next one as many
    /// edges later as a stage takes, or after that.
    pub steps: u32,
    /// Whether there is a register behind each memory, so that a step takes two edges.
    pub registered: bool,
}

/// What one step of a search uses: nets that belong to the same search.
struct Search {
    /// The sum.
    sum: Net,
    /// The row; `None` if there is one.
    at: Option<Net>,
    /// The bits that are found; `None` at the beginning.
    found: Option<Net>,
    /// Whether a search is here; `None` if there may be one at every edge.
    start: Option<Net>,
}

impl ThresholdSearch {
    /// Edges of a step.
    fn edges(&self) -> u32 {
        1 + u32::from(self.registered)
    }

    /// Edges with `run` from a sum to its level.
    pub fn latency(&self) -> u32 {
        self.levels * self.edges()
    }

    /// The steps of each stage.
    pub fn stages(&self) -> Vec<Range<u32>> {
        let count = self.levels.div_ceil(self.steps);
        let from = |stage: u32| stage * self.levels / count;
        (0..count).map(|stage| from(stage)..from(stage + 1)).collect()
    }

    /// Whether a stage has several steps, so that the module has a port `start`.
    pub fn starts(&self) -> bool {
        self.stages().iter().any(|stage| stage.len() > 1)
    }

    /// Number of words of a stage's memory.
    fn depth(&self, stage: &Range<u32>) -> u32 {
        let nodes = if stage.len() > 1 { stage.end } else { stage.start };
        self.rows << nodes
    }

    /// Bits of all memories.
    pub fn memory_bits(&self) -> u64 {
        let words: u64 = self.stages().iter().map(|stage| u64::from(self.depth(stage))).sum();
        words * u64::from(self.word_bits())
    }

    /// Bits of a word.
    fn word_bits(&self) -> u32 {
        self.bits + u32::from(self.falling)
    }

    /// The words of each stage's memory. A row is its ascending thresholds, at most 2^`levels` - 1, and whether it is decreasing;
    /// no sum reaches the number `never`.
    ///
    /// A stage of one step has the word i * 2^s + found, for step s of row i. A stage of several steps that begins with step s has the
    /// words (i * 2^s + found) * 2^n + node, for its n steps: node 1 is the first one's, and those of the next one are 2 * node and
    /// 2 * node + 1. There is no node 0.
    ///
    /// # Panics
    /// If a row has too many thresholds.
    pub fn contents(&self, rows: &[(Vec<u64>, bool)], never: u64) -> Vec<Vec<Bits>> {
        let word = |row: &(Vec<u64>, bool), step: u32, found: usize| {
            let (thresholds, falls) = row;
            assert!(thresholds.len() < 1 << self.levels, "too many thresholds");
            // The level that the step decides about: whether it is reached. A decreasing row reaches it below one of its last thresholds,
            // and where there is none at no sum: none is below 0.
            let level = (2 * found + 1) << (self.levels - 1 - step);
            let number = match falls {
                false => thresholds.get(level - 1).copied().unwrap_or(never),
                true => thresholds.len().checked_sub(level).map_or(0, |k| thresholds[k]),
            };
            let mut word = Bits::zero(self.word_bits());
            word.insert(0, self.bits, number);
            if self.falling {
                word.set(self.bits, *falls);
            }
            word
        };
        let of = |stage: Range<u32>| {
            let nodes = |row| {
                let stage = stage.clone();
                (0..1usize << stage.start).flat_map(move |found| {
                    let (start, many) = (stage.start, stage.len() > 1);
                    let nodes = if many { 1 << stage.len() } else { 1 };
                    (0..nodes).map(move |node: usize| match (many, node) {
                        (true, 0) => Bits::zero(self.word_bits()),
                        (true, _) => {
                            let step = node.ilog2();
                            let inside = node - (1 << step);
                            word(row, start + step, (found << step) + inside)
                        }
                        (false, _) => word(row, start, found),
                    })
                })
            };
            rows.iter().flat_map(nodes).collect()
        };
        self.stages().into_iter().map(of).collect()
    }

    /// Builds the module. Ports `run`, `start` (if stages have several steps), `at` (the row, if there are several), `sum` and
    /// `level`. The parameter `STAGE_<k>_FILE` names the [contents](Self::contents) of stage k.
    pub fn build(&self) -> Arc<Module> {
        let mut b = Builder::new(self.name());
        b.doc(format!(
            "Activation: level = number of the row's thresholds with sum >= threshold, of {} bits, by binary search: in each step one comparison.",
            self.bits
        ));
        if self.falling {
            b.doc("Where the top bit of the words is 1: those with sum < threshold.");
        }
        let (edges, stages) = (self.latency(), self.stages());
        b.doc(format!("Timing: {edges} edges with run later."));
        if self.starts() {
            let most = stages.iter().map(ExactSizeIterator::len).max().unwrap_or(1) as u32 * self.edges();
            b.doc(format!(
                "A search begins where start is 1, and no other in the {} edges behind it.",
                most - 1
            ));
        }
        let run = b.input("run", 1, Role::Control);
        let start = self.starts().then(|| b.input("start", 1, Role::Control));
        let at = (self.rows > 1).then(|| b.input("at", index_bits(self.rows.into()), Role::Control));
        let sum = b.input("sum", self.bits, Role::Data);
        let mut search = Search { sum, at, found: None, start };
        for (index, stage) in stages.iter().enumerate() {
            let more = stages.get(index + 1..).unwrap_or_default();
            search = match stage.len() {
                1 => self.step(&mut b, run, search, (index, stage), more),
                _ => self.several(&mut b, run, search, (index, stage), more),
            };
        }
        let level = search.found.expect("a step at least");
        let level = b.named("level_found", level);
        b.output("level", level, Role::Data);
        b.finish()
    }

    /// A stage of one step: searches follow each other at every edge.
    fn step(
        &self,
        b: &mut Builder,
        run: Net,
        search: Search,
        (index, stage): (usize, &Range<u32>),
        more: &[Range<u32>],
    ) -> Search {
        let address = place(b, &search, index);
        let number = self.memory(b, run, (index, stage), address);
        let mut late = |what: &str, mut net: Net| {
            for edge in 1..=self.edges() {
                let name = if edge == 1 { format!("{what}_{index}") } else { format!("{what}_{index}_late") };
                net = b.registered(&name, None, run, net);
            }
            net
        };
        let sum = late("sum", search.sum);
        let at = search.at.filter(|_| !more.is_empty()).map(|at| late("at", at));
        let found = search.found.map(|found| late("found", found));
        let start = search.start.filter(|_| more.iter().any(|stage| stage.len() > 1));
        let start = start.map(|start| self.later(b, run, start, (index, self.edges())));
        let bit = self.reached(b, index, sum, number);
        Search { sum, at, found: Some(appended(b, index, bit, found)), start }
    }

    /// A stage of several steps: its search has the sum in a register of its own until the next one begins.
    fn several(
        &self,
        b: &mut Builder,
        run: Net,
        search: Search,
        (index, stage): (usize, &Range<u32>),
        more: &[Range<u32>],
    ) -> Search {
        let steps = stage.len() as u32;
        let start = search.start.expect("a search begins at a start");
        let load = b.and(run, start);
        let load = b.named(format!("load_{index}"), load);
        let sum = b.registered(&format!("sum_{index}"), None, load, search.sum);
        let mut hold = |what: &str, net: Option<Net>| {
            let net = net?;
            let held = b.registered(&format!("{what}_{index}"), None, load, net);
            let now = b.mux(start, net, held);
            Some((held, b.named(format!("{what}_{index}_now"), now)))
        };
        let (at, found) = (hold("at", search.at), hold("found", search.found));
        let now = |held: Option<(Net, Net)>| held.map(|(_, now)| now);
        let place = place(b, &Search { sum, at: now(at), found: now(found), start: None }, index);
        // The node whose threshold is in work, without its leading 1 at the last step.
        let node = b.register(&format!("node_{index}"), steps - 1, None);
        let known = match self.registered {
            false => node,
            true => b.registered(&format!("node_{index}_late"), None, run, node),
        };
        let next = b.wire(format!("next_{index}"), steps);
        let address = place.map_or(next, |place| b.concat(&[next, place]));
        let number = self.memory(b, run, (index, stage), Some(address));
        let bit = self.reached(b, index, sum, number);
        let (first, following) = (b.constant(steps, 1), b.concat(&[bit, known]));
        let following = b.named(format!("following_{index}"), following);
        let chosen = b.mux(start, first, following);
        b.drive(next, chosen);
        let kept = b.slice(next, 0, steps - 1);
        b.next_if(node, run, kept);
        let found = match found {
            None => following,
            Some((held, _)) => {
                let found = b.concat(&[following, held]);
                if more.is_empty() { found } else { b.named(format!("found_by_{index}"), found) }
            }
        };
        let start = more.iter().any(|stage| stage.len() > 1);
        let edges = steps * self.edges();
        let start = start.then(|| self.later(b, run, search.start.expect("above"), (index, edges)));
        Search { sum, at: at.map(|(held, _)| held), found: Some(found), start }
    }

    /// The threshold that a stage compares with.
    fn memory(
        &self,
        b: &mut Builder,
        run: Net,
        (index, stage): (usize, &Range<u32>),
        address: Option<Net>,
    ) -> Net {
        let memory = b.instance(&format!("u_stage_{index}"), &rom(self.depth(stage), self.word_bits()));
        let file = b.parameter(format!("STAGE_{index}_FILE"), None);
        b.bind(memory, "INIT_FILE", file);
        let address = address.unwrap_or_else(|| b.constant(1, 0));
        b.connect(memory, "address", address);
        b.connect(memory, "enable", run);
        let number = b.out(memory, "data");
        match self.registered {
            true => b.registered(&format!("number_{index}"), None, run, number),
            false => number,
        }
    }

    /// The bit that a comparison finds.
    fn reached(&self, b: &mut Builder, index: usize, sum: Net, number: Net) -> Net {
        let own = if self.falling { b.slice(number, 0, self.bits) } else { number };
        let mut bit = threshold(b, sum, own);
        if self.falling {
            let falls = b.slice(number, self.bits, 1);
            bit = b.xor(bit, falls);
        }
        b.named(format!("bit_{index}"), bit)
    }

    /// The start of a search, `edges` edges with `run` later.
    fn later(&self, b: &mut Builder, run: Net, start: Net, (index, edges): (usize, u32)) -> Net {
        let late =
            |b: &mut Builder, net, edge| b.registered(&format!("start_{index}_{edge}"), Some(0), run, net);
        (0..edges).fold(start, |net, edge| late(b, net, edge))
    }

    fn name(&self) -> String {
        format!(
            "threshold_search_{}x{}_g{}{}{}{}",
            self.levels,
            self.bits,
            self.rows,
            if self.starts() { format!("_s{}", self.steps) } else { String::new() },
            if self.falling { "_falling" } else { "" },
            if self.registered { "_r" } else { "" },
        )
    }
}

/// The part of an address that the row and the bits found so far make; `None` if it is always the same.
fn place(b: &mut Builder, search: &Search, index: usize) -> Option<Net> {
    match (search.found, search.at) {
        (Some(found), Some(at)) => {
            let place = b.concat(&[found, at]);
            Some(b.named(format!("place_{index}"), place))
        }
        (found, at) => found.or(at),
    }
}

/// The bits found so far and the next one.
fn appended(b: &mut Builder, index: usize, bit: Net, found: Option<Net>) -> Net {
    let Some(found) = found else { return bit };
    let all = b.concat(&[bit, found]);
    b.named(format!("found_by_{index}"), all)
}
