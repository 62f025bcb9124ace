#![doc = include_str!("../README.md")]

mod accounting;
mod cutter;
mod edge_id;
mod error;
mod outbox;
mod remote;
mod segment;
mod syncer;
mod task;
mod zone;

pub use accounting::Account;
pub use edge_id::{EdgeId, EdgeIdError};
pub use error::{RemoteError, StartError, StopReason, ZoneError};
pub use syncer::{Left, Syncer, SyncerBuilder};
pub use zone::{StreamAudit, Zone};
