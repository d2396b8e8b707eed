//! Packets on a serial line to frames of a core, and its results back.

use std::sync::Arc;

use super::{ANSWER, REQUEST, crc, uart_receiver, uart_transmitter};
use crate::block::counter;
use crate::{Builder, Module, Net, Role, Stream, bits_for};

/// A link between a serial line and a core with one input and one output.
#[derive(Debug, Clone, Copy)]
pub struct SerialLink {
    /// Clock cycles a bit, 4 or more.
    pub period: u32,
    /// After so many cycles without a byte, a power of two, a request has ended early.
    pub patience: u32,
    /// Bits of an input beat, and beats of a frame.
    pub input: (u32, u32),
    /// User bits of a frame, at most 8.
    pub user: u32,
    /// Bits of an output beat.
    pub output: u32,
}

/// Bytes of a beat.
fn bytes(width: u32) -> u32 {
    width.div_ceil(8)
}

/// The states of the receiver, in order.
const IDLE: u64 = 0;
const SEQUENCE: u64 = 1;
const USER: u64 = 2;
const PAYLOAD: u64 = 3;
const CHECK: u64 = 4;
const CHECKED: u64 = 5;

/// What a request ended with.
struct Request {
    /// 1 in the cycle in which it ends.
    ends: Net,
    /// Its status.
    status: Net,
    /// 1 in the cycle in which a whole and right one ends.
    right: Net,
    sequence: Net,
}

impl SerialLink {
    /// The module: ports `rx`, `tx`, the stream `m` to the core and the stream `s` from it.
    ///
    /// # Panics
    /// If `period` is below 4, `patience` is no power of two, or `user` is above 8.
    pub fn module(&self) -> Arc<Module> {
        let Self { period, patience, input, user, output } = *self;
        assert!(patience.is_power_of_two() && user <= 8 && period >= 4, "{self:?}");
        let mut b =
            Builder::new(format!("serial_link_{period}_{patience}_{}x{}_u{user}_{output}", input.1, input.0));
        b.doc(format!(
            "Serial link: a request has {} beats of {} bits, an answer beats of {output} bits, in whole bytes each.",
            input.1, input.0
        ));
        b.doc(format!(
            "Request: 5a, number{}, beats, CRC-16 (1021, ffff).",
            if user > 0 { ", user bits" } else { "" }
        ));
        b.doc("Answer: a5, number, status (0 result, 1 wrong CRC, 2 cut, 3 dropped bytes), beats if 0, CRC.");
        let rx = b.input("rx", 1, Role::Control);
        let receiver = b.instance("u_receiver", &uart_receiver(period));
        b.connect(receiver, "line", rx);
        let (byte, came) = (b.out(receiver, "data"), b.out(receiver, "valid"));
        let busy = b.wire("busy", 1);
        let request = self.receive(&mut b, byte, came, busy);
        self.answer(&mut b, &request, busy);
        b.finish()
    }

