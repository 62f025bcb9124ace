//! One connection to the remote broker, from the first byte to the last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_db::{Commit, Receipt as Stored, Time, WriteError};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::arrivals::{Arrivals, Outcome};
use super::client::{self, Answer, Arrival, Client, Events, Lost, Receipt, Seen, Terms};
use super::record::{Crossing, has_crossed, received};
use super::rule::deciding;
use super::settings::Address;
use super::task::{TICK, Task, told_to_stop};
use super::window::{Place, Settled, Window, shares};
use crate::events;
use crate::packet::{QoS, Version};
use crate::{Message, PublishError};

/// Events that wait for the link. With as many, the remote broker is not read from.
const EVENTS: usize = 64;

/// Messages that were acknowledged and whose position is not being stored yet; as many, and those of
/// the last second, are sent again after a crash.
const UNSTORED: u64 = 256;

/// Ticks after which a link without messages has been of use all the same.
const OF_USE_TICKS: u32 = 30;

/// How long the last packets may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a link ended.
#[derive(Debug)]
pub(super) enum End {
    /// The bridge was told to stop.
    Stopped,
    /// This was not the first address, which answers again.
    FirstIsBack,
    Lost {
        /// Whether a message has crossed it.
        was_of_use: bool,
        why: Lost,
    },
}

pub(super) struct Link<'a> {
    task: &'a mut Task,
    remote: Address,
    client: Client,
    /// Not connected yet without them.
    terms: Option<Terms>,
    window: Window,
    arrivals: Arrivals,
    /// The positions on their way to the disk.
    storing: Option<Commit>,
    was_of_use: bool,
    ticks: u32,
    /// Ticks since something was heard.
    silent_ticks: u32,
    /// Where to go back to, unless this is it.
    first: Option<Address>,
    probe: Option<JoinHandle<bool>>,
}

/// The task that keeps a client going. Dropping it cuts the connection.
struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pump(mut events: Events, sender: mpsc::Sender<Result<Seen, Lost>>) {
    loop {
        let seen = events.next().await;
        let is_end = seen.is_err();
        if sender.send(seen).await.is_err() || is_end {
            return;
        }
    }
}

impl<'a> Link<'a> {
    /// Connects and serves until one side ends it.
    pub(super) async fn run(task: &'a mut Task, remote: &Address, is_first: bool) -> End {
        let (client, events) = client::client(&task.plan, remote, task.shared.limits.packet_bytes);
        let (sender, seen) = mpsc::channel(EVENTS);
        let _pump = Pump(tokio::spawn(pump(events, sender)));
        let first = (!is_first).then(|| task.plan.remotes[0].clone());
        let mut link = Link {
            task,
            remote: remote.clone(),
            client,
            terms: None,
            window: Window::new(1),
            arrivals: Arrivals::default(),
            storing: None,
            was_of_use: false,
            ticks: 0,
            silent_ticks: 0,
            first,
            probe: None,
        };
        link.serve(seen).await
    }

    async fn serve(&mut self, mut seen: mpsc::Receiver<Result<Seen, Lost>>) -> End {
        let end = self.exchange(&mut seen).await;
        if let (End::Stopped | End::FirstIsBack, Some(_)) = (&end, self.terms) {
            // Whoever does not take it goes without.
            drop(timeout(FAREWELL, self.say_goodbye(&mut seen)).await);
        }
        self.task.settle(&self.window);
        self.task.queues.rewind();
        if let Some(storing) = self.storing.take() {
            self.on_stored(storing.await);
        }
        match end {
            End::Lost { why, .. } if self.ticks >= OF_USE_TICKS => {
                End::Lost { was_of_use: true, why }
            }
            end => end,
        }
    }

