//! edge-db against other embedded stores.

fn main() -> std::process::ExitCode {
    edge_compare::store::main()
}
