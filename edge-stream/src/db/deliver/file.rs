//! Rows of a sink as lines of a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use edge_db::{Batch, Record, Snapshot};

use super::{Stopped, Target, retry};
use crate::db::blocking;
use crate::db::catalog::Catalog;
use crate::db::output::sink::FileOutput;

/// Writes lines behind each other, each once: its length is in the commit that moves the cursor,
/// and what lies behind that length came from a step that was not committed.
pub(crate) struct FileTarget {
    catalog: Catalog,
    sink: String,
    folder: PathBuf,
    file: FileOutput,
    /// What the last commit says.
    length: u64,
}

/// What became of the lines.
enum Written {
    /// The file is so long with them.
    To(u64),
    /// Nothing was written: the file is shorter than it was left, so somebody has taken it away.
    Found(u64),
}

impl FileTarget {
    pub(crate) fn new(catalog: Catalog, sink: &str, folder: PathBuf, file: FileOutput) -> Self {
        FileTarget { catalog, sink: sink.to_owned(), folder, file, length: 0 }
    }
}

#[async_trait]
impl Target for FileTarget {
    async fn open(&mut self, at: Snapshot) -> Result<(), Stopped> {
        let (catalog, sink) = (self.catalog.clone(), self.sink.clone());
        let length = blocking(move || at.get(&catalog.lengths, &sink)).await;
        let length = length.map_err(|_| Stopped::Closed)?.map_err(retry)?;
        self.length = length.unwrap_or(0);
        Ok(())
    }

    async fn take(
        &mut self,
        records: &[Record],
        batch: &mut Batch,
    ) -> (usize, Result<(), Stopped>) {
        let (folder, file, length) = (self.folder.clone(), self.file.clone(), self.length);
        let (lines, catalog) = (records.to_vec(), self.catalog.clone());
        let written = blocking(move || {
            let written = append(&folder, &file, length, &lines);
            // No other engine begins while this one may still write.
            drop(catalog);
            written.map_err(|error| Stopped::Retry(format!("{}: {error}", file.path)))
        });
        let (taken, length) = match written.await {
            Err(_) => return (0, Err(Stopped::Closed)),
            Ok(Err(stopped)) => return (0, Err(stopped)),
            Ok(Ok(Written::To(length))) => (records.len(), length),
            // Were lines written before this is known, a crash would leave them there twice.
            Ok(Ok(Written::Found(length))) => (0, length),
        };
        self.length = length;
        match batch.insert(&self.catalog.lengths, &self.sink, &length) {
            Ok(()) => (taken, Ok(())),
            Err(error) => (0, Err(retry(error))),
        }
    }
}

/// Writes lines behind the first `length` bytes, onto the disk.
fn append(folder: &Path, to: &FileOutput, length: u64, lines: &[Record]) -> io::Result<Written> {
    let path = folder.join(&to.path);
    let is_new = !path.exists();
    if let (true, Some(parent)) = (is_new, path.parent()) {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    let found = file.metadata()?.len();
    if found < length {
        return Ok(Written::Found(found));
    }
    let mut bytes = Vec::new();
    let header = to.header.as_deref().filter(|_| length == 0);
    for line in header.into_iter().chain(lines.iter().map(|line| &line.value()[..])) {
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    if is_new {
        // Names of new files and folders are in the folders above them.
        let mut above = path.ancestors().skip(1).take_while(|above| above.starts_with(folder));
        above.try_for_each(|above| File::open(above)?.sync_all())?;
    }
    Ok(Written::To(length + bytes.len() as u64))
}
