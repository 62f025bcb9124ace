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

use edge_db::disk::Disk;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::rng::Rng;
use crate::sim_file::SimFile;
use crate::sim_names::{Number, SimNames};
use crate::sim_plug::Plug;
use crate::trouble::{Ending, Fault, Kind, Op, Phase, Trouble, Verdict};

/// In the message of each failure on purpose.
pub(crate) const INJECTED: &str = "injected";

/// The disk, as the test has it in hand.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// Told when a sync begins to wait, or need not wait any more.
    changed: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) names: SimNames,
    pub(crate) files: BTreeMap<Number, Named>,
    pub(crate) next: Number,
    /// Counts the times that the power came back.
    pub(crate) epoch: u64,
    pub(crate) ended: Option<Ending>,
    pub(crate) lock: Weak<()>,
    pub(crate) trouble: Trouble,
    pub(crate) rng: Rng,
}

#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) kind: Kind,
    pub(crate) file: SimFile,
    /// Without a name its space is free again.
    pub(crate) is_linked: bool,
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
        Arc::new(Plug::new(Arc::clone(&self.shared), epoch))
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
    pub(crate) fn enter(&self, epoch: u64) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.epoch == epoch && state.ended.is_none() { Ok(state) } else { Err(power_is_off()) }
    }

    fn end(&self, state: &mut State, ending: Ending) {
        state.ended = Some(ending);
        self.changed.notify_all();
    }

    /// Waits as long as syncs of this kind do not return.
    pub(crate) fn hold<'a>(
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
    pub(crate) fn run<T>(
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
                Err(injected())
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

pub(crate) fn injected() -> io::Error {
    io::Error::other(format!("input/output error ({INJECTED})"))
}

impl State {
    fn used_bytes(&self) -> usize {
        let linked = self.files.values().filter(|named| named.is_linked);
        linked.map(|named| named.file.allocated_bytes()).sum()
    }

    pub(crate) fn file(&mut self, file: Number) -> &mut Named {
        self.files.get_mut(&file).expect("kept as long as a handle to it is good")
    }

    pub(crate) fn write(&mut self, file: Number, start: usize, data: &[u8]) -> io::Result<()> {
        let more = self.files[&file].file.wanted_bytes(start, start + data.len());
        if more > 0 && self.trouble.space.is_some_and(|space| self.used_bytes() + more > space) {
            let message = format!("no space left on device ({INJECTED})");
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        self.file(file).file.write(start, data);
        Ok(())
    }

    pub(crate) fn unlink(&mut self, name: &str) {
        if let Some(file) = self.names.get(name) {
            self.file(file).is_linked = false;
        }
    }
}

pub(crate) fn power_is_off() -> io::Error {
    io::Error::other("power is off")
}
