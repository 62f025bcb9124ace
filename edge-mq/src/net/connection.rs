//! One connection, one task: reads, lets the hub decide, writes.

mod telling;
mod waiting;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Wake;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::time::{Sleep, sleep_until, timeout};
use tracing::Instrument;

use super::Arrival;
use super::end::End;
use super::entry::Entry;
use super::farewell::{self, FAREWELL};
use super::guest::{self, Guest};
use super::input::Input;
use super::login::Reauthentication;
use super::stream::Stream;
use super::writer::Writer;
use crate::access::{Denied, User};
use crate::events::{self, Caller};
use crate::hub::{Accepted, Entrance, Peer, Polled};
use crate::limits::Limits;
use crate::packet::{DecodeError, Disconnect, Packet, Properties, Property, ReasonCode, Version};
use crate::session::{Closing, Outbound};
use crate::shared::Shared;
use crate::store::{Page, PageFuture, Refused};
use waiting::{Moved, Stepped, poll_move, poll_page, step};

/// Who gets little, and is woken again at once, lets the others bring more first, so that one write
/// has it all: where 50 clients write one packet at a time to one, 120k messages/s to 140k.
const FEW: usize = 64;
const AT_ONCE: Duration = Duration::from_micros(30);

/// Serves a client until one side ends it.
pub(super) fn run(
    arrival: Arrival,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> {
    // In a box, which is gone once it is in: an idle connection keeps no room for its beginning.
    let entering = Box::pin(enter(arrival, shared, stop).instrument(events::entering()));
    async move {
        let Some((mut connection, _places)) = entering.await else { return };
        let end = connection.exchange().await;
        connection.close(end).await;
    }
}

/// Who is let in gets a connection, and the places that it takes: of its listener's, and among all.
async fn enter(
    arrival: Arrival,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> Option<(Connection, (OwnedSemaphorePermit, Entry))> {
    let guest = tokio::select! {
        guest = guest::enter(arrival, &shared) => guest?,
        // Who is not in yet is not waited for.
        _ = stop.wait_for(|stop| *stop) => return None,
    };
    let Guest { stream, input, connect, user, mut caller, again, way, room, entry } = guest;
    let most_bytes = connect.most_bytes();
    let (version, door) = (connect.version, Arc::new(Door(Notify::new())));
    let (guard, packet_bytes) = (way.guard.id, way.packet_bytes);
    let ends_at = end_of(&user);
    caller.username = user.name().cloned().or(caller.username);
    let entrance = Entrance { user, guard, packet_bytes, waker: Arc::clone(&door).into() };
    let accepted = shared.decide(|hub, now, fx| match way.guard.may_stay(&entrance.user) {
        true => hub.connect(connect, entrance, now, fx),
        false => Err(ReasonCode::NOT_AUTHORIZED),
    });
    match accepted.result {
        Ok(Accepted { peer, client_id, session_present, deadline }) => {
            let caller = caller.kept(client_id);
            caller.iter().for_each(|it| events::connected(it, version, session_present));
            let look = next_look(&shared.limits, [deadline, ends_at]);
            let connection = Connection {
                shared,
                version,
                peer,
                stream,
                door,
                input,
                writer: Writer::default(),
                outbound: Vec::new(),
                collected: 0,
                // The CONNACK waits, and perhaps what an earlier connection left.
                more: true,
                may_read: true,
                reading: None,
                again,
                ends_at,
                is_answered: false,
                most_bytes,
                fault: None,
                caller,
                written: Instant::now(),
                timer: Box::pin(sleep_until(look)),
            };
            Some((connection, (room, entry)))
        }
        Err(code) => {
            events::not_connected(&shared.sparing, &caller, code);
            farewell::refuse(stream, code, version, most_bytes).await;
            None
        }
    }
}

/// When to look at slow reading, keep alive and the client's end again. The timer is set anew only
/// when it fires, not with every packet.
fn next_look(limits: &Limits, others: [Option<Instant>; 2]) -> tokio::time::Instant {
    let slow = Instant::now() + limits.write_within;
    others.into_iter().flatten().fold(slow, Instant::min).into()
}

/// When a user's time is over, as the clock on the wall says now; none that is too far to be told.
fn end_of(user: &User) -> Option<Instant> {
    Instant::now().checked_add(user.time_left(SystemTime::now())?)
}

/// Wakes the task from the hub.
struct Door(Notify);

impl Wake for Door {
    fn wake(self: Arc<Door>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Door>) {
        self.0.notify_one();
    }
}

struct Connection {
    shared: Arc<Shared>,
    version: Version,
    peer: Peer,
    stream: Stream,
    door: Arc<Door>,
    input: Input,
    writer: Writer,
    outbound: Vec<Outbound>,
    /// How many packets it got last time.
    collected: usize,
    /// Whether the session has more than fitted into the writer last time.
    more: bool,
    /// Whether the hub takes more of this client.
    may_read: bool,
    /// A part of the session's queue, on its way from the disk.
    reading: Option<PageFuture>,
    /// Of a client that named a method.
    again: Option<Box<Reauthentication>>,
    /// When the client is no more who it is, unless it authenticates again.
    ends_at: Option<Instant>,
    /// Whether its CONNACK is in the writer.
    is_answered: bool,
    /// The largest packet that the client takes.
    most_bytes: Option<usize>,
    /// What is wrong with what it sent. In a box, as most connections never keep room for it.
    fault: Option<Box<DecodeError>>,
    /// Whom the log names; `None` if nobody wanted to know when it came in.
    caller: Option<Box<Caller>>,
    /// When the client last took something, or nothing was to be written.
    written: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    /// Reads and writes until one side ends it.
    async fn exchange(&mut self) -> Result<(), End> {
        // CONNECT may have come together with packets behind it.
        self.on_packets().await?;
        loop {
            if self.more && self.writer.is_empty() {
                self.collect()?;
            }
            if self.writer.is_empty() {
                self.written = Instant::now();
            }
            let may_read = self.may_read();
            let (stream, writer, input) = (&mut self.stream, &mut self.writer, &mut self.input);
            tokio::select! {
                biased;
                moved = poll_fn(|cx| {
                    poll_move(stream, writer, may_read.then_some(&mut *input), cx)
                }) => match moved? {
                    Moved::Written => self.written = Instant::now(),
                    Moved::Read(0) => return Ok(()),
                    Moved::Read(_) => self.on_packets().await?,
                },
                page = poll_fn(|cx| poll_page(&mut self.reading, cx)) => self.on_page(*page)?,
                () = self.door.0.notified() => {
                    if self.collected < FEW && self.written.elapsed() < AT_ONCE {
                        tokio::task::yield_now().await;
                    }
                    self.on_wake()?;
                }
                step = step(&mut self.again) => self.on_step(*step)?,
                () = &mut self.timer => self.on_timer()?,
            }
        }
    }

    /// Says what is to be said, and has the hub know.
    async fn close(&mut self, end: Result<(), End>) {
        let is_gone = matches!(end, Err(End::Gone));
        let closing = match &end {
            Err(End::Closing(closing)) => closing.clone(),
            // A client that goes without a word wants its will published.
            Ok(()) | Err(End::Gone) => Closing::Goodbye { with_will: true },
        };
        if closing == Closing::Ended(ReasonCode::SERVER_SHUTTING_DOWN) {
            self.settle_commits().await;
        }
        self.tell_end(&end);
        let peer = self.peer;
        self.shared.decide(|hub, now, fx| hub.leave(peer, &closing, now, fx));
        let is_ours = match closing {
            Closing::Goodbye { .. } => false,
            Closing::Violation(code) | Closing::Ended(code) => {
                // Nothing comes before CONNACK (MQTT-3.14.0-1).
                if self.version == Version::V5 && self.is_answered {
                    let packet = self.disconnect(code);
                    self.writer.push(&Outbound::Packet(packet), self.version);
                }
                true
            }
        };
        // A client that has said goodbye is owed the answers to what it said in front of it.
        // Whoever does not fetch it goes without.
        if is_ours || !self.writer.is_empty() && !is_gone {
            // In a box, as no connection shall keep the room before its end.
            drop(timeout(FAREWELL, Box::pin(self.say_goodbye())).await);
        } else if self.stream.has_goodbye() && !is_gone {
            drop(timeout(FAREWELL, self.stream.shutdown()).await);
        }
    }

    /// Not while the client leaves our answers lying, nor while the disk is behind.
    fn may_read(&self) -> bool {
        self.may_write() && self.may_read
    }

    fn may_write(&self) -> bool {
        self.writer.len() < self.shared.limits.write_buffer_bytes
    }

    /// Handles all packets that are complete, turn by turn; between two of them, others get theirs. tokio
    /// would let this one read a hundred times first.
    async fn on_packets(&mut self) -> Result<(), End> {
        self.input.measure();
        loop {
            let decoded = self.input.decode_turn();
            self.shared.give_way().await;
            let has_been_busy = self.on_turn()?;
            match decoded {
                Err(error) => {
                    let code = error.reason();
                    self.fault = Some(Box::new(error));
                    return Err(Closing::Violation(code).into());
                }
                Ok(has_rest) => {
                    if has_been_busy || self.input.has_more {
                        tokio::task::yield_now().await;
                    }
                    if !has_rest {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Handles the packets of a turn under one lock. Returns whether there is something for other
    /// connections: they get a turn before this one brings more, and before its own answers are
    /// written. So who waits for a message gets it a system call earlier (p50 71 to 66 µs).
    fn on_turn(&mut self) -> Result<bool, End> {
        let auths = self.take_auths();
        let (peer, budget) = (self.peer, self.budget());
        let (packets, outbound) = (&mut self.input.packets, &mut self.outbound);
        let decided = self.shared.decide(|hub, now, fx| {
            let handled = hub.handle(peer, packets.drain(..), now, fx);
            if fx.commit && may_block() {
                fx.lone = hub.take_lone(peer);
            }
            let polled = hub.poll(peer, now, budget, outbound);
            handled.and(polled)
        });
        self.encode();
        let is_alone = !decided.lone.is_empty();
        if is_alone {
            self.shared.commit_lone(decided.lone);
        }
        self.polled(decided.result?);
        // What waited for the commit can be sent.
        self.more |= is_alone;
        for auth in auths {
            let again = self.again.as_mut().expect("else none are taken");
            again.hear(&auth).map_err(Closing::Violation)?;
        }
        Ok(decided.congested || decided.woke)
    }

    /// AUTH is for whoever knows the method; without one it is an error for the session to find.
    fn take_auths(&mut self) -> Vec<Disconnect> {
        if self.again.is_none() {
            return Vec::new();
        }
        let taken = self.input.packets.extract_if(.., |packet| matches!(packet, Packet::Auth(_)));
        let auths = taken.filter_map(|packet| match packet {
            Packet::Auth(auth) => Some(auth),
            _ => None,
        });
        auths.collect()
    }

    /// The client authenticates again. Until that has failed it may do what it might before.
    fn on_step(&mut self, step: Stepped) -> Result<(), End> {
        let peer = self.peer;
        let result = step.map_err(Denied::later_reason).and_then(|(packet, user)| {
            if let Some(user) = &user {
                self.ends_at = end_of(user);
                // Its end may be an earlier one now.
                self.timer.as_mut().reset(tokio::time::Instant::now());
            }
            self.shared.hub(|hub| hub.reauthenticate(peer, packet, user))
        });
        if let Err(code) = result {
            self.shared.hub(|hub| hub.stats_mut().denied_logins += 1);
            self.named().inspect(|it| events::denied(&self.shared.sparing, it, code));
            return Err(Closing::Ended(code).into());
        }
        self.collect()
    }

    /// The last packet, with what was wrong for people, if the client has room for it: a DISCONNECT
    /// may say so even to those who want no reasons (MQTT-3.1.2-29).
    fn disconnect(&self, code: ReasonCode) -> Packet {
        let plain = Packet::Disconnect(Disconnect::new(code));
        let Some(Ok(reason)) = self.fault.as_ref().map(|fault| fault.to_string().parse()) else {
            return plain;
        };
        let properties = Properties::new().with(Property::ReasonString(reason));
        let explained = Packet::Disconnect(Disconnect { code, properties });
        let len = explained.encoded_len(self.version);
        if self.most_bytes.is_none_or(|most| len <= most) { explained } else { plain }
    }

    /// Takes from the session what it wants to send.
    fn collect(&mut self) -> Result<(), End> {
        let (peer, budget) = (self.peer, self.budget());
        let outbound = &mut self.outbound;
        let decided = self.shared.decide(|hub, now, _| hub.poll(peer, now, budget, outbound));
        self.encode();
        self.polled(decided.result?);
        Ok(())
    }

    fn polled(&mut self, polled: Polled) {
        (self.more, self.may_read) = (polled.more, polled.may_read);
        if let Some(request) = polled.read {
            self.reading = Some(self.shared.read(request));
        }
    }

    /// A slow reader gets more once it has taken what was written; the end does not wait for it.
    fn on_wake(&mut self) -> Result<(), End> {
        if self.may_write() {
            return self.collect();
        }
        self.more = true;
        let peer = self.peer;
        Ok(self.shared.hub(|hub| hub.ended(peer))?)
    }

    /// What was on disk may be sent now.
    fn on_page(&mut self, page: Result<Page, Refused>) -> Result<(), End> {
        self.reading = None;
        let peer = self.peer;
        match page {
            Ok(page) => drop(self.shared.decide(|hub, now, fx| hub.load(peer, page, now, fx))),
            Err(_) if self.shared.hub(|hub| hub.give_up_estate(peer)) => {}
            // Nothing can be sent behind what cannot be read.
            Err(refused) => return Err(Closing::Ended(refused.code).into()),
        }
        self.on_wake()
    }

    /// The broker stops: what was taken is still acknowledged, once its commit has ended.
    async fn settle_commits(&mut self) {
        let peer = self.peer;
        while self.shared.hub(|hub| hub.is_committing(peer)) {
            self.door.0.notified().await;
        }
        // The broker is closed, which is no news.
        drop(self.collect());
    }

    fn on_timer(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if !self.writer.is_empty() && now - self.written >= self.shared.limits.write_within {
            return Err(End::Gone);
        }
        if self.ends_at.is_some_and(|end| now >= end) {
            self.shared.hub(|hub| hub.stats_mut().expired_logins += 1);
            return Err(Closing::Ended(ReasonCode::MAXIMUM_CONNECT_TIME).into());
        }
        let peer = self.peer;
        let deadline = match self.may_read() {
            true => self.shared.hub(|hub| hub.keep_alive(peer, now))?,
            // Who is not listened to cannot be blamed for silence.
            false => None,
        };
        let look = next_look(&self.shared.limits, [deadline, self.ends_at]);
        self.timer.as_mut().reset(look);
        Ok(())
    }

    fn budget(&self) -> usize {
        self.shared.limits.write_buffer_bytes.saturating_sub(self.writer.len())
    }

    fn encode(&mut self) {
        // The first is CONNACK.
        self.is_answered |= !self.outbound.is_empty();
        self.collected = self.outbound.len();
        for outbound in self.outbound.drain(..) {
            self.writer.push(&outbound, self.version);
        }
        if self.outbound.capacity() <= 8 {
            // As an idle connection has it.
            self.outbound = Vec::new();
        }
    }

    async fn say_goodbye(&mut self) -> io::Result<()> {
        while !self.writer.is_empty() {
            poll_fn(|cx| self.writer.poll_write(Pin::new(&mut self.stream), cx)).await?;
        }
        farewell::close(&mut self.stream).await
    }
}

/// Whether a task may keep this thread, and the runtime gives its others to another one.
fn may_block() -> bool {
    let runtime = Handle::try_current();
    runtime.is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}
