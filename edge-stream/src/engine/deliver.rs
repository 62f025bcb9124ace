//! Sinks on their way from their Logs to where their rows go.

use edge_db::Cursor;
use tokio::time::Instant;

use super::{CaughtUpError, Engine};
use crate::db::blocking;
use crate::db::catalog::PUBLISHER;
use crate::db::deliver::callback::CallbackTarget;
use crate::db::deliver::file::FileTarget;
use crate::db::deliver::{Delivering, reach};
use crate::db::job::JobSpec;
use crate::db::output::Output;
use crate::db::output::sink::Destination;
use crate::error::SqlError;

impl Engine {
    /// Begins to carry the rows of a sink away; `None` where nobody is there to take them, and for
    /// what is no sink.
    pub(super) async fn deliver(&self, spec: &JobSpec) -> Result<Option<Delivering>, SqlError> {
        let Output::Sink(sink) = &spec.output else { return Ok(None) };
        if !sink.owns_log() {
            return Ok(None);
        }
        let log = sink.log.clone();
        // Before the first row, so that the Log keeps all of them for whoever takes them.
        let cursor = blocking(move || log.cursor(PUBLISHER)).await;
        let cursor = cursor.map_err(|_| SqlError::Closed)??;
        Ok(self.deliver_from(cursor, &spec.name, &sink.to))
    }

    fn deliver_from(&self, cursor: Cursor, name: &str, to: &Destination) -> Option<Delivering> {
        let (catalog, db) = (self.inner.catalog.clone(), self.inner.catalog.db.clone());
        match to {
            Destination::Log => None,
            Destination::Topic(topic) => {
                Some(Delivering::start(db, cursor, self.publisher(name, topic)?))
            }
            Destination::File(file) => {
                let folder = self.inner.files.clone()?;
                let target = FileTarget::new(catalog, name, folder, file.clone());
                Some(Delivering::start(db, cursor, target))
            }
            Destination::Channel(channel) => Some(match self.inner.callbacks.get(channel) {
                Some(callback) => {
                    let target = CallbackTarget::new(catalog, name, callback.clone());
                    Delivering::start(db, cursor, target)
                }
                None => Delivering::channel(cursor),
            }),
        }
    }

    /// Waits until all rows that sinks have now are where they go to.
    pub(super) async fn delivered(&self, deadline: Instant) -> Result<(), CaughtUpError> {
        let under_way: Vec<_> = {
            let objects = self.inner.objects.lock();
            let sinks = objects.by_name.iter();
            let sinks = sinks
                .filter_map(|(name, object)| Some((name.clone(), object.delivering.as_ref()?)));
            sinks.filter_map(|(name, sink)| Some((name, sink.watch()?))).collect()
        };
        for (sink, (log, reached)) in under_way {
            let reached = reach(reached, log.bounds()?.end, deadline).await;
            reached.map_err(|reached| CaughtUpError::Undelivered { sink, error: reached.error })?;
        }
        Ok(())
    }
}
