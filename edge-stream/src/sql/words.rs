//! Words and names of statements, and where they stand.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::{Script, position};
use crate::error::{Position, SqlError};

impl Script<'_> {
    /// A name under which something is stored, and which may become a folder of the cloud.
    pub(super) fn name(&mut self) -> Result<String, SqlError> {
        let at = self.parser.peek_token_ref().clone();
        let name = self.column_name()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            let reason = format!("`{name}` is no name for what is stored");
            return Err(self.at(&at, reason).or("use 1 to 64 letters, digits, _ and -"));
        }
        Ok(name)
    }

    pub(super) fn column_name(&mut self) -> Result<String, SqlError> {
        let name = self.parser.parse_identifier();
        name.map(normalized).map_err(|error| self.parse_error(error))
    }

    /// Whether this word comes next, or so many behind the next.
    pub(super) fn is_next(&self, word: &str, behind: usize) -> bool {
        matches!(&self.parser.peek_nth_token_ref(behind).token, Token::Word(found)
            if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    /// Takes this word, if it comes next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.is_next(word, 0);
        if found {
            self.parser.next_token();
        }
        found
    }

    /// Takes all these words, if the first of them comes next.
    pub(super) fn words(&mut self, words: &[&str]) -> Result<bool, SqlError> {
        let Some((first, rest)) = words.split_first() else { return Ok(true) };
        if !self.word(first) {
            return Ok(false);
        }
        rest.iter().try_for_each(|word| self.expect_word(word))?;
        Ok(true)
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        let next = self.parser.peek_token_ref().clone();
        if self.word(word) {
            return Ok(());
        }
        Err(self.at(&next, format!("expected {word}, found {}", next.token)))
    }

    pub(super) fn at(&self, token: &TokenWithSpan, reason: impl Into<String>) -> SqlError {
        SqlError::statement(self.here(&token.span.start), reason)
    }

    /// Where in the text a place is, in bytes.
    pub(super) fn offset(&self, location: Location) -> usize {
        let Some(Position { line, column }) = position(location) else { return self.sql.len() };
        let lines = self.sql.split_inclusive('\n');
        let (mut offset, mut rest) = (0, "");
        for (number, text) in (1..=line).zip(lines) {
            if number == line {
                rest = text;
                break;
            }
            offset += text.len();
        }
        let before = rest.chars().take(usize::try_from(column).unwrap_or(1).saturating_sub(1));
        offset + before.map(char::len_utf8).sum::<usize>()
    }
}

pub(super) fn normalized(name: Ident) -> String {
    if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() }
}
