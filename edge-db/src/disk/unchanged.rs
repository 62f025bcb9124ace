//! A disk on which nothing is changed, whoever tries.

use std::io;
use std::sync::Arc;

use super::{Disk, DiskFile, DiskLock, LockError};

/// Reads go through, writes are refused, and syncs have nothing to do.
#[derive(Debug)]
pub(crate) struct Unchanged {
    disk: Arc<dyn Disk>,
}

impl Unchanged {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Unchanged {
        Unchanged { disk }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "opened to be read only"))
}

impl Disk for Unchanged {
    fn place(&self) -> String {
        self.disk.place()
    }

    fn lock(&self) -> Result<DiskLock, LockError> {
        match self.disk.lock() {
            // Nobody else can write to it either.
            Err(LockError::Io(error)) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Ok(DiskLock::new(()))
            }
            locked => locked,
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(UnchangedFile { file: self.disk.open_to_read(name)? }))
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct UnchangedFile {
    file: Arc<dyn DiskFile>,
}

impl DiskFile for UnchangedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn write(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
