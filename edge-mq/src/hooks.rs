//! What an application sees of its clients' packets, and changes in them.

mod rewrites;

use std::fmt;

pub use rewrites::{InvalidRewrite, Rewrites};

use crate::access::Client;
use crate::message::Message;
use crate::packet::{QoS, ReasonCode};
use crate::topic::TopicFilter;

/// Called on the way of clients' packets, see
/// [`BrokerBuilder::hooks`](crate::BrokerBuilder::hooks). What the application publishes itself comes
/// past none of it.
///
/// All are called in the middle of a packet's way: they must be quick, and take nothing from the
/// broker. Limits and [`Acl`](crate::access::Acl) are asked about what they return.
///
/// ```
/// use edge_mq::access::Client;
/// use edge_mq::hooks::Hooks;
/// use edge_mq::{Message, QoS, ReasonCode, TopicFilter};
///
/// /// Says which client a message came from, and tells each client what is meant for it.
/// #[derive(Debug)]
/// struct Stamp;
///
/// impl Hooks for Stamp {
///     fn connected(&self, client: Client<'_>) -> Vec<(TopicFilter, QoS)> {
///         let commands = format!("commands/{}", client.id.as_str());
///         commands.try_into().map(|filter| (filter, QoS::AtLeastOnce)).into_iter().collect()
///     }
///
///     fn publish(&self, client: Client<'_>, message: Message) -> Result<Option<Message>, ReasonCode> {
///         let key = "client".parse().expect("text");
///         Ok(Some(message.user_property(key, client.id.clone())))
///     }
/// }
/// ```
pub trait Hooks: fmt::Debug + Send + Sync + 'static {
    /// A client is connected. It is subscribed to what this returns as if it had asked for it, but
    /// learns nothing of it; retained messages come with a subscription that it did not have.
    fn connected(&self, client: Client<'_>) -> Vec<(TopicFilter, QoS)> {
        let _: Client<'_> = client;
        Vec::new()
    }

    /// The connection of a client has ended, for whatever reason.
    fn disconnected(&self, client: Client<'_>) {
        let _: Client<'_> = client;
    }

    /// A client subscribes: the filter that it gets instead, or the code in its SUBACK. Asked with
    /// UNSUBSCRIBE too, and then has to answer the same. Of a shared subscription it is the whole
    /// filter, which begins with `$share/`.
    ///
    /// # Errors
    /// A code above 0x7F.
    fn subscribe(
        &self,
        client: Client<'_>,
        filter: TopicFilter,
    ) -> Result<TopicFilter, ReasonCode> {
        let _: Client<'_> = client;
        Ok(filter)
    }

    /// A client publishes, or its will is published: the message that goes on instead. One to
    /// `$delayed/SECONDS/topic` is seen when it comes, and with the topic alone. With `None`
    /// it goes nowhere, and is acknowledged; with an error it is acknowledged with that code, or the
    /// connection of a client ends that has MQTT 3.1.1, which cannot be told.
    ///
    /// # Errors
    /// A code above 0x7F.
    fn publish(&self, client: Client<'_>, message: Message) -> Result<Option<Message>, ReasonCode> {
        let _: Client<'_> = client;
        Ok(Some(message))
    }
}
