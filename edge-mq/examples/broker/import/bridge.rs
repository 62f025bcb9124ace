//! Options of bridges.

use super::table::{Table, quoted};
use super::{Fate, missing};

/// One connection, with the options behind it.
#[derive(Debug)]
pub(super) struct Bridge {
    table: Table,
    tls: Table,
    rules: Vec<Table>,
    is_retained: bool,
}

impl Bridge {
    pub(super) fn new(name: &str) -> Bridge {
        let mut table = Table::new("[[bridge]]");
        let of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name: String =
            name.chars().map(|c| if of_name(c) { c } else { '-' }).take(64).collect();
        table.text("name", &name);
        // As mosquitto, if nothing is said.
        table.text("version", "3.1.1");
        Bridge { table, tls: Table::new("[bridge.tls]"), rules: Vec::new(), is_retained: true }
    }

    pub(super) fn option(&mut self, option: &str, value: &str) -> Fate {
        let table = &mut self.table;
        match option {
            "address" | "addresses" => {
                let remotes: Vec<_> = value.split_whitespace().map(remote).collect();
                table.set("remotes", format!("[{}]", remotes.join(", ")))
            }
            "topic" => self.topic(value),
            "remote_clientid" | "clientid" => table.text("client_id", value),
            "remote_username" | "username" => table.text("user", value),
            "remote_password" | "password" => table.text("password", value),
            "keepalive_interval" => table.seconds("keep_alive", value),
            "restart_timeout" => self.retry(value),
            "bridge_protocol_version" => match value {
                "mqttv50" => table.text("version", "5"),
                "mqttv311" => table.text("version", "3.1.1"),
                _ => missing("a bridge speaks MQTT 5 or 3.1.1"),
            },
            "bridge_max_packet_size" => {
                table.number("max_packet_bytes", value, |bytes| bytes.to_string())
            }
            "bridge_session_expiry_interval" => table.seconds("session_expiry", value),
            "notification_topic" => table.text("state_topic", value),
            "bridge_cafile" => self.tls.text("trusted", value),
            "bridge_certfile" => self.tls.text("certificate", value),
            "bridge_keyfile" => self.tls.text("key", value),
            "bridge_outgoing_retain" => {
                self.is_retained = value == "true";
                Fate::Done
            }
            _ => other(option, value),
        }
    }

    /// `PATTERN [DIRECTION [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]]`, where `""` is an empty one.
    fn topic(&mut self, value: &str) -> Fate {
        let mut words = value.split_whitespace();
        let mut word = || words.next().map(|word| if word == "\"\"" { "" } else { word });
        let (pattern, direction) = (word().unwrap_or_default(), word().unwrap_or("out"));
        let (qos, local, remote) = (word().unwrap_or("0"), word(), word());
        if pattern.is_empty() {
            return missing(
                "a rule has a filter: of one topic, its last level, and the rest as prefix",
            );
        }
        let headings: &[&str] = match direction {
            "out" => &["[[bridge.send]]"],
            "in" => &["[[bridge.receive]]"],
            "both" => &["[[bridge.send]]", "[[bridge.receive]]"],
            _ => return missing("a direction is one of in, out and both"),
        };
        for heading in headings {
            let mut rule = Table::new(heading);
            rule.text("filter", pattern);
            local.map(|prefix| rule.text("local_prefix", prefix));
            remote.map(|prefix| rule.text("remote_prefix", prefix));
            rule.set("at_most", u8::from(qos != "0"));
            self.rules.push(rule);
        }
        Fate::Done
    }

    /// `SECONDS`, or the first and the longest.
    fn retry(&mut self, value: &str) -> Fate {
        let (first, most) = value.split_once(char::is_whitespace).unwrap_or((value, value));
        match self.table.seconds("retry_first", first) {
            Fate::Done => self.table.seconds("retry_most", most.trim()),
            wrong => wrong,
        }
    }

    pub(super) fn render(mut self) -> String {
        if !self.is_retained {
            for rule in &mut self.rules {
                rule.set("retain", false);
            }
        }
        let rules: String = self.rules.iter().map(Table::render).collect();
        self.table.render() + &self.tls.render() + &rules
    }
}

/// What a bridge here does anyway, and what it does not.
fn other(option: &str, value: &str) -> Fate {
    match (option, value) {
        ("cleansession" | "local_cleansession", _) => {
            Fate::Needless("a bridge has its own queue on disk")
        }
        ("try_private" | "bridge_attempt_unsubscribe", _) => {
            Fate::Needless("loops are told by a property of each message, or by the message")
        }
        ("notifications", "true") | ("notifications_local_only", "true") => {
            Fate::Needless("its state is on $SYS/broker/connection/NAME/state here")
        }
        ("notifications" | "notifications_local_only", _) => {
            missing("its state is on $SYS/broker/connection/NAME/state here; see state_topic")
        }
        ("start_type", "automatic") | ("round_robin", "false") | ("bridge_insecure", "false") => {
            Fate::Needless("it is so")
        }
        ("bridge_tls_version", _) => Fate::Needless("it is TLS 1.2 or 1.3"),
        ("start_type" | "idle_timeout" | "threshold", _) => missing("a bridge is always connected"),
        ("round_robin", _) => missing("addresses are tried in their order"),
        ("bridge_insecure", _) => {
            missing("a remote broker has to show the certificate of its host")
        }
        ("bridge_capath", _) => missing("put the certificates into one file: trusted"),
        ("local_clientid" | "local_username" | "local_password", _) => {
            missing("here a bridge is no client, and may do everything")
        }
        (
            "bridge_identity"
            | "bridge_psk"
            | "bridge_alpn"
            | "bridge_require_ocsp"
            | "bridge_bind_address",
            _,
        ) => missing("a bridge has no such option"),
        _ => Fate::Foreign,
    }
}

/// An address with its port.
fn remote(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => quoted(address),
        _ => quoted(&format!("{address}:1883")),
    }
}
