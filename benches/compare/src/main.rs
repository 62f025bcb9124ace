//! edge-db and edge-mq against their peers.

fn main() -> std::process::ExitCode {
    edge_compare::main()
}
