//! Everything but queues, as rows of Tables.

use std::time::Duration;

use edge_db::{Batch, Db, OpenError, Table};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::{StoredError, message, queue};
use crate::access::User;
use crate::delayed::Delayed;
use crate::message::{Message, Routed};
use crate::packet::{PacketId, SubscribeOptions, SubscriptionId, Text};
use crate::store::{
    Presence, Progress, SessionNumber, SessionRow, Stored, StoredSession, StoredSubscription,
};
use crate::{TopicFilter, TopicName};

/// The Tables of sessions and retained messages.
#[derive(Debug)]
pub(super) struct Rows {
    sessions: Table<u64, SessionValue>,
    subscriptions: Table<(u64, String), SubscriptionValue>,
    progress: Table<u64, ProgressValue>,
    /// QoS 2 messages that came, by session and packet identifier.
    received: Table<(u64, u16), ()>,
    retained: Table<String, RetainedValue>,
    delayed: Table<u64, DelayedValue>,
    pub(super) queue: edge_db::Keyspace,
}

#[derive(Debug, Serialize, Deserialize)]
struct SessionValue {
    client_id: String,
    user: Option<String>,
    groups: Vec<String>,
    expiry_ms: u64,
    presence: PresenceValue,
}

#[derive(Debug, Serialize, Deserialize)]
enum PresenceValue {
    /// The will's delay in milliseconds, and the will as a PUBLISH of MQTT 5.0.
    Connected(Option<(u64, Vec<u8>)>),
    /// Milliseconds since the Unix epoch.
    Gone { ends_at: u64, will: Option<(u64, Vec<u8>)> },
}

