//! `mosquitto_pub` and `mosquitto_sub`, one process for each connection.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::site::{Site, Way};

/// The tools, told where the broker is.
pub(crate) struct Tools {
    place: Vec<String>,
    trust: Vec<String>,
    version: &'static str,
}

/// A process that subscribes. It is killed when it is dropped.
struct Reader {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tools {
    pub(crate) fn new(site: &Site, way: Way, version: &'static str) -> Tools {
        let place = match way {
            Way::Unix => vec!["--unix".to_owned(), site.socket().display().to_string()],
            _ => {
                ["-h", "127.0.0.1", "-p", &site.addr().port().to_string()].map(str::to_owned).into()
            }
        };
        let options = ["--cafile", "--cert", "--key"].map(str::to_owned);
        let trust = options.into_iter().zip(site.files()).flat_map(<[String; 2]>::from).collect();
        Tools { place, trust, version }
    }

    /// The same, with nothing but this CA.
    pub(crate) fn trusting(&self, ca: &str) -> Tools {
        let trust = ["--cafile", ca].map(str::to_owned).into();
        Tools { place: self.place.clone(), trust, version: self.version }
    }

    pub(crate) fn with(mut self, options: &[&str]) -> Tools {
        self.trust.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    /// Whether a message is acknowledged.
    pub(crate) fn reach_the_broker(&self) -> bool {
        self.publish("outside", "1", &[])
    }

    fn publish(&self, topic: &str, qos: &str, more: &[&str]) -> bool {
        let published = Command::new("mosquitto_pub")
            .args(&self.place)
            .args(&self.trust)
            .args(["-V", self.version, "-t", topic, "-q", qos])
            .args(if more.is_empty() { &["-m", "hi"] } else { more })
            .stderr(Stdio::null())
            .status();
        published.expect("install mosquitto-clients, see CONTRIBUTING.md").success()
    }

    /// A reader whose subscription stands.
    fn subscribe(&self, filter: &str, qos: &str, more: &[&str]) -> Reader {
        let mut reader = self.open(filter, qos, more);
        reader.is_told(&format!("Subscribed (mid: 1): {qos}"));
        reader
    }

    fn open(&self, filter: &str, qos: &str, more: &[&str]) -> Reader {
        // Into a pipe it would keep its lines to itself until it ends.
        let mut process = Command::new("stdbuf")
            .args(["-oL", "mosquitto_sub"])
            .args(&self.place)
            .args(&self.trust)
            .args(["-V", self.version, "-t", filter, "-q", qos, "-W", "60", "-d"])
            .args(["-F", "got %t, QoS %q, retained %r, %l: %p"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("install mosquitto-clients, see CONTRIBUTING.md");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Reader { process, lines }
    }
}

impl Reader {
    /// Reads on to this line.
    fn is_told(&mut self, expected: &str) {
        let mut before = self.lines.by_ref().map(Result::unwrap);
        assert!(before.any(|line| line == expected), "`{expected}` never came");
    }

    /// The next message is this one.
    fn gets(&mut self, expected: &str) {
        let mut messages = self.lines.by_ref().map(Result::unwrap);
        let message = messages.find_map(|line| line.strip_prefix("got ").map(str::to_owned));
        assert_eq!(message.as_deref(), Some(expected));
    }

    /// Waits until it has said DISCONNECT by itself.
    fn ends(mut self) {
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Tools {
    pub(crate) fn are_served(&self) {
        self.pass_each_qos();
        self.find_what_is_retained();
        self.leave_a_will();
        self.find_their_session_again();
    }

    fn pass_each_qos(&self) {
        let mut reader = self.subscribe("office/#", "2", &[]);
        for qos in ["0", "1", "2"] {
            assert!(self.publish("office/lab", qos, &[]));
            reader.gets(&format!("office/lab, QoS {qos}, retained 0, 2: hi"));
        }
        let large = "x".repeat(100_000);
        assert!(self.publish("office/lab", "1", &["-m", &large]));
        reader.gets(&format!("office/lab, QoS 1, retained 0, 100000: {large}"));
    }

    fn find_what_is_retained(&self) {
        assert!(self.publish("kept/lab", "1", &["-r", "-m", "21"]));
        self.subscribe("kept/#", "1", &[]).gets("kept/lab, QoS 1, retained 1, 2: 21");
        assert!(self.publish("kept/lab", "1", &["-r", "-n"]));
        let mut later = self.subscribe("kept/#", "1", &[]);
        assert!(self.publish("kept/end", "0", &[]));
        later.gets("kept/end, QoS 0, retained 0, 2: hi");
    }

    fn leave_a_will(&self) {
        let mut reader = self.subscribe("will/#", "1", &[]);
        let will = |topic| ["--will-topic", topic, "--will-payload", "gone", "--will-qos", "1"];
        // With -E it says DISCONNECT once it has subscribed.
        self.subscribe("x", "1", &[&will("will/polite")[..], &["-E"]].concat()).ends();
        drop(self.subscribe("x", "1", &will("will/lost")));
        reader.gets("will/lost, QoS 1, retained 0, 4: gone");
    }

    fn find_their_session_again(&self) {
        let mut kept = vec!["-i", "away", "-c"];
        if self.version == "mqttv5" {
            kept.extend(["-x", "3600"]);
        }
        self.subscribe("queue/#", "2", &[&kept[..], &["-E"]].concat()).ends();
        assert!(self.publish("queue/a", "1", &[]));
        assert!(self.publish("queue/b", "2", &[]));
        // It has to subscribe to something, and may get the messages before that stands.
        let mut away = self.open("x", "2", &kept);
        away.gets("queue/a, QoS 1, retained 0, 2: hi");
        away.gets("queue/b, QoS 2, retained 0, 2: hi");
    }
}
