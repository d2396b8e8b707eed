//! Runs that begin at a branch or a join, and outputs.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::graph::operator;
use crate::graph::operator::Role;
use crate::graph::step::Step;
use crate::graph::tensor::Tensor;
use crate::import::layers::activation::Found;
use crate::import::layers::draft::{Core, Postprocessing};
use crate::import::layers::grid::{Grid, follow_grid, grid};
use crate::import::layers::images;
use crate::import::layers::images::{at_one_position, collected, one_position, whole_order};
use crate::import::layers::order::Order;
use crate::import::layers::scales::{common, row, scaling, sum, unequal};
use crate::import::layers::sums::{Values, falling, keep, reach, unquantised};
use crate::import::layers::terms::{Term, Terms};
use crate::import::layers::walk::{Stream, Walk};
use crate::import::runs::chain::Run;
use crate::import::runs::segment::Segments;
use crate::import::runs::steps::{identity, with};
use crate::layer::concat::Concat;
use crate::layer::scale::Scale;
use crate::layer::threshold::Threshold;
use crate::layer::upsample::Upsample;
use crate::network::{Output, Source};

/// A tensor as a stream of channels.
pub struct Channels {
    /// Shape of the tensor at one position.
    pub one: Vec<usize>,
    /// Shape of the stream, channels last.
    pub stream: Vec<usize>,
    /// Whether the tensor is an image.
    pub image: bool,
}

/// One input of a join, in the order and shape of the joined tensor.
pub struct Part {
    /// Source of the stream.
    pub source: Source,
    /// Its levels.
    pub level: Option<Grid>,
    /// The real numbers that are not quantised yet.
    pub pending: Option<Terms>,
}

impl Part {
    /// The real numbers of the input.
    pub fn terms(self, join: &Step, one: &[usize]) -> Result<Terms> {
        match (self.pending, self.level) {
            (Some(terms), _) => Ok(terms),
            (None, Some(level)) => {
                let rows = vec![row(&level); one.iter().product()];
                Ok(Terms::stream(
                    Term { source: self.source, rows },
                    scaling(join, level.scale, one)?,
                    one.to_vec(),
                ))
            }
            (None, None) => Err(unquantised(join, None).into()),
        }
    }
}

/// Whether a step selects, repeats or adds elements.
pub fn is_select(step: &Step) -> bool {
    matches!(step.operator.role, Role::Select)
}

/// Whether no value changes behind the first step that selects elements.
pub fn selects_last(steps: &[Step]) -> bool {
    let first = steps.iter().position(is_select).unwrap_or(steps.len());
    steps[first..].iter().all(|s| is_select(s) || matches!(s.operator.role, Role::Layout))
}

/// For each run, whether all readers of its output are sums or quantisers, so that its real numbers need no quantiser of their own.
pub fn quantised_later(runs: &[Run], segments: &[Segments]) -> Vec<bool> {
    let mut later = vec![false; runs.len()];
    for index in (0..runs.len()).rev() {
        if runs[index].leaves {
            continue;
        }
        let takes = |reader: usize| {
            let run = &runs[reader];
            if run.join.as_ref().is_some_and(|join| !["Add", "Sub"].contains(&join.operator.name)) {
                return false;
            }
            let steps = &run.chain.steps[segments[reader].front.clone()];
            let quantises = |s: &Step| matches!(s.operator.role, Role::Quantiser(_));
            let stays =
                |s: &Step| quantises(s) || matches!(s.operator.role, Role::Elementwise { .. } | Role::Layout);
            match steps.iter().rposition(quantises) {
                Some(last) => steps[..last].iter().all(stays) && selects_last(steps),
                None => segments[reader].layers.is_empty() && steps.iter().all(stays) && later[reader],
            }
        };
        let mut readers =
            (index + 1..runs.len()).filter(|r| runs[*r].from.contains(&runs[index].to)).peekable();
        later[index] = readers.peek().is_some() && readers.all(takes);
    }
    later
}

impl Channels {
    /// The channels of a tensor of `shape`.
    pub fn of(shape: &[usize]) -> Self {
        match images::plain(shape) {
            Ok(image) => Self {
                one: one_position(shape, 1),
                stream: vec![image.size[0], image.size[1], image.channels],
                image: true,
            },
            Err(_) => Self { one: shape.to_vec(), stream: vec![shape.iter().product()], image: false },
        }
    }

