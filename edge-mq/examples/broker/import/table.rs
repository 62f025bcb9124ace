//! A table of TOML, as it is written.

use std::fmt::Write;

use super::Fate;

/// A heading and its keys, each once: what is said last holds.
#[derive(Debug, Default)]
pub(super) struct Table {
    heading: String,
    keys: Vec<(&'static str, String)>,
}

impl Table {
    /// The heading with its brackets; what stands in front of all of them has none.
    pub(super) fn new(heading: &str) -> Table {
        Table { heading: heading.to_owned(), keys: Vec::new() }
    }

    /// A value as TOML has it.
    pub(super) fn set(&mut self, key: &'static str, value: impl ToString) -> Fate {
        self.keys.retain(|(found, _)| *found != key);
        self.keys.push((key, value.to_string()));
        Fate::Done
    }

    pub(super) fn text(&mut self, key: &'static str, text: &str) -> Fate {
        self.set(key, quoted(text))
    }

    pub(super) fn seconds(&mut self, key: &'static str, text: &str) -> Fate {
        self.number(key, text, |seconds| format!("\"{seconds} s\""))
    }

    /// What `write` makes of a number.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        text: &str,
        write: impl FnOnce(u64) -> String,
    ) -> Fate {
        match text.parse() {
            Ok(number) => self.set(key, write(number)),
            Err(_) => Fate::Missing("the value is no number".to_owned()),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(found, _)| *found == key)
    }

    /// Nothing if there is nothing in it, unless it can be there several times.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        if self.keys.is_empty() && !self.heading.starts_with("[[") {
            return text;
        }
        if !self.heading.is_empty() {
            text = format!("{}\n", self.heading);
        }
        for (key, value) in &self.keys {
            writeln!(text, "{key} = {value}").expect("a string takes all");
        }
        text
    }
}

/// A text as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(c)).expect("a string takes all");
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
