//! What waits for the link, on disk: a Log and a cursor for each priority.

use std::sync::Arc;
use std::time::Duration;

use edge_db::{Commit, Cursor, Db, Log, LogOptions, Records, Seq, Time};

use super::rule::{Mapping, Priority};
use super::settings::{self, WhenFull};
use super::window::Window;
use crate::db::{DbStore, JournalError, blocking};
use crate::store::LogSlot;

/// The one reader of such a Log.
const CURSOR: &str = "bridge";

/// A position may be durable so much later: a crash then sends again what was sent meanwhile.
const POSITION_WITHIN: Duration = Duration::from_secs(1);

/// One queue.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) priority: Priority,
    pub(super) log: Log,
    pub(super) cursor: Cursor,
    pub(super) slot: LogSlot,
}

/// Where a queue stands, for others to look at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    /// The next record to send.
    pub(super) next: Seq,
    /// The oldest that is not acknowledged.
    pub(super) unsettled: Seq,
}

/// Where a link stands in a queue.
#[derive(Debug, Clone, Copy, Default)]
struct At {
    /// The next record to send.
    next: Seq,
    /// The oldest that is not acknowledged.
    unsettled: Seq,
    /// The same, as it was committed last.
    stored: Seq,
    /// Whether everything was read.
    is_drained: bool,
}

/// All queues of a bridge, as its task sees them.
#[derive(Debug)]
pub(super) struct Queues {
    db: Db,
    pub(super) lanes: Vec<Lane>,
    at: Vec<At>,
    max_age: Option<Duration>,
}

fn log_name(bridge: &str, priority: Priority) -> String {
    format!("mq.bridge.{bridge}.{}", priority.name())
}

/// Opens the queues that rules need, and those that still hold something from before.
pub(super) async fn open(
    journal: &Arc<DbStore>,
    bridge: &str,
    rules: &[Mapping],
    settings: settings::Queue,
) -> Result<Vec<Lane>, JournalError> {
    let (journal, bridge) = (Arc::clone(journal), bridge.to_owned());
    let wanted = Priority::ALL.map(|priority| rules.iter().any(|rule| rule.priority == priority));
    blocking(move || {
        let mut lanes = Vec::new();
        for (priority, is_wanted) in Priority::ALL.into_iter().zip(wanted) {
            let name = log_name(&bridge, priority);
            if !is_wanted && journal.db().find_log(&name).is_none() {
                continue;
            }
            let log = journal.db().log_with(&name, options(settings))?;
            let cursor = log.cursor(CURSOR)?;
            let slot = journal.slot_of(&log);
            lanes.push(Lane { priority, log, cursor, slot });
        }
        Ok(lanes)
    })
    .await
}

fn options(settings: settings::Queue) -> LogOptions {
    let options = LogOptions::new().max_bytes(settings.max_bytes);
    match settings.when_full {
        WhenFull::HoldBack => options.when_full(edge_db::WhenFull::Refuse),
        WhenFull::DropOldest => options.when_full(edge_db::WhenFull::DropOldest),
        // The gate closes at the limit. What passes it before that is seen must not be refused,
        // as that would refuse the message to everybody.
        WhenFull::DropNew => options
            .max_bytes(settings.max_bytes.saturating_mul(2))
            .when_full(edge_db::WhenFull::DropOldest),
    }
}

/// Gives up all that waits, and the cursors. Returns how many messages that were.
pub(super) async fn remove(db: &Db, lanes: Vec<Lane>) -> Result<u64, JournalError> {
    let db = db.clone();
    blocking(move || {
        let mut batch = db.batch();
        let mut left = 0;
        for Lane { log, cursor, .. } in &lanes {
            let state = log.state()?;
            left += state.next.since(cursor.position()?.max(state.first));
            batch.remove_cursor(cursor);
            batch.trim(log, state.next);
        }
        batch.commit()?;
        Ok(left)
    })
    .await
}

