//! Lines of a file as payloads of a stream.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use serde_json::{Map, Value};

use crate::decode::Decoder;
use crate::decode::format::{Format, FormatKind};

/// Bytes of one line.
const LINE_BYTES: u64 = 16 << 20;

/// A file that is being read.
#[derive(Debug)]
pub(super) enum Lines {
    /// Each line is a payload.
    Plain(BufReader<File>),
    /// Lines of fields for a stream of lines, behind the header if it wants one.
    Csv { lines: Box<csv::Reader<File>>, header: Option<StringRecord>, delimiter: u8 },
    /// Lines of fields for a stream of objects.
    Named { lines: Box<csv::Reader<File>>, names: StringRecord },
    /// Rows, written as payloads here.
    #[cfg(feature = "parquet")]
    Rows(Box<super::rows::Rows>),
}

impl Lines {
    pub(super) fn open(path: &Path, decoder: &Decoder) -> Result<Lines, String> {
        if !decoder.takes_records() {
            return Err("the rows of the stream are the changes of a table".to_owned());
        }
        let Format { kind, has_header, delimiter, .. } = *decoder.format();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let ending = ending.to_ascii_lowercase();
        let open = || File::open(path).map_err(|error| error.to_string());
        let csv = |has_headers| {
            let mut builder = ReaderBuilder::new();
            builder.has_headers(has_headers).delimiter(delimiter).flexible(true);
            Ok::<_, String>(Box::new(builder.from_reader(open()?)))
        };
        let header = |lines: &mut csv::Reader<File>| {
            lines.headers().cloned().map_err(|error| error.to_string())
        };
        match (ending.as_str(), kind) {
            ("ndjson" | "jsonl" | "json", FormatKind::Json) => {
                Ok(Lines::Plain(BufReader::new(open()?)))
            }
            ("csv", FormatKind::Csv) => {
                let mut lines = csv(has_header)?;
                let header = if has_header { Some(header(&mut lines)?) } else { None };
                Ok(Lines::Csv { lines, header, delimiter })
            }
            ("csv", FormatKind::Json) => {
                let mut lines = csv(true)?;
                let names = header(&mut lines)?;
                Ok(Lines::Named { lines, names })
            }
            ("ndjson" | "jsonl" | "json" | "csv", kind) => Err(format!(
                "a .{ending} file cannot be replayed into a stream of format '{}'",
                kind.word()
            )),
            #[cfg(feature = "parquet")]
            ("parquet", _) => {
                let rows = super::rows::Rows::open(open()?, decoder.format())?;
                Ok(Lines::Rows(Box::new(rows)))
            }
            #[cfg(not(feature = "parquet"))]
            ("parquet", _) => Err("the program was built without the feature `parquet`".to_owned()),
            _ => Err("it ends in none of .ndjson, .jsonl, .json, .csv and .parquet".to_owned()),
        }
    }

    /// The next payloads; none at the end.
    pub(super) fn next_chunk(
        &mut self,
        records: usize,
        bytes: usize,
    ) -> Result<Vec<Vec<u8>>, String> {
        let (mut chunk, mut size) = (Vec::new(), 0);
        while chunk.len() < records && size < bytes {
            let Some(payload) = self.next_payload()? else { break };
            size += payload.len();
            chunk.push(payload);
        }
        Ok(chunk)
    }

    fn next_payload(&mut self) -> Result<Option<Vec<u8>>, String> {
        match self {
            Lines::Plain(file) => plain(file),
            Lines::Csv { lines, header, delimiter } => {
                let Some(fields) = next_fields(lines)? else { return Ok(None) };
                let mut writer = WriterBuilder::new()
                    .delimiter(*delimiter)
                    .flexible(true)
                    .from_writer(Vec::new());
                for line in header.iter().chain([&fields]) {
                    writer.write_record(line).map_err(|error| error.to_string())?;
                }
                writer.into_inner().map(Some).map_err(|error| error.to_string())
            }
            Lines::Named { lines, names } => {
                let Some(fields) = next_fields(lines)? else { return Ok(None) };
                let cells = names.iter().zip(&fields).filter(|(_, cell)| !cell.is_empty());
                let object: Map<_, _> =
                    cells.map(|(name, cell)| (name.to_owned(), Value::from(cell))).collect();
                Ok(Some(Value::Object(object).to_string().into_bytes()))
            }
            #[cfg(feature = "parquet")]
            Lines::Rows(rows) => rows.next_payload(),
        }
    }
}

/// The next line that is not empty, without its end.
fn plain(file: &mut BufReader<File>) -> Result<Option<Vec<u8>>, String> {
    loop {
        let mut line = Vec::new();
        let read = file.by_ref().take(LINE_BYTES + 1).read_until(b'\n', &mut line);
        if read.map_err(|error| error.to_string())? == 0 {
            return Ok(None);
        }
        if line.len() as u64 > LINE_BYTES {
            return Err(format!("a line has more than {LINE_BYTES} bytes"));
        }
        let end = line.trim_ascii_end().len();
        line.truncate(end);
        if !line.is_empty() {
            return Ok(Some(line));
        }
    }
}

fn next_fields(lines: &mut csv::Reader<File>) -> Result<Option<StringRecord>, String> {
    let mut fields = StringRecord::new();
    let is_there = lines.read_record(&mut fields).map_err(|error| error.to_string())?;
    Ok(is_there.then_some(fields))
}
