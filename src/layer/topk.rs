//! Indices of the largest elements of a frame (TopK, ArgMax).

use std::cmp::Reverse;
use std::sync::Arc;

use stoxnor_hdl::block::{counter, stream_register};
use stoxnor_hdl::{Builder, Module, Net, Role, Stream, index_bits};

use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::{Matrix, Schedule};
use crate::unit::folding::{Folding, Lanes};
use crate::unit::resources::Resources;

/// The indices of the k largest elements of a frame, in descending order of the elements. Of equal elements the first counts as
/// larger. With k = 1 it is the argmax.
///
/// The input has one element per beat. Elements are sorted into k registers as they arrive. The indices are output one per beat,
/// while the next frame arrives.
#[derive(Debug, Clone)]
pub struct TopK {
    classes: usize,
    k: usize,
}

/// Edges from the acceptance of a frame's last element to the offer of its first index.
const LATENCY: u64 = 3;

impl TopK {
    /// The `k` largest of frames with `classes` elements.
    ///
    /// # Panics
    /// If there are fewer than 2 elements, or `k` is 0 or more than `classes`.
    pub fn new(classes: usize, k: usize) -> Self {
        assert!(classes >= 2 && (1..=classes).contains(&k), "the {k} largest of {classes}");
        Self { classes, k }
    }

    fn element(&self) -> Element {
        Element::Unsigned(index_bits(self.classes as u64))
    }

    fn largest(&self, frame: &[i32]) -> Vec<i32> {
        let mut order: Vec<usize> = (0..frame.len()).collect();
        // The sort is stable, so the first of equal elements comes first.
        order.sort_by_key(|i| Reverse(frame[*i]));
        order.truncate(self.k);
        order.into_iter().map(|i| i as i32).collect()
    }

    /// Inserts an element into the k sorted registers. Returns the index in each register.
    fn sorted(&self, b: &mut Builder, enable: Net, first: Net, value: Net, index: Net) -> Vec<Net> {
        let later = b.not(first);
        let later = b.named("later", later);
        let mut indices: Vec<Net> = Vec::with_capacity(self.k);
        // State of the previous register: whether it is displaced and what it holds; and whether it holds anything.
        let mut before: Option<(Net, Net)> = None;
        let mut held = later;
        for j in 0..self.k {
            let largest = b.register(&format!("largest_{j}"), b.width(value), None);
            let at = b.register(&format!("index_{j}"), b.width(index), None);
            let less = b.less(largest, value);
            let free = b.not(held);
            let displaced = b.or(less, free);
            let displaced = b.named(format!("displaced_{j}"), displaced);
            let (mut new, mut new_at) = (value, index);
            if let Some((above, previous)) = before {
                new = b.mux(above, previous, value);
                new_at = b.mux(above, indices[j - 1], index);
            }
            let next = b.mux(displaced, new, largest);
            let next_at = b.mux(displaced, new_at, at);
            b.next_if(largest, enable, next);
            b.next_if(at, enable, next_at);
            indices.push(at);
            before = Some((displaced, largest));
            if j + 1 < self.k {
                let there = b.registered(&format!("held_{}", j + 1), None, enable, held);
                let there = b.and(there, later);
                held = b.named(format!("holds_{}", j + 1), there);
            }
        }
        indices
    }
}

impl Layer for TopK {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        if input.elements() != self.classes {
            let message = format!("{} elements come in where {} are wanted", input.elements(), self.classes);
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        Ok(Port { shape: vec![self.k], element: self.element() })
    }

    fn reference(&self, inputs: &[&[i32]], _: usize) -> Vec<i32> {
        self.largest(inputs[0])
    }

    fn fast(&self, inputs: &[&Batch], _: usize) -> Batch {
        inputs[0].each(Some(self.element()), self.k, |frame| self.largest(frame))
    }

    fn lanes(&self) -> Lanes {
        Lanes::channelwise(1, self.classes, self.k)
    }

