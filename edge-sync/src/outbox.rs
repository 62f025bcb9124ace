//! Decides what the replication of one Log does next.
//!
//! No clock, no file, no network: [`Outbox::next`] takes the backlog and the time and says what
//! to do; what came of it goes back in. The way of a segment, and what a crash at each step
//! leaves:
//!
//! ```text
//! Cut      rows become bytes and a digest     nothing happened
//! intend   range and digest are committed     the same rows become the same bytes again
//! Upload   the object is created              it exists already, with our digest: landed
//! landed   cursor and counters, one commit    the next segment
//! ```

use std::time::Duration;

use edge_db::{Seq, Time};
use serde::{Deserialize, Serialize};

/// The first pause after a failed upload; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause. A link that is back is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How rows are grouped into segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grouping {
    /// A segment holds at most this many rows.
    pub(crate) max_rows: u64,
    /// A row waits at most this long for company.
    pub(crate) linger: Duration,
}

/// SHA-256 over the bytes of a segment.
pub(crate) type Digest = [u8; 32];

/// The segment that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) number: u64,
    pub(crate) first: Seq,
    pub(crate) next: Seq,
    /// The Log dropped these rows before they were sent: the segment says so and is empty.
    pub(crate) gap: bool,
    pub(crate) digest: Digest,
}

impl Intent {
    pub(crate) fn rows(&self) -> u64 {
        self.next.since(self.first)
    }
}

/// What is durable about one Log's replication; written in the commit that moves the cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Told apart by this: two lives of one edge id. Set once.
    pub(crate) epoch: u64,
    /// The first row that was ever to be replicated.
    pub(crate) origin: Seq,
    pub(crate) next_number: u64,
    pub(crate) landed: u64,
    pub(crate) dropped: u64,
    pub(crate) intent: Option<Intent>,
}

impl Progress {
    pub(crate) fn new(epoch: u64, origin: Seq) -> Progress {
        Progress { epoch, origin, next_number: 0, landed: 0, dropped: 0, intent: None }
    }
}

/// What waits in the Log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backlog {
    pub(crate) rows: u64,
    /// Time of the oldest row; `None` if there is none.
    pub(crate) oldest: Option<Time>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing until rows come.
    Idle,
    /// Nothing until then, unless rows come.
    Wait(Duration),
    /// Read up to so many rows from the cursor on, encode them, and call [`Outbox::intend`].
    Cut { max_rows: u64 },
    /// Create this segment in the landing zone, and call [`Outbox::answered`].
    Upload(Intent),
    /// Nothing any more.
    Stop,
}

/// What creating a segment came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Created,
    /// An object of this name is there, with this content.
    Exists(Digest),
    /// No answer, or one that says nothing about the object.
    Failed,
}

/// What is to be committed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The segment lies there: commit this, with the cursor.
    Landed { progress: Progress, cursor: Seq },
    /// Try again after the pause that [`Outbox::next`] tells.
    Retry,
    /// Somebody else wrote this segment.
    Fenced,
}

/// The replication of one Log.
#[derive(Debug)]
pub(crate) struct Outbox {
    grouping: Grouping,
    progress: Progress,
    failures: u32,
    retry_at: Option<Time>,
    flushing: bool,
    fenced: bool,
}

impl Outbox {
    pub(crate) fn new(grouping: Grouping, progress: Progress) -> Outbox {
        Outbox { grouping, progress, failures: 0, retry_at: None, flushing: false, fenced: false }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// From now on rows wait for no company, and failed uploads for no pause.
    pub(crate) fn flush(&mut self) {
        self.flushing = true;
        self.retry_at = None;
    }

    pub(crate) fn next(&self, backlog: Backlog, now: Time) -> Action {
        if self.fenced {
            return Action::Stop;
        }
        if let Some(retry_at) = self.retry_at
            && retry_at > now
        {
            // A clock that was set back must not make the pause longer.
            return Action::Wait(retry_at.since(now).min(LONGEST_PAUSE));
        }
        if let Some(intent) = self.progress.intent {
            return Action::Upload(intent);
        }
        let Some(oldest) = backlog.oldest else { return Action::Idle };
        let Grouping { max_rows, linger } = self.grouping;
        let waited = now.since(oldest);
        if self.flushing || backlog.rows >= max_rows || waited >= linger {
            Action::Cut { max_rows }
        } else {
            Action::Wait(linger - waited)
        }
    }

    /// Takes the rows that were cut; what it returns is to be committed before the upload.
    pub(crate) fn intend(&mut self, first: Seq, next: Seq, gap: bool, digest: Digest) -> &Progress {
        let number = self.progress.next_number;
        self.progress.intent = Some(Intent { number, first, next, gap, digest });
        &self.progress
    }

    /// Gives up an intended segment that never landed and whose bytes cannot be made again: its
    /// rows are cut anew.
    pub(crate) fn withdraw(&mut self) {
        self.progress.intent = None;
    }

    /// Takes what creating the intended segment came to.
    pub(crate) fn answered(&mut self, answer: Answer, now: Time) -> Verdict {
        let Some(intent) = self.progress.intent else { return Verdict::Retry };
        match answer {
            Answer::Created => self.landed(intent),
            // The answer to an earlier attempt was lost: the segment is there.
            Answer::Exists(digest) if digest == intent.digest => self.landed(intent),
            Answer::Exists(_) => {
                self.fenced = true;
                Verdict::Fenced
            }
            Answer::Failed => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10));
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(later(now, pause.min(LONGEST_PAUSE)));
                Verdict::Retry
            }
        }
    }

    fn landed(&mut self, intent: Intent) -> Verdict {
        self.failures = 0;
        self.retry_at = None;
        self.progress.intent = None;
        self.progress.next_number += 1;
        if intent.gap {
            self.progress.dropped += intent.rows();
        } else {
            self.progress.landed += intent.rows();
        }
        Verdict::Landed { progress: self.progress.clone(), cursor: intent.next }
    }
}

fn later(time: Time, pause: Duration) -> Time {
    let micros = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
    Time::from_micros(time.micros().saturating_add(micros))
}

#[cfg(test)]
mod tests;
