//! Sinks on their way from their Logs to where their rows go.

use tokio::time::Instant;

use super::{CaughtUpError, Engine};
use crate::db::deliver::{Delivering, reach};
use crate::db::job::JobSpec;
use crate::db::output::Output;
use crate::db::output::sink::Destination;

impl Engine {
    /// Begins to carry the rows of a sink away; `None` where nobody is there to take them, and for
    /// what is no sink.
    pub(super) fn deliver(&self, spec: &JobSpec) -> Option<Delivering> {
        let Output::Sink(sink) = &spec.output else { return None };
        let (db, log) = (self.inner.catalog.db.clone(), sink.log.clone());
        match &sink.to {
            Destination::Log => None,
            Destination::Topic(topic) => {
                let publisher = self.publisher(&spec.name, topic)?;
                Some(Delivering::start(db, log, publisher))
            }
        }
    }

    /// Waits until all rows that sinks have now are where they go to.
    pub(super) async fn delivered(&self, deadline: Instant) -> Result<(), CaughtUpError> {
        let under_way: Vec<_> = {
            let objects = self.inner.objects.lock();
            let sinks = objects.by_name.iter();
            let sinks = sinks.filter_map(|(name, object)| {
                Some((name.clone(), object.delivering.as_ref()?.watch()))
            });
            sinks.collect()
        };
        for (sink, (log, reached)) in under_way {
            let reached = reach(reached, log.bounds()?.end, deadline).await;
            reached.map_err(|reached| CaughtUpError::Undelivered { sink, error: reached.error })?;
        }
        Ok(())
    }
}
