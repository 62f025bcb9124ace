//! edge-db, edge-mq and edge-stream side by side with their peers: what the subcommands `db`, `mq` and
//! `stream` do.

mod command;
mod db;
mod device;
mod figures;
mod floors;
mod metric;
mod mq;
mod options;
mod report;
mod rounds;
mod runs;
mod stream;
mod table;

pub use command::main;

/// What ends a subcommand, as one line for its user.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
