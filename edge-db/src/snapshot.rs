//! The database at one moment.

use crate::view::View;

/// Everything as it was at one moment, over all tables, keyspaces, logs and cursors.
///
/// Later commits do not change what it shows, and the space of what they replace is not used
/// again while it lives. After [`Db::shutdown`](crate::Db::shutdown) it may answer or say that the
/// database is closed; it never answers wrongly.
#[derive(Debug)]
#[must_use]
pub struct Snapshot {
    view: View,
}

impl Snapshot {
    pub(crate) fn new(view: View) -> Snapshot {
        Snapshot { view }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }
}
