//! A load generator for MQTT brokers: one thread, raw sockets, many packets in each write, and what it
//! notices of a broker that loses, doubles or reorders. `benches/compare` measures with it, too.

#![allow(clippy::disallowed_methods, reason = "it reads the clock everywhere")]

mod client;
mod flow;
mod gaps;
mod histogram;
mod load;
mod pace;
pub(crate) mod packet;
mod times;
mod traffic;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub(crate) use client::Broker;
pub(crate) use histogram::Histogram;
pub(crate) use load::{Load, Outcome};
pub(crate) use times::Timing;
pub(crate) use traffic::{SENT_BELOW, Traffic};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// CPU time of the generator, which is all that this process does meanwhile.
pub(crate) fn own_cpu_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
