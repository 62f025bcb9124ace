//! What stands in for `mq` where the crate is built without a broker: there is nothing to join.

use async_trait::async_trait;
use edge_db::{Batch, Record};

use crate::db::deliver::{Stopped, Target};
use crate::db::job::JobSpec;
use crate::db::output::sink::TopicOutput;
use crate::engine::Engine;
use crate::error::SqlError;
use crate::topic::TopicPattern;

/// There is none.
enum Publisher {}

#[async_trait]
impl Target for Publisher {
    async fn take(&mut self, _: &[Record], _: &mut Batch) -> (usize, Result<(), Stopped>) {
        match *self {}
    }
}

impl Engine {
    pub(crate) async fn connect(
        &self,
        _topic: Option<&TopicPattern>,
        _spec: &JobSpec,
    ) -> Result<(), SqlError> {
        Ok(())
    }

    pub(crate) fn publisher(&self, _sink: &str, _topic: &TopicOutput) -> Option<impl Target> {
        None::<Publisher>
    }

    pub(crate) async fn disconnect(
        &self,
        _topic: Option<&TopicPattern>,
        _spec: &JobSpec,
    ) -> Result<(), SqlError> {
        Ok(())
    }
}
