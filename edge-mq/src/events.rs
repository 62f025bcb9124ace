//! What the broker tells [`tracing`], all with the target `edge_mq`: each event has its function here,
//! so that a field has one name wherever it is. Nothing of this is on the way of a message, and nothing
//! is told under the lock of the hub, where a slow log would be in everybody's way.

mod sparing;
mod trouble;

use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;

pub(crate) use sparing::Sparing;
use tracing::field::{Empty, display};
use tracing::{Level, Span, debug, debug_span, enabled, error, info, warn};
pub(crate) use trouble::Trouble;

use crate::broker::Left;
use crate::packet::{ReasonCode, Text, Version};
use crate::store::Refused;

const TARGET: &str = "edge_mq";

/// Whom events of a connection are about.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) client_id: Text,
    pub(crate) username: Option<Text>,
    pub(crate) address: Option<SocketAddr>,
}

impl Caller {
    /// The same in allocations of its own, to be kept as long as the connection lasts; `None` if nobody
    /// wants to know.
    pub(crate) fn kept(self, client_id: Text) -> Option<Box<Caller>> {
        let username = self.username.as_ref().map(Text::detached);
        is_heard().then(|| Box::new(Caller { client_id, username, ..self }))
    }
}

/// A warning that strangers can bring about. Beyond so many it is of level `debug`, so that nobody
/// fills the disk of the log.
macro_rules! warn_sparingly {
    ($sparing:expr, $($event:tt)+) => {
        if enabled!(target: TARGET, Level::WARN) {
            match $sparing.take() {
                Some(left_out) => {
                    let left_out = (left_out > 0).then_some(left_out);
                    warn!(target: TARGET, left_out, $($event)+);
                }
                None => debug!(target: TARGET, $($event)+),
            }
        }
    };
}

pub(crate) fn started(is_stored: bool) {
    let version = env!("CARGO_PKG_VERSION");
    info!(target: TARGET, version, is_stored, "broker started");
}

pub(crate) fn listening(address: &dyn Display, protocol: &str) {
    info!(target: TARGET, address = display(address), protocol, "listening");
}

pub(crate) fn listener_closed(address: &dyn Display) {
    info!(target: TARGET, address = display(address), "listener closed");
}

pub(crate) fn stopped(left: &Left) {
    let Left { connections, uncommitted, undelivered } = left;
    info!(target: TARGET, connections, uncommitted, undelivered, "broker stopped");
}

/// Around all that happens until a client is in: what an application's `Auth` tells is in it, too.
pub(crate) fn entering() -> Span {
    debug_span!(target: TARGET, "connection", client_id = Empty, address = Empty)
}

/// The client of [`entering`] has said who it is.
pub(crate) fn named(caller: &Caller) {
    let span = Span::current();
    span.record("client_id", caller.client_id.as_str());
    if let Some(address) = caller.address {
        span.record("address", display(address));
    }
}

/// Whether somebody listens: who comes and goes is of level `info`, what they do wrong `warn`.
pub(crate) fn is_heard() -> bool {
    enabled!(target: TARGET, Level::WARN)
}

pub(crate) fn connected(caller: &Caller, version: Version, session_present: bool) {
    let (client_id, username) = (caller.client_id.as_str(), name(caller));
    let (address, version) = (caller.address.map(display), spelled(version));
    info!(target: TARGET, client_id, address, username, version, session_present, "client connected");
}

pub(crate) fn disconnected(caller: &Caller, version: Version, reason: &dyn Display) {
    let (client_id, username) = (caller.client_id.as_str(), name(caller));
    let (address, version) = (caller.address.map(display), spelled(version));
    let reason = display(reason);
    info!(target: TARGET, client_id, address, username, version, reason, "client disconnected");
}

/// A client does not get in, for who it is or as whom it comes.
pub(crate) fn denied(sparing: &Sparing, caller: &Caller, reason: ReasonCode) {
    let (client_id, username) = (caller.client_id.as_str(), name(caller));
    let (address, reason) = (caller.address.map(display), display(reason));
    warn_sparingly!(sparing, client_id, address, username, reason, "login denied");
}

