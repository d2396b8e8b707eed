//! Diagnostics for the user: a stable code, the place, the fact with its numbers, and a suggested fix.

use std::fmt;

/// The stable code of a kind of error, with its exit code.
///
/// [`CODES`] lists all of them; the guide has a paragraph for each.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The code itself, for example `lanes-do-not-divide`.
    pub word: &'static str,
    /// Exit code of a command that fails with it: 2 for bad input, 3 for an external tool, 70 for a fault of stoxnor itself.
    pub exit: u8,
    /// The meaning in one sentence.
    pub about: &'static str,
}

macro_rules! codes {
    ($($name:ident = $word:literal, $exit:literal, $about:literal;)*) => {
        $(#[doc = $about] pub static $name: Code = Code { word: $word, exit: $exit, about: $about };)*
        /// Every code that stoxnor can print, in the order of the guide.
        pub static CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    MODEL_UNREADABLE = "model-unreadable", 2, "The model file cannot be opened or is not an ONNX file.";
    MODEL_INVALID = "model-invalid", 2, "The model file is ONNX, but its graph is broken: a missing tensor, a name used twice, a cycle, a wrong size.";
    MODEL_TOO_LARGE = "model-too-large", 2, "The model exceeds a documented limit.";
    OPERATOR_UNSUPPORTED = "operator-unsupported", 2, "An operator, or a form of it, that has no translation yet.";
    WEIGHTS_UNSUPPORTED = "weights-unsupported", 2, "The weights of a layer are not of a kind that the hardware holds.";
    ACTIVATION_UNSUPPORTED = "activation-unsupported", 2, "An activation is not of a kind that the hardware computes.";
    INPUT_NOT_QUANTISED = "input-not-quantised", 2, "The graph feeds real numbers to a layer without quantising them first.";
    THRESHOLD_INEXACT = "threshold-inexact", 2, "No integer threshold reproduces the graph's activation exactly.";
    JOIN_SCALES = "join-scales", 2, "Branches of different scales meet in a sum or a concatenation that no integers compute exactly.";
    SUM_TOO_WIDE = "sum-too-wide", 2, "A layer's sums do not fit 31 bits.";
    LANES_DO_NOT_DIVIDE = "lanes-do-not-divide", 2, "A folding asks for lanes that do not divide the layer.";
    CONFIG_UNREADABLE = "config-unreadable", 2, "The configuration file cannot be opened or is not TOML of the right types.";
    CONFIG_UNKNOWN_KEY = "config-unknown-key", 2, "The configuration has a key that does not exist.";
    CONFIG_VALUE = "config-value", 2, "A configuration value or an option is outside its legal range.";
    INPUT_UNREADABLE = "input-unreadable", 2, "An input file cannot be opened, or is neither a npy array of a known type nor an IDX file of bytes.";
    INPUT_SHAPE = "input-shape", 2, "An input array does not fit the model's input, or labels do not fit it.";
    INPUT_VALUE = "input-value", 2, "An input value is one that the model's input quantiser does not turn into an integer of the input's type, for example not a number.";
    OUTPUT_EXISTS = "output-exists", 2, "The output directory is there already.";
    OUTPUT_UNWRITABLE = "output-unwritable", 2, "A file or directory cannot be written.";
    PART_TOO_SMALL = "part-too-small", 2, "The network does not fit the part that synth was asked for.";
    TOOL_MISSING = "tool-missing", 3, "An external tool is not installed.";
    TOOL_FAILED = "tool-failed", 3, "An external tool ended with an error.";
    BOARD_SILENT = "board-silent", 3, "A board gives no right answer, or its port cannot be used.";
    SIMULATION_STUCK = "simulation-stuck", 3, "A simulation reached its cycle limit before all output beats had come.";
    INTERNAL_ERROR = "internal-error", 70, "A fault of stoxnor itself, in no way of the user.";
}

/// Suggested fix for a broken model file.
pub const SAVE_AGAIN: &str = "check the model with onnx.checker.check_model and export it again";

/// One error, for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind of error.
    pub code: &'static Code,
    /// The place: a file, a node with its operator, or a configuration key.
    pub at: Option<String>,
    /// The fact, with its numbers.
    pub message: String,
    /// The suggested fix.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error of kind `code`, described by `message`.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self { code, at: None, message: message.into(), help: None }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.at = Some(place.into());
        self
    }

    /// Adds the suggested fix.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message with a sign in the place of every number, and of every name with digits or slashes.
    fn form(&self) -> String {
        let named = |word: &str| word.contains(|c: char| c.is_ascii_digit() || c == '/');
        let words = self.message.split(' ').map(|word| if named(word) { "#" } else { word });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// One or more errors: the error type of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// `Ok` if `list` is empty, else an error with all of it.
    pub fn collected(list: Vec<Diagnostic>) -> Result<()> {
        if list.is_empty() { Ok(()) } else { Err(Self(list)) }
    }

    /// The errors, at least one.
    pub fn list(&self) -> &[Diagnostic] {
        &self.0
    }

    /// Adds the place to errors without one.
    #[must_use]
    pub fn placed(mut self, place: &str) -> Self {
        for one in self.0.iter_mut().filter(|d| d.at.is_none()) {
            one.at = Some(place.to_owned());
        }
        self
    }

    /// The errors grouped by kind, in the order of the first of each kind. Errors are of one kind if they have the same code and help,
    /// and messages that differ only in numbers and in names with digits or slashes.
    pub fn kinds(&self) -> Vec<Vec<&Diagnostic>> {
        let mut kinds: Vec<(String, Vec<&Diagnostic>)> = Vec::new();
        for one in &self.0 {
            let form = one.form();
            let known = kinds
                .iter_mut()
                .find(|(f, group)| *f == form && group[0].code == one.code && group[0].help == one.help);
            match known {
                Some((_, group)) => group.push(one),
                None => kinds.push((form, vec![one])),
            }
        }
        kinds.into_iter().map(|(_, group)| group).collect()
    }

    /// Exit code of a command that fails with these errors: that of the first one.
    pub fn exit(&self) -> u8 {
        self.0[0].code.exit
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "[{}] {d}", d.code.word)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A result whose error is a list of [`Diagnostic`]s.
pub type Result<T> = std::result::Result<T, Diagnostics>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_kind_are_one_group() {
        let raw = |n: u32, node: &str| {
            let message = format!("it takes {n} real numbers of /l/{node}/Conv");
            Diagnostic::new(&INPUT_NOT_QUANTISED, message).at(node).help("quantise it")
        };
        let other = Diagnostic::new(&OPERATOR_UNSUPPORTED, "Det has no translation");
        let list = vec![
            raw(784, "a"),
            other.clone(),
            raw(16, "b"),
            Diagnostic { message: "Hardmax has no translation".into(), ..other.clone() },
            raw(8, "c").help("another way out"),
            other.clone(),
            Diagnostic { code: &WEIGHTS_UNSUPPORTED, ..raw(784, "a") },
        ];
        let found = Diagnostics(list.clone());
        let kinds = found.kinds();
        let sizes: Vec<usize> = kinds.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 1, 1, 1]);
        assert_eq!(kinds[0], [&list[0], &list[2]]);
        assert_eq!(kinds[1], [&list[1], &list[5]]);
    }
}
