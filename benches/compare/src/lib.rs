//! edge-db and edge-mq side by side with their peers: what the subcommands `db` and `mqtt` do.

mod command;
mod db;
mod mqtt;
mod options;
mod rounds;
mod table;

pub use command::main;

/// What ends a subcommand, as one line for its user.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
