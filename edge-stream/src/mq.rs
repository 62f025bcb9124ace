//! Topics: the journal rules of streams, and the publishers of sinks.

use std::time::Duration;

use edge_db::{Db, Entry, Log, Record, Seq};
use edge_mq::{LocalClient, Message, PublishError, QoS};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::db::blocking;
use crate::db::catalog::PUBLISHER;
use crate::db::job::JobSpec;
use crate::db::output::{Output, SinkOutput};
use crate::engine::{CaughtUpError, Engine};
use crate::error::SqlError;
use crate::topic::TopicPattern;

/// Messages between two commits of the position; as many are published twice after a crash.
const STEP_MESSAGES: usize = 1000;

/// The pause when the broker could not store a message, or the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// How far a publisher has come.
pub(crate) type Published = watch::Receiver<Seq>;

/// Publishes the rows of a sink, each at least once and in order. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) log: Log,
    pub(crate) published: Published,
    task: JoinHandle<()>,
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Publishing {
    fn start(db: Db, name: &str, sink: &SinkOutput, client: LocalClient) -> Publishing {
        let (position, published) = watch::channel(Seq::ZERO);
        let (log, errors) = (sink.log.clone(), sink.errors.clone());
        let publisher = Publisher { db, sink: name.to_owned(), log, errors, client, position };
        let log = sink.log.clone();
        Publishing { log, published, task: tokio::spawn(publisher.run()) }
    }
}

struct Publisher {
    db: Db,
    sink: String,
    log: Log,
    /// What can never be published.
    errors: Log,
    client: LocalClient,
    position: watch::Sender<Seq>,
}

/// Why a publisher pauses or ends.
enum Stopped {
    /// The broker is gone.
    Closed,
    Retry,
}

/// What became of one row.
enum Fate {
    Sent,
    /// It never will be.
    Refused(String),
}

impl Publisher {
    async fn run(self) {
        while let Err(Stopped::Retry) = self.publish_all().await {
            sleep(RETRY).await;
        }
    }

    /// Ends with an error only.
    async fn publish_all(&self) -> Result<(), Stopped> {
        let mut appended = self.log.watch();
        let log = self.log.clone();
        let cursor = blocking(move || log.cursor(PUBLISHER)).await.map_err(|_| Stopped::Closed)?;
        let cursor = cursor.map_err(|_| Stopped::Retry)?;
        let mut position = cursor.position().map_err(|_| Stopped::Retry)?;
        loop {
            self.position.send_replace(position);
            let (log, from) = (self.log.clone(), position);
            let records = blocking(move || log.read(from, STEP_MESSAGES)).await;
            let records = records.map_err(|_| Stopped::Closed)?.map_err(|_| Stopped::Retry)?;
            if records.is_empty() {
                appended.changed().await;
                continue;
            }
            let (mut batch, mut outcome) = (self.db.batch(), Ok(()));
            for record in &records {
                match self.publish(record).await {
                    Ok(Fate::Sent) => {}
                    Ok(Fate::Refused(reason)) => {
                        let entry = Entry::new(record.value().clone()).key(record.key().clone());
                        batch.append(&self.errors, entry.header("reason", reason));
                    }
                    Err(stopped) => {
                        outcome = Err(stopped);
                        break;
                    }
                }
                position = record.seq().next();
            }
            // A crash here publishes these once more, with the same numbers.
            batch.advance(&cursor, position);
            batch.commit_async().await.map_err(|_| Stopped::Retry)?;
            outcome?;
        }
    }

    async fn publish(&self, record: &Record) -> Result<Fate, Stopped> {
        let topic = std::str::from_utf8(record.key()).ok().and_then(|topic| topic.parse().ok());
        let Some(topic) = topic else {
            return Ok(Fate::Refused("its key is no topic".to_owned()));
        };
        let text =
            |text: &str| text.parse().expect("ASCII without control characters is MQTT text");
        let message = Message::new(topic, record.value().clone())
            .qos(QoS::AtLeastOnce)
            .user_property(text("stream"), text(&self.sink))
            .user_property(text("seq"), text(&record.seq().to_string()));
        match self.client.publish(message).await {
            Ok(()) => Ok(Fate::Sent),
            Err(PublishError::NotStored { .. }) => Err(Stopped::Retry),
            Err(error @ (PublishError::TooLarge { .. } | PublishError::InvalidDelay)) => {
                Ok(Fate::Refused(error.to_string()))
            }
            Err(_) => Err(Stopped::Closed),
        }
    }
}

impl Engine {
    /// Joins a stream or sink with the broker: a journal rule, or a publisher.
    pub(crate) async fn connect(
        &self,
        name: &str,
        topic: Option<&TopicPattern>,
        spec: &JobSpec,
    ) -> Result<Option<Publishing>, SqlError> {
        let (Some(broker), Some(topic)) = (self.broker(), topic) else { return Ok(None) };
        if let Output::Sink(sink) = &spec.output {
            let publishing = Publishing::start(self.db().clone(), name, sink, broker.local());
            return Ok(Some(publishing));
        }
        let filter =
            topic.filter().parse().expect("a topic with + at its named levels is a filter");
        broker.journal(filter, spec.log().name()).await?;
        Ok(None)
    }

    /// Takes back the journal rule that [`Engine::connect`] has set.
    pub(crate) async fn disconnect(
        &self,
        topic: Option<&TopicPattern>,
        spec: &JobSpec,
    ) -> Result<(), SqlError> {
        let (Some(broker), Some(topic)) = (self.broker(), topic) else { return Ok(()) };
        if let Output::Errors(_) = &spec.output {
            let filter = topic.filter().parse().expect("it was a filter when it was set");
            broker.unjournal(filter, spec.log().name()).await?;
        }
        Ok(())
    }

    /// Waits until the broker has all rows that sinks have now.
    pub(crate) async fn published(&self, deadline: Instant) -> Result<(), CaughtUpError> {
        for (sink, log, mut published) in self.publishers() {
            let end = log.bounds()?.end;
            let reached = timeout_at(deadline, published.wait_for(|position| *position >= end));
            if !matches!(reached.await, Ok(Ok(_))) {
                return Err(CaughtUpError::Unpublished { sink });
            }
        }
        Ok(())
    }
}
