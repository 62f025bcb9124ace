//! What has to be on disk before it is acknowledged: batches of messages on their way there.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::hub::Journaled;
use crate::packet::ReasonCode;

/// Makes messages durable. The broker knows no more of its store than this; the feature `db` has
/// the one that writes to edge-db, tests have one that they hold back.
pub(crate) trait Journal: std::fmt::Debug + Send + Sync {
    /// Begins one commit of all these messages. Commits become durable in the order in which they
    /// get their place.
    fn commit(&self, messages: &[Journaled]) -> Committing;
}

/// A commit under way.
pub(crate) type Committing = Pin<Box<dyn Commit>>;

/// The outcome of [`Journal::commit`].
pub(crate) trait Commit: Future<Output = Result<(), Refused>> + Send {
    /// Whether commits that begin from now on come behind this one. It may have to be polled
    /// until there is room for it.
    fn has_place(&self) -> bool;
}

/// Why a commit stored nothing.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// What MQTT 5.0 clients are told.
    pub(crate) code: ReasonCode,
    pub(crate) cause: Arc<dyn std::error::Error + Send + Sync>,
}

/// The commits of one connection, oldest first.
pub(crate) struct Commits {
    /// There are no messages to commit without one.
    journal: Option<Arc<dyn Journal>>,
    under_way: VecDeque<(Committing, Vec<Journaled>)>,
    /// Not begun yet: the newest commit has no place, and these must not overtake it.
    held_back: VecDeque<Vec<Journaled>>,
    messages: usize,
}

impl Commits {
    pub(crate) fn new(journal: Option<Arc<dyn Journal>>) -> Commits {
        let (under_way, held_back) = (VecDeque::new(), VecDeque::new());
        Commits { journal, under_way, held_back, messages: 0 }
    }

    /// How many messages wait for their commit.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) fn len(&self) -> usize {
        self.under_way.len() + self.held_back.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Begins the commit of what one read brought.
    pub(crate) fn begin(&mut self, messages: Vec<Journaled>) {
        self.messages += messages.len();
        self.held_back.push_back(messages);
        self.begin_held_back();
    }

    fn begin_held_back(&mut self) {
        while self.under_way.back().is_none_or(|(newest, _)| newest.has_place()) {
            let Some(messages) = self.held_back.pop_front() else { return };
            let journal = self.journal.as_ref().expect("journal rules come from the journal");
            self.under_way.push_back((journal.commit(&messages), messages));
        }
    }

    /// The messages of the oldest commit, once it has ended; never, if there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped and called again.
    pub(crate) async fn next(&mut self) -> (Vec<Journaled>, Result<(), Refused>) {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<(Vec<Journaled>, Result<(), Refused>)> {
        let Some((commit, _)) = self.under_way.front_mut() else { return Poll::Pending };
        let polled = commit.as_mut().poll(context);
        let Poll::Ready(outcome) = polled else { return Poll::Pending };
        let (_, messages) = self.under_way.pop_front().expect("polled above");
        self.messages -= messages.len();
        self.begin_held_back();
        Poll::Ready((messages, outcome))
    }
}

#[cfg(test)]
mod tests;
