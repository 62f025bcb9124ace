//! The load generator: one thread, all sockets, many packets in each write.

mod client;
mod times;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{ClockId, clock_gettime};

use self::client::Client;
pub(super) use self::times::Timing;
use self::times::{Times, sorted};
use super::flow::Flow;
use super::packet::{Ack, Packet, Publish};
use super::process::Broker;
use super::traffic::Traffic;
use crate::Result;

/// Not measured: caches fill, the broker's buffers grow.
const WARM_UP: Duration = Duration::from_millis(500);
/// Without a single message for as long, the load counts as hung. Far more than any sync takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one wait for sockets takes at most, so that clocks are looked at.
const TURN: Duration = Duration::from_millis(50);
/// For the reads of all sockets: more than a socket's buffer gives at once.
const READ_BYTES: usize = 256 * 1024;
/// The timer among the sockets.
const TIMER: Token = Token(usize::MAX - 1);

/// What one run measured.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) per_second: f64,
    /// CPU time of the broker for each message that was delivered.
    pub(super) cpu_micros: f64,
    /// How much of a core the generator took.
    pub(super) generator_cores: f64,
    /// Shortest first; none unless they were asked for.
    pub(super) latencies: Vec<Duration>,
    /// How late the generator itself was on a schedule, shortest first.
    pub(super) lateness: Vec<Duration>,
    /// By publisher.
    pub(super) acknowledged: Vec<u64>,
    pub(super) faults: Vec<String>,
}

impl Sample {
    /// What was wrong with what the broker did.
    pub(super) fn check(&self) -> Result<()> {
        match self.faults.as_slice() {
            [] => Ok(()),
            faults => Err(faults.join(", ").into()),
        }
    }
}

/// Runs the load for this time, then waits until all that was sent has arrived.
pub(super) fn run(
    traffic: Traffic,
    timing: Timing,
    broker: &mut Broker,
    time: Duration,
) -> Result<Sample> {
    let mut load = Load::connect(traffic, timing, broker.address())?;
    let mut hung = !load.turn_for(WARM_UP)?;
    load.times.forget();
    let (start, passed) = (Instant::now(), load.flow.passed());
    let (cpu, own_cpu) = (broker.cpu_time()?, own_cpu_time()?);
    hung = hung || !load.turn_for(time)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = broker.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let own_cpu = own_cpu_time()?.saturating_sub(own_cpu).as_secs_f64();
    let passed = (load.flow.passed() - passed) as f64;
    load.publishing = false;
    hung = hung || !load.turn_until_settled()?;
    let mut faults = load.flow.faults();
    if hung {
        faults.push(format!("hung: nothing for {} s", PATIENCE.as_secs()));
    }
    broker.check_running()?;
    Ok(Sample {
        per_second: passed / seconds,
        cpu_micros: cpu * 1e6 / passed,
        generator_cores: own_cpu / seconds,
        latencies: sorted(load.times.latencies),
        lateness: sorted(load.times.lateness),
        acknowledged: load.flow.acknowledged().to_vec(),
        faults,
    })
}

/// CPU time of the generator, which is all that this process does meanwhile.
pub(super) fn own_cpu_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

struct Load {
    poll: Poll,
    events: Events,
    /// Publishers, then subscribers.
    clients: Vec<Client>,
    publishes: Vec<Publish>,
    flow: Flow,
    times: Times,
    qos: u8,
    publishing: bool,
    buffer: Vec<u8>,
    progress: Instant,
}

impl Load {
    /// Connects all clients and subscribes.
    fn connect(traffic: Traffic, timing: Timing, broker: SocketAddr) -> Result<Load> {
        let Traffic { shape, qos, .. } = traffic;
        let poll = Poll::new()?;
        let publishers = shape.publishers();
        let mut clients = Vec::new();
        // Subscribers come last: nothing is sent before they are there.
        for number in 0..publishers + shape.subscribers() {
            let subscriber = number.checked_sub(publishers);
            let filter = subscriber.map(|subscriber| shape.filter(subscriber));
            let mut client = Client::connect(broker, number, filter.as_deref(), traffic)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(client.socket(), Token(number), interest)?;
            clients.push(client);
        }
        let times = Times::new(timing, publishers)?;
        if let Some(pace) = &times.pace {
            pace.register(poll.registry(), TIMER)?;
        }
        Ok(Load {
            poll,
            events: Events::with_capacity(256),
            clients,
            publishes: (0..publishers).map(|number| Publish::new(number, qos)).collect(),
            flow: Flow::new(traffic),
            times,
            qos,
            publishing: true,
            buffer: vec![0; READ_BYTES],
            progress: Instant::now(),
        })
    }

    /// Goes on for this time; false if it hung.
    fn turn_for(&mut self, time: Duration) -> Result<bool> {
        let start = Instant::now();
        self.progress = start;
        while start.elapsed() < time {
            self.turn()?;
            if self.progress.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes on until all that was sent has arrived; false if it hung.
    fn turn_until_settled(&mut self) -> Result<bool> {
        self.progress = Instant::now();
        while !self.flow.is_settled() {
            self.turn()?;
            if self.progress.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
        Ok(true)
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
                self.times.rearm();
                continue;
            }
            if writable {
                self.clients[token.0].may_write();
            }
            if readable {
                self.receive(token.0)?;
            }
        }
        if self.flow.passed() > before {
            self.progress = Instant::now();
        }
        Ok(())
    }

    fn publish(&mut self) {
        let now = Instant::now();
        if self.times.pace.is_some() {
            while let Some(publisher) = self.times.due(now) {
                self.put(publisher, now);
            }
            return;
        }
        for publisher in 0..self.publishes.len() {
            for _ in 0..self.flow.allowance(publisher) {
                self.put(publisher, now);
            }
        }
    }

    fn put(&mut self, publisher: usize, now: Instant) {
        let message = self.flow.send(publisher);
        self.times.sent(publisher, now);
        let out = self.clients[publisher].out();
        self.publishes[publisher].put(out, message, Flow::packet_id(message));
    }

    fn receive(&mut self, number: usize) -> Result<()> {
        let subscriber = number.checked_sub(self.publishes.len());
        let (flow, times, own_qos) = (&mut self.flow, &mut self.times, self.qos);
        let now = Instant::now();
        let mut wrong = None;
        self.clients[number].read(&mut self.buffer, |packet, out| match (packet, subscriber) {
            (Packet::Publish { message, qos, packet_id }, Some(subscriber)) if qos == own_qos => {
                flow.receive(subscriber, message);
                times.received(message, now);
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
