//! Rows come out once and in order, however many commits they take, and whenever the power fails
//! between two of these.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use edge_db::{Db, Log, Seq};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::db::output::sink::{Destination, SinkOutput};
use crate::decode::format::Format;
use crate::encode::Encoder;

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(numbers);
    RecordBatch::try_from_iter([("n", Arc::new(numbers) as _)]).unwrap()
}

struct Sink {
    db: Db,
    state: Keyspace,
    output: Output,
    log: Log,
    out: u64,
}

impl Sink {
    fn new(db: Db) -> Sink {
        let log = db.log("out").unwrap();
        let encoder = Encoder::new(&Format::default(), &rows(0..0).schema(), &[]).unwrap();
        let sink = SinkOutput { log: log.clone(), encoder, to: Destination::Log };
        let state = db.keyspace("state").unwrap();
        Sink { db, state, output: Output::Sink(sink), log, out: 0 }
    }

    fn stage(&mut self, backlog: &mut Backlog) -> Batch {
        let mut batch = self.db.batch();
        backlog.put(&mut batch, &self.output, &mut self.out, &self.state).unwrap();
        batch
    }

    fn reopened(&self) -> Backlog {
        let stored = self.state.iter().unwrap().map(Result::unwrap);
        let stored = stored.map(|(key, value)| (key.to_vec(), value));
        let mut backlog = Backlog { rows_bytes: 1000, ..Backlog::default() };
        backlog.restore(stored).unwrap();
        backlog
    }

    fn said(&self) -> Vec<String> {
        let (mut said, mut from) = (Vec::new(), Seq::ZERO);
        loop {
            let records = self.log.read(from, usize::MAX).unwrap();
            if records.is_empty() {
                return said;
            }
            from = records.next();
            let values = records.iter().map(|one| String::from_utf8(one.value().to_vec()));
            said.extend(values.map(Result::unwrap));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn each_row_comes_out_once_and_in_order(
        steps in vec(0..10_000i64, 1..5),
        crashes in vec(any::<bool>(), 1..64),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = Sink::new(Db::open(dir.path()).unwrap());
        let mut crashes = crashes.into_iter().cycle();
        let (mut backlog, mut end) = (sink.reopened(), 0);
        for step in steps {
            backlog.extend([Delta::Rows(rows(end..end + step))]);
            end += step;
            loop {
                sink.stage(&mut backlog).commit().unwrap();
                if crashes.next() == Some(true) {
                    // One batch more was staged, and did not come to the disk.
                    drop(sink.stage(&mut backlog));
                    backlog = sink.reopened();
                }
                if !backlog.is_stored() {
                    break;
                }
            }
        }
        let expected: Vec<_> = (0..end).map(|number| format!(r#"{{"n":{number}}}"#)).collect();
        prop_assert_eq!(sink.said(), expected);
        prop_assert!(sink.state.iter().unwrap().next().is_none());
    }
}

#[test]
fn what_cannot_be_rows_is_an_error() {
    let key = stored_key(1);
    for (key, value) in [(key.clone(), ""), (key.clone(), "\u{2}x"), (key[..2].to_vec(), "\0")] {
        let restored = Backlog::default().restore([(key, Bytes::from_static(value.as_bytes()))]);
        assert!(restored.unwrap_err().to_string().contains("rows that wait to come out"));
    }
}
