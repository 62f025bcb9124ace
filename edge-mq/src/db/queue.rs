//! The queues of sessions: all of them in one Keyspace, in chunks of what one commit brought.
//!
//! A chunk lies under the session's number and the serial of its last message, each as eight bytes,
//! so that what comes from some serial on is found by its key. `docs/format.md` draws its bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use edge_db::{Batch, Keyspace};

use super::clock::Clock;
use super::{StoredError, message};
use crate::TopicFilter;
use crate::message::Routed;
use crate::packet::{QoS, Text};
use crate::session::Queued;
use crate::store::{Page, PageRequest, SessionNumber};

/// The first byte of a chunk.
const VERSION: u8 = 1;
/// Version, time, bytes before and after, first serial.
const HEAD_BYTES: usize = 1 + 4 * 8;
/// A chunk ends behind so much, that a part of a queue can be read without the rest.
const CHUNK_BYTES: usize = 64 * 1024;
/// A page ends behind so much.
const PAGE_BYTES: usize = 256 * 1024;

const HAS_DEADLINE: u8 = 0x10;
const HAS_GROUP: u8 = 0x08;
const RETAIN: u8 = 0x04;

/// What a group of deeds adds to queues.
#[derive(Debug)]
pub(super) struct Chunks {
    clock: Clock,
    open: BTreeMap<SessionNumber, Chunk>,
}

#[derive(Debug)]
struct Chunk {
    bytes: BytesMut,
    first: u64,
    last: u64,
    bytes_after: u64,
}

impl Chunks {
    pub(super) fn new(clock: Clock) -> Chunks {
        Chunks { clock, open: BTreeMap::new() }
    }

    /// Adds a message, at the end of its queue.
    pub(super) fn add(
        &mut self,
        session: SessionNumber,
        bytes_before: u64,
        queued: &Queued,
        keyspace: &Keyspace,
        batch: &mut Batch,
    ) {
        let serial = queued.serial.expect("what is stored has its place");
        let clock = self.clock;
        let chunk =
            self.open.entry(session).or_insert_with(|| Chunk::new(clock, serial, bytes_before));
        chunk.add(serial, bytes_before, queued, clock);
        if chunk.bytes.len() >= CHUNK_BYTES
            && let Some(full) = self.open.remove(&session)
        {
            full.put(session, keyspace, batch);
        }
    }

    /// The session ended: what came before is not to be stored after that.
    pub(super) fn forget(&mut self, session: SessionNumber) {
        self.open.remove(&session);
    }

    pub(super) fn finish(self, keyspace: &Keyspace, batch: &mut Batch) {
        self.open.into_iter().for_each(|(session, chunk)| chunk.put(session, keyspace, batch));
    }
}

impl Chunk {
    fn new(clock: Clock, first: u64, bytes_before: u64) -> Chunk {
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        bytes.put_u64(clock.unix_ms(clock.instant()));
        bytes.put_u64(bytes_before);
        // Bytes after, known at the end.
        bytes.put_u64(0);
        bytes.put_u64(first);
        Chunk { bytes, first, last: first, bytes_after: bytes_before }
    }

    fn add(&mut self, serial: u64, bytes_before: u64, queued: &Queued, clock: Clock) {
        let Queued { routed, qos, retain, subscription_ids, group, .. } = queued;
        self.last = serial;
        self.bytes_after = bytes_before + routed.message.cost_bytes() as u64;
        let offset = u32::try_from(serial - self.first).expect("chunks end behind 64 KiB");
        self.bytes.put_u32(offset);
        let mut flags = qos.get();
        flags |= if *retain { RETAIN } else { 0 };
        flags |= if group.is_some() { HAS_GROUP } else { 0 };
        flags |= if routed.deadline.is_some() { HAS_DEADLINE } else { 0 };
        self.bytes.put_u8(flags);
        if let Some(deadline) = routed.deadline {
            self.bytes.put_u64(clock.unix_ms(deadline));
        }
        if let Some(group) = group {
            let name = group.as_str().as_bytes();
            self.bytes.put_u16(u16::try_from(name.len()).expect("an MQTT string"));
            self.bytes.put_slice(name);
        }
        message::encode(&routed.message, subscription_ids, &mut self.bytes);
    }