/// A client that has logged in gets no session.
pub(crate) fn not_connected(sparing: &Sparing, caller: &Caller, reason: ReasonCode) {
    match reason {
        ReasonCode::NOT_AUTHORIZED | ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => {
            denied(sparing, caller, reason);
        }
        _ => refused(caller.address, &reason),
    }
}

/// What came is nothing that MQTT allows; nobody has said who it is if there is no client identifier.
pub(crate) fn protocol_error(
    sparing: &Sparing,
    caller: Option<&Caller>,
    address: Option<SocketAddr>,
    error: &dyn Display,
) {
    let (client_id, address) = (caller.map(|it| it.client_id.as_str()), address.map(display));
    let error = display(error);
    warn_sparingly!(sparing, client_id, address, error, "protocol error");
}

/// What came in front of MQTT is not what the listener asks for.
pub(crate) fn handshake_failed(
    sparing: &Sparing,
    address: Option<SocketAddr>,
    error: &std::io::Error,
) {
    let (address, error) = (address.map(display), display(error));
    warn_sparingly!(sparing, address, error, "handshake failed");
}

/// A connection that there is no room or no time for. There may be any number of those.
pub(crate) fn refused(address: Option<SocketAddr>, reason: &dyn Display) {
    let (address, reason) = (address.map(display), display(reason));
    debug!(target: TARGET, address, reason, "connection refused");
}

/// A token lets nobody in; the client is told less.
#[cfg(feature = "jwt")]
pub(crate) fn token_refused(client_id: &Text, reason: &dyn Display) {
    let (client_id, reason) = (client_id.as_str(), display(reason));
    debug!(target: TARGET, client_id, reason, "token refused");
}

/// One message, or what else was to be stored, is not; others are.
fn not_stored(sparing: &Sparing, refused: &Refused) {
    let error = with_causes(&*refused.cause);
    warn_sparingly!(sparing, error, "message not stored");
}

/// Nothing can be stored, from here on. Returns whether that was told.
fn commits_fail(sparing: &Sparing, refused: &Refused) -> bool {
    let is_told = enabled!(target: TARGET, Level::ERROR) && sparing.take().is_some();
    if is_told {
        let error = with_causes(&*refused.cause);
        match refused.is_full {
            true => error!(target: TARGET, error, "disk is full"),
            false => error!(target: TARGET, error, "commits fail"),
        }
    }
    is_told
}

/// The end of [`commits_fail`].
fn commits_again(refused: u64) {
    info!(target: TARGET, refused, "commits succeed again");
}

#[cfg(feature = "bridge")]
pub(crate) fn bridge_connected(bridge: &str, remote: &dyn Display) {
    info!(target: TARGET, bridge, remote = display(remote), "bridge connected");
}

/// A connection to the remote broker has ended or was not made.
#[cfg(feature = "bridge")]
pub(crate) fn bridge_lost(bridge: &str, remote: &dyn Display, error: &str, is_news: bool) {
    let remote = display(remote);
    match is_news {
        true => warn!(target: TARGET, bridge, remote, error, "bridge lost"),
        // Every minute the same.
        false => debug!(target: TARGET, bridge, remote, error, "bridge lost"),
    }
}

/// The remote broker refuses something.
#[cfg(feature = "bridge")]
pub(crate) fn bridge_refused(bridge: &str, remote: &dyn Display, error: &str) {
    warn!(target: TARGET, bridge, remote = display(remote), error, "bridge refused");
}

/// Other users are in force, of one listener or of all that have none of their own.
pub(crate) fn users_replaced(listener: Option<&dyn Display>) {
    info!(target: TARGET, address = listener.map(display), "users replaced");
}

pub(crate) fn rules_replaced() {
    info!(target: TARGET, "rules replaced");
}

#[cfg(feature = "tls")]
pub(crate) fn certificates(certificate: &dyn Display, loaded: Result<(), &crate::TlsError>) {
    let certificate = display(certificate);
    match loaded {
        Ok(()) => info!(target: TARGET, certificate, "certificate reloaded"),
        Err(error) => {
            let error = with_causes(error);
            error!(target: TARGET, certificate, error, "certificate not reloaded");
        }
    }
}

fn name(caller: &Caller) -> Option<&str> {
    caller.username.as_ref().map(Text::as_str)
}

fn spelled(version: Version) -> &'static str {
    match version {
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes =
        std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
