//! Who stands at the door: how many connections there are from one address, and how fast new ones
//! come. Decides who is let in, before anything is read of MQTT.

// Of `core`, which has addresses and no sockets.
use core::net::{IpAddr, Ipv4Addr};
use std::collections::HashMap;
use std::time::Instant;

use crate::limits::Limits;
use crate::packet::ReasonCode;
use crate::rate::{Bucket, Rate};

/// Refused connections that are told the reason. To tell it, a connection has to be kept until its
/// CONNECT is there, perhaps through a TLS handshake: a flood would get with refusals what it does not
/// get otherwise. A device that connects too often, or has too many friends, is told in most cases.
const TOLD: Rate = Rate::per_second(10);

/// Addresses that are looked through for idle ones at the earliest.
const FEW: usize = 64;

/// What counts as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    /// The first half. Whoever has one address of it has most often all.
    V6([u8; 8]),
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Source {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Source::V4(ip),
            IpAddr::V6(ip) => {
                let half = ip.octets().first_chunk().copied();
                Source::V6(half.expect("16 bytes hold 8"))
            }
        }
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ReasonCode,
    /// Whether it is worth the trouble to say so.
    pub(crate) is_told: bool,
}

/// Counts connections by address, if there is a limit for that.
///
/// It remembers twice as many addresses as there may be connections. When these are used up, it
/// forgets all that have no connection: they may come in a burst again before their time.
#[derive(Debug)]
pub(crate) struct Crowd {
    per_address: Option<usize>,
    rate: Option<Rate>,
    rate_per_address: Option<Rate>,
    /// Of all addresses together.
    bucket: Option<Bucket>,
    told: Option<Bucket>,
    sources: HashMap<Source, Visits>,
    /// How many addresses there are when idle ones are looked for again.
    sweep_at: usize,
    most_sources: usize,
}

/// What is known of one address.
#[derive(Debug, Default)]
struct Visits {
    connections: usize,
    bucket: Option<Bucket>,
}

impl Crowd {
    pub(crate) fn new(limits: &Limits) -> Crowd {
        Crowd {
            per_address: limits.connections_per_address,
            rate: limits.connect_rate,
            rate_per_address: limits.connect_rate_per_address,
            bucket: None,
            told: None,
            sources: HashMap::new(),
            sweep_at: FEW,
            most_sources: limits.connections.saturating_mul(2).max(FEW),
        }
    }

    /// Lets a connection in, or says why not. Who was let in has to [`Crowd::leave`].
    pub(crate) fn enter(&mut self, source: Option<Source>, now: Instant) -> Result<(), Refusal> {
        self.admit(source, now).map_err(|code| {
            let told = self.told.get_or_insert_with(|| Bucket::new(TOLD, now));
            Refusal { code, is_told: told.take(1, TOLD, now) }
        })
    }

    fn admit(&mut self, source: Option<Source>, now: Instant) -> Result<(), ReasonCode> {
        let source = source.filter(|_| self.counts_sources());
        if let Some(source) = source {
            self.make_room(now);
            let visits = self.sources.entry(source).or_default();
            if self.per_address.is_some_and(|most| visits.connections >= most) {
                return Err(ReasonCode::QUOTA_EXCEEDED);
            }
            // First that of the address: a flood from one takes nothing from the others.
            take(&mut visits.bucket, self.rate_per_address, now)?;
        }
        take(&mut self.bucket, self.rate, now)?;
        if let Some(source) = source {
            self.sources.entry(source).or_default().connections += 1;
        }
        Ok(())
    }

    /// A connection that was let in has ended.
    pub(crate) fn leave(&mut self, source: Option<Source>) {
        let visits = source.and_then(|source| self.sources.get_mut(&source));
        visits.into_iter().for_each(|visits| visits.connections -= 1);
    }

    fn counts_sources(&self) -> bool {
        self.per_address.is_some() || self.rate_per_address.is_some()
    }

    /// Forgets addresses of which there is nothing to remember, now and then; and those without a
    /// connection, of which there is always one, when there are too many.
    fn make_room(&mut self, now: Instant) {
        if self.sources.len() < self.sweep_at {
            return;
        }
        let rate = self.rate_per_address;
        self.sources.retain(|_, visits| visits.connections > 0 || !visits.is_idle(rate, now));
        if self.sources.len() >= self.most_sources {
            self.sources.retain(|_, visits| visits.connections > 0);
        }
        self.sweep_at = (self.sources.len() * 2).clamp(FEW, self.most_sources);
    }
}

impl Visits {
    fn is_idle(&mut self, rate: Option<Rate>, now: Instant) -> bool {
        let Some((bucket, rate)) = self.bucket.as_mut().zip(rate) else { return true };
        bucket.is_full(rate, now)
    }
}

fn take(bucket: &mut Option<Bucket>, rate: Option<Rate>, now: Instant) -> Result<(), ReasonCode> {
    let Some(rate) = rate else { return Ok(()) };
    let bucket = bucket.get_or_insert_with(|| Bucket::new(rate, now));
    bucket.take(1, rate, now).then_some(()).ok_or(ReasonCode::CONNECTION_RATE_EXCEEDED)
}

#[cfg(test)]
mod tests;
