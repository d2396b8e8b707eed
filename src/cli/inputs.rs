//! The files of a model's inputs, as `--input` names them.

use std::path::{Path, PathBuf};

use crate::data::arrays::Frames;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Diagnostics, OPERATOR_UNSUPPORTED, Result};
use crate::model::{InputInfo, Model};

/// Reads the frames of all inputs: `FILE` for a model with one input, `NAME=FILE` for each input of a model with several.
///
/// # Errors
/// If an input has no file or two, a name is not an input's, or a file cannot be read or does not fit.
pub fn read(model: &Model, given: &[PathBuf]) -> Result<Frames> {
    model.read_inputs(&files(&model.inputs(), given, Path::exists)?)
}

/// The file of each input. A value that is the name of a file is that file where there is one input, even if `=` is in it.
fn files<'a>(
    inputs: &[InputInfo],
    given: &'a [PathBuf],
    is_file: fn(&Path) -> bool,
) -> Result<Vec<&'a Path>> {
    if let ([input], [only]) = (inputs, given) {
        let named = of(input, only).filter(|_| !is_file(only));
        return Ok(vec![named.unwrap_or(only)]);
    }
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let refuse = |message: String| -> Diagnostics {
        let form = match names[..] {
            [_] => "give one file: --input X.npy".to_owned(),
            _ => {
                let each: Vec<String> = names.iter().map(|name| format!("--input {name}=FILE.npy")).collect();
                format!("give a file for each input: {}", each.join(" "))
            }
        };
        Diagnostic::new(&CONFIG_VALUE, message).at("--input").help(form).into()
    };
    let mut found: Vec<Option<&Path>> = vec![None; inputs.len()];
    for value in given {
        // If one name and `=` begin another name, the longer one is meant.
        let named = inputs.iter().enumerate().filter_map(|(k, input)| Some((k, of(input, value)?)));
        let Some((k, file)) = named.max_by_key(|(k, _)| names[*k].len()) else {
            let message = format!("{} names none of the inputs {}", value.display(), names.join(", "));
            return Err(refuse(message));
        };
        if found[k].replace(file).is_some() {
            return Err(refuse(format!("two files for the input {}", names[k])));
        }
    }
    let missing: Vec<&str> =
        names.iter().zip(&found).filter(|(_, file)| file.is_none()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        return Err(refuse(format!("no file for the input {}", missing.join(", "))));
    }
    Ok(found.into_iter().flatten().collect())
}

/// The file in `NAME=FILE`, where NAME is that of `input`.
fn of<'a>(input: &InputInfo, value: &'a Path) -> Option<&'a Path> {
    value.to_str()?.strip_prefix(input.name.as_str())?.strip_prefix('=').map(Path::new)
}

/// Refuses a model with several inputs.
///
/// # Errors
/// If it has several.
pub fn only_one(model: &Model, command: &str) -> Result<()> {
    let inputs = model.inputs();
    if inputs.len() == 1 {
        return Ok(());
    }
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let message = format!("the model has {} inputs ({})", names.len(), names.join(", "));
    Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
        .help(format!(
            "{command} takes models with one input; run computes the outputs of models with several"
        ))
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(
        names: &[&str],
        given: &[&str],
        is_file: fn(&Path) -> bool,
    ) -> std::result::Result<String, String> {
        let inputs: Vec<InputInfo> =
            names.iter().map(|name| InputInfo { name: (*name).to_owned(), shape: vec![1] }).collect();
        let given: Vec<PathBuf> = given.iter().map(PathBuf::from).collect();
        let files = files(&inputs, &given, is_file).map_err(|e| e.to_string())?;
        Ok(files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn one_input_takes_a_file_with_or_without_its_name() {
        let found = |value: &str, is_file| found(&["x"], &[value], is_file).unwrap();
        assert_eq!(found("a.npy", |_| true), "a.npy");
        assert_eq!(found("x=a.npy", |_| true), "x=a.npy");
        assert_eq!(found("x=a.npy", |_| false), "a.npy");
        assert_eq!(found("y=a.npy", |_| false), "y=a.npy");
    }

    #[test]
    fn several_inputs_take_a_file_each_in_any_order() {
        let two = |given: &[&str]| found(&["x", "x=1"], given, |_| true);
        assert_eq!(two(&["x=1=b.npy", "x=a=c.npy"]).unwrap(), "a=c.npy b.npy");
        for (given, words) in [
            (&["x=a", "x=b"][..], "two files for the input x"),
            (&["x=a"], "no file for the input x=1"),
            (&["a.npy", "x=a"], "a.npy names none of the inputs x, x=1"),
        ] {
            let text = two(given).unwrap_err();
            assert!(text.contains(words), "{text}");
        }
        assert!(found(&["x"], &["a", "b"], |_| true).is_err());
    }
}
