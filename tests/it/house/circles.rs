//! No two files of the library use each other, directly or through others: so it is clear what a change of one can affect.
//!
//! A `mod.rs` and the files below it belong together: it lists and re-exports what they define, and they use its types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Item, UseTree, Visibility};

use super::layers::{root, rust_files};

type ModulePath = Vec<String>;

/// A file, and the paths that it imports and re-exports.
struct Source {
    file: PathBuf,
    imports: Vec<ModulePath>,
    exports: BTreeMap<String, ModulePath>,
}

/// The path of the module in `file`, below `src`: `["crate", "engine", "sqlite"]`.
fn module_of(file: &Path) -> ModulePath {
    let inside = file.with_extension("");
    let names = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let names = names.filter(|name| name != "mod" && name != "lib");
    std::iter::once("crate".to_owned()).chain(names).collect()
}

/// The paths in a `use`, and the name of each.
fn flatten(tree: &UseTree, before: ModulePath, found: &mut Vec<(String, ModulePath)>) {
    let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<ModulePath>();
    match tree {
        UseTree::Path(path) => flatten(&path.tree, with(&path.ident), found),
        UseTree::Name(name) if name.ident == "self" => found.push((before.last().cloned().unwrap_or_default(), before)),
        UseTree::Name(name) => found.push((name.ident.to_string(), with(&name.ident))),
        UseTree::Rename(rename) => found.push((rename.rename.to_string(), with(&rename.ident))),
        UseTree::Glob(_) => found.push((String::new(), before)),
        UseTree::Group(group) => group.items.iter().for_each(|item| flatten(item, before.clone(), found)),
    }
}

/// `path` as seen in `module`, from the root of the crate.
fn absolute(path: ModulePath, module: &ModulePath, children: &BTreeSet<String>) -> ModulePath {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let first = path.first().map(String::as_str).unwrap_or_default();
    match first {
        "crate" => path,
        "self" => module.iter().cloned().chain(path.into_iter().skip(1)).collect(),
        "super" => module[..module.len() - supers].iter().cloned().chain(path.into_iter().skip(supers)).collect(),
        child if children.contains(child) => module.iter().cloned().chain(path).collect(),
        _ => path,
    }
}

fn read(src: &Path, file: &Path) -> (ModulePath, Source) {
    let module = module_of(file.strip_prefix(src).unwrap());
    let parsed = syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap();
    let children = parsed.items.iter().filter_map(|item| match item {
        Item::Mod(one) => Some(one.ident.to_string()),
        _ => None,
    });
    let children: BTreeSet<String> = children.collect();
    let mut source = Source { file: file.to_owned(), imports: Vec::new(), exports: BTreeMap::new() };
    for item in &parsed.items {
        let Item::Use(item) = item else { continue };
        let mut found = Vec::new();
        flatten(&item.tree, Vec::new(), &mut found);
        for (name, path) in found {
            let path = absolute(path, &module, &children);
            if !matches!(item.vis, Visibility::Inherited) {
                source.exports.insert(name, path.clone());
            }
            source.imports.push(path);
        }
    }
    (module, source)
}

/// The module that defines what `path` names, through re-exports.
fn definition(path: &ModulePath, sources: &BTreeMap<ModulePath, Source>, depth: usize) -> Option<ModulePath> {
    let known = (1..=path.len()).rev().map(|length| path[..length].to_vec()).find(|part| sources.contains_key(part))?;
    let exported = path.get(known.len()).and_then(|name| sources[&known].exports.get(name));
    match exported.filter(|other| *other != path && depth > 0) {
        Some(other) => definition(other, sources, depth - 1),
        None => Some(known),
    }
}

/// The first circle that leads from `at` back to a module on `way`.
fn circle(
    at: &ModulePath,
    edges: &BTreeMap<ModulePath, BTreeSet<ModulePath>>,
    way: &mut Vec<ModulePath>,
    done: &mut BTreeSet<ModulePath>,
) -> Option<Vec<ModulePath>> {
    if let Some(start) = way.iter().position(|one| one == at) {
        return Some(way[start..].to_vec());
    }
    if !done.insert(at.clone()) {
        return None;
    }
    way.push(at.clone());
    let found = edges.get(at).into_iter().flatten().find_map(|next| circle(next, edges, way, done));
    way.pop();
    found
}

#[test]
fn no_two_files_use_each_other() {
    let src = root().join("src");
    let files = rust_files(&src).into_iter().filter(|file| !file.ends_with("main.rs"));
    let sources: BTreeMap<ModulePath, Source> = files.map(|file| read(&src, &file)).collect();
    let edges: BTreeMap<ModulePath, BTreeSet<ModulePath>> = sources
        .iter()
        .map(|(module, source)| {
            let used = source.imports.iter().filter_map(|path| definition(path, &sources, 8));
            // What is below a module is a part of it.
            (module.clone(), used.filter(|other| !other.starts_with(module)).collect())
        })
        .collect();
    let mut done = BTreeSet::new();
    let found = sources.keys().find_map(|module| circle(module, &edges, &mut Vec::new(), &mut done));
    let files = |way: Vec<ModulePath>| way.iter().map(|module| sources[module].file.clone()).collect::<Vec<_>>();
    assert!(found.is_none(), "these files use each other: {:?}", found.map(files));
    assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 1000, "few imports were found");
}
