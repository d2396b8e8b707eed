//! Pass: turns a quantised function of one or several streams into a Threshold or an Add layer with exact thresholds.

use std::sync::Arc;

use crate::arith::activation::Activation;
use crate::arith::threshold::{Lattice, Stairs};
use crate::diagnostic::{Diagnostic, JOIN_SCALES, Result};
use crate::frame::element::Element;
use crate::graph::step::Step;
use crate::import::layers::activation::staircase;
use crate::import::layers::doubt::of_terms;
use crate::import::layers::draft::{Core, Postprocessing};
use crate::import::layers::factors::{self, MAX_FACTOR, Table};
use crate::import::layers::grid::Grid;
use crate::import::layers::join::Channels;
use crate::import::layers::offsets::{Offsets, offsets};
use crate::import::layers::scales::ONE_SCALE;
use crate::import::layers::sums::{falling, reach};
use crate::import::layers::terms::{Term, Terms};
use crate::import::layers::walk::Walk;
use crate::layer::scale::Scale;
use crate::layer::threshold::Threshold;
use crate::network::Source;

/// The factors of all streams: one list for all channels, or one for each.
struct Factors {
    /// In the order of the streams.
    each: Vec<Vec<i64>>,
    /// The thresholds of each channel's sums.
    thresholds: Vec<Vec<i64>>,
}

impl Walk<'_> {
    /// Adds the layer for `steps` on `terms`, whose results are levels of `level`. The stream gets the order of the joined tensor.
    ///
    /// # Errors
    /// If no integer factors of the streams put all combinations of integers on the right side of every threshold.
    pub(crate) fn decide(&mut self, origin: &Step, terms: Terms, steps: &[Step], level: Grid) -> Result<()> {
        let slopes = terms.slopes();
        let one = terms.one.clone();
        let shape = origin.shape.clone();
        let stream = Channels::of(&shape).stream;
        let mut terms = terms.then(steps);
        let mut level = terms.narrowed(&level)?;
        self.made = None;
        if let [term] = &terms.streams[..] {
            let (found, negate) =
                self.activation(&term.rows, &one, &terms.alone(), &level)?.monotone(&terms.alone())?;
            let found = falling(found, negate);
            level.narrow(&found);
            self.source = term.source;
            self.inserted(origin, Arc::new(Threshold::new(stream, vec![found])));
            self.level = Some(level);
            return Ok(());
        }
        let single = terms.of_one_channel();
        let examined = single.clone().unwrap_or_else(|| terms.clone());
        let mut last = terms.last();
        let mut tables = examined.tables(&level, last)?;
        let mut found =
            search(&tables, slopes.as_deref(), last).filter(|found| sums(&terms, found).is_some());
        if found.is_none() && terms.streams.len() == 2 {
            // A branch that is no multiple of its stream gets a layer that gives every integer a value.
            let mut values = offsets(&tables);
            if values.is_none() {
                last = 1 - last;
                tables = examined.tables(&level, last)?;
                values = offsets(&tables);
            }
            let wide = |values: &Offsets| {
                let fits = |v: i64| v.saturating_mul(values.factor).abs() < 1 << 29;
                !terms.streams[last].rows.iter().all(|row| fits(row.low) && fits(row.high()))
            };
            if let Some(values) = values.filter(|values| !wide(values)) {
                found = Some(self.tabulate(origin, &stream, &mut terms, (&tables, last), values));
            }
        }
        let found = found.ok_or_else(|| inexact(&terms, &level))?;
        let copies = if single.is_some() { terms.streams[0].rows.len() } else { 1 };
        let doubt = of_terms(&examined, &tables, (&level, last), copies);
        let rows = sums(&terms, &found).ok_or_else(|| inexact(&terms, &level))?;
        reach(&rows, origin)?;
        let stairs = |c: usize| {
            let of = if single.is_some() { 0 } else { c };
            let thresholds = found.thresholds[of].iter().map(|t| *t as i32).collect();
            Stairs { thresholds, negate: tables[of].negated }
        };
        let stairs: Vec<Stairs> = (0..rows.len()).map(stairs).collect();
        let negate = stairs.iter().map(|s| s.negate).collect();
        let activation = falling(staircase(&level, &rows, stairs), negate);
        level.narrow(&activation);
        let sources: Vec<Source> = terms.streams.iter().map(|term| term.source).collect();
        let (sources, factors) = match &found.each[..] {
            [all] => (sources, all.iter().map(|f| *f as i32).collect()),
            each => {
                // Every channel has factors of its own: a layer in front of each input multiplies by them.
                let scaled = |(i, source): (usize, Source)| {
                    let own: Vec<i32> = each.iter().map(|factors| factors[i] as i32).collect();
                    if own.iter().all(|f| *f == 1) {
                        return source;
                    }
                    self.source = source;
                    self.inserted(origin, Arc::new(Scale::new(stream.clone(), own, vec![0; each.len()])));
                    self.source
                };
                let scaled: Vec<Source> = sources.into_iter().enumerate().map(scaled).collect();
                let ones = vec![1; scaled.len()];
                (scaled, ones)
            }
        };
        let core = Core::Sum { shape: stream, factors };
        let outgoing = Postprocessing { shape: one, steps: steps.to_vec(), moved: true };
        self.doubt = doubt;
        self.joined(origin, sources, core, Some(activation), outgoing);
        self.level = Some(level);
        Ok(())
    }
}

