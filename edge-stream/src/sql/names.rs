//! Names in statements, and where things stand in the text.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Location;

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
