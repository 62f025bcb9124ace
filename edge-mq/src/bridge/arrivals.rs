//! Messages of the remote broker on their way into this one, oldest first.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::client::Receipt;
use crate::{LocalClient, Message, PublishError};

type Publishing = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>;

/// What became of an arrival.
#[derive(Debug)]
pub(super) enum Outcome {
    Published,
    /// It was not to be published, which has been counted.
    Left,
    Failed(PublishError),
}

/// Commits under way take turns to end, but acknowledgements leave in the order of arrival.
#[derive(Default)]
pub(super) struct Arrivals {
    under_way: VecDeque<(State, Receipt)>,
}

enum State {
    Publishing(Publishing),
    Through(Outcome),
}

impl Arrivals {
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Publishes a message behind those that came before.
    pub(super) fn publish(&mut self, local: &LocalClient, message: Message, receipt: Receipt) {
        let local = local.clone();
        let mut publishing: Publishing = Box::pin(async move { local.publish(message).await });
        // It takes its place when it is polled first. Who waits for it polls it again.
        let polled = publishing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let state = match polled {
            Poll::Ready(outcome) => State::Through(outcome.into()),
            Poll::Pending => State::Publishing(publishing),
        };
        self.under_way.push_back((state, receipt));
    }

    /// Acknowledges a message that is not published, behind those that came before.
    pub(super) fn leave(&mut self, receipt: Receipt) {
        self.under_way.push_back((State::Through(Outcome::Left), receipt));
    }

    /// The oldest one, once it is through; never, if there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped and called again.
    pub(super) async fn next(&mut self) -> (Outcome, Receipt) {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(Outcome, Receipt)> {
        if let Some((state, _)) = self.under_way.front_mut()
            && let State::Publishing(publishing) = state
            && let Poll::Ready(outcome) = publishing.as_mut().poll(context)
        {
            *state = State::Through(outcome.into());
        }
        let through = |(state, _): &mut (State, Receipt)| matches!(state, State::Through(_));
        match self.under_way.pop_front_if(through) {
            Some((State::Through(outcome), receipt)) => Poll::Ready((outcome, receipt)),
            _ => Poll::Pending,
        }
    }
}

impl From<Result<(), PublishError>> for Outcome {
    fn from(outcome: Result<(), PublishError>) -> Outcome {
        outcome.map_or_else(Outcome::Failed, |()| Outcome::Published)
    }
}
