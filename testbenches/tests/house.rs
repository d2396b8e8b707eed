//! Rules of the house that a test can hold: who may know whom, where things stand, how long a file may get.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use stoxnor::config::KEYS;
use stoxnor::diagnostic::CODES;
use stoxnor::layer::KINDS;
use stoxnor::synth::part::Part;
use xtask::house::House;

/// Lines from which on a file is to be split.
const LONGEST: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below `folder`, as path from the root and text. There has to be one.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no Rust");
    found.sort();
    found
}

/// The text without line comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect()
}

/// The body of `fn name`, braces included.
fn body<'a>(code: &'a str, name: &str) -> Option<&'a str> {
    let start = code.find(&format!("fn {name}("))?;
    let open = start + code[start..].find('{')?;
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 {
            return Some(&code[open..=open + at]);
        }
    }
    None
}

/// The hardware crates, and the modules of ours that build on them.
const HARDWARE: [&str; 6] = ["stoxnor_hdl", "stoxnor_sim", "unit", "lower", "schedule", "emit"];

/// Names that a file's `use` lines bring in from the hardware: the two crates, and the parts of ours that build on them.
fn hardware_names(code: &str) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = HARDWARE[..2].iter().copied().collect();
    for line in code.split("use ").skip(1) {
        let tree = line.split(';').next().unwrap_or_default();
        let first: Vec<&str> = tree.split("::").take(2).map(str::trim).collect();
        if first.iter().any(|part| HARDWARE.contains(part)) {
            let brought =
                tree.split_once('{').or_else(|| tree.rsplit_once("::")).map_or(tree, |(_, names)| names);
            names.extend(words(brought));
        }
    }
    names
}

/// What `fn reference`, or a function of the same file that it calls, takes from the hardware.
fn hardware_in_reference(text: &str) -> BTreeSet<String> {
    let code = code(text);
    let forbidden = hardware_names(&code);
    let mut found = BTreeSet::new();
    let (mut seen, mut todo) = (BTreeSet::new(), vec!["reference"]);
    while let Some(name) = todo.pop() {
        if let Some(body) = body(&code, name).filter(|_| seen.insert(name)) {
            let words = words(body);
            found.extend(words.intersection(&forbidden).map(|w| (*w).to_owned()));
            let inline = HARDWARE.iter().filter(|m| body.contains(&format!("crate::{m}::")));
            found.extend(inline.map(|m| (*m).to_owned()));
            todo.extend(words);
        }
    }
    found
}

fn rooms() -> House {
    House::read(&root().join("src")).unwrap()
}

fn named(house: &House, imports: &[(usize, usize)]) -> Vec<String> {
    let path = |file: usize| &house.files[file].path;
    imports.iter().map(|(from, to)| format!("{} uses {}", path(*from), path(*to))).collect()
}

/// The rooms of `src/` are listed in one place, from the ground up; a file uses rooms below its own, and its own.
#[test]
fn no_import_runs_against_the_order_of_the_rooms() {
    let house = rooms();
    assert_eq!(
        named(&house, &house.upward()),
        Vec::<String>::new(),
        "the order is ROOMS in xtask/src/house.rs"
    );
    let outside = ["lib.rs", "main.rs", "guide/mod.rs"];
    for (index, file) in house.files.iter().enumerate() {
        assert!(
            house.room(index).is_some() || outside.contains(&&file.path[..]),
            "{} is in no room: add it to ROOMS in xtask/src/house.rs",
            file.path
        );
    }
    assert!(house.imports.len() > 300, "{} imports are read", house.imports.len());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let house = rooms();
    let circles: Vec<&str> = house.circles().into_iter().map(|file| &house.files[file].path[..]).collect();
    assert_eq!(circles, Vec::<&str>::new());
}

/// A folder says at its top what it is for, what it may use and what uses it.
#[test]
fn every_room_says_what_it_is_for() {
    for file in
        rooms().files.iter().filter(|file| file.path.ends_with("mod.rs") && file.path != "guide/mod.rs")
    {
        let text = fs::read_to_string(root().join("src").join(&file.path)).unwrap();
        let doc: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(doc.len() > 1 && doc.join(" ").contains("May use"), "{}", file.path);
    }
}

