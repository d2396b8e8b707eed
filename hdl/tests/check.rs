//! Every rule of the checks: a module that breaks it, found at the builder call to blame, and a near miss that doesn't.

use std::sync::Arc;

use stoxnor_hdl::check::{Rule, check};
use stoxnor_hdl::{Bits, Builder, Image, Module, Net, Role};

/// A builder with two 4-bit data inputs, two control bits and everything read, so that only what a test adds can be wrong.
struct Bed {
    b: Builder,
    x: Net,
    y: Net,
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
    Bed { b, x, y, c, d }
}

fn rules(module: &Arc<Module>) -> Vec<Rule> {
    check(module).iter().map(|i| i.rule).collect()
}

/// The one issue of a module: its rule, and the line of this file that it names.
fn only(b: Builder) -> (Rule, u32) {
    let issues = check(&b.finish());
    let [issue] = &issues[..] else { panic!("not one issue: {issues:#?}") };
    let at = issue.at.unwrap_or_else(|| panic!("no place: {issue}"));
    assert!(at.file().ends_with("hdl/tests/check.rs"), "{issue}");
    (issue.rule, at.line())
}

/// Demands one issue of that rule, made by the call in `make`, which gives the line it stands on.
fn breaks(rule: Rule, make: impl FnOnce(&mut Bed) -> u32) {
    let mut bed = bed();
    let line = make(&mut bed);
    assert_eq!(only(bed.b), (rule, line));
}

fn holds(make: impl FnOnce(&mut Bed)) {
    let mut bed = bed();
    make(&mut bed);
    let issues = check(&bed.b.finish());
    assert!(issues.is_empty(), "{issues:#?}");
}

#[test]
fn the_bed_itself_is_right() {
    holds(|_| {});
}

#[test]
fn width_of_operands_and_results() {
    breaks(Rule::Width, |t| {
        let wide = t.b.zero_extend(t.x, 5);
        let sum = t.b.add(wide, t.y);
        t.b.output("sum", sum, Role::Data);
        line!() - 2
    });
    holds(|t| {
        let wide = t.b.zero_extend(t.x, 5);
        let wide_y = t.b.zero_extend(t.y, 5);
        let sum = t.b.add(wide, wide_y);
        t.b.output("sum", sum, Role::Data);
    });
    for (low, legal) in [(1, true), (2, false)] {
        let mut t = bed();
        let part = t.b.slice(t.x, low, 3);
        t.b.output("part", part, Role::Data);
        assert_eq!(check(&t.b.finish()).is_empty(), legal, "slice of 3 from {low}");
    }
    breaks(Rule::Width, |t| {
        let chosen = t.b.mux(t.y, t.x, t.x);
        t.b.output("chosen", chosen, Role::Data);
        line!() - 2
    });
    breaks(Rule::Width, |t| {
        let same = t.b.eq(t.x, t.c);
        t.b.output("same", same, Role::Data);
        line!() - 2
    });
    breaks(Rule::Width, |t| {
        let narrow = t.b.sign_extend(t.x, 3);
        t.b.output("narrow", narrow, Role::Data);
        line!() - 2
    });
}

#[test]
fn width_zero() {
    breaks(Rule::Width, |t| {
        let nothing = t.b.concat(&[]);
        t.b.output("nothing", nothing, Role::Data);
        line!() - 2
    });
    breaks(Rule::Width, |t| {
        let words = t.b.memory("words", 4, 0, None);
        t.b.write(words, t.c, t.d, t.x);
        let data = t.b.read(words, "data", t.c, t.d);
        t.b.output("data", data, Role::Data);
        line!() - 4
    });
}

