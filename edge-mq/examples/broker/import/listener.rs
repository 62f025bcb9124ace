//! Options of listeners.

use std::net::{IpAddr, Ipv4Addr};

use super::table::Table;
use super::{Fate, missing};

/// One listener, with the options behind it.
#[derive(Debug)]
pub(super) struct Listener {
    table: Table,
    tls: Table,
    authority: Option<String>,
    requires_certificate: bool,
    /// Whether anything was said of it.
    pub(super) is_said: bool,
    /// Whether it is none.
    pub(super) is_left_out: bool,
}

impl Default for Listener {
    fn default() -> Listener {
        Listener {
            table: Table::new("[[listener]]"),
            tls: Table::new("[listener.tls]"),
            authority: None,
            requires_certificate: false,
            is_said: false,
            is_left_out: false,
        }
    }
}

impl Listener {
    /// `PORT [ADDRESS]`, or `0 PATH`. Options behind it are about it even if it means nothing.
    pub(super) fn parse(value: &str) -> (Listener, Fate) {
        let mut listener = Listener { is_said: true, ..Listener::default() };
        let (port, place) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        let fate = match (port.parse(), place.trim()) {
            (Ok(0_u16), path) if !path.is_empty() => listener.table.text("unix", path),
            (Ok(1..), address) => {
                listener.table.set("port", port);
                if address.is_empty() { Fate::Done } else { listener.bind(address) }
            }
            _ => {
                listener.is_left_out = true;
                missing("it has neither a port nor, with port 0, the path of a socket")
            }
        };
        (listener, fate)
    }

    fn bind(&mut self, address: &str) -> Fate {
        let known = match address {
            "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            address => address.parse(),
        };
        // Rather one address too few than one too many.
        let fate = known.as_ref().map_or_else(
            |_| missing("an address is one of IP, not a name: it is 127.0.0.1 now"),
            |_| Fate::Done,
        );
        let address = known.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.table.text("bind_address", &address.to_string());
        fate
    }

    pub(super) fn option(&mut self, option: &str, value: &str, is_per_listener: bool) -> Fate {
        let fate = match option {
            "port" => self.table.number("port", value, |port| port.to_string()),
            "bind_address" => self.bind(value),
            "max_connections" if value == "-1" => return Fate::Needless("there is [limits]"),
            "max_connections" => self.table.number("connections", value, |most| most.to_string()),
            "allow_anonymous" if is_per_listener => {
                self.table.set("allow_anonymous", value == "true")
            }
            "password_file" if is_per_listener => self.table.text("password_file", value),
            "acl_file" if is_per_listener => {
                return missing("rules are for all listeners: join them in one acl_file");
            }
            "protocol" if value == "websockets" => self.table.set("websocket", true),
            "protocol" => Fate::Done,
            "websockets_origin" => {
                self.table.set("origins", format!("[{}]", super::table::quoted(value)))
            }
            _ => self.certificates(option, value),
        };
        self.is_said |= fate == Fate::Done;
        fate
    }

    fn certificates(&mut self, option: &str, value: &str) -> Fate {
        match option {
            "certfile" => self.tls.text("certificate", value),
            "keyfile" => self.tls.text("key", value),
            "crlfile" => self.tls.text("revoked", value),
            "cafile" => {
                self.authority = Some(value.to_owned());
                Fate::Done
            }
            "require_certificate" => {
                self.requires_certificate = value == "true";
                Fate::Done
            }
            "use_identity_as_username" if value == "true" => {
                self.tls.text("users_by", "common name")
            }
            "use_subject_as_username" if value == "true" => {
                missing("users_by = \"common name\" is the nearest")
            }
            "use_identity_as_username" | "use_subject_as_username" => Fate::Done,
            "tls_version" => Fate::Needless("it is TLS 1.2 and 1.3"),
            "ciphers"
            | "ciphers_tls1.3"
            | "dhparamfile"
            | "tls_engine"
            | "tls_keyform"
            | "tls_engine_kpass_sha1"
            | "psk_hint" => missing("TLS is as rustls does it"),
            "capath" => missing("put the certificates into one file: client_ca"),
            "mount_point"
            | "max_qos"
            | "bind_interface"
            | "http_dir"
            | "use_username_as_clientid"
            | "allow_zero_length_clientid"
            | "auto_id_prefix"
            | "websockets_headers_size" => missing("a listener has no such option"),
            "socket_domain" => missing("bind_address says whether it is IPv4 or IPv6"),
            _ => Fate::Foreign,
        }
    }

    pub(super) fn render(mut self, is_local: bool) -> String {
        let has_place = self.table.has("bind_address") || self.table.has("unix");
        if !has_place && !is_local {
            self.table.text("bind_address", "0.0.0.0");
        }
        if self.requires_certificate
            && let Some(authority) = &self.authority
        {
            self.tls.text("client_ca", authority);
        }
        self.table.render() + &self.tls.render()
    }
}
