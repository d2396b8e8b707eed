//! Making a recipe that fails smaller.

use std::time::{Duration, Instant};

use stoxnor::unit::folding::{Comparing, Counting, Cuts, Folding, Roms};

use super::Feed;
use super::Geometry;
use super::Make;
use super::Recipe;
use super::Weights;
use super::run::Checks;
use super::run::Failure;
use super::run::run_with;

/// The smallest recipe found that fails in the same way, and how it does. Gives up after `limit`.
pub fn shrink(recipe: &Recipe, failure: Failure, checks: &Checks<'_>, limit: Duration) -> (Recipe, Failure) {
    let start = Instant::now();
    let (mut best, mut found) = (recipe.clone(), failure);
    'smaller: loop {
        for candidate in candidates(&best) {
            if start.elapsed() > limit {
                break 'smaller;
            }
            if let Err(failure) = run_with(&candidate, checks)
                && failure.way == found.way
            {
                (best, found) = (candidate, failure);
                continue 'smaller;
            }
        }
        break;
    }
    (best, found)
}

/// Recipes that are smaller in one thing, those that leave out most first.
fn candidates(recipe: &Recipe) -> Vec<Recipe> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Recipe) -> bool| {
        let mut candidate = recipe.clone();
        if change(&mut candidate) && candidate != *recipe {
            all.push(candidate);
        }
    };
    let count = recipe.layers.len();
    for index in 0..count {
        add(&|r| only(r, index));
    }
    for index in (0..count).rev() {
        add(&|r| without(r, index));
    }
    for exit in 0..recipe.exits.len() {
        add(&|r| {
            r.exits.remove(exit);
            !r.exits.is_empty() && prune(r)
        });
    }
    add(&|r| {
        let inputs = r.layers.iter_mut().flat_map(|l| &mut l.inputs).filter(|from| from.entry().is_some());
        inputs.for_each(|from| *from = Feed::Input);
        set(&mut r.more, vec![])
    });
    add(&|r| set(&mut r.stall, None));
    add(&|r| set(&mut r.frames, 1));
    add(&|r| set(&mut r.members, 1) && set(&mut r.of_frames, vec![1]));
    add(&|r| set(&mut r.of_frames, vec![1]));
    for axis in 0..recipe.shape.len() {
        for extent in [1, recipe.shape[axis] / 2, recipe.shape[axis] - 1] {
            add(&|r| extent > 0 && set(&mut r.shape[axis], extent));
        }
    }
    for index in 0..count {
        let fold = recipe.layers[index].fold;
        add(&|r| set(&mut r.layers[index].fold, Folding { pe: 1, simd: 1, ..fold }));
        add(&|r| set(&mut r.layers[index].fold, Folding { pe: 1 << 20, simd: 1 << 20, ..fold }));
        add(&|r| set(&mut r.layers[index].fold, Folding { cuts: Cuts::Fewest, ..fold }));
        add(&|r| set(&mut r.layers[index].fold, Folding { form: Counting::Classical, ..fold }));
        add(&|r| set(&mut r.layers[index].fold, Folding { roms: Roms::Inferred, ..fold }));
        add(&|r| set(&mut r.layers[index].fold, Folding { thresholds: Comparing::Parallel, ..fold }));
        add(&|r| set(&mut r.layers[index].view, None));
        for simpler in simpler(&recipe.layers[index].make) {
            add(&|r| set(&mut r.layers[index].make, simpler.clone()));
        }
    }
    all
}

fn set<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changes = *place != value;
    *place = value;
    changes
}

/// Only a layer, fed by the input.
fn only(recipe: &mut Recipe, index: usize) -> bool {
    let mut layer = recipe.layers[index].clone();
    layer.inputs.iter_mut().for_each(|from| *from = Feed::Input);
    recipe.layers = vec![layer];
    recipe.more.clear();
    recipe.exits = vec![0];
    true
}

/// Without a layer: what takes it takes its first input.
fn without(recipe: &mut Recipe, index: usize) -> bool {
    let instead = recipe.layers[index].inputs[0];
    let moved = |from: Feed| match from {
        Feed::Layer(i) if i == index => instead,
        from => from,
    };
    recipe.layers.iter_mut().flat_map(|l| &mut l.inputs).for_each(|from| *from = moved(*from));
    let exits = recipe.exits.iter().map(|exit| moved(Feed::Layer(*exit)));
    recipe.exits = exits.filter_map(|exit| if let Feed::Layer(i) = exit { Some(i) } else { None }).collect();
    recipe.exits.sort_unstable();
    recipe.exits.dedup();
    !recipe.exits.is_empty() && prune(recipe)
}

