//! Selections of rows or columns at distances that are not regular: pieces of the image, one behind another.
//!
//! Padding that repeats edges, mirrors or wraps around is such a selection, as are some resizings.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::graph::step::Step;
use crate::import::layers::draft::{Core, Postprocessing};
use crate::import::layers::walk::Walk;
use crate::layer::concat::Concat;
use crate::layer::select::{Channel, Places, Select};
use crate::network::Source;

/// Maximum number of pieces along an axis.
const MAX_PIECES: usize = 16;

/// The runs of `places` that rise by one distance each.
fn runs(places: &[usize]) -> Vec<Places> {
    let mut runs: Vec<Places> = Vec::new();
    for &place in places {
        if let Some(run) = runs.last_mut() {
            let last = run.first as usize + (run.count - 1) * run.step;
            let step = place.saturating_sub(last);
            if step > 0 && (run.count == 1 || step == run.step) {
                (run.step, run.count) = (step, run.count + 1);
                continue;
            }
        }
        runs.push(Places { first: place as i64, step: 1, count: 1 });
    }
    runs
}

impl Walk<'_> {
    /// Adds the layers of a selection along `axis` (0 rows, 1 columns) of the stream, an image of `shape`, channels last.
    ///
    /// # Errors
    /// If there are more pieces than [`MAX_PIECES`].
    pub(crate) fn pieces(
        &mut self,
        step: &Step,
        shape: [usize; 3],
        axis: usize,
        picks: &[usize],
    ) -> Result<()> {
        let runs = runs(picks);
        if runs.len() > MAX_PIECES {
            let message = format!(
                "{} takes rows or columns in {} pieces of regular distances; the limit is {MAX_PIECES}",
                step.operator.name,
                runs.len()
            );
            return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .help("crop, pad by fewer pixels, take every n-th pixel, or resize by one factor")
                .into());
        }
        let whole = [Places::all(shape[0]), Places::all(shape[1])];
        let channels: Vec<Channel> = (0..shape[2]).map(|c| Channel { from: Some(c), value: 0 }).collect();
        let input = self.source;
        let mut sources: Vec<Source> = Vec::new();
        for run in &runs {
            self.source = input;
            let mut places = whole;
            places[axis] = *run;
            if places != whole {
                self.inserted(step, Arc::new(Select::new(shape, places, channels.clone())));
            }
            sources.push(self.source);
        }
        // What is behind the axis counts as channels, what is in front of it as pixels.
        let behind = shape[axis + 1..].iter().product::<usize>();
        let parts = runs.iter().map(|run| run.count * behind).collect();
        let joined = Concat::new(&shape[..axis], parts);
        let outgoing = Postprocessing { shape: step.shape.clone(), steps: Vec::new(), moved: false };
        self.inserted_join(step, sources, Core::Fixed(Arc::new(joined)), None, outgoing);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_cut_where_the_distance_changes() {
        let of = |places: &[usize]| -> Vec<(i64, usize, usize)> {
            runs(places).iter().map(|r| (r.first, r.step, r.count)).collect()
        };
        assert_eq!(of(&[0, 0, 1, 2, 2]), [(0, 1, 1), (0, 1, 3), (2, 1, 1)]);
        assert_eq!(of(&[1, 0, 1, 2, 1]), [(1, 1, 1), (0, 1, 3), (1, 1, 1)]);
        assert_eq!(of(&[0, 2, 4, 5, 6]), [(0, 2, 3), (5, 1, 2)]);
    }
}
