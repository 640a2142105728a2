//! People read plain words: `plain/words.txt` lists those that nothing they read may contain, and what to say.
//!
//! What is looked at: every text in `src` (but for those of `plain/allowed.txt`), every help page, README, CHANGELOG,
//! ARCHITECTURE, docs, packaging, and every comment of src.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::house::layers::{root, rust_files};

/// A line of `words.txt`: `words` is wrong, but within `except`.
struct Rule {
    words: Vec<String>,
    say: String,
    except: Vec<Vec<String>>,
}

/// A text that people read, and the line of the file it begins in.
struct Text {
    file: String,
    line: usize,
    text: String,
}

/// A word that should not be there.
struct Found {
    file: String,
    line: usize,
    word: String,
    say: String,
}

fn is_part(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '\''
}

/// The words of `text`, in lower case, each with the number of line breaks before it.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let (mut line, mut word) = (0, String::new());
    for letter in text.chars().chain([' ']) {
        if is_part(letter) {
            word.extend(letter.to_lowercase());
        } else if !word.is_empty() {
            words.push((line, std::mem::take(&mut word)));
        }
        line += usize::from(letter == '\n');
    }
    words
}

fn phrase(text: &str) -> Vec<String> {
    text.split(|letter: char| !is_part(letter) && letter != '*')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The lines of a list that are neither empty nor a comment.
fn listed(name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("tests/it/house/plain").join(name)).unwrap();
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for line in listed("words.txt") {
        let (wrong, right) = line.split_once("->").unwrap_or_else(|| panic!("words.txt: no `->` in: {line}"));
        let (say, except) = right.split_once('|').unwrap_or((right, ""));
        let except: Vec<_> = except.split(',').map(phrase).filter(|words| !words.is_empty()).collect();
        for words in wrong.split(',').map(phrase) {
            rules.push(Rule { words, say: say.trim().to_owned(), except: except.clone() });
        }
    }
    rules
}

fn is_at(words: &[(usize, String)], at: usize, phrase: &[String]) -> bool {
    if words[at].1.as_bytes()[0] != phrase[0].as_bytes()[0] {
        return false;
    }
    phrase.iter().enumerate().all(|(n, desired)| {
        words.get(at + n).is_some_and(|(_, word)| match desired.strip_suffix('*') {
            Some(start) => word.starts_with(start),
            None => word == desired,
        })
    })
}

impl Rule {
    /// The places in `words` where the rule is broken.
    fn broken(&self, words: &[(usize, String)]) -> Vec<usize> {
        let excused = |at: usize| {
            self.except.iter().any(|phrase| {
                let first = (at + 1).saturating_sub(phrase.len());
                (first..=at).any(|start| is_at(words, start, phrase) && start + phrase.len() >= at + self.words.len())
            })
        };
        (0..words.len()).filter(|at| is_at(words, *at, &self.words) && !excused(*at)).collect()
    }
}

