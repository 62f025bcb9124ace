//! What lies in the database, as rows for bounded queries.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, MapBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use edge_db::{Db, Log, RecordSlice, Seq, Snapshot, Table, Time};

use super::cells::{self, Cell};
use super::tape::Tape;
use crate::decode::format::FormatKind;
use crate::decode::{Decoder, Memory};
use crate::history::{History, Wanted};

/// Rows of one batch of a bounded query.
const BATCH_ROWS: usize = 8192;

/// The rows of a view.
pub(crate) type ViewTable = Table<Vec<u8>, Vec<Cell>>;

/// The database as one query sees it: all its tables at one moment.
#[derive(Debug)]
pub(crate) struct Moment(pub(crate) Snapshot);

/// Rows that lie in the database.
pub(crate) trait StoredRows: Debug + Send + Sync + 'static {
    fn schema(&self) -> &SchemaRef;

    /// Gives the rows that are wanted, and perhaps more, as they were at that moment, until `give`
    /// says that it wants no more.
    fn read(
        &self,
        at: &Snapshot,
        wanted: &Wanted,
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<()>;
}

/// Stored rows as DataFusion reads them.
#[derive(Debug)]
pub(crate) struct Partition<R> {
    db: Db,
    rows: Arc<R>,
    wanted: Wanted,
}

impl<R> Partition<R> {
    /// All rows.
    pub(crate) fn new(db: &Db, rows: Arc<R>) -> Partition<R> {
        Partition { db: db.clone(), rows, wanted: Wanted::ALL }
    }
}

impl<R: StoredRows> History for Partition<R> {
    fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    fn rows(&self, wanted: Wanted) -> Arc<dyn PartitionStream> {
        Arc::new(Partition { db: self.db.clone(), rows: Arc::clone(&self.rows), wanted })
    }
}

