//! The segments that there are.

use std::io;
use std::sync::Arc;

use super::Damage;
use crate::disk::{Disk, DiskFile};
use crate::journal::record::{self, ALIGN, HEADER_BYTES, Record};
use crate::journal::segment::{self, Header, HeaderError, seed};
use crate::revision::Revision;

/// A segment as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: Header,
    /// The revision of the first record; `None` without one.
    pub(super) first: Option<Revision>,
    pub(super) last: Revision,
}

impl Found {
    pub(super) fn failed(&self, source: io::Error) -> Damage {
        Damage::Io { file: self.name.clone(), source }
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, Damage> {
        let failed = |source| self.failed(source);
        let expected = self.header.len;
        let len = self.file.len().map_err(failed)?;
        if len != expected {
            return Err(Damage::Length { file: self.name.clone(), len, expected });
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|e| failed(io::Error::other(e)))?];
        self.file.read(0, &mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Whether a record at `from` or behind it says that this revision was durable. `bytes` are the
    /// segment's.
    pub(super) fn tells_durable(&self, revision: Revision, bytes: &[u8], from: u64) -> bool {
        let from = usize::try_from(from).expect("the segment is in memory");
        (from..bytes.len()).step_by(ALIGN).any(|at| {
            let seed = seed(self.header.number, at as u64);
            record::open(&bytes[at..], seed).is_some_and(|(head, _)| head.durable >= revision)
        })
    }

    /// What can be read of it, zeros for the rest.
    pub(super) fn read_any(&self) -> Vec<u8> {
        const STEP: usize = 4096;
        let len = self.file.len().unwrap_or(0).min(self.header.len);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        if self.file.read(0, &mut bytes).is_err() {
            for (place, part) in bytes.chunks_mut(STEP).enumerate() {
                if self.file.read((place * STEP) as u64, part).is_err() {
                    part.fill(0);
                }
            }
        }
        bytes
    }
}

/// All segments by number; what was not complete when the power went is removed.
pub(super) fn find(
    disk: &dyn Disk,
    note: &mut dyn FnMut(Damage) -> Result<(), Damage>,
) -> Result<Vec<Found>, Damage> {
    let failed = |file: &str| {
        let file = file.to_owned();
        move |source| Damage::Io { file, source }
    };
    // What a killed process has renamed or removed may come back otherwise.
    disk.sync_names().map_err(failed("the folder"))?;
    let mut found: Vec<Found> = Vec::new();
    for name in disk.names().map_err(failed("the folder"))? {
        if segment::is_unborn(&name) {
            drop(disk.remove(&name));
        }
        if !segment::is_segment(&name) {
            continue;
        }
        match read_header(disk, &name) {
            Ok((file, header, first)) => {
                found.push(Found { name, file, header, first, last: Revision::ZERO });
            }
            Err(damage) => note(damage)?,
        }
    }
    found.sort_by_key(|found| found.header.number);
    let mut segments: Vec<Found> = Vec::new();
    for found in found {
        match segments.last().filter(|before| before.header.number == found.header.number) {
            Some(before) => note(Damage::Twice { file: before.name.clone(), other: found.name })?,
            None => segments.push(found),
        }
    }
    Ok(segments)
}

type Headed = (Arc<dyn DiskFile>, Header, Option<Revision>);

fn read_header(disk: &dyn Disk, name: &str) -> Result<Headed, Damage> {
    let (file, header) = open_segment(disk, name)?;
    let failed = |source| Damage::Io { file: name.to_owned(), source };
    let first = first_revision(&*file, header).map_err(failed)?;
    Ok((file, header, first))
}

fn open_segment(disk: &dyn Disk, name: &str) -> Result<(Arc<dyn DiskFile>, Header), Damage> {
    let file_name = || name.to_owned();
    let failed = |source| Damage::Io { file: file_name(), source };
    let file = disk.open(name).map_err(failed)?;
    let mut bytes = [0; 64];
    match file.read(0, &mut bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(Damage::Header { file: file_name() });
        }
        Err(error) => return Err(failed(error)),
    }
    let header = segment::decode(&bytes).map_err(|error| match error {
        HeaderError::Format(found) => Damage::Format { file: file_name(), found },
        HeaderError::Damaged => Damage::Header { file: file_name() },
    })?;
    Ok((file, header))
}

/// Whether any segment begins with an encrypted record: it says so without the data file, too.
pub(crate) fn is_encrypted(disk: &dyn Disk) -> bool {
    let names = disk.names().unwrap_or_default();
    let first = |name: &String| {
        let (file, header) = open_segment(disk, name).ok()?;
        first_record(&*file, header).ok()?
    };
    let mut segments = names.iter().filter(|name| segment::is_segment(name));
    segments.any(|name| first(name).is_some_and(|head| head.is_encrypted))
}

/// The revision of a segment's first record; `None` without one.
pub(in crate::journal) fn first_revision(
    file: &dyn DiskFile,
    header: Header,
) -> io::Result<Option<Revision>> {
    Ok(first_record(file, header)?.map(|head| head.revision))
}

fn first_record(file: &dyn DiskFile, header: Header) -> io::Result<Option<Record>> {
    let len = file.len()?.min(header.len);
    let offset = segment::HEADER_BYTES;
    if len < offset + HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut head = [0; HEADER_BYTES];
    file.read(offset, &mut head)?;
    let payload = u64::from(u32::from_le_bytes(head[8..12].try_into().expect("4 bytes")));
    let whole = (HEADER_BYTES as u64 + payload).next_multiple_of(ALIGN as u64);
    let Ok(size) = usize::try_from(whole) else { return Ok(None) };
    if whole > len - offset {
        return Ok(None);
    }
    let mut bytes = vec![0; size];
    file.read(offset, &mut bytes)?;
    let record = record::open(&bytes, seed(header.number, offset));
    Ok(record.map(|(head, _)| head))
}
