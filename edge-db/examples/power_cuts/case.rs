//! One disk, from the first opening on, through many cuts.

use std::sync::atomic::{AtomicU64, Ordering};

use edge_db::VerifyError;

use crate::handles::{self, Handles};
use crate::life::{Ended, Life, chain};
use crate::model::Model;
use crate::rng::Rng;
use crate::sim_disk::SimDisk;
use crate::tally::Tally;
use crate::trouble::{Ending, Fault, Kind, Op, Phase};

/// Cuts on one disk: enough for the journal to go round and the logs to drop, and few enough to
/// replay.
pub(crate) const CUTS: u64 = 40;

/// What can be seen of a case from outside.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) seed: AtomicU64,
    pub(crate) cut: AtomicU64,
    pub(crate) all_cuts: AtomicU64,
}

/// Says on a panic how to see it again.
struct OnPanic<'a>(&'a Watched);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0.seed.load(Ordering::Relaxed);
            let cut = self.0.cut.load(Ordering::Relaxed);
            eprintln!(
                "the failure above: seed {seed}, cut {cut} (again: --seed {seed} --cuts {CUTS})"
            );
        }
    }
}

/// Runs the case of this seed; panics when the database does not hold what it must.
///
/// The seed gives what is done and what goes wrong. The order of the database's own threads it
/// does not give: a failure may need several runs to show again.
///
/// With `fails`, the disk also refuses writes and syncs now and then, and fills up. In a build with
/// encryption, every fourth database is encrypted.
pub(crate) fn run(seed: u64, fails: bool, watched: &Watched) -> Tally {
    watched.seed.store(seed, Ordering::Relaxed);
    watched.cut.store(0, Ordering::Relaxed);
    let on_panic = OnPanic(watched);
    let mut rng = Rng::new(seed);
    let mut case = Case {
        disk: SimDisk::new(&mut rng),
        rng,
        model: Model::default(),
        tally: Tally::default(),
        fails,
        is_encrypted: seed.is_multiple_of(4),
        watched,
    };
    while case.tally.cuts < CUTS {
        case.live();
    }
    case.tally.end_case(&case.disk, &case.model);
    drop(on_panic);
    case.tally
}

struct Case<'a> {
    disk: SimDisk,
    rng: Rng,
    model: Model,
    tally: Tally,
    fails: bool,
    is_encrypted: bool,
    watched: &'a Watched,
}

impl Case<'_> {
    /// Opens the database, uses it, and ends it in one way or another.
    fn live(&mut self) {
        self.disk.set_phase(Phase::Opening);
        self.model.is_faulty = false;
        // A first opening happens once only.
        let is_first = self.model.acknowledged == 0;
        if self.rng.chance(if is_first { 70 } else { 30 }) {
            let ending = self.ending();
            self.disk.arm(self.rng.spread(40) - 1, ending);
        }
        match self.open() {
            Ok(handles) => self.live_with(handles),
            Err(Ended) => self.tally.cut_openings += 1,
        }
        self.count_end();
    }

    fn ending(&mut self) -> Ending {
        if self.rng.chance(85) { Ending::PowerCut } else { Ending::Kill }
    }

    /// Whatever the last life left, nothing of it is damage. Looked at after each fourth cut, for
    /// it takes as long as a life.
    fn look_from_outside(&self) -> Result<(), Ended> {
        if !self.tally.cuts.is_multiple_of(4) {
            return Ok(());
        }
        match handles::builder(self.is_encrypted).verify_on(self.disk.plug(), |_| {}) {
            _ if self.disk.has_ended().is_some() => Err(Ended),
            Ok(report) => {
                assert!(report.is_clean(), "verify finds damage: {:#?}", report.findings);
                Ok(())
            }
            Err(VerifyError::NoDatabase { .. }) => Ok(()),
            Err(error) => panic!("could not verify: {}", chain(&error)),
        }
    }

    fn open(&mut self) -> Result<Handles, Ended> {
        self.look_from_outside()?;
        let options = handles::options(&mut self.rng, self.is_encrypted);
        let handles = match Handles::open(self.disk.plug(), options) {
            Ok(handles) => handles,
            Err(_) if self.disk.has_ended().is_some() => return Err(Ended),
            Err(error) => panic!("could not open: {}", chain(&*error)),
        };
        let verified = handles.db.snapshot();
        let verified = verified
            .and_then(|snapshot| handles.verify(&snapshot, &mut self.model, true))
            .and_then(|()| crate::reads::what_hangs_on_tables(&handles, &self.model));
        match verified {
            Ok(()) => Ok(handles),
            Err(_) if self.disk.has_ended().is_some() => Err(Ended),
            Err(error) => panic!("could not read what was found: {}", chain(&error)),
        }
    }

    fn live_with(&mut self, handles: Handles) {
        self.disk.set_phase(Phase::Running);
        let ending = self.ending();
        self.disk.arm(self.rng.spread(400) - 1, ending);
        let is_faulty = self.fails && self.rng.chance(15);
        let fault = is_faulty.then(|| self.fault());
        let ends_in_order = self.rng.chance(10);
        let steps = self.rng.spread(if ends_in_order { 60 } else { 600 });
        let Case { disk, rng, model, tally, .. } = self;
        let mut life = Life::new(disk, handles, model, rng, tally);
        life.may_fill = self.fails;
        if let Some(fault) = fault {
            disk.fail(fault);
            life.model.is_faulty = true;
        }
        let mut lived = Ok(());
        for _ in 0..steps {
            lived = life.step();
            if lived.is_err() {
                break;
            }
        }
        if lived.is_ok() && ends_in_order && !life.model.is_faulty {
            disk.set_phase(Phase::Closing);
            if life.shut_down().is_ok() {
                tally.shutdowns += 1;
            }
            return;
        }
        if lived.is_ok() {
            disk.end(ending);
        }
        life.mourn();
    }

    fn fault(&mut self) -> Fault {
        const FAULTS: [(Kind, Op); 14] = [
            (Kind::Segment, Op::Write),
            (Kind::Segment, Op::Sync),
            (Kind::Segment, Op::Sync),
            (Kind::Unborn, Op::Write),
            (Kind::Unborn, Op::Sync),
            (Kind::Unborn, Op::Rename),
            (Kind::Tree, Op::Write),
            (Kind::Tree, Op::Sync),
            (Kind::Tree, Op::SetLen),
            (Kind::UnbornTree, Op::Write),
            (Kind::UnbornTree, Op::Sync),
            (Kind::UnbornTree, Op::Rename),
            (Kind::Mark, Op::Write),
            (Kind::Folder, Op::SyncNames),
        ];
        let (kind, op) = self.rng.pick(&FAULTS);
        Fault { kind, op, after: self.rng.spread(16) - 1 }
    }

    fn count_end(&mut self) {
        let Some(ending) = self.disk.has_ended() else { return };
        match ending {
            Ending::PowerCut => {
                self.model.cut_power();
                self.tally.cuts += 1;
                self.watched.cut.store(self.tally.cuts, Ordering::Relaxed);
                self.watched.all_cuts.fetch_add(1, Ordering::Relaxed);
            }
            Ending::Kill => {
                self.tally.kills += 1;
                if self.model.is_faulty {
                    // What a failed sync left in doubt may have been half written anew.
                    self.model.cut_power();
                }
            }
        }
        self.disk.power_on(&mut self.rng);
    }
}