#[test]
fn width_of_state() {
    breaks(Rule::Width, |t| {
        let wide = t.b.zero_extend(t.x, 5);
        let q = t.b.register("q", 4, None);
        t.b.next(q, wide);
        t.b.output("q", q, Role::Data);
        line!() - 4
    });
    // 5 words need 3 bits of address, 4 need 2.
    for (depth, bits, legal) in [(4, 2, true), (5, 2, false), (5, 3, true), (2, 2, false), (1, 1, true)] {
        let mut b = Builder::new("memory");
        let at = b.input("at", bits, Role::Control);
        let enable = b.input("enable", 1, Role::Control);
        let data = b.input("data", 4, Role::Data);
        let words = b.memory("words", 4, depth, None);
        b.write(words, at, enable, data);
        let read = b.read(words, "read", at, enable);
        b.output("read", read, Role::Data);
        let found = rules(&b.finish());
        // Once for the read, once for the write.
        assert_eq!(found, vec![Rule::Width; if legal { 0 } else { 2 }], "depth {depth}, {bits} bits");
    }
    for (enable_bits, data_bits) in [(2, 4), (1, 3)] {
        let mut b = Builder::new("memory");
        let at = b.input("at", 2, Role::Control);
        let enable = b.input("enable", enable_bits, Role::Control);
        let data = b.input("data", data_bits, Role::Data);
        let on = b.input("on", 1, Role::Control);
        let words = b.memory("words", 4, 4, None);
        b.write(words, at, enable, data);
        let read = b.read(words, "read", at, on);
        b.output("read", read, Role::Data);
        assert_eq!(rules(&b.finish()), [Rule::Width]);
    }
    for (words, width, legal) in [(4, 3, true), (3, 3, false), (4, 2, false)] {
        let mut b = Builder::new("rom");
        let at = b.input("at", 2, Role::Control);
        let on = b.input("on", 1, Role::Control);
        let image = Image { file: "a.mem".to_owned(), words: vec![Bits::zero(width); words] };
        let file = b.parameter("FILE", Some(Arc::new(image)));
        let memory = b.memory("words", 3, 4, Some(file));
        let data = b.read(memory, "data", at, on);
        b.output("data", data, Role::Data);
        let found = rules(&b.finish());
        assert_eq!(found, vec![Rule::Width; usize::from(!legal)], "{words} words of {width}");
    }
}

/// `q <= d` through a wire, with a combinational copy of `a`: one input that reaches an output directly, one that doesn't.
fn child() -> Arc<Module> {
    let mut b = Builder::new("child");
    let a = b.input("a", 1, Role::Control);
    let d = b.input("d", 1, Role::Control);
    let inverse = b.not(a);
    b.output("inverse", inverse, Role::Control);
    let q = b.register("d", 1, Some(0));
    b.next(q, d);
    b.output("q", q, Role::Control);
    b.finish()
}

#[test]
fn width_of_connections() {
    for (width, found) in [(1, vec![]), (2, vec![Rule::Width])] {
        let mut b = Builder::new("parent");
        let a = b.input("a", width, Role::Control);
        let d = b.input("d", 1, Role::Control);
        let unit = b.instance("u_child", &child());
        b.connect(unit, "a", a);
        b.connect(unit, "d", d);
        let (inverse, q) = (b.out(unit, "inverse"), b.out(unit, "q"));
        b.output("inverse", inverse, Role::Control);
        b.output("q", q, Role::Control);
        assert_eq!(rules(&b.finish()), found);
    }
}

#[test]
fn undriven() {
    breaks(Rule::Undriven, |t| {
        let wire = t.b.wire("wire_of_none", 4);
        t.b.output("shown", wire, Role::Data);
        line!() - 2
    });
    holds(|t| {
        let wire = t.b.wire("wire_of_x", 4);
        t.b.output("shown", wire, Role::Data);
        t.b.drive(wire, t.x);
    });
    breaks(Rule::Undriven, |t| {
        let q = t.b.register("q", 4, Some(3));
        t.b.output("q", q, Role::Data);
        line!() - 2
    });
    breaks(Rule::Undriven, |t| {
        let unit = t.b.instance("u_child", &child());
        t.b.connect(unit, "d", t.d);
        for port in ["inverse", "q"] {
            let net = t.b.out(unit, port);
            t.b.output(port, net, Role::Control);
        }
        line!() - 6
    });
    breaks(Rule::Undriven, |t| {
        let words = t.b.memory("words", 4, 2, None);
        let data = t.b.read(words, "data", t.c, t.d);
        t.b.output("data", data, Role::Data);
        line!() - 3
    });
    // A ROM whose image nobody names.
    let rom = stoxnor_hdl::block::rom(2, 4);
    breaks(Rule::Undriven, |t| {
        let unit = t.b.instance("u_rom", &rom);
        t.b.connect(unit, "address", t.c);
        t.b.connect(unit, "enable", t.d);
        let data = t.b.out(unit, "data");
        t.b.output("data", data, Role::Data);
        line!() - 5
    });
}

