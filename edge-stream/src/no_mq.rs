//! What stands in for `mq` where the crate is built without a broker: there is nothing to join.

use crate::db::job::JobSpec;
use crate::engine::Engine;
use crate::error::SqlError;
use crate::topic::TopicPattern;

/// There is none.
#[derive(Debug)]
pub(crate) enum Publishing {}

impl Engine {
    pub(crate) async fn connect(
        &self,
        _name: &str,
        _topic: Option<&TopicPattern>,
        _spec: &JobSpec,
    ) -> Result<Option<Publishing>, SqlError> {
        Ok(None)
    }

    pub(crate) async fn disconnect(
        &self,
        _topic: Option<&TopicPattern>,
        _spec: &JobSpec,
    ) -> Result<(), SqlError> {
        Ok(())
    }
}
