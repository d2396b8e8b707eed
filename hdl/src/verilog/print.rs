//! Prints the syntax tree, without further decisions.

use std::fmt::Write as _;

use super::ast::{Assignment, Expression, Item, Module};

pub fn print(module: &Module, header: &[String]) -> String {
    let mut out = String::new();
    for line in header.iter().chain(&module.doc) {
        let _ = writeln!(out, "{}", format!("// {line}").trim_end());
    }
    out.push_str("\n`default_nettype none\n\n");
    let _ = write!(out, "module {}", module.name);
    if !module.parameters.is_empty() {
        let list: Vec<_> = module
            .parameters
            .iter()
            .map(|(name, value)| format!("  parameter {name} = \"{value}\""))
            .collect();
        let _ = write!(out, " #(\n{}\n)", list.join(",\n"));
    }
    let ports: Vec<_> = module
        .ports
        .iter()
        .map(|p| {
            format!("  {} wire {}{}", if p.output { "output" } else { "input " }, range(p.width), p.name)
        })
        .collect();
    let _ = writeln!(out, " (\n{}\n);", ports.join(",\n"));
    for group in &module.groups {
        out.push('\n');
        for (index, item) in group.iter().enumerate() {
            if index > 0 && is_block(item) {
                out.push('\n');
            }
            print_item(&mut out, item);
        }
    }
    out.push_str("\nendmodule\n\n`default_nettype wire\n");
    out
}

/// Whether the item takes several lines, so that a blank line precedes it.
fn is_block(item: &Item) -> bool {
    !matches!(item, Item::Wire { .. } | Item::Reg { .. } | Item::Memory { .. } | Item::Assign(_))
}

fn range(width: u32) -> String {
    if width == 1 { String::new() } else { format!("[{}:0] ", width - 1) }
}

