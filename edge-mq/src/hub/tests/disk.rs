//! A store in plain maps, which keeps what it is told and gives it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::TopicFilter;
use crate::delayed::Delayed;
use crate::hub::Deed;
use crate::message::Routed;
use crate::packet::{PacketId, Text};
use crate::session::Queued;
use crate::store::*;

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    sessions: BTreeMap<SessionNumber, Kept>,
    retained: BTreeMap<Text, Arc<Routed>>,
    delayed: BTreeMap<u64, Arc<Delayed>>,
    /// Most messages of a page.
    pub(super) page: usize,
}

#[derive(Debug, Clone)]
struct Kept {
    row: SessionRow,
    subscriptions: BTreeMap<TopicFilter, StoredSubscription>,
    received: BTreeSet<PacketId>,
    progress: Option<Progress>,
    /// With the bytes behind each.
    queue: BTreeMap<u64, (Queued, u64)>,
}

impl Disk {
    pub(super) fn commit(&mut self, group: &[Deed]) {
        group.iter().flat_map(|deed| &deed.writes).for_each(|write| self.write(write));
    }

    fn session(&mut self, number: SessionNumber) -> Option<&mut Kept> {
        self.sessions.get_mut(&number)
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Append { .. } => {}
            Write::Queue { session, bytes_before, queued, .. } => {
                let after = bytes_before + queued.routed.message.cost_bytes() as u64;
                // A message for a session that ended meanwhile is lost with it.
                if let Some(kept) = self.session(*session) {
                    kept.queue.insert(queued.serial.unwrap(), (queued.clone(), after));
                }
            }
            Write::Retain(routed) if routed.message.payload().is_empty() => {
                self.retained.remove(routed.message.topic().as_text());
            }
            Write::Retain(routed) => {
                self.retained.insert(routed.message.topic().as_text().clone(), routed.clone());
            }
            Write::Unretain(topic) => drop(self.retained.remove(topic.as_text())),
            Write::Delay(delayed) => {
                self.delayed.insert(delayed.number, Arc::clone(delayed));
            }
            Write::EndDelay(delayed) => {
                self.delayed.remove(&delayed.number).expect("it is published once");
            }
            Write::Session(row) => self.put(row),
            Write::EndSession(session) => drop(self.sessions.remove(session)),
            Write::Subscribe(session, wanted) => {
                let kept = self.session(*session).expect("it was stored when it began");
                kept.subscriptions.insert(wanted.filter.clone(), wanted.clone());
            }
            Write::Unsubscribe(session, filter) => {
                self.session(*session).map(|kept| kept.subscriptions.remove(filter));
            }
            Write::Progress { progress, .. } => {
                let Some(kept) = self.session(progress.session) else { return };
                let gone = progress.gone_to..progress.floor;
                kept.queue.retain(|serial, _| !gone.contains(serial));
                kept.progress = Some(progress.clone());
            }
            Write::Drop(session, serials) => {
                let Some(kept) = self.session(*session) else { return };
                kept.queue.retain(|serial, _| !serials.contains(serial));
            }
            Write::Take(session, serials) => {
                let Some(kept) = self.session(*session) else { return };
                kept.queue.retain(|serial, _| !serials.contains(serial));
            }
            Write::Received(session, id) => {
                self.session(*session).map(|kept| kept.received.insert(*id));
            }
            Write::Released(session, id) => {
                self.session(*session).map(|kept| kept.received.remove(id));
            }
        }
    }

    fn put(&mut self, row: &SessionRow) {
        let kept = self.sessions.entry(row.number).or_insert_with(|| Kept {
            row: row.clone(),
            subscriptions: BTreeMap::new(),
            received: BTreeSet::new(),
            progress: None,
            queue: BTreeMap::new(),
        });
        kept.row = row.clone();
    }

    /// What a broker finds that is started now.
    pub(super) fn stored(&self) -> Stored {
        let sessions = self.sessions.values().map(|kept| {
            let last = kept.queue.last_key_value();
            StoredSession {
                row: kept.row.clone(),
                subscriptions: kept.subscriptions.values().cloned().collect(),
                received: kept.received.iter().copied().collect(),
                progress: kept.progress.clone(),
                end: last.map_or(0, |(serial, _)| serial + 1),
                came_bytes: last.map_or(0, |(_, (_, after))| *after),
            }
        });
        let next_session = self.sessions.last_key_value().map_or(0, |(number, _)| number.0 + 1);
        let retained = self.retained.values().cloned().collect();
        let next_delayed = self.delayed.last_key_value().map_or(0, |(number, _)| number + 1);
        let mut delayed: Vec<_> = self.delayed.values().map(|delayed| copy(delayed)).collect();
        delayed.sort_by_key(|delayed| (delayed.due, delayed.number));
        let sessions = sessions.collect();
        Stored { next_session, sessions, retained, delayed, next_delayed }
    }

    /// Messages that are to be published later.
    pub(super) fn delayed(&self) -> usize {
        self.delayed.len()
    }

    pub(super) fn read(&self, request: &PageRequest) -> Page {
        let PageRequest { session, from, to } = *request;
        let queue = self.sessions.get(&session).map(|kept| &kept.queue);
        let found = queue.into_iter().flat_map(|queue| queue.range(from..to));
        let mut messages: Vec<_> = found.map(|(_, (queued, _))| queued.clone()).collect();
        let mut next = to;
        if messages.len() > self.page {
            next = messages[self.page].serial.unwrap();
            messages.truncate(self.page);
        }
        let last = messages.last().and_then(|queued| queue?.get(&queued.serial?));
        let bytes_after = last.map(|(_, after)| *after);
        Page { session, from, next, bytes_after, messages, too_old: 0 }
    }

    /// Messages in all queues.
    pub(super) fn queued(&self) -> usize {
        self.sessions.values().map(|kept| kept.queue.len()).sum()
    }

    /// QoS 2 messages of clients that they have not released.
    pub(super) fn unreleased(&self) -> usize {
        self.sessions.values().map(|kept| kept.received.len()).sum()
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

fn copy(delayed: &Delayed) -> Delayed {
    let (client, message) = (delayed.client.clone(), delayed.message.clone());
    Delayed { client, message, ..*delayed }
}
