//! The scale of the input.

use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};

/// A scale p/q for the input: each value is multiplied by p, then divided by q, in float32.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Scale {
    /// The numerator.
    pub p: f32,
    /// The denominator.
    pub q: f32,
}

impl Scale {
    /// Scales one value. The result may differ from one multiplication by a rounded quotient.
    pub fn apply(self, x: f32) -> f32 {
        x * self.p / self.q
    }

    /// Parses a number, or a quotient `p/q`.
    ///
    /// # Errors
    /// If the text is neither, a number is not finite, or q is 0.
    pub fn parse(text: &str) -> Result<Self> {
        let number = |s: &str| s.trim().parse::<f32>().ok().filter(|v| v.is_finite());
        let parsed = match text.split_once('/') {
            Some((p, q)) => number(p).zip(number(q).filter(|q| *q != 0.0)),
            None => number(text).map(|p| (p, 1.0)),
        };
        let (p, q) = parsed.ok_or_else(|| {
            Diagnostic::new(&CONFIG_VALUE, format!("\"{text}\" is not a scale"))
                .at("the input's scale")
                .help("give a number or a quotient, such as 1/255")
        })?;
        Ok(Self { p, q })
    }
}
