//! Tables and logs as Arrow record batches, for whatever takes those: DataFusion, Parquet, Flight.
//! Cargo feature `arrow`, with version 59 of the crates `arrow-array` and `arrow-schema`, or of
//! `arrow`, which has both.
//!
//! - A log: [`Log::record_batches`](crate::Log::record_batches), at a moment together with other
//!   reads [`Snapshot::record_batches`](crate::Snapshot::record_batches), and as it grows
//!   [`Records::to_record_batch`](crate::Records::to_record_batch).
//! - A table: [`Rows::record_batches`](crate::Rows::record_batches) of all rows, a range or a
//!   prefix, now or of a [`Snapshot`](crate::Snapshot); [`RowSchema`] names the columns, gives them
//!   other types, and takes the rows of an index, backwards, or mapped.
//!
//! Batches come one by one, as an [`arrow_array::RecordBatchReader`], and one is in memory at once.
//! Reading blocks for the disk.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let db = edge_db::Db::open(dir.path())?;
//! use arrow_array::cast::AsArray;
//! use arrow_array::types::Float64Type;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Climate {
//!     celsius: f64,
//!     co2_ppm: Option<u32>,
//! }
//! let readings = db.log("readings")?;
//! let latest = db.table::<String, Climate>("latest")?;
//! let mut batch = db.batch();
//! batch.append(&readings, edge_db::Entry::new(r#"{"celsius":21.5}"#).key("lab"));
//! batch.insert(&latest, &"lab".into(), &Climate { celsius: 21.5, co2_ppm: None })?;
//! batch.commit()?;
//!
//! let snapshot = db.snapshot()?;                    // both of one moment
//! for batch in snapshot.record_batches(&readings, edge_db::Seq::ZERO, 8192)? {
//!     let batch = batch?;                           // seq, time, key, value, headers
//!     assert_eq!(batch.column(2).as_binary::<i32>().value(0), b"lab");
//! }
//! for batch in snapshot.iter(&latest)?.record_batches(8192)? {
//!     let batch = batch?;                           // key, celsius, co2_ppm
//!     assert_eq!(batch.column(1).as_primitive::<Float64Type>().value(0), 21.5);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod key;
mod log;
mod record;
mod rows;
mod schema;
mod value;

pub use error::{ColumnError, RowError, SchemaError};
pub use key::KeyColumns;
pub use log::LogBatches;
pub use record::log_schema;
pub use rows::RowBatches;
pub use schema::RowSchema;

/// The time zone of every time.
const UTC: &str = "UTC";
