//! Rows of a sink to a function of the application.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use edge_db::{Batch, Record, Seq};

use super::{Stopped, Target};
use crate::db::catalog::Catalog;
use crate::db::{blocking, panicked};
use crate::decode::batch_of_payload;
use crate::error::chain;

/// Rows of a sink, on their way to the application.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// The sink.
    pub sink: Arc<str>,
    /// Numbers the deliveries of this sink without a hole. One that comes again, as after a crash,
    /// has the rows and the number that it had.
    pub seq: Seq,
    /// One row at least.
    pub rows: RecordBatch,
}

/// What a function of the application says of a delivery.
pub(crate) type Taken = Result<(), Box<dyn Error + Send + Sync>>;

/// A function of the application that takes the rows of a sink.
#[derive(Clone)]
pub(crate) struct Callback(pub(crate) Arc<dyn Fn(Delivery) -> Taken + Send + Sync>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").finish_non_exhaustive()
    }
}

pub(crate) struct CallbackTarget {
    catalog: Catalog,
    sink: Arc<str>,
    callback: Callback,
}

impl CallbackTarget {
    pub(crate) fn new(catalog: Catalog, sink: &str, callback: Callback) -> CallbackTarget {
        CallbackTarget { catalog, sink: sink.into(), callback }
    }
}

#[async_trait]
impl Target for CallbackTarget {
    async fn take(
        &mut self,
        records: &[Record],
        _batch: &mut Batch,
    ) -> (usize, Result<(), Stopped>) {
        for (taken, record) in records.iter().enumerate() {
            let delivery = match delivery(&self.sink, record) {
                Ok(delivery) => delivery,
                Err(reason) => return (taken, Err(Stopped::Retry(reason))),
            };
            let (callback, catalog) = (self.callback.clone(), self.catalog.clone());
            let called = blocking(move || {
                let call = AssertUnwindSafe(|| (callback.0)(delivery));
                let called = catch_unwind(call).map_err(|panic| panicked(&*panic));
                // No other engine begins while the function may still run.
                drop(catalog);
                called.and_then(|taken| taken.map_err(|error| chain(&*error)))
            });
            match called.await {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => return (taken, Err(Stopped::Retry(reason))),
                Err(_) => return (taken, Err(Stopped::Closed)),
            }
        }
        (records.len(), Ok(()))
    }
}

/// What a record of the sink's own Log holds.
pub(crate) fn delivery(sink: &Arc<str>, record: &Record) -> Result<Delivery, String> {
    let rows = batch_of_payload(record.value())?;
    Ok(Delivery { sink: Arc::clone(sink), seq: record.seq(), rows })
}
