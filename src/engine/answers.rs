//! Classification results: a network's answers on labelled frames.

use crate::diagnostic::{Diagnostic, INPUT_SHAPE, Result};
use crate::network::Network;

/// The rule that turns a network's outputs into a class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// The output is the class index itself, from ArgMax or TopK. The number is that of classes.
    Index(usize),
    /// The class is the index of the largest output; of equal outputs the first. The number is that of outputs.
    Largest(usize),
    /// A single score: class 1 if it is above this border, else class 0.
    Score(f32),
}

/// The class of a frame, and whether it was a tie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The class.
    pub class: usize,
    /// Whether it is a tie: several outputs are largest, or the score equals the border.
    pub tie: bool,
}

/// Operators that change shape or type only, and keep the values.
const SHAPE_ONLY: &[&str] = &["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Dropout"];

impl Decision {
    /// The rule for a network's first output. It depends on the last operator that is not a mere change of shape.
    ///
    /// # Errors
    /// If the graph outputs the largest values (TopK), not their indices.
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

    /// The answer for the outputs of one frame.
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

/// The confusion matrix: how often each label got each answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Confusion {
    /// `counts[label][answer]`.
    pub counts: Vec<Vec<usize>>,
    /// Frames whose answer was a tie.
    pub ties: usize,
}

impl Confusion {
    /// Counts answers by label.
    ///
    /// # Errors
    /// If a label is not a class of the network.
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

    /// Number of frames whose answer equals the label.
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