impl<R: StoredRows> PartitionStream for Partition<R> {
    fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (rows, db, wanted) = (Arc::clone(&self.rows), self.db.clone(), self.wanted.clone());
        let moment = context.session_config().get_extension::<Moment>();
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(self.rows.schema()), 2);
        let sender = stream.tx();
        stream.spawn_blocking(move || {
            let mut give = |batch| sender.blocking_send(Ok(batch)).is_ok();
            match moment {
                Some(moment) => rows.read(&moment.0, &wanted, &mut give),
                None => rows.read(&db.snapshot().map_err(external)?, &wanted, &mut give),
            }
        });
        stream.build()
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Gives the records that are wanted, some at a time.
fn each_chunk(
    log: &Tape,
    at: &Snapshot,
    wanted: &Wanted,
    mut give: impl FnMut(RecordSlice<'_>) -> Result<bool>,
) -> Result<()> {
    let (mut position, mut end) = (Seq::new(wanted.seqs.start), Seq::new(wanted.seqs.end));
    if let (true, Some(log)) = (wanted.since > Wanted::ALL.since, log.log()) {
        let since = at.position_at(log, Time::from_micros(wanted.since)).map_err(external)?;
        position = position.max(since);
    }
    if log.live().is_some() {
        // More may come as fast as it is read.
        end = end.min(log.bounds().map_err(external)?.end);
    }
    loop {
        let left = usize::try_from(end.since(position)).unwrap_or(usize::MAX);
        let records = log.read_at(at, position, left.min(BATCH_ROWS)).map_err(external)?;
        if records.is_empty() {
            return Ok(());
        }
        position = records.next();
        if !give(records.as_slice())? {
            return Ok(());
        }
    }
}

/// The history of a stream: the readable records of its Log.
#[derive(Debug)]
pub(crate) struct StreamRows {
    pub(crate) log: Tape,
    pub(crate) decoder: Decoder,
}

impl StoredRows for StreamRows {
    fn schema(&self) -> &SchemaRef {
        self.decoder.schema()
    }

    fn read(
        &self,
        at: &Snapshot,
        wanted: &Wanted,
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<()> {
        // What the oldest records left is gone where the Log has dropped them.
        let mut memory = Memory::default();
        let mut wanted = wanted.clone();
        if self.decoder.format().kind == FormatKind::SparkplugB {
            // Births say what later records mean.
            wanted = Wanted { seqs: 0..wanted.seqs.end, ..Wanted::ALL };
        }
        each_chunk(&self.log, at, &wanted, |records| {
            Ok(give(self.decoder.decode(records, &mut memory)?.rows))
        })
    }
}

/// The rows of a view.
#[derive(Debug)]
pub(crate) struct ViewRows {
    pub(crate) table: ViewTable,
    pub(crate) schema: SchemaRef,
}

impl StoredRows for ViewRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(
        &self,
        at: &Snapshot,
        _: &Wanted,
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<()> {
        let mut stored = at.iter(&self.table).map_err(external)?;
        loop {
            let rows = stored.by_ref().take(BATCH_ROWS).map(|row| row.map(|(_, cells)| cells));
            let rows = rows.collect::<Result<Vec<_>, _>>().map_err(external)?;
            let is_last = rows.len() < BATCH_ROWS;
            if !give(cells::batch_of(&self.schema, rows)?) || is_last {
                return Ok(());
            }
        }
    }
}

/// Any Log under its own name: its records as they are.
#[derive(Debug)]
pub(crate) struct LogRows {
    log: Tape,
    schema: SchemaRef,
}

impl LogRows {
    pub(crate) fn new(log: Log) -> LogRows {
        let zone = Some("UTC".into());
        let entries = Fields::from(vec![
            Field::new("keys", DataType::Utf8, false),
            Field::new("values", DataType::Utf8, true),
        ]);
        let entries = Field::new("entries", DataType::Struct(entries), false);
        let schema = Schema::new(vec![
            Field::new("_seq", DataType::Int64, false),
            Field::new("_time", DataType::Timestamp(TimeUnit::Microsecond, zone), false),
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, false),
            Field::new("headers", DataType::Map(Arc::new(entries), false), false),
        ]);
        LogRows { log: log.into(), schema: Arc::new(schema) }
    }

    /// Bytes that are no text are shown with replacement characters.
    fn rows(&self, records: RecordSlice<'_>) -> Result<RecordBatch> {
        let seqs = records.iter().map(|record| record.seq().get().cast_signed());
        let times = records.iter().map(|record| record.time().micros());
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let keys = records.iter().map(|record| String::from_utf8_lossy(record.key()));
        let values = records.iter().map(|record| String::from_utf8_lossy(record.value()));
        let mut headers = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for record in records {
            for (name, value) in record.headers() {
                headers.keys().append_value(name);
                headers.values().append_value(header_text(name, value));
            }
            headers.append(true)?;
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(seqs)),
            Arc::new(times),
            Arc::new(StringArray::from_iter_values(keys)),
            Arc::new(StringArray::from_iter_values(values)),
            Arc::new(headers.finish()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl StoredRows for LogRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(
        &self,
        at: &Snapshot,
        wanted: &Wanted,
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<()> {
        each_chunk(&self.log, at, wanted, |records| Ok(give(self.rows(records)?)))
    }
}

/// The broker writes numbers of one byte; the rest is text.
fn header_text(name: &str, value: &[u8]) -> String {
    match (name, value) {
        ("qos" | "retain", [number]) => number.to_string(),
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::StreamExt;

    use super::*;

    /// Rows that do not end, and who is told how many batches of them were read.
    #[derive(Debug)]
    struct Endless(SchemaRef, mpsc::SyncSender<usize>);

    impl StoredRows for Endless {
        fn schema(&self) -> &SchemaRef {
            &self.0
        }

        fn read(
            &self,
            _: &Snapshot,
            _: &Wanted,
            give: &mut dyn FnMut(RecordBatch) -> bool,
        ) -> Result<()> {
            let batches = (1..).take_while(|_| give(RecordBatch::new_empty(Arc::clone(&self.0))));
            let given = batches.count();
            self.1.send(given).map_err(external)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_drops_a_query_ends_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let (sender, ended) = mpsc::sync_channel(1);
        let rows = Arc::new(Endless(Arc::new(Schema::empty()), sender));
        let mut batches = Partition::new(&db, rows).execute(Arc::default());
        for _ in 0..10 {
            batches.next().await.unwrap().unwrap();
        }
        drop(batches);
        let given = tokio::task::block_in_place(|| ended.recv().unwrap());
        assert!((10..=12).contains(&given), "{given}");
    }
}
