//! What a sink puts into the batch: records of a Log, in the format of the sink.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use edge_db::{Batch, Entry, Log};

use super::OutputError;
use crate::encode::Encoder;
use crate::topic::TopicPattern;

/// QoS of a message that says nothing of it.
const QOS: u8 = 1;

/// Where the rows of a sink go.
#[derive(Debug, Clone)]
pub(crate) struct SinkOutput {
    /// Where they lie: for good, or until they are where they go to.
    pub(crate) log: Log,
    pub(crate) encoder: Encoder,
    pub(crate) to: Destination,
}

/// Where rows go from the Log of the sink.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    /// Nowhere: the Log is what the statement asks for, and others may write to it.
    Log,
    Topic(TopicOutput),
    File(FileOutput),
    /// What the application calls so.
    Channel(String),
}

#[derive(Debug, Clone)]
pub(crate) struct FileOutput {
    /// Below the folder of the engine.
    pub(crate) path: String,
    /// The line that a new file begins with.
    pub(crate) header: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) struct TopicOutput {
    pub(crate) pattern: TopicPattern,
    /// The column of each named level.
    pub(crate) levels: Vec<usize>,
    pub(crate) qos: u8,
    pub(crate) is_retained: bool,
    /// Rows whose topic cannot be.
    pub(crate) errors: Log,
}

impl SinkOutput {
    /// Whether the Log belongs to the sink, and goes with it.
    pub(crate) fn owns_log(&self) -> bool {
        !matches!(self.to, Destination::Log)
    }

    pub(super) fn add(&self, batch: &mut Batch, rows: &RecordBatch) -> Result<(), OutputError> {
        let entries = self.encoder.payloads(rows)?.into_iter().map(Entry::new);
        match &self.to {
            Destination::Topic(topic) => topic.add(batch, &self.log, rows, entries),
            Destination::Log | Destination::File(_) | Destination::Channel(_) => {
                entries.for_each(|entry| batch.append(&self.log, entry));
                Ok(())
            }
        }
    }
}

impl TopicOutput {
    fn add(
        &self,
        batch: &mut Batch,
        log: &Log,
        rows: &RecordBatch,
        entries: impl Iterator<Item = Entry>,
    ) -> Result<(), OutputError> {
        let levels = self.levels.iter().map(|level| cast(rows.column(*level), &DataType::Utf8));
        let levels = levels.collect::<Result<Vec<_>, _>>()?;
        for (row, entry) in entries.enumerate() {
            let mut values = levels.iter().map(|level| {
                let level = level.as_string::<i32>();
                if level.is_null(row) { "" } else { level.value(row) }
            });
            match self.pattern.render(|_| values.next().unwrap_or_default()) {
                Ok(topic) => batch.append(log, self.addressed(entry.key(topic))),
                Err(error) => batch.append(&self.errors, entry.header("reason", error.to_string())),
            }
        }
        Ok(())
    }

    /// How it is to be published lies beside it, so that a sink that is replaced publishes what
    /// its predecessor has said as that would have.
    fn addressed(&self, mut entry: Entry) -> Entry {
        if self.qos != QOS {
            entry = entry.header("qos", vec![self.qos]);
        }
        if self.is_retained {
            entry = entry.header("retain", vec![1]);
        }
        entry
    }
}

/// QoS of a record in the Log of a sink, and whether its message is retained.
#[cfg(feature = "mq")]
pub(crate) fn delivery_of(record: &edge_db::Record) -> (u8, bool) {
    let qos = record.header("qos").and_then(|qos| qos.first().copied());
    (qos.unwrap_or(QOS), record.header("retain").is_some())
}
