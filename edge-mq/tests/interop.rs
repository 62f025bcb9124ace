//! Clients of mosquitto over TLS, mutual TLS and a Unix socket: another implementation of TLS
//! (OpenSSL) and of MQTT. `.ci/run` installs them; see CONTRIBUTING.md.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/authority.rs"]
mod authority;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use authority::{Authority, Issued};
use edge_mq::access::Certificates;
use edge_mq::{Broker, Listener, Pem, Tls};

/// Writes a file and says where it is.
fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn own(dir: &Path, name: &str, issued: &Issued) -> Vec<String> {
    let certificate = file(dir, &format!("{name}.pem"), &issued.certificate);
    let key = file(dir, &format!("{name}.key"), &issued.key);
    ["--cert".to_owned(), certificate, "--key".to_owned(), key].into()
}

/// Whether a message of each QoS and version arrives, by the same way in and out.
fn passes(way: &[String]) -> bool {
    let mut reader = subscribe(way);
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines().map(Result::unwrap);
    if !lines.any(|line| line.starts_with("Subscribed")) {
        reader.wait().unwrap();
        return false;
    }
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let message = ["-V", version, "-q", qos, "-t", "a", "-m", "hi"];
            let sent = Command::new("mosquitto_pub").args(way).args(message).status();
            assert!(sent.expect("mosquitto_pub is installed").success());
        }
    }
    let read = lines.filter(|line| line == "a hi").count();
    reader.wait().unwrap().success() && read == 6
}

fn subscribe(way: &[String]) -> Child {
    // Into a pipe it would keep its lines to itself until it ends.
    Command::new("stdbuf")
        .args(["-oL", "mosquitto_sub"])
        .args(way)
        .args(["-t", "a", "-q", "2", "-C", "6", "-W", "60", "-d", "-v"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto_sub is installed")
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_clients_pass_through_tls_mutual_tls_and_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let server = authority.server();
    let settings =
        || Tls::builder(Pem::text(server.certificate.clone()), Pem::text(server.key.clone()));
    let broker = Broker::builder().start().await.unwrap();
    let plain = Listener::tcp(([127, 0, 0, 1], 0)).tls(&settings().build().unwrap());
    let mutual = settings().client_ca(Pem::text(authority.pem())).build().unwrap();
    let mutual = Listener::tcp(([127, 0, 0, 1], 0)).tls(&mutual);
    let mutual = mutual.auth(Certificates::by_common_name());
    let socket = dir.path().join("mqtt.sock");
    let unix = broker.listen(Listener::unix(&socket)).await.unwrap();
    let to = |port: u16, authority: &Authority| {
        let ca = file(dir.path(), &format!("ca-{port}.pem"), &authority.pem());
        let port = port.to_string();
        ["-h", "127.0.0.1", "-p", &port, "--cafile", &ca].map(str::to_owned).to_vec()
    };
    let plain = broker.listen(plain).await.unwrap().local_addr().unwrap().port();
    let mutual = broker.listen(mutual).await.unwrap().local_addr().unwrap().port();
    let sensor = own(dir.path(), "sensor", &authority.client("sensor", 1));
    let stranger = own(dir.path(), "stranger", &other.client("sensor", 1));
    assert!(passes(&to(plain, &authority)));
    assert!(!passes(&to(plain, &other)), "it trusts another CA");
    assert!(passes(&[to(mutual, &authority), sensor].concat()));
    assert!(!passes(&to(mutual, &authority)), "it has no certificate");
    assert!(!passes(&[to(mutual, &authority), stranger].concat()), "it is another CA's");
    assert!(passes(&["--unix".to_owned(), unix.to_string()]));
}
