//! The rounding modes of QONNX, in float32.

use crate::diagnostic::Result;
use crate::graph::operator::unsupported;

/// A rounding mode: how a number becomes an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, ties to even.
    HalfEven,
    /// Towards plus infinity.
    Ceil,
    /// Towards minus infinity.
    Floor,
    /// Away from 0.
    Up,
    /// Towards 0.
    Down,
    /// To the nearest, ties away from 0.
    HalfUp,
    /// To the nearest, ties towards 0.
    HalfDown,
}

impl Rounding {
    /// The mode called `name`, case-insensitive.
    pub fn find(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "ROUND" | "HALF_EVEN" => Self::HalfEven,
            "CEIL" => Self::Ceil,
            "FLOOR" => Self::Floor,
            "UP" => Self::Up,
            "DOWN" | "ROUND_TO_ZERO" => Self::Down,
            "HALF_UP" => Self::HalfUp,
            "HALF_DOWN" => Self::HalfDown,
            _ => {
                return Err(unsupported(format!(
                    "rounding_mode {name}; there are ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP and HALF_DOWN"
                )));
            }
        })
    }

    /// Rounds `x` with the same float32 operations as QONNX, so that ties are the same.
    pub fn apply(self, x: f32) -> f32 {
        let away = |magnitude: f32| if x == 0.0 { x } else { magnitude.copysign(x) };
        match self {
            Self::HalfEven => x.round_ties_even(),
            Self::Ceil => x.ceil(),
            Self::Floor => x.floor(),
            Self::Up => away(x.abs().ceil()),
            Self::Down => x.trunc(),
            Self::HalfUp => away((x.abs() + 0.5).floor()),
            Self::HalfDown => away((x.abs() - 0.5).ceil()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_on_ties_and_beside_them() {
        let x = [-2.5, -1.5, -0.5, -0.25, 0.0, 0.5, 0.75, 1.5, 2.5];
        for (name, wanted) in [
            ("round", [-2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0]),
            ("CEIL", [-2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0]),
            ("Floor", [-3.0, -2.0, -1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0]),
            ("UP", [-3.0, -2.0, -1.0, -1.0, 0.0, 1.0, 1.0, 2.0, 3.0]),
            ("ROUND_TO_ZERO", [-2.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0]),
            ("half_up", [-3.0, -2.0, -1.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0]),
            ("HALF_DOWN", [-2.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0]),
        ] {
            let mode = Rounding::find(name).unwrap();
            assert_eq!(x.map(|v| mode.apply(v)), wanted, "{name}");
            assert!(mode.apply(f32::NAN).is_nan() && mode.apply(f32::INFINITY) == f32::INFINITY);
        }
        assert!(Rounding::find("STOCHASTIC").is_err());
    }
}