/// The string literals and comments of Rust source, up to its tests.
fn texts_of_rust(file: &str, source: &str) -> Vec<Text> {
    let letters: Vec<char> = source.split("#[cfg(test)]").next().unwrap_or_default().chars().collect();
    let mut texts: Vec<Text> = Vec::new();
    let (mut at, mut line) = (0, 1);
    let mut comment_ends = 0;
    let starts =
        |at: usize, what: &str| what.chars().enumerate().all(|(n, letter)| letters.get(at + n) == Some(&letter));
    while at < letters.len() {
        let begin = (at, line);
        let before = at.checked_sub(1).map_or(' ', |before| letters[before]);
        if starts(at, "//") {
            while at < letters.len() && letters[at] != '\n' {
                at += 1;
            }
            let text: String = letters[begin.0..at].iter().collect();
            let comment = text.trim_start_matches(['/', '!']).to_owned();
            match texts.last_mut() {
                Some(last) if comment_ends == line - 1 => last.text.extend(["\n", &comment]),
                _ => texts.push(Text { file: file.to_owned(), line, text: comment }),
            }
            comment_ends = line;
        } else if letters[at] == 'r' && !is_part(before) && (starts(at, "r\"") || starts(at, "r#"))
            || starts(at, "br\"")
        {
            at += if letters[at] == 'b' { 2 } else { 1 };
            let hashes = letters[at..].iter().take_while(|letter| **letter == '#').count();
            at += hashes;
            if letters.get(at) == Some(&'"') {
                let end = format!("\"{}", "#".repeat(hashes));
                let start = at + 1;
                at = start;
                while at < letters.len() && !starts(at, &end) {
                    line += usize::from(letters[at] == '\n');
                    at += 1;
                }
                texts.push(Text { file: file.to_owned(), line: begin.1, text: letters[start..at].iter().collect() });
                at += end.len();
            }
        } else if letters[at] == '"' {
            at += 1;
            let mut text = String::new();
            while at < letters.len() && letters[at] != '"' {
                if letters[at] == '\\' {
                    at += 1;
                    // The letter of an escape is part of no word; the end of a line that is continued still counts.
                    text.push(if letters[at] == '\n' { '\n' } else { ' ' });
                } else {
                    text.push(letters[at]);
                }
                line += usize::from(letters[at] == '\n');
                at += 1;
            }
            at += 1;
            texts.push(Text { file: file.to_owned(), line: begin.1, text: without_placeholders(&text) });
        } else if letters[at] == '\'' {
            // A letter, or the name of a lifetime.
            at += match letters.get(at + 1) {
                Some('\\') => 3 + letters[at + 3..].iter().take_while(|letter| **letter != '\'').count() + 1,
                Some(_) if letters.get(at + 2) == Some(&'\'') => 3,
                _ => 1,
            };
        } else {
            line += usize::from(letters[at] == '\n');
            at += 1;
        }
    }
    texts
}

/// `{name}` is no word that is read.
fn without_placeholders(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let inside = &rest[open + 1..];
        let end = inside.find(|letter: char| !(letter.is_ascii_alphanumeric() || "_.:?#<>^$*".contains(letter)));
        plain.push_str(&rest[..open]);
        rest = match end {
            Some(end) if inside[end..].starts_with('}') => &inside[end + 1..],
            _ => inside,
        };
        plain.push(' ');
    }
    plain + rest
}

