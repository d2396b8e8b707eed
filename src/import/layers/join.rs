//! Runs that begin at a branch or a join, and outputs.

use std::ops::Range;
use std::sync::Arc;

use crate::arith::threshold::Lattice;
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::graph::operator::Role;
use crate::graph::step::Step;
use crate::graph::tensor::Tensor;
use crate::import::layers::activation::{Found, activation};
use crate::import::layers::draft::{Core, Postprocessing};
use crate::import::layers::grid::{Grid, follow_grid, grid};
use crate::import::layers::images;
use crate::import::layers::images::{at_one_position, collected, one_position, whole_order};
use crate::import::layers::order::Order;
use crate::import::layers::sums::{falling, keep, reach};
use crate::import::layers::walk::{Stream, Values, Walk};
use crate::import::runs::chain::Run;
use crate::import::runs::steps::{identity, with};
use crate::layer::concat::Concat;
use crate::layer::threshold::Threshold;
use crate::network::{Output, Source};

/// Maximum ratio between a scale and the common scale of the inputs of a sum.
const MAX_FACTOR: i64 = 1 << 12;

/// A tensor as a stream of channels.
struct Channels {
    /// Shape of the tensor at one position.
    one: Vec<usize>,
    /// Shape of the stream, channels last.
    stream: Vec<usize>,
    /// Whether the tensor is an image.
    image: bool,
}

impl Channels {
    fn of(shape: &[usize]) -> Self {
        match images::plain(shape) {
            Ok(image) => Self {
                one: one_position(shape, 1),
                stream: vec![image.size[0], image.size[1], image.channels],
                image: true,
            },
            Err(_) => Self { one: shape.to_vec(), stream: vec![shape.iter().product()], image: false },
        }
    }

    fn count(&self) -> usize {
        self.one.iter().product()
    }

    /// The steps as applied to one position.
    fn local(&self, steps: &[Step]) -> Result<Vec<Step>> {
        if self.image { at_one_position(steps, &self.one) } else { Ok(steps.to_vec()) }
    }
}

impl<'a> Walk<'a> {
    /// Starts a run with inputs `from`. `behind` are the steps before the run's first layer or its end; `None` if the host
    /// computes the rest of the run.
    pub fn begin(&mut self, run: &'a Run, from: &[Stream], behind: Option<Range<usize>>, tail: &[Step]) {
        self.resume(&run.chain, &from[0]);
        let done = match &run.join {
            None => self.lead(behind.unwrap_or_default()),
            Some(join) if join.operator.name == "Concat" => {
                self.concat(run, join, from).and_then(|()| self.lead(behind.unwrap_or_default()))
            }
            Some(join) => self.add(run, join, from, behind, tail).map_err(|e| e.placed(&join.place)),
        };
        if keep(done, self.errors).is_none() || self.level.is_none() {
            (self.level, self.order) = (None, Order::default());
        }
    }

    /// The graph output `name` that the current stream ends in. `shape` is the tensor's shape in the graph, `tail` the host's
    /// steps.
    pub fn leave(&mut self, name: &str, shape: &[usize], tail: &[Step]) -> Option<Output> {
        let Source::Layer(layer) = self.source else {
            // If a layer is rejected, its own error is enough.
            if self.errors.is_empty() {
                let message = format!("the output {name} is computed from the input by no layer");
                self.errors.push(
                    Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                        .help("leave that output to the program around the network"),
                );
            }
            return None;
        };
        let mut steps = std::mem::take(&mut self.tail);
        if let (true, Some(level)) = (steps.is_empty(), self.level.filter(|level| level.scale != 1.0)) {
            // A stream that feeds several branches has the integers of a layer, without their scale.
            let scaled = identity(name).and_then(|of| with(&of, "Mul", Tensor::scalar(level.scale), shape));
            steps.extend(keep(scaled, self.errors));
        }
        steps.extend_from_slice(tail);
        let tail = keep(collected(name, shape, &self.order, steps), self.errors)?;
        Some(Output { name: name.to_owned(), layer, tail })
    }

