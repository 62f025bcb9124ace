//! The `$SYS` topics: what the broker says of itself, under the names that mosquitto gave them.

use std::time::{Duration, Instant};

use crate::stats::Stats;

/// Spans that averages are over, in seconds, and how they are called.
const SPANS: [(f64, &str); 3] = [(60.0, "1min"), (300.0, "5min"), (900.0, "15min")];

/// Tells what has changed, every now and then.
#[derive(Debug)]
pub(crate) struct Sys {
    interval: Duration,
    started: Instant,
    told: Instant,
    due: Instant,
    /// What was told last of each topic.
    values: Vec<(String, String)>,
    before: Stats,
    /// Messages received and sent in a minute, averaged over each of the spans.
    loads: [(f64, f64); 3],
    most_connections: usize,
}

impl Sys {
    pub(crate) fn new(interval: Duration, now: Instant) -> Sys {
        Sys {
            interval,
            started: now,
            told: now,
            due: now,
            values: Vec::new(),
            before: Stats::default(),
            loads: [(0.0, 0.0); 3],
            most_connections: 0,
        }
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// What is new: topics below `$SYS/broker/`, and what they say.
    pub(crate) fn tell(&mut self, stats: &Stats, now: Instant) -> Vec<(String, String)> {
        self.due = now + self.interval;
        self.average(stats, now);
        self.most_connections = self.most_connections.max(stats.connections);
        let values = self.values(stats, now);
        let news = values.iter().filter(|value| !self.values.contains(value)).cloned().collect();
        self.values = values;
        news
    }

    fn values(&self, stats: &Stats, now: Instant) -> Vec<(String, String)> {
        let uptime = now.saturating_duration_since(self.started).as_secs();
        let gone = stats.sessions - stats.connections;
        let dropped = stats.dropped_qos0
            + stats.dropped_full
            + stats.dropped_expired
            + stats.dropped_too_large;
        let mut values = vec![
            ("version".to_owned(), concat!("edge-mq ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("uptime".to_owned(), format!("{uptime} seconds")),
        ];
        let counts = [
            ("clients/total", stats.sessions as u64),
            ("clients/connected", stats.connections as u64),
            ("clients/disconnected", gone as u64),
            ("clients/maximum", self.most_connections as u64),
            ("clients/expired", stats.expired_sessions),
            ("connections/refused", stats.refused_connections),
            ("connections/too fast", stats.connect_rate_exceeded),
            ("connections/failed", stats.failed_handshakes),
            ("connections/denied", stats.denied_logins),
            ("subscriptions/count", stats.subscriptions as u64),
            ("retained messages/count", stats.retained as u64),
            ("delayed messages/count", stats.delayed as u64),
            ("store/messages/count", stats.stored_messages),
            ("store/messages/bytes", stats.stored_bytes),
            ("store/disk full", stats.disk_full),
            ("publish/messages/received", stats.received),
            ("publish/messages/sent", stats.sent),
            ("publish/messages/dropped", dropped),
            ("publish/bytes/received", stats.received_bytes),
            ("publish/bytes/sent", stats.sent_bytes),
        ];
        values.extend(counts.map(|(topic, count)| (topic.to_owned(), count.to_string())));
        for ((_, span), (received, sent)) in SPANS.iter().zip(self.loads) {
            values.push((format!("load/publish/received/{span}"), format!("{received:.2}")));
            values.push((format!("load/publish/sent/{span}"), format!("{sent:.2}")));
        }
        values
    }

    /// Moves the averages on, each towards what came since the last time: exponentially, as the load
    /// averages of Unix.
    fn average(&mut self, stats: &Stats, now: Instant) {
        let seconds = now.saturating_duration_since(self.told).as_secs_f64();
        self.told = now;
        if seconds > 0.0 {
            let per_minute = |count: u64| count as f64 * 60.0 / seconds;
            let received = per_minute(stats.received - self.before.received);
            let sent = per_minute(stats.sent - self.before.sent);
            for ((span, _), load) in SPANS.iter().zip(&mut self.loads) {
                let old = (-seconds / span).exp();
                load.0 = received + old * (load.0 - received);
                load.1 = sent + old * (load.1 - sent);
            }
        }
        self.before = *stats;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::tests::start;

    #[test]
    fn what_has_not_changed_is_not_told_again() {
        let now = start();
        let mut sys = Sys::new(Duration::from_secs(10), now);
        let (connections, connect_rate_exceeded) = (2, 7);
        let stats = Stats { connections, sessions: 3, connect_rate_exceeded, ..Stats::default() };
        let all = sys.tell(&stats, now);
        assert!(all.contains(&("clients/disconnected".into(), "1".into())));
        assert!(all.contains(&("connections/too fast".into(), "7".into())));
        assert!(!sys.is_due(now + Duration::from_secs(9)));
        let now = now + Duration::from_secs(10);
        assert!(sys.is_due(now));
        let news = sys.tell(&Stats { connections: 1, ..stats }, now);
        let topics: Vec<_> = news.iter().map(|(topic, value)| format!("{topic}={value}")).collect();
        assert_eq!(topics, ["uptime=10 seconds", "clients/connected=1", "clients/disconnected=2"]);
    }

    #[test]
    fn load_comes_near_the_rate_of_messages() {
        let mut now = start();
        let mut sys = Sys::new(Duration::from_secs(10), now);
        let mut stats = Stats::default();
        for _ in 0..60 {
            sys.tell(&stats, now);
            now += Duration::from_secs(10);
            stats.received += 50;
        }
        let told = sys.tell(&stats, now);
        let load = |topic: &str| -> f64 {
            let (_, value) = sys.values.iter().find(|(found, _)| found == topic).unwrap();
            value.parse().unwrap()
        };
        assert!(!told.is_empty());
        assert!((299.0..=300.0).contains(&load("load/publish/received/1min")));
        assert!((140.0..160.0).contains(&load("load/publish/received/15min")));
        assert!(load("load/publish/sent/1min").abs() < f64::EPSILON);
    }
}