impl Walk<'_> {
    /// Adds a Threshold layer that gives the integers of the stream other than `last` their values, and makes its output that
    /// stream of `terms`.
    fn tabulate(
        &mut self,
        origin: &Step,
        stream: &[usize],
        terms: &mut Terms,
        (tables, last): (&[Table], usize),
        found: Offsets,
    ) -> Factors {
        let other = 1 - last;
        let channels = terms.streams[other].rows.len();
        let own = |c: usize| c.min(tables.len() - 1);
        // Values as the layer gives them: from 0, and not negated.
        let least: Vec<i64> = tables
            .iter()
            .zip(&found.values)
            .map(|(table, values)| {
                values.iter().map(|v| if table.negated { -v } else { *v }).min().unwrap_or(0)
            })
            .collect();
        let given = |t: usize, point: usize| {
            let value = found.values[t][point];
            (if tables[t].negated { -value } else { value }) - least[t]
        };
        let most = (0..tables.len())
            .flat_map(|t| (0..found.values[t].len()).map(move |p| (t, p)))
            .map(|(t, p)| given(t, p))
            .max()
            .unwrap_or(0)
            .max(1);
        let mut rows = Vec::new();
        let mut negate = Vec::new();
        let mut thresholds = Vec::new();
        for (c, row) in terms.streams[other].rows.iter().enumerate() {
            let t = own(c);
            let mut all: Vec<(i64, i64)> =
                (0..row.points as usize).map(|p| (i64::from(row.at(p as i64)), given(t, p))).collect();
            let falls = all.first().map(|f| f.1) > all.last().map(|l| l.1);
            if falls {
                all.reverse();
                all.iter_mut().for_each(|(integer, _)| *integer = -*integer);
            }
            let never = all.last().map_or(0, |(integer, _)| integer + 1);
            let reached = |value: i64| {
                all.iter().find(|(_, v)| *v >= value).map_or(never, |(integer, _)| *integer) as i32
            };
            thresholds.push((1..=most).map(reached).collect());
            negate.push(falls);
            let top = all.last().map_or(0, |(_, value)| *value);
            rows.push(Lattice { low: 0, step: 1, points: top + 1 });
        }
        let bits = 64 - (most as u64).leading_zeros();
        let activation = falling(Activation::rising(Element::Unsigned(bits), 0, thresholds), negate);
        self.source = terms.streams[other].source;
        self.inserted(origin, Arc::new(Threshold::new(stream.to_vec(), vec![activation])));
        terms.streams[other] = Term { source: self.source, rows };
        let mut factors = vec![found.factor; 2];
        factors[other] = 1;
        let moved = |(t, all): (usize, Vec<i64>)| -> Vec<i64> {
            all.into_iter()
                .map(|value| if tables[t].negated { value + least[t] } else { value - least[t] })
                .collect()
        };
        let thresholds = found.thresholds.into_iter().enumerate().map(moved).collect();
        debug_assert!(tables.len() == 1 || tables.len() == channels);
        Factors { each: vec![factors], thresholds }
    }
}

/// Exact factors for all tables together, else for two streams a pair for each channel.
fn search(tables: &[Table], slopes: Option<&[f64]>, last: usize) -> Option<Factors> {
    // In tables the last stream is the one with the most integers.
    let placed = |mut factors: Vec<i64>| {
        let own = factors.pop().unwrap_or(1);
        factors.insert(last, own);
        factors
    };
    let two = tables.iter().all(|table| table.others.first().is_none_or(|others| others.len() == 1));
    let common = if two {
        factors::pair(tables).map(|pair| pair.to_vec())
    } else {
        let mut slopes = slopes?.to_vec();
        let own = slopes.remove(last);
        slopes.push(own);
        factors::several(tables, &slopes)
    };
    if let Some(factors) = common {
        let thresholds = factors::thresholds(tables, &factors)?;
        return Some(Factors { each: vec![placed(factors)], thresholds });
    }
    if !two || tables.len() < 2 {
        return None;
    }
    let mut found = Factors { each: Vec::new(), thresholds: Vec::new() };
    for table in tables {
        let own = std::slice::from_ref(table);
        let pair = factors::pair(own)?;
        found.thresholds.extend(factors::thresholds(own, &pair)?);
        found.each.push(placed(pair.to_vec()));
    }
    Some(found)
}

/// The possible sums of each channel; `None` if one exceeds 31 bits.
fn sums(terms: &Terms, found: &Factors) -> Option<Vec<Lattice>> {
    let channels = terms.streams[0].rows.len();
    let row = |c: usize| {
        let factors = &found.each[if found.each.len() == 1 { 0 } else { c }];
        let mut all = Lattice { low: 0, step: 0, points: 1 };
        let mut high = 0;
        for (term, factor) in terms.streams.iter().zip(factors) {
            let row = term.rows[c];
            let (a, b) = (row.low * factor, row.high() * factor);
            (all.low, high) = (all.low + a.min(b), high + a.max(b));
            if row.points > 1 {
                all.step = gcd(all.step, (row.step * factor).abs());
            }
        }
        all.step = all.step.max(1);
        all.points = (high - all.low) / all.step + 1;
        (all.low > -(1 << 30) && high < 1 << 30).then_some(all)
    };
    (0..channels).map(row).collect()
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn inexact(terms: &Terms, level: &Grid) -> Diagnostic {
    let integers = |term: &Term| {
        let (low, high) =
            term.rows.iter().fold((i64::MAX, i64::MIN), |(l, h), row| (l.min(row.low), h.max(row.high())));
        format!("{low} to {high}")
    };
    let ranges: Vec<String> = terms.streams.iter().map(integers).collect();
    let message = format!(
        "the scales of its inputs differ, and no integer factors up to {MAX_FACTOR} give all combinations of their integers ({}) the right one of the {} levels of the quantiser behind it",
        ranges.join(" and "),
        (level.most - level.least) / level.grain() + 1
    );
    Diagnostic::new(&JOIN_SCALES, message).help(ONE_SCALE)
}
