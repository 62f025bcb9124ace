//! The tree written anew, without the holes that deleting left in its file.
//!
//! Keys are copied in order into a second file, a step at a time. What settles between two steps
//! goes into both: into the new one what lies in front of the place up to which it is copied. In the
//! end the new file takes the name of the old one; views of that one read on, and its space is free
//! when the last of them is gone.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use redb::{Database, WriteTransaction};

use super::health::Health;
use super::{FILE, SharedError, TREE, Tree, UNBORN, guarded, open_file};
use crate::error::StoreError;
use crate::memory::MemoryTable;
use crate::space::Space;

/// Copied at once: what settles waits no longer than for this.
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// A tree that is being written.
pub(crate) struct Compaction {
    database: Database,
    transaction: WriteTransaction,
    health: Arc<Health>,
    /// Every key in front of this one is there; `None` when all are.
    copied_to: Option<Vec<u8>>,
}

impl std::fmt::Debug for Compaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compaction").field("copied_to", &self.copied_to).finish_non_exhaustive()
    }
}

impl Compaction {
    fn check(&self) -> Result<(), StoreError> {
        self.health.check().map_err(|error| StoreError::new("compact", SharedError(error)))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.copied_to.is_none()
    }
}

fn fail(error: impl Into<redb::Error>) -> StoreError {
    StoreError::new("compact", error.into())
}

fn refused(error: io::Error) -> StoreError {
    StoreError::new("compact", error)
}

impl Tree {
    /// Begins a second file.
    pub(crate) fn begin_compaction(&self) -> Result<Compaction, StoreError> {
        guarded("compact", || {
            let health = Arc::new(Health::new(self.on_failed_read.clone()));
            let file = self.disk.create(UNBORN).map_err(refused)?;
            let database = open_file(file, &self.seal, self.cache_bytes, false, &health)?;
            let mut transaction = database.begin_write().map_err(fail)?;
            transaction.set_quick_repair(true);
            Ok(Compaction { database, transaction, health, copied_to: Some(Vec::new()) })
        })
    }

    /// Copies the next few megabytes.
    pub(crate) fn copy_some(&self, to: &mut Compaction) -> Result<(), StoreError> {
        let Some(from) = to.copied_to.take() else { return Ok(()) };
        guarded("compact", || {
            let view = self.view()?;
            let mut table = to.transaction.open_table(TREE).map_err(fail)?;
            let mut end = table.upper_bound_mut(Bound::<&[u8]>::Unbounded).map_err(fail)?;
            let mut bytes = 0;
            for entry in view.range(Bound::Included(&from), Bound::Unbounded)? {
                let entry = entry?;
                if bytes >= STEP_BYTES {
                    to.copied_to = Some(entry.key().to_vec());
                    break;
                }
                bytes += entry.key().len() + entry.value().len();
                end.insert_before(entry.key(), entry.value()).map_err(fail)?;
            }
            end.close().map_err(fail)?;
            drop(table);
            to.check()
        })
    }

    /// Writes into the second file what has just settled in the first.
    pub(crate) fn settle_beside(
        &self,
        to: &mut Compaction,
        table: &MemoryTable,
    ) -> Result<(), StoreError> {
        guarded("compact", || {
            let mut tree = to.transaction.open_table(TREE).map_err(fail)?;
            let upto = to.copied_to.as_deref();
            super::write_table(&mut tree, table, upto, || Ok(())).map(drop)?;
            drop(tree);
            to.check()
        })
    }

    /// Has the second file take the place of the first.
    pub(crate) fn finish_compaction(&mut self, done: Compaction) -> Result<(), StoreError> {
        let settled = self.view()?.settled()?;
        let weight = self.weight;
        let finished = guarded("compact", || {
            let Compaction { database, transaction, health, .. } = done;
            {
                let mut tree = transaction.open_table(TREE).map_err(fail)?;
                tree.insert(Space::SETTLED.prefix().as_slice(), settled.encode().as_slice())
                    .map_err(fail)?;
            }
            transaction.commit().map_err(fail)?;
            health.check().map_err(|error| StoreError::new("compact", SharedError(error)))?;
            // A crash before this leaves the old file, one after it the old one or the new one,
            // and both have the same.
            self.disk.rename(UNBORN, FILE).map_err(refused)?;
            self.owes_names = true;
            self.replace_handle(database, health);
            // Nothing was or will be written to the file that views of these read.
            self.before.clear();
            Ok(())
        });
        finished.inspect_err(|_| drop(self.disk.remove(UNBORN)))?;
        self.weigh(weight);
        Ok(())
    }

    /// Gives up; the file as it was goes on.
    pub(crate) fn abandon_compaction(&self, undone: Compaction) {
        // redb would commit when it is dropped.
        undone.health.fail(io::Error::other("given up"));
        drop(undone);
        // What stays is removed at the next open.
        drop(self.disk.remove(UNBORN));
    }
}