    async fn exchange(&mut self, seen: &mut mpsc::Receiver<Result<Seen, Lost>>) -> End {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.task.stop.clone();
        let changed = Arc::clone(&self.task.changed);
        let arrivals_limit = 2 * usize::from(self.task.plan.in_flight);
        loop {
            if let Err(end) = self.send().await {
                return end;
            }
            let step = tokio::select! {
                () = told_to_stop(&mut stop) => Err(End::Stopped),
                next = seen.recv(), if self.arrivals.len() < arrivals_limit => match next {
                    Some(Ok(next)) => self.on_seen(next).await,
                    Some(Err(why)) => Err(self.lost(why)),
                    None => Err(self.lost("the client has ended")),
                },
                (outcome, receipt) = self.arrivals.next(), if !self.arrivals.is_empty() => {
                    self.on_through(outcome, &receipt)
                }
                () = changed.notified() => {
                    self.task.queues.wake();
                    Ok(())
                }
                stored = stored(&mut self.storing) => {
                    self.storing = None;
                    self.on_stored(stored);
                    Ok(())
                }
                _ = ticks.tick() => self.on_tick().await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn lost(&self, why: impl Into<Lost>) -> End {
        End::Lost { was_of_use: self.was_of_use, why: why.into() }
    }

    async fn on_seen(&mut self, seen: Seen) -> Result<(), End> {
        self.silent_ticks = 0;
        match seen {
            Seen::Connected(terms) => self.on_connected(terms).await,
            Seen::Sent(packet_id) => {
                let known = self.window.sent(packet_id);
                known.map_err(|_| self.lost("the client has sent what it was not given"))?;
                self.on_settled();
                Ok(())
            }
            Seen::Answered(packet_id, answer) => self.on_answer(packet_id, answer),
            Seen::Arrived(arrival) => {
                self.on_arrival(*arrival);
                Ok(())
            }
            Seen::Subscribed { refused: 0 } => {
                self.task.subscribed_to = Some(self.remote.clone());
                self.task.stale.clear();
                Ok(())
            }
            Seen::Subscribed { refused } => {
                let error = format!("remote broker has refused {refused} subscriptions");
                events::bridge_refused(&self.task.plan.name, &self.remote, &error);
                self.task.counts.update(|status| status.last_error = Some(error));
                Ok(())
            }
            Seen::Alive => Ok(()),
        }
    }

    async fn on_connected(&mut self, terms: Terms) -> Result<(), End> {
        self.terms = Some(terms);
        // rumqttc does not send acknowledgements while all of the remote broker's room is in use.
        let remote_room = usize::from(terms.receive_maximum).saturating_sub(1);
        self.window = Window::new(remote_room.min(self.task.plan.in_flight.into()));
        self.task.counts.update(|status| {
            status.connected = true;
            status.connections += 1;
        });
        self.task.told = None;
        events::bridge_connected(&self.task.plan.name, &self.remote);
        self.task.topics.connected(true).await;
        let plan = Arc::clone(&self.task.plan);
        let is_subscribed =
            terms.session_present && self.task.subscribed_to.as_ref() == Some(&self.remote);
        if !plan.receive.is_empty() && !is_subscribed {
            for filter in &self.task.stale {
                self.client.unsubscribe(filter).map_err(|why| self.lost(why))?;
            }
            self.client.subscribe(&plan.receive).map_err(|why| self.lost(why))?;
        }
        self.say_state("1").map_err(|why| self.lost(why))
    }

    /// Tells the remote broker how the bridge is.
    fn say_state(&mut self, state: &'static str) -> Result<(), Lost> {
        let (Some(topic), Some(terms)) = (&self.task.plan.state_topic, self.terms) else {
            return Ok(());
        };
        let message = Message::new(topic.clone(), state)
            .qos(QoS::AtLeastOnce.min(terms.max_qos))
            .retain(terms.takes_retained);
        self.client.publish(message)?;
        self.window.push(None, 0);
        Ok(())
    }

    /// Sends what there is room for.
    async fn send(&mut self) -> Result<(), End> {
        if self.terms.is_none() {
            return Ok(());
        }
        loop {
            let weights = self.task.queues.weights();
            let room = self.window.room();
            if room == 0 || weights.iter().all(|weight| *weight == 0) {
                return Ok(());
            }
            for (lane, share) in shares(room, &weights).enumerate() {
                if share > 0 && !self.send_from(lane, share).await? {
                    return Ok(());
                }
            }
            // What stays here passes without being sent.
            self.on_settled();
        }
    }

    /// Sends from one queue. Returns whether there may be room for more.
    async fn send_from(&mut self, lane: usize, most: usize) -> Result<bool, End> {
        let records = self.task.queues.read(lane, most).await;
        let records = records.map_err(|error| self.lost(client::lost(error)))?;
        if let Some(missing) = records.missing() {
            let missing = missing.end.since(missing.start);
            self.task.counts.dropped(|dropped| dropped.oldest += missing);
        }
        let next = records.next();
        let priority = self.task.queues.lanes[lane].priority;
        let plan = Arc::clone(&self.task.plan);
        let terms = self.terms.expect("nothing is sent before");
        let (rules, client_id, packet_bytes) = (&plan.send, &*plan.client_id, plan.packet_bytes);
        let crossing = Crossing { rules, client_id, terms: &terms, packet_bytes };
        for record in records {
            match crossing.message(&record, priority, Time::now()) {
                Ok(message) => {
                    let bytes = message.encoded_bytes();
                    if !self.window.takes(bytes) {
                        return Ok(false);
                    }
                    let place = Place { lane, seq: record.seq() };
                    self.expect_back(place, &message);
                    self.client.publish(message).map_err(|why| self.lost(why))?;
                    self.window.push(Some(place), bytes);
                }
                Err(why) => self.task.counts.stays(why),
            }
            self.task.queues.passed(lane, record.seq().next());
        }
        // Behind what is missing at the end.
        self.task.queues.passed(lane, next);
        Ok(true)
    }

    /// Remembers what a remote broker of MQTT 3.1.1 will send back.
    #[allow(clippy::disallowed_methods, reason = "a shell: it brings the time")]
    fn expect_back(&mut self, place: Place, message: &Message) {
        let plan = &self.task.plan;
        if plan.version == Version::V311 && deciding(&plan.receive, message.topic()).is_some() {
            let (topic, payload) = (message.topic(), message.payload());
            self.task.echoes.remember(place, topic, payload, Instant::now());
        }
    }

    fn on_answer(&mut self, packet_id: u16, answer: Answer) -> Result<(), End> {
        if answer == Answer::NotNow {
            // Once it has had some time, everything from this message on is sent again.
            let why = "remote broker cannot take a message now".to_owned();
            return Err(End::Lost { was_of_use: false, why });
        }
        let known = self.window.answered(packet_id, answer == Answer::Taken);
        known.map_err(|_| self.lost("remote broker has acknowledged what it was not sent"))?;
        self.was_of_use = true;
        self.on_settled();
        Ok(())
    }

    /// Takes up what is acknowledged, and stores the positions now and then.
    fn on_settled(&mut self) {
        while let Some(settled) = self.window.settled() {
            self.task.counts.update(|status| match settled {
                Settled::Crossed => status.sent += 1,
                Settled::Refused => status.dropped.refused += 1,
                Settled::Own => {}
            });
        }
        self.task.settle(&self.window);
        if self.task.queues.unstored() >= UNSTORED {
            self.store();
        }
    }

    fn store(&mut self) {
        if self.storing.is_none() && self.task.queues.unstored() > 0 {
            self.storing = Some(self.task.queues.store());
        }
    }

    fn on_stored(&mut self, stored: Result<Stored, WriteError>) {
        // The next time stores a later position.
        if let Err(error) = stored {
            let error = client::lost(error);
            self.task.counts.update(|status| status.last_error = Some(error));
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a shell: it brings the time")]
    fn on_arrival(&mut self, arrival: Arrival) {
        let Arrival { message, receipt } = arrival;
        let plan = Arc::clone(&self.task.plan);
        let counts = &self.task.counts;
        let mut is_echo = |message: &Message| {
            let (topic, payload) = (message.topic(), message.payload());
            has_crossed(message, &plan.client_id)
                || plan.version == Version::V311
                    && self.task.echoes.take(topic, payload, Instant::now())
        };
        match message {
            Some(message) if is_echo(&message) => {
                counts.dropped(|dropped| dropped.looped += 1);
            }
            Some(message) => match received(&plan.receive, &message, &plan.client_id) {
                Some(message) => {
                    return self.arrivals.publish(&self.task.local, message, receipt);
                }
                None => counts.dropped(|dropped| dropped.unwanted += 1),
            },
            None => counts.dropped(|dropped| dropped.unwanted += 1),
        }
        self.arrivals.leave(receipt);
    }

    fn on_through(&mut self, outcome: Outcome, receipt: &Receipt) -> Result<(), End> {
        let counts = &self.task.counts;
        match outcome {
            Outcome::Published => counts.update(|status| status.received += 1),
            Outcome::Left => {}
            Outcome::Failed(PublishError::TooLarge { .. }) => {
                counts.dropped(|dropped| dropped.too_large += 1);
            }
            // The remote broker keeps it, and sends it again after a while.
            Outcome::Failed(error) => {
                return Err(End::Lost { was_of_use: false, why: client::lost(error) });
            }
        }
        self.was_of_use = true;
        self.client.acknowledge(receipt).map_err(|why| self.lost(why))
    }

    async fn on_tick(&mut self) -> Result<(), End> {
        self.ticks += 1;
        self.task.tick(Some(&self.window)).await;
        self.store();
        let Some(terms) = self.terms else { return Ok(()) };
        self.silent_ticks += 1;
        // A client that is not stuck says something with each ping.
        let keep_alive = terms.keep_alive.unwrap_or(self.task.plan.keep_alive);
        if u64::from(self.silent_ticks) > 1 + 2 * keep_alive.as_secs() {
            return Err(self.lost("the link is stuck"));
        }
        self.look_for_first().await
    }

    /// Asks now and then whether the first address answers again.
    async fn look_for_first(&mut self) -> Result<(), End> {
        let Some(first) = &self.first else { return Ok(()) };
        if let Some(probe) = self.probe.take_if(|probe| probe.is_finished()) {
            return if probe.await.unwrap_or(false) { Err(End::FirstIsBack) } else { Ok(()) };
        }
        let each =
            u32::try_from(self.task.plan.try_first_each.as_secs()).unwrap_or(u32::MAX).max(1);
        if self.probe.is_none() && self.ticks.is_multiple_of(each) {
            let first = first.to_string();
            let connect = async move { TcpStream::connect(first).await.is_ok() };
            let probe = async { timeout(Duration::from_secs(10), connect).await.unwrap_or(false) };
            self.probe = Some(tokio::spawn(probe));
        }
        Ok(())
    }

    async fn say_goodbye(&mut self, seen: &mut mpsc::Receiver<Result<Seen, Lost>>) {
        if self.say_state("0").and_then(|()| self.client.disconnect()).is_err() {
            return;
        }
        // The remote broker closes the connection then.
        while let Some(Ok(seen)) = seen.recv().await {
            match seen {
                Seen::Sent(packet_id) => drop(self.window.sent(packet_id)),
                Seen::Answered(packet_id, Answer::Taken) => {
                    drop(self.window.answered(packet_id, true));
                }
                // Not acknowledged, so that the remote broker keeps it.
                _ => {}
            }
        }
        self.on_settled();
    }
}

/// The positions are stored; never, if they are not under way.
async fn stored(storing: &mut Option<Commit>) -> Result<Stored, WriteError> {
    match storing {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}
