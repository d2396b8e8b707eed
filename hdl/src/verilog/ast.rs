//! The syntax tree of the subset of Verilog-2005 that is printed.

/// An expression. Every operand has the operator's width, so no operand is extended by context.
#[derive(Debug, Clone)]
pub enum Expression {
    Name(String),
    Literal {
        width: u32,
        hex: String,
        decimal: Option<u64>,
    },
    Unary(&'static str, Box<Expression>),
    Binary(&'static str, Box<Expression>, Box<Expression>),
    Ternary(Box<Expression>, Box<Expression>, Box<Expression>),
    Bit(String, u32),
    Range(String, u32, u32),
    /// Most significant part first, as Verilog writes it.
    Concat(Vec<Expression>),
    Repeat(u32, Box<Expression>),
}

#[derive(Debug)]
pub struct Port {
    pub output: bool,
    pub width: u32,
    pub name: String,
}

#[derive(Debug)]
pub struct Assignment {
    pub to: String,
    pub value: Expression,
}

#[derive(Debug)]
pub enum Item {
    /// `wire [w-1:0] name;`, with `= value` if there is a value.
    Wire {
        width: u32,
        name: String,
        value: Option<Expression>,
    },
    Reg {
        width: u32,
        name: String,
    },
    Memory {
        width: u32,
        depth: u32,
        name: String,
        /// Attributes: what synthesis should know.
        attribute: Option<&'static str>,
    },
    Assign(Assignment),
    /// `initial $readmemh(parameter, memory);`, and the end of a simulation whose file has not so many bytes.
    ReadMem {
        parameter: String,
        memory: String,
        bytes: u64,
    },
    /// The initial words of a memory, in hexadecimal, address 0 first.
    Contents {
        memory: String,
        width: u32,
        words: Vec<String>,
    },
    /// A clocked process: the resets first, then the assignments where `enable` is 1.
    Clocked {
        name: String,
        reset: Vec<Assignment>,
        enable: Option<Expression>,
        body: Vec<Assignment>,
    },
    /// A registered read.
    Read {
        name: String,
        enable: Expression,
        to: String,
        memory: String,
        address: Expression,
    },
    /// A write.
    Write {
        name: String,
        enable: Expression,
        memory: String,
        address: Expression,
        value: Expression,
    },
    /// A vendor's cell, with parameters of the text of their values.
    Cell {
        cell: &'static str,
        name: String,
        parameters: Vec<(String, String)>,
        connections: Vec<(String, Expression)>,
    },
    Instance {
        module: String,
        name: String,
        parameters: Vec<(String, String)>,
        connections: Vec<(String, Expression)>,
    },
}

#[derive(Debug)]
pub struct Module {
    pub name: String,
    pub doc: Vec<String>,
    /// Name and default of each string parameter.
    pub parameters: Vec<(String, String)>,
    pub ports: Vec<Port>,
    /// Groups of items, with a blank line between groups.
    pub groups: Vec<Vec<Item>>,
}
