//! A small run of `examples/fuzz`: mutated packets to the decoder and to a broker.

#[path = "../examples/fuzz/broker.rs"]
mod broker;
#[path = "../examples/fuzz/chance.rs"]
mod chance;
#[path = "../examples/fuzz/codec.rs"]
mod codec;
#[path = "../examples/fuzz/mutate.rs"]
mod mutate;
#[path = "../examples/fuzz/packets.rs"]
mod packets;
#[path = "../examples/fuzz/run.rs"]
mod run;

use run::{Plan, run};

#[test]
fn mutated_packets_do_no_harm() {
    // Four batches to the decoder, four to the broker.
    let report = run(Plan { packets: 800_000, seed: 1, only: None }, |_| {});
    // They went where they should: some were read, and some were not.
    let decoder = &report.decoder;
    assert!(decoder.read > 50_000 && decoder.refused > 10_000, "{report}");
    let stats = &report.stats;
    assert!(stats.received > 10_000 && stats.sent > 10_000, "{report}");
    assert!(stats.protocol_errors > 10, "{report}");
    assert!(report.sent >= 200_000, "{report}");
}
