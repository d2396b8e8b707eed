//! Stochastic weights against a second implementation: `cases/stochastic/make.py` follows the text of
//! `guide::stochastic` alone, one bit at a time and in fractions, and stored what it gives.

use serde_json::Value;
use stoxnor::arith::lfsr;
use stoxnor::arith::lfsr::Bits;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};

/// The cases of one list, of which there must be at least `least`: a list that was lost must not pass.
fn cases(list: &str, least: usize) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/stochastic/vectors.json");
    let mut vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let Value::Array(cases) = vectors[list].take() else { panic!("no list {list}") };
    assert!(cases.len() >= least, "{list}: {} cases", cases.len());
    cases
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

/// 64-bit numbers are hexadecimal strings: JSON's own may lose their last bits.
fn hexadecimal(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(item).collect()
}

/// The decimals name a float32 value and determine it; read as float64 first, they still do.
fn weight(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

fn integer(value: &Value) -> i32 {
    value.as_i64().unwrap() as i32
}

/// One character a weight.
fn signs(text: &Value) -> Vec<i16> {
    let sign = |c| match c {
        '-' => -1,
        '0' => 0,
        '+' => 1,
        _ => panic!("{text}"),
    };
    text.as_str().unwrap().chars().map(sign).collect()
}

fn rounding(case: &Value) -> Rounding {
    Rounding {
        law: serde_json::from_value(case["law"].clone()).unwrap(),
        bits: number(&case["bits"]) as u32,
        share: case.get("share").map_or(1, number) as usize,
        seed: case.get("user").map_or(0, hexadecimal),
    }
}

#[test]
fn sequences_are_those_of_the_vectors() {
    for case in cases("sequences", 20) {
        let start = number(&case["start"]);
        let mut sequence = Bits::new(hexadecimal(&case["seed"]));
        sequence.skip_bits(start);
        let digits = case["bits"].as_str().unwrap();
        for (i, digit) in digits.chars().enumerate() {
            assert_eq!(sequence.number(4), digit.to_digit(16).unwrap(), "{case}: from bit {i} * 4");
        }
    }
}

#[test]
fn seeds_are_those_of_the_vectors() {
    for case in cases("seeds", 60) {
        let found = lfsr::seed(hexadecimal(&case["user"]), number(&case["layer"]), number(&case["member"]));
        assert_eq!(found, hexadecimal(&case["seed"]), "{case}");
    }
}

#[test]
fn codes_are_those_of_the_vectors() {
    let mut compared = 0;
    for case in cases("codes", 14) {
        let rounding = rounding(&case);
        let (weights, codes) = (list(&case["weights"], weight), list(&case["codes"], integer));
        assert_eq!(weights.len(), codes.len());
        for (w, code) in weights.iter().zip(&codes) {
            assert_eq!(rounding.code(*w), *code, "{rounding:?}: {w:e}");
        }
        compared += codes.len();
    }
    assert!(compared > 1_000, "{compared}");
}

/// Infinities have no decimals, so they are not among the vectors. The text clips them.
#[test]
fn infinities_are_clipped() {
    for bits in [1, 8, 16] {
        let all = 1 << bits;
        let code = |law, w| Rounding { law, bits, share: 1, seed: 0 }.code(w);
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY].map(|w| code(Law::Binary, w)), [all, 0]);
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY].map(|w| code(Law::Ternary, w)), [all, -all]);
    }
}

#[test]
fn draws_are_those_of_the_vectors() {
    let mut compared = 0;
    for case in cases("draws", 100) {
        let rounding = rounding(&case);
        let (numbers, drawn) = (list(&case["u"], integer), signs(&case["drawn"]));
        assert_eq!(numbers.len(), drawn.len());
        for (u, wanted) in numbers.iter().zip(&drawn) {
            assert_eq!(rounding.draw(integer(&case["code"]), *u as u32), *wanted, "{case}: u = {u}");
        }
        compared += drawn.len();
    }
    assert!(compared > 1_000, "{compared}");
}

#[test]
fn members_are_those_of_the_vectors() {
    let mut compared = 0;
    for case in cases("members", 30) {
        let rounding = rounding(&case);
        let weights = list(&case["weights"], |row| list(row, weight));
        let extents = (weights.len(), weights[0].len());
        let matrix =
            StochasticMatrix::from_fn(rounding, number(&case["layer"]), extents, |r, c| weights[r][c]);
        let member = matrix.sample(number(&case["member"]) as usize);
        let drawn = list(&case["drawn"], signs);
        assert_eq!(drawn.len(), extents.0);
        for (r, wanted) in drawn.iter().enumerate() {
            assert_eq!(member.row(r), wanted, "{rounding:?}, {extents:?}: row {r}");
        }
        compared += extents.0 * extents.1;
    }
    assert!(compared > 1_000, "{compared}");
}
