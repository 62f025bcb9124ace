//! Where the late rows of a stream go, and how they are read back.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;

use super::Engine;
use crate::db::late::{LATE_BYTES, LateOutput};
use crate::db::stored::StreamRows;
use crate::db::tables::{LATE, table_of};
use crate::decode::Decoder;
use crate::decode::format::Format;
use crate::error::SqlError;
use crate::stream::EventTimeColumn;

impl Engine {
    /// The Log of a stream's late rows, and the table that it is for queries.
    pub(super) async fn late(
        &self,
        stream: &str,
        schema: &SchemaRef,
        event_time: EventTimeColumn,
    ) -> Result<(LateOutput, Arc<dyn TableProvider>), SqlError> {
        let log = self.bounded_log(format!("{stream}{LATE}"), LATE_BYTES).await?;
        // Levels of the topic are in the object, as all columns are.
        let decoder = Decoder::new(schema, None, Some(event_time.index), &Format::default());
        let decoder = decoder.map_err(|reason| SqlError::statement(None, reason))?;
        let rows = StreamRows { log: log.clone().into(), decoder };
        let table = table_of(&self.inner.catalog.db, Arc::new(rows));
        let table = table.map_err(|error| SqlError::planning(&error))?;
        Ok((LateOutput { log, event_time }, table))
    }
}
