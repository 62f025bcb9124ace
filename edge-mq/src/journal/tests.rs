//! The commits of one connection, with a store whose queue is full as long as the test says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::*;
use crate::Message;
use crate::hub::{Effects, Hub};
use crate::limits::Limits;

/// Notes payloads in the order in which their commits got a place.
#[derive(Debug, Default)]
struct Store {
    full: AtomicBool,
    placed: Mutex<Vec<String>>,
}

struct Attempt {
    store: Arc<Store>,
    payloads: Vec<String>,
    placed: bool,
}

#[derive(Debug)]
struct Handle(Arc<Store>);

impl Journal for Handle {
    fn commit(&self, messages: &[Journaled]) -> Committing {
        let payload = |journaled: &Journaled| {
            String::from_utf8_lossy(journaled.message.payload()).into_owned()
        };
        let payloads = messages.iter().map(payload).collect();
        let mut attempt = Attempt { store: Arc::clone(&self.0), payloads, placed: false };
        attempt.place();
        Box::pin(attempt)
    }
}

impl Attempt {
    fn place(&mut self) {
        if !self.placed && !self.store.full.load(Ordering::Relaxed) {
            self.store.placed.lock().append(&mut self.payloads);
            self.placed = true;
        }
    }
}

impl Future for Attempt {
    type Output = Result<(), Refused>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.place();
        if self.placed { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Commit for Attempt {
    fn has_place(&self) -> bool {
        self.placed
    }
}

fn journaled(payload: &str) -> Vec<Journaled> {
    let mut hub = Hub::new(Limits::default());
    hub.add_rule(&"#".parse().unwrap(), 0);
    let mut fx = Effects::default();
    let message = Message::new("x".parse().unwrap(), payload.to_owned());
    hub.publish_local(message, crate::hub::tests::start(), &mut fx);
    fx.journal
}

fn ended(commits: &mut Commits) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match commits.poll_next(&mut context) {
        Poll::Ready((messages, outcome)) => Some((messages, outcome.unwrap())),
        Poll::Pending => None,
    })
    .count()
}

#[test]
fn commit_does_not_overtake_one_that_waits_for_room() {
    let store = Arc::new(Store::default());
    let mut commits = Commits::new(Some(Arc::new(Handle(Arc::clone(&store)))));
    commits.begin(journaled("1"));
    store.full.store(true, Ordering::Relaxed);
    commits.begin(journaled("2"));
    store.full.store(false, Ordering::Relaxed);
    // There is room again, but the second is still on its way.
    commits.begin(journaled("3"));
    commits.begin(journaled("4"));
    assert_eq!(*store.placed.lock(), ["1"]);
    assert_eq!((commits.len(), commits.messages()), (4, 4));
    assert_eq!(ended(&mut commits), 4);
    assert_eq!(*store.placed.lock(), ["1", "2", "3", "4"]);
    assert!(commits.is_empty() && commits.messages() == 0);
}
