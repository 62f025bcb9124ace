//! What goes wrong on a simulated disk, and when; and what went on there.

use std::collections::BTreeMap;

/// What a file is to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A segment of the journal.
    Segment,
    /// A segment that is being created.
    Unborn,
    /// How far the journal is durable.
    Mark,
    /// redb's file.
    Tree,
    /// The same while it is created.
    UnbornTree,
    /// The file with the key of an encrypted database, being created or not.
    Key,
    /// The folder.
    Folder,
}

impl Kind {
    pub(crate) fn of(name: &str) -> Kind {
        match name {
            _ if name.starts_with("journal-") && name.ends_with(".new") => Kind::Unborn,
            _ if name.starts_with("journal-") => Kind::Segment,
            "durable" => Kind::Mark,
            "key" | "key.new" => Kind::Key,
            _ if name.ends_with(".new") => Kind::UnbornTree,
            _ => Kind::Tree,
        }
    }
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    /// A write to where a file says what it is: redb's header, a segment used again.
    WriteFront,
    Write,
    Read,
    Sync,
    SetLen,
    Create,
    Rename,
    Remove,
    SyncNames,
}

/// What the database is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Opening,
    Running,
    Closing,
}

/// A kind of moment at which the power may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) phase: Phase,
    pub(crate) kind: Kind,
    pub(crate) op: Op,
}

/// How many of each.
pub(crate) type Counts = BTreeMap<Moment, u64>;

/// How everything ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// What was not synced is lost in part.
    PowerCut,
    /// The process is gone; the operating system still has what was not synced.
    Kill,
}

/// Fails one operation, once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) op: Op,
    /// So many of them succeed first.
    pub(crate) after: u64,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Fails,
    /// It is the last one: it happens in part or not at all.
    Ends(Ending),
}

/// What is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) phase: Phase,
    /// After so many operations.
    pub(crate) ending: Option<(u64, Ending)>,
    pub(crate) faults: Vec<Fault>,
    /// Bytes that files may take.
    pub(crate) space: Option<usize>,
    /// Files of this kind do not finish a sync.
    pub(crate) held: Option<Kind>,
    /// Syncs that wait for that to end.
    pub(crate) waiting: usize,
    pub(crate) ops: Counts,
    /// Which operations power cuts fell on.
    pub(crate) cuts: Counts,
}

impl Trouble {
    /// Whether a read is one that fails: nothing ends there, and it is not counted.
    pub(crate) fn fails_read(&mut self, kind: Kind) -> bool {
        self.is_hit(kind, Op::Read)
    }

    /// Counts an operation and says what becomes of it.
    pub(crate) fn judge(&mut self, kind: Kind, op: Op) -> Verdict {
        let moment = Moment { phase: self.phase, kind, op };
        *self.ops.entry(moment).or_default() += 1;
        if let Some((after, ending)) = &mut self.ending {
            if *after == 0 {
                if *ending == Ending::PowerCut {
                    *self.cuts.entry(moment).or_default() += 1;
                }
                return Verdict::Ends(*ending);
            }
            *after -= 1;
        }
        if self.is_hit(kind, op) { Verdict::Fails } else { Verdict::Done }
    }

    /// Whether a fault is due, which then is spent.
    fn is_hit(&mut self, kind: Kind, op: Op) -> bool {
        let is_write = |op| matches!(op, Op::Write | Op::WriteFront);
        let hit = |fault: &Fault| {
            fault.kind == kind && (fault.op == op || is_write(fault.op) && is_write(op))
        };
        for (place, fault) in self.faults.iter_mut().enumerate().filter(|(_, fault)| hit(fault)) {
            if fault.after == 0 {
                self.faults.remove(place);
                return true;
            }
            fault.after -= 1;
        }
        false
    }

    /// What was to go wrong does not any more; the counts stay.
    pub(crate) fn calm(&mut self) {
        self.ending = None;
        self.faults.clear();
        self.space = None;
        self.held = None;
    }
}