impl Queues {
    /// At the positions that were stored last.
    pub(super) async fn new(
        db: Db,
        lanes: Vec<Lane>,
        max_age: Option<Duration>,
    ) -> Result<Queues, JournalError> {
        let cursors: Vec<Cursor> = lanes.iter().map(|lane| lane.cursor.clone()).collect();
        let at = blocking(move || {
            let position = |cursor: &Cursor| -> Result<At, JournalError> {
                let next = cursor.position()?;
                Ok(At { next, unsettled: next, stored: next, is_drained: false })
            };
            cursors.iter().map(position).collect::<Result<Vec<At>, _>>()
        });
        let at = at.await?;
        Ok(Queues { db, lanes, at, max_age })
    }

    /// A link has ended: the next one begins with the oldest that was not acknowledged.
    pub(super) fn rewind(&mut self) {
        for at in &mut self.at {
            at.next = at.unsettled;
            at.is_drained = false;
        }
    }

    /// There may be more to read.
    pub(super) fn wake(&mut self) {
        self.at.iter_mut().for_each(|at| at.is_drained = false);
    }

    /// The weights of those that may have something to send, 0 for the others.
    pub(super) fn weights(&self) -> Vec<usize> {
        let weight =
            |(lane, at): (&Lane, &At)| if at.is_drained { 0 } else { lane.priority.weight() };
        self.lanes.iter().zip(&self.at).map(weight).collect()
    }

    /// The next records of one queue; the position stays.
    pub(super) async fn read(&mut self, lane: usize, most: usize) -> Result<Records, JournalError> {
        let (log, next) = (self.lanes[lane].log.clone(), self.at[lane].next);
        let records = blocking(move || Ok(log.read(next, most)?)).await?;
        // What was dropped in front of the position is missing; then there may be more behind it.
        self.at[lane].is_drained = records.is_empty() && records.missing().is_none();
        Ok(records)
    }

    /// The records in front of this one were sent, or are not to be.
    pub(super) fn passed(&mut self, lane: usize, next: Seq) {
        self.at[lane].next = next;
    }

    /// Takes up what has been acknowledged.
    pub(super) fn settle(&mut self, window: &Window) {
        for (lane, at) in self.at.iter_mut().enumerate() {
            at.unsettled = window.oldest(lane).unwrap_or(at.next);
        }
    }

    /// Where each queue stands.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.at.iter().map(|at| Position { next: at.next, unsettled: at.unsettled })
    }

    /// How many messages were acknowledged that the stored positions do not know of.
    pub(super) fn unstored(&self) -> u64 {
        self.at.iter().map(|at| at.unsettled.since(at.stored)).sum()
    }

    /// Begins to store the positions, and to remove what lies in front of them.
    pub(super) fn store(&mut self) -> Commit {
        let mut batch = self.db.batch().within(POSITION_WITHIN);
        for (lane, at) in self.lanes.iter().zip(&mut self.at) {
            if at.unsettled > at.stored {
                batch.advance(&lane.cursor, at.unsettled);
                batch.trim(&lane.log, at.unsettled);
                at.stored = at.unsettled;
            }
        }
        batch.commit_async()
    }

    /// Passes what was dropped from full queues, and what has waited for too long.
    pub(super) async fn pass_dropped(&mut self, now: Time) -> Result<Passed, JournalError> {
        let logs: Vec<Log> = self.lanes.iter().map(|lane| lane.log.clone()).collect();
        let since = self.max_age.map(|age| {
            let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            Time::from_micros(now.micros().saturating_sub(age))
        });
        let kept = blocking(move || {
            let kept = logs.iter().map(|log| {
                let first = log.bounds()?.start;
                Ok((first, since.map(|since| log.position_at(since)).transpose()?.unwrap_or(first)))
            });
            kept.collect::<Result<Vec<(Seq, Seq)>, JournalError>>()
        });
        let mut passed = Passed::default();
        for (at, (first, young)) in self.at.iter_mut().zip(kept.await?) {
            passed.oldest += first.since(at.next);
            at.next = at.next.max(first);
            passed.aged += young.since(at.next);
            at.next = at.next.max(young);
        }
        Ok(passed)
    }
}

/// How many messages were passed without being sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passed {
    /// The oldest of full queues.
    pub(super) oldest: u64,
    /// Those that waited for too long.
    pub(super) aged: u64,
}