/// `text` without code: what is between backticks is named as it is named.
fn without_code(text: &str) -> String {
    let mut plain = String::new();
    let mut fenced = false;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            plain.push('\n');
        } else if fenced {
            plain.push('\n');
        } else {
            plain.push_str(line);
        }
    }
    let mut code = false;
    plain
        .chars()
        .map(|letter| {
            code ^= letter == '`';
            if code && letter != '\n' { '`' } else { letter }
        })
        .collect()
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(pages(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Each verb's `--help`.
fn helps(command: &mut clap::Command, name: &str, texts: &mut Vec<Text>) {
    let help = command.render_long_help().to_string();
    texts.push(Text { file: format!("{name} --help"), line: 1, text: help });
    for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        let name = format!("{name} {}", verb.get_name());
        helps(verb, &name, texts);
    }
}

/// Everything that people read.
fn texts() -> Vec<Text> {
    let allowed: Vec<(String, String)> = listed("allowed.txt")
        .iter()
        .map(|line| {
            let (file, text) = line.split_once(' ').unwrap_or_else(|| panic!("allowed.txt: no text in: {line}"));
            (file.to_owned(), text.trim().to_owned())
        })
        .collect();
    let mut used = vec![false; allowed.len()];
    let mut texts = Vec::new();
    for path in rust_files(&root().join("src")) {
        let file = name_of(&path);
        let source = fs::read_to_string(&path).unwrap();
        for mut text in texts_of_rust(&file, &source) {
            let is_comment = source.lines().nth(text.line - 1).is_some_and(|line| line.trim_start().starts_with("//"));
            if is_comment {
                text.text = without_code(&text.text);
            }
            let excuse = allowed.iter().position(|(owner, what)| *owner == file && *what == text.text.trim());
            match excuse {
                Some(excuse) => used[excuse] = true,
                None => texts.push(text),
            }
        }
    }
    for (n, used) in used.iter().enumerate() {
        assert!(used, "allowed.txt: {} has no such text: {}", allowed[n].0, allowed[n].1);
    }
    let named =
        ["README.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "Cargo.toml"].map(|name| root().join(name));
    let is_text = |path: &std::path::PathBuf| path.extension().is_none_or(|kind| kind != "png");
    let pages = pages(&root().join("docs")).into_iter().chain(pages(&root().join("packaging")));
    for path in named.into_iter().chain(pages.filter(is_text)) {
        let text = fs::read_to_string(&path).unwrap();
        let file = name_of(&path);
        let shows_code = file == "ARCHITECTURE.md" || file == "CONTRIBUTING.md" || file.starts_with("docs/design/");
        let text = if shows_code { without_code(&text) } else { text };
        texts.push(Text { file, line: 1, text });
    }
    helps(&mut kumadb::cli::command(), "kumadb", &mut texts);
    texts
}

fn found() -> Vec<Found> {
    let rules = rules();
    let mut found = Vec::new();
    for text in texts() {
        let words = words(&text.text);
        for rule in &rules {
            for at in rule.broken(&words) {
                let word = words[at..at + rule.words.len()].iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>();
                found.push(Found {
                    file: text.file.clone(),
                    line: text.line + words[at].0,
                    word: word.join(" "),
                    say: rule.say.clone(),
                });
            }
        }
    }
    found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    found
}

#[test]
fn everything_that_people_read_is_in_plain_words() {
    let mut wrong = String::new();
    for one in found() {
        writeln!(wrong, "{}:{}: `{}`; say: {}", one.file, one.line, one.word, one.say).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn words_are_found_where_they_are() {
    let rule = |words: &str, except: &str| Rule {
        words: phrase(words),
        say: String::new(),
        except: except.split(',').map(phrase).filter(|words| !words.is_empty()).collect(),
    };
    let broken = |rule: &Rule, text: &str| rule.broken(&words(text)).len();
    let far = rule("far", "so far, as far as");
    for (text, n) in [("--far-image", 1), ("so far; as far\nas it goes", 0), ("farther Far", 1), ("afar", 0)] {
        assert_eq!(broken(&far, text), n, "{text}");
    }
    assert_eq!(broken(&rule("rehears*", ""), "rehearsal, rehearse"), 2);
    assert_eq!(broken(&rule("over there", ""), "over\nthere over here"), 1);
    let source = "//! Head\n//! tail\nfn f<'a>(x: &'a str) -> char {\n    // a comment\n    g(\"one\\ntwo {told} \\\n      three\");\n    \
        h(r#\"raw \"x\" \"#, '\"', '\\'', b\"bytes\");\n    '\\u{e9}'\n}\n/// Doc `code`\nstruct A;\n#[cfg(test)]\nmod t { \"no\" }";
    let texts: Vec<(usize, String)> =
        texts_of_rust("a.rs", source).into_iter().map(|text| (text.line, text.text)).collect();
    let expected = [
        (1, " Head\n tail"),
        (4, " a comment"),
        (5, "one two   \n      three"),
        (7, "raw \"x\" "),
        (7, "bytes"),
        (10, " Doc `code`"),
    ];
    assert_eq!(texts, expected.map(|(line, text)| (line, text.to_owned())));
    assert_eq!(without_code("a `far`\nb"), "a `````\nb");
}

/// The words in `text` that nobody shall read.
pub fn wrong_words(text: &str) -> Vec<String> {
    let words = words(text);
    let is_broken = |rule: &Rule| !rule.broken(&words).is_empty();
    rules().iter().filter(|rule| is_broken(rule)).map(|rule| rule.words.join(" ")).collect()
}
