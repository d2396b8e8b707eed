//! The layers of steps that move, repeat or select elements between a layer and the next one.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_TOO_LARGE, OPERATOR_UNSUPPORTED, Result};
use crate::graph::op::geometry::Image;
use crate::graph::operator::Role;
use crate::graph::step::Step;
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::activation::falls;
use crate::import::layers::grid::Grid;
use crate::import::layers::images;
use crate::import::layers::images::{Padded, at_one_position, one_position};
use crate::import::layers::order::Order;
use crate::import::layers::sums::{Values, keep};
use crate::import::layers::walk::Walk;
use crate::import::runs::picks::{self, Picks};
use crate::layer::maxpool::MaxPool;
use crate::layer::select::{Channel, Places, Select};
use crate::layer::upsample::Upsample;
use crate::network::layer::Layer;

/// Maximum factor of an enlargement by fractions.
const MAX_FACTOR: usize = 16;

fn refuse(fact: impl Into<String>, help: &str) -> Diagnostics {
    Diagnostic::new(&OPERATOR_UNSUPPORTED, fact.into()).help(help).into()
}

/// Whether a step is a maximum over a window, which can take padding.
fn is_maximum(step: &Step) -> bool {
    ["MaxPool", "GlobalMaxPool", "MaxPoolNHWC"].contains(&step.operator.name)
}

/// How the axes of a tensor are those of an image.
struct Axes {
    /// Height and width; `None` if there is no such axis.
    pixels: [Option<usize>; 2],
    /// The channels.
    channels: usize,
}

impl Axes {
    fn extents(&self, shape: &[usize]) -> [usize; 3] {
        let [height, width] = self.pixels.map(|axis| axis.map_or(1, |a| shape[a]));
        [height, width, shape[self.channels]]
    }
}

/// The places of an axis as a loop: the factor by which each place is repeated first, and the places then.
fn places(picks: &[Option<usize>], extent: usize) -> Option<(usize, Places)> {
    let known: Vec<(usize, usize)> = picks.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))).collect();
    let (&(index, place), last) = (known.first()?, known.last()?);
    let fits = |factor: usize, places: &Places| {
        let at = |i: usize| places.first + (i * places.step) as i64;
        let inside = |at: i64| usize::try_from(at).ok().filter(|at| *at < factor * extent);
        (0..picks.len()).all(|i| inside(at(i)).map(|at| at / factor) == picks[i])
    };
    for factor in 1..=MAX_FACTOR {
        // The step is near the distance of the last place from the first one, times the factor.
        let ratio =
            ((last.1 as f64 - place as f64) / (last.0 - index).max(1) as f64 * factor as f64).max(1.0);
        for step in [ratio.floor(), ratio.ceil(), (ratio - 1.0).ceil().max(1.0), (ratio + 1.0).floor()] {
            let step = step as usize;
            for phase in 0..factor {
                let first = (place * factor + phase) as i64 - (index * step) as i64;
                let found = Places { first, step, count: picks.len() };
                if fits(factor, &found) {
                    return Some((factor, found));
                }
            }
        }
    }
    None
}

