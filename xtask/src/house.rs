//! The house: the rooms of `src/` from the ground up, and a reader of the imports between its files.
//!
//! A room is a folder of `src/`, or a file that stands there alone. It may use the rooms below it, and nothing above. Imports are read from
//! the tokens of the sources: `use` items, and paths that begin with `crate`, `super`, `self`, a module that was imported, or a child module.
//! A `pub use` that hands a name on is no import: the name counts where it is defined. `#[cfg(test)]` modules are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Every room of `src/`, from the ground up.
pub const ROOMS: &[&str] = &[
    "diagnostic",
    "frame",
    "arith",
    "schedule",
    "graph",
    "graph/op",
    "unit",
    "unit/matrix",
    "unit/channel",
    "area",
    "network",
    "layer",
    "lower",
    "data",
    "import/options",
    "import/read",
    "import/simplify",
    "import/runs",
    "import/layers",
    "import",
    "engine",
    "emit",
    "config",
    "synth",
    "board",
    "calibrate",
    "model",
    "cli",
];

/// One file of `src/`.
#[derive(Debug)]
pub struct File {
    /// Its path below `src/`, with `/` between folders.
    pub path: String,
    /// The module that it is: `["import", "read"]` for `import/read/mod.rs`.
    pub module: Vec<String>,
    /// Number of lines.
    pub lines: usize,
    /// The first line of its documentation.
    pub about: String,
    tokens: Vec<TokenTree>,
    /// Names that `pub use` hands on, and the path of each.
    handed_on: BTreeMap<String, Vec<String>>,
}

/// An import: the first file uses something of the second.
pub type Import = (usize, usize);

/// All files of `src/` and the imports between them.
#[derive(Debug)]
pub struct House {
    /// The files, by path.
    pub files: Vec<File>,
    /// The imports between two different files.
    pub imports: BTreeSet<Import>,
}

impl House {
    /// Reads every Rust file below `src`.
    ///
    /// # Errors
    /// Where a file cannot be read, or is not Rust.
    pub fn read(src: &Path) -> Result<Self, String> {
        let mut sources = Vec::new();
        collect(src, src, &mut sources)?;
        sources.sort();
        Self::of_sources(sources.into_iter())
    }

    /// A house of these files: paths below `src/`, and their texts.
    ///
    /// # Errors
    /// Where a text is not Rust.
    pub fn of_sources(sources: impl Iterator<Item = (String, String)>) -> Result<Self, String> {
        let files = sources.map(|(path, text)| File::new(path, &text)).collect::<Result<Vec<_>, _>>()?;
        let mut house = Self { files, imports: BTreeSet::new() };
        let mut imports = BTreeSet::new();
        for (index, file) in house.files.iter().enumerate() {
            for path in file.paths(&house) {
                if let Some(target) = house.definition(&path).filter(|target| *target != index) {
                    imports.insert((index, target));
                }
            }
        }
        house.imports = imports;
        Ok(house)
    }

    fn module(&self, module: &[String]) -> Option<usize> {
        self.files.iter().position(|file| file.module == module)
    }

    /// The file that defines what a path from the crate's root names; nothing where the path names a module itself.
    fn definition(&self, path: &[String]) -> Option<usize> {
        let (depth, file) =
            (1..=path.len()).rev().find_map(|depth| Some((depth, self.module(&path[..depth])?)))?;
        let name = path.get(depth)?;
        match self.files[file].handed_on.get(name) {
            Some(target) => self.definition(&[target, &path[depth + 1..]].concat()),
            None => Some(file),
        }
    }

    /// The room that a file stands in: the deepest one of [`ROOMS`] that holds it.
    pub fn room(&self, file: usize) -> Option<usize> {
        let path = &self.files[file].path;
        let holds =
            |room: &str| path.strip_prefix(room).is_some_and(|rest| rest.starts_with('/') || rest == ".rs");
        let rooms = ROOMS.iter().enumerate().filter(|(_, room)| holds(room));
        rooms.max_by_key(|(_, room)| room.len()).map(|(index, _)| index)
    }

