//! The load: all sockets, and what is due on each of them.

use std::io;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::Result;
use super::client::{Broker, Client};
use super::flow::Flow;
use super::histogram::Histogram;
use super::pace::Pace;
use super::packet::{Ack, Codec, Packet, Publish};
use super::times::{Times, Timing};
use super::traffic::Traffic;

/// Without a single message for as long, while some are on their way, the load counts as hung. Far
/// more than any sync takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one wait for sockets takes at most, so that clocks are looked at.
const TURN: Duration = Duration::from_millis(50);
/// For the reads of all sockets: more than a socket's buffer gives at once, and than a packet has
/// beside its payload.
const READ_BYTES: usize = 256 * 1024;
/// The timer among the sockets.
const TIMER: Token = Token(usize::MAX - 1);

/// What a load has shown in the end.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) latencies: Histogram,
    /// How late the generator itself was on a schedule.
    pub(crate) lateness: Histogram,
    /// By publisher.
    pub(crate) acknowledged: Vec<u64>,
    pub(crate) faults: Vec<String>,
}

pub(crate) struct Load {
    poll: Poll,
    events: Events,
    /// Publishers, then subscribers.
    clients: Vec<Client>,
    codec: Codec,
    publishes: Vec<Publish>,
    flow: Flow,
    times: Times,
    qos: u8,
    publishing: bool,
    hung: bool,
    buffer: Vec<u8>,
    progress: Instant,
}

impl Load {
    /// Connects all clients and subscribes.
    pub(crate) fn connect(traffic: Traffic, timing: Timing, broker: Broker<'_>) -> Result<Load> {
        let Traffic { publishers, subscribers, qos, is_kept, .. } = traffic;
        let codec = Codec::new(traffic.version, traffic.payload_bytes);
        let poll = Poll::new()?;
        let mut clients = Vec::new();
        // Subscribers come last: nothing is sent before they are there.
        for number in 0..publishers + subscribers {
            let subscriber = number.checked_sub(publishers);
            let filters = subscriber.map_or(Vec::new(), |number| traffic.filters(number));
            let is_kept = is_kept && subscriber.is_some();
            let mut client = Client::connect(broker, number, &codec, is_kept, (&filters, qos))?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(client.socket(), Token(number), interest)?;
            clients.push(client);
        }
        let times = Times::new(timing, publishers)?;
        if let Some(pace) = &times.pace {
            pace.register(poll.registry(), TIMER)?;
        }
        let publish = |number| codec.publish(&traffic.topic(number), number, qos);
        Ok(Load {
            poll,
            events: Events::with_capacity(256),
            clients,
            publishes: (0..publishers).map(publish).collect(),
            flow: Flow::new(traffic),
            times,
            qos,
            publishing: true,
            hung: false,
            buffer: vec![0; READ_BYTES + traffic.payload_bytes],
            progress: Instant::now(),
            codec,
        })
    }

    /// Messages that subscribers got; where there is none, that were acknowledged.
    pub(crate) fn passed(&self) -> u64 {
        self.flow.passed()
    }

    /// Whether nothing has passed for a long time.
    pub(crate) fn is_hung(&self) -> bool {
        self.hung
    }

    /// Times are taken from here on.
    pub(crate) fn forget_times(&mut self) {
        self.times.forget();
    }

    /// Goes on for this time, or until it hangs.
    pub(crate) fn turn_for(&mut self, time: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < time && !self.hung {
            self.turn()?;
        }
        Ok(())
    }

    /// Sends nothing more, waits until all that was sent has arrived, and says how it went.
    pub(crate) fn finish(mut self) -> Result<Outcome> {
        self.publishing = false;
        while !self.flow.is_settled() && !self.hung {
            self.turn()?;
        }
        let mut faults = self.flow.faults();
        if self.hung {
            faults.push(format!("hung: nothing for {} s", PATIENCE.as_secs()));
        }
        Ok(Outcome {
            latencies: self.times.latencies,
            lateness: self.times.lateness,
            acknowledged: self.flow.acknowledged().to_vec(),
            faults,
        })
    }

