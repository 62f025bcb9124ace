//! What happened, and at which moments the power was cut.

use std::fmt;

use crate::model::Model;
use crate::sim_disk::SimDisk;
use crate::trouble::{Counts, Kind, Moment, Op, Phase};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cuts: u64,
    pub(crate) kills: u64,
    pub(crate) shutdowns: u64,
    /// Ends before the database was open.
    pub(crate) cut_openings: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) lost: u64,
    pub(crate) lost_early: u64,
    pub(crate) transactions: u64,
    /// How often they ran.
    pub(crate) attempts: u64,
    pub(crate) dropped: u64,
    pub(crate) groups: u64,
    pub(crate) stalls: u64,
    pub(crate) checkpoints: u64,
    pub(crate) compactions: u64,
    pub(crate) snapshots: u64,
    ops: Counts,
    moments: Counts,
}

/// Moments that must have been cut before a run says anything.
const MUST_BE_CUT: [(Phase, Kind, Op); 25] = [
    // The first opening.
    (Phase::Opening, Kind::UnbornTree, Op::Create),
    (Phase::Opening, Kind::UnbornTree, Op::Write),
    (Phase::Opening, Kind::UnbornTree, Op::Sync),
    (Phase::Opening, Kind::UnbornTree, Op::Rename),
    (Phase::Opening, Kind::Folder, Op::SyncNames),
    // Recovery.
    (Phase::Opening, Kind::Tree, Op::WriteFront),
    (Phase::Opening, Kind::Tree, Op::Sync),
    (Phase::Opening, Kind::Unborn, Op::Remove),
    // A commit.
    (Phase::Running, Kind::Segment, Op::Write),
    (Phase::Running, Kind::Segment, Op::Sync),
    (Phase::Running, Kind::Mark, Op::WriteFront),
    // The journal grows, and is used again.
    (Phase::Running, Kind::Unborn, Op::Create),
    (Phase::Running, Kind::Unborn, Op::Sync),
    (Phase::Running, Kind::Unborn, Op::Rename),
    (Phase::Running, Kind::Folder, Op::SyncNames),
    (Phase::Running, Kind::Segment, Op::WriteFront),
    (Phase::Running, Kind::Segment, Op::Remove),
    // Settling.
    (Phase::Running, Kind::Tree, Op::Write),
    (Phase::Running, Kind::Tree, Op::WriteFront),
    (Phase::Running, Kind::Tree, Op::Sync),
    // Compacting.
    (Phase::Running, Kind::UnbornTree, Op::Create),
    (Phase::Running, Kind::UnbornTree, Op::Write),
    (Phase::Running, Kind::UnbornTree, Op::Sync),
    (Phase::Running, Kind::UnbornTree, Op::Rename),
    // Closing.
    (Phase::Closing, Kind::Segment, Op::Sync),
];

/// The same, where there is encryption: a crash then leaves no database, or one with its key.
const MUST_BE_CUT_ENCRYPTED: [(Phase, Kind, Op); 4] = [
    (Phase::Opening, Kind::Key, Op::Create),
    (Phase::Opening, Kind::Key, Op::WriteFront),
    (Phase::Opening, Kind::Key, Op::Sync),
    (Phase::Opening, Kind::Key, Op::Rename),
];

impl Tally {
    /// Takes in a disk and a model that are done with.
    pub(crate) fn end_case(&mut self, disk: &SimDisk, model: &Model) {
        disk.trouble(|trouble| {
            merge(&mut self.ops, &trouble.ops);
            merge(&mut self.moments, &trouble.cuts);
        });
        self.acknowledged += model.acknowledged;
        self.refused += model.refused;
        self.lost += model.lost;
        self.lost_early += model.lost_early;
        self.dropped += model.logs.iter().map(|log| log.dropped).sum::<u64>();
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.shutdowns += other.shutdowns;
        self.cut_openings += other.cut_openings;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.failed += other.failed;
        self.lost += other.lost;
        self.lost_early += other.lost_early;
        self.transactions += other.transactions;
        self.attempts += other.attempts;
        self.dropped += other.dropped;
        self.groups += other.groups;
        self.stalls += other.stalls;
        self.checkpoints += other.checkpoints;
        self.compactions += other.compactions;
        self.snapshots += other.snapshots;
        merge(&mut self.ops, &other.ops);
        merge(&mut self.moments, &other.moments);
    }

    /// Kinds of moments that were never cut.
    pub(crate) fn uncut(&self) -> Vec<Moment> {
        let encrypted = MUST_BE_CUT_ENCRYPTED.iter().filter(|_| cfg!(feature = "encryption"));
        let moments = MUST_BE_CUT.iter().chain(encrypted);
        let moments = moments.map(|&(phase, kind, op)| Moment { phase, kind, op });
        moments.filter(|moment| !self.moments.contains_key(moment)).collect()
    }

    fn ops(&self, kind: Kind, op: Op) -> u64 {
        let hit = |moment: &Moment| moment.kind == kind && moment.op == op;
        self.ops.iter().filter(|(moment, _)| hit(moment)).map(|(_, count)| count).sum()
    }
}

fn merge(into: &mut Counts, from: &Counts) {
    for (moment, count) in from {
        *into.entry(*moment).or_default() += count;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("power cuts", self.cuts),
            ("  before the database was open", self.cut_openings),
            ("processes killed", self.kills),
            ("shutdowns", self.shutdowns),
            ("batches acknowledged", self.acknowledged),
            ("  refused for what they want", self.refused),
            ("  failed on purpose", self.failed),
            ("  not acknowledged and lost", self.lost),
            ("  to be durable later, and lost before", self.lost_early),
            ("transactions", self.transactions),
            ("  attempts", self.attempts),
            ("groups committed", self.groups),
            ("waits for a memory table", self.stalls),
            ("checkpoints asked for", self.checkpoints),
            ("compactions", self.compactions),
            ("snapshots held", self.snapshots),
            ("syncs of the journal", self.ops(Kind::Segment, Op::Sync)),
            ("journal segments created", self.ops(Kind::Unborn, Op::Rename)),
            ("  used again", self.ops(Kind::Segment, Op::WriteFront)),
            ("  removed", self.ops(Kind::Segment, Op::Remove)),
            ("syncs of the data file", self.ops(Kind::Tree, Op::Sync)),
            ("log records dropped", self.dropped),
        ];
        for (what, count) in lines {
            writeln!(f, "{what:42} {count:>12}")?;
        }
        writeln!(f, "\n{:42} {:>12} {:>12}", "moment", "happened", "cut")?;
        for (moment, count) in &self.ops {
            let Moment { phase, kind, op } = moment;
            let cut = self.moments.get(moment).copied().unwrap_or(0);
            let moment = format!("{phase:?}: {kind:?} {op:?}");
            writeln!(f, "{moment:42} {count:>12} {cut:>12}")?;
        }
        Ok(())
    }
}
