//! Clients of other people, in other languages and with other TLS: Paho for Python, mqtt.js, and
//! mosquitto's tools, in MQTT 3.1.1 and 5.0, by each way that they know into a broker with a
//! database. `.ci/run` installs them; see CONTRIBUTING.md.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/authority.rs"]
mod authority;
#[path = "interop/mosquitto.rs"]
mod mosquitto;
#[path = "support/site.rs"]
mod site;

use std::process::Command;

use authority::Authority;
use mosquitto::Tools;
use site::{Site, WAYS, Way};

/// What a driver in `interop/` prints if all is well: each QoS, a large message, a retained one until
/// it is cleared, the will of a lost connection alone, and a session that waited for its client.
const SEEN: &str = "\
reader connected, new session
writer connected, new session
reader subscribed with QoS 2
writer published with QoS 0
reader got office/lab, QoS 0: hi 0
writer published with QoS 1
reader got office/lab, QoS 1: hi 1
writer published with QoS 2
reader got office/lab, QoS 2: hi 2
writer published with QoS 1
reader got office/lab, QoS 1: 100000 bytes
writer published with QoS 1
late connected, new session
late subscribed with QoS 1
late got retained kept/lab, QoS 1: 21
writer published with QoS 1
late got kept/lab, QoS 1: nothing
later connected, new session
later subscribed with QoS 1
writer published with QoS 0
later got kept/end, QoS 0: live
reader subscribed with QoS 1
polite connected, new session
lost connected, new session
reader got will/lost, QoS 1: gone
away connected, new session
away subscribed with QoS 2
writer published with QoS 1
writer published with QoS 2
away connected, old session
away got queue/a, QoS 1: while you
away got queue/b, QoS 2: were away
away connected, new session
";

/// Has a driver come in by every way, in both versions.
async fn drive(program: &str, driver: &str) {
    let driver = format!("{}/tests/interop/{driver}", env!("CARGO_MANIFEST_DIR"));
    for way in WAYS {
        for version in ["4", "5"] {
            let site = Site::start(way).await;
            let driven = Command::new(program)
                .args([&driver, version, &site.url()])
                .args(site.files())
                .output()
                .unwrap_or_else(|error| panic!("install {program}, see CONTRIBUTING.md: {error}"));
            let seen = String::from_utf8(driven.stdout).unwrap();
            let said = String::from_utf8_lossy(&driven.stderr);
            assert!(driven.status.success(), "{way:?}, version {version}:\n{seen}{said}");
            assert_eq!(seen, SEEN, "{way:?}, version {version}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paho_for_python_is_served_by_every_way_in() {
    drive("python3", "paho_driver.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_js_is_served_by_every_way_in() {
    drive("node", "mqttjs_driver.cjs").await;
}

/// Those that mosquitto's tools know.
const MOSQUITTO_WAYS: [Way; 4] = [Way::Tcp, Way::Tls, Way::MutualTls, Way::Unix];

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_tools_are_served_by_every_way_that_they_know() {
    for way in MOSQUITTO_WAYS {
        for version in ["mqttv311", "mqttv5"] {
            let site = Site::start(way).await;
            println!("{way:?}, {version}");
            Tools::new(&site, way, version).are_served();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_tools_without_the_right_certificates_stay_outside() {
    let other = Authority::new("other");
    for way in [Way::Tls, Way::MutualTls] {
        let site = Site::start(way).await;
        let trusting = site.file("other.pem", &other.pem());
        let tools = Tools::new(&site, way, "mqttv5");
        assert!(tools.reach_the_broker());
        assert!(!tools.trusting(&trusting).reach_the_broker(), "they trust another CA");
    }
    let site = Site::start(Way::MutualTls).await;
    let ca = site.file("ca.pem", &site.authority.pem());
    let tools = Tools::new(&site, Way::MutualTls, "mqttv5");
    assert!(!tools.trusting(&ca).reach_the_broker(), "they have no certificate");
    let stranger = other.client("sensor", 1);
    let certificate = site.file("stranger.pem", &stranger.certificate);
    let key = site.file("stranger.key", &stranger.key);
    let own = ["--cert", &certificate, "--key", &key];
    assert!(!tools.trusting(&ca).with(&own).reach_the_broker(), "it is another CA's");
}
