//! Rows that the application itself has: batches into the Log of a stream.

use arrow::array::RecordBatch;
use edge_db::{Entry, Log, Time};

use super::{Engine, PushError};
use crate::db::blocking;
use crate::db::input::InputSpec;
use crate::encode::pieces;
use crate::sql::statement::Kind;

impl Engine {
    /// Stores the rows of a batch in the Log of a stream of format `arrow_ipc`, all in one commit.
    /// They are on disk when this returns. Columns go by name; what the stream does not have is
    /// left out, what the batch does not have is null.
    ///
    /// A batch of up to 64 MiB fits into one commit.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::sync::Arc;
    /// use arrow::array::{Float64Array, RecordBatch, StringArray};
    /// # let dir = tempfile::tempdir()?;
    /// let db = edge_db::Db::open(dir.path())?;
    /// let engine = edge_stream::Engine::builder().db(&db).start().await?;
    /// engine.execute("CREATE STREAM readings (room VARCHAR, temp DOUBLE)
    ///     WITH (log = 'own', format = 'arrow_ipc')").await?;
    /// let rows = RecordBatch::try_from_iter([
    ///     ("room", Arc::new(StringArray::from(vec!["lab", "hall"])) as _),
    ///     ("temp", Arc::new(Float64Array::from(vec![21.5, 19.0])) as _),
    /// ])?;
    /// engine.push("readings", &rows).await?;
    /// assert_eq!(engine.sql("SELECT room FROM readings WHERE temp > 20").await?[0].num_rows(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such stream, the rows are none of it, or they could not be stored; nothing
    /// of the batch is stored then.
    ///
    /// # Cancel safety
    /// When dropped, the batch is stored whole or not at all.
    pub async fn push(&self, stream: &str, batch: &RecordBatch) -> Result<(), PushError> {
        let (spec, log) = self.stream_spec(stream)?;
        let (db, batch) = (self.inner.catalog.db.clone(), batch.clone());
        let name = stream.to_owned();
        let staged = blocking(move || {
            let refused = |reason| PushError::Rows { stream: name.clone(), reason };
            spec.decoder.check_batch(&batch, Time::now()).map_err(refused)?;
            let mut staged = db.batch();
            for payload in pieces(&batch).map_err(|error| refused(error.to_string()))? {
                staged.append(&log, Entry::new(payload));
            }
            Ok::<_, PushError>(staged)
        });
        staged.await.map_err(|_| PushError::Closed)??.commit_async().await?;
        Ok(())
    }

    /// How a stream is read, and the Log that it reads.
    pub(super) fn stream_spec(&self, name: &str) -> Result<(InputSpec, Log), PushError> {
        let objects = self.inner.objects.lock();
        if objects.is_closed {
            return Err(PushError::Closed);
        }
        let stream = objects.by_name.get(name).filter(|object| object.kind == Kind::Stream);
        let spec = stream.map(|stream| stream.spec.inputs[0].clone());
        let spec = spec.ok_or_else(|| PushError::NoStream { stream: name.to_owned() })?;
        match spec.log.log().cloned() {
            Some(log) => Ok((spec, log)),
            None => Err(PushError::Live { stream: name.to_owned() }),
        }
    }
}
