//! Counts what reaches the device, and what is asked of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Disk, DiskFile, DiskLock, LockError};

/// A device writes no less than this.
const PAGE_BYTES: u64 = 4096;

/// Bytes in whole pages.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) written: AtomicU64,
    pub(crate) read: AtomicU64,
}

/// A [`Disk`] whose reads and writes are counted.
#[derive(Debug)]
pub(crate) struct Counted {
    disk: Arc<dyn Disk>,
    traffic: Arc<Traffic>,
    /// The file whose writes no sync ever takes to the device by itself.
    free: &'static str,
}

impl Counted {
    pub(crate) fn new(disk: Arc<dyn Disk>, traffic: Arc<Traffic>, free: &'static str) -> Counted {
        Counted { disk, traffic, free }
    }

    fn counted(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        if name == self.free {
            return file;
        }
        Arc::new(CountedFile { file, traffic: Arc::clone(&self.traffic) })
    }
}

impl Disk for Counted {
    fn place(&self) -> String {
        self.disk.place()
    }

    fn lock(&self) -> Result<DiskLock, LockError> {
        self.disk.lock()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.counted(name, self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.counted(name, self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }
}

#[derive(Debug)]
struct CountedFile {
    file: Arc<dyn DiskFile>,
    traffic: Arc<Traffic>,
}

/// Bytes of the pages that so many bytes lie in.
fn pages(offset: u64, bytes: usize) -> u64 {
    let (first, behind) = (offset / PAGE_BYTES, (offset + bytes as u64).div_ceil(PAGE_BYTES));
    (behind - first) * PAGE_BYTES
}

impl DiskFile for CountedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.traffic.read.fetch_add(pages(offset, out.len()), Ordering::Relaxed);
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.traffic.written.fetch_add(pages(offset, data.len()), Ordering::Relaxed);
        self.file.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