#[test]
fn driven_twice() {
    breaks(Rule::DrivenTwice, |t| {
        let wire = t.b.wire("busy", 4);
        t.b.output("shown", wire, Role::Data);
        t.b.drive(wire, t.x);
        t.b.drive(wire, t.y);
        line!() - 1
    });
    breaks(Rule::DrivenTwice, |t| {
        let q = t.b.register("q", 4, None);
        t.b.output("q", q, Role::Data);
        t.b.next(q, t.x);
        t.b.next_if(q, t.c, t.y);
        line!() - 1
    });
    breaks(Rule::DrivenTwice, |t| {
        t.b.next(t.x, t.y);
        line!() - 1
    });
    breaks(Rule::DrivenTwice, |t| {
        let unit = t.b.instance("u_child", &child());
        t.b.connect(unit, "d", t.d);
        t.b.connect(unit, "a", t.c);
        t.b.connect(unit, "a", t.d);
        for port in ["inverse", "q"] {
            let net = t.b.out(unit, port);
            t.b.output(port, net, Role::Control);
        }
        line!() - 5
    });
    let rom = stoxnor_hdl::block::rom(2, 4);
    for (bindings, found) in [(1, vec![]), (2, vec![Rule::DrivenTwice])] {
        let mut t = bed();
        let image = Image { file: "a.mem".to_owned(), words: vec![Bits::zero(4); 2] };
        let file = t.b.parameter("FILE", Some(Arc::new(image)));
        let unit = t.b.instance("u_rom", &rom);
        (0..bindings).for_each(|_| t.b.bind(unit, "INIT_FILE", file));
        t.b.connect(unit, "address", t.c);
        t.b.connect(unit, "enable", t.d);
        let data = t.b.out(unit, "data");
        t.b.output("data", data, Role::Data);
        assert_eq!(rules(&t.b.finish()), found);
    }
}

#[test]
fn loops() {
    let looped = |through_register: bool| {
        let mut t = bed();
        let wire = t.b.wire("round", 1);
        let turned = t.b.xor(wire, t.c);
        let back = if through_register { t.b.registered("back", Some(0), t.d, turned) } else { turned };
        t.b.drive(wire, back);
        t.b.output("round", wire, Role::Control);
        rules(&t.b.finish())
    };
    assert_eq!(looped(false), [Rule::Loop]);
    assert_eq!(looped(true), []);
    breaks(Rule::Loop, |t| {
        let wire = t.b.wire("itself", 4);
        t.b.drive(wire, wire);
        t.b.output("itself", wire, Role::Data);
        line!() - 3
    });
}