#[test]
fn arithmetic_and_references_know_no_hardware() {
    for (file, text) in sources("src/arith") {
        let found = words(&text).into_iter().find(|w| w.starts_with("stoxnor_"));
        assert_eq!(found, None, "{file}");
    }
    for (file, text) in sources("src/layer").into_iter().filter(|(f, _)| !f.ends_with("mod.rs")) {
        assert!(body(&code(&text), "reference").is_some(), "{file} has no reference");
        assert_eq!(hardware_in_reference(&text), BTreeSet::new(), "{file}: fn reference");
    }
}

/// The reader of sources itself: it sees through helpers and imports, and not into comments.
#[test]
fn a_reference_that_cheats_is_seen() {
    let file = |reference: &str| {
        format!(
            "use stoxnor_hdl::{{Bits, Builder}};\nuse crate::unit::matrix::Classical;\nuse crate::arith::bits::BitMatrix;\n\
             impl L {{ fn reference(&self) {{ {reference} }}\nfn help(&self) {{ let b = Bits::zero(3); }}\n\
             fn hardware(&self) {{ Builder::new() }} }}"
        )
    };
    let found = |reference: &str| hardware_in_reference(&file(reference)).into_iter().collect::<Vec<_>>();
    assert_eq!(found("BitMatrix::from_fn() // Bits\n"), Vec::<String>::new());
    assert_eq!(found("Builder::new()"), ["Builder"]);
    assert_eq!(found("self.help()"), ["Bits"]);
    assert_eq!(found("Classical.encode()"), ["Classical"]);
    assert_eq!(found("crate::lower::lower()"), ["lower"]);
    assert_eq!(found("if x { stoxnor_sim::run() }"), ["stoxnor_sim"]);
}

#[test]
fn hardware_crates_know_no_networks() {
    let networks = ["network", "layer", "neuron", "dense", "onnx"];
    for (file, text) in ["hdl/src", "sim/src"].iter().flat_map(|f| sources(f)) {
        let code = code(&text).to_lowercase();
        let found = networks.iter().find(|n| {
            words(&code).iter().any(|w| w.split('_').any(|part| part.trim_end_matches('s') == **n))
        });
        assert_eq!(found, None, "{file}");
    }
}

#[test]
fn dependencies_run_one_way() {
    let of = |manifest: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let table = text.split("\n[").filter(|t| {
            let head = t.split(']').next().unwrap_or_default();
            // Tests of the root package use the testbenches; what is shipped does not.
            head == "dependencies"
        });
        let lines = table.flat_map(|t| t.lines().skip(1));
        let names =
            lines.filter_map(|l| l.split(['.', '=', ' ']).next().filter(|n| n.starts_with("stoxnor")));
        names.map(str::to_owned).collect()
    };
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(of("hdl/Cargo.toml"), set(&[]));
    assert_eq!(of("sim/Cargo.toml"), set(&["stoxnor-hdl"]));
    assert_eq!(of("Cargo.toml"), set(&["stoxnor-hdl", "stoxnor-sim"]));
    assert_eq!(of("testbenches/Cargo.toml"), set(&["stoxnor", "stoxnor-hdl", "stoxnor-sim"]));
}

/// `cargo run -- demo`, the first command of README.md, names no program: of the default members one alone may have some.
#[test]
fn one_program_is_run_by_default() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = text.lines().find_map(|line| line.strip_prefix("default-members = ")).unwrap();
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.contains(&"."), "{members:?}");
    let has_program = |member: &&str| {
        let member = root().join(member);
        member.join("src/main.rs").exists() || member.join("src/bin").exists()
    };
    assert_eq!(members.into_iter().filter(has_program).collect::<Vec<_>>(), ["."]);
}

/// What is shipped builds nothing of rust-hdl: where it is named it is optional, and no feature that is on asks for it.
#[test]
fn rust_hdl_stays_behind_its_feature() {
    for manifest in
        ["Cargo.toml", "hdl/Cargo.toml", "sim/Cargo.toml", "testbenches/Cargo.toml", "xtask/Cargo.toml"]
    {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        for table in text.split("\n[").filter(|t| !t.starts_with("workspace.")) {
            for line in table.lines().filter(|l| l.contains("rust-hdl") && !l.starts_with('#')) {
                let feature = table.starts_with("features]") && line.starts_with("rust-hdl = ");
                let test = table.starts_with("[test]]") && line.starts_with("required-features");
                assert!(feature || test || line.ends_with("optional = true }"), "{manifest}: {line}");
            }
        }
    }
}