    /// Imports against the order of the rooms.
    pub fn upward(&self) -> Vec<Import> {
        let against = |(from, to): &Import| match (self.room(*from), self.room(*to)) {
            (Some(from), Some(to)) => to > from,
            _ => false,
        };
        self.imports.iter().copied().filter(against).collect()
    }

    /// Files in a circle of imports: each reaches itself.
    pub fn circles(&self) -> Vec<usize> {
        let reaches_itself = |start: &usize| {
            let (mut seen, mut todo) = (BTreeSet::new(), vec![*start]);
            while let Some(file) = todo.pop() {
                for (_, to) in self.imports.iter().filter(|(from, _)| *from == file) {
                    if to == start {
                        return true;
                    }
                    if seen.insert(*to) {
                        todo.push(*to);
                    }
                }
            }
            false
        };
        (0..self.files.len()).filter(reaches_itself).collect()
    }

    /// The rooms with their one line, and what each uses, as a table.
    pub fn table(&self) -> String {
        let mut text = String::from("| room | files | lines | what it is | uses |\n|---|---|---|---|---|\n");
        for (index, room) in ROOMS.iter().enumerate() {
            let files: Vec<usize> =
                (0..self.files.len()).filter(|file| self.room(*file) == Some(index)).collect();
            let face = [format!("{room}/mod.rs"), format!("{room}.rs")];
            let about =
                self.files.iter().find(|file| face.contains(&file.path)).map_or("", |file| &file.about);
            let lines: usize = files.iter().map(|file| self.files[*file].lines).sum();
            let uses: BTreeSet<usize> = self
                .imports
                .iter()
                .filter(|(from, _)| files.contains(from))
                .filter_map(|(_, to)| self.room(*to))
                .filter(|to| *to != index)
                .collect();
            let uses: Vec<&str> = uses.into_iter().map(|room| ROOMS[room]).collect();
            text += &format!("| `{room}` | {} | {lines} | {about} | {} |\n", files.len(), uses.join(", "));
        }
        text
    }
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) -> Result<(), String> {
    let unreadable = |e: std::io::Error| format!("{}: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            collect(root, &path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            found.push((name, fs::read_to_string(&path).map_err(unreadable)?));
        }
    }
    Ok(())
}

fn ident(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

fn is(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<Vec<TokenTree>> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
            Some(group.stream().into_iter().collect())
        }
        _ => None,
    }
}

