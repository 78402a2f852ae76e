//! Checks that files of a crate don't need each other in a cycle, directly or through others. What both sides need must
//! be in a file below them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Source folders of the crates: `src` has the root crate's files and those of the crates in its folders.
const CRATES: &[&str] = &[
    "src",
    "src/band",
    "src/bench",
    "src/client",
    "src/engine",
    "src/hub",
    "src/journal",
    "src/orchestrator",
    "src/server",
    "src/text",
    "src/tools",
    "kernels/src",
    "models/src",
];

/// A module's path, e.g. `["map", "slots"]`. A crate's root is empty.
type Place = Vec<String>;

/// The paths that a file's shipped code uses, and the modules that it declares.
#[derive(Default)]
struct Said {
    paths: Vec<Vec<String>>,
    declares: BTreeSet<String>,
}

impl Said {
    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.paths.push(with(&name.ident)),
            syn::UseTree::Rename(name) => self.paths.push(with(&name.ident)),
            syn::UseTree::Glob(_) => self.paths.push(before.to_vec()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        attribute.path().is_ident("test") || (attribute.path().is_ident("cfg") && text.starts_with("test"))
    })
}

impl<'ast> Visit<'ast> for Said {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.declares.insert(module.ident.to_string());
        // Modules in braces have other names in scope; here only test modules are written this way.
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.paths.push(path.segments.iter().map(|part| part.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}

/// The files of a crate by module path.
fn files(root: &Path) -> BTreeMap<Place, PathBuf> {
    fn collect(folder: &Path, place: &Place, found: &mut BTreeMap<Place, PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let inner = [&place[..], std::slice::from_ref(&name)].concat();
            if path.is_dir() && !path.join("Cargo.toml").exists() {
                collect(&path, &inner, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_face = matches!(name.as_str(), "mod" | "lib" | "main");
                found.insert(if is_face { place.clone() } else { inner }, path);
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(root, &Vec::new(), &mut found);
    found.retain(|place, _| !place.iter().any(|part| part == "tests"));
    found
}

/// The module that a path in the file `from` leads to.
fn target(path: &[String], from: &Place, said: &Said, files: &BTreeMap<Place, PathBuf>) -> Option<Place> {
    let mut place = from.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => (place, rest) = (Vec::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                place.pop();
                rest = &rest[1..];
            }
        }
        first if said.declares.contains(first) => {}
        _ => return None,
    }
    for part in rest {
        place.push(part.clone());
        if !files.contains_key(&place) {
            place.pop();
            break;
        }
    }
    files.contains_key(&place).then_some(place)
}

/// The files that each file needs. A module file and the files in its folder count as one room and may need each other.
fn needs(files: &BTreeMap<Place, PathBuf>) -> BTreeMap<Place, BTreeSet<Place>> {
    let needs = |(place, path): (&Place, &PathBuf)| {
        let text = fs::read_to_string(path).unwrap();
        let mut said = Said::default();
        said.visit_file(
            &syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        );
        let targets = said.paths.iter().filter_map(|path| target(path, place, &said, files));
        let others = targets.filter(|other| !other.starts_with(place) && !place.starts_with(other));
        (place.clone(), others.collect())
    };
    files.iter().map(needs).collect()
}

/// The shortest cycle through a file.
fn circle(start: &Place, needs: &BTreeMap<Place, BTreeSet<Place>>) -> Option<Vec<Place>> {
    let mut from: BTreeMap<&Place, &Place> = BTreeMap::new();
    let mut level = vec![start];
    while !level.is_empty() {
        let mut deeper = Vec::new();
        for place in level {
            for next in &needs[place] {
                if next == start {
                    let mut way = vec![start.clone(), place.clone()];
                    let mut at = place;
                    while at != start {
                        at = from[at];
                        way.push(at.clone());
                    }
                    way.reverse();
                    return Some(way);
                }
                if !from.contains_key(next) {
                    from.insert(next, place);
                    deeper.push(next);
                }
            }
        }
        level = deeper;
    }
    None
}

#[test]
fn no_files_need_each_other() {
    let mut circles = BTreeSet::new();
    let mut arrows = 0;
    for root in CRATES {
        let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root));
        let needs = needs(&files);
        arrows += needs.values().map(BTreeSet::len).sum::<usize>();
        for place in files.keys() {
            if let Some(way) = circle(place, &needs) {
                let way: Vec<String> = way.iter().map(|place| place.join("/")).collect();
                circles.insert((way.len(), format!("{root}: {}", way.join(" -> "))));
            }
        }
    }
    assert!(arrows > 500, "{arrows} arrows are seen");
    let said: Vec<&str> = circles.iter().map(|(_, said)| said.as_str()).collect();
    assert!(said.is_empty(), "circles of files:\n{}", said.join("\n"));
}

#[test]
fn a_circle_is_seen() {
    let place = |name: &str| vec![name.to_owned()];
    let needs = |pairs: &[(&str, &[&str])]| {
        pairs.iter().map(|(from, to)| (place(from), to.iter().map(|to| place(to)).collect())).collect()
    };
    let round: BTreeMap<_, _> = needs(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &["a"]), ("d", &[])]);
    assert_eq!(circle(&place("a"), &round).unwrap(), ["a", "b", "c", "a"].map(place));
    assert_eq!(circle(&place("d"), &round), None);
    let mut said = Said::default();
    let text = "use super::{a::B, c::{self, D}}; fn f() { crate::e::g(); } #[cfg(test)] mod tests { use super::x::Y; }";
    said.visit_file(&syn::parse_file(text).unwrap());
    let said: Vec<String> = said.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(said, ["super::a::B", "super::c::self", "super::c::D", "crate::e::g"]);
}
