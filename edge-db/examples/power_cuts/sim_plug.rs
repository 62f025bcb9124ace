//! The simulated disk as a database sees it, until its power goes.

use std::io;
use std::sync::Arc;

use edge_db::disk::{Disk, DiskFile, DiskLock, LockError};

use crate::sim_disk::{Named, Shared, State, injected};
use crate::sim_file::{SECTOR, SimFile};
use crate::sim_names::Number;
use crate::trouble::{Kind, Op};

/// The disk, as long as the power is on.
#[derive(Debug)]
pub(crate) struct Plug {
    shared: Arc<Shared>,
    epoch: u64,
}

impl Plug {
    pub(crate) fn new(shared: Arc<Shared>, epoch: u64) -> Plug {
        Plug { shared, epoch }
    }

    fn handle(&self, file: Number) -> Arc<dyn DiskFile> {
        Arc::new(Handle { shared: Arc::clone(&self.shared), epoch: self.epoch, file })
    }
}

impl Disk for Plug {
    fn place(&self) -> String {
        "simulated disk".to_owned()
    }

    fn lock(&self) -> Result<DiskLock, LockError> {
        let mut state = self.shared.enter(self.epoch)?;
        if state.lock.strong_count() > 0 {
            return Err(LockError::Held { holder: "another database of this test".to_owned() });
        }
        let held = Arc::new(());
        state.lock = Arc::downgrade(&held);
        Ok(DiskLock::new(held))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.shared.enter(self.epoch)?;
        Ok(state.names.all().map(|(name, _)| name.to_owned()).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.shared.enter(self.epoch)?;
        state.names.get(name).map(|file| self.handle(file)).ok_or_else(not_found)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.shared.enter(self.epoch)?;
        let kind = Kind::of(name);
        let act = |state: &mut State| {
            if let Some(file) = state.names.get(name) {
                state.file(file).file.set_len(0);
                return Ok(file);
            }
            let file = state.next;
            state.next += 1;
            state.names.create(name, file);
            let named = Named { kind, file: SimFile::default(), is_linked: true };
            state.files.insert(file, named);
            Ok(file)
        };
        let file = self.shared.run(&mut state, (kind, Op::Create), act, |_| {})?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.shared.enter(self.epoch)?;
        let act = |state: &mut State| {
            let file = state.names.get(from).ok_or_else(not_found)?;
            state.unlink(to);
            state.names.rename(from, to);
            state.file(file).kind = Kind::of(to);
            Ok(())
        };
        self.shared.run(&mut state, (Kind::of(from), Op::Rename), act, |_| {})
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.shared.enter(self.epoch)?;
        let act = |state: &mut State| {
            state.unlink(name);
            if state.names.remove(name) { Ok(()) } else { Err(not_found()) }
        };
        self.shared.run(&mut state, (Kind::of(name), Op::Remove), act, |_| {})
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.shared.enter(self.epoch)?;
        let act = |state: &mut State| {
            state.names.sync();
            Ok(())
        };
        self.shared.run(&mut state, (Kind::Folder, Op::SyncNames), act, |_| {})
    }
}

/// An open file, as long as the power is on.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    epoch: u64,
    file: Number,
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.shared.enter(self.epoch)?.file(self.file).file.len() as u64)
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.shared.enter(self.epoch)?.file(self.file).file.allocated_bytes() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.shared.enter(self.epoch)?;
        let kind = state.file(self.file).kind;
        if state.trouble.fails_read(kind) {
            return Err(injected());
        }
        if state.file(self.file).file.read(index(offset), out) {
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.shared.enter(self.epoch)?;
        let (file, start) = (self.file, index(offset));
        let kind = state.file(file).kind;
        // redb's header is behind the first checksums.
        let front = if kind == Kind::Tree { 4096 } else { 0 };
        let op = if start == front { Op::WriteFront } else { Op::Write };
        let moment = (kind, op);
        let part = |state: &mut State| {
            // Up to the end of some sector.
            let end = (start + state.rng.index(data.len() + SECTOR)) / SECTOR * SECTOR;
            let len = end.saturating_sub(start).min(data.len());
            drop(state.write(file, start, &data[..len]));
        };
        self.shared.run(&mut state, moment, |state| state.write(file, start, data), part)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.shared.enter(self.epoch)?;
        let moment = (state.file(self.file).kind, Op::SetLen);
        let act = |state: &mut State| {
            state.file(self.file).file.set_len(index(len));
            Ok(())
        };
        self.shared.run(&mut state, moment, act, |_| {})
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.shared.enter(self.epoch)?;
        let kind = state.file(self.file).kind;
        if state.trouble.held == Some(kind) {
            state = self.shared.hold(state, self.epoch, kind)?;
        }
        let act = |state: &mut State| {
            state.file(self.file).file.sync();
            Ok(())
        };
        let fail = |state: &mut State| {
            let State { files, rng, .. } = state;
            files.get_mut(&self.file).expect("this handle is good").file.fail_sync(rng);
        };
        self.shared.run(&mut state, (kind, Op::Sync), act, fail)
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated disk is small")
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}
