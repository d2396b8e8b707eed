//! The elementwise sum of several frames.

use std::sync::Arc;

use super::{counter, ram, stream_register, user_suffix};
use crate::{Builder, Module, Net, Role, Stream};

/// The element type of a summand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summand {
    /// One bit: 1 is +1, 0 is -1.
    Bipolar,
    /// Unsigned, with this number of bits.
    Unsigned(u32),
    /// Two's complement, with this number of bits.
    Signed(u32),
}

impl Summand {
    /// Converts an element to a two's complement number of `bits` bits. Intermediate nets are named after `name`.
    pub fn number(self, b: &mut Builder, name: &str, x: Net, bits: u32) -> Net {
        match self {
            Self::Unsigned(_) => b.zero_extend(x, bits),
            Self::Signed(_) => b.sign_extend(x, bits),
            Self::Bipolar => {
                // +1 is 01, -1 is 11.
                let (one, minus) = (b.constant(1, 1), b.not(x));
                let x = b.concat(&[one, minus]);
                let x = b.named(name, x);
                b.sign_extend(x, bits)
            }
        }
    }
}

/// A sum over frames of `beats` beats with `lanes` elements each. The sum ends with the frame whose lowest user bit is 1; while
/// that frame arrives, the sums are output as two's complement numbers of `sum_bits` bits.
///
/// The input has `user` more user bits above that bit, which are passed to the output. Full rate.
pub fn frame_sum(beats: u32, lanes: u32, element: Summand, sum_bits: u32, user: u32) -> Arc<Module> {
    let (sign, bits) = match element {
        Summand::Bipolar => ("b", 1),
        Summand::Unsigned(bits) => ("u", bits),
        Summand::Signed(bits) => ("s", bits),
    };
    let mut b =
        Builder::new(format!("frame_sum_d{beats}_{lanes}x{sign}{bits}_b{sum_bits}{}", user_suffix(user)));
    let (ends, rest) = match user {
        0 => ("s_user", ""),
        _ => ("bit 0 of s_user", " The other bits pass."),
    };
    b.doc(format!("Sum of frames: {beats} beats of {lanes} elements; {ends} is 1 in the last frame of a sum, which gives it.{rest}"));
    b.doc("Timing: a beat accepted at edge t is offered after edge t + 1; full rate.");
    let s = b.stream_input("s", lanes * bits, 1 + user);
    let m_ready = b.input("m_ready", 1, Role::Control);
    let out = b.instance("u_out", &stream_register(lanes * sum_bits, user));
    b.connect(out, "m_ready", m_ready);
    let run = b.out(out, "s_ready");
    let take = b.and(run, s.valid);
    let take = b.named("take", take);
    let bits_of_user = s.user.expect("one user bit or more");
    let complete = b.slice(bits_of_user, 0, 1);

    let at = counter(&mut b, "at", beats.into(), take);
    let frame_end = at.map_or(take, |(_, end)| {
        let done = b.and(take, end);
        b.named("frame_end", done)
    });
    let first = b.register("first", 1, Some(1));
    b.next_if(first, frame_end, complete);

    let adding = b.registered("adding", Some(0), run, s.valid);
    let input = b.registered("input", None, run, s.data);
    let starts = b.registered("starts", None, run, first);
    let ends = b.registered("ends", None, run, complete);
    let last = b.registered("last", None, run, s.last);
    let carried = (user > 0).then(|| {
        let carried = b.slice(bits_of_user, 1, user);
        b.registered("carried", None, run, carried)
    });
    let store = b.and(run, adding);
    let store = b.named("store", store);
    let (before, memory) = match at {
        None => (b.register("kept", lanes * sum_bits, None), None),
        Some((q, _)) => {
            let memory = b.instance("u_sum_words", &ram(beats, lanes * sum_bits));
            b.connect(memory, "read_address", q);
            b.connect(memory, "read_enable", run);
            let write_at = b.registered("write_at", None, run, q);
            b.connect(memory, "write_address", write_at);
            b.connect(memory, "write_enable", store);
            (b.out(memory, "read_data"), Some(memory))
        }
    };
    let sums: Vec<_> = (0..lanes)
        .map(|lane| {
            let x = b.slice(input, lane * bits, bits);
            let x = b.named(format!("element_{lane}"), x);
            let x = element.number(&mut b, &format!("number_{lane}"), x, sum_bits);
            let own = b.slice(before, lane * sum_bits, sum_bits);
            let zero = b.constant(sum_bits, 0);
            let own = b.mux(starts, zero, own);
            let sum = b.add(own, x);
            b.named(format!("sum_{lane}"), sum)
        })
        .collect();
    let data = b.concat(&sums);
    let data = b.named("sums", data);
    match memory {
        None => b.next_if(before, store, data),
        Some(memory) => b.connect(memory, "write_data", data),
    }
    let valid = b.and(adding, ends);
    b.connect_stream(out, "s", Stream { data, valid, last, user: carried });
    let m = b.out_stream(out, "m");
    b.stream_output_forward("m", m);
    b.output("s_ready", run, Role::Control);
    b.finish()
}