    /// Reads what came, answers it, sends what may be sent.
    fn turn(&mut self) -> Result<()> {
        if self.publishing {
            self.publish();
        }
        for client in &mut self.clients {
            client.flush()?;
        }
        match self.poll.poll(&mut self.events, Some(TURN)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let before = self.flow.passed();
        let events: Vec<(Token, bool, bool)> = self.events.iter().map(ready).collect();
        for (token, readable, writable) in events {
            if token == TIMER {
                self.times.pace.iter().for_each(Pace::rearm);
                continue;
            }
            if writable {
                self.clients[token.0].may_write();
            }
            if readable {
                self.receive(token.0)?;
            }
        }
        if self.flow.passed() > before || self.flow.is_settled() {
            self.progress = Instant::now();
        }
        self.hung = self.progress.elapsed() > PATIENCE;
        Ok(())
    }

    fn publish(&mut self) {
        let now = Instant::now();
        if self.times.pace.is_some() {
            while let Some((publisher, due)) = self.due(now) {
                self.put(publisher, due, now);
            }
            return;
        }
        for publisher in 0..self.publishes.len() {
            for _ in 0..self.flow.allowance(publisher) {
                self.put(publisher, now, now);
            }
        }
    }

    /// Who sends the next message of the schedule now, and since when it should have.
    fn due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let pace = self.times.pace.as_mut()?;
        let due = pace.due(now).filter(|(publisher, _)| self.flow.has_room(*publisher));
        due.inspect(|_| pace.advance())
    }

    fn put(&mut self, publisher: usize, due: Instant, now: Instant) {
        let message = self.flow.send(publisher);
        let time = self.times.sent(publisher, due, now);
        let out = self.clients[publisher].out();
        self.publishes[publisher].put(out, message, time, Flow::packet_id(message));
    }

    fn receive(&mut self, number: usize) -> Result<()> {
        let subscriber = number.checked_sub(self.publishes.len());
        let (flow, times, own_qos) = (&mut self.flow, &mut self.times, self.qos);
        let now = Instant::now();
        let mut wrong = None;
        let codec = &self.codec;
        self.clients[number].read(codec, &mut self.buffer, |packet, out| {
            match (packet, subscriber) {
                (Packet::Publish { message, qos, packet_id }, Some(subscriber))
                    if qos == own_qos =>
                {
                    flow.receive(
                        subscriber,
                        message.map(|message| (message.publisher, message.number)),
                    );
                    message.into_iter().for_each(|message| times.received(message.time, now));
                    match qos {
                        0 => {}
                        1 => Ack::Puback.put(out, packet_id),
                        _ => Ack::Pubrec.put(out, packet_id),
                    }
                }
                (Packet::Ack(Ack::Pubrel, packet_id), Some(_)) if own_qos == 2 => {
                    flow.release();
                    Ack::Pubcomp.put(out, packet_id);
                }
                (Packet::Ack(Ack::Pubrec, packet_id), None) if own_qos == 2 => {
                    flow.record(number, packet_id);
                    Ack::Pubrel.put(out, packet_id);
                }
                (Packet::Ack(ack, packet_id), None) if ack == last_ack(own_qos) => {
                    flow.acknowledge(number, packet_id);
                    times.acknowledged(number, now);
                }
                (packet, _) => wrong = Some(format!("unexpected {packet:?}")),
            }
        })?;
        wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
    }
}

/// What ends the exchange about one message.
fn last_ack(qos: u8) -> Ack {
    if qos == 2 { Ack::Pubcomp } else { Ack::Puback }
}

fn ready(event: &Event) -> (Token, bool, bool) {
    (event.token(), event.is_readable() || event.is_read_closed(), event.is_writable())
}
