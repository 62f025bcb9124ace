//! A broker with a database and one way into it, and what a client needs to come in by that way.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use edge_mq::access::Certificates;
use edge_mq::{Broker, Listener, Pem, Tls};
use tempfile::TempDir;

use crate::authority::{Authority, Issued};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Tcp,
    Tls,
    MutualTls,
    WebSocket,
    WebSocketTls,
    Unix,
}

pub(crate) const WAYS: [Way; 6] =
    [Way::Tcp, Way::Tls, Way::MutualTls, Way::WebSocket, Way::WebSocketTls, Way::Unix];

pub(crate) struct Site {
    pub(crate) broker: Broker,
    pub(crate) authority: Authority,
    /// The certificate that a client shows where it is asked for one.
    pub(crate) sensor: Issued,
    way: Way,
    dir: TempDir,
}

impl Site {
    pub(crate) async fn start(way: Way) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("ca");
        let sensor = authority.client("sensor", 1);
        let listener = listener(way, &dir, &authority);
        let db = edge_db::Db::open(dir.path().join("db")).unwrap();
        let broker = Broker::builder().db(&db).listen(listener).start().await.unwrap();
        Site { broker, authority, sensor, way, dir }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.broker.local_addr().expect("a way by TCP")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("mqtt.sock")
    }

    /// Where the broker is, in the words of Paho and mqtt.js.
    pub(crate) fn url(&self) -> String {
        match self.way {
            Way::Tcp => format!("mqtt://{}", self.addr()),
            Way::Tls | Way::MutualTls => format!("mqtts://{}", self.addr()),
            Way::WebSocket => format!("ws://{}/mqtt", self.addr()),
            Way::WebSocketTls => format!("wss://{}/mqtt", self.addr()),
            Way::Unix => format!("mqtt+unix://{}", self.socket().display()),
        }
    }

    /// Files of what a client trusts and shows: nothing, a CA, or a CA, a certificate and its key.
    pub(crate) fn files(&self) -> Vec<String> {
        let ca = ("ca.pem", self.authority.pem());
        let sensor =
            || [("sensor.pem", &self.sensor.certificate), ("sensor.key", &self.sensor.key)];
        let files: Vec<(&str, String)> = match self.way {
            Way::Tcp | Way::WebSocket | Way::Unix => Vec::new(),
            Way::Tls | Way::WebSocketTls => vec![ca],
            Way::MutualTls => {
                let own = sensor().map(|(name, text)| (name, text.clone()));
                [vec![ca], own.into()].concat()
            }
        };
        files.into_iter().map(|(name, text)| self.file(name, &text)).collect()
    }

    /// Writes a file and says where it is.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn listener(way: Way, dir: &TempDir, authority: &Authority) -> Listener {
    let server = authority.server();
    let tls = Tls::builder(Pem::text(server.certificate), Pem::text(server.key));
    let tcp = Listener::tcp(([127, 0, 0, 1], 0));
    match way {
        Way::Tcp => tcp,
        Way::Tls => tcp.tls(&tls.build().unwrap()),
        Way::MutualTls => {
            let tls = tls.client_ca(Pem::text(authority.pem())).build().unwrap();
            tcp.tls(&tls).auth(Certificates::by_common_name())
        }
        Way::WebSocket => tcp.websocket(),
        Way::WebSocketTls => tcp.tls(&tls.build().unwrap()).websocket(),
        Way::Unix => Listener::unix(dir.path().join("mqtt.sock")),
    }
}
