//! From an accepted socket to a client that was let in: layers, CONNECT, authentication.

use std::io;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::entry::Entry;
use super::input::{Input, Lost};
use super::login::{Failed, Reauthentication, log_in};
use super::opening;
use super::stream::Stream;
use super::{Arrival, Way, farewell};
use crate::access::{Denied, Login, User};
use crate::crowd::Refusal;
use crate::events::{self, Caller};
use crate::packet::{Connect, DecodeError, Decoder, Version};
use crate::shared::Shared;

/// A client that was let in and has no session yet.
pub(super) struct Guest {
    pub(super) stream: Stream,
    pub(super) input: Input,
    pub(super) connect: Connect,
    pub(super) user: User,
    pub(super) caller: Caller,
    pub(super) again: Option<Box<Reauthentication>>,
    pub(super) way: Arc<Way>,
    pub(super) room: OwnedSemaphorePermit,
    pub(super) entry: Entry,
}

/// Lets a client in. Who is not let in was told so, as far as there is a way to say it.
pub(super) async fn enter(arrival: Arrival, shared: &Arc<Shared>) -> Option<Guest> {
    let Arrival { mut socket, address, way, room, entry } = arrival;
    let mut input = Input::new(way.packet_bytes);
    let listening = async {
        let told = |address, error: &io::Error| {
            events::handshake_failed(&shared.sparing, address, error);
        };
        let from = opening::address(&mut socket, address, &way.layers).await;
        let address = from.inspect_err(|error| told(address, error))?;
        let entry = entry.unwrap_or_else(|| Entry::of(address, shared));
        if let Err(Refusal { code, is_told: false }) = entry {
            events::refused(address, &code);
            return Ok(None);
        }
        let opened = opening::open(socket, address, &way.layers).await;
        let mut opened = opened.inspect_err(|error| told(address, error))?;
        let connect = input.connect(&mut opened.stream).await;
        io::Result::Ok(Some((entry, opened, connect)))
    };
    let (entry, opened, connect) = match timeout(way.connect_within, listening).await {
        Ok(Ok(heard)) => heard?,
        Ok(Err(_)) => {
            shared.hub(|hub| hub.stats_mut().failed_handshakes += 1);
            return None;
        }
        Err(_) => {
            events::refused(address, &"no CONNECT in time");
            return None;
        }
    };
    let mut connect = match connect {
        Ok(connect) => connect,
        Err(Lost::Decode(error)) => {
            shared.hub(|hub| hub.stats_mut().protocol_errors += 1);
            events::protocol_error(&shared.sparing, None, opened.address, &error);
            refuse(opened.stream, &input.decoder, &error).await;
            return None;
        }
        Err(Lost::Gone) => return None,
    };
    let entry = match entry {
        Ok(entry) => entry,
        Err(Refusal { code, .. }) => {
            events::refused(opened.address, &code);
            farewell::refuse(opened.stream, code, connect.version, connect.most_bytes()).await;
            return None;
        }
    };
    let caller = Caller {
        client_id: connect.client_id.clone(),
        username: connect.username.clone(),
        address: opened.address,
    };
    events::named(&caller);
    let login = Login {
        username: connect.username.clone(),
        address: opened.address,
        #[cfg(feature = "tls")]
        certificate: opened.certificate,
        ..Login::new(connect.client_id.clone())
    };
    let again = Reauthentication::of(&connect, &login, &way);
    let mut stream = opened.stream;
    let log_in = log_in(&mut stream, &mut input, &way.guard, &mut connect, login);
    let user = timeout(way.connect_within, log_in).await;
    match user.unwrap_or(Err(Denied::Unavailable.into())) {
        Ok(user) => Some(Guest { stream, input, connect, user, caller, again, way, room, entry }),
        Err(Failed::Gone) => None,
        Err(Failed::Refused(code)) => {
            shared.hub(|hub| hub.stats_mut().denied_logins += 1);
            events::denied(&shared.sparing, &caller, code);
            farewell::refuse(stream, code, connect.version, connect.most_bytes()).await;
            None
        }
    }
}

/// Answers what should have been a CONNECT.
async fn refuse(stream: Stream, decoder: &Decoder, error: &DecodeError) {
    let version = match (error, decoder.version()) {
        // Levels below 5 cannot read an answer of MQTT 5.0 (section 3.1.2.2).
        (DecodeError::UnsupportedVersion(0..=4), _) => Version::V311,
        (DecodeError::UnsupportedVersion(_), _) | (_, Some(Version::V5)) => Version::V5,
        // The version is not known, or has no word for it.
        _ => return drop(stream),
    };
    farewell::refuse(stream, error.reason(), version, None).await;
}
