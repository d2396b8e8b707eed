//! ONNX's element types: their names, and numbers of 16 bits.

/// The name of the element type with ONNX code `kind`.
pub fn type_name(kind: i64) -> String {
    const NAMES: [&str; 27] = [
        "undefined",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
        "float8e8m0",
        "uint2",
        "int2",
    ];
    match usize::try_from(kind).ok().and_then(|k| NAMES.get(k)) {
        Some(name) => (*name).to_owned(),
        None => format!("type {kind}"),
    }
}

/// The value of a float16 with these bits, which float32 holds exactly.
pub fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// The value of a bfloat16 with these bits: the upper half of a float32.
pub fn brain(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The float16 nearest to `x`, ties to even; beyond the largest one infinity.
pub fn to_half(x: f32) -> f32 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    // From one float16 to the next in the binade of x, at least 2^-24.
    let exponent = (x.abs().to_bits() >> 23) as i32 - 127;
    let unit = 2f32.powi(exponent.max(-14) - 10);
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > 65504.0 { f32::INFINITY.copysign(x) } else { rounded }
}

/// The bfloat16 nearest to `x`, ties to even.
pub fn to_brain(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float16_is_its_own_nearest_and_ties_go_to_even() {
        for bits in 0..=u16::MAX {
            let value = half(bits);
            assert!(value.is_nan() || to_half(value).to_bits() == value.to_bits(), "{bits:04x}");
            let wide = brain(bits);
            assert!(wide.is_nan() || to_brain(wide) == wide, "{bits:04x}");
            // Half way to the next number: the one whose last bit is 0.
            if bits & 0x7fff < 0x7bff {
                let (next, even) = (half(bits + 1), half(bits + (bits & 1)));
                assert_eq!(to_half((value + next) / 2.0), even, "{bits:04x}");
            }
        }
        assert_eq!(
            [to_half(65519.0), to_half(65520.0), to_half(-1e9)],
            [65504.0, f32::INFINITY, f32::NEG_INFINITY]
        );
        assert_eq!(
            [to_half(1e-9), to_brain(1.0 + 1.0 / 256.0), to_brain(1.0 + 3.0 / 256.0)],
            [0.0, 1.0, 1.015_625]
        );
    }
}
