//! edge-mq and edge-db side by side with their peers: what the programs `mqtt` and `store` do.

pub mod mqtt;
mod options;
mod rounds;
pub mod store;
mod table;

/// What ends a program of this package, as one line for its user.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