/// A path from an output of an instance back to an input: a loop only where the child passes it through, at any depth.
#[test]
fn loops_through_instances() {
    let mut b = Builder::new("wrapper");
    let a = b.input("a", 1, Role::Control);
    let d = b.input("d", 1, Role::Control);
    let unit = b.instance("u_child", &child());
    b.connect(unit, "a", a);
    b.connect(unit, "d", d);
    let (inverse, q) = (b.out(unit, "inverse"), b.out(unit, "q"));
    b.output("inverse", inverse, Role::Control);
    b.output("q", q, Role::Control);
    let wrapper = b.finish();
    for module in [child(), wrapper] {
        for (out, into, found) in [
            ("inverse", "a", vec![Rule::Loop]),
            ("inverse", "d", vec![]),
            ("q", "a", vec![]),
            ("q", "d", vec![]),
        ] {
            let mut t = bed();
            let unit = t.b.instance("u_unit", &module);
            let back = t.b.out(unit, out);
            t.b.connect(unit, into, back);
            t.b.connect(unit, if into == "a" { "d" } else { "a" }, t.c);
            let other = t.b.out(unit, if out == "q" { "inverse" } else { "q" });
            t.b.output("other", other, Role::Control);
            t.b.output("back", back, Role::Control);
            assert_eq!(rules(&t.b.finish()), found, "{}: {out} to {into}", module.name);
        }
    }
}

#[test]
fn unused() {
    breaks(Rule::Unused, |t| {
        t.b.input("idle", 3, Role::Data);
        line!() - 1
    });
    breaks(Rule::Unused, |t| {
        let part = t.b.input("part", 3, Role::Data);
        let low = t.b.slice(part, 0, 2);
        t.b.output("low", low, Role::Data);
        line!() - 3
    });
    holds(|t| {
        let part = t.b.input("part", 3, Role::Data);
        let (low, high) = (t.b.slice(part, 0, 2), t.b.slice(part, 2, 1));
        t.b.output("low", low, Role::Data);
        t.b.output("high", high, Role::Data);
    });
    // A register that nothing but itself reads.
    breaks(Rule::Unused, |t| {
        let q = t.b.register("q", 1, Some(0));
        t.b.next(q, q);
        line!() - 2
    });
    breaks(Rule::Unused, |t| {
        let image = Image { file: "a.mem".to_owned(), words: vec![Bits::zero(4); 2] };
        t.b.parameter("FILE", Some(Arc::new(image)));
        line!() - 1
    });
    breaks(Rule::Unused, |t| {
        let words = t.b.memory("words", 4, 2, None);
        t.b.write(words, t.c, t.d, t.x);
        line!() - 2
    });
    breaks(Rule::Unused, |t| {
        let unit = t.b.instance("u_child", &child());
        t.b.connect(unit, "a", t.c);
        t.b.connect(unit, "d", t.d);
        let q = t.b.out(unit, "q");
        t.b.output("q", q, Role::Control);
        line!() - 5
    });
    // A constant may go unread: blocks make them freely.
    holds(|t| {
        t.b.constant(4, 3);
    });
}

#[test]
fn names() {
    for bad in ["reg", "logic", "begin", "2nd", "a b", "", "a$", "clk", "rst", "p_x", "g_x"] {
        breaks(Rule::Name, |t| {
            let named = t.b.input(bad, 1, Role::Data);
            t.b.output("shown", named, Role::Data);
            line!() - 2
        });
    }
    for good in ["regs", "x_clk", "Begin", "_2nd", "px"] {
        holds(|t| {
            let named = t.b.input(good, 1, Role::Data);
            t.b.output("shown", named, Role::Data);
        });
    }
    let mut b = Builder::new("module");
    let a = b.input("a", 1, Role::Data);
    b.output("b", a, Role::Data);
    assert_eq!(rules(&b.finish()), [Rule::Name], "the module's own name");
}

#[test]
fn one_name_for_two_things() {
    breaks(Rule::Name, |t| {
        let same = t.b.not(t.x);
        let same = t.b.named("x", same);
        t.b.output("shown", same, Role::Data);
        line!() - 3
    });
    // An output port may have the name of what it shows, and of nothing else.
    holds(|t| {
        let shown = t.b.not(t.x);
        let shown = t.b.named("shown", shown);
        t.b.output("shown", shown, Role::Data);
    });
    breaks(Rule::Name, |t| {
        let shown = t.b.not(t.x);
        let shown = t.b.named("shown", shown);
        t.b.output("other", shown, Role::Data);
        t.b.output("shown", t.y, Role::Data);
        line!() - 4
    });
    breaks(Rule::Name, |t| {
        t.b.output("either", t.c, Role::Control);
        line!() - 1
    });
    breaks(Rule::Name, |t| {
        let words = t.b.memory("x", 4, 2, None);
        t.b.write(words, t.c, t.d, t.x);
        let data = t.b.read(words, "data", t.c, t.d);
        t.b.output("data", data, Role::Data);
        line!() - 4
    });
    breaks(Rule::Name, |t| {
        let unit = t.b.instance("either", &child());
        t.b.connect(unit, "a", t.c);
        t.b.connect(unit, "d", t.d);
        for port in ["inverse", "q"] {
            let net = t.b.out(unit, port);
            t.b.output(port, net, Role::Control);
        }
        line!() - 7
    });
}