/// Loads a memory from its file. A simulation ends where the file is missing or has another length, because a memory of zeros or of
/// unknown bits computes something.
fn print_image(out: &mut String, parameter: &str, memory: &str, bytes: u64) -> std::fmt::Result {
    writeln!(
        out,
        "  generate
    if ({parameter} != \"\") begin : g_{memory}_init
      initial $readmemh({parameter}, {memory});
`ifndef SYNTHESIS
`ifndef FORMAL
      integer file;
      integer bytes;
      initial begin : p_{memory}_file
        file = $fopen({parameter}, \"r\");
        bytes = 0;
        if (file != 0) begin
          if ($fseek(file, 0, 2) == 0) bytes = $ftell(file);
          $fclose(file);
        end
        if (bytes != {bytes}) begin
          $display(\"FAIL: memory image %0s has %0d bytes where {bytes} are due\", {parameter}, bytes);
          $finish;
        end
      end
`endif
`endif
    end
  endgenerate"
    )
}

fn print_item(out: &mut String, item: &Item) {
    let _ = match item {
        Item::Wire { width, name, value: None } => writeln!(out, "  wire {}{name};", range(*width)),
        Item::Wire { width, name, value: Some(value) } => {
            writeln!(out, "  wire {}{name} = {};", range(*width), top(value))
        }
        Item::Reg { width, name } => writeln!(out, "  reg  {}{name};", range(*width)),
        Item::Memory { width, depth, name, attribute } => {
            let attribute = attribute.map_or_else(String::new, |a| format!("  (* {a} *)\n"));
            writeln!(out, "{attribute}  reg  {}{name} [0:{}];", range(*width), depth - 1)
        }
        Item::Assign(Assignment { to, value }) => writeln!(out, "  assign {to} = {};", top(value)),
        Item::ReadMem { parameter, memory, bytes } => print_image(out, parameter, memory, *bytes),
        Item::Contents { memory, width, words } => {
            let word = |(at, word): (usize, &String)| format!("    {memory}[{at}] = {width}'h{word};\n");
            let words: String = words.iter().enumerate().map(word).collect();
            writeln!(out, "  initial begin : p_{memory}_init\n{words}  end")
        }
        Item::Clocked { name, reset, enable, body } => print_clocked(out, name, reset, enable.as_ref(), body),
        Item::Read { name, enable, to, memory, address } => {
            let statement = format!("{to} <= {memory}[{}];", top(address));
            print_access(out, name, enable, &statement)
        }
        Item::Write { name, enable, memory, address, value } => {
            let statement = format!("{memory}[{}] <= {};", top(address), top(value));
            print_access(out, name, enable, &statement)
        }
        Item::Cell { cell, name, parameters, connections } => {
            let parameters: Vec<_> =
                parameters.iter().map(|(name, value)| format!(".{name}({value})")).collect();
            let pins: Vec<_> = connections.iter().map(|(pin, e)| format!(".{pin}({})", top(e))).collect();
            let lines: Vec<_> = pins.chunks(PARTS).map(|line| format!("    {}", line.join(", "))).collect();
            let parameters = match parameters.as_slice() {
                [] => String::new(),
                list => format!("#({}) ", list.join(", ")),
            };
            writeln!(out, "  {cell} {parameters}{name} (\n{}\n  );", lines.join(",\n"))
        }
        Item::Instance { module, name, parameters, connections } => {
            let _ = write!(out, "  {module} ");
            if !parameters.is_empty() {
                let list: Vec<_> = parameters.iter().map(|(to, from)| format!("    .{to}({from})")).collect();
                let _ = write!(out, "#(\n{}\n  ) ", list.join(",\n"));
            }
            let list: Vec<_> =
                connections.iter().map(|(port, e)| format!("    .{port}({})", top(e))).collect();
            writeln!(out, "{name} (\n{}\n  );", list.join(",\n"))
        }
    };
}

fn print_access(out: &mut String, name: &str, enable: &Expression, statement: &str) -> std::fmt::Result {
    writeln!(
        out,
        "  always @(posedge clk) begin : {name}\n    if ({}) begin\n      {statement}\n    end\n  end",
        top(enable)
    )
}

fn print_clocked(
    out: &mut String,
    name: &str,
    reset: &[Assignment],
    enable: Option<&Expression>,
    body: &[Assignment],
) -> std::fmt::Result {
    let list = |indent: &str, assignments: &[Assignment]| {
        assignments.iter().fold(String::new(), |mut text, a| {
            let _ = writeln!(text, "{indent}{} <= {};", a.to, top(&a.value));
            text
        })
    };
    writeln!(out, "  always @(posedge clk) begin : {name}")?;
    match (reset.is_empty(), enable) {
        (true, None) => out.push_str(&list("    ", body)),
        (true, Some(enable)) => {
            write!(out, "    if ({}) begin\n{}    end\n", top(enable), list("      ", body))?;
        }
        (false, enable) => {
            write!(out, "    if (rst) begin\n{}    end else ", list("      ", reset))?;
            if let Some(enable) = enable {
                write!(out, "if ({}) ", top(enable))?;
            }
            write!(out, "begin\n{}    end\n", list("      ", body))?;
        }
    }
    writeln!(out, "  end")
}

/// The text of a whole expression, without outer parentheses.
fn top(e: &Expression) -> String {
    text(e, false)
}

fn text(e: &Expression, nested: bool) -> String {
    let operand = |e: &Expression| text(e, true);
    let wrapped = match e {
        Expression::Name(name) => return name.clone(),
        Expression::Literal { width: 1, hex, .. } => return format!("1'b{hex}"),
        Expression::Literal { width, decimal: Some(value), .. } => return format!("{width}'d{value}"),
        Expression::Literal { width, hex, .. } => return format!("{width}'h{hex}"),
        Expression::Bit(name, index) => return format!("{name}[{index}]"),
        Expression::Range(name, high, low) => return format!("{name}[{high}:{low}]"),
        Expression::Concat(parts) => return concat(&parts.iter().map(top).collect::<Vec<_>>()),
        Expression::Repeat(1, part) => return top(part),
        Expression::Repeat(times, part) => return format!("{{{times}{{{}}}}}", top(part)),
        Expression::Unary(op, a) => {
            // Two unary operators in a row are invalid or another operator, such as ^~.
            let inner = text(a, true);
            let inner = if matches!(**a, Expression::Unary("~", _)) { format!("({inner})") } else { inner };
            if *op == "~" {
                return format!("~{inner}");
            }
            format!("{op}{inner}")
        }
        Expression::Binary(op, a, b) => {
            // Sums and chains of the same operator are left-associative and need no parentheses.
            let chained =
                matches!(&**a, Expression::Binary(inner, ..) if inner == op && ASSOCIATIVE.contains(op));
            format!("{} {op} {}", text(a, !chained), operand(b))
        }
        Expression::Ternary(c, on, off) => format!("{} ? {} : {}", operand(c), branch(on), branch(off)),
    };
    if nested { format!("({wrapped})") } else { wrapped }
}

/// Operators whose chains need no parentheses.
const ASSOCIATIVE: &[&str] = &["&", "|", "^", "+"];

/// A branch of a conditional; only a nested conditional gets parentheses.
fn branch(e: &Expression) -> String {
    text(e, matches!(e, Expression::Ternary(..)))
}

/// Maximum number of parts of a concatenation on one line.
const PARTS: usize = 8;

fn concat(parts: &[String]) -> String {
    if parts.len() <= PARTS {
        return format!("{{{}}}", parts.join(", "));
    }
    let lines: Vec<String> = parts.chunks(PARTS).map(|line| format!("      {}", line.join(", "))).collect();
    format!("{{\n{}\n    }}", lines.join(",\n"))
}
