//! Transactions that are open at once, beside plain batches, settling and reopening: each sees the
//! moment it began in and its own writes, and is stored if nothing that it read has changed, and
//! only then; else it runs again. That is as if each had run alone at its commit: no lost update,
//! no write skew, no phantom. Transactions run on threads that take one step when they are told
//! to, so that every interleaving repeats. The model is a `BTreeMap` and its copies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "transaction_model/asks.rs"]
mod asks;
#[path = "transaction_model/attempt.rs"]
mod attempt;
#[path = "transaction_model/site.rs"]
mod site;

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use asks::{Answer, Ask, Step};
use attempt::{Attempt, Rows, apply};
use edge_db::{Commit, WriteError};
use proptest::collection::vec;
use proptest::prelude::*;
use site::Site;

#[derive(Debug, Clone)]
enum Action {
    /// One of the transactions takes a step; it begins if it is not open.
    Ask(usize, Ask),
    /// Batches go into the queue, and nobody waits for them yet.
    Issue(Vec<Vec<Step>>),
    Checkpoint,
    Reopen,
}

fn key() -> Range<u8> {
    0..6
}

/// So few that rows often have the same.
fn values() -> Range<u8> {
    0..2
}

fn range() -> impl Strategy<Value = Range<u8>> {
    (key(), key()).prop_map(|(from, to)| from.min(to)..from.max(to) + 1)
}

fn action() -> impl Strategy<Value = Action> {
    let ask = prop_oneof![
        5 => key().prop_map(Ask::Get),
        2 => range().prop_map(Ask::Range),
        5 => (key(), values()).prop_map(|(key, value)| Ask::Insert(key, value)),
        1 => key().prop_map(Ask::Remove),
        1 => Just(Ask::Append),
        4 => Just(Ask::Commit),
        1 => Just(Ask::GiveUp),
    ];
    let step = prop_oneof![
        4 => (key(), values()).prop_map(|(key, value)| Step::Insert(key, value)),
        1 => key().prop_map(Step::Remove),
        1 => range().prop_map(Step::RemoveRange),
        2 => (key(), values()).prop_map(|(key, more)| Step::Add(key, more)),
        1 => (key(), proptest::option::of(values())).prop_map(|(key, old)| Step::Expect(key, old)),
    ];
    prop_oneof![
        24 => (0usize..3, ask).prop_map(|(which, ask)| Action::Ask(which, ask)),
        4 => vec(vec(step, 1..3), 1..4).prop_map(Action::Issue),
        1 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
    ]
}

/// A transaction on its thread.
struct Open {
    asks: SyncSender<Ask>,
    answers: Receiver<Answer>,
    attempt: Attempt,
}

impl Open {
    fn begin(site: &Site, rows: &Rows) -> Open {
        let (asks, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let site = site.clone();
        std::thread::spawn(move || site.transact(&asked, &answer));
        assert_eq!(answers.recv().unwrap(), Answer::Began);
        Open { asks, answers, attempt: Attempt::begin(rows) }
    }

    fn ask(&self, ask: Ask) -> Answer {
        self.asks.send(ask).unwrap();
        self.answers.recv().unwrap()
    }
}

/// The database, the transactions that are open, and what it must hold.
struct Script {
    site: Site,
    open: [Option<Open>; 3],
    /// Plain batches that nobody has waited for, and whether they must be stored.
    flying: Vec<(Commit, bool)>,
    rows: Rows,
    appended: u64,
}

impl Script {
    fn ask(&mut self, which: usize, ask: Ask) {
        let mut open = match self.open[which].take() {
            Some(open) => open,
            None => {
                // It sees what is stored, not what flies.
                self.land();
                Open::begin(&self.site, &self.rows)
            }
        };
        match ask {
            Ask::GiveUp => return assert_eq!(open.ask(Ask::GiveUp), Answer::GivenUp),
            Ask::Commit if open.attempt.holds(&self.rows) => {
                // Behind all that flies.
                assert_eq!(open.ask(Ask::Commit), Answer::Stored);
                self.appended += open.attempt.store(&mut self.rows);
                return;
            }
            Ask::Commit => {
                assert_eq!(open.ask(Ask::Commit), Answer::Began, "stored over a conflict");
                open.attempt = Attempt::begin(&self.rows);
            }
            ask => {
                let expected = open.attempt.step(&ask);
                assert_eq!(open.ask(ask), expected);
            }
        }
        self.open[which] = Some(open);
    }

    fn issue(&mut self, steps: &[Step]) {
        let rows = apply(&self.rows, steps);
        self.flying.push((self.site.issue(steps), rows.is_some()));
        self.rows = rows.unwrap_or_else(|| std::mem::take(&mut self.rows));
    }

    fn land(&mut self) {
        for (commit, is_stored) in self.flying.drain(..) {
            match commit.wait() {
                Err(WriteError::Conflict { .. }) => assert!(!is_stored, "refused, and fits"),
                outcome => assert!(outcome.unwrap().seqs(&self.site.log).is_none() && is_stored),
            }
        }
        self.site.check(&self.rows, self.appended);
    }

    fn give_up_all(&mut self) {
        for which in 0..self.open.len() {
            if self.open[which].is_some() {
                self.ask(which, Ask::GiveUp);
            }
        }
        self.land();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn transactions_are_stored_as_if_each_ran_alone(
        actions in vec(action(), 1..100),
        has_index in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(dir.path(), has_index);
        let (open, flying) = ([None, None, None], Vec::new());
        let mut script = Script { site, open, flying, rows: Rows::new(), appended: 0 };
        for action in actions {
            match action {
                Action::Ask(which, ask) => script.ask(which, ask),
                Action::Issue(batches) => batches.iter().for_each(|steps| script.issue(steps)),
                Action::Checkpoint => script.site.db.checkpoint().unwrap(),
                Action::Reopen => {
                    script.give_up_all();
                    script.site.db.shutdown(Duration::from_secs(60)).unwrap();
                    script.site = Site::open(dir.path(), has_index);
                }
            }
        }
        script.give_up_all();
    }
}
