//! What a stored value has lost, and why a value cannot be stored.

use std::fmt;

use serde::Serialize;

/// What a stored value has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The fraction of a second of a time.
    SecondFraction,
    /// The fraction of a number in a column of integers.
    Fraction,
    /// Digits that a FLOAT does not have.
    Precision,
    /// What JavaScript writes for a date that it could not read; it has no other meaning than NULL.
    InvalidDate,
    /// An empty text where the column needs a number or a date.
    EmptyText,
    /// The end of a text that is too long.
    End,
    /// The whole value, which is of no use when it is cut.
    Value,
    /// A name that must be unique, which got another one.
    Name,
    /// NULL where the column does not allow it.
    Null,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::SecondFraction => "without fractions of a second",
            Loss::Fraction => "rounded to an integer",
            Loss::Precision => "rounded to the precision of the column",
            Loss::InvalidDate => "set to NULL, because `Invalid Date` is not a date",
            Loss::EmptyText => "set to NULL, because an empty text is not a number or date",
            Loss::End => "cut to the length of the column",
            Loss::Value => "set to NULL, because the column is too short for it",
            Loss::Name => "renamed",
            Loss::Null => "filled in, because the column does not allow NULL",
        })
    }
}

/// Why a column cannot store a value. The words never contain the value itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of each variant are its documentation")]
pub enum Misfit {
    Null,
    NotNumber,
    TooLarge { kind: String },
    NotDate,
    NotTime,
    NotChoice { choices: String },
    TooLong { length: usize, longest: usize, kind: String },
    WideCharacter,
    NotText,
    UnknownType { kind: String },
    Duplicate,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Null => f.write_str("is NULL, which is not allowed"),
            Misfit::NotNumber => f.write_str("is not a number"),
            Misfit::TooLarge { kind } => write!(f, "is out of the range of {kind}"),
            Misfit::NotDate => f.write_str("is not a valid date and time"),
            Misfit::NotTime => f.write_str("is not a valid time of day"),
            Misfit::NotChoice { choices } => write!(f, "is not one of {choices}"),
            Misfit::TooLong { length, longest, kind } => write!(f, "has length {length}, but {kind} allows {longest}"),
            Misfit::WideCharacter => f.write_str("has a character that the column cannot store"),
            Misfit::NotText => f.write_str("is binary data, not text"),
            Misfit::UnknownType { kind } => write!(f, "has the unsupported column type {kind}"),
            Misfit::Duplicate => f.write_str("is a duplicate: MariaDB ignores case and accents"),
        }
    }
}
