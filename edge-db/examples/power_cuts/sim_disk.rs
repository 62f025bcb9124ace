//! A disk in memory that loses, tears and reorders what was not synced when its power is cut, and
//! fails on purpose.
//!
//! Each write that was not synced counts sector by sector, each length and each name on its own:
//! any of them may be there after a cut, whatever came before or after it. What was synced is
//! there. A handle to the disk is good until the power goes: then whoever still has it, threads
//! of the old database above all, gets errors only.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};

use edge_db::disk::{Disk, DiskFile, DiskLock, LockError};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::rng::Rng;
use crate::sim_file::{SECTOR, SimFile};
use crate::sim_names::{Number, SimNames};
use crate::trouble::{Ending, Fault, Kind, Op, Phase, Trouble, Verdict};

/// In the message of each failure on purpose.
pub(crate) const INJECTED: &str = "injected";

/// The disk, as the test has it in hand.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when a sync begins to wait, or need not wait any more.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    names: SimNames,
    files: BTreeMap<Number, Named>,
    next: Number,
    /// Counts the times that the power came back.
    epoch: u64,
    ended: Option<Ending>,
    lock: Weak<()>,
    trouble: Trouble,
    rng: Rng,
}

#[derive(Debug)]
struct Named {
    kind: Kind,
    file: SimFile,
    /// Without a name its space is free again.
    is_linked: bool,
}

