//! Networks that real exporters wrote, against the exporters' own outputs. A table says what becomes of each: `equal`, `refused` with a
//! code, or `taken` where a file of some input is missing, so that nothing can be compared. `cases/exporters/make.py` makes the networks, `state.py` the table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use stoxnor::{Config, Engine, Frames, Model};
use stoxnor_testbenches::data::{data_dir, read_npy};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// Names and states of a table.
fn table(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let column = |name: &str| head.iter().position(|c| *c == name).unwrap();
    let (name, state) = (column("name"), column("state"));
    lines.map(|row| (row[name].to_owned(), row[state].to_owned())).collect()
}

/// The arrays of a network by the name of its input or output; an only one may have none.
fn arrays(at: &Path, stem: &str) -> BTreeMap<String, PathBuf> {
    let named = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".npy")?.strip_prefix(stem)?.to_owned();
        Some((name.trim_start_matches('_').to_owned(), path))
    };
    fs::read_dir(at).unwrap().filter_map(|entry| named(entry.unwrap().path())).collect()
}

/// The one of `arrays` for `name`, or for number `index`.
fn of<'a>(arrays: &'a BTreeMap<String, PathBuf>, name: &str, index: usize) -> Option<&'a PathBuf> {
    arrays.get(name).or_else(|| arrays.values().nth(index))
}

/// Reads a network with its configuration.
fn load(at: &Path) -> stoxnor::diagnostic::Result<Model> {
    let config = at.join("config.toml");
    let config = if config.exists() { Config::load(&config)? } else { Config::default() };
    Model::load_with(at.join("model.onnx"), &config)
}

/// The frames of a network's folder; `None` if an input has no file.
fn frames(model: &Model, at: &Path) -> stoxnor::diagnostic::Result<Option<Frames>> {
    let inputs = arrays(at, "input");
    let names = model.inputs().into_iter().enumerate();
    let files = names.map(|(i, input)| of(&inputs, &input.name, i)).collect::<Option<Vec<_>>>();
    files.map(|files| model.read_inputs(&files)).transpose()
}

/// The first frame.
fn first(frames: &Frames) -> Frames {
    let elements = frames.values.len() / frames.count();
    Frames::new(elements, frames.values[..elements].to_vec())
}

/// Imports and runs a network.
fn state(at: &Path) -> Result<String, String> {
    let model = match load(at) {
        Ok(model) => model,
        Err(found) => return Ok(format!("refused {}", found.list()[0].code.word)),
    };
    let Some(frames) = frames(&model, at).map_err(|e| e.to_string())? else { return Ok("taken".to_owned()) };
    let expected = arrays(at, "expected");
    let mut off = 0f64;
    for output in model.run(&frames, Engine::Reference).map_err(|e| e.to_string())?.iter().enumerate() {
        let (index, output) = output;
        let wanted = of(&expected, &output.name, index).ok_or("an output without expected values")?;
        let wanted = read_npy(wanted).map_err(|e| e.to_string())?.values;
        if wanted.len() != output.values.len() {
            return Err(format!("{} values where {} are due", output.values.len(), wanted.len()));
        }
        let largest = wanted.iter().fold(1e-30f64, |m, w| m.max(w.abs()));
        let differences = output.values.iter().zip(&wanted).map(|(v, w)| (f64::from(*v) - w).abs());
        off = differences.fold(off, |m, d| m.max(d / largest));
    }
    // The engines agree, cycle by cycle on the first frame.
    for (frames, engines) in [
        (&frames, &[Engine::Reference, Engine::Fast][..]),
        (&first(&frames), &[Engine::Reference, Engine::Rtl]),
    ] {
        let report = model.check(frames, engines).map_err(|e| e.to_string())?;
        if let Some(difference) = report.first_difference {
            return Err(format!("{difference:?}"));
        }
    }
    Ok(if off <= 1e-5 { "equal".to_owned() } else { "differs".to_owned() })
}

