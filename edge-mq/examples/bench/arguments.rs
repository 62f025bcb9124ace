//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use super::generator::packet::{NUMBERS_BYTES, Version};
use super::generator::{Result, SENT_BELOW, Timing, Traffic};

pub(crate) const USAGE: &str = "\
usage: bench [OPTION]...     loads an MQTT broker, and looks for what is lost, doubled or out of order

  --host HOST          of the broker [127.0.0.1]
  --port PORT          [1883]
  --user NAME          with
  --password PASSWORD
  --publishers N       [1]
  --subscribers N      [1]
  --topics N           of the publishers in turns, one for each at most; dealt out to subscribers
                       [as many as publishers, or one if there are more subscribers]
  --qos 0|1|2          [0]
  --size BYTES         of each payload, 20 at least [64]
  --rate N             messages of all publishers in a second, on a schedule; as many as go without
  --window N           messages of each publisher on their way at most [100, with --rate 1000]
  --seconds N          up to 3600 [10]
  --version 311|5      of MQTT [311]

Latency is from when a message is written, or with --rate from when it should have been, until its
subscriber has it; without subscribers, until it is acknowledged. How late the generator itself was on
its schedule stands beside it: where that is as long, the machine has other work.";

/// Streams that are watched: of each publisher to each subscriber.
const MOST_STREAMS: usize = 10_000_000;
/// The largest message of MQTT has little less.
const MOST_PAYLOAD_BYTES: usize = 256_000_000;
/// Of memory, for what waits to be written.
const MOST_WAITING_BYTES: u64 = 1 << 30;
/// The keep alive of the connections, on which nothing may pass meanwhile.
const MOST_SECONDS: u64 = 3600;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) address: SocketAddr,
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) traffic: Traffic,
    pub(crate) timing: Timing,
    pub(crate) time: Duration,
}

impl Arguments {
    /// `None` if the usage is asked for.
    pub(crate) fn parse(mut parser: Parser) -> Result<Option<Arguments>> {
        let (mut host, mut port) = ("127.0.0.1".to_owned(), 1883);
        let (mut user, mut password) = (None, None);
        let (mut topics, mut rate, mut window) = (None, None, None);
        let mut seconds = 10;
        let mut traffic = Traffic {
            publishers: 1,
            subscribers: 1,
            topics: 1,
            qos: 0,
            window: 0,
            heard_below: SENT_BELOW,
            is_kept: false,
            version: Version::V311,
            payload_bytes: 64,
        };
        while let Some(argument) = parser.next()? {
            let Arg::Long(name) = argument else { return Err(argument.unexpected().into()) };
            let name = name.to_owned();
            if name == "help" {
                return Ok(None);
            }
            let value = parser.value()?;
            match &name[..] {
                "host" => host = value.string()?,
                "port" => port = value.parse()?,
                "user" => user = Some(value.string()?),
                "password" => password = Some(value.string()?),
                "publishers" => traffic.publishers = value.parse()?,
                "subscribers" => traffic.subscribers = value.parse()?,
                "topics" => topics = Some(value.parse()?),
                "qos" => traffic.qos = value.parse()?,
                "size" => traffic.payload_bytes = value.parse()?,
                "rate" => rate = Some(value.parse()?),
                "window" => window = Some(value.parse()?),
                "seconds" => seconds = value.parse()?,
                "version" => traffic.version = value.parse_with(version)?,
                _ => return Err(format!("unknown option --{name}").into()),
            }
        }
        let own = if traffic.subscribers > traffic.publishers { 1 } else { traffic.publishers };
        traffic.topics = topics.unwrap_or(own);
        traffic.window = window.unwrap_or(if rate.is_some() { 1000 } else { 100 });
        check(&traffic, rate, seconds)?;
        let timing = match rate {
            Some(rate) => Timing::Scheduled(rate),
            None if traffic.subscribers == 0 => Timing::Acknowledged,
            None => Timing::Received,
        };
        let address = (&host[..], port).to_socket_addrs();
        let mut address = address.map_err(|error| format!("{host}:{port}: {error}"))?;
        Ok(Some(Arguments {
            address: address.next().ok_or("the host has no address")?,
            credentials: user.map(|user| (user, password.unwrap_or_default())),
            traffic,
            timing,
            time: Duration::from_secs(seconds),
        }))
    }
}

