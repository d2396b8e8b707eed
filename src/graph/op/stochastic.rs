//! stoxnor's own operators for stochastic networks: `StochasticQuant` (sampled weights) and `Member` (constants per member).

use crate::arith::stochastic::{Law, MAX_BITS, Rounding};
use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::operator::{Codes, OWN, Operator, Quantiser, Role, invalid, unsupported};
use crate::graph::tensor::{Data, Tensor};

/// Default number of random bits per weight.
pub const DEFAULT_BITS: u32 = 1;
/// Default number of rows that share random bits.
pub const DEFAULT_SHARE: usize = 64;
/// Default seed.
pub const DEFAULT_SEED: u64 = 1;

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "StochasticQuant",
        domains: &[OWN],
        inputs: (1, 1),
        attributes: &["law", "bits", "share", "seed"],
        role: Role::Quantiser(Quantiser {
            levels: |_, _| Err(unsupported("an activation that is sampled; weights are")),
            codes: Some(|attributes, x| codes(attributes, x[0])),
        }),
        // Evaluates to the base network: the mean over all members.
        eval: |attributes, x| Ok(vec![codes(attributes, x[0])?.integers]),
    },
    Operator {
        name: "Member",
        domains: &[OWN],
        inputs: (1, 1),
        attributes: &["member"],
        role: Role::Host,
        eval: member,
    },
];

/// The weights, clipped to -1 .. 1, and their stochastic rounding.
fn codes(attributes: &Attributes, x: &Tensor) -> Result<Codes> {
    let law = match attributes.text("law", "ternary")? {
        "binary" => Law::Binary,
        "ternary" => Law::Ternary,
        other => return Err(invalid(format!("the law {other}; there are binary and ternary"))),
    };
    let (bits, share) =
        (attributes.int("bits", DEFAULT_BITS.into())?, attributes.int("share", DEFAULT_SHARE as i64)?);
    if !(1..=i64::from(MAX_BITS)).contains(&bits) || share < 1 {
        return Err(invalid(format!(
            "{bits} random bits shared by {share} rows; 1 to {MAX_BITS} bits and 1 row or more are known"
        )));
    }
    let rounding = Rounding {
        law,
        bits: bits as u32,
        share: share as usize,
        seed: attributes.int("seed", DEFAULT_SEED as i64)? as u64,
    };
    let clipped = x.floats("the weights")?.iter().map(|w| if w.is_nan() { *w } else { w.clamp(-1.0, 1.0) });
    let integers = Tensor { shape: x.shape.clone(), data: Data::Float(clipped.collect()) };
    let scales = Tensor { shape: x.shape.clone(), data: Data::Float(vec![1.0; x.len()]) };
    Ok(Codes { integers, scales, rounding: Some(rounding) })
}

/// The slice of a constant for one member: its first axis is indexed by the member and removed.
fn member(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let member = attributes.int("member", 0)?;
    let (Some(&members), Ok(at)) = (x[0].shape.first(), usize::try_from(member)) else {
        return Err(invalid(format!("member {member} of a constant of shape {:?}", x[0].shape)));
    };
    if at >= members {
        return Err(invalid(format!("member {member} of {members}")));
    }
    let size = x[0].len() / members;
    let data = x[0].data.pick(at * size..(at + 1) * size);
    Ok(vec![Tensor { shape: x[0].shape[1..].to_vec(), data }])
}

/// Whether a node is a `Member`, which selects one member's constants.
pub fn picks(domain: &str, op: &str) -> bool {
    (domain, op) == (OWN, "Member")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    #[test]
    fn the_base_network_has_clipped_weights() {
        let quant = find(OWN, "StochasticQuant").unwrap();
        let x = Tensor::vector(vec![0.25, -3.0, f32::INFINITY]);
        let attributes = Attributes::new(1)
            .with("law", Attribute::String("binary".into()))
            .with("bits", Attribute::Int(4))
            .with("seed", Attribute::Int(-1));
        assert_eq!((quant.eval)(&attributes, &[&x]).unwrap()[0].data, Data::Float(vec![0.25, -1.0, 1.0]));
        let rounding = codes(&attributes, &x).unwrap().rounding.unwrap();
        assert_eq!(rounding, Rounding { law: Law::Binary, bits: 4, share: 64, seed: u64::MAX });
        for (name, value) in [("bits", 0), ("bits", 17), ("share", 0)] {
            let bad = Attributes::new(1).with(name, Attribute::Int(value));
            assert!((quant.eval)(&bad, &[&x]).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn members_take_their_part() {
        let x = Tensor::new(vec![2, 3], Data::Float(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).unwrap();
        let of = |m| member(&Attributes::new(1).with("member", Attribute::Int(m)), &[&x]);
        assert_eq!(of(1).unwrap()[0], Tensor::vector(vec![4.0, 5.0, 6.0]));
        assert!(of(2).is_err() && of(-1).is_err());
        assert!(member(&Attributes::new(1), &[&Tensor::scalar(1.0)]).is_err());
    }
}
