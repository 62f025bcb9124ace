//! Who, of all in this process, does a thing that only one may do.

use std::collections::HashSet;

use event_listener::Event;
use parking_lot::Mutex;

use crate::Db;

/// What is claimed now, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    taken: Mutex<HashSet<String>>,
    released: Event,
}

/// The right to do something that only one in this process may do with a database; from
/// [`Db::claim`]. Dropping it gives the right back.
#[derive(Debug)]
#[must_use = "dropping a claim gives it back"]
pub struct Claim {
    db: Db,
    what: String,
}

impl Db {
    /// Waits until nobody else in this process holds this claim, and takes it. Names are those of
    /// the callers; the database knows nothing of what they mean.
    ///
    /// # Cancel safety
    /// Nothing is taken when the future is dropped.
    pub async fn claim(&self, what: &str) -> Claim {
        let claims = self.claims();
        loop {
            // Before the look, so that a release in between is not missed.
            let released = claims.released.listen();
            if claims.taken.lock().insert(what.to_owned()) {
                return Claim { db: self.clone(), what: what.to_owned() };
            }
            released.await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let claims = self.db.claims();
        claims.taken.lock().remove(&self.what);
        claims.released.notify(usize::MAX);
    }
}
