//! What is wrong with a file of settings, and where.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) file: PathBuf,
    /// From 1; `None` if it is about the whole file.
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.what)
    }
}

/// All that was found so far.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    found: RefCell<Vec<Mistake>>,
}

impl Mistakes {
    pub(crate) fn add(&self, file: &Path, line: Option<usize>, what: impl Into<String>) {
        let mistake = Mistake { file: file.to_owned(), line, what: what.into() };
        self.found.borrow_mut().push(mistake);
    }

    /// In the order of the lines.
    pub(crate) fn into_sorted(self) -> Vec<Mistake> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        found
    }
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The known word that somebody may have meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|known| (distance(word, known), *known));
    let (distance, nearest) = near.min()?;
    (distance <= word.chars().count().max(nearest.len()) / 3).then_some(nearest)
}

/// How many letters have to be changed, added or left out (Levenshtein).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_near() {
        let known = ["password_file", "acl_file", "allow_anonymous"];
        for (word, expected) in [
            ("pasword_file", Some("password_file")),
            ("acl-file", Some("acl_file")),
            ("allow_anonimous", Some("allow_anonymous")),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }
}
