//! Ports: the shape and element type of a stream.

use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::element::Element;

/// The shape and element type of a stream. The shape is that of a frame: channels last, without batch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Port {
    /// Extent of each axis, channels last.
    pub shape: Vec<usize>,
    /// Type of every element.
    pub element: Element,
}

impl Port {
    /// Elements per frame.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Checks that frames can be read as frames of `shape`. Elements stream row-major, so any shape with the same number of
    /// elements fits.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn streams_as(&self, shape: &[usize]) -> Result<()> {
        if self.elements() == shape.iter().product::<usize>() {
            return Ok(());
        }
        let message = format!("frames of shape {:?} come in where {shape:?} is wanted", self.shape);
        Err(Diagnostic::new(&MODEL_INVALID, message).into())
    }
}

/// The input of a layer that has exactly one.
///
/// # Errors
/// If there is no input, or more than one.
pub fn one(inputs: &[Port]) -> Result<&Port> {
    match inputs {
        [input] => Ok(input),
        _ => {
            Err(Diagnostic::new(&MODEL_INVALID, format!("{} inputs where one is needed", inputs.len()))
                .into())
        }
    }
}