/// The tokens without the modules of tests.
fn without_tests(stream: TokenStream) -> Vec<TokenTree> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_test = is(tokens.get(at), '#')
            && group(tokens.get(at + 1), Delimiter::Bracket).is_some_and(|attribute| {
                let text: String = attribute.iter().map(ToString::to_string).collect();
                text == "cfg(test)"
            });
        if is_test {
            let body = (at..tokens.len()).find(|i| group(tokens.get(*i), Delimiter::Brace).is_some());
            at = body.unwrap_or(tokens.len()) + 1;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The end of the `use` item that begins at `at`, if one does: the place of its semicolon.
fn item_end(tokens: &[TokenTree], at: usize) -> Option<usize> {
    let begins = tokens.get(at).and_then(ident).is_some_and(|word| word == "use");
    // `use<..>` is a bound.
    let end = || Some(at + tokens[at..].iter().position(|t| is(Some(t), ';'))?);
    if begins && !is(tokens.get(at + 1), '<') { end() } else { None }
}

/// The leaves of a `use` tree, each with the name that it brings.
fn leaves(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<(Vec<String>, String)>) {
    for part in tokens.split(|token| is(Some(token), ',')).filter(|part| !part.is_empty()) {
        let mut path = prefix.to_vec();
        let mut name = None;
        let mut at = 0;
        while at < part.len() {
            if let Some(inner) = group(part.get(at), Delimiter::Brace) {
                leaves(&inner, &path, found);
                path.clear();
            } else if is(part.get(at), '*') {
                path.push("*".to_owned());
            } else if let Some(word) = ident(&part[at]) {
                if word == "as" {
                    name = part.get(at + 1).and_then(ident);
                    break;
                }
                if word != "self" || path.is_empty() {
                    path.push(word);
                }
            }
            at += 1;
        }
        if let Some(last) = path.last().cloned() {
            found.push((path, name.unwrap_or(last)));
        }
    }
}

impl File {
    fn new(path: String, text: &str) -> Result<Self, String> {
        let stream: TokenStream = text.parse().map_err(|e| format!("{path}: {e}"))?;
        let mut module: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&&last[..])) {
            module.pop();
        }
        let about = text.lines().find_map(|line| line.strip_prefix("//! ")).unwrap_or_default().to_owned();
        let tokens = without_tests(stream);
        let mut file =
            Self { path, module, lines: text.lines().count(), about, tokens, handed_on: BTreeMap::new() };
        for (path, name) in file.uses(true) {
            if let Some(path) = file.absolute(&path, &BTreeMap::new(), &|_| true) {
                file.handed_on.insert(name, path);
            }
        }
        Ok(file)
    }

    /// The `use` items, those that hand names on or the others: paths, and the names that they bring.
    fn uses(&self, handed_on: bool) -> Vec<(Vec<String>, String)> {
        let mut found = Vec::new();
        for at in (0..self.tokens.len()).filter(|at| item_end(&self.tokens, *at).is_some()) {
            let before = at.checked_sub(1).map(|i| &self.tokens[i]);
            let restricted = group(before, Delimiter::Parenthesis).is_some();
            let public = restricted || before.and_then(ident).is_some_and(|word| word == "pub");
            if public == handed_on {
                let end = item_end(&self.tokens, at).unwrap_or(at + 1);
                leaves(&self.tokens[at + 1..end], &[], &mut found);
            }
        }
        found
    }

    /// A path from the crate's root. `names` are modules that were imported, `is_child` tells the names of child modules.
    fn absolute(
        &self,
        path: &[String],
        names: &BTreeMap<String, Vec<String>>,
        is_child: &dyn Fn(&str) -> bool,
    ) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        Some(match &first[..] {
            "crate" => rest.to_vec(),
            "self" => [&self.module[..], rest].concat(),
            "super" => {
                let up = path.iter().take_while(|word| *word == "super").count();
                let depth = self.module.len().checked_sub(up)?;
                [&self.module[..depth], &path[up..]].concat()
            }
            name if names.contains_key(name) => [&names[name][..], rest].concat(),
            name if is_child(name) => [&self.module[..], path].concat(),
            _ => return None,
        })
    }

    /// Every path from the crate's root that the file uses.
    fn paths(&self, house: &House) -> Vec<Vec<String>> {
        let is_child = |name: &str| {
            let child = [&self.module[..], &[name.to_owned()]].concat();
            self.path.ends_with("mod.rs") && house.module(&child).is_some()
        };
        let mut found = Vec::new();
        let mut names = BTreeMap::new();
        for (path, name) in self.uses(false) {
            if let Some(path) = self.absolute(&path, &BTreeMap::new(), &is_child) {
                if house.module(&path).is_some() {
                    names.insert(name, path);
                } else {
                    found.push(path);
                }
            }
        }
        self.inline(0, &self.tokens, &names, &is_child, &mut found);
        found
    }

    /// Paths of several parts outside of `use` items.
    fn inline(
        &self,
        depth: usize,
        tokens: &[TokenTree],
        names: &BTreeMap<String, Vec<String>>,
        is_child: &dyn Fn(&str) -> bool,
        found: &mut Vec<Vec<String>>,
    ) {
        let mut at = 0;
        while at < tokens.len() {
            if let TokenTree::Group(group) = &tokens[at] {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                self.inline(depth + 1, &inner, names, is_child, found);
            }
            let Some(first) = ident(&tokens[at]) else {
                at += 1;
                continue;
            };
            if let Some(end) = item_end(tokens, at) {
                // Those of the file's own level are read by themselves.
                if depth > 0 {
                    let mut inner = Vec::new();
                    leaves(&tokens[at + 1..end], &[], &mut inner);
                    found.extend(inner.iter().filter_map(|(path, _)| self.absolute(path, names, is_child)));
                }
                at = end + 1;
                continue;
            }
            let follows = at > 0 && is(tokens.get(at - 1), ':') && at > 1 && is(tokens.get(at - 2), ':');
            let mut path = vec![first];
            while is(tokens.get(at + 1), ':') && is(tokens.get(at + 2), ':') {
                let Some(next) = tokens.get(at + 3).and_then(ident) else { break };
                path.push(next);
                at += 3;
            }
            if path.len() > 1
                && !follows
                && let Some(path) = self.absolute(&path, names, is_child)
            {
                found.push(path);
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(files: &[(&str, &str)]) -> House {
        House::of_sources(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))).unwrap()
    }

    fn imports(house: &House) -> Vec<(&str, &str)> {
        let path = |file: usize| &house.files[file].path[..];
        house.imports.iter().map(|(from, to)| (path(*from), path(*to))).collect()
    }

    #[test]
    fn every_form_of_an_import_is_read() {
        let house = house(&[
            ("arith/mod.rs", "pub mod bits; mod lfsr; pub use lfsr::Seed;"),
            ("arith/bits.rs", "pub struct Bits; fn f() { super::lfsr::step() }"),
            ("arith/lfsr.rs", "pub struct Seed; pub fn step() {}"),
            ("engine/a.rs", "use crate::arith::{bits::Bits, Seed};"),
            ("engine/b.rs", "use crate::arith::bits; fn f() { vec![bits::Bits]; }"),
            ("engine/c.rs", "//! crate::arith::bits::Bits\nuse crate::arith::bits;"),
            ("engine/d.rs", "#[cfg(test)] mod tests { use crate::arith::bits::Bits; }"),
            ("engine/e.rs", "fn f() -> impl Iterator + use<> { use super::super::arith::bits::Bits; }"),
            ("engine/mod.rs", "mod a; fn f() { a::run(); m!(crate::arith::Seed) }"),
        ]);
        let wanted = [
            ("arith/bits.rs", "arith/lfsr.rs"),
            ("engine/a.rs", "arith/bits.rs"),
            ("engine/a.rs", "arith/lfsr.rs"),
            ("engine/b.rs", "arith/bits.rs"),
            ("engine/e.rs", "arith/bits.rs"),
            ("engine/mod.rs", "arith/lfsr.rs"),
            ("engine/mod.rs", "engine/a.rs"),
        ];
        assert_eq!(imports(&house), wanted);
    }

    #[test]
    fn an_import_against_the_order_is_seen() {
        let house = house(&[
            ("arith/bits.rs", "use crate::engine::Engine;"),
            ("engine/mod.rs", "pub struct Engine; use crate::diagnostic::Code;"),
            ("diagnostic.rs", "pub struct Code;"),
        ]);
        assert_eq!(house.upward(), [(0, 1)]);
        assert!(house.circles().is_empty());
    }

    #[test]
    fn a_circle_of_files_is_seen() {
        let house = house(&[
            ("arith/a.rs", "use crate::arith::b::B; pub struct A;"),
            ("arith/b.rs", "use crate::arith::c::C; pub struct B;"),
            ("arith/c.rs", "use crate::arith::a::A; pub struct C;"),
            ("arith/d.rs", "use crate::arith::a::A;"),
        ]);
        assert_eq!(house.circles(), [0, 1, 2]);
        assert!(house.upward().is_empty());
    }
}
