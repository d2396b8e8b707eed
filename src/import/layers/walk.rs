//! The walk along runs from layer to layer: the levels and the order of the stream between layers.

use std::ops::Range;
use std::sync::Arc;

use crate::arith::activation::Activation;
use crate::arith::kernel::{Fill, Sliding};
use crate::arith::matrix::IntMatrix;
use crate::arith::sampling::Realisation;
use crate::arith::threshold::Lattice;
use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::graph::operator::{Codes, Role};
use crate::graph::step::Step;
use crate::graph::tensor::Tensor;
use crate::import::layers::activation::{Found, fits};
use crate::import::layers::draft::{Core, Draft, Postprocessing};
use crate::import::layers::grid::{Grid, grid, of_rows, of_sums};
use crate::import::layers::images::{at_one_position, is_pool};
use crate::import::layers::order::{Order, transposition};
use crate::import::layers::place::Place;
use crate::import::layers::sums::{Values, falling, keep, lattices, operands, reach, scaling, unquantised};
use crate::import::layers::survey::PartialLayer;
use crate::import::layers::terms::{Term, Terms};
use crate::import::layers::weights::{Matrix, Weights};
use crate::import::layers::zones::{self, Divisors, Zone};
use crate::import::layers::{images, weights};
use crate::import::options::LayerOptions;
use crate::import::runs::chain::Chain;
use crate::import::runs::levels::rounds;
use crate::import::runs::segment::{Segment, commutes, is_local};
use crate::import::runs::steps::with;
use crate::layer::transpose::Transpose;
use crate::network::layer::Layer;
use crate::network::{Doubt, Source};

/// The state of the walk along runs.
pub struct Walk<'a> {
    pub(crate) chain: &'a Chain,
    wanted: LayerOptions<'a>,
    /// Number of layers so far, including rejected ones.
    pub(crate) number: usize,
    /// Number of layers so far that the file itself has: without thresholds and transpositions, which the importer inserts. Seeds of
    /// sampled weights are derived from it, so that they do not depend on options or lowering.
    pub(crate) seed_number: u64,
    drafts: Vec<Draft>,
    /// Source of the current stream.
    pub(crate) source: Source,
    /// Order of the current stream.
    pub(crate) order: Order,
    /// Whether the next layer may choose the stream's order freely.
    pub(crate) free: bool,
    /// Levels of the current stream; `None` if unknown.
    pub(crate) level: Option<Grid>,
    /// The sums of a product, if the stream is not quantised before an average.
    sums: Option<Sums>,
    /// The real numbers at the end of the run, if a later run quantises them.
    pub(crate) pending: Option<Terms>,
    /// The derivation of the last layer's values; `None` if it has no activation.
    pub(crate) made: Option<Values>,
    /// The doubt of the next layer's thresholds.
    pub(crate) doubt: Option<Doubt>,
    /// The host's steps on the last layer's sums, before the rest of the graph.
    pub(crate) tail: Vec<Step>,
    sketches: &'a mut Vec<PartialLayer>,
    pub(crate) errors: &'a mut Vec<Diagnostic>,
}

/// The stream between two layers.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Source of the stream.
    pub source: Source,
    /// Order of its elements.
    pub order: Order,
    /// Its levels; `None` if unknown.
    pub level: Option<Grid>,
    /// The real numbers that the graph computes from streams, if they are not quantised yet.
    pub pending: Option<Terms>,
}

/// The sums of a product as the input of an average or a join, and the steps that turn them into the graph's numbers.
struct Sums {
    rows: Vec<Lattice>,
    range: (i64, i64),
    /// Shape of the sums at one position.
    one: Vec<usize>,
    steps: Vec<Step>,
}

/// The steps after a layer.
struct Behind<'a> {
    /// The steps on one position's values, up to the next layer.
    steps: Vec<Step>,
    /// The levels of their results; `None` if no step is a quantiser.
    level: Option<Grid>,
    /// An average that takes the results although they do not commute with it: they must be few levels by themselves.
    average: Option<&'a Step>,
}

/// The parts of a layer, and the levels of its output.
struct Made {
    core: Core,
    activation: Option<Found>,
    steps: Vec<Step>,
    level: Option<Grid>,
}