#[test]
fn every_layer_file_is_a_kind() {
    let files: BTreeSet<String> = sources("src/layer")
        .into_iter()
        .map(|(file, _)| file.trim_start_matches("src/layer/").trim_end_matches(".rs").to_owned())
        .filter(|name| name != "mod")
        .collect();
    let kinds: BTreeSet<String> = KINDS.iter().map(|k| k.name.to_owned()).collect();
    assert_eq!(files, kinds);
    for kind in KINDS {
        let samples = (kind.samples)();
        assert!(!samples.is_empty(), "{} has no sample", kind.name);
        assert!(samples.iter().all(|(_, layer)| layer.kind() == kind.name), "{}", kind.name);
    }
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    for (file, text) in ["hdl", "sim", "src", "testbenches", "xtask"].iter().flat_map(|f| sources(f)) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{file} has {lines} lines; split it by what it does");
    }
}

/// The guide's chapter on diagnostics has a paragraph for every code, in their order, and for no other.
#[test]
fn every_diagnostic_has_its_paragraph() {
    let text = fs::read_to_string(root().join("src/guide/diagnostics.md")).unwrap();
    let sections: Vec<(&str, &str)> =
        text.split("\n### `").skip(1).filter_map(|section| section.split_once('`')).collect();
    let found: Vec<&str> = sections.iter().map(|(word, _)| *word).collect();
    let codes: Vec<&str> = CODES.iter().map(|code| code.word).collect();
    assert_eq!(found, codes);
    for (word, paragraph) in sections {
        assert!(paragraph.split_whitespace().count() >= 15, "{word} is hardly explained");
    }
}

/// The guide's chapter on configuration names every key, and every long option of the command line.
#[test]
fn every_key_and_option_is_explained() {
    let text = fs::read_to_string(root().join("src/guide/configuration.md")).unwrap();
    let (tables, _) = text.split_once("\n## Folding").unwrap();
    let rows: String = tables.lines().filter(|l| l.starts_with('|')).collect::<Vec<_>>().join("\n");
    // What a table holds that is itself a table needs no row.
    for (table, keys) in KEYS.iter().filter(|(table, _)| !table.is_empty()) {
        for key in *keys {
            let name = format!("| `{}.{key}` |", table.replace('*', "NAME"));
            assert!(rows.contains(&name), "{name} has no row");
        }
    }
    let arguments = fs::read_to_string(root().join("src/cli/args.rs")).unwrap();
    let mut options = 0;
    for part in arguments.split("#[arg(long").skip(1) {
        // The attribute may go over several lines; the field behind it names the option.
        let field = part.split_once("pub ").and_then(|(_, rest)| rest.split_once(':')).unwrap().0;
        let name = format!("`--{}", field.replace('_', "-"));
        let found = rows.match_indices(&name).any(|(at, _)| rows[at + name.len()..].starts_with([' ', '`']));
        assert!(found, "{name}` has no row");
        options += 1;
    }
    assert!(options >= 20, "{options} options");
}

/// The guide's chapter on synthesis has a row for every part, with what it has.
#[test]
fn every_part_is_in_the_guide() {
    let text = fs::read_to_string(root().join("src/guide/synthesis.md")).unwrap();
    let rows: Vec<String> =
        text.lines().filter(|l| l.starts_with("| `")).map(|l| l.replace(',', "")).collect();
    assert_eq!(rows.len(), Part::ALL.len());
    for (part, row) in Part::ALL.iter().zip(rows) {
        let Part { name, short, room, clock_mhz, .. } = part;
        let begin = format!("| `{name}` | `{short}` | `{}` |", part.family.name());
        assert!(row.starts_with(&begin), "{name}: {row}");
        for cell in [format!("| {} ", room.lut), format!("| {} ", room.ram), format!("| {clock_mhz} MHz |")] {
            assert!(row.contains(&cell), "{name}: no {cell} in {row}");
        }
    }
}

/// Every chapter is part of the documentation, so that its snippets compile.
#[test]
fn every_chapter_is_included() {
    let list = fs::read_to_string(root().join("src/guide/mod.rs")).unwrap();
    let mut chapters = 0;
    for entry in fs::read_dir(root().join("src/guide")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            chapters += 1;
            assert!(list.contains(&format!("include_str!(\"{name}\")")), "{name} is not in src/guide/mod.rs");
        }
    }
    assert!(chapters > 0);
}
