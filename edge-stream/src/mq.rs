//! Topics: the messages of streams, into Logs or memory, and those of sinks.

use async_trait::async_trait;
use edge_db::{Batch, Entry, Log, Record};
use edge_mq::{LocalClient, Message, PublishError, QoS};

use crate::db::deliver::{Stopped, Target};
use crate::db::job::JobSpec;
use crate::db::output::Output;
use crate::db::output::sink::{TopicOutput, delivery_of};
use crate::db::tape::Tape;
use crate::engine::Engine;
use crate::error::{SqlError, chain};
use crate::topic::TopicPattern;

/// Publishes the rows of a sink.
struct Publisher {
    sink: String,
    /// What can never be published.
    errors: Log,
    client: LocalClient,
}

/// What became of one row.
enum Fate {
    Sent,
    /// It never will be.
    Refused(String),
}

#[async_trait]
impl Target for Publisher {
    async fn take(
        &mut self,
        records: &[Record],
        batch: &mut Batch,
    ) -> (usize, Result<(), Stopped>) {
        for (taken, record) in records.iter().enumerate() {
            match self.publish(record).await {
                Ok(Fate::Sent) => {}
                Ok(Fate::Refused(reason)) => {
                    let entry = Entry::new(record.value().clone()).key(record.key().clone());
                    batch.append(&self.errors, entry.header("reason", reason));
                }
                Err(stopped) => return (taken, Err(stopped)),
            }
        }
        (records.len(), Ok(()))
    }
}

impl Publisher {
    async fn publish(&self, record: &Record) -> Result<Fate, Stopped> {
        let topic = std::str::from_utf8(record.key()).ok().and_then(|topic| topic.parse().ok());
        let Some(topic) = topic else {
            return Ok(Fate::Refused("its key is no topic".to_owned()));
        };
        let text =
            |text: &str| text.parse().expect("ASCII without control characters is MQTT text");
        let (qos, is_retained) = delivery_of(record);
        let qos = match qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let message = Message::new(topic, record.value().clone())
            .qos(qos)
            .retain(is_retained)
            .user_property(text("stream"), text(&self.sink))
            .user_property(text("seq"), text(&record.seq().to_string()));
        match self.client.publish(message).await {
            Ok(()) => Ok(Fate::Sent),
            Err(error @ PublishError::NotStored { .. }) => Err(Stopped::Retry(chain(&error))),
            Err(error @ (PublishError::TooLarge { .. } | PublishError::InvalidDelay)) => {
                Ok(Fate::Refused(error.to_string()))
            }
            Err(_) => Err(Stopped::Closed),
        }
    }
}

impl Engine {
    /// Has the messages of a stream's topic stored in its Log, or kept in memory.
    pub(crate) async fn connect(
        &self,
        topic: Option<&TopicPattern>,
        spec: &JobSpec,
    ) -> Result<(), SqlError> {
        let (Some(broker), Some(topic)) = (self.broker(), topic) else { return Ok(()) };
        if let Output::Errors(_) = &spec.output {
            match spec.log() {
                Tape::Log(log) => {
                    let filter = topic.filter().parse();
                    let filter = filter.expect("a topic with + at its named levels is a filter");
                    broker.journal(filter, log.name()).await?;
                }
                Tape::Live(live) => {
                    let mut recording = live.recording.lock();
                    if recording.is_none() {
                        *recording = Some(broker.record(&live.records)?);
                    }
                    recording.iter().try_for_each(|recording| recording.add(topic.filter()))?;
                }
            }
        }
        Ok(())
    }

    /// What publishes the rows of a sink; `None` without a broker.
    pub(crate) fn publisher(&self, sink: &str, topic: &TopicOutput) -> Option<impl Target> {
        let client = self.broker()?.local();
        Some(Publisher { sink: sink.to_owned(), errors: topic.errors.clone(), client })
    }

    /// Takes back what [`Engine::connect`] has done.
    pub(crate) async fn disconnect(
        &self,
        topic: Option<&TopicPattern>,
        spec: &JobSpec,
    ) -> Result<(), SqlError> {
        let (Some(broker), Some(topic)) = (self.broker(), topic) else { return Ok(()) };
        if let Output::Errors(_) = &spec.output {
            match spec.log() {
                Tape::Log(log) => {
                    let filter = topic.filter().parse().expect("it was a filter when it was set");
                    broker.unjournal(filter, log.name()).await?;
                }
                Tape::Live(live) => {
                    let recording = live.recording.lock();
                    recording.iter().try_for_each(|recording| recording.remove(topic.filter()))?;
                }
            }
        }
        Ok(())
    }
}
