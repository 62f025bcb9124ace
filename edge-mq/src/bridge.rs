//! Bridges to other brokers, in both directions, with a queue on disk.
//!
//! What a rule of [`Bridge::send`] matches is stored in the same commit as what journal rules match,
//! before it is acknowledged, and leaves the queue when the remote broker has acknowledged it. What
//! the remote broker sends is acknowledged once it is published here. So every QoS 1 message
//! arrives, and those of a topic in order, whatever happens to the link or to either process; after
//! a cut some arrive twice. A QoS 2 message crosses with QoS 1.
//!
//! ```
//! use edge_mq::{Broker, bridge::{Bridge, Priority, Rule}};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let dir = tempfile::tempdir()?;
//! let db = edge_db::Db::open(dir.path())?;
//! let broker = Broker::builder().db(&db).start().await?;
//! let bridge = Bridge::new("cloud")
//!     .remote("broker.example:1883")
//!     .client_id("gateway-7")
//!     .send(Rule::new("alarm/#".parse()?).remote_prefix("site-7/").priority(Priority::High))
//!     .send(Rule::new("office/#".parse()?).remote_prefix("site-7/"))
//!     .receive(Rule::new("command/#".parse()?).remote_prefix("site-7/"));
//! broker.add_bridge(bridge).await?;
//! assert!(!broker.bridges().await?[0].connected);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrivals;
mod client;
mod echo;
mod error;
mod gate;
mod link;
mod queue;
mod record;
mod route;
mod rule;
mod set;
mod settings;
mod status;
mod task;
mod tls;
mod window;

pub use error::{BridgeError, InvalidBridge};
pub use rule::{Priority, Rule};
pub(crate) use set::Bridges;
pub use settings::{Bridge, Queue, WhenFull};
pub use status::{BridgeStatus, Dropped};
pub use tls::{Tls, TlsError};