impl SimDisk {
    /// An empty one.
    pub(crate) fn new(rng: &mut Rng) -> SimDisk {
        let state = State {
            names: SimNames::default(),
            files: BTreeMap::new(),
            next: 0,
            epoch: 0,
            ended: None,
            lock: Weak::new(),
            trouble: Trouble::default(),
            rng: rng.fork(),
        };
        SimDisk { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// What a database is opened on; good until the power goes.
    pub(crate) fn plug(&self) -> Arc<dyn Disk> {
        let epoch = self.shared.state.lock().epoch;
        Arc::new(Plug { shared: Arc::clone(&self.shared), epoch })
    }

    /// Ends everything at the operation after the next `after` ones.
    pub(crate) fn arm(&self, after: u64, ending: Ending) {
        self.trouble(|trouble| trouble.ending = Some((after, ending)));
    }

    /// Ends everything now, between two operations.
    pub(crate) fn end(&self, ending: Ending) {
        self.shared.end(&mut self.shared.state.lock(), ending);
    }

    pub(crate) fn has_ended(&self) -> Option<Ending> {
        self.shared.state.lock().ended
    }

    /// The power is back, or the next process starts: the disk is as it is found then, nobody
    /// has it locked, and nothing goes wrong.
    pub(crate) fn power_on(&self, rng: &mut Rng) {
        let mut state = self.shared.state.lock();
        let ending = state.ended.take().unwrap_or(Ending::PowerCut);
        state.epoch += 1;
        state.lock = Weak::new();
        state.trouble.calm();
        if ending == Ending::PowerCut {
            state.names.lose_power(rng);
            state.files.values_mut().for_each(|named| named.file.lose_power(rng));
        }
        let State { names, files, .. } = &mut *state;
        let referred = names.referred();
        files.retain(|file, named| {
            named.is_linked = false;
            referred.contains(file)
        });
        for (name, file) in names.all() {
            let named = files.get_mut(&file).expect("kept above, for it is referred to");
            (named.kind, named.is_linked) = (Kind::of(name), true);
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Fails one operation, once.
    pub(crate) fn fail(&self, fault: Fault) {
        self.trouble(|trouble| trouble.faults.push(fault));
    }

    /// Bytes that files may take from now on; `None`: no limit.
    pub(crate) fn set_space(&self, bytes: Option<usize>) {
        self.trouble(|trouble| trouble.space = bytes);
    }

    /// Bytes that files take.
    pub(crate) fn used_bytes(&self) -> usize {
        self.shared.state.lock().used_bytes()
    }

    /// From now on no sync of files of this kind returns.
    pub(crate) fn hold_syncs(&self, kind: Kind) {
        self.trouble(|trouble| trouble.held = Some(kind));
    }

    /// Waits until a sync is held.
    pub(crate) fn wait_held(&self) {
        let mut state = self.shared.state.lock();
        self.shared.changed.wait_while(&mut state, |state| state.trouble.waiting == 0);
    }

    /// Lets syncs return again.
    pub(crate) fn release_syncs(&self) {
        self.trouble(|trouble| trouble.held = None);
        self.shared.changed.notify_all();
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.trouble(|trouble| trouble.phase = phase);
    }

    /// Looks at, or changes, what goes wrong.
    pub(crate) fn trouble<T>(&self, look: impl FnOnce(&mut Trouble) -> T) -> T {
        look(&mut self.shared.state.lock().trouble)
    }
}

impl Shared {
    /// The state, for somebody whose power is still on.
    fn enter(&self, epoch: u64) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.epoch == epoch && state.ended.is_none() { Ok(state) } else { Err(power_is_off()) }
    }

    fn end(&self, state: &mut State, ending: Ending) {
        state.ended = Some(ending);
        self.changed.notify_all();
    }

    /// Waits as long as syncs of this kind do not return.
    fn hold<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        epoch: u64,
        kind: Kind,
    ) -> io::Result<MutexGuard<'a, State>> {
        let is_on = |state: &State| state.epoch == epoch && state.ended.is_none();
        state.trouble.waiting += 1;
        self.changed.notify_all();
        let is_held = |state: &mut State| is_on(state) && state.trouble.held == Some(kind);
        self.changed.wait_while(&mut state, is_held);
        state.trouble.waiting -= 1;
        if is_on(&state) { Ok(state) } else { Err(power_is_off()) }
    }

    /// Does `act`, unless something goes wrong; `fail` does then what happens all the same.
    fn run<T>(
        &self,
        state: &mut State,
        (kind, op): (Kind, Op),
        act: impl FnOnce(&mut State) -> io::Result<T>,
        fail: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        match state.trouble.judge(kind, op) {
            Verdict::Done => act(state),
            Verdict::Fails => {
                fail(state);
                Err(io::Error::other(format!("input/output error ({INJECTED})")))
            }
            Verdict::Ends(ending) => {
                // What happened is not synced: after a cut it may be there, in part or whole.
                match state.rng.below(3) {
                    _ if matches!(op, Op::Sync | Op::SyncNames) => {}
                    0 => drop(act(state)),
                    1 => fail(state),
                    _ => {}
                }
                self.end(state, ending);
                Err(power_is_off())
            }
        }
    }
}

impl State {
    fn used_bytes(&self) -> usize {
        let linked = self.files.values().filter(|named| named.is_linked);
        linked.map(|named| named.file.allocated_bytes()).sum()
    }

    fn file(&mut self, file: Number) -> &mut Named {
        self.files.get_mut(&file).expect("kept as long as a handle to it is good")
    }

    fn write(&mut self, file: Number, start: usize, data: &[u8]) -> io::Result<()> {
        let more = self.files[&file].file.wanted_bytes(start, start + data.len());
        if more > 0 && self.trouble.space.is_some_and(|space| self.used_bytes() + more > space) {
            let message = format!("no space left on device ({INJECTED})");
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        self.file(file).file.write(start, data);
        Ok(())
    }

    fn unlink(&mut self, name: &str) {
        if let Some(file) = self.names.get(name) {
            self.file(file).is_linked = false;
        }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("power is off")
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

/// The disk, as long as the power is on.
#[derive(Debug)]
struct Plug {
    shared: Arc<Shared>,
    epoch: u64,
}

impl Plug {
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
        if state.file(self.file).file.read(index(offset), out) {
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.shared.enter(self.epoch)?;
        let (file, start) = (self.file, index(offset));
        let op = if start == 0 { Op::WriteFront } else { Op::Write };
        let moment = (state.file(file).kind, op);
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