/// Demands the table's state of every network.
fn as_in_the_table(table: &[(String, String)], folder: &Path) {
    let wrong: Vec<String> = table
        .par_iter()
        .filter_map(|(name, wanted)| match state(&folder.join(name)) {
            Ok(found) if found == *wanted => None,
            Ok(found) => Some(format!("{name}: {found}, and the table says {wanted}")),
            Err(what) => Some(format!("{name}: {what}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn networks_of_real_exporters_equal_the_exporters_outputs() {
    let folder = cases().join("exporters");
    let table = table(&folder.join("table.tsv"));
    let count = |state: &str| table.iter().filter(|(_, s)| s.starts_with(state)).count();
    assert!(count("equal") >= 60, "{} equal of {}", count("equal"), table.len());
    // One exact tie of an average, on whose other side the exporter's float32 falls.
    assert!(count("differs") <= 1 && count("panic") == 0);
    as_in_the_table(&table, &folder);
}

/// One network for each kind of form that exporters write.
const KINDS: &[(&str, &str)] = &[
    ("a quantiser that is written out", "pt_dorefa_ts"),
    ("transcendental functions", "pt_act_sigmoid_tanh_dy"),
    ("functions that rise and fall", "pt_act_not_monotone_dy"),
    ("residual sums that are not quantised", "form_raw_sum_resize"),
    ("a sum of unequal scales", "form_res_ratio_5"),
    ("a concatenation of unequal scales", "form_cat_scales_related"),
    ("products of two streams", "form_gate_binary"),
    ("padding that several layers read", "form_pad_fork"),
    ("slices of channels", "form_slice_split_9"),
    ("a transposed convolution", "brev_transposed1d_groups"),
    ("blocks of pixels", "form_depth_space"),
    ("the QOperator format", "form_qlinear_conv_10"),
    ("an input of bytes", "form_uint8_dequantize"),
    ("several inputs", "form_two_inputs_product"),
    ("weights of nine bits", "form_weight_zero_point_far"),
];

#[test]
fn one_network_of_each_kind_is_equal_in_verilator_and_icarus() {
    let folder = cases().join("exporters");
    let engines = [Engine::Reference, Engine::Rtl, Engine::Verilator, Engine::Icarus];
    KINDS.par_iter().for_each(|(kind, name)| {
        let at = folder.join(name);
        let model = load(&at).unwrap_or_else(|e| panic!("{kind}, {name}: {e}"));
        let frames = frames(&model, &at).unwrap().expect("a file for each input");
        let report = model.check(&first(&frames), &engines).unwrap_or_else(|e| panic!("{kind}, {name}: {e}"));
        assert!(report.equal && report.first_difference.is_none(), "{kind}, {name}: {report:?}");
        assert_eq!(report.engines, engines, "{kind}, {name}");
    });
}

/// The Python snippets of a section of the guide.
fn snippets(section: &str) -> Vec<String> {
    let fences = section.split("\n```python\n").skip(1);
    fences.map(|rest| format!("{}\n", rest.split("\n```").next().unwrap())).collect()
}

/// `cases/exporters/guide.py` runs the snippets with the exporters and compares their files; it keeps what it ran.
#[test]
fn the_guides_snippets_are_those_that_were_run_and_gave_equal_networks() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/guide/import.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, chapter) = guide.split_once("\n## By exporter\n").expect("the chapter");
    let record = fs::read_to_string(cases().join("exporters/guide.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let sections: Vec<&str> = chapter.split("\n### ").skip(1).collect();
    assert_eq!(sections.len(), record.as_object().unwrap().len(), "a record for each section");
    assert!(sections.len() >= 5);
    for section in sections {
        let (name, text) = section.split_once('\n').unwrap();
        let run = &record[name];
        assert_eq!(
            serde_json::json!(snippets(text)),
            run["snippets"],
            "{name}: run cases/exporters/guide.py"
        );
        let versions = run["versions"].as_object().unwrap();
        assert!(!versions.is_empty(), "{name}");
        for (package, version) in versions {
            let told = format!("{package} {}", version.as_str().unwrap());
            assert!(text.trim_start().lines().next().unwrap().contains(&told), "{name}: {told}");
        }
        let results = run["results"].as_object().unwrap();
        assert!(!results.is_empty() && results.values().all(|r| r == "equal"), "{name}: {results:?}");
    }
}

/// The cases beside the repository: files that failed in users' hands.
#[test]
fn files_that_failed_in_users_hands_work_or_are_refused_as_the_table_says() {
    let Some(data) = data_dir() else { return };
    as_in_the_table(&table(&cases().join("shared.tsv")), &data.join("cases"));
}
