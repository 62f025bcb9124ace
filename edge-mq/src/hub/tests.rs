//! The deciding code without runtime or socket: a hub, clients in virtual time that send packets
//! and collect what the hub gives out, and a journal whose commits the test ends.

mod acknowledge;
mod allow;
mod answer;
mod connect;
mod count;
mod delay;
mod deliver;
mod disk;
mod estate;
mod forward;
mod harness;
mod hooks;
mod inspect;
mod kept;
mod limits;
mod queue;
mod received;
mod record;
mod retained;
mod session;
mod share;
mod simulation;
mod subscribe;
mod tap;
mod will;

use std::sync::OnceLock;
use std::time::Instant;

/// Where virtual time begins. An `Instant` cannot be made from nothing, so the clock is read once.
#[allow(clippy::disallowed_methods, reason = "the fixed beginning of the virtual time of tests")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