    /// Adds the layers before a run's first product: thresholds and steps that move elements. The input of the run is integers.
    fn lead(&mut self, range: Range<usize>) -> Result<()> {
        let chain = self.chain;
        let steps = &chain.steps[range.clone()];
        let Some(level) = self.level else { return Ok(()) };
        let quantises = |s: &Step| matches!(s.operator.role, Role::Elementwise { .. } | Role::Quantiser(_));
        let Some(origin) = steps.iter().find(|s| quantises(s)) else {
            self.moves(&[], range);
            return Ok(());
        };
        let channels = Channels::of(&chain.input);
        let wanted = if channels.image { whole_order(&chain.input) } else { Order::default() };
        self.reorder(origin, wanted, &chain.input)?;
        let one = channels.one.clone();
        let scaling = scaling(origin, level.scale, &one)?;
        let all: Vec<Step> = scaling.iter().cloned().chain(channels.local(steps)?).collect();
        let row = row(&level);
        let mut next = match grid(None, &one, &all)? {
            Some(next) => next,
            None => {
                follow_grid(&level, &one, &channels.local(steps)?).map_err(|e| e.placed(&origin.place))?
            }
        };
        let rows = vec![row; channels.count()];
        let found = activation(&rows, &one, &all, &next)?;
        next.narrow(found.last());
        match found {
            Found::Monotone(found, negate) => {
                let layer = Threshold::new(channels.stream, vec![falling(found, negate)]);
                self.inserted(origin, Arc::new(layer));
            }
            Found::Bumps(bumps) => {
                let behind = Postprocessing { shape: origin.shape.clone(), steps: Vec::new(), moved: false };
                self.bumps(origin, &channels.stream, bumps, behind);
            }
        }
        self.level = Some(next);
        self.made = Some(Values { rows, one: one.clone(), scaling, all });
        self.moves(&one, range);
        Ok(())
    }

    /// Adds a layer for the sum or difference of two streams.
    fn add(
        &mut self,
        run: &Run,
        join: &'a Step,
        from: &[Stream],
        behind: Option<Range<usize>>,
        tail: &[Step],
    ) -> Result<()> {
        let chain = self.chain;
        let shape = &join.shape;
        let levels = self.brought(run, join, from, shape)?;
        let Some((sources, levels)) = levels else { return Ok(()) };
        let (scale, mut factors) = common(&levels)?;
        if join.operator.name == "Sub" {
            factors[1..].iter_mut().for_each(|f| *f = -*f);
        }
        let row = sum(&levels, &factors);
        let channels = Channels::of(shape);
        let rows = vec![row; channels.count()];
        let range = reach(&rows, join)?;
        let one = channels.one.clone();
        let scaling = scaling(join, scale, &one)?;
        let sums = Grid { scale, least: range.0, most: range.1, bipolar: false };
        let core = Core::Sum {
            shape: channels.stream.clone(),
            factors: factors.iter().map(|f| *f as i32).collect(),
        };
        self.made = None;
        let whole = |steps: &[Step]| Postprocessing {
            shape: shape.clone(),
            steps: steps.to_vec(),
            moved: channels.image,
        };
        let Some(behind) = behind else {
            // The sums are the layer's output, without an activation.
            self.tail = self::scaling(join, scale, shape)?;
            let steps = [&self.tail[..], tail].concat();
            self.joined(join, sources, core, None, whole(&steps));
            self.level = Some(sums);
            return Ok(());
        };
        let steps = &chain.steps[behind.clone()];
        let local = channels.local(steps)?;
        let all: Vec<Step> = scaling.iter().cloned().chain(local.iter().cloned()).collect();
        let changes = local.iter().any(|s| !matches!(s.operator.role, Role::Layout));
        let level = match grid(None, &one, &all)? {
            Some(level) => Some(level),
            None if changes => Some(follow_grid(&sums, &one, &local)?),
            None => None,
        };
        let outgoing = Postprocessing { shape: one.clone(), steps: all.clone(), moved: false };
        match level {
            None => {
                self.joined(join, sources, core, None, outgoing);
                self.level = Some(sums);
            }
            Some(mut level) => {
                let found = activation(&rows, &one, &all, &level)?;
                level.narrow(found.last());
                match found {
                    Found::Monotone(found, negate) => {
                        self.joined(join, sources, core, Some(falling(found, negate)), outgoing);
                    }
                    Found::Bumps(bumps) => {
                        let sums = Postprocessing { steps: Vec::new(), ..outgoing.clone() };
                        self.joined(join, sources, core, None, sums);
                        self.bumps(join, &channels.stream, bumps, outgoing);
                    }
                }
                self.level = Some(level);
                self.made = Some(Values { rows, one: one.clone(), scaling, all });
            }
        }
        self.moves(&one, behind);
        Ok(())
    }

