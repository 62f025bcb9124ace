//! A queue that lies on disk: what of it is in memory, and what is read when.

use std::collections::VecDeque;
use std::ops::Range;

use super::{Inflight, Outgoing, Queued, Stage};
use crate::limits::Limits;
use crate::session::kept::Kept;
use crate::stats::Stats;
use crate::store::{Page, PageRequest, Progress, SessionNumber, StoredSession};

/// More messages than a chunk has on disk, which ends behind 64 KiB.
const CHUNK_MESSAGES: u64 = 8 * 1024;

/// Below so much in memory, more is read from disk.
const READ_AHEAD_MESSAGES: usize = 256;
const READ_AHEAD_BYTES: usize = 256 * 1024;

impl Outgoing {
    /// One that is on disk, and is empty.
    pub(crate) fn kept_as(number: SessionNumber) -> Outgoing {
        Outgoing { kept: Some(Box::new(Kept::new(number))), ..Outgoing::new() }
    }

    /// One as it was left on disk. After a connection whose end nobody saw, what was sent is not
    /// known exactly.
    pub(crate) fn restored(stored: &StoredSession, lost: bool) -> Outgoing {
        let nothing = Progress::none(stored.row.number);
        let progress = stored.progress.as_ref().unwrap_or(&nothing);
        let inflight = progress.unfinished.iter().map(|&(serial, is_released)| {
            let stage = if is_released { Stage::Release } else { Stage::OnDisk(0) };
            Inflight { serial, stage }
        });
        let kept = Kept::restored(progress, stored.end, stored.came_bytes, lost);
        let (inflight, next_serial) = (inflight.collect(), progress.sent);
        Outgoing { inflight, next_serial, kept: Some(Box::new(kept)), ..Outgoing::new() }
    }

    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.kept.as_deref()
    }

    pub(crate) fn kept_mut(&mut self) -> Option<&mut Kept> {
        self.kept.as_deref_mut()
    }

    /// A message is on disk. It is kept in memory, too, if it is to be sent next and there is room;
    /// otherwise it is read when its turn comes.
    pub(crate) fn arrive(
        &mut self,
        queued: Queued,
        is_connected: bool,
        limits: &Limits,
        stats: &mut Stats,
    ) {
        let (Some(kept), Some(serial)) = (&mut self.kept, queued.serial) else { return };
        let bytes = queued.routed.message.cost_bytes();
        let fits = stats.queued_bytes + bytes <= limits.queue_bytes_common()
            && self.bytes + bytes <= limits.queue_bytes
            && self.queue.len() < limits.queue_messages;
        if kept.arrived(serial) && is_connected && fits {
            kept.took(serial);
            self.take(queued, stats);
        }
    }

    /// What is to be read from disk next: before the queue in memory runs empty, or once it is, where
    /// all queues together have as much in memory as they may.
    pub(crate) fn request(&mut self, limits: &Limits, stats: &Stats) -> Option<PageRequest> {
        let is_low = self.queue.len() < READ_AHEAD_MESSAGES && self.bytes < READ_AHEAD_BYTES;
        let has_room = self.bytes == 0 || stats.queued_bytes < limits.queue_bytes_common();
        let is_low = is_low && has_room;
        let lacks_one = self.inflight.get(self.sent).is_some_and(Inflight::is_on_disk);
        self.kept.as_mut().filter(|_| is_low || lacks_one)?.request()
    }

    /// Takes what was read from disk.
    pub(crate) fn load(&mut self, page: Page, stats: &mut Stats) {
        let Some(kept) = &mut self.kept else { return };
        if !kept.read(page.from, page.next) {
            return;
        }
        stats.dropped_expired += page.too_old;
        for queued in page.messages {
            let Some(serial) = queued.serial else { continue };
            if serial >= self.next_serial {
                self.take(queued, stats);
            } else if let Ok(at) = self.inflight.binary_search_by_key(&serial, |sent| sent.serial)
                && self.inflight[at].is_on_disk()
            {
                let bytes = queued.routed.message.cost_bytes();
                self.bytes += bytes;
                stats.queued_bytes += bytes;
                self.inflight[at].stage = Stage::Publish(queued);
            }
        }
        if let Some(bytes_after) = page.bytes_after {
            // What is in memory waits, and what is behind it.
            self.kept.as_mut().expect("looked at above").recount(bytes_after, self.bytes);
        }
    }

    /// Serials of what is on disk and was not sent, as far as is known.
    pub(crate) fn unsent(&self) -> Range<u64> {
        self.kept.as_ref().map_or(0..0, |kept| kept.from(self.next_unsent()))
    }

    /// Behind all that were sent.
    fn next_unsent(&self) -> u64 {
        self.next_serial.max(self.inflight.back().map_or(0, |sent| sent.serial + 1))
    }

    /// Others have got so many bytes of what was not sent. If they have all of these serials, which
    /// come next, those are passed over.
    pub(crate) fn hand_over(&mut self, bytes: usize, all_of: Option<Range<u64>>) {
        let next_unsent = self.next_unsent();
        let Some(kept) = &mut self.kept else { return };
        if let Some(serials) = all_of.filter(|serials| serials.start == next_unsent) {
            kept.pass(&serials);
            self.next_serial = serials.end;
        }
        kept.done(bytes);
    }

    /// Gives up so many of those that were not sent, the oldest. Returns which of them may be removed
    /// from disk: a chunk may also hold some that were sent.
    pub(crate) fn drop_oldest(&mut self, count: u64, stats: &mut Stats) -> Option<Range<u64>> {
        let from = self.next_unsent();
        let kept = self.kept.as_mut()?;
        let to = kept.give_up(from, count);
        stats.dropped_full += to.saturating_sub(from);
        self.next_serial = to;
        let is_given_up = |queued: &Queued| queued.serial.is_some_and(|serial| serial < to);
        let (gone, stay): (VecDeque<_>, _) =
            std::mem::take(&mut self.queue).into_iter().partition(is_given_up);
        self.queue = stay;
        gone.iter().for_each(|queued| self.freed(queued, stats));
        Some(from + CHUNK_MESSAGES..to)
    }

    /// The client is gone: of what is on disk, nothing stays in memory.
    pub(crate) fn park(&mut self, stats: &mut Stats) {
        if self.kept.is_none() {
            return;
        }
        for queued in std::mem::take(&mut self.queue) {
            self.freed(&queued, stats);
            // The others are on disk.
            stats.dropped_qos0 += u64::from(queued.serial.is_none());
        }
        for at in 0..self.inflight.len() {
            if let Stage::Publish(queued) = &self.inflight[at].stage {
                let bytes = queued.routed.message.cost_bytes();
                self.bytes -= bytes;
                stats.queued_bytes -= bytes;
                self.inflight[at].stage = Stage::OnDisk(bytes);
            }
        }
        let unsent = self.inflight.iter().find(|sent| sent.is_on_disk());
        let unread = unsent.map_or(self.next_serial, |sent| sent.serial);
        self.kept.as_mut().expect("looked at above").park(unread);
    }

    /// How far the client has come, for the store.
    pub(crate) fn tell(&mut self) -> Option<Progress> {
        let floor = self.inflight.front().map_or(self.next_serial, |sent| sent.serial);
        let unfinished = self.inflight.iter();
        let unfinished = unfinished.map(|s| (s.serial, matches!(s.stage, Stage::Release)));
        Some(self.kept.as_mut()?.tell(floor, self.next_serial, unfinished.collect()))
    }
}