#[test]
fn two_modules_of_one_name() {
    let module = |inverted: bool| {
        let mut b = Builder::new("twin");
        let a = b.input("a", 1, Role::Data);
        let z = if inverted { b.not(a) } else { a };
        b.output("z", z, Role::Data);
        b.finish()
    };
    for (second, found) in [(false, vec![]), (true, vec![Rule::Name])] {
        let mut t = bed();
        for (name, inverted) in [("u_first", false), ("u_second", second)] {
            let unit = t.b.instance(name, &module(inverted));
            t.b.connect(unit, "a", t.c);
            let z = t.b.out(unit, "z");
            t.b.output(format!("{name}_z"), z, Role::Data);
        }
        assert_eq!(rules(&t.b.finish()), found);
    }
}

#[test]
fn unnamed() {
    breaks(Rule::Unnamed, |t| {
        let sum = t.b.add(t.x, t.y);
        let twice = t.b.concat(&[sum, sum]);
        t.b.output("twice", twice, Role::Data);
        line!() - 3
    });
    breaks(Rule::Unnamed, |t| {
        let sum = t.b.add(t.x, t.y);
        let (low, high) = (t.b.slice(sum, 0, 2), t.b.slice(sum, 2, 2));
        let swapped = t.b.concat(&[high, low]);
        t.b.output("swapped", swapped, Role::Data);
        line!() - 4
    });
    breaks(Rule::Unnamed, |t| {
        let sum = t.b.add(t.x, t.y);
        let wide = t.b.sign_extend(sum, 6);
        t.b.output("wide", wide, Role::Data);
        line!() - 3
    });
    holds(|t| {
        let sum = t.b.add(t.x, t.y);
        let sum = t.b.named("sum", sum);
        let twice = t.b.concat(&[sum, sum]);
        t.b.output("twice", twice, Role::Data);
        // Constants and slices need no name.
        let part = t.b.slice(t.x, 1, 2);
        let one = t.b.constant(2, 1);
        let parts = t.b.concat(&[part, part, one, one]);
        t.b.output("parts", parts, Role::Data);
    });
}

#[test]
fn issues_tell_module_rule_and_place() {
    let mut b = Builder::new("told");
    b.input("idle", 3, Role::Data);
    let text = check(&b.finish())[0].to_string();
    assert!(text.starts_with("told: Unused: nothing reads idle (made at "), "{text}");
    assert!(text.contains("hdl/tests/check.rs:"), "{text}");
}

/// What is printed in place of a module must have its ports, and keep the rules itself.
#[test]
fn a_realised_module_has_the_ports_of_its_model() {
    let realised = |width: u32, uses: bool| {
        let mut b = Builder::new("model");
        let x = b.input("x", 2, Role::Data);
        b.output("y", x, Role::Data);
        b.finish_realised(|_| {
            let mut b = Builder::new("model");
            let x = b.input("x", width, Role::Data);
            let y = if uses { b.not(x) } else { b.constant(width, 0) };
            let y = b.named("inner", y);
            b.output("y", y, Role::Data);
            b.finish()
        })
    };
    assert_eq!(rules(&realised(2, true)), []);
    assert_eq!(rules(&realised(3, true)), [Rule::Width]);
    assert_eq!(rules(&realised(2, false)), [Rule::Unused]);
}