    /// Adds a layer that concatenates the channels of several streams.
    fn concat(&mut self, run: &Run, join: &'a Step, from: &[Stream]) -> Result<()> {
        let refuse = |fact: String, help: &str| {
            Diagnostic::new(&OPERATOR_UNSUPPORTED, fact).at(join.place.clone()).help(help.to_owned())
        };
        let rank = join.shape.len() as i64;
        let axis = join.attributes.int("axis", 0).map_err(|e| e.placed(&join.place))?;
        if axis != 1 && axis + rank != 1 {
            let message = format!("it concatenates along axis {axis} of {rank}");
            return Err(refuse(message, "concatenate channels: axis 1").into());
        }
        let Some((sources, levels)) = self.brought(run, join, from, &join.shape)? else { return Ok(()) };
        let scale = levels[0].scale;
        if let Some(other) = levels.iter().find(|l| !close(f64::from(l.scale) / f64::from(scale))) {
            let message = format!("it concatenates integers of the scales {scale} and {}", other.scale);
            return Err(refuse(message, "give the quantisers of all branches one scale").into());
        }
        let channels = Channels::of(&join.shape);
        let pixels: Vec<usize> = channels.stream[..channels.stream.len() - 1].to_vec();
        let counts: Vec<usize> = run.shapes.iter().map(|shape| shape[1]).collect();
        self.joined(
            join,
            sources,
            Core::Fixed(Arc::new(Concat::new(&pixels, counts))),
            None,
            Postprocessing { shape: join.shape.clone(), steps: Vec::new(), moved: false },
        );
        self.level = Some(Grid {
            scale,
            least: levels.iter().map(|l| l.least).min().unwrap_or(0),
            most: levels.iter().map(|l| l.most).max().unwrap_or(0),
            bipolar: levels.iter().all(|l| l.bipolar),
        });
        Ok(())
    }

    /// The sources and levels of all inputs of a join, brought into stream order: channels last for images, graph order for
    /// vectors. `None` if levels are unknown.
    fn brought(
        &mut self,
        run: &Run,
        join: &Step,
        from: &[Stream],
        shape: &[usize],
    ) -> Result<Option<(Vec<Source>, Vec<Grid>)>> {
        let mut sources = Vec::new();
        let mut levels = Vec::new();
        for (index, stream) in from.iter().enumerate() {
            let mut own = shape.to_vec();
            if join.operator.name == "Concat" {
                own[1] = run.shapes[index][1];
            } else if run.shapes[index] != own {
                let message = format!("it adds tensors of the shapes {:?} and {shape:?}", run.shapes[index]);
                return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                    .help("bring both branches to one shape before they are added")
                    .into());
            }
            self.resume(self.chain, stream);
            let wanted = if Channels::of(shape).image { whole_order(&own) } else { Order::default() };
            self.reorder(join, wanted.clone(), &own)?;
            self.order = wanted;
            sources.push(self.source);
            levels.extend(self.level);
        }
        self.order = if Channels::of(shape).image { whole_order(shape) } else { Order::default() };
        if levels.len() < from.len() {
            self.level = None;
            return Ok(None);
        }
        Ok(Some((sources, levels)))
    }
}