impl Walk<'_> {
    /// Processes the steps that move, repeat or select elements between a layer and the next one.
    pub(crate) fn moves(&mut self, one: &[usize], range: Range<usize>) {
        let chain = self.chain;
        for at in range.clone() {
            let step = &chain.steps[at];
            let done = match step.operator.role {
                Role::Layout => self.layout(step, chain.shape_before(at)),
                Role::Select if step.operator.name == "Pad" && self.has_window(at) => Ok(()),
                Role::Select if is_maximum(step) => self.maximum(one, range.clone(), at),
                Role::Select => self.pick(at, range.end),
                _ => Ok(()),
            };
            if keep(done.map_err(|e| e.placed(&step.place)), self.errors).is_none() {
                self.order = Order::default();
            }
        }
    }

    fn layout(&mut self, step: &Step, before: &[usize]) -> Result<()> {
        self.recover(before)?;
        self.order = std::mem::take(&mut self.order).through(step, before)?;
        Ok(())
    }

    /// Whether the step behind `at` is a window, which takes the padding `at` or has it made a layer.
    fn has_window(&self, at: usize) -> bool {
        self.chain.steps.get(at + 1).is_some_and(|next| {
            let sums =
                matches!(next.operator.role, Role::Product | Role::Pool) && next.operator.name != "MatMul";
            sums || is_maximum(next)
        })
    }

    /// The padding of the Pad `at` if the window behind it can take it: `None` if it has to be a layer of its own.
    pub(crate) fn absorbed(&self, at: usize) -> Option<Padded> {
        let chain = self.chain;
        let (inner, before, next) =
            (chain.shape_before(at), chain.shape_before(at + 1), &chain.steps[at + 1]);
        let padded = Some(Padded::of(&chain.steps[at], inner, next).ok()?);
        let Some(level) = self.level else { return padded };
        let takes = match next.operator.role {
            Role::Pool => images::average(next, before, padded, &level).is_ok(),
            Role::Select => images::maximum(next, before, padded, &level).is_ok(),
            _ => images::convolution(next, before, padded, &level).is_ok(),
        };
        padded.filter(|_| takes)
    }

    fn maximum(&mut self, front: &[usize], range: Range<usize>, at: usize) -> Result<()> {
        let Range { start, end } = range;
        let chain = self.chain;
        let step = &chain.steps[at];
        let before = chain.shape_before(at);
        let pad = at.checked_sub(1).filter(|i| *i >= start && chain.steps[*i].operator.name == "Pad");
        let Some(level) = self.level else {
            self.number += 1;
            self.seed_number += 1;
            self.order = Order::default();
            return Ok(());
        };
        let changes = |s: &Step| !matches!(s.operator.role, Role::Layout | Role::Select);
        let minimum = match &self.made {
            None => Vec::new(),
            Some(_) if !chain.steps[at..end].iter().any(changes) => Vec::new(),
            Some(Values { rows, one, scaling, all, turns }) => {
                let graph = at_one_position(&chain.steps[start..at], chain.shape_before(start), front)?;
                let before: Vec<Step> = scaling.iter().cloned().chain(graph).collect();
                let found = falls(rows, one, &before, all)?;
                if *turns {
                    let message =
                        "a maximum stands in front of steps whose results neither only rise nor only fall";
                    return Err(refuse(message, "quantise before the maximum"));
                }
                found
            }
        };
        // Without a decreasing channel the choice of channels does not matter.
        let minimum = if minimum.contains(&true) { minimum } else { Vec::new() };
        let channels = images::image(step, before)?.channels;
        if !minimum.is_empty() && minimum.len() != channels {
            let message = format!(
                "its {channels} channels are not the {} outputs of the layer before it, some of which decrease",
                minimum.len()
            );
            return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .help("quantise before the maximum, or keep channels as an axis of their own")
                .into());
        }
        let padded = pad.filter(|_| !minimum.contains(&true)).and_then(|i| self.absorbed(i));
        if let (Some(pad), None) = (pad, padded) {
            self.pick(pad, end)?;
        }
        let inner = pad.filter(|_| padded.is_some()).map_or(before, |i| chain.shape_before(i));
        let image = images::image(step, inner)?;
        self.reorder(step, Order::of(&image), inner)?;
        let layer: Arc<dyn Layer> =
            Arc::new(MaxPool::new(images::maximum(step, before, padded, &level)?, minimum));
        let out = Image { size: layer_size(&layer, &image)?, ..image };
        self.fixed(step, layer);
        self.order = Order::of(&out);
        Ok(())
    }

    /// Adds the layers of the selection `at`. The stream has the values of the steps up to `end` already, so that its padding gets them too.
    pub(crate) fn pick(&mut self, at: usize, end: usize) -> Result<()> {
        let chain = self.chain;
        let (step, before) = (&chain.steps[at], chain.shape_before(at));
        let Some(level) = self.level else {
            self.number += 1;
            self.order = Order::default();
            return Ok(());
        };
        if step.shape.iter().product::<usize>() > picks::MAX_ELEMENTS {
            let (elements, most) = (step.shape.iter().product::<usize>(), picks::MAX_ELEMENTS);
            let message = format!("{elements} elements are read for a frame; the limit is {most}");
            return Err(Diagnostic::new(&MODEL_TOO_LARGE, message).help("give a smaller image").into());
        }
        let picks = Picks::of(step, before).ok_or_else(|| {
            refuse(
                format!(
                    "{} of shape {before:?} is no selection of channels, rows and columns",
                    step.operator.name
                ),
                "select whole channels, rows and columns, and keep the number of axes",
            )
        })?;
        if picks.is_identity(before) {
            return Ok(());
        }
        self.recover(before)?;
        let (axes, order) = self.axes(step, before)?;
        let [mut height, mut width, depth] = axes.extents(before);
        let all = |extent: usize| (0..extent).map(Some).collect::<Vec<_>>();
        let [mut rows, mut columns] =
            axes.pixels.map(|axis| axis.map_or_else(|| all(1), |a| picks.axes[a].clone()));
        let regular = |picks: &[Option<usize>], extent| {
            places(picks, extent).ok_or_else(|| {
                refuse(
                    format!("{} takes rows or columns at irregular distances", step.operator.name),
                    "crop, pad with a constant, take every n-th pixel, or resize by one factor",
                )
            })
        };
        let known = axes.pixels.iter().flatten().chain([&axes.channels]);
        if (0..before.len()).any(|a| !known.clone().any(|k| *k == a) && !picks.keeps(a, before[a])) {
            return Err(refuse("it selects along the batch", "select channels, rows and columns"));
        }
        // Places at distances that are not regular are pieces of the image.
        let irregular = |list: &[Option<usize>], extent| -> Option<Vec<usize>> {
            places(list, extent).is_none().then(|| list.iter().copied().collect()).flatten()
        };
        if let Some(list) = irregular(&columns, width) {
            self.pieces(step, [height, width, depth], 1, &list)?;
            (width, columns) = (list.len(), all(list.len()));
        }
        if let Some(list) = irregular(&rows, height) {
            self.pieces(step, [height, width, depth], 0, &list)?;
            (height, rows) = (list.len(), all(list.len()));
        }
        let ((down, rows), (across, columns)) = (regular(&rows, height)?, regular(&columns, width)?);
        let channels = &picks.axes[axes.channels];
        let keeps = picks.keeps(axes.channels, depth);
        if !keeps && chain.steps[at + 1..end].iter().any(is_maximum) {
            return Err(refuse(
                "it selects channels between sums and a maximum that their quantiser is behind",
                "quantise before the selection",
            ));
        }
        let shape = [height * down, width * across, depth];
        let pads = channels.contains(&None)
            || [(&rows, shape[0]), (&columns, shape[1])].iter().any(|(p, extent)| {
                p.first < 0 || p.first + ((p.count - 1) * p.step) as i64 >= *extent as i64
            });
        let values =
            if pads { self.padding(&picks, &axes, at..end, &level)? } else { vec![0; channels.len()] };
        if down * across > 1 {
            self.fixed(step, Arc::new(Upsample::new([height, width, depth], [down, across])));
        }
        // A layer either crops or pads.
        let crop = |places: Places| if places.first > 0 { places.first } else { 0 };
        let cropped = [crop(rows), crop(columns)];
        let whole = [Places::all(shape[0]), Places::all(shape[1])];
        let identity = || (0..depth).map(|c| Channel { from: Some(c), value: 0 }).collect::<Vec<_>>();
        let mut shape = shape;
        let mut left = [rows, columns];
        let outside = (0..2).any(|a| {
            left[a].first < 0
                || left[a].first + ((left[a].count - 1) * left[a].step) as i64 >= shape[a] as i64
        });
        if outside && cropped != [0, 0] {
            let rest = [0, 1].map(|a| Places {
                first: cropped[a],
                count: shape[a] - cropped[a] as usize,
                ..whole[a]
            });
            self.inserted(step, Arc::new(Select::new(shape, rest, identity())));
            for a in 0..2 {
                shape[a] -= cropped[a] as usize;
                left[a].first -= cropped[a];
            }
        }
        if !keeps || left != [Places::all(shape[0]), Places::all(shape[1])] {
            let channel = |(from, value): (&Option<usize>, &i32)| Channel { from: *from, value: *value };
            let channels = channels.iter().zip(&values).map(channel).collect();
            self.inserted(step, Arc::new(Select::new(shape, left, channels)));
        }
        if !keeps {
            self.made = None;
        }
        if pads {
            let least = values.iter().map(|v| i64::from(*v)).min().unwrap_or(0);
            let most = values.iter().map(|v| i64::from(*v)).max().unwrap_or(0);
            let bipolar = level.bipolar && values.iter().all(|v| v.abs() == 1);
            let (least, most) = (level.least.min(least), level.most.max(most));
            self.level = Some(Grid { scale: level.scale, least, most, bipolar });
        }
        self.order = if order { images::whole_order(&step.shape) } else { Order::default() };
        Ok(())
    }

    /// The axes of a tensor of shape `before` as it streams, and whether it streams as an image [N, C, ..], channels last. Brings the
    /// stream into that order if it has another one.
    fn axes(&mut self, step: &Step, before: &[usize]) -> Result<(Axes, bool)> {
        let rank = before.len();
        let first = match rank {
            2 => Axes { pixels: [None, None], channels: 1 },
            3 => Axes { pixels: [None, Some(2)], channels: 1 },
            4 => Axes { pixels: [Some(2), Some(3)], channels: 1 },
            _ => {
                let message = format!("{} of shape {before:?}", step.operator.name);
                return Err(refuse(message, "select channels, rows and columns of an image [1, C, H, W]"));
            }
        };
        let wanted = if rank == 2 { Order::default() } else { images::whole_order(before) };
        if self.order == wanted {
            return Ok((first, rank > 2));
        }
        if self.order.is_same() {
            let last = rank - 1;
            let pixels = [(rank == 4).then_some(1), Some(last - 1)];
            return Ok((Axes { pixels, channels: last }, false));
        }
        self.reorder(step, wanted, before)?;
        Ok((first, rank > 2))
    }

    /// The integers of the padding of the selection `range.start`, for each channel: its constant after the steps up to the end of `range`.
    fn padding(&self, picks: &Picks, axes: &Axes, range: Range<usize>, level: &Grid) -> Result<Vec<i32>> {
        let chain = self.chain;
        let steps = &chain.steps[range.start + 1..range.end];
        let shape = &chain.steps[range.start].shape;
        let one = one_position(shape, axes.channels);
        let mut now =
            Tensor { shape: one.clone(), data: Data::Float(vec![picks.value; shape[axes.channels]]) };
        for step in at_one_position(steps, shape, &one)? {
            now = step.eval(&now)?;
        }
        let integer = |value: &f32| {
            level
                .decode(*value)
                .and_then(|v| i32::try_from(v).ok())
                .filter(|v| v.unsigned_abs() < 1 << 24)
                .ok_or_else(|| {
                    refuse(
                        format!("padding with {value}, which is no multiple of the scale {}", level.scale),
                        "pad with a level of the quantiser, or with 0",
                    )
                })
        };
        now.floats("the padding")?.iter().map(integer).collect()
    }
}

/// Height and width of a layer's output image.
fn layer_size(layer: &Arc<dyn Layer>, image: &Image) -> Result<[usize; 2]> {
    let shape = vec![image.size[0], image.size[1], image.channels];
    let port = crate::frame::port::Port { shape, element: crate::frame::element::Element::Bipolar };
    let out = layer.output(&[port])?;
    Ok([out.shape[0], out.shape[1]])
}
