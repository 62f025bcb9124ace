//! Why a bridge was not added, changed or removed.

use crate::db::JournalError;
use crate::{InvalidFilter, InvalidTopic};

/// Why a bridge is as it was before the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The settings mean nothing. Nothing was done.
    #[error("bridge `{name}` cannot be as it is set")]
    Invalid {
        /// The bridge.
        name: String,
        /// What is wrong.
        source: InvalidBridge,
    },
    /// There is a bridge of this name. [`Broker::replace_bridge`](crate::Broker::replace_bridge)
    /// changes it.
    #[error("there is a bridge `{name}` already")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no bridge of this name.
    #[error("there is no bridge `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Another call changes this bridge. Try again when it is through.
    #[error("bridge `{name}` is being changed by another call")]
    Busy {
        /// The name.
        name: String,
    },
    /// The queue could not be opened, read or removed.
    #[error("cannot use the queue of bridge `{name}`")]
    Queue {
        /// The bridge.
        name: String,
        /// What the database said; [`JournalError::NoDb`] if the broker has none.
        source: JournalError,
    },
    /// The broker was shut down, or its runtime is.
    #[error("broker is closed")]
    Closed,
}

/// What is wrong with the settings of a [`Bridge`](super::Bridge).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBridge {
    /// The name stands in topics, and in the names of Logs.
    #[error("a name has 1 to 64 letters, digits, `-`, `_` and `.`")]
    Name,
    /// The remote broker must know it by something.
    #[error("a client identifier is an MQTT string of at least one character")]
    ClientId,
    /// There is nowhere to connect to.
    #[error("no remote address is given")]
    NoRemote,
    /// An address is host and port.
    #[error("remote address `{address}` is not `host:port`")]
    Remote {
        /// What was given.
        address: String,
    },
    /// There is nothing to send or to receive.
    #[error("neither what to send nor what to receive is given")]
    NoRule,
    /// A prefix stands in topics.
    #[error("prefix `{prefix}` contains a wildcard")]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// Prefix and filter together are no topic filter.
    #[error("`{filter}` is no topic filter")]
    Filter {
        /// Both.
        filter: String,
        /// What is wrong.
        source: InvalidFilter,
    },
    /// A bridge takes no part in shared subscriptions.
    #[error("`{filter}` is shared, which a bridge cannot be")]
    Shared {
        /// The filter.
        filter: String,
    },
    /// The state is published to a topic.
    #[error("`{topic}` is no topic to publish the state to")]
    StateTopic {
        /// What was given.
        topic: String,
        /// What is wrong.
        source: InvalidTopic,
    },
}
