//! Words of statements.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Script;
use crate::error::SqlError;

impl Script<'_> {
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
}