    fn put(mut self, session: SessionNumber, keyspace: &Keyspace, batch: &mut Batch) {
        self.bytes[17..25].copy_from_slice(&self.bytes_after.to_be_bytes());
        batch.put(keyspace, key(session, self.last), &self.bytes);
    }
}

/// Where the chunk that ends with a serial lies.
fn key(session: SessionNumber, last: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&session.0.to_be_bytes());
    key[8..].copy_from_slice(&last.to_be_bytes());
    key
}

/// Removes the chunks that hold nothing but messages of these serials.
pub(super) fn remove(
    session: SessionNumber,
    from: u64,
    to: u64,
    keyspace: &Keyspace,
    batch: &mut Batch,
) {
    if from < to {
        batch.delete_range(keyspace, key(session, from)..key(session, to));
    }
}

/// Takes messages of these serials, in their order, out of a queue.
pub(super) fn take(
    session: SessionNumber,
    serials: &[u64],
    keyspace: &Keyspace,
    batch: &mut Batch,
) -> Result<(), StoredError> {
    let (Some(&first), Some(&last)) = (serials.first(), serials.last()) else { return Ok(()) };
    let above = key(SessionNumber(session.0 + 1), 0);
    for chunk in keyspace.range(key(session, first)..above)? {
        let (key, value) = chunk?;
        if Head::of(&value)?.first > last {
            break;
        }
        // Under its old key, which says how far the queue has come, also if the last one is gone.
        batch.put(keyspace, &key, &without(value, serials)?);
    }
    Ok(())
}

/// A chunk as it was, but for these messages.
fn without(mut chunk: Bytes, serials: &[u64]) -> Result<BytesMut, StoredError> {
    let first = Head::of(&chunk)?.first;
    let mut left = BytesMut::from(&chunk.split_to(HEAD_BYTES)[..]);
    while !chunk.is_empty() {
        let len = message_len(chunk.clone())?;
        let message = chunk.split_to(len);
        let serial = first + u64::from(message.clone().get_u32());
        if serials.binary_search(&serial).is_err() {
            left.put_slice(&message);
        }
    }
    Ok(left)
}

/// The length of the message that these bytes of a chunk begin with.
fn message_len(mut chunk: Bytes) -> Result<usize, StoredError> {
    let all = chunk.len();
    chunk.try_get_u32()?;
    let flags = chunk.try_get_u8()?;
    if flags & HAS_DEADLINE != 0 {
        chunk.try_get_u64()?;
    }
    if flags & HAS_GROUP != 0 {
        group(&mut chunk)?;
    }
    Ok(all - chunk.len() + packet_len(&chunk)?)
}

/// Removes a queue.
pub(super) fn remove_all(session: SessionNumber, keyspace: &Keyspace, batch: &mut Batch) {
    batch.delete_range(keyspace, key(session, 0)..key(SessionNumber(session.0 + 1), 0));
}

/// Where a queue ends, and the bytes that it ever had.
pub(super) fn end(session: SessionNumber, keyspace: &Keyspace) -> Result<(u64, u64), StoredError> {
    let mut chunks = keyspace.range(key(session, 0)..key(SessionNumber(session.0 + 1), 0))?;
    let Some((key, value)) = chunks.next_back().transpose()? else { return Ok((0, 0)) };
    let head = Head::of(&value)?;
    Ok((last_serial(&key)? + 1, head.bytes_after))
}

/// The highest number of a session that has a queue.
pub(super) fn last_number(keyspace: &Keyspace) -> Result<Option<u64>, StoredError> {
    let Some((key, _)) = keyspace.iter()?.next_back().transpose()? else { return Ok(None) };
    let number = key.first_chunk().map(|number| u64::from_be_bytes(*number));
    number.map(Some).ok_or(StoredError::Malformed("a key has no session"))
}