/// Drops layers that lead to no exit.
fn prune(recipe: &mut Recipe) -> bool {
    let mut leads = vec![false; recipe.layers.len()];
    recipe.exits.iter().for_each(|exit| leads[*exit] = true);
    for index in (0..recipe.layers.len()).rev() {
        if leads[index] {
            for from in &recipe.layers[index].inputs {
                if let Feed::Layer(i) = from {
                    leads[*i] = true;
                }
            }
        }
    }
    let place = |index: usize| leads[..index].iter().filter(|l| **l).count();
    let mut number = 0..;
    recipe.layers.retain(|_| number.next().is_some_and(|index| leads[index]));
    for from in recipe.layers.iter_mut().flat_map(|l| &mut l.inputs) {
        if let Feed::Layer(i) = from {
            *i = place(*i);
        }
    }
    recipe.exits.iter_mut().for_each(|exit| *exit = place(*exit));
    !recipe.layers.is_empty()
}

/// Layers of the same kind that have less to them.
fn simpler(make: &Make) -> Vec<Make> {
    let point = Geometry { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], before: [0; 2], after: [0; 2] };
    let kernels = |of: Geometry| {
        [
            point,
            Geometry { before: [0; 2], after: [0; 2], ..of },
            Geometry { stride: [1; 2], ..of },
            Geometry { dilation: [1; 2], ..of },
            Geometry { kernel: [1, of.kernel[1]], before: [0, of.before[1]], after: [0, of.after[1]], ..of },
            Geometry { kernel: [of.kernel[0], 1], before: [of.before[0], 0], after: [of.after[0], 0], ..of },
        ]
    };
    let plain = Weights::Binary { seed: 1 };
    let mut all = Vec::new();
    match make.clone() {
        Make::Dense { rows, weights, activation } => {
            all.push(Make::Dense { rows: 1, weights, activation });
            all.push(Make::Dense { rows: rows.div_ceil(2), weights, activation });
            all.push(Make::Dense { rows, weights: plain, activation });
            all.push(Make::Dense { rows, weights, activation: None });
        }
        Make::Conv { kernel, groups, fill, rows, weights, activation } => {
            for kernel in kernels(kernel) {
                all.push(Make::Conv { kernel, groups, fill, rows, weights, activation });
            }
            all.push(Make::Conv { kernel, groups: 1, fill, rows: 1, weights, activation });
            all.push(Make::Conv { kernel, groups: 1, fill, rows, weights, activation });
            all.push(Make::Conv { kernel, groups, fill, rows: groups, weights, activation });
            all.push(Make::Conv { kernel, groups, fill, rows, weights: plain, activation });
            all.push(Make::Conv { kernel, groups, fill, rows, weights, activation: None });
        }
        Make::MaxPool { kernel, falls } => {
            all.extend(kernels(kernel).map(|kernel| Make::MaxPool { kernel, falls }));
            all.push(Make::MaxPool { kernel, falls: None });
        }
        Make::AvgPool { kernel, activation } => {
            all.extend(kernels(kernel).map(|kernel| Make::AvgPool { kernel, activation }));
            all.push(Make::AvgPool { kernel, activation: None });
        }
        Make::GlobalPool { .. } => all.push(Make::GlobalPool { activation: None }),
        Make::Upsample { .. } => all.extend([[1, 1], [1, 2], [2, 1]].map(|factor| Make::Upsample { factor })),
        Make::Scale { seed, .. } => all.push(Make::Scale { most: 1, bias: 0, seed }),
        Make::TopK { .. } => all.push(Make::TopK { k: 1 }),
        Make::Add { factors, activation } => {
            all.push(Make::Add { factors: vec![1; factors.len()], activation });
            all.push(Make::Add { factors, activation: None });
        }
        Make::Mul { .. } => all.push(Make::Mul { activation: None }),
        Make::Threshold { .. } | Make::Select { .. } | Make::Transpose { .. } | Make::Concat => {}
    }
    all
}
