//! Payloads that are text without names: lines of CSV, or one value.

use csv::{ReaderBuilder, StringRecord, Trim};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::MAX_ROWS;

/// How lines of a payload are read.
#[derive(Debug, Clone)]
pub(crate) struct Csv {
    /// The columns in the order in which they were declared.
    pub(crate) names: Vec<String>,
    pub(crate) has_header: bool,
    pub(crate) delimiter: u8,
}

/// The fields of one line, by column. Those that are empty are null.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    names: &'a [String],
    /// The field of each name.
    places: &'a [Option<usize>],
    fields: StringRecord,
}

impl<'a> Line<'a> {
    fn cells(&self) -> impl Iterator<Item = (&'a str, Option<&str>)> {
        self.names.iter().zip(self.places).map(|(name, place)| {
            let field = place.and_then(|place| self.fields.get(place));
            (name.as_str(), field.filter(|field| !field.is_empty()))
        })
    }

    pub(crate) fn value(&self) -> Value {
        let cells = self.cells().map(|(name, cell)| (name.to_owned(), Value::from(cell)));
        Value::Object(cells.collect::<Map<_, _>>())
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, cell) in self.cells() {
            map.serialize_entry(name, &cell)?;
        }
        map.end()
    }
}

impl Csv {
    /// Shows the lines of a payload one by one.
    ///
    /// # Errors
    /// When one of them does not fit the columns, or `take` fails.
    pub(crate) fn read(
        &self,
        payload: &[u8],
        mut take: impl FnMut(Line<'_>) -> Result<(), String>,
    ) -> Result<usize, String> {
        let payload = payload.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(payload);
        let mut lines = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .trim(Trim::All)
            .buffer_capacity(payload.len().clamp(64, 8192))
            .from_reader(payload)
            .into_records();
        let mut places = (0..self.names.len()).map(Some).collect();
        if self.has_header {
            let header = lines.next().ok_or("payload is empty, and a header was declared")?;
            places = self.places(&header.map_err(|error| wrong(&error))?);
        }
        let mut count = 0;
        for fields in lines {
            let fields = fields.map_err(|error| wrong(&error))?;
            count += 1;
            if count > MAX_ROWS {
                return Err(format!("payload has more than {MAX_ROWS} lines"));
            }
            if !self.has_header && fields.len() != self.names.len() {
                let (found, wanted) = (fields.len(), self.names.len());
                return Err(format!(
                    "line {count} has {found} fields, and there are {wanted} columns"
                ));
            }
            take(Line { names: &self.names, places: &places, fields })?;
        }
        if count == 0 {
            return Err("payload has no line".to_owned());
        }
        Ok(count)
    }

    /// Where the header has each column; upper and lower case are the same.
    fn places(&self, header: &StringRecord) -> Vec<Option<usize>> {
        let names = self.names.iter();
        let place =
            |name: &String| header.iter().position(|found| found.eq_ignore_ascii_case(name));
        names.map(place).collect()
    }
}

fn wrong(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "payload is no text in UTF-8".to_owned(),
        _ => format!("payload is no CSV: {error}"),
    }
}