/// The multiplication by `scale` that turns integers into the graph's numbers, for a tensor of `shape`.
fn scaling(of: &Step, scale: f32, shape: &[usize]) -> Result<Vec<Step>> {
    if scale == 1.0 {
        return Ok(Vec::new());
    }
    let mut step = with(of, "Mul", Tensor::scalar(scale), shape)?;
    step.node = format!("{}_scale", of.node);
    Ok(vec![step])
}

/// The levels of a stream as the possible sums of a channel.
fn row(level: &Grid) -> Lattice {
    let step = level.grain();
    Lattice { low: level.least, step, points: (level.most - level.least) / step + 1 }
}

/// The possible sums of `levels` times `factors`.
fn sum(levels: &[Grid], factors: &[i64]) -> Lattice {
    let ends = |(level, factor): (&Grid, &i64)| {
        let (a, b) = (level.least * factor, level.most * factor);
        (a.min(b), a.max(b))
    };
    let (low, high) =
        levels.iter().zip(factors).map(ends).fold((0, 0), |(low, high), (a, b)| (low + a, high + b));
    let grains = levels.iter().zip(factors).filter(|(level, _)| level.least < level.most);
    let step = grains.map(|(level, factor)| (level.grain() * factor).abs()).fold(0, gcd).max(1);
    Lattice { low, step, points: (high - low) / step + 1 }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether a ratio of scales is 1 up to float32 rounding errors.
fn close(ratio: f64) -> bool {
    (ratio - 1.0).abs() < 1.0 / f64::from(1 << 20)
}

/// A common scale of which all scales are multiples, and the multiples.
fn common(levels: &[Grid]) -> Result<(f32, Vec<i64>)> {
    let smallest = levels.iter().map(|l| l.scale).fold(f32::INFINITY, f32::min);
    for parts in 1..=64 {
        let scale = f64::from(smallest) / f64::from(parts);
        let factors: Vec<f64> = levels.iter().map(|l| f64::from(l.scale) / scale).collect();
        let whole = |f: &f64| f.round() >= 1.0 && close(f / f.round()) && f.round() <= MAX_FACTOR as f64;
        if factors.iter().all(whole) {
            return Ok((scale as f32, factors.iter().map(|f| f.round() as i64).collect()));
        }
    }
    let scales: Vec<String> = levels.iter().map(|l| l.scale.to_string()).collect();
    let message =
        format!("it adds integers of the scales {}, which are no multiples of one", scales.join(" and "));
    Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
        .help(
            "give the quantisers of both branches one scale, or scales whose ratio is one of small integers",
        )
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(scale: f32, least: i64, most: i64) -> Grid {
        Grid { scale, least, most, bipolar: (least, most) == (-1, 1) }
    }

    #[test]
    fn scales_have_a_common_part_or_are_refused() {
        let of = |a, b| common(&[level(a, 0, 3), level(b, 0, 3)]);
        assert_eq!(of(0.5, 0.5).unwrap(), (0.5, vec![1, 1]));
        assert_eq!(of(0.25, 1.0).unwrap(), (0.25, vec![1, 4]));
        assert_eq!(of(3.0, 2.0).unwrap(), (1.0, vec![3, 2]));
        assert!(of(1.0, std::f32::consts::PI).is_err());
        assert!(of(1.0, 1e6).is_err());
    }

    #[test]
    fn sums_keep_what_their_parts_have_in_common() {
        let signs = level(1.0, -1, 1);
        assert_eq!(sum(&[signs, signs], &[1, 1]), Lattice { low: -2, step: 2, points: 3 });
        assert_eq!(sum(&[signs, level(1.0, 0, 3)], &[1, -1]), Lattice { low: -4, step: 1, points: 6 });
        assert_eq!(
            sum(&[level(1.0, 0, 3), level(1.0, 0, 1)], &[4, 2]),
            Lattice { low: 0, step: 2, points: 8 }
        );
    }
}
