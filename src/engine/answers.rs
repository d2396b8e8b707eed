//! A network's answers on a labelled data set.

use crate::diagnostic::{Diagnostic, INPUT_SHAPE, Result};
use crate::network::Network;

/// What the outputs of a network decide on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// The graph gives the class itself, by ArgMax or the indices of TopK, of so many classes.
    Index(usize),
    /// The class of the largest of so many outputs; of equal ones the first.
    Largest(usize),
    /// One score: class 1 where it is above the border, else class 0.
    Score(f32),
}

/// The class that outputs decide on, and whether another had as much right to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The class.
    pub class: usize,
    /// Whether it is a tie: several largest outputs, or a score on the border.
    pub tie: bool,
}

/// Operators that move or rename outputs and leave their values alone.
const SHAPE_ONLY: &[&str] = &["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Dropout"];

impl Decision {
    /// How a network's first output is read: by the last operator that is more than a change of shape.
    ///
    /// # Errors
    /// Where the graph gives the largest values and not their classes.
    pub fn of(network: &Network) -> Result<Self> {
        let tail = &network.outputs[0].tail;
        let steps = tail.steps();
        let outputs = tail.output_shape().iter().product();
        let by_size = |border| if outputs == 1 { Self::Score(border) } else { Self::Largest(outputs) };
        let Some(at) = steps.iter().rposition(|s| !SHAPE_ONLY.contains(&s.operator.name)) else {
            return Ok(by_size(0.0));
        };
        let before = at.checked_sub(1).map_or(tail.input_shape(), |i| &steps[i].shape);
        match (steps[at].operator.name, steps[at].output) {
            ("ArgMax", _) | ("TopK", 1) => Ok(Self::Index(before.iter().product())),
            ("TopK", _) => Err(Diagnostic::new(
                &INPUT_SHAPE,
                "the graph's output is the largest values, not their classes",
            )
            .at(steps[at].place.clone())
            .help("make the indices of TopK the graph's output, or what comes before it")
            .into()),
            ("Sigmoid", _) => Ok(by_size(0.5)),
            _ => Ok(by_size(0.0)),
        }
    }

    /// The answer of one frame's outputs.
    pub fn answer(self, outputs: &[f32]) -> Answer {
        match self {
            Self::Index(_) => Answer { class: outputs[0] as usize, tie: false },
            Self::Score(border) => {
                Answer { class: usize::from(outputs[0] > border), tie: outputs[0] == border }
            }
            Self::Largest(_) => {
                let largest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut of_it = outputs.iter().enumerate().filter(|(_, v)| **v == largest).map(|(i, _)| i);
                Answer { class: of_it.next().unwrap_or(0), tie: of_it.next().is_some() }
            }
        }
    }

    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Self::Index(classes) | Self::Largest(classes) => classes,
            Self::Score(_) => 2,
        }
    }
}

/// How often each label got each answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Confusion {
    /// `counts[label][answer]`.
    pub counts: Vec<Vec<usize>>,
    /// Frames whose answer was a tie.
    pub ties: usize,
}

impl Confusion {
    /// Counts answers against labels.
    ///
    /// # Errors
    /// Where a label is no class of the network.
    pub fn new(answers: &[Answer], labels: &[usize], classes: usize) -> Result<Self> {
        if let Some((frame, label)) = labels.iter().enumerate().find(|(_, l)| **l >= classes) {
            let message = format!("label {label} of frame {frame}, where the network has {classes} classes");
            return Err(Diagnostic::new(&INPUT_SHAPE, message)
                .at("the labels")
                .help("labels count from 0; give the labels of this network's task")
                .into());
        }
        let mut counts = vec![vec![0; classes]; classes];
        for (answer, label) in answers.iter().zip(labels) {
            counts[*label][answer.class] += 1;
        }
        Ok(Self { counts, ties: answers.iter().filter(|a| a.tie).count() })
    }

    /// Frames whose answer is their label.
    pub fn correct(&self) -> usize {
        self.counts.iter().enumerate().map(|(class, row)| row[class]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_outputs_wins_and_the_tie_is_said() {
        assert_eq!(Decision::Largest(3).answer(&[1.0, 3.0, 3.0]), Answer { class: 1, tie: true });
        assert_eq!(Decision::Largest(3).answer(&[-1.0, -3.0]), Answer { class: 0, tie: false });
        assert_eq!(Decision::Score(0.0).answer(&[0.0]), Answer { class: 0, tie: true });
        assert_eq!(Decision::Index(10).answer(&[7.0]), Answer { class: 7, tie: false });
    }

    #[test]
    fn confusion_counts_by_label_and_answer() {
        let answers = [0, 1, 1, 2].map(|class| Answer { class, tie: class == 2 });
        let confusion = Confusion::new(&answers, &[0, 1, 2, 2], 3).unwrap();
        assert_eq!(confusion.counts, [[1, 0, 0], [0, 1, 0], [0, 1, 1]]);
        assert_eq!((confusion.correct(), confusion.ties), (3, 1));
        assert!(Confusion::new(&answers, &[0, 1, 2, 3], 3).is_err());
    }
}
