//! The load generator: one thread, all sockets, many packets in each write.

mod client;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use self::client::Client;
use super::case::Case;
use super::flow::Flow;
use super::packet::{self, Packet, Publish};
use super::process::Broker;
use crate::Result;

/// Not measured: caches fill, the broker's buffers grow.
const WARM_UP: Duration = Duration::from_millis(500);
/// Without a single message for as long, the load counts as hung. Far more than any sync takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one wait for sockets takes at most, so that clocks are looked at.
const TURN: Duration = Duration::from_millis(50);
/// For the reads of all sockets: more than a socket's buffer gives at once.
const READ_BYTES: usize = 256 * 1024;

/// What one run measured.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) per_second: Option<f64>,
    /// CPU time of the broker for each message that a subscriber got.
    pub(super) cpu_micros: Option<f64>,
    pub(super) rss_mb: Option<f64>,
    pub(super) faults: Vec<String>,
}

impl Sample {
    /// A run that ended early.
    pub(super) fn failed(error: impl std::fmt::Display) -> Sample {
        Sample { faults: vec![format!("failed: {error}")], ..Sample::default() }
    }

    /// The faults, each behind this; nothing if there are none.
    pub(super) fn faults_after(&self, separator: &str) -> String {
        self.faults.iter().map(|fault| format!("{separator}{fault}")).collect()
    }
}

/// Runs the load for this time, then waits until all that was sent has arrived.
pub(super) fn run(case: &Case, broker: &mut Broker, time: Duration) -> Result<Sample> {
    let mut load = Load::connect(case, broker.address())?;
    let mut hung = !load.turn_for(WARM_UP)?;
    let (start, received, cpu) = (Instant::now(), load.flow.received(), broker.cpu_time()?);
    hung = hung || !load.turn_for(time)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = broker.cpu_time()?.saturating_sub(cpu);
    let received = load.flow.received() - received;
    load.publishing = false;
    hung = hung || !load.turn_until_settled()?;
    let mut faults = load.flow.faults();
    if hung {
        faults.push(format!("hung: nothing for {} s", PATIENCE.as_secs()));
    }
    broker.check_running()?;
    Ok(Sample {
        per_second: Some(received as f64 / seconds),
        cpu_micros: (received > 0).then(|| cpu.as_secs_f64() * 1e6 / received as f64),
        rss_mb: Some(broker.peak_rss_bytes()? as f64 / 1e6),
        faults,
    })
}

struct Load {
    poll: Poll,
    events: Events,
    /// Publishers, then subscribers.
    clients: Vec<Client>,
    publishes: Vec<Publish>,
    flow: Flow,
    qos: u8,
    publishing: bool,
    buffer: Vec<u8>,
    progress: Instant,
}

impl Load {
    /// Connects all clients and subscribes.
    fn connect(case: &Case, broker: SocketAddr) -> Result<Load> {
        let poll = Poll::new()?;
        let publishers = case.shape.publishers();
        let mut clients = Vec::new();
        // Subscribers come last: nothing is sent before they are there.
        for number in 0..publishers + case.shape.subscribers() {
            let subscriber = number.checked_sub(publishers);
            let filter = subscriber.map(|subscriber| case.shape.filter(subscriber));
            let mut client = Client::connect(broker, number, filter.as_deref(), case.qos)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(client.socket(), Token(number), interest)?;
            clients.push(client);
        }
        Ok(Load {
            poll,
            events: Events::with_capacity(256),
            clients,
            publishes: (0..publishers).map(|number| Publish::new(number, case.qos)).collect(),
            flow: Flow::new(case),
            qos: case.qos,
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
        let before = self.flow.received();
        let events: Vec<(Token, bool, bool)> = self.events.iter().map(ready).collect();
        for (Token(number), readable, writable) in events {
            if writable {
                self.clients[number].may_write();
            }
            if readable {
                self.receive(number)?;
            }
        }
        if self.flow.received() > before {
            self.progress = Instant::now();
        }
        Ok(())
    }

    fn publish(&mut self) {
        for (number, publish) in self.publishes.iter_mut().enumerate() {
            let out = self.clients[number].out();
            for _ in 0..self.flow.allowance(number) {
                let message = self.flow.send(number);
                publish.put(out, message, Flow::packet_id(message));
            }
        }
    }

    fn receive(&mut self, number: usize) -> Result<()> {
        let subscriber = number.checked_sub(self.publishes.len());
        let (flow, qos) = (&mut self.flow, self.qos);
        let mut wrong = None;
        self.clients[number].read(&mut self.buffer, |packet, out| match (packet, subscriber) {
            (Packet::Publish { message, packet_id }, Some(subscriber)) => {
                flow.receive(subscriber, message);
                match packet_id {
                    Some(packet_id) => packet::put_puback(out, packet_id),
                    None if qos == 0 => {}
                    None => wrong = Some("QoS 0 for QoS 1".to_owned()),
                }
            }
            (Packet::Puback { packet_id }, None) if qos == 1 => {
                flow.acknowledge(number, packet_id);
            }
            (packet, _) => wrong = Some(format!("unexpected {packet:?}")),
        })?;
        wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
    }
}

fn ready(event: &Event) -> (Token, bool, bool) {
    (event.token(), event.is_readable() || event.is_read_closed(), event.is_writable())
}
