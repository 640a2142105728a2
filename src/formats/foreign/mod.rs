//! The files of others, brought into the native form: a document in, the same things as a native document out.
//!
//! Every converter is a pure function from nodes to nodes. The values keep their places, so that whatever is wrong with
//! them later is told in the words and lines of the file that the person has.

use super::node::{At, Node};
use crate::error::Problem;

/// A text that a person gave us, already read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name, as it was given.
    pub file: String,
    /// What stands in it.
    pub text: String,
    /// The documents in it; none for formats that are only lines of text.
    pub documents: Vec<Node>,
}

/// What became of a foreign document.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The same in the native form.
    pub document: Node,
    /// Everything of the source that is not in it.
    pub skipped: Vec<Skipped>,
}

/// One object of a source that could not be taken over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it stands.
    pub at: At,
    /// What it is: `` monitor `Shop` ``.
    pub what: String,
    /// Why it was left out.
    pub why: String,
}

/// What is wrong at `at`, about `what`.
pub(crate) fn problem(at: &At, what: &str, message: impl AsRef<str>) -> Problem {
    Problem::new(format!("{at}: {what}"), message.as_ref())
}
