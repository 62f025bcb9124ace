//! A log in memory is read as any log, holds no more than it may, and tells what it has dropped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use edge_db::{Db, Entry, MemoryLog, Seq, Time};
use proptest::collection::vec;
use proptest::prelude::*;

fn entry(number: u64, len: usize) -> Entry {
    let value = vec![u8::try_from(number % 251).unwrap(); len];
    let entry = Entry::new(value).key(format!("k{number}")).header("client", format!("c{number}"));
    entry.header("qos", vec![1]).at(Time::from_micros(number.cast_signed()))
}

#[test]
fn it_is_read_as_a_log_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let (stored, log) = (db.log("l").unwrap(), MemoryLog::new(1 << 20));
    for number in 0..300 {
        let entry = entry(number, usize::try_from(number).unwrap());
        stored.append(entry.clone()).unwrap();
        assert_eq!(log.append(&entry), Seq::new(number));
        // Readers in between change nothing.
        if number % 7 == 0 {
            assert_eq!(log.read(Seq::new(number), 1).len(), 1);
        }
    }
    assert_eq!(log.bounds(), stored.bounds().unwrap());
    for from in [0, 1, 6, 7, 8, 250, 299, 300, 400] {
        for most in [0, 1, 5, 1000] {
            let (is, expected) =
                (log.read(Seq::new(from), most), stored.read(Seq::new(from), most).unwrap());
            assert_eq!((is.next(), is.missing()), (expected.next(), None), "{from} {most}");
            assert!(is.iter().eq(expected.iter()), "{from} {most}");
            assert!(is.into_iter().eq(expected), "{from} {most}");
        }
    }
}

#[test]
fn who_was_read_is_dropped_while_its_records_are_looked_at() {
    let log = MemoryLog::new(4 << 10);
    log.append(&entry(0, 10));
    let records = log.read(Seq::ZERO, 1);
    for number in 1..1000 {
        log.append(&entry(number, 10));
    }
    assert!(log.bounds().start > Seq::new(900));
    assert_eq!(records.get(0).unwrap().key(), b"k0");
    let rest = log.read(Seq::new(1), 1000);
    assert_eq!(rest.missing(), Some(Seq::new(1)..log.bounds().start));
    assert_eq!(rest.next(), log.bounds().end);
}

#[test]
fn newest_record_stays_however_large_it_is() {
    let log = MemoryLog::new(1 << 10);
    for number in 0..5 {
        log.append(&entry(number, 10_000));
        assert_eq!(log.bounds(), Seq::new(number)..Seq::new(number + 1));
        assert_eq!(log.read(log.bounds().start, 9).get(0).unwrap().value().len(), 10_000);
    }
    log.set_limit_bytes(1 << 20);
    for number in 5..10 {
        log.append(&entry(number, 10_000));
    }
    assert_eq!(log.bounds(), Seq::new(4)..Seq::new(10));
}

#[test]
fn who_waits_is_woken_by_what_is_appended() {
    let log = MemoryLog::new(1 << 10);
    let mut watch = log.watch();
    let reader = std::thread::spawn(move || watch.wait(std::time::Duration::from_secs(60)));
    log.append(&entry(0, 1));
    assert!(reader.join().unwrap());
}

proptest! {
    /// Against all that was ever appended: what is read follows on, and little more than the limit is kept.
    #[test]
    fn limit_holds_and_nothing_goes_untold(
        lens in vec((0usize..400, any::<bool>()), 1..400),
        limit in 2_000usize..40_000,
    ) {
        let log = MemoryLog::new(limit);
        let mut position = Seq::ZERO;
        for (number, (len, is_read)) in (0u64..).zip(&lens) {
            log.append(&entry(number, *len));
            // A chunk that is being filled, and the newest one, which stays.
            prop_assert!(log.bytes() <= limit + 2_000, "{} of {limit}", log.bytes());
            if *is_read {
                let (from, bounds) = (position, log.bounds());
                let records = log.read(from, 10);
                let first = from.max(bounds.start);
                prop_assert_eq!(records.missing(), (from < first).then_some(from..first));
                for (seq, record) in (first.get()..).zip(&records) {
                    prop_assert_eq!(record.seq().get(), seq);
                    prop_assert_eq!(record.value().len(), lens[usize::try_from(seq).unwrap()].0);
                    let client = format!("c{seq}");
                    prop_assert_eq!(record.header("client"), Some(client.as_bytes()));
                    prop_assert_eq!(record.time().micros(), seq.cast_signed());
                }
                prop_assert_eq!(records.len() as u64, bounds.end.since(first).min(10));
                position = records.next();
            }
        }
    }
}