    /// Takes requests apart; a right one's frame goes to the core.
    fn receive(&self, b: &mut Builder, byte: Net, came: Net, busy: Net) -> Request {
        let free = b.not(busy);
        let free = b.named("free", free);
        let state = b.register("state", 3, Some(IDLE));
        let is = |b: &mut Builder, name: &str, value: u64| {
            let found = b.is(state, value);
            b.named(format!("is_{name}"), found)
        };
        let (idle, at_sequence) = (is(b, "idle", IDLE), is(b, "sequence", SEQUENCE));
        let (at_payload, at_check) = (is(b, "payload", PAYLOAD), is(b, "check", CHECK));
        let at_checked = is(b, "checked", CHECKED);
        // A byte while a request is in work is dropped, and all behind it until the line is quiet.
        let missed = b.register("missed", 1, Some(0));
        let wanted = b.not(missed);
        let wanted = b.and(free, wanted);
        let begins = b.is(byte, REQUEST.into());
        let begins = b.and(begins, idle);
        let begins = b.and(begins, wanted);
        let begins = b.and(begins, came);
        let begins = b.named("begins", begins);
        let dropped = b.and(came, busy);
        // Quiet: no byte for a while, where one is waited for.
        let time = b.register("quiet", bits_for((self.patience - 1).into()), Some(0));
        let width = b.width(time);
        let (zero, one) = (b.constant(width, 0), b.constant(width, 1));
        let more = b.add(time, one);
        let settled = b.not(missed);
        let settled = b.and(idle, settled);
        let again = b.or(came, settled);
        let next = b.mux(again, zero, more);
        b.next(time, next);
        let quiet = b.reduce_and(time);
        let none = b.not(came);
        let quiet = b.and(quiet, none);
        let quiet = b.named("quiet", quiet);

        let sequence_came = b.and(came, at_sequence);
        let sequence = b.registered("sequence", Some(0), sequence_came, byte);
        let crc_seed = b.constant(16, 0xffff);
        let sum = b.register("crc", 16, None);
        let sum_next = crc::next(b, "crc", sum, byte);
        let starts = b.mux(begins, crc_seed, sum_next);
        b.next_if(sum, came, starts);

        // Beats of bytes, the first the least significant.
        let (width, beats) = self.input;
        let each = bytes(width);
        let took = b.and(came, at_payload);
        let took = b.named("took", took);
        let (word, whole) = if each == 1 {
            (byte, took)
        } else {
            let held = b.register("held", 8 * (each - 1), None);
            let word = b.concat(&[held, byte]);
            let word = b.named("word", word);
            let shifted = b.slice(word, 8, 8 * (each - 1));
            b.next_if(held, took, shifted);
            let at = b.register("byte_at", bits_for((each - 1).into()), Some(0));
            let end = b.is(at, u64::from(each - 1));
            let end = b.named("byte_end", end);
            let (zero, one) = (b.constant(b.width(at), 0), b.constant(b.width(at), 1));
            let up = b.add(at, one);
            let up = b.mux(end, zero, up);
            let next = b.mux(took, up, at);
            let next = b.mux(idle, zero, next);
            b.next(at, next);
            let whole = b.and(took, end);
            (word, b.named("whole", whole))
        };
        let word = b.slice(word, 0, width);
        let place = b.register("beat_at", bits_for(beats.into()), Some(0));
        let place_width = b.width(place);
        let (zero, one) = (b.constant(place_width, 0), b.constant(place_width, 1));
        let up = b.add(place, one);
        let next = b.mux(whole, up, place);
        let next = b.mux(idle, zero, next);
        b.next(place, next);
        let last = b.is(place, u64::from(beats - 1));
        let last = b.and(whole, last);
        let last = b.named("payload_ends", last);

        // States.
        let states: Vec<Net> = (0..=CHECKED).map(|value| b.constant(3, value)).collect();
        let after_sequence = states[if self.user > 0 { USER as usize } else { PAYLOAD as usize }];
        let payload_next = b.mux(last, states[CHECK as usize], states[PAYLOAD as usize]);
        let mut next = b.mux(at_check, states[CHECKED as usize], states[IDLE as usize]);
        next = b.mux(at_payload, payload_next, next);
        let at_user = (self.user > 0).then(|| is(b, "user", USER));
        if let Some(at_user) = at_user {
            next = b.mux(at_user, states[PAYLOAD as usize], next);
        }
        next = b.mux(at_sequence, after_sequence, next);
        let from_idle = b.mux(begins, states[SEQUENCE as usize], states[IDLE as usize]);
        next = b.mux(idle, from_idle, next);
        let next = b.mux(came, next, state);
        let next = b.mux(quiet, states[IDLE as usize], next);
        b.next(state, next);

        let check_came = b.and(came, at_checked);
        let check_came = b.named("check_came", check_came);
        let remainder = b.reduce_or(sum_next);
        let agrees = b.not(remainder);
        let right = b.and(check_came, agrees);
        let right = b.named("right", right);
        let not_idle = b.not(idle);
        let cut = b.and(quiet, not_idle);
        let cut = b.named("cut", cut);
        let late = b.and(quiet, missed);
        let late = b.and(late, free);
        let late = b.named("late", late);
        // What is missed is told once it is quiet and the request in work is answered.
        let stays = b.not(late);
        let stays = b.and(missed, stays);
        let missed_next = b.or(dropped, stays);
        b.next(missed, missed_next);
        let wrong = b.or(check_came, cut);
        let ends = b.or(wrong, late);
        let ends = b.named("ends", ends);
        let [zero, one, two, three] = [0, 1, 2, 3].map(|status| b.constant(2, status));
        let of_check = b.mux(right, zero, one);
        let of_end = b.mux(cut, two, of_check);
        let status = b.mux(late, three, of_end);

        let user = at_user.map(|at_user| {
            let user_came = b.and(came, at_user);
            let value = b.slice(byte, 0, self.user);
            b.registered("user", None, user_came, value)
        });
        self.feed(b, (whole, place, word), right, user);
        Request { ends, status, right, sequence }
    }

    /// Keeps a frame until it is right, then gives it to the core.
    fn feed(&self, b: &mut Builder, (write, place, word): (Net, Net, Net), right: Net, user: Option<Net>) {
        let (width, beats) = self.input;
        let m_ready = b.input("m_ready", 1, Role::Control);
        let memory = b.memory("frame", width, beats, None);
        let feeding = b.register("feeding", 1, Some(0));
        let valid = b.register("m_valid", 1, Some(0));
        let empty = b.not(valid);
        let free = b.or(empty, m_ready);
        let free = b.named("m_free", free);
        let reads = b.and(feeding, free);
        let reads = b.named("reads", reads);
        let one = b.constant(1, 1);
        let (at, end) = counter(b, "feed_at", beats.into(), reads).unwrap_or_else(|| (b.constant(1, 0), one));
        let address = b.slice(place, 0, b.width(at));
        b.write(memory, address, write, word);
        let data = b.read(memory, "m_data", at, free);
        let ends = b.and(reads, end);
        let goes_on = b.not(ends);
        let goes_on = b.and(feeding, goes_on);
        let feeding_next = b.or(right, goes_on);
        b.next(feeding, feeding_next);
        b.next_if(valid, free, feeding);
        let last = b.registered("m_last", None, free, end);
        b.stream_output_forward("m", Stream { data, valid, last, user });
    }

