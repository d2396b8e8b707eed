//! The memory of a unit's numbers per row: thresholds, constants, or numbers that sums begin with.

use stoxnor_hdl::{Bits, Builder, Image, Net};

use crate::unit::folding::{Cuts, Folding};
use crate::unit::matrix::Words;
use crate::unit::matrix::source::{Step, address, all};

/// A memory of numbers per row: PE rows per word, in order of row groups, then members.
#[derive(Debug, Clone)]
pub struct Table {
    /// What the numbers are, used in names.
    pub name: &'static str,
    /// Bits of each number.
    pub bits: u32,
    /// The numbers of each row of each member (one entry if all members share them). Only the low bits are stored.
    pub members: Vec<Vec<Vec<i64>>>,
    /// Whether the activation is decreasing, for each member and row; `None` if it never is.
    pub falls: Option<Vec<Vec<bool>>>,
    /// Whether the sums begin with the numbers.
    pub starts: bool,
}

impl Table {
    /// A table. It is stored once if all members have the same.
    pub fn new(
        name: &'static str,
        bits: u32,
        mut members: Vec<Vec<Vec<i64>>>,
        mut falls: Option<Vec<Vec<bool>>>,
    ) -> Self {
        let alike = falls.as_ref().is_none_or(|f| f.iter().all(|m| *m == f[0]));
        if alike && members.iter().all(|m| *m == members[0]) {
            members.truncate(1);
            falls.iter_mut().for_each(|f| f.truncate(1));
        }
        Self { name, bits, members, falls, starts: false }
    }

    /// The position of a row's numbers in the memory, for the module's header.
    pub fn layout(&self, pe: usize) -> String {
        let bits = self.row_bits();
        let each = if self.numbers() == 1 { String::new() } else { format!(", {} bits each", self.bits) };
        let falls = if self.falls.is_some() {
            "; where the top bit of a row is 1 the element is turned over: it falls as the sum grows"
        } else {
            ""
        };
        let name = format!("{}{}", self.name[..1].to_uppercase(), &self.name[1..]);
        let groups = self.members[0].len() / pe;
        let word =
            if self.members.len() == 1 { "f".to_owned() } else { format!("m * {groups} + f (member m)") };
        let starts = match self.starts {
            true => {
                ": the negative threshold, two's complement; the sum begins with it and is negative where the threshold is not reached"
            }
            false => "",
        };
        format!(
            "{name}: the {bits} bits from p * {bits} upwards of word {word} are those of row f * {pe} + p{each}{starts}{falls}."
        )
    }

    /// Numbers per row.
    pub(crate) fn numbers(&self) -> usize {
        self.members[0][0].len()
    }

    /// Bits per row.
    pub fn row_bits(&self) -> u32 {
        self.bits * self.numbers() as u32 + u32::from(self.falls.is_some())
    }

    /// Bits of the whole memory.
    pub fn total_bits(&self) -> u64 {
        (self.members.len() * self.members[0].len()) as u64 * u64::from(self.row_bits())
    }

    /// The words of the memory, `pe` rows per word.
    pub fn words(&self, pe: usize) -> Vec<Bits> {
        let (row_bits, numbers) = (self.row_bits(), self.numbers() as u32);
        let word = |member: usize, group: usize| {
            let mut word = Bits::zero(row_bits * pe as u32);
            for p in 0..pe {
                let (row, low) = (group * pe + p, p as u32 * row_bits);
                for (i, number) in self.members[member][row].iter().enumerate() {
                    word.insert(low + i as u32 * self.bits, self.bits, *number as u64);
                }
                if let Some(falls) = &self.falls {
                    word.set(low + numbers * self.bits, falls[member][row]);
                }
            }
            word
        };
        let groups = self.members[0].len() / pe;
        (0..self.members.len())
            .flat_map(|m| (0..groups).map(move |g| (m, g)))
            .map(|(m, g)| word(m, g))
            .collect()
    }

    /// The address of the numbers of the row group whose last step is issued.
    pub fn address(&self, b: &mut Builder, pe: usize, step: Step) -> Net {
        let depth = self.depth(pe);
        match step.group.filter(|_| self.members.len() == 1) {
            Some(group) => group,
            None if depth == 1 => b.constant(1, 0),
            None => {
                // Ordered by member, then by row group.
                let done = step.end.map_or(step.issue, |end| {
                    let done = b.and(step.issue, end);
                    let shared = step.position.is_some();
                    if shared { b.named(format!("{}_done", self.name), done) } else { done }
                });
                let again = step.position.map(|p| (step.last_group, p));
                let done = if again.is_some() { b.named(format!("{}_step", self.name), done) } else { done };
                address(b, &format!("{}_at", self.name), depth, done, again, |b, _| {
                    all(b, [step.last_group, step.last_member]).expect("members differ")
                })
            }
        }
    }

    /// Address `at`, `latency` edges later.
    pub fn late(&self, b: &mut Builder, pe: usize, at: Net, run: Net, latency: u32) -> Net {
        let several = self.depth(pe) > 1;
        let late = |at, stage| b.registered(&format!("{}_at_{stage}", self.name), None, run, at);
        (0..latency).filter(|_| several).fold(at, late)
    }

    /// Number of words of `pe` rows.
    pub fn depth(&self, pe: usize) -> u64 {
        (self.members.len() * (self.members[0].len() / pe)) as u64
    }

    /// The memory in the module called `unit`, read at address `at` when `run` is set. Returns one net per PE with the numbers of the
    /// word whose address was there `latency` + 1 edges before.
    pub fn read(
        &self,
        b: &mut Builder,
        (unit, fold): (&str, Folding),
        at: Net,
        run: Net,
        latency: u32,
    ) -> Vec<Net> {
        let image = Image { file: format!("{unit}_{}.mem", self.name), words: self.words(fold.pe) };
        let several = image.words.len() > 1;
        let behind = fold.cuts.has(Cuts::Words) && several && latency > 0;
        let at = self.late(b, fold.pe, at, run, latency - u32::from(behind));
        let words = Words {
            name: &format!("u_{}", self.name),
            parameter: &format!("{}_FILE", self.name.to_uppercase()),
            image,
            behind: behind.then_some(self.name),
        };
        let word = words.read(b, fold.roms, at, run);
        let pe = fold.pe;
        let row = |p: u32| {
            let own = b.slice(word, p * self.row_bits(), self.row_bits());
            // A decreasing row is marked by an extra bit.
            if self.falls.is_some() && pe > 1 { b.named(format!("row_{p}"), own) } else { own }
        };
        (0..pe as u32).map(row).collect()
    }
}