fn version(text: &str) -> std::result::Result<Version, &'static str> {
    match text {
        "311" | "3.1.1" => Ok(Version::V311),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("311 or 5"),
    }
}

/// What the generator cannot do, or what would measure nothing.
fn check(traffic: &Traffic, rate: Option<u32>, seconds: u64) -> Result<()> {
    let streams = traffic.publishers.saturating_mul(traffic.subscribers);
    let waiting = (traffic.payload_bytes as u64)
        .saturating_mul(traffic.publishers as u64)
        .saturating_mul(traffic.window);
    let wrong = [
        (traffic.publishers == 0, "--publishers is 1 at least"),
        (traffic.topics == 0, "--topics is 1 at least"),
        (traffic.topics > traffic.publishers, "--topics is --publishers at most"),
        (streams > MOST_STREAMS, "so many publishers and subscribers are too many pairs"),
        (traffic.qos > 2, "--qos is 0, 1 or 2"),
        (traffic.subscribers == 0 && traffic.qos == 0, "without subscribers, --qos is 1 or 2"),
        (traffic.subscribers == 0 && rate.is_some(), "--rate needs subscribers"),
        (traffic.payload_bytes < NUMBERS_BYTES, "--size is 20 at least"),
        (traffic.payload_bytes > MOST_PAYLOAD_BYTES, "--size is more than MQTT can say"),
        (rate == Some(0), "--rate is 1 at least"),
        (traffic.window == 0 || traffic.window > 30_000, "--window is from 1 to 30000"),
        (waiting > MOST_WAITING_BYTES, "--size, --window and --publishers make more than 1 GiB"),
        (seconds == 0 || seconds > MOST_SECONDS, "--seconds is from 1 to 3600"),
    ];
    wrong.iter().find(|(is_wrong, _)| *is_wrong).map_or(Ok(()), |(_, why)| Err((*why).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        let arguments = Arguments::parse(Parser::from_args(line.split_whitespace()))?;
        Ok(arguments.expect("no help"))
    }

    #[test]
    fn shape_follows_from_the_counts() {
        for (line, topics, timing) in [
            ("", 1, Timing::Received),
            ("--publishers 50", 50, Timing::Received),
            ("--subscribers 50", 1, Timing::Received),
            ("--publishers 9 --subscribers 9 --topics 3", 3, Timing::Received),
            ("--subscribers 0 --qos 1", 1, Timing::Acknowledged),
            ("--rate 5", 1, Timing::Scheduled(5)),
        ] {
            let arguments = parse(line).unwrap();
            assert_eq!((arguments.traffic.topics, arguments.timing), (topics, timing), "{line}");
        }
        let arguments = parse("--host localhost --port 5 --user a --version 5").unwrap();
        assert_eq!(arguments.address.port(), 5);
        assert_eq!(arguments.credentials, Some(("a".to_owned(), String::new())));
        assert_eq!(arguments.traffic.version, Version::V5);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for (line, expected) in [
            ("--publishers 0", "--publishers is 1"),
            ("--topics 2", "--topics is --publishers at most"),
            ("--publishers 10000 --subscribers 10000", "too many pairs"),
            ("--qos 3", "--qos is 0, 1 or 2"),
            ("--subscribers 0", "--qos is 1 or 2"),
            ("--subscribers 0 --qos 1 --rate 1", "--rate needs subscribers"),
            ("--size 19", "--size is 20"),
            ("--rate 0", "--rate is 1"),
            ("--window 0", "--window is from 1"),
            ("--size 1000000 --window 2000", "more than 1 GiB"),
            ("--seconds 0", "--seconds is from 1"),
            ("--version 4", "311 or 5"),
            ("--speed 4", "unknown option --speed"),
            ("4", "unexpected argument"),
            ("--qos", "--qos"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(Arguments::parse(Parser::from_args(["--help"])).unwrap().is_none());
    }
}
