#![cfg_attr(feature = "db", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "db"), doc = "Streaming SQL over rows that the application pushes.")]

mod asof;
#[cfg(feature = "db")]
mod bounded;
#[cfg(feature = "db")]
mod db;
#[cfg(feature = "db")]
mod decode;
mod delta;
mod emit;
#[cfg(feature = "db")]
mod encode;
#[cfg(feature = "db")]
mod engine;
mod error;
mod gaps;
mod history;
#[cfg(feature = "db")]
mod json_rows;
mod lookup;
mod matches;
mod matching;
#[cfg(feature = "mq")]
mod mq;
#[cfg(all(feature = "db", not(feature = "mq")))]
#[path = "no_mq.rs"]
mod mq;
mod operator;
mod pipeline;
mod plan;
mod row_windows;
mod session;
mod sessions;
mod sql;
mod stream;
mod sum;
#[cfg(feature = "db")]
mod topic;
mod watermark;
mod windows;

#[cfg(feature = "db")]
pub use db::deliver::callback::Delivery;
#[cfg(feature = "db")]
pub use db::live::RejectedRecord;
#[cfg(feature = "db")]
pub use db::status::{InputStatus, JobState, JobStatus, KeyStatus};
pub use delta::Delta;
#[cfg(feature = "db")]
pub use engine::{
    Begin, CaughtUpError, Channel, ChannelError, Engine, EngineBuilder, Left, PushError,
    ReplayError, Sample, Speed, StartError, Subscription, SubscriptionError, TriedOut, Update,
};
pub use error::{OperatorError, Position, SqlError};
#[cfg(feature = "db")]
pub use json_rows::{JsonRowError, JsonRows};
pub use operator::{Changes, Stored};
pub use pipeline::{Pipeline, PipelineBuilder};
#[cfg(feature = "db")]
pub use sql::statement::Kind as JobKind;
pub use watermark::EventTime;

/// As this crate uses it: functions of your own are made with it.
pub use datafusion;