/// Reads a part of a queue.
pub(super) fn read(
    request: &PageRequest,
    longest: Duration,
    keyspace: &Keyspace,
) -> Result<Page, StoredError> {
    let PageRequest { session, from, to } = *request;
    let clock = Clock::now();
    let oldest = clock.unix_ms(clock.instant()).saturating_sub(ms(longest));
    let messages = Vec::new();
    let mut page = Page { session, from, next: to, bytes_after: None, messages, too_old: 0 };
    let mut bytes = 0;
    // A chunk that ends behind the part may begin in it.
    let above = key(SessionNumber(session.0 + 1), 0);
    for chunk in keyspace.range(key(session, from)..above)? {
        let (key, value) = chunk?;
        let next = last_serial(&key)? + 1;
        bytes += value.len();
        let head = Head::of(&value)?;
        decode(value, clock, |queued| {
            let is_asked_for = queued.serial.is_some_and(|serial| (from..to).contains(&serial));
            match is_asked_for && head.time >= oldest {
                true => page.messages.push(queued),
                false => page.too_old += u64::from(is_asked_for),
            }
        })?;
        if next <= to {
            page.bytes_after = Some(head.bytes_after);
        }
        if next >= to {
            break;
        }
        if bytes >= PAGE_BYTES {
            page.next = next;
            break;
        }
    }
    Ok(page)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

struct Head {
    time: u64,
    bytes_after: u64,
    first: u64,
}

impl Head {
    fn of(mut chunk: &[u8]) -> Result<Head, StoredError> {
        if chunk.len() < HEAD_BYTES {
            return Err(StoredError::Malformed("a chunk ends in its head"));
        }
        match chunk.get_u8() {
            VERSION => {}
            newer => return Err(StoredError::Version(newer)),
        }
        let (time, _bytes_before) = (chunk.get_u64(), chunk.get_u64());
        Ok(Head { time, bytes_after: chunk.get_u64(), first: chunk.get_u64() })
    }
}

fn last_serial(key: &[u8]) -> Result<u64, StoredError> {
    let serial = key.get(8..).and_then(|serial| serial.try_into().ok());
    serial.map(u64::from_be_bytes).ok_or(StoredError::Malformed("a key has no serial"))
}

/// Hands out the messages of a chunk, which share its bytes.
fn decode(
    mut chunk: Bytes,
    clock: Clock,
    mut found: impl FnMut(Queued),
) -> Result<(), StoredError> {
    let first = Head::of(&chunk)?.first;
    chunk.advance(HEAD_BYTES);
    while !chunk.is_empty() {
        let serial = first + u64::from(chunk.try_get_u32()?);
        let flags = chunk.try_get_u8()?;
        let qos = QoS::from_number(flags & 3).ok_or(StoredError::Malformed("there is no QoS 3"))?;
        let deadline = match flags & HAS_DEADLINE {
            0 => None,
            _ => Some(clock.moment(chunk.try_get_u64()?, LONGEST_EXPIRY)),
        };
        let group = match flags & HAS_GROUP {
            0 => None,
            _ => Some(group(&mut chunk)?),
        };
        let len = packet_len(&chunk)?;
        let (message, subscription_ids) = message::decode(chunk.split_to(len))?;
        let routed = Arc::new(Routed { message, deadline });
        let retain = flags & RETAIN != 0;
        found(Queued { routed, qos, retain, subscription_ids, group, serial: Some(serial) });
    }
    Ok(())
}

/// What MQTT can say of a message's expiry.
const LONGEST_EXPIRY: Duration = Duration::from_secs(u32::MAX as u64);

fn group(chunk: &mut Bytes) -> Result<Arc<TopicFilter>, StoredError> {
    let len = usize::from(chunk.try_get_u16()?);
    if chunk.len() < len {
        return Err(StoredError::Malformed("a chunk ends in a name"));
    }
    let name = String::from_utf8(chunk.split_to(len).into());
    let name = name.ok().and_then(|name| Text::try_from(name).ok());
    let filter = name.and_then(|name| TopicFilter::from_text(name).ok());
    filter.map(Arc::new).ok_or(StoredError::Malformed("a group is no topic filter"))
}

/// The length of the packet that these bytes begin with.
fn packet_len(bytes: &[u8]) -> Result<usize, StoredError> {
    let short = StoredError::Malformed("a chunk ends in a message");
    let (mut len, mut width) = (0, 1);
    for (at, byte) in bytes.iter().enumerate().skip(1).take(4) {
        len |= usize::from(byte & 0x7F) << (7 * (at - 1));
        width = at + 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if bytes.len() < width + len { Err(short) } else { Ok(width + len) }
}
