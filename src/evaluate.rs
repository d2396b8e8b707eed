//! A network's answers on a labelled data set.

use crate::diagnostic::{Diagnostic, INPUT_SHAPE, Result};
use crate::network::Network;

/// What the outputs of a network decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The graph gives the class itself, by ArgMax or TopK.
    Index,
    /// The class of the largest output; of equal ones the first.
    Largest,
    /// One score: class 1 where it is above 0, else class 0.
    Score,
}

/// The class that outputs decide on, and whether another had as much right to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The class.
    pub class: usize,
    /// Whether it is a tie: several largest outputs, or a score of exactly 0.
    pub tie: bool,
}

impl Decision {
    /// How a network's output is read.
    pub fn of(network: &Network) -> Self {
        let last = network.tail.steps().last().map(|s| s.operator.name);
        if matches!(last, Some("TopK" | "ArgMax")) {
            Self::Index
        } else if network.tail.output_shape().iter().product::<usize>() == 1 {
            Self::Score
        } else {
            Self::Largest
        }
    }

    /// The answer of one frame's outputs.
    pub fn answer(self, outputs: &[f32]) -> Answer {
        match self {
            Self::Index => Answer { class: outputs[0] as usize, tie: false },
            Self::Score => Answer { class: usize::from(outputs[0] > 0.0), tie: outputs[0] == 0.0 },
            Self::Largest => {
                let largest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut of_it = outputs.iter().enumerate().filter(|(_, v)| **v == largest).map(|(i, _)| i);
                Answer { class: of_it.next().unwrap_or(0), tie: of_it.next().is_some() }
            }
        }
    }

    /// Number of classes that outputs of this shape tell apart; unknown where the graph gives the class itself.
    pub fn classes(self, network: &Network) -> Option<usize> {
        match self {
            Self::Index => None,
            Self::Score => Some(2),
            Self::Largest => Some(network.tail.output_shape().iter().product()),
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
    pub fn new(answers: &[Answer], labels: &[usize], classes: Option<usize>) -> Result<Self> {
        if let Some((frame, label)) =
            labels.iter().enumerate().find(|(_, l)| classes.is_some_and(|c| **l >= c))
        {
            let message = format!(
                "label {label} of frame {frame}, where the network has {} classes",
                classes.unwrap_or(0)
            );
            return Err(Diagnostic::new(&INPUT_SHAPE, message)
                .at("the labels")
                .help("labels count from 0; give the labels of this network's task")
                .into());
        }
        let seen = answers.iter().map(|a| a.class).chain(labels.iter().copied()).max().map_or(0, |m| m + 1);
        let classes = classes.unwrap_or(seen);
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
        assert_eq!(Decision::Largest.answer(&[1.0, 3.0, 3.0]), Answer { class: 1, tie: true });
        assert_eq!(Decision::Largest.answer(&[-1.0, -3.0]), Answer { class: 0, tie: false });
        assert_eq!(Decision::Score.answer(&[0.0]), Answer { class: 0, tie: true });
        assert_eq!(Decision::Index.answer(&[7.0]), Answer { class: 7, tie: false });
    }

    #[test]
    fn confusion_counts_by_label_and_answer() {
        let answers = [0, 1, 1, 2].map(|class| Answer { class, tie: class == 2 });
        let confusion = Confusion::new(&answers, &[0, 1, 2, 2], Some(3)).unwrap();
        assert_eq!(confusion.counts, [[1, 0, 0], [0, 1, 0], [0, 1, 1]]);
        assert_eq!((confusion.correct(), confusion.ties), (3, 1));
        assert!(Confusion::new(&answers, &[0, 1, 2, 3], Some(3)).is_err());
    }
}
