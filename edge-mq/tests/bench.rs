//! The example `bench` on a broker of ours: every kind of traffic passes without a fault, and one that
//! loses something is told. The unit tests of the generator run here, too.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "its `main` is not called here")]
#[path = "../examples/bench/main.rs"]
mod bench;

use std::thread;

use bench::arguments::Arguments;
use bench::run::run;
use edge_mq::access::{Rule, Rules};
use edge_mq::{Broker, BrokerBuilder};

/// What a second of this load shows, and whether nothing was wrong.
async fn load(broker: BrokerBuilder, options: &'static str) -> (bool, Vec<String>) {
    let broker = broker.listen(([127, 0, 0, 1], 0).into()).start().await.unwrap();
    let port = broker.local_addr().unwrap().port();
    let line = format!("--port {port} --seconds 1 {options}");
    let generator = thread::spawn(move || {
        let parser = lexopt::Parser::from_args(line.split_whitespace());
        let arguments = Arguments::parse(parser).unwrap().unwrap();
        let mut said = Vec::new();
        let is_fine = run(&arguments, |line| said.push(line)).unwrap();
        (is_fine, said)
    });
    tokio::task::spawn_blocking(|| generator.join().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_traffic_passes_without_a_fault() {
    let kinds = [
        "--publishers 20 --qos 0",
        "--subscribers 20 --qos 1 --version 5",
        "--publishers 8 --subscribers 4 --topics 8 --qos 2 --size 20",
        "--publishers 4 --subscribers 4 --qos 2 --size 70000 --window 10 --version 5",
        "--publishers 4 --subscribers 4 --topics 2 --qos 1 --rate 500 --version 5",
        "--subscribers 0 --qos 1 --version 5",
        "--subscribers 0 --qos 2 --window 1",
    ];
    // All at once: each takes its time.
    let loads = kinds.map(|options| (options, tokio::spawn(load(Broker::builder(), options))));
    for (options, load) in loads {
        let (is_fine, said) = load.await.unwrap();
        assert!(is_fine, "{options}\n{said:#?}");
        // A line for the second, and the report.
        assert!(said[0].contains("messages/s"), "{said:#?}");
        let passed =
            said.iter().find(|line| line.starts_with("received") || line.starts_with("ack"));
        assert!(!passed.unwrap().contains(" 0 messages/s"), "{said:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_that_drops_messages_is_told_so() {
    // Subscribed to all, receives the topic of one publisher of two.
    let rules = [
        Rule::allow("#").unwrap().publish(),
        Rule::allow("#").unwrap().subscribe(),
        Rule::allow("load/0").unwrap().receive(),
    ];
    let broker = Broker::builder().acl(Rules::from(rules));
    let (is_fine, said) = load(broker, "--publishers 2 --qos 0 --rate 500").await;
    assert!(!is_fine);
    assert!(
        said.iter().any(|line| line.starts_with("faults") && line.contains(" lost")),
        "{said:#?}"
    );
}