    fn hardware(&self, name: &str, inputs: &[Port], _: Folding, user: u32) -> Arc<Module> {
        let (input, index) = (inputs[0].element, self.element().bits());
        let mut b = Builder::new(name);
        b.doc(format!("The {} largest of {} {input} elements:", self.k, self.classes));
        b.doc("element r of a frame is the index of the one that is the largest but r; of equal ones the first is larger.");
        b.doc(format!("{} beats in, {} beats out, {} cycles a frame.", self.classes, self.k, self.classes));
        b.doc(format!(
            "Timing: the first index is offered {LATENCY} edges after the last element, the others behind it."
        ));
        let s = b.stream_input("s", input.bits(), user);
        let m_ready = b.input("m_ready", 1, Role::Control);
        let out = b.instance("u_out", &stream_register(index, user));
        b.connect(out, "m_ready", m_ready);
        let leaves = b.out(out, "s_ready");
        let run = b.wire("run", 1);
        b.output("s_ready", run, Role::Control);
        let take = b.and(run, s.valid);
        let take = b.named("take", take);
        let (at, at_end) = counter(&mut b, "at", self.classes as u64, take).expect("two or more");
        let begins = b.is(at, 0);

        let came = b.registered("input", None, run, s.data);
        let valid = b.registered("input_valid", Some(0), run, s.valid);
        let first = b.registered("first", None, run, begins);
        let end = b.registered("end", None, run, at_end);
        let place = b.registered("place", None, run, at);
        let last = b.registered("input_last", None, run, s.last);
        let of_user = s.user.map(|user| b.registered("input_user", None, run, user));
        let enable = b.and(run, valid);
        let enable = b.named("compare", enable);
        let code = match input {
            Element::Signed(bits) => {
                // Codes are compared as unsigned numbers, with the top bit inverted.
                let top = b.constant(bits, 1 << (bits - 1));
                let code = b.xor(came, top);
                b.named("code", code)
            }
            _ => came,
        };
        let indices = self.sorted(&mut b, enable, first, code, place);
        let done = b.and(valid, end);
        let done = Stream {
            data: indices[0],
            valid: b.registered("done_valid", Some(0), run, done),
            last: b.registered("done_last", None, run, last),
            user: of_user.map(|user| b.registered("done_user", None, run, user)),
        };
        let (stream, may) = rest(&mut b, done, &indices[1..], leaves);
        let empty = b.not(done.valid);
        let moves = b.or(may, empty);
        b.drive(run, moves);
        b.connect_stream(out, "s", stream);
        let m = b.out_stream(out, "m");
        b.stream_output_forward("m", m);
        b.finish()
    }

    fn schedule(&self, _: &[Port], _: Folding) -> Schedule {
        let (steps, burst) = (self.classes as u64, self.k as u64);
        Schedule::matrix(Matrix { steps, burst, latency: LATENCY, ..Matrix::default() })
    }

    fn resources(&self, inputs: &[Port], _: Folding) -> Resources {
        let entry = inputs[0].element.bits() + self.element().bits();
        Resources::buffer(self.k as u64 * u64::from(entry))
    }
}

/// The output beats of a frame: the first one directly, the others from a shift register that is loaded at the same time. Also
/// returns when the first beat may leave.
fn rest(b: &mut Builder, done: Stream, others: &[Net], leaves: Net) -> (Stream, Net) {
    if others.is_empty() {
        return (done, leaves);
    }
    let shifting = b.register("shifting", 1, Some(0));
    let idle = b.not(shifting);
    let may = b.and(leaves, idle);
    let may = b.named("may_finish", may);
    let load = b.and(done.valid, may);
    let load = b.named("load", load);
    let shift = b.and(shifting, leaves);
    let shift = b.named("shift", shift);
    let end = counter(b, "shifted", others.len() as u64, shift).map(|(_, end)| end);
    let over = end.map_or(shift, |end| b.and(shift, end));
    let changes = b.or(load, over);
    b.next_if(shifting, changes, load);

    let mut behind: Option<Net> = None;
    let moves = (others.len() > 1).then(|| {
        let moves = b.or(load, shift);
        b.named("moves", moves)
    });
    for (j, index) in others.iter().enumerate().rev() {
        let q = b.register(&format!("rest_{j}"), b.width(*index), None);
        match behind.zip(moves) {
            None => b.next_if(q, load, *index),
            Some((behind, moves)) => {
                let next = b.mux(load, *index, behind);
                b.next_if(q, moves, next);
            }
        }
        behind = Some(q);
    }
    let kept_last = b.registered("kept_last", None, load, done.last);
    let kept_user = done.user.map(|user| b.registered("kept_user", None, load, user));
    let shifted = behind.expect("others");
    let of_rest = end.map_or(shifting, |end| b.and(shifting, end));
    let stream = Stream {
        data: b.mux(shifting, shifted, done.data),
        valid: b.or(shifting, done.valid),
        last: b.and(of_rest, kept_last),
        user: kept_user.zip(done.user).map(|(kept, own)| b.mux(shifting, kept, own)),
    };
    (stream, may)
}

/// The TopK layer.
pub const KIND: Kind = Kind { name: "topk", samples };

fn samples() -> Vec<Sample> {
    let forms = [
        (vec![10], 1, Element::Signed(7)),
        (vec![10], 3, Element::Signed(4)),
        (vec![5], 5, Element::Unsigned(2)),
        (vec![2, 3, 2], 2, Element::Bipolar),
        (vec![2], 2, Element::Signed(1)),
        (vec![7], 4, Element::Signed(20)),
    ];
    let sample = |(shape, k, element): (Vec<usize>, usize, Element)| {
        let port = Port { shape, element };
        let layer = TopK::new(port.elements(), k);
        (vec![port], Arc::new(layer) as Arc<dyn Layer>)
    };
    forms.into_iter().map(sample).collect()
}