#[derive(Debug, Serialize, Deserialize)]
struct SubscriptionValue {
    options: u8,
    id: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ProgressValue {
    floor: u64,
    sent: u64,
    done_bytes: u64,
    unfinished: Vec<(u64, bool)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RetainedValue {
    /// Milliseconds since the Unix epoch.
    expires: Option<u64>,
    publish: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DelayedValue {
    /// Milliseconds since the Unix epoch.
    due: u64,
    delay_ms: u64,
    client: Option<String>,
    publish: Vec<u8>,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Rows {
    pub(super) fn open(db: &Db) -> Result<Rows, OpenError> {
        Ok(Rows {
            sessions: db.table("mq.sessions")?,
            subscriptions: db.table("mq.subscriptions")?,
            progress: db.table("mq.progress")?,
            received: db.table("mq.received")?,
            retained: db.table("mq.retained")?,
            delayed: db.table("mq.delayed")?,
            queue: db.keyspace("mq.queue")?,
        })
    }

    pub(super) fn put_session(&self, row: &SessionRow, clock: Clock, batch: &mut Batch) {
        let presence = match &row.presence {
            Presence::Connected { will } => {
                let will = will.as_ref();
                PresenceValue::Connected(will.map(|(delay, m)| (ms(*delay), message::bytes(m))))
            }
            Presence::Gone { ends_at, will } => PresenceValue::Gone {
                ends_at: clock.unix_ms(*ends_at),
                will: will.as_ref().map(|(due, m)| (clock.unix_ms(*due), message::bytes(m))),
            },
        };
        let value = SessionValue {
            client_id: row.client_id.to_string(),
            user: row.user.name().map(Text::to_string),
            groups: row.user.groups().iter().map(Text::to_string).collect(),
            expiry_ms: ms(row.expiry),
            presence,
        };
        insert(batch, &self.sessions, &row.number.0, &value);
    }

    /// Removes a session with all that belongs to it.
    pub(super) fn end_session(&self, session: SessionNumber, batch: &mut Batch) {
        let number = session.0;
        batch.remove(&self.sessions, &number);
        batch.remove(&self.progress, &number);
        let (from, to) = ((number, String::new()), (number + 1, String::new()));
        batch.remove_range(&self.subscriptions, from..to);
        batch.remove_range(&self.received, (number, 0)..(number + 1, 0));
        queue::remove_all(session, &self.queue, batch);
    }

    pub(super) fn subscribe(
        &self,
        session: SessionNumber,
        subscription: &StoredSubscription,
        batch: &mut Batch,
    ) {
        let StoredSubscription { filter, options, id } = subscription;
        let key = (session.0, filter.as_str().to_owned());
        let value = SubscriptionValue { options: options.to_byte(), id: id.map(|id| id.get()) };
        insert(batch, &self.subscriptions, &key, &value);
    }

    pub(super) fn unsubscribe(
        &self,
        session: SessionNumber,
        filter: &TopicFilter,
        batch: &mut Batch,
    ) {
        batch.remove(&self.subscriptions, &(session.0, filter.as_str().to_owned()));
    }

    pub(super) fn progress(&self, progress: &Progress, batch: &mut Batch) {
        let Progress { session, gone_to, floor, sent, done_bytes, ref unfinished } = *progress;
        let value = ProgressValue { floor, sent, done_bytes, unfinished: unfinished.clone() };
        insert(batch, &self.progress, &session.0, &value);
        queue::remove(session, gone_to, floor, &self.queue, batch);
    }

    pub(super) fn received(&self, session: SessionNumber, id: PacketId, batch: &mut Batch) {
        insert(batch, &self.received, &(session.0, id.get()), &());
    }

    pub(super) fn released(&self, session: SessionNumber, id: PacketId, batch: &mut Batch) {
        batch.remove(&self.received, &(session.0, id.get()));
    }

    /// Keeps a message as the one of its topic; an empty one removes it.
    pub(super) fn retain(&self, routed: &Routed, clock: Clock, batch: &mut Batch) {
        let Routed { message, deadline } = routed;
        if message.payload().is_empty() {
            return self.unretain(message.topic(), batch);
        }
        let expires = deadline.map(|deadline| clock.unix_ms(deadline));
        let value = RetainedValue { expires, publish: message::bytes(message) };
        insert(batch, &self.retained, &message.topic().as_str().to_owned(), &value);
    }

    pub(super) fn unretain(&self, topic: &TopicName, batch: &mut Batch) {
        batch.remove(&self.retained, &topic.as_str().to_owned());
    }

    /// Keeps a message until it is published.
    pub(super) fn delay(&self, delayed: &Delayed, clock: Clock, batch: &mut Batch) {
        let value = DelayedValue {
            due: clock.unix_ms(delayed.due),
            delay_ms: ms(delayed.delay),
            client: delayed.client.as_ref().map(Text::to_string),
            publish: message::bytes(&delayed.message),
        };
        insert(batch, &self.delayed, &delayed.number, &value);
    }

    pub(super) fn end_delay(&self, delayed: &Delayed, batch: &mut Batch) {
        batch.remove(&self.delayed, &delayed.number);
    }

    /// How much there is of a session's.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 5] {
        [
            self.sessions.iter().unwrap().count(),
            self.subscriptions.iter().unwrap().count(),
            self.progress.iter().unwrap().count(),
            self.received.iter().unwrap().count(),
            self.queue.iter().unwrap().count(),
        ]
    }

    /// Everything but the messages in queues.
    pub(super) fn load(&self) -> Result<Stored, StoredError> {
        let clock = Clock::now();
        let next_session = self.last_number()?.map_or(0, |number| number + 1);
        let mut stored = Stored { next_session, ..Stored::default() };
        for row in self.sessions.iter()? {
            let (number, value) = row?;
            stored.sessions.push(self.session(SessionNumber(number), value, clock)?);
        }
        for row in self.retained.iter()? {
            let (_, RetainedValue { expires, publish }) = row?;
            let (message, _) = message::decode(publish.into())?;
            let longest = Duration::from_secs(u32::MAX.into());
            let deadline = expires.map(|expires| clock.moment(expires, longest));
            stored.retained.push(Routed { message, deadline }.into());
        }
        (stored.delayed, stored.next_delayed) = self.delayed(clock)?;
        Ok(stored)
    }

    /// What waits, in the order in which it is due, and the number behind all of it.
    fn delayed(&self, clock: Clock) -> Result<(Vec<Delayed>, u64), StoredError> {
        let rows = self.delayed.iter()?;
        let mut rows = rows.collect::<Result<Vec<(u64, DelayedValue)>, _>>()?;
        let next = rows.last().map_or(0, |(number, _)| number + 1);
        rows.sort_by_key(|(number, value)| (value.due, *number));
        let delayed = rows.into_iter().map(|(number, value)| {
            let delay = Duration::from_millis(value.delay_ms);
            let (message, _) = message::decode(value.publish.into())?;
            let client = value.client.map(text).transpose()?;
            let due = clock.moment(value.due, delay);
            Ok(Delayed { number, order: number, due, delay, client, message })
        });
        Ok((delayed.collect::<Result<_, StoredError>>()?, next))
    }

    /// The highest number that anything is stored under. Not only sessions count: one that the full
    /// disk refused may have left a part of its queue, which nobody else must get.
    fn last_number(&self) -> Result<Option<u64>, StoredError> {
        let session = self.sessions.last()?.map(|(number, _)| number);
        let subscription = self.subscriptions.last()?.map(|((number, _), _)| number);
        let progress = self.progress.last()?.map(|(number, _)| number);
        let received = self.received.last()?.map(|((number, _), ())| number);
        let queue = queue::last_number(&self.queue)?;
        Ok([session, subscription, progress, received, queue].into_iter().flatten().max())
    }

    fn session(
        &self,
        number: SessionNumber,
        value: SessionValue,
        clock: Clock,
    ) -> Result<StoredSession, StoredError> {
        let subscriptions = self.subscriptions.prefix(&number.0)?;
        let subscriptions =
            subscriptions.map(|row| subscription(row?)).collect::<Result<_, _>>()?;
        let received = self.received.prefix(&number.0)?.map(|row| {
            let ((_, id), ()) = row?;
            PacketId::new(id).ok_or(StoredError::Malformed("a packet identifier is 0"))
        });
        let received = received.collect::<Result<_, _>>()?;
        let progress = self.progress.get(&number.0)?.map(|value| {
            let ProgressValue { floor, sent, done_bytes, unfinished } = value;
            Progress { session: number, gone_to: floor, floor, sent, done_bytes, unfinished }
        });
        let (end, came_bytes) = queue::end(number, &self.queue)?;
        let row = session_row(number, value, clock)?;
        Ok(StoredSession { row, subscriptions, received, progress, end, came_bytes })
    }
}

fn session_row(
    number: SessionNumber,
    value: SessionValue,
    clock: Clock,
) -> Result<SessionRow, StoredError> {
    let expiry = Duration::from_millis(value.expiry_ms);
    let will =
        |bytes: Vec<u8>| -> Result<Message, StoredError> { Ok(message::decode(bytes.into())?.0) };
    let presence = match value.presence {
        PresenceValue::Connected(stored) => {
            let stored = stored.map(|(delay, bytes)| {
                Ok::<_, StoredError>((Duration::from_millis(delay), will(bytes)?))
            });
            Presence::Connected { will: stored.transpose()? }
        }
        PresenceValue::Gone { ends_at, will: stored } => {
            let stored = stored.map(|(due, bytes)| {
                Ok::<_, StoredError>((clock.moment(due, expiry), will(bytes)?))
            });
            Presence::Gone { ends_at: clock.moment(ends_at, expiry), will: stored.transpose()? }
        }
    };
    let groups = value.groups.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let named = value.user.map(text).transpose()?.map_or_else(User::anonymous, User::named);
    let user = groups.into_iter().fold(named, User::in_group);
    Ok(SessionRow { number, client_id: text(value.client_id)?, user, expiry, presence })
}

fn subscription(
    ((_, filter), value): ((u64, String), SubscriptionValue),
) -> Result<StoredSubscription, StoredError> {
    let filter = TopicFilter::from_text(text(filter)?)
        .map_err(|_| StoredError::Malformed("a subscription is no topic filter"))?;
    let options = SubscribeOptions::from_byte(value.options)?;
    Ok(StoredSubscription { filter, options, id: value.id.and_then(SubscriptionId::new) })
}

fn text(text: String) -> Result<Text, StoredError> {
    Text::try_from(text).map_err(|_| StoredError::Malformed("a name is no MQTT string"))
}

fn insert<K: edge_db::Key, V: Serialize + serde::de::DeserializeOwned>(
    batch: &mut Batch,
    table: &Table<K, V>,
    key: &K,
    value: &V,
) {
    batch.insert(table, key, value).expect("plain values can be encoded");
}
