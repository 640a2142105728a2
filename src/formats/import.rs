//! Reads the files of a user: detects their formats, converts foreign ones, and reads the results as one fixture.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{Expand, Lookup};
use super::foreign::{self, ForeignFormat, ImportOutcome, ListMap, ReportLine, SourceFile};
use super::native::{Document, Invalid, read_contents};
use super::node::{Data, Node};
use super::text::{self, Syntax};
use super::unknown;
use crate::error::Problem;
use crate::model::fixture::Fixture;

/// How files are read.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Their format.
    pub from: InputFormat,
    /// Where the monitors of a list are, instead of a format.
    pub map: Option<ListMap>,
    /// Expand environment variables in foreign files, too.
    pub expand_env: bool,
    /// Leave out invalid items instead of refusing all.
    pub skip_invalid: bool,
    /// The beginning of the labels that are read.
    pub label_prefix: Option<String>,
    /// Files that were found in a folder: if nothing of one is valid, it can be left out.
    pub in_folders: BTreeSet<String>,
}

/// The format of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputFormat {
    /// It is detected for each file.
    #[default]
    Detected,
    /// Fixtures of kumadb.
    Native,
    /// This one.
    Foreign(ForeignFormat),
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The valid items.
    pub fixture: Fixture,
    /// The report about the files.
    pub remarks: Vec<ReportLine>,
    /// What is wrong; the fixture must not be used if there is anything.
    pub problems: Vec<Problem>,
    /// The formats that were converted, with their numbers of files.
    pub converted: Vec<(ForeignFormat, usize)>,
    /// The problems of what was left out as invalid.
    pub left_out: Vec<Problem>,
}

/// The files of a user by their formats.
#[derive(Default)]
struct Sorted {
    native: Vec<SourceFile>,
    foreign: BTreeMap<&'static str, (ForeignFormat, Vec<SourceFile>)>,
    /// Lists for a map.
    listed: Vec<SourceFile>,
}

/// Reads `texts`, each with the name of its file.
pub fn import(texts: Vec<(String, String)>, options: &ImportOptions, lookup: &dyn Lookup) -> Import {
    let mut import = Import::default();
    let Sorted { mut native, mut foreign, mut listed } = Sorted::default();
    for (file, text) in texts {
        let is_named = !options.in_folders.contains(&file);
        if options.map.is_some() {
            match parse_list(file, text) {
                Ok(mut source) => {
                    import.problems.append(&mut source.problems);
                    listed.push(source);
                }
                Err(problem) => import.problems.push(whole(problem, is_named)),
            }
            continue;
        }
        let (format, mut source) = match read_source(file, text, options.from, lookup) {
            Ok(read) => read,
            Err(problem) => {
                import.problems.push(whole(problem, is_named));
                continue;
            }
        };
        import.problems.append(&mut source.problems);
        match format {
            None => native.push(source),
            Some(format) => foreign.entry(format.name()).or_insert((format, Vec::new())).1.push(source),
        }
    }
    import.read(Sorted { native, foreign, listed }, options, lookup);
    import
}

/// Reads `sources`, which are in `format` and parsed already.
pub fn import_sources(
    format: ForeignFormat,
    sources: Vec<SourceFile>,
    options: &ImportOptions,
    lookup: &dyn Lookup,
) -> Import {
    let mut import = Import::default();
    let foreign = BTreeMap::from([(format.name(), (format, sources))]);
    import.read(Sorted { foreign, ..Sorted::default() }, options, lookup);
    import
}

impl Import {
    /// Converts the foreign files, and reads everything as one fixture.
    fn read(&mut self, sorted: Sorted, options: &ImportOptions, lookup: &dyn Lookup) {
        let (import, Sorted { mut native, foreign, listed }) = (self, sorted);
        let mut documents: Vec<Document> = Vec::new();
        let mut ends = Vec::new();
        for source in &mut native {
            let nodes = std::mem::take(&mut source.documents).into_iter();
            documents.extend(nodes.map(|node| Document { node, expand: Expand::All, converted: false }));
            ends.push(documents.len());
            // Only its name is still needed.
            source.text = String::new();
        }
        let mut all = Vec::new();
        if let (Some(map), false) = (&options.map, listed.is_empty()) {
            all.push((foreign::convert_by(map, &listed), false));
        }
        for (format, sources) in foreign.into_values() {
            let converted = match (format, &options.label_prefix) {
                (ForeignFormat::Autokuma, Some(prefix)) => foreign::convert_labels(prefix, &sources),
                _ => foreign::convert(format, &sources),
            };
            all.push((converted, format.has_variables(&sources)));
            import.converted.push((format, sources.len()));
        }
        for (mut converted, has_variables) in all {
            import.remarks.extend(converted.remarks);
            import.problems.extend(converted.problems);
            let expand = if options.expand_env { Expand::Variables } else { Expand::Nothing };
            if !options.expand_env && has_variables {
                unexpanded(&mut converted.document, options.skip_invalid, &mut import.problems);
            }
            documents.push(Document { node: converted.document, expand, converted: true });
        }
        let contents = read_contents(documents, lookup);
        import.fixture = contents.fixture;
        let before = import.problems.len();
        import.problems.extend(contents.problems);
        let mut start = 0;
        for (source, end) in native.iter().zip(ends) {
            if !contents.says_something[start..end].contains(&true) {
                empty(source, !options.in_folders.contains(&source.file), &mut import.problems);
            }
            start = end;
        }
        if options.skip_invalid {
            import.skip_invalid(before, &contents.invalid);
        }
    }

