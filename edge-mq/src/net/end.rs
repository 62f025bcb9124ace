//! Why the connection of a client ended.

use std::{fmt, io};

use crate::packet::ReasonCode;
use crate::session::Closing;

/// Why the loop of a connection ended, if not because the client closed it.
pub(super) enum End {
    Closing(Closing),
    /// The network is gone: nothing can be said any more.
    Gone,
}

impl From<Closing> for End {
    fn from(closing: Closing) -> End {
        End::Closing(closing)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            // A layer below MQTT got what it must not get.
            io::ErrorKind::InvalidData => Closing::Violation(ReasonCode::PROTOCOL_ERROR).into(),
            _ => End::Gone,
        }
    }
}

/// For the log: what happened, or the reason code by which the broker ended it.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closing(Closing::Goodbye { with_will: false }) => {
                f.write_str("client said goodbye")
            }
            End::Closing(Closing::Goodbye { with_will: true }) => {
                f.write_str("client said goodbye and wants its will")
            }
            End::Closing(Closing::Violation(code) | Closing::Ended(code)) => code.fmt(f),
            End::Gone => f.write_str("connection is lost"),
        }
    }
}