    /// Number of channels.
    pub fn count(&self) -> usize {
        self.one.iter().product()
    }

    /// The steps as applied to one position of a tensor of shape `before`.
    pub fn local(&self, steps: &[Step], before: &[usize]) -> Result<Vec<Step>> {
        if self.image { at_one_position(steps, before, &self.one) } else { Ok(steps.to_vec()) }
    }
}

impl<'a> Walk<'a> {
    /// Starts a run with inputs `from`. `behind` are the steps before the run's first layer or its end; `None` if the host
    /// computes the rest of the run. `later` says whether the run's output may stay unquantised.
    pub fn begin(
        &mut self,
        run: &'a Run,
        from: &[Stream],
        behind: Option<Range<usize>>,
        tail: &[Step],
        later: bool,
    ) {
        self.resume(&run.chain, &from[0]);
        let done = match &run.join {
            None => match from[0].pending.clone() {
                Some(terms) => self.resolve(terms, behind.unwrap_or_default()),
                None => self.lead(behind.unwrap_or_default(), later),
            },
            Some(join) if join.operator.name == "Concat" => {
                self.concat(run, join, from).and_then(|()| self.lead(behind.unwrap_or_default(), false))
            }
            Some(join) if join.operator.name == "Mul" => {
                self.multiply(run, join, from, behind, tail).map_err(|e| e.placed(&join.place))
            }
            Some(join) => self.add(run, join, from, (behind, later), tail).map_err(|e| e.placed(&join.place)),
        };
        if keep(done, self.errors).is_none() || self.level.is_none() && self.pending.is_none() {
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
    pub(crate) fn lead(&mut self, mut range: Range<usize>, later: bool) -> Result<()> {
        let chain = self.chain;
        let quantises = |s: &Step| matches!(s.operator.role, Role::Elementwise { .. } | Role::Quantiser(_));
        if self.level.is_none() {
            return Ok(());
        }
        let first = range.clone().find(|at| quantises(&chain.steps[*at])).unwrap_or(range.end);
        if chain.steps[range.start..first].iter().any(|s| matches!(s.operator.role, Role::Select)) {
            self.moves(&[], range.start..first);
            range.start = first;
        }
        let steps = &chain.steps[range.clone()];
        let Some(level) = self.level else { return Ok(()) };
        let Some(origin) = steps.iter().find(|s| quantises(s)) else {
            self.moves(&[], range);
            return Ok(());
        };
        let before = chain.shape_before(range.start);
        let channels = Channels::of(before);
        let wanted = if channels.image { whole_order(before) } else { Order::default() };
        self.reorder(origin, wanted, before)?;
        let one = channels.one.clone();
        let scaling = scaling(origin, level.scale, &one)?;
        let local = channels.local(steps, before)?;
        let all: Vec<Step> = scaling.iter().chain(&local).cloned().collect();
        let row = row(&level);
        let mut next = match grid(None, &one, &all)? {
            Some(next) => next,
            None => match follow_grid(&level, &one, &local) {
                Ok(next) => next,
                Err(_) if later && !steps.iter().any(is_select) => {
                    let term = Term { source: self.source, rows: vec![row; channels.count()] };
                    self.pending = Some(Terms::stream(term, all, one.clone()));
                    self.level = None;
                    self.moves(&one, range);
                    return Ok(());
                }
                Err(found) => return Err(found.placed(&origin.place)),
            },
        };
        let rows = vec![row; channels.count()];
        let found = self.activation(&rows, &one, &all, &next)?;
        let turns = matches!(found, Found::Bumps(_));
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
        self.made = Some(Values { rows, one: one.clone(), scaling, all, turns });
        self.moves(&one, range);
        Ok(())
    }

    /// Quantises real numbers of an earlier run.
    fn resolve(&mut self, terms: Terms, range: Range<usize>) -> Result<()> {
        let chain = self.chain;
        let channels = Channels::of(&chain.input);
        let steps = &chain.steps[range.clone()];
        let Some(origin) = steps.first().filter(|_| terms.one == channels.one) else {
            return Err(unquantised(&identity("a branch")?, None).into());
        };
        let local = channels.local(steps, &chain.input)?;
        let Some(level) = grid(None, &channels.one, &local)? else {
            return Err(unquantised(origin, None).into());
        };
        self.decide(origin, terms, &local, level).map_err(|e| e.placed(&origin.place))?;
        self.moves(&channels.one, range);
        Ok(())
    }

    /// Adds a layer for the sum or difference of two streams.
    fn add(
        &mut self,
        run: &Run,
        join: &'a Step,
        from: &[Stream],
        (behind, later): (Option<Range<usize>>, bool),
        tail: &[Step],
    ) -> Result<()> {
        let chain = self.chain;
        let shape = &join.shape;
        let Some(parts) = self.brought(run, join, from, shape)? else { return Ok(()) };
        let channels = Channels::of(shape);
        let levels: Option<Vec<Grid>> = parts.iter().map(|part| part.level).collect();
        let multiples = levels.as_ref().and_then(|levels| common(levels));
        let sources: Vec<Source> = parts.iter().map(|part| part.source).collect();
        if let Some(range) = behind.clone() {
            let parts: Vec<Terms> =
                parts.into_iter().map(|part| part.terms(join, &channels.one)).collect::<Result<_>>()?;
            let terms = Terms::joined(join, parts);
            let steps = &chain.steps[range.clone()];
            let local = channels.local(steps, shape)?;
            if let Some(level) = grid(None, &channels.one, &local)?.filter(|_| selects_last(steps)) {
                // Thresholds over all combinations of integers are exact. Without them multiples of one scale are within the
                // rounding errors of the graph.
                match self.decide(join, terms, &local, level) {
                    Ok(()) => {
                        self.moves(&channels.one, range);
                        return Ok(());
                    }
                    Err(found) if multiples.is_none() => return Err(found),
                    Err(_) => {}
                }
            } else if multiples.is_none() && later && !steps.iter().any(is_select) {
                self.pending = Some(terms.then(&local));
                self.level = None;
                self.moves(&channels.one, range);
                return Ok(());
            }
        }
        let (Some(levels), Some((scale, mut factors))) = (&levels, multiples) else {
            return Err(unequal("adds", levels.as_deref().unwrap_or_default()).into());
        };
        if join.operator.name == "Sub" {
            factors[1..].iter_mut().for_each(|f| *f = -*f);
        }
        let row = sum(levels, &factors);
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
            self.tail = crate::import::layers::scales::scaling(join, scale, shape)?;
            let steps = [&self.tail[..], tail].concat();
            self.joined(join, sources, core, None, whole(&steps));
            self.level = Some(sums);
            return Ok(());
        };
        let steps = &chain.steps[behind.clone()];
        let local = channels.local(steps, shape)?;
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
                let found = self.activation(&rows, &one, &all, &level)?;
                let turns = matches!(found, Found::Bumps(_));
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
                self.made = Some(Values { rows, one: one.clone(), scaling, all, turns });
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
        let rank = join.shape.len();
        let axis = join
            .attributes
            .int("axis", 0)
            .and_then(|a| operator::axis(a, rank))
            .map_err(|e| e.placed(&join.place))?;
        let image = Channels::of(&join.shape).image;
        if axis == 0 || axis > 1 && !image {
            let message = format!("it concatenates shape {:?} along axis {axis}", join.shape);
            return Err(refuse(message, "concatenate channels (axis 1), or rows or columns of images").into());
        }
        let Some(parts) = self.brought(run, join, from, &join.shape)? else { return Ok(()) };
        let mut sources: Vec<Source> = parts.iter().map(|part| part.source).collect();
        let levels: Option<Vec<Grid>> = parts.iter().map(|part| part.level).collect();
        let Some(mut levels) = levels else { return Err(unquantised(join, None).into()) };
        let Some((scale, factors)) = common(&levels) else {
            return Err(unequal("concatenates", &levels).at(join.place.clone()).into());
        };
        for (index, factor) in factors.iter().enumerate().filter(|(_, factor)| **factor != 1) {
            // Integers of a larger scale become multiples of the smallest.
            let own = Channels::of(&run.shapes[index]).stream;
            let count = own[own.len() - 1];
            self.source = sources[index];
            self.inserted(join, Arc::new(Scale::new(own, vec![*factor as i32; count], vec![0; count])));
            sources[index] = self.source;
            let level = &mut levels[index];
            (level.least, level.most, level.bipolar) = (level.least * factor, level.most * factor, false);
        }
        let channels = Channels::of(&join.shape);
        // Elements of all inputs take turns in blocks: those of a pixel for channels, of a row for the width, of the image for the height.
        let axis = if channels.image && axis > 1 { axis - 2 + 4 - rank } else { channels.stream.len() - 1 };
        let pixels: Vec<usize> = channels.stream[..axis].to_vec();
        let block = |shape: &Vec<usize>| Channels::of(shape).stream[axis..].iter().product();
        let counts: Vec<usize> = run.shapes.iter().map(block).collect();
        if counts.contains(&0) || pixels.contains(&0) {
            return Err(refuse("one of its inputs is empty".to_owned(), "leave empty tensors out").into());
        }
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

    /// All inputs of a join, brought into stream order: channels last for images, graph order for vectors. An input of one pixel
    /// is repeated at every position. `None` if levels are unknown.
    pub(crate) fn brought(
        &mut self,
        run: &Run,
        join: &Step,
        from: &[Stream],
        shape: &[usize],
    ) -> Result<Option<Vec<Part>>> {
        let mut parts = Vec::new();
        for (index, stream) in from.iter().enumerate() {
            let mut own = shape.to_vec();
            if join.operator.name == "Concat" {
                own.clone_from(&run.shapes[index]);
            }
            let given = &run.shapes[index];
            let repeats = repeats(given, &own).ok_or_else(|| {
                let message = format!("its inputs have the shapes {given:?} and {shape:?}");
                Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                    .help("bring both branches to one shape before they are joined; one pixel for all positions is taken too")
            })?;
            self.resume(self.chain, stream);
            let order = |shape: &[usize]| {
                if Channels::of(shape).image { whole_order(shape) } else { Order::default() }
            };
            let mut pending = stream.pending.clone();
            let mut sources: Vec<Source> = match &pending {
                Some(terms) => terms.streams.iter().map(|term| term.source).collect(),
                None => vec![self.source],
            };
            let fits = |terms: &Terms| {
                terms.one == Channels::of(&own).one
                    && (terms.streams.len() == 1 || stream.order == order(given))
            };
            if pending.as_ref().is_some_and(|terms| !fits(terms)) {
                return Err(unquantised(join, None).into());
            }
            for source in &mut sources {
                (self.source, self.order) = (*source, stream.order.clone());
                self.reorder(join, order(given), given)?;
                if let Some((image, factor)) = repeats {
                    self.inserted(join, Arc::new(Upsample::new(image, factor)));
                }
                *source = self.source;
            }
            if let Some(terms) = &mut pending {
                terms.streams.iter_mut().zip(&sources).for_each(|(term, source)| term.source = *source);
            }
            if pending.is_none() && stream.level.is_none() {
                continue;
            }
            parts.push(Part { source: sources[0], level: stream.level, pending });
        }
        self.pending = None;
        self.order = if Channels::of(shape).image { whole_order(shape) } else { Order::default() };
        if parts.len() < from.len() {
            self.level = None;
            return Ok(None);
        }
        Ok(Some(parts))
    }
}

/// How to repeat an image of the shape `from` so that its shape becomes `to`: its size and channels, and the factors. The inner
/// `None` if the shapes are equal, the outer one if `from` is not repeated along height and width.
#[allow(clippy::option_option)]
fn repeats(from: &[usize], to: &[usize]) -> Option<Option<([usize; 3], [usize; 2])>> {
    if from == to {
        return Some(None);
    }
    let (own, all) = (images::plain(from).ok()?, images::plain(to).ok()?);
    let factor = [0, 1].map(|a| if own.size[a] == 1 { all.size[a] } else { 1 });
    let repeated = [0, 1].iter().all(|a| own.size[*a] * factor[*a] == all.size[*a]);
    (from.len() == to.len() && own.channels == all.channels && repeated)
        .then_some(Some(([own.size[0], own.size[1], own.channels], factor)))
}
