//! A table of the file, read key by key: what is wrong is noted with its place, and so is what nobody
//! asked for.

use std::cell::RefCell;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::mistakes::{Mistakes, nearest, with_causes};
use super::reference;
use super::value::{Bytes, Value, shown, shown_table};

/// A file of settings, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) file: &'a Path,
    pub(crate) text: &'a str,
    pub(crate) mistakes: &'a Mistakes,
}

/// One of its tables. When it is dropped, keys that nobody has asked for are mistakes.
pub(crate) struct Section<'a> {
    document: &'a Document<'a>,
    /// As in brackets; empty for what stands above all brackets.
    name: String,
    line: usize,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Document<'a> {
    pub(crate) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section::new(self, String::new(), 1, table)
    }

    /// The number of the line in which a place of the text lies.
    pub(crate) fn line(&self, place: &Range<usize>) -> usize {
        self.text.bytes().take(place.start).filter(|byte| *byte == b'\n').count() + 1
    }

    /// A path of the file is as seen from the file's folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }
}

impl<'a> Section<'a> {
    fn new(
        document: &'a Document<'a>,
        name: String,
        line: usize,
        table: &'a DeTable<'a>,
    ) -> Section<'a> {
        Section { document, name, line, table, known: RefCell::default() }
    }

    /// A value, if the key is there and what it should be.
    pub(crate) fn get<T: Value>(&self, key: &'static str) -> Option<T> {
        let value = self.find(key)?;
        let read = T::read(value.get_ref());
        if read.is_none() {
            let found = shown(value.get_ref());
            self.wrong(key, format!("`{key}` is {}, not {found}", T::WANTED));
        }
        read
    }

    /// Puts a value there if the key is.
    pub(crate) fn set<T: Value>(&self, key: &'static str, place: &mut T) {
        if let Some(value) = self.get(key) {
            *place = value;
        }
    }

    /// The same with a number of bytes.
    pub(crate) fn set_bytes<T: TryFrom<u64>>(&self, key: &'static str, place: &mut T) {
        if let Some(value) = self.bytes(key) {
            *place = value;
        }
    }

    pub(crate) fn bytes<T: TryFrom<u64>>(&self, key: &'static str) -> Option<T> {
        let Bytes(bytes) = self.get(key)?;
        let fits = T::try_from(bytes).ok();
        if fits.is_none() {
            self.wrong(key, format!("`{key}`: so many bytes are more than this machine can have"));
        }
        fits
    }

    /// A text, as what `parse` makes of it.
    pub(crate) fn parsed<T, E: Error + 'static>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text: String = self.get(key)?;
        let parsed = parse(&text);
        parsed.map_err(|error| self.wrong(key, format!("`{key}`: {}", with_causes(&error)))).ok()
    }

    /// One of these words.
    pub(crate) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text: String = self.get(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.wrong(key, format!("`{key}` is {}, not \"{text}\"", words.join(" or ")));
        }
        found
    }

    /// What must be there.
    pub(crate) fn need<T>(&self, key: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.has(key) {
            self.wrong(key, format!("`{key}` is missing in {}", self.heading()));
        }
        value
    }

    /// A file that can be read: its path and what is in it.
    pub(crate) fn file(&self, key: &'static str) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.document.path(&self.get::<String>(key)?);
        match fs::read(&path) {
            Ok(content) => Some((path, content)),
            Err(error) => {
                self.wrong(key, format!("`{key}`: cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    pub(crate) fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.get::<String>(key).map(|path| self.document.path(&path))
    }

    /// A table below this one.
    pub(crate) fn table(&self, key: &'static str) -> Option<Section<'a>> {
        let value = self.find(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(key, format!("`{key}` is a table: write [{}]", self.path_of(key)));
        }
        table.map(|table| self.below(key, value.span(), table))
    }

    /// Any number of tables below this one.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let items = value.get_ref().as_array();
        let tables = items.and_then(|items| {
            let tables = items.iter().map(|item| Some((item.span(), item.get_ref().as_table()?)));
            tables.collect::<Option<Vec<_>>>()
        });
        let Some(tables) = tables else {
            self.wrong(
                key,
                format!("`{key}` can be there several times: write [[{}]]", self.path_of(key)),
            );
            return Vec::new();
        };
        tables.into_iter().map(|(place, table)| self.below(key, place, table)).collect()
    }

    fn below(&self, key: &str, place: Range<usize>, table: &'a DeTable<'a>) -> Section<'a> {
        Section::new(self.document, self.path_of(key), self.document.line(&place), table)
    }

    /// The key is known from now on.
    fn find(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Notes what is wrong at a key, or in the table if the key is not there.
    pub(crate) fn wrong(&self, key: &str, what: impl Into<String>) {
        let line = self.line_of(key).unwrap_or(self.line);
        self.document.mistakes.add(self.document.file, Some(line), what);
    }

    fn line_of(&self, key: &str) -> Option<usize> {
        let (key, _) = self.table.iter().find(|(found, _)| found.get_ref() == key)?;
        Some(self.document.line(&key.span()))
    }

    /// All of it, in one line that says nothing about places.
    #[cfg_attr(not(feature = "bridge"), expect(dead_code, reason = "only bridges are compared"))]
    pub(crate) fn said(&self) -> String {
        shown_table(self.table)
    }

    /// A table of this name without keys.
    pub(crate) fn empty<'b>(&self, table: &'b DeTable<'b>) -> Section<'b>
    where
        'a: 'b,
    {
        Section::new(self.document, String::new(), self.line, table)
    }

    pub(crate) fn document(&self) -> &'a Document<'a> {
        self.document
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    fn path_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn heading(&self) -> String {
        if self.name.is_empty() { "the file".to_owned() } else { format!("[{}]", self.name) }
    }

    /// Keys of it are no mistakes, whatever they are.
    #[cfg_attr(
        all(feature = "bridge", feature = "jwt"),
        expect(dead_code, reason = "all parts are there")
    )]
    pub(crate) fn ignore(self) {
        std::mem::forget(self);
    }

    fn about_unknown(&self, key: &str) -> String {
        let known = self.known.borrow();
        // What it is elsewhere goes before what is spelled like it here.
        let hint = match (reference::hint(key), nearest(key, &known)) {
            (Some(hint), _) => hint,
            (None, Some(nearest)) => format!("did you mean `{nearest}`?"),
            (None, None) => format!("there are {}", known.join(", ")),
        };
        format!("unknown key `{key}` in {}; {hint}", self.heading())
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for (key, _) in self.table {
            let key = key.get_ref();
            if !self.known.borrow().iter().any(|known| known == key) {
                self.wrong(key, self.about_unknown(key));
            }
        }
    }
}
