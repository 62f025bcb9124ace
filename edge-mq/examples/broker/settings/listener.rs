//! Ways into the broker.

use std::time::Duration;

use edge_mq::{Listener, Tls, TlsBuilder};

use super::access::{Access, BY, Entry, Users};
use super::place::Place;
use super::section::Section;
use super::tls;

/// A listener, and who comes in by it.
#[derive(Debug)]
pub(crate) struct Listen {
    pub(crate) door: Door,
    pub(crate) tls: Option<TlsBuilder>,
    pub(crate) entry: Entry,
    line: usize,
}

/// What of a listener stays as it is until a restart.
#[derive(Debug, PartialEq)]
pub(crate) struct Door {
    pub(crate) place: Place,
    has_tls: bool,
    /// WebSocket, and the origins of pages that may connect.
    websocket: Option<Vec<String>>,
    has_proxy: bool,
    connections: Option<usize>,
    packet_bytes: Option<usize>,
    connect_within: Option<Duration>,
}

impl Listen {
    /// `None` if it has no place.
    pub(super) fn take(section: &Section<'_>, access: &Access) -> Option<Listen> {
        let place = Place::take(section);
        let tls = section.table("tls");
        let by = tls.as_ref().and_then(|tls| tls.word("users_by", BY));
        let has_tls = tls.is_some();
        let tls = tls.and_then(|section| tls::take(&section));
        let websocket = section.get("websocket").unwrap_or(false);
        let origins: Option<Vec<String>> = section.get("origins");
        if origins.is_some() && !websocket {
            section.wrong("origins", "`origins` are of WebSocket: set `websocket = true`, too");
        }
        let users = Users::take(section, by, access);
        users.check(section, place.as_ref().is_none_or(Place::is_local));
        let door = Door {
            has_tls,
            websocket: websocket.then(|| origins.unwrap_or_default()),
            has_proxy: section.get("proxy_protocol").unwrap_or(false),
            connections: section.get("connections"),
            packet_bytes: section.bytes("packet_bytes"),
            connect_within: section.get("connect_within"),
            place: place?,
        };
        Some(Listen { door, tls, entry: users.entry(), line: section.line() })
    }
}

impl Door {
    /// As the broker takes it.
    pub(crate) fn listener(&self, tls: Option<&Tls>) -> Listener {
        let mut listener = self.place.listener();
        if let Some(tls) = tls {
            listener = listener.tls(tls);
        }
        if let Some(origins) = &self.websocket {
            listener = origins
                .iter()
                .fold(listener.websocket(), |listener, origin| listener.origin(origin));
        }
        if self.has_proxy {
            listener = listener.proxy_protocol();
        }
        if let Some(most) = self.connections {
            listener = listener.connections(most);
        }
        if let Some(most) = self.packet_bytes {
            listener = listener.packet_bytes(most);
        }
        if let Some(time) = self.connect_within {
            listener = listener.connect_within(time);
        }
        listener
    }
}

/// No two listeners are at one place.
pub(super) fn each_place_once(listeners: &[Listen], root: &Section<'_>) {
    for (number, listener) in listeners.iter().enumerate() {
        let place = &listener.door.place;
        let first =
            listeners[..number].iter().find(|other| place.is_in_the_way_of(&other.door.place));
        if let Some(first) = first {
            let (line, at) = (first.line, &first.door.place);
            let what = format!("the listener of line {line} is at {at} already");
            let document = root.document();
            document.mistakes.add(document.file, Some(listener.line), what);
        }
    }
}