impl<'a> Walk<'a> {
    /// Starts before the first run.
    pub fn new(
        chain: &'a Chain,
        wanted: LayerOptions<'a>,
        sketches: &'a mut Vec<PartialLayer>,
        errors: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            chain,
            wanted,
            number: 0,
            seed_number: 0,
            drafts: Vec::new(),
            source: Source::Input(0),
            order: Order::default(),
            free: true,
            level: None,
            sums: None,
            pending: None,
            made: None,
            doubt: None,
            tail: Vec::new(),
            sketches,
            errors,
        }
    }

    /// Adds a threshold layer for the input, before the first layer `first`.
    pub fn threshold(&mut self, first: &Step, layer: Arc<dyn Layer>) {
        self.inserted(first, layer);
    }

    /// Continues with another run, whose input is `stream`.
    pub fn resume(&mut self, chain: &'a Chain, stream: &Stream) {
        let Stream { source, order, level, .. } = stream.clone();
        self.chain = chain;
        (self.source, self.order, self.level, self.free) = (source, order, level, false);
        (self.sums, self.pending, self.made) = (None, None, None);
        self.tail = Vec::new();
    }

    /// The current stream.
    pub fn stream(&self) -> Stream {
        let raw = |sums: &Sums| {
            let term = Term { source: self.source, rows: sums.rows.clone() };
            Terms::stream(term, sums.steps.clone(), sums.one.clone())
        };
        let pending = self.pending.clone().or_else(|| self.sums.as_ref().map(raw));
        Stream { source: self.source, order: self.order.clone(), level: self.level, pending }
    }

    /// Ends the walk and returns the layers.
    pub fn end(self) -> Vec<Draft> {
        self.drafts
    }

    /// Adds the layer of `segment`, and the steps between it and the next layer. `feeds_sums` says whether the real numbers behind
    /// it may stay unquantised: a later run quantises them.
    pub fn layer(&mut self, segment: &Segment, feeds_pool: bool, feeds_sums: bool, tail: &[Step]) {
        let chain = self.chain;
        let step = &chain.steps[segment.anchor];
        let place = self.place(segment.anchor);
        self.number += 1;
        self.seed_number += 1;
        let place = keep(place.map_err(|e| e.placed(&step.place)), self.errors);
        let mut sketch = PartialLayer::new(step);
        sketch.input = self.level.map(|l| l.element());
        let Some(place) = place else {
            (self.level, self.sums, self.made) = (None, None, None);
            self.order = Order::default();
            self.sketches.push(sketch);
            return;
        };
        // Steps that may not stand between layers were reported already; levels after them are unknown.
        let local = |range: &Range<usize>| chain.steps[range.clone()].iter().all(is_local);
        let range = segment.behind.clone().filter(local);
        let behind = range.and_then(|range| {
            let (behind, next) =
                (keep(self.behind(&place, range.clone()), self.errors)?, chain.steps.get(range.end));
            let steps = &chain.steps[range.clone()];
            let stays = |s: &Step| !matches!(s.operator.role, Role::Select);
            let pooled = feeds_pool && commutes(steps) || feeds_sums && steps.iter().all(stays);
            let rounded = behind.steps.iter().any(rounds);
            let behind =
                Behind { average: next.filter(|_| feeds_pool && !pooled && !is_pool(step)), ..behind };
            if behind.level.is_none() && !pooled && !rounded && !is_pool(step) && behind.average.is_none() {
                self.errors.push(unquantised(step, next));
                return None;
            }
            Some(behind)
        });
        sketch.output = behind.as_ref().and_then(|b| b.level).map(|l| l.element());
        // A batch normalisation after a MaxPool or an upsampling sees the results of that step, not the sums.
        let range = segment.behind.clone().unwrap_or_default();
        let mut steps = chain.steps[range].iter();
        let moved = self.sums.is_some()
            || steps.any(|s| matches!(s.operator.role, Role::Select))
                && steps.any(|s| s.operator.name == "BatchNormalization");
        self.made = None;
        let last = segment.behind.is_none();
        let made = match is_pool(step) {
            true => self.pool(&place, behind, last).map_err(|e| e.placed(&step.place)),
            false => self.product(&place, behind, last, &mut sketch),
        };
        let made = keep(made, self.errors).flatten();
        if let Some(activation) = made.as_ref().and_then(|m| m.activation.as_ref()) {
            sketch.output = Some(activation.last().element);
        }
        self.sketches.push(sketch);
        self.level = made.as_ref().and_then(|m| m.level);
        if let Some(Made { core, activation, mut steps, .. }) = made {
            let mut outgoing = Postprocessing { shape: place.one(), steps: Vec::new(), moved };
            if last {
                self.tail.clone_from(&steps);
                steps.extend_from_slice(tail);
                outgoing.shape.clone_from(&step.shape);
                outgoing.moved |= place.positions > 1;
            }
            match activation {
                Some(Found::Bumps(bumps)) => {
                    self.push(step, core, None, outgoing.clone());
                    outgoing.steps = steps;
                    self.bumps(step, &[place.positions, place.channels()], bumps, outgoing);
                }
                Some(Found::Monotone(activation, negate)) => {
                    outgoing.steps = steps;
                    self.push(step, core, Some(falling(activation, negate)), outgoing);
                }
                None => {
                    outgoing.steps = steps;
                    self.push(step, core, None, outgoing);
                }
            }
        }
        self.order = place.order();
        if let Some(range) = segment.behind.clone() {
            self.moves(&place.one(), range);
        }
    }

    fn push(&mut self, step: &Step, core: Core, activation: Option<Activation>, outgoing: Postprocessing) {
        let activations = activation.into_iter().collect();
        let inputs = vec![self.source];
        self.source = Source::Layer(self.drafts.len());
        let (origin, doubt) = (step.node.clone(), self.doubt.take());
        self.drafts.push(Draft { origin, inputs, core, activations, outgoing, doubt });
    }

    /// Adds a layer that joins several streams.
    pub(crate) fn joined(
        &mut self,
        step: &Step,
        inputs: Vec<Source>,
        core: Core,
        activation: Option<Activation>,
        outgoing: Postprocessing,
    ) {
        self.seed_number += 1;
        self.inserted_join(step, inputs, core, activation, outgoing);
    }

    /// Adds a layer that joins several streams and is no node of the file: it has no number in the order of seeds.
    pub(crate) fn inserted_join(
        &mut self,
        step: &Step,
        inputs: Vec<Source>,
        core: Core,
        activation: Option<Activation>,
        outgoing: Postprocessing,
    ) {
        self.number += 1;
        self.push(step, core, activation, outgoing);
        if let Some(draft) = self.drafts.last_mut() {
            draft.inputs = inputs;
        }
    }

    /// Adds a layer without weights that is a node of the file.
    pub(crate) fn fixed(&mut self, step: &Step, layer: Arc<dyn Layer>) {
        self.seed_number += 1;
        self.inserted(step, layer);
    }

    /// Adds a layer that the file does not have as such: it has no number in the order of seeds.
    pub(crate) fn inserted(&mut self, step: &Step, layer: Arc<dyn Layer>) {
        self.number += 1;
        let outgoing = Postprocessing { shape: step.shape.clone(), steps: Vec::new(), moved: false };
        self.push(step, Core::Fixed(layer), None, outgoing);
    }

    /// Describes the layer's node, and brings the stream into the order that the layer needs.
    fn place(&mut self, anchor: usize) -> Result<Place<'a>> {
        let chain = self.chain;
        let step = &chain.steps[anchor];
        let matrix = step.operator.name == "MatMul";
        let pad = anchor.checked_sub(1).filter(|i| !matrix && chain.steps[*i].operator.name == "Pad");
        let before = chain.shape_before(anchor);
        let padded = pad.and_then(|i| self.absorbed(i));
        if let (Some(pad), None) = (pad, padded) {
            // Padding that the window cannot take is a layer of its own.
            let inner = chain.shape_before(pad);
            if std::mem::take(&mut self.free) {
                self.order = Order::of(&images::image(step, inner)?);
            }
            self.pick(pad, anchor)?;
        }
        let inner = pad.filter(|_| padded.is_some()).map_or(before, |i| chain.shape_before(i));
        self.recover(inner)?;
        let image = if matrix { None } else { Some(images::image(step, inner)?) };
        // An average over what has other scales in other columns is none of sums.
        let differ = |s: &Step| s.constants().iter().flatten().any(|t| t.len() > 1);
        if let (Some(sums), Some(image)) = (&self.sums, &image)
            && sums.steps.iter().any(differ)
            && zones::mixes(&self.order, image, sums.rows.len())
        {
            return Err(unquantised(step, Some(step)).into());
        }
        let rank = step.shape.len();
        let axis = if image.is_some_and(|i| !i.channels_last) { 1 } else { rank - 1 };
        let positions = step.shape.iter().product::<usize>() / step.shape[axis].max(1);
        let place = Place { step, before, padded, image, axis, positions };
        let wanted = match &image {
            Some(image) => Order::of(image),
            // The weights of a single vector can be permuted to any order.
            None if positions == 1 => {
                self.free = false;
                return Ok(place);
            }
            None => Order::default(),
        };
        if std::mem::take(&mut self.free) {
            self.order = wanted;
        } else {
            self.reorder(step, wanted, inner)?;
        }
        Ok(place)
    }

    /// Brings the stream, a tensor of shape `before`, into order `wanted`. Adds a Transpose layer if the order differs; an error
    /// if the permutation is no transposition.
    pub(crate) fn reorder(&mut self, step: &Step, wanted: Order, before: &[usize]) -> Result<()> {
        self.recover(before)?;
        if self.order == wanted {
            return Ok(());
        }
        let map = wanted.places_in(&self.order, before.iter().product());
        let Some((shape, axes)) = transposition(&map) else {
            return Err(Diagnostic::new(
                &OPERATOR_UNSUPPORTED,
                "its elements come in an order that is no transposition of the one that it takes",
            )
            .help("keep channels, rows and columns as axes of their own")
            .into());
        };
        self.inserted(step, Arc::new(Transpose::new(shape, axes)));
        self.order = wanted;
        Ok(())
    }

    /// Checks that the stream is a tensor of `shape`. After a refusal the walk goes on to find further mistakes, with a stream of
    /// unknown levels and no order of its own.
    ///
    /// # Errors
    /// If the order has another number of elements, and nothing was refused before.
    pub(crate) fn recover(&mut self, shape: &[usize]) -> Result<()> {
        if self.order.fits(shape.iter().product()) {
            return Ok(());
        }
        (self.order, self.level) = (Order::default(), None);
        if self.errors.is_empty() {
            let message = format!("the order of its elements is not that of a tensor of shape {shape:?}");
            return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .help("simplify the graph before the import (onnxsim), or send us the model")
                .into());
        }
        Ok(())
    }

    fn behind(&self, place: &Place<'_>, range: Range<usize>) -> Result<Behind<'a>> {
        let steps = &self.chain.steps[range];
        let one = place.one();
        let selects = steps.iter().any(|s| matches!(s.operator.role, Role::Select));
        let steps = if place.positions > 1 || selects {
            at_one_position(steps, &place.step.shape, &one)?
        } else {
            steps.to_vec()
        };
        let level = grid(None, &one, &steps)?;
        Ok(Behind { steps, level, average: None })
    }

    /// A product's kernel, its constant as [inputs, outputs] in stream order, and the constant's codes.
    fn constant(&self, place: &Place<'_>) -> Result<(Option<Sliding>, Tensor, Option<Codes>)> {
        let Place { step, before, padded, .. } = *place;
        let codes = step.codes.as_deref();
        // Levels determine the padding value; if they are unknown, any levels serve to read the rest.
        let unknown = Grid { scale: 1.0, least: -1, most: 1, bipolar: false };
        let level = self.level.unwrap_or(unknown);
        if step.operator.name == "Conv" {
            let (kernel, turn) = images::convolution(step, before, padded, &level)?;
            let weights = step.constants()[1].map(&turn).transpose()?;
            let weights = weights.expect("a convolution has constant weights");
            return Ok((Some(kernel), weights, codes.map(|c| c.moved(&turn)).transpose()?));
        }
        let constant = weights::constant(step)?;
        let rows = constant.shape.first().copied().unwrap_or(0);
        let columns = constant.shape.get(1).copied().unwrap_or(0);
        if place.positions == 1 {
            weights::takes(before, constant)?;
            let turn = |t: &Tensor| {
                if self.order.is_same() {
                    return Ok(t.clone());
                }
                let at = |i: usize| self.order.at(i / columns) * columns + i % columns;
                Ok(Tensor { shape: t.shape.clone(), data: t.data.pick((0..rows * columns).map(at)) })
            };
            return Ok((None, turn(constant)?, codes.map(|c| c.moved(turn)).transpose()?));
        }
        let window = Window::plain([1, place.positions], [1, 1]);
        let kernel = Sliding { window, channels: rows, groups: 1, fill: Fill::Mask };
        Ok((Some(kernel), constant.clone(), codes.cloned()))
    }

    fn weights(&self, place: &Place<'_>) -> Result<(Option<Sliding>, Weights, Realisation)> {
        let told = place.step.codes.as_ref().and_then(|c| c.rounding);
        let read = self.constant(place);
        let kind = if place.step.operator.name == "Conv" || place.positions > 1 { "conv" } else { "dense" };
        let name = format!("l{}_{kind}", self.number);
        let sampling = self.wanted.sampling.of(&name, told, self.wanted.calibrated)?;
        let (kernel, constant, codes) = read.map_err(|e| e.placed(&place.step.place))?;
        let rounding = (self.seed_number, sampling.map(|(rounding, _)| rounding));
        let read = weights::matrix(&constant, codes.as_ref(), rounding);
        let read = read.map_err(|e| e.placed(&place.step.place))?;
        Ok((kernel, read, sampling.map_or_else(Realisation::default, |(_, realisation)| realisation)))
    }

    fn product(
        &mut self,
        place: &Place<'_>,
        behind: Option<Behind<'_>>,
        last: bool,
        sketch: &mut PartialLayer,
    ) -> Result<Option<Made>> {
        let (kernel, read, realisation) = self.weights(place)?;
        sketch.weights = Some(read.matrix.kind());
        let Some(level) = self.level else { return Ok(None) };
        let rows = lattices(&read.matrix, &operands(&level, kernel.as_ref()));
        let scaling = scaling(place.step, &read, level.scale, place.axis)?;
        let core = |weights| Core::Product { weights, realisation, kernel };
        let Some(behind) = behind else {
            let steps = scaling.into_iter().collect();
            return Ok(last.then(|| Made { core: core(read.matrix), activation: None, steps, level: None }));
        };
        let range = reach(&rows, place.step)?;
        let scaling = at_one_position(scaling.as_slice(), &place.step.shape, &place.one())?;
        let steps: Vec<Step> = scaling.iter().cloned().chain(behind.steps).collect();
        let level = match behind.level {
            None if steps.iter().any(rounds) => {
                let found = of_rows(&rows, &place.one(), &steps)?;
                Some(found.ok_or_else(|| unquantised(place.step, Some(place.step)))?)
            }
            None if behind.average.is_some() => {
                let found = of_rows(&rows, &place.one(), &steps).ok().flatten().filter(fits);
                Some(found.ok_or_else(|| unquantised(place.step, behind.average))?)
            }
            level => level,
        };
        let Some(mut level) = level else {
            self.sums = Some(Sums { rows, range, one: place.one(), steps: steps.clone() });
            return Ok(Some(Made { core: core(read.matrix), activation: None, steps, level: None }));
        };
        let one = place.one();
        let found = self.activation(&rows, &one, &steps, &level)?;
        // If fewer levels occur, the next layer gets only those.
        level.narrow(found.last());
        let turns = matches!(found, Found::Bumps(_));
        self.made = Some(Values { rows, one, scaling, all: steps.clone(), turns });
        let keep_signs = self.wanted.calibrated || self.wanted.keep_signs;
        let (weights, found) = match (read.matrix, found) {
            // Weights of rows with a decreasing activation are negated. Sampled weights stay, as do the weights of models with
            // `keep_signs` or calibrated members (whose direction may differ between members): there the activation is
            // decreasing.
            (Matrix::Integers(matrix), Found::Monotone(activation, negate)) if !keep_signs => {
                let sign = |row: usize| if negate[row] { -1 } else { 1 };
                let value = |row: usize, column| sign(row) * matrix.at(row, column);
                let negated = IntMatrix::from_fn(matrix.rows(), matrix.columns(), value);
                (Matrix::Integers(negated), Found::Monotone(activation, Vec::new()))
            }
            pair => pair,
        };
        Ok(Some(Made { core: core(weights), activation: Some(found), steps, level: Some(level) }))
    }

    fn pool(&mut self, place: &Place<'_>, behind: Option<Behind<'_>>, last: bool) -> Result<Option<Made>> {
        let step = place.step;
        let sums = self.sums.take();
        let level = match (&sums, self.level) {
            (Some(Sums { range, .. }), _) => {
                Grid { scale: 1.0, least: range.0, most: range.1, bipolar: false }
            }
            (None, Some(level)) => level,
            (None, None) => return Ok(None),
        };
        let (kernel, divisors) = images::average(step, place.before, place.padded, &level)?;
        if let Some(sums) = sums.as_ref().filter(|_| kernel.window.pads()) {
            divisors.padded_sums(&sums.steps, &sums.one, &kernel)?;
        }
        let operand = operands(&level, Some(&kernel));
        let grain = operand.grain();
        let rows_of = |pixels: usize| {
            let (low, high) = (pixels as i64 * operand.least, pixels as i64 * operand.most);
            vec![Lattice { low, step: grain, points: (high - low) / grain + 1 }; place.channels()]
        };
        let rows = rows_of(kernel.window.taps());
        let range = reach(&rows, step)?;
        let own = sums.is_some();
        // The steps after a product are applied to the average of its sums. The stream has moved already.
        let moves = |s: &Step| matches!(s.operator.role, Role::Layout) && s.operator.name != "Identity";
        let (before, after) = match sums {
            Some(sums) if sums.steps.iter().any(moves) => {
                if sums.steps.iter().flat_map(Step::constants).flatten().any(|t| t.len() > 1) {
                    return Err(unquantised(step, Some(step)).into());
                }
                let stays = |s: &Step| !matches!(s.operator.role, Role::Layout);
                (Vec::new(), sums.steps.into_iter().filter(stays).collect())
            }
            Some(sums) => (Vec::new(), sums.steps),
            None if level.scale == 1.0 => (Vec::new(), Vec::new()),
            None => (vec![with(step, "Mul", Tensor::scalar(level.scale), &step.shape)?], Vec::new()),
        };
        let around = |divide: Option<Step>| -> Vec<Step> {
            before.iter().cloned().chain(divide).chain(after.iter().cloned()).collect()
        };
        let Some(behind) = behind else {
            let mut scaling = around(divisors.division(step, place.axis)?);
            scaling.iter_mut().for_each(|s| s.shape.clone_from(&step.shape));
            let core = Core::Average(kernel, None);
            return Ok(last.then_some(Made { core, activation: None, steps: scaling, level: None }));
        };
        let one = place.one();
        let scaled = |divisor: usize| -> Result<(Vec<Step>, Vec<Step>)> {
            let divide = Divisors { size: [1, 1], each: vec![divisor] }.division(step, place.axis)?;
            let scaling = around(divide);
            let steps = at_one_position(&scaling, &step.shape, &one)?;
            Ok((scaling, steps.into_iter().chain(behind.steps.iter().cloned()).collect()))
        };
        // Of several divisors the smallest one has the widest results.
        let (scaling, steps) = scaled(divisors.least())?;
        let Some(divisor) = divisors.common() else {
            let (zones, each) = divisors.zones();
            let zone = |d: &usize| Ok(Zone { rows: rows_of(*d), steps: scaled(*d)?.1 });
            let each = each.iter().map(zone).collect::<Result<Vec<_>>>()?;
            let (found, mut next) = zones::activation(step, &each, &one, behind.level)?;
            next.narrow(found.last());
            let turns = matches!(found, Found::Bumps(_));
            let rows = rows_of(divisors.least());
            self.made = Some(Values { rows, one, scaling, all: steps.clone(), turns });
            let core = Core::Average(kernel, Some(zones));
            return Ok(Some(Made { core, activation: Some(found), steps, level: Some(next) }));
        };
        let core = Core::Average(kernel, None);
        let moved = behind.steps.iter().all(|s| matches!(s.operator.role, Role::Layout));
        // Trunc has no levels of its own.
        let level_behind = match behind.level {
            Some(level) => Some(level),
            None => of_sums(&rows[0], &one, &steps)?,
        };
        let Some(mut next) = level_behind else {
            if own || !moved {
                return Err(unquantised(step, Some(step)).into());
            }
            let scale = level.scale / divisor as f32;
            let level = Grid { scale, least: range.0, most: range.1, bipolar: false };
            return Ok(Some(Made { core, activation: None, steps, level: Some(level) }));
        };
        let found = self.activation(&rows, &one, &steps, &next)?;
        next.narrow(found.last());
        let turns = matches!(found, Found::Bumps(_));
        self.made = Some(Values { rows, one, scaling, all: steps.clone(), turns });
        Ok(Some(Made { core, activation: Some(found), steps, level: Some(next) }))
    }
}
