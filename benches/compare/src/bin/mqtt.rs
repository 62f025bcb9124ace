//! edge-mq against other MQTT brokers.

fn main() -> std::process::ExitCode {
    edge_compare::mqtt::main()
}
