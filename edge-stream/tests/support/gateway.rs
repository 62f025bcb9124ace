//! A database, a broker and an engine in one process, and what is done with them.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;

use edge_db::Db;
use edge_mq::{Broker, Message, QoS};
use edge_stream::Engine;

use crate::site::{LONG, ask};

pub(crate) struct Gateway {
    pub(crate) db: Db,
    pub(crate) broker: Broker,
    pub(crate) engine: Engine,
}

impl Gateway {
    /// The broker listens on a port of its own.
    pub(crate) async fn start(dir: &Path) -> Gateway {
        let db = Db::open(dir).unwrap();
        let broker = Broker::builder().db(&db).listen(([127, 0, 0, 1], 0).into());
        let broker = broker.start().await.unwrap();
        let engine = Engine::builder().db(&db).broker(&broker).start().await.unwrap();
        Gateway { db, broker, engine }
    }

    pub(crate) async fn with(dir: &Path, script: &str) -> Gateway {
        let gateway = Gateway::start(dir).await;
        gateway.run(script).await;
        gateway
    }

    /// With QoS 1, from the application.
    pub(crate) async fn publish(&self, topic: &str, payload: &str) {
        let message = Message::new(topic.parse().unwrap(), payload.to_owned());
        self.broker.local().publish(message.qos(QoS::AtLeastOnce)).await.unwrap();
    }

    pub(crate) async fn caught_up(&self) {
        self.engine.caught_up(LONG).await.unwrap();
    }

    pub(crate) async fn ask(&self, query: &str) -> Vec<String> {
        ask(&self.engine, query).await
    }

    pub(crate) async fn run(&self, script: &str) {
        self.engine.execute(script).await.unwrap();
    }

    /// What `execute` says against it.
    pub(crate) async fn refused(&self, script: &str) -> String {
        self.engine.execute(script).await.unwrap_err().to_string()
    }

    pub(crate) fn crash(self) {
        drop(self.engine);
        drop(self.broker);
        self.db.shutdown(LONG).unwrap();
    }

    pub(crate) async fn end(self) {
        assert_eq!(self.engine.shutdown(LONG).await.unwrap().records, 0);
        self.broker.shutdown(LONG).await.unwrap();
        self.db.shutdown(LONG).unwrap();
    }
}
