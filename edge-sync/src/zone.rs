//! The landing zone: where objects lie, and an audit that reads them back.
//!
//! ```text
//! <zone>/<log>/edge=<id>/<number, 20 digits>.parquet
//! ```
//!
//! Numbers are dense for each edge and Log, so a reader sees a missing segment without a
//! manifest, and engines that know hive partitions see `edge` as a column.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{Array, Int64Array};
use bytes::Bytes;
use edge_db::Seq;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;

use crate::error::ZoneError;
use crate::segment;

/// The path of one segment, relative to the zone.
pub(crate) fn segment_path(log: &str, edge: &str, number: u64) -> String {
    format!("{log}/edge={edge}/{number:020}.parquet")
}

/// A landing zone in a folder, as its reader sees it.
#[derive(Debug, Clone)]
pub struct Zone {
    folder: PathBuf,
}

/// What lies in a landing zone for one Log of one edge, counted by reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamAudit {
    /// Segments, gap markers included.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Different `_seq` in them; less than `rows` if one landed twice.
    pub distinct: u64,
    /// Rows that gap markers stand for.
    pub dropped: u64,
    /// Numbers between segments for which there is none.
    pub missing_segments: Vec<u64>,
    /// Positions that no segment and no gap marker covers.
    pub missing_rows: u64,
}

impl StreamAudit {
    /// Whether every row from the first to the last landed once or is accounted for by a marker.
    pub fn is_whole(&self) -> bool {
        self.rows == self.distinct && self.missing_segments.is_empty() && self.missing_rows == 0
    }
}

impl Zone {
    /// The landing zone in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Zone {
        Zone { folder: folder.into() }
    }

    /// Reads every segment of `log` and counts, for each edge. Nothing there is an empty answer.
    ///
    /// # Errors
    /// When an object cannot be read, or is no segment.
    pub fn audit(&self, log: &str) -> Result<BTreeMap<String, StreamAudit>, ZoneError> {
        let mut audits = BTreeMap::new();
        for (name, folder) in entries(&self.folder.join(log))? {
            if let Some(edge) = name.strip_prefix("edge=") {
                audits.insert(edge.to_owned(), audit_edge(&folder)?);
            }
        }
        Ok(audits)
    }
}

fn audit_edge(folder: &Path) -> Result<StreamAudit, ZoneError> {
    let mut audit = StreamAudit::default();
    let mut seqs = Vec::new();
    let mut covered = 0;
    let mut bounds: Option<Range<u64>> = None;
    for (name, path) in entries(folder)? {
        let Some(number) = name.strip_suffix(".parquet") else { continue };
        let wrong = |reason: &str| segment_error(&path, reason);
        let number: u64 = number.parse().map_err(|_| wrong("its name is no number"))?;
        audit.missing_segments.extend(audit.next_number()..number);
        audit.segments += 1;
        let segment = read_segment(&path)?;
        covered += segment.range.end.saturating_sub(segment.range.start);
        if segment.gap {
            audit.dropped += segment.range.end - segment.range.start;
        }
        bounds = Some(match bounds {
            None => segment.range,
            Some(all) => all.start.min(segment.range.start)..all.end.max(segment.range.end),
        });
        audit.rows += segment.seqs.len() as u64;
        seqs.extend(segment.seqs);
    }
    seqs.sort_unstable();
    seqs.dedup();
    audit.distinct = seqs.len() as u64;
    audit.missing_rows = bounds.map_or(0, |all| (all.end - all.start).saturating_sub(covered));
    Ok(audit)
}

impl StreamAudit {
    /// The number that the next segment in order should have.
    fn next_number(&self) -> u64 {
        self.segments + self.missing_segments.len() as u64
    }
}

struct Segment {
    range: Range<u64>,
    gap: bool,
    seqs: Vec<i64>,
}

fn read_segment(path: &Path) -> Result<Segment, ZoneError> {
    let bytes = std::fs::read(path).map_err(|error| read_error(path, error))?;
    let wrong = |error: String| segment_error(path, &error);
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))
        .map_err(|error| wrong(error.to_string()))?;
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let metadata = metadata.map_or(&[][..], Vec::as_slice);
    let gap = metadata.iter().any(|entry| entry.key == segment::GAP);
    let position = |key| position(metadata, key).ok_or_else(|| wrong(format!("no `{key}`")));
    let range = position(segment::FIRST_SEQ)?.get()..position(segment::NEXT_SEQ)?.get();
    let only_seq = ProjectionMask::columns(builder.parquet_schema(), ["_seq"]);
    let reader = builder.with_projection(only_seq).build().map_err(|e| wrong(e.to_string()))?;
    let mut seqs = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| wrong(error.to_string()))?;
        let column = batch.columns().first().and_then(|c| c.as_any().downcast_ref::<Int64Array>());
        let column = column.ok_or_else(|| wrong("`_seq` is no column of integers".to_owned()))?;
        seqs.extend(column.values());
    }
    if !gap && seqs.len() as u64 != range.end.saturating_sub(range.start) {
        return Err(wrong(format!("it holds {} rows for {range:?}", seqs.len())));
    }
    Ok(Segment { range, gap, seqs })
}

fn position(metadata: &[KeyValue], key: &str) -> Option<Seq> {
    let entry = metadata.iter().find(|entry| entry.key == key)?;
    entry.value.as_ref()?.parse().ok().map(Seq::new)
}

/// Names and paths in a folder, in order; none if the folder is not there.
fn entries(folder: &Path) -> Result<BTreeMap<String, PathBuf>, ZoneError> {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(read_error(folder, error)),
    };
    listed
        .map(|entry| {
            let entry = entry.map_err(|error| read_error(folder, error))?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
        })
        .collect()
}

fn read_error(path: &Path, error: std::io::Error) -> ZoneError {
    ZoneError::Read { object: path.display().to_string(), source: error.into() }
}

fn segment_error(path: &Path, reason: &str) -> ZoneError {
    ZoneError::Segment { object: path.display().to_string(), reason: reason.to_owned() }
}