    /// Sends answers, and says whether one is on the way.
    fn answer(&self, b: &mut Builder, request: &Request, busy: Net) {
        let width = self.output;
        let each = bytes(width);
        let s_data = b.input("s_data", width, Role::Data);
        let s_valid = b.input("s_valid", 1, Role::Control);
        let s_last = b.input("s_last", 1, Role::Control);
        let sending = b.register("sending", 1, Some(0));
        b.drive(busy, sending);
        let status = b.registered("status", None, request.ends, request.status);
        let result = b.registered("result", None, request.ends, request.right);

        // Steps: mark, number, status, data, and two bytes of the CRC.
        let step = b.register("step", 3, Some(0));
        let at: Vec<Net> = (0..6)
            .map(|value| {
                let found = b.is(step, value);
                b.named(format!("step_is_{value}"), found)
            })
            .collect();
        let transmitter = b.instance("u_transmitter", &uart_transmitter(self.period));
        let tx_ready = b.out(transmitter, "s_ready");
        let loaded = b.register("loaded", 1, Some(0));
        let no_data = b.not(at[3]);
        let has = b.or(no_data, loaded);
        let offers = b.and(sending, has);
        let offers = b.named("offers", offers);
        let sent = b.and(offers, tx_ready);
        let sent = b.named("sent", sent);
        let data_sent = b.and(sent, at[3]);
        let data_sent = b.named("data_sent", data_sent);

        // A beat of the core, byte for byte.
        let not_loaded = b.not(loaded);
        let loads = b.and(sending, at[3]);
        let loads = b.and(loads, not_loaded);
        let s_ready = b.named("s_ready", loads);
        b.output("s_ready", s_ready, Role::Control);
        let load = b.and(s_ready, s_valid);
        let load = b.named("load", load);
        let padded = if width == 8 * each { s_data } else { b.zero_extend(s_data, 8 * each) };
        let beat = b.register("beat", 8 * each, None);
        let next = if each == 1 {
            padded
        } else {
            let zero = b.constant(8, 0);
            let upper = b.slice(beat, 8, 8 * (each - 1));
            let shifted = b.concat(&[upper, zero]);
            b.mux(load, padded, shifted)
        };
        let moves = b.or(load, data_sent);
        b.next_if(beat, moves, next);
        let one = b.constant(1, 1);
        let byte_end = counter(b, "out_byte", each.into(), data_sent).map_or(one, |(_, end)| end);
        let beat_ends = b.and(data_sent, byte_end);
        let beat_ends = b.named("beat_ends", beat_ends);
        let last = b.registered("beat_last", None, load, s_last);
        let data_ends = b.and(beat_ends, last);
        let not_ended = b.not(beat_ends);
        let keeps = b.and(loaded, not_ended);
        let loaded_next = b.or(load, keeps);
        b.next(loaded, loaded_next);

        let [zero, first, two, three, four, five] = [0, 1, 2, 3, 4, 5].map(|value| b.constant(3, value));
        let after_status = b.mux(result, three, four);
        let after_data = b.mux(data_ends, four, three);
        let mut next = b.mux(at[4], five, zero);
        next = b.mux(at[3], after_data, next);
        next = b.mux(at[2], after_status, next);
        next = b.mux(at[1], two, next);
        next = b.mux(at[0], first, next);
        b.next_if(step, sent, next);
        let ends = b.and(sent, at[5]);
        let stays = b.not(ends);
        let stays = b.and(sending, stays);
        let sending_next = b.or(request.ends, stays);
        b.next(sending, sending_next);

        // Bytes and their CRC, which is sent from its high byte on.
        let sum = b.register("answer_crc", 16, None);
        let mark = b.constant(8, ANSWER.into());
        let status = b.zero_extend(status, 8);
        let (low, high) = (b.slice(sum, 0, 8), b.slice(sum, 8, 8));
        let data = b.slice(beat, 0, 8);
        let mut byte = b.mux(at[4], high, low);
        byte = b.mux(at[3], data, byte);
        byte = b.mux(at[2], status, byte);
        byte = b.mux(at[1], request.sequence, byte);
        byte = b.mux(at[0], mark, byte);
        let byte = b.named("out", byte);
        let sum_next = crc::next(b, "answer_crc", sum, byte);
        let seed = b.constant(16, 0xffff);
        let starts = b.mux(at[0], seed, sum_next);
        let of_crc = b.or(at[4], at[5]);
        let counted = b.not(of_crc);
        let counts = b.and(sent, counted);
        b.next_if(sum, counts, starts);
        b.connect(transmitter, "s_data", byte);
        b.connect(transmitter, "s_valid", offers);
        let line = b.out(transmitter, "line");
        b.output("tx", line, Role::Data);
    }
}
