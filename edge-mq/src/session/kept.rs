//! What of a session's queue lies on disk, in numbers: the messages themselves are there.
//!
//! Each message of a stored queue has a serial, in the order in which they came; the packet
//! identifier follows from it, so that a message has the same one after a restart. Of a client that
//! is not connected, nothing but these numbers is in memory.

use std::ops::Range;

use crate::store::{PageRequest, Progress, SessionNumber};

/// A queue on disk.
#[derive(Debug)]
pub(crate) struct Kept {
    number: SessionNumber,
    /// The serial of the next message that comes.
    next: u64,
    /// Behind the last message whose commit has ended.
    end: u64,
    /// From here on to `end`, messages are on disk only.
    unread: u64,
    is_reading: bool,
    /// Others of shared subscriptions get some of what is unread, once that is stored.
    is_divided: bool,
    /// Before this, nothing is wanted any more.
    floor: u64,
    /// Before this, nothing is on disk any more.
    gone_to: u64,
    /// Before this, messages may have been sent before the broker was started again.
    perhaps_sent: u64,
    /// Before this, messages came before the broker was started again.
    there_before: u64,
    /// Bytes of all messages that ever came, and of those that came to their end.
    came_bytes: u64,
    done_bytes: u64,
    /// Of `done_bytes`, what the store does not know of yet.
    untold_bytes: u64,
    is_untold: bool,
}

impl Kept {
    pub(super) fn new(number: SessionNumber) -> Kept {
        Kept {
            number,
            next: 0,
            end: 0,
            unread: 0,
            is_reading: false,
            is_divided: false,
            floor: 0,
            gone_to: 0,
            perhaps_sent: 0,
            there_before: 0,
            came_bytes: 0,
            done_bytes: 0,
            untold_bytes: 0,
            is_untold: false,
        }
    }

    /// After a restart: what the client has come to, and the queue as it lies on disk.
    pub(super) fn restored(progress: &Progress, end: u64, came_bytes: u64, lost: bool) -> Kept {
        let end = end.max(progress.sent);
        let came_bytes = came_bytes.max(progress.done_bytes);
        Kept {
            next: end,
            end,
            unread: progress.floor,
            floor: progress.floor,
            // What a connection that nobody saw the end of was sent is not known.
            perhaps_sent: if lost { end } else { 0 },
            there_before: end,
            came_bytes,
            done_bytes: progress.done_bytes,
            ..Kept::new(progress.session)
        }
    }

    pub(crate) fn number(&self) -> SessionNumber {
        self.number
    }

    /// Messages that wait on disk, at most: those that were refused count, too.
    pub(crate) fn waiting(&self) -> u64 {
        self.next - self.floor
    }

    /// Bytes of the messages that wait on disk.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.came_bytes - self.done_bytes
    }

    /// The serial of a message that comes, and how many bytes came before it.
    pub(crate) fn admit(&mut self, bytes: u64) -> (u64, u64) {
        let place = (self.next, self.came_bytes);
        self.next += 1;
        self.came_bytes += bytes;
        place
    }

    /// A message is on disk. Whether it may be kept in memory too: all before it are.
    pub(super) fn arrived(&mut self, serial: u64) -> bool {
        let is_next = self.unread == self.end;
        self.end = serial + 1;
        is_next
    }

    /// The messages up to this one are in memory.
    pub(super) fn took(&mut self, serial: u64) {
        self.unread = serial + 1;
    }

    pub(super) fn has_unread(&self) -> bool {
        self.unread < self.end
    }

    /// So many from this one on are given up, as far as they are on disk. Returns where that ends.
    pub(super) fn give_up(&mut self, from: u64, count: u64) -> u64 {
        let to = (from + count).min(self.end);
        if to > self.unread {
            self.unread = to;
            self.is_reading = false;
        }
        // How large they were is known when the queue is read again; until then they count as the
        // others do on average.
        let (gone, waiting) = (to.saturating_sub(from), self.waiting().max(1));
        let bytes = u128::from(self.waiting_bytes()) * u128::from(gone) / u128::from(waiting);
        self.done(usize::try_from(bytes).unwrap_or(usize::MAX));
        to
    }

    /// So many bytes came up to where the queue was read, and so many of them still wait in memory.
    pub(super) fn recount(&mut self, bytes_after: u64, in_memory: usize) {
        self.done_bytes = bytes_after.saturating_sub(in_memory as u64).min(self.came_bytes);
    }

    /// What is to be read next, if something is.
    pub(super) fn request(&mut self) -> Option<PageRequest> {
        if self.is_reading || self.is_divided || !self.has_unread() {
            return None;
        }
        self.is_reading = true;
        Some(PageRequest { session: self.number, from: self.unread, to: self.end })
    }

    /// What was read begins and ends here. Whether it is what comes next.
    pub(super) fn read(&mut self, from: u64, next: u64) -> bool {
        self.is_reading = false;
        let is_next = from == self.unread;
        if is_next {
            self.unread = next;
        }
        is_next
    }

    /// From here on, messages are on disk only.
    pub(super) fn park(&mut self, unread: u64) {
        self.unread = unread;
        self.is_reading = false;
    }

    /// From the first of these serials on, the next ones are unread and not of interest.
    pub(super) fn pass(&mut self, serials: &Range<u64>) {
        if self.unread == serials.start {
            self.unread = serials.end;
        }
    }

    /// Serials that are on disk, from this one on.
    pub(super) fn from(&self, serial: u64) -> Range<u64> {
        serial..self.end
    }

    /// Whether a message was there when the broker was started: what was sent before that is not
    /// known exactly, as a client may have come and gone unseen by the store.
    pub(crate) fn was_there(&self, serial: u64) -> bool {
        serial < self.there_before
    }

    pub(crate) fn is_divided(&self) -> bool {
        self.is_divided
    }

    /// While others get some of it, nothing of it is read for its own client.
    pub(crate) fn set_divided(&mut self, is_divided: bool) {
        self.is_divided = is_divided;
    }

    /// Whether this message is no longer to be waited for: it would have been read by now.
    pub(super) fn is_past(&self, serial: u64) -> bool {
        serial < self.unread
    }

    pub(super) fn is_perhaps_sent(&self, serial: u64) -> bool {
        serial < self.perhaps_sent
    }

    /// A message came to its end.
    pub(super) fn done(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.came_bytes - self.done_bytes);
        self.done_bytes += bytes;
        self.untold_bytes += bytes;
        self.is_untold = true;
    }

    /// Something changed that the store is to know in time.
    pub(super) fn touch(&mut self) {
        self.is_untold = true;
    }

    pub(crate) fn is_untold(&self) -> bool {
        self.is_untold
    }

    pub(crate) fn untold_bytes(&self) -> u64 {
        self.untold_bytes
    }

    /// The store does not know it after all.
    pub(crate) fn untell(&mut self, progress: &Progress) {
        self.gone_to = self.gone_to.min(progress.gone_to);
        self.is_untold = true;
    }

    /// What the store is to know now.
    pub(super) fn tell(&mut self, floor: u64, sent: u64, unfinished: Vec<(u64, bool)>) -> Progress {
        if floor == self.next {
            // Nothing waits. Of what was acknowledged unseen after a restart, the size was not known.
            self.done_bytes = self.came_bytes;
        }
        self.floor = floor;
        // After a restart from the very front: what was refused before it may have left something.
        let gone_to = std::mem::replace(&mut self.gone_to, floor);
        (self.untold_bytes, self.is_untold) = (0, false);
        let (session, done_bytes) = (self.number, self.done_bytes);
        Progress { session, gone_to, floor, sent, done_bytes, unfinished }
    }
}