    /// Turns the problems of single items into lines of the report, unless nothing is left. Those of `items` begin at `before`.
    fn skip_invalid(&mut self, before: usize, items: &[Invalid]) {
        if self.fixture.things.is_empty() {
            return;
        }
        let mut last: Option<usize> = None;
        for (number, problem) in std::mem::take(&mut self.problems).into_iter().enumerate() {
            let Some(at) = problem.at.clone() else {
                self.problems.push(problem);
                continue;
            };
            let what = problem.subject.strip_prefix(&at.to_string()).unwrap_or(&problem.subject);
            let what = what.strip_prefix(": ").unwrap_or(what);
            let number = number.checked_sub(before);
            let item = number.map(|number| items.partition_point(|item| item.problems.end <= number));
            let item = item.filter(|at| items.get(*at).zip(number).is_some_and(|(item, n)| item.problems.contains(&n)));
            let (what, why) = match item.map(|item| &items[item]) {
                Some(item) => {
                    let field = what.strip_prefix(item.path.as_str()).unwrap_or_default().trim_start_matches('.');
                    let field = if field.is_empty() { String::new() } else { format!("`{field}`: ") };
                    (item.subject.as_str(), format!("{field}{}", problem.message))
                }
                None => (what, problem.message.clone()),
            };
            match self.remarks.last_mut().filter(|_| item.is_some() && item == last) {
                Some(remark) => remark.why.push_str(&format!("; {why}")),
                None => {
                    self.remarks.push(ReportLine { at, what: what.to_owned(), why, outcome: ImportOutcome::Skipped });
                    self.left_out.push(problem);
                }
            }
            last = item;
        }
    }
}

/// A problem of a whole file. It is not skipped if a user named the file: a source of which nothing is left is an error.
fn whole(problem: Problem, is_named: bool) -> Problem {
    Problem { at: problem.at.clone().filter(|_| !is_named), ..problem }
}

/// Parses a file, and detects its format; `None` is the native one.
///
/// # Errors
/// A text that is not valid, or that is known and cannot be read.
pub fn read_source(
    file: String,
    text: String,
    from: InputFormat,
    lookup: &dyn Lookup,
) -> Result<(Option<ForeignFormat>, SourceFile), Problem> {
    if let Some(problem) = unknown::by_text(&file, &text) {
        return Err(problem);
    }
    let detected = match (from, Syntax::of(&file)) {
        (InputFormat::Foreign(format), _) => Some(format),
        (InputFormat::Detected, None) => ForeignFormat::of_text(&file, &text),
        _ => None,
    };
    let is_text =
        matches!(detected, Some(ForeignFormat::Lines | ForeignFormat::Autokuma)) && Syntax::of(&file).is_none();
    let (documents, problems) = match (is_text, detected) {
        (true, _) => Default::default(),
        (_, format) => {
            let guessed = || match format {
                Some(ForeignFormat::Csv | ForeignFormat::UptimeRobot)
                    if ForeignFormat::of_text(&file, &text) == format =>
                {
                    Syntax::Csv
                }
                _ => Syntax::guess(&text),
            };
            let syntax = Syntax::of(&file).unwrap_or_else(guessed);
            text::read_lines(&file, &text, syntax, &|path| lookup.include(&file, path))
                .map_err(|problem| unknown::template(&file, &text, problem))?
        }
    };
    let source = SourceFile { file, text, documents, problems };
    let format = match from {
        InputFormat::Native => None,
        InputFormat::Foreign(format) => Some(format),
        InputFormat::Detected => detected.or_else(|| ForeignFormat::guess(&source)),
    };
    match format {
        None => unknown::by_content(&source).map_or(Ok((None, source)), Err),
        format => Ok((format, source)),
    }
}

/// Parses a list for a map.
fn parse_list(file: String, text: String) -> Result<SourceFile, Problem> {
    let guessed = || match ForeignFormat::of_text(&file, &text) {
        Some(ForeignFormat::Csv | ForeignFormat::UptimeRobot) => Syntax::Csv,
        _ => Syntax::guess(&text),
    };
    let syntax = Syntax::of(&file).unwrap_or_else(guessed);
    let (documents, problems) = text::read_lines(&file, &text, syntax, &text::no_files)
        .map_err(|problem| unknown::template(&file, &text, problem))?;
    Ok(SourceFile { file, text, documents, problems })
}

/// The problem of a native file that defines nothing; unknown keys are reported already.
fn empty(source: &SourceFile, is_named: bool, problems: &mut Vec<Problem>) {
    let is_reported = |problem: &&mut Problem| problem.at.as_ref().is_some_and(|at| *at.file == *source.file);
    let mut reported = false;
    for problem in problems.iter_mut().filter(is_reported) {
        *problem = whole(problem.clone(), is_named);
        reported = true;
    }
    if !reported {
        let message = "defines nothing; to define an empty list, write `monitors: []`";
        problems.push(Problem::new(&source.file, message));
    }
}

/// Reports variables that the tool of the source would expand, and removes their values if invalid ones are left out; returns
/// whether `node` itself is to be removed.
fn unexpanded(node: &mut Node, is_removed: bool, problems: &mut Vec<Problem>) -> bool {
    match &mut node.data {
        Data::Text(text) if text.contains("${") => {
            let message = "contains a variable of the environment, which is not expanded";
            problems.push(Problem::at(&node.at, &format!("`{text}`"), message).command("--expand-env"));
            return is_removed;
        }
        Data::List(items) => items.retain_mut(|item| !unexpanded(item, is_removed, problems)),
        Data::Map(entries) => entries.retain_mut(|entry| !unexpanded(&mut entry.value, is_removed, problems)),
        _ => {}
    }
    false
}
