//! Ports: the shape and element type of a stream.

use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::element::Element;

/// What flows over one edge of the network: a frame's shape (channel last, no batch) and its element type.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Port {
    /// Extent of each axis, channels last.
    pub shape: Vec<usize>,
    /// Type of every element.
    pub element: Element,
}

impl Port {
    /// Elements of a frame.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Checks that frames can be taken for frames of `shape`: elements stream row-major, so any shape with as many is one stream.
    ///
    /// # Errors
    /// Where there are more elements, or fewer.
    pub fn streams_as(&self, shape: &[usize]) -> Result<()> {
        if self.elements() == shape.iter().product::<usize>() {
            return Ok(());
        }
        let message = format!("frames of shape {:?} come in where {shape:?} is wanted", self.shape);
        Err(Diagnostic::new(&MODEL_INVALID, message).into())
    }
}

/// The one input of a layer that has one.
///
/// # Errors
/// Where there are more, or none.
pub fn one(inputs: &[Port]) -> Result<&Port> {
    match inputs {
        [input] => Ok(input),
        _ => {
            Err(Diagnostic::new(&MODEL_INVALID, format!("{} inputs where one is needed", inputs.len()))
                .into())
        }
    }
}
