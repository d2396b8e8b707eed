//! Printing Verilog-2005 of a module and everything inside it.

mod ast;
mod lower;
mod print;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Module, legalize};

/// The Verilog-2005 text of one module, legalised, with `header` lines above its own documentation.
pub fn print(module: &Arc<Module>, header: &[String]) -> String {
    print::print(&lower::lower(&legalize(module)), header)
}

/// A Verilog file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// File name: the module's name with `.v`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The Verilog files of a module and everything inside it, children first.
pub fn files(top: &Arc<Module>, header: &[String]) -> Vec<File> {
    let top = legalize(top);
    top.hierarchy()
        .iter()
        .filter(|m| m.primitive.is_none())
        .map(|m| File { name: format!("{}.v", m.name), text: print::print(&lower::lower(m), header) })
        .collect()
}

/// Models of the vendors' cells in a module, for simulation: each in a file of its own, called after the cell.
pub fn models(top: &Arc<Module>) -> Vec<File> {
    let cells =
        legalize(top).hierarchy().iter().filter_map(|m| m.primitive.as_ref().map(|p| p.cell)).collect();
    let text = |cell: &&str| CELLS.iter().find(|(name, _)| name == cell).expect("a model of every cell").1;
    let cells: BTreeSet<&str> = cells;
    cells.iter().map(|cell| File { name: format!("{cell}.v"), text: text(cell).to_owned() }).collect()
}

/// The models of vendors' cells.
const CELLS: &[(&str, &str)] = &[
    ("CARRY4", include_str!("CARRY4.v")),
    ("CCU2C", include_str!("CCU2C.v")),
    ("DP16KD", DP16KD),
    ("LUT6_2", include_str!("LUT6_2.v")),
];

/// The model of ECP5's block RAM, which yosys has none of.
pub const DP16KD: &str = include_str!("DP16KD.v");

/// Whether `name` is a Verilog identifier and no keyword of Verilog-2005 or SystemVerilog.
pub fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !KEYWORDS.contains(&name)
}

/// Keywords of Verilog-2005 and SystemVerilog that a name could collide with (tools read `.v` as either).
const KEYWORDS: &[&str] = &[
    "accept_on",
    "alias",
    "always",
    "always_comb",
    "always_ff",
    "always_latch",
    "and",
    "assert",
    "assign",
    "assume",
    "automatic",
    "before",
    "begin",
    "bind",
    "bins",
    "bit",
    "break",
    "buf",
    "bufif0",
    "bufif1",
    "byte",
    "case",
    "casex",
    "casez",
    "cell",
    "chandle",
    "checker",
    "class",
    "clocking",
    "cmos",
    "config",
    "const",
    "constraint",
    "context",
    "continue",
    "cover",
    "covergroup",
    "coverpoint",
    "cross",
    "deassign",
    "default",
    "defparam",
    "design",
    "disable",
    "dist",
    "do",
    "edge",
    "else",
    "end",
    "endcase",
    "endclass",
    "endfunction",
    "endgenerate",
    "endmodule",
    "endpackage",
    "endprimitive",
    "endspecify",
    "endtable",
    "endtask",
    "enum",
    "event",
    "eventually",
    "expect",
    "export",
    "extends",
    "extern",
    "final",
    "first_match",
    "for",
    "force",
    "foreach",
    "forever",
    "fork",
    "forkjoin",
    "function",
    "generate",
    "genvar",
    "global",
    "highz0",
    "highz1",
    "if",
    "iff",
    "ifnone",
    "implements",
    "implies",
    "import",
    "incdir",
    "include",
    "initial",
    "inout",
    "input",
    "inside",
    "instance",
    "int",
    "integer",
    "interconnect",
    "interface",
    "intersect",
    "join",
    "large",
    "let",
    "liblist",
    "library",
    "local",
    "localparam",
    "logic",
    "longint",
    "macromodule",
    "matches",
    "medium",
    "modport",
    "module",
    "nand",
    "negedge",
    "nettype",
    "new",
    "nexttime",
    "nmos",
    "nor",
    "not",
    "notif0",
    "notif1",
    "null",
    "or",
    "output",
    "package",
    "packed",
    "parameter",
    "pmos",
    "posedge",
    "primitive",
    "priority",
    "program",
    "property",
    "protected",
    "pull0",
    "pull1",
    "pulldown",
    "pullup",
    "pure",
    "rand",
    "randc",
    "randcase",
    "randsequence",
    "rcmos",
    "real",
    "realtime",
    "ref",
    "reg",
    "release",
    "repeat",
    "restrict",
    "return",
    "rnmos",
    "rpmos",
    "rtran",
    "scalared",
    "sequence",
    "shortint",
    "shortreal",
    "signed",
    "small",
    "soft",
    "solve",
    "specify",
    "specparam",
    "static",
    "string",
    "strong",
    "strong0",
    "strong1",
    "struct",
    "super",
    "supply0",
    "supply1",
    "table",
    "tagged",
    "task",
    "this",
    "throughout",
    "time",
    "timeprecision",
    "timeunit",
    "tran",
    "tri",
    "tri0",
    "tri1",
    "triand",
    "trior",
    "trireg",
    "type",
    "typedef",
    "union",
    "unique",
    "unsigned",
    "until",
    "untyped",
    "use",
    "uwire",
    "var",
    "vectored",
    "virtual",
    "void",
    "wait",
    "wand",
    "weak",
    "weak0",
    "weak1",
    "while",
    "wildcard",
    "wire",
    "with",
    "within",
    "wor",
    "xnor",
    "xor",
];
