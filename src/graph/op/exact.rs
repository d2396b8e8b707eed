//! Transcendental functions in float64, from additions, multiplications, divisions and comparisons only, so that they are equal on
//! every machine. Their relative error is below 2^-40, mostly about 2^-52: rounded to float32, all but one value in some ten
//! thousand of the hardest ones is the nearest.

/// The exponential function: 2^n times a Taylor polynomial of the remainder, with a relative error of about 2^-52.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let x = x.clamp(-745.0, 709.0);
    let n = (x / std::f64::consts::LN_2).round_ties_even();
    // ln 2 in two parts: the first has trailing zeros, so that its product with n is exact.
    let rest = (x - n * 6.931_471_803_691_238e-1) - n * 1.908_214_929_270_587_7e-10;
    let sum = (1..=14).rev().fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    let half = n as i32 / 2;
    sum * 2f64.powi(half) * 2f64.powi(n as i32 - half)
}

/// exp(x) - 1.
pub(crate) fn expm1(x: f64) -> f64 {
    if x.abs() < 1.0 / 64.0 {
        return x * (1..=7).rev().fold(1.0, |sum, k| 1.0 + sum * x / f64::from(k + 1));
    }
    exp(x) - 1.0
}

/// The natural logarithm: NaN below 0, minus infinity at 0.
pub(crate) fn log(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    // Subnormal numbers come into the normal range.
    let (x, less) = if x < f64::MIN_POSITIVE { (x * 2f64.powi(54), 54) } else { (x, 0) };
    let bits = x.to_bits();
    let (mut exponent, mut m) =
        ((bits >> 52) as i32 - 1023 - less, f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        (exponent, m) = (exponent + 1, m / 2.0);
    }
    let n = f64::from(exponent);
    // As in exp, ln 2 in two parts.
    n * 6.931_471_803_691_238e-1 + (n * 1.908_214_929_270_587_7e-10 + atanh2((m - 1.0) / (m + 1.0)))
}

/// log(1 + x) of x at least 0.
pub(crate) fn log1p(x: f64) -> f64 {
    if x <= 1.0 { atanh2(x / (2.0 + x)) } else { log(1.0 + x) }
}

/// log((1 + f) / (1 - f)) of |f| up to 1/3.
fn atanh2(f: f64) -> f64 {
    let square = f * f;
    2.0 * f * (0..=18).rev().fold(0.0, |sum, k| 1.0 / f64::from(2 * k + 1) + sum * square)
}

/// The hyperbolic tangent.
pub(crate) fn tanh(x: f64) -> f64 {
    let e = expm1(-2.0 * x.abs());
    let magnitude = -e / (2.0 + e);
    if x < 0.0 { -magnitude } else { magnitude }
}

/// 1 / (1 + exp(-x)).
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// The error function. From 6 on its distance from 1 is below float64's.
pub(crate) fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let a = x.abs();
    let magnitude = if a >= 6.0 {
        1.0
    } else {
        // 2 / sqrt(pi) * exp(-x^2) * sum of 2^n x^(2n+1) / (2n+1)!!, whose terms are all positive.
        let square = a * a;
        let sum = (0..140).rev().fold(1.0, |sum, n| 1.0 + sum * 2.0 * square / f64::from(2 * n + 3));
        std::f64::consts::FRAC_2_SQRT_PI * exp(-square) * a * sum
    };
    if x < 0.0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_mathematics_library() {
        for x in [-700.0, -20.5, -1.0, -1e-9, 0.0, 0.3, 1.0, 2.5, 88.0, 700.0f64] {
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "{x}");
        }
        assert_eq!(exp(f64::NEG_INFINITY), exp(-745.0));
        assert!(
            exp(f64::NAN).is_nan() && log(-1.0).is_nan() && erf(f64::NAN).is_nan() && tanh(f64::NAN).is_nan()
        );
        let close = |a: f64, b: f64, x: f64| assert!((a - b).abs() <= 1e-13 * b.abs(), "{a} {b} at {x}");
        for i in -2000..2000 {
            let x = f64::from(i) * 0.013 + 1e-7;
            close(tanh(x), x.tanh(), x);
            close(expm1(x), x.exp_m1(), x);
            close(sigmoid(x), 1.0 / (1.0 + (-x).exp()), x);
            let y = x.exp();
            close(log(y), y.ln(), y);
            close(log1p(y), y.ln_1p(), y);
        }
        for x in [5e-324, 1e-310, f64::MAX] {
            close(log(x), x.ln(), x);
        }
        // Computed with 50 decimal digits.
        let table = [
            (1e-10, 1.128_379_167_095_512_6e-10),
            (0.25, 0.276_326_390_168_236_9),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
            (5.5, 0.999_999_999_999_992_6),
        ];
        for (x, y) in table {
            close(erf(x), y, x);
            close(erf(-x), -y, x);
        }
    }
}
