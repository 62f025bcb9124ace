//! The in-process client: no socket, no codec, no copy of the payload.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::arena::Key;
use crate::hub::{Hub, Reply, TapRefused};
use crate::message::Message;
use crate::packet::{Property, ReasonCode};
use crate::shared::Shared;
use crate::store::LogSlot;
use crate::topic::Share;
use crate::{InvalidFilter, TopicFilter};

/// Publishes and subscribes inside the process; from [`Broker::local`](crate::Broker::local).
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use edge_mq::{Broker, Message};
/// let broker = Broker::builder().start().await?;
/// let local = broker.local();
/// let mut alarms = local.subscribe("alarm/#", 100).await?;
/// local.publish(Message::new("alarm/smoke".parse()?, "cellar")).await?;
/// assert_eq!(alarms.recv().await.unwrap().payload(), "cellar");
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LocalClient {
    shared: Arc<Shared>,
    /// Logs that get nothing of what it publishes, whatever rules say.
    without: Arc<[LogSlot]>,
}

/// Messages of one topic filter, from [`LocalClient::subscribe`]. Dropping it ends the
/// subscription.
#[derive(Debug)]
#[must_use]
pub struct LocalSubscription {
    shared: Arc<Shared>,
    key: Key,
}

/// Why [`LocalClient::publish`] published nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The broker was shut down or dropped.
    #[error("broker is closed")]
    Closed,
    /// The message is larger than [`Limits::packet_bytes`](crate::Limits::packet_bytes), or its
    /// correlation data than the 65,535 bytes of MQTT.
    #[error("message of {bytes} bytes is larger than {limit_bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// The commit stored nothing, so the message was not routed either; or there is no room for one
    /// more that is published later. Publish it again when the cause is gone.
    #[error("message was not stored ({reason})")]
    NotStored {
        /// What an MQTT 5.0 client would be told.
        reason: ReasonCode,
        /// What the store said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// What follows `$delayed/` is not a number of seconds within
    /// [`Limits::max_delay`](crate::Limits::max_delay), `/`, and a topic.
    #[error("topic asks for no delay that is taken")]
    InvalidDelay,
}

/// There is no room for one more message that is published later.
#[derive(Debug, thiserror::Error)]
#[error("{messages} messages wait to be published later")]
struct TooManyDelayed {
    messages: usize,
}

/// Why [`LocalClient::subscribe`] subscribed to nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The broker was shut down or dropped.
    #[error("broker is closed")]
    Closed,
    /// [`Limits::sessions`](crate::Limits::sessions) is reached.
    #[error("broker has {limit} sessions and takes no more")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The filter breaks the rules of MQTT.
    #[error("cannot subscribe")]
    Filter(#[from] InvalidFilter),
    /// Sharing is between clients.
    #[error("the application shares no subscription with clients: subscribe to the filter alone")]
    Shared,
}

impl LocalClient {
    pub(crate) fn new(shared: Arc<Shared>) -> LocalClient {
        LocalClient { shared, without: Arc::default() }
    }

    /// The same, but what it publishes goes past these Logs: what a bridge brings in does not go
    /// out over it again.
    #[cfg(feature = "bridge")]
    pub(crate) fn without(self, logs: Vec<LogSlot>) -> LocalClient {
        LocalClient { without: logs.into(), ..self }
    }

    /// Publishes a message. Returns when it is in the queues of its receivers; for a journaled
    /// topic that is after its commit. One to `$delayed/SECONDS/topic` is published later, and is on
    /// disk when this returns, if there is a database.
    ///
    /// # Errors
    /// When it was neither stored nor routed.
    ///
    /// # Cancel safety
    /// The message is published once this was polled for the first time, even if the future is
    /// dropped then.
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.check(&message)?;
        let (answer, answered) = oneshot::channel();
        // Whoever dropped the future does not want to know.
        let reply = Reply(Box::new(|outcome| drop(answer.send(outcome))));
        let taken = self.shared.decide(|hub, now, fx| {
            if hub.is_closed() {
                return Err(PublishError::Closed);
            }
            let published = hub.publish_local(message, Some(reply), &self.without, now, fx);
            published.map_err(|reason| not_delayed(reason, hub))
        });
        taken.result?;
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => {
                Err(PublishError::NotStored { reason: refused.code, source: refused.cause })
            }
            // The broker was dropped.
            Err(_) => Err(PublishError::Closed),
        }
    }

    /// Subscribes with QoS 2, beginning with the retained messages. At most `limit` messages
    /// wait to be received (at least one); when there are more, the oldest are dropped and
    /// counted, see [`LocalSubscription::dropped`].
    ///
    /// # Errors
    /// When there is no subscription.
    ///
    /// # Cancel safety
    /// Cancel safe: it never waits.
    pub async fn subscribe(
        &self,
        filter: impl AsRef<str>,
        limit: usize,
    ) -> Result<LocalSubscription, SubscribeError> {
        let filter = own_filter(filter.as_ref())?;
        let key = self.shared.decide(|hub, now, _| hub.tap(filter, limit, now)).result;
        let key = key.map_err(|refused| match refused {
            TapRefused::Closed => SubscribeError::Closed,
            TapRefused::Full => SubscribeError::Full { limit: self.shared.limits.sessions },
        })?;
        Ok(LocalSubscription { shared: Arc::clone(&self.shared), key })
    }

    fn check(&self, message: &Message) -> Result<(), PublishError> {
        let too_large = |bytes, limit_bytes| PublishError::TooLarge { bytes, limit_bytes };
        let (bytes, limit) = (message.encoded_bytes(), self.shared.limits.packet_bytes);
        if bytes > limit {
            return Err(too_large(bytes, limit));
        }
        let data = message.properties().find(|property| match property {
            Property::CorrelationData(data) => Some(data.len()),
            _ => None,
        });
        let limit = usize::from(u16::MAX);
        data.filter(|bytes| *bytes > limit).map_or(Ok(()), |bytes| Err(too_large(bytes, limit)))
    }
}

impl LocalSubscription {
    /// The next message; `None` once the broker is closed and all messages were received. On a
    /// message that was retained when the subscription began, [`Message::is_retained`] holds.
    ///
    /// # Cancel safety
    /// Cancel safe: no message is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Message> {
        poll_fn(|context| {
            let waker = context.waker();
            self.shared.decide(|hub, now, _| hub.poll_tap(self.key, waker, now)).result
        })
        .await
    }

    /// How many messages were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.shared.hub(|hub| hub.tap_dropped(self.key))
    }
}

/// Why a message is not published later.
fn not_delayed(reason: ReasonCode, hub: &Hub) -> PublishError {
    match reason {
        ReasonCode::QUOTA_EXCEEDED => {
            let source = Arc::new(TooManyDelayed { messages: hub.stats().delayed });
            PublishError::NotStored { reason, source }
        }
        _ => PublishError::InvalidDelay,
    }
}

/// A filter that is not shared: the application shares nothing with clients.
pub(crate) fn own_filter(filter: &str) -> Result<TopicFilter, SubscribeError> {
    let filter: TopicFilter = filter.parse()?;
    if filter.share() == Share::Nothing { Ok(filter) } else { Err(SubscribeError::Shared) }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        self.shared.hub(|hub| hub.end_tap(self.key));
    }
}
