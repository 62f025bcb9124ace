//! What is made of event times and arrivals: late rows that are kept apart, quiet streams that nobody
//! waits for, and keys that have clocks of their own. A crash is an engine that is dropped at any moment,
//! which ends its jobs where they are, or a pipeline that goes on from its last checkpoint.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod idle;
mod keys;
mod late;
#[path = "../support/site.rs"]
mod site;
#[path = "../support/tries.rs"]
mod tries;
