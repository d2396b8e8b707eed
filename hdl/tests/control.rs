//! Control does not depend on data: what the check finds on every way from a data input into the control cone.

use std::sync::Arc;

use stoxnor_hdl::check::{Rule, check};
use stoxnor_hdl::{Bits, Builder, Image, Module, Net, Role};

/// A builder with two 4-bit data inputs, two control bits and everything read, so that only what a test adds can be wrong.
struct Bed {
    b: Builder,
    x: Net,
    c: Net,
    d: Net,
}

fn bed() -> Bed {
    let mut b = Builder::new("bed");
    let x = b.input("x", 4, Role::Data);
    let y = b.input("y", 4, Role::Data);
    let c = b.input("c", 1, Role::Control);
    let d = b.input("d", 1, Role::Control);
    let both = b.xor(x, y);
    b.output("both", both, Role::Data);
    let either = b.or(c, d);
    b.output("either", either, Role::Control);
    Bed { b, x, c, d }
}

fn rules(module: &Arc<Module>) -> Vec<Rule> {
    check(module).iter().map(|i| i.rule).collect()
}

/// Whether the module that `make` completes is refused for data in its control cone; nothing else may be wrong.
fn tainted(make: impl FnOnce(&mut Bed)) -> bool {
    let mut t = bed();
    make(&mut t);
    let found = rules(&t.b.finish());
    assert!(found.iter().all(|r| *r == Rule::DataInControl), "{found:?}");
    !found.is_empty()
}

#[test]
fn data_in_control_outputs_and_enables() {
    for (role, found) in [(Role::Control, true), (Role::Data, false)] {
        let any = |t: &mut Bed| {
            let any = t.b.reduce_or(t.x);
            t.b.output("any", any, role);
        };
        assert_eq!(tainted(any), found, "an output");
        let held = |t: &mut Bed| {
            let any = t.b.reduce_or(t.x);
            let q = t.b.registered("held", Some(0), t.c, any);
            let q = t.b.registered("held_longer", Some(0), t.c, q);
            t.b.output("any", q, role);
        };
        assert_eq!(tainted(held), found, "through registers");
        let kept = |t: &mut Bed| {
            let words = t.b.memory("words", 4, 2, None);
            t.b.write(words, t.c, t.d, t.x);
            let data = t.b.read(words, "data", t.c, t.d);
            t.b.output("data", data, role);
        };
        assert_eq!(tainted(kept), found, "through a memory");
    }
    for data in [false, true] {
        let enable = |t: &mut Bed| {
            let any = if data { t.b.reduce_or(t.x) } else { t.b.and(t.c, t.d) };
            let q = t.b.registered("q", None, any, t.x);
            t.b.output("q", q, Role::Data);
        };
        assert_eq!(tainted(enable), data, "the enable of a register");
        for place in 0..4 {
            let access = |t: &mut Bed| {
                let any = if data { t.b.reduce_or(t.x) } else { t.b.and(t.c, t.d) };
                let [a, b, c, d] = std::array::from_fn(|i| if i == place { any } else { t.c });
                let words = t.b.memory("words", 4, 2, None);
                t.b.write(words, a, b, t.x);
                let read = t.b.read(words, "read", c, d);
                t.b.output("read", read, Role::Data);
            };
            assert_eq!(tainted(access), data, "address or enable {place} of a memory");
        }
    }
    // A memory that only control is written to stays control; one with an image never is.
    let control_memory = |t: &mut Bed| {
        let words = t.b.memory("words", 1, 2, None);
        t.b.write(words, t.c, t.d, t.d);
        let q = t.b.read(words, "q", t.c, t.d);
        t.b.output("q", q, Role::Control);
    };
    assert!(!tainted(control_memory));
    let rom = |t: &mut Bed| {
        let image = Image { file: "a.mem".to_owned(), words: vec![Bits::zero(1); 2] };
        let file = t.b.parameter("FILE", Some(Arc::new(image)));
        let words = t.b.memory("words", 1, 2, Some(file));
        let q = t.b.read(words, "q", t.c, t.d);
        t.b.output("q", q, Role::Control);
    };
    assert!(tainted(rom));
}

#[test]
fn data_in_control_through_instances() {
    let carrier = || {
        let mut b = Builder::new("carrier");
        let data = b.input("data", 1, Role::Data);
        let control = b.input("control", 1, Role::Control);
        b.output("data_out", data, Role::Data);
        b.output("control_out", control, Role::Control);
        b.finish()
    };
    let place = |t: &mut Bed, data: Net, control: Net, shown: &str| {
        let unit = t.b.instance("u_carrier", &carrier());
        t.b.connect(unit, "data", data);
        t.b.connect(unit, "control", control);
        let out = t.b.out(unit, shown);
        t.b.output("shown", out, Role::Control);
        let other = t.b.out(unit, if shown == "data_out" { "control_out" } else { "data_out" });
        t.b.output("other", other, Role::Data);
    };
    assert!(!tainted(|t| place(t, t.c, t.d, "control_out")), "control through control");
    assert!(
        tainted(|t| place(t, t.c, t.d, "data_out")),
        "an output of role data, whatever is connected to it"
    );
    assert!(tainted(|t| {
        let any = t.b.reduce_or(t.x);
        place(t, t.c, any, "control_out");
    }));
    assert!(!tainted(|t| {
        let any = t.b.reduce_or(t.x);
        place(t, any, t.c, "control_out");
    }));
}
