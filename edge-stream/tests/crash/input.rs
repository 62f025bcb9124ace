//! Records that are the same again wherever a process went on: what the n-th of a Log says, its number
//! tells.

use std::ops::Range;

use edge_db::{Db, Entry, Log, Table, Time};
use serde::{Deserialize, Serialize};

use crate::append;

/// 2026 began, in milliseconds.
const NEW_YEAR: u64 = 1_767_225_600_000;
/// Each Log, and how many of its records there are for a second of event time.
const LOGS: [(&str, u64); 3] = [("readings_raw", 4), ("doors_raw", 2), ("strays_raw", 2)];
const DEVICES: u64 = 7;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % limit
    }
}

/// What a device is looked up in.
#[derive(Serialize, Deserialize)]
pub(crate) struct Room {
    floor: u8,
}

/// The Table of rooms, which stays as it is: a row is looked up when it is processed, and when that is
/// depends on the crashes.
pub(crate) fn rooms(db: &Db) -> Table<String, Room> {
    let rooms = db.table::<String, Room>("rooms").unwrap();
    let mut batch = db.batch();
    for n in 0..DEVICES - 2 {
        batch
            .insert(&rooms, &format!("d{n}"), &Room { floor: u8::try_from(n % 3).unwrap() })
            .unwrap();
    }
    batch.commit().unwrap();
    rooms
}

/// The Logs, and what is to come in them.
pub(crate) struct Input {
    db: Db,
    logs: Vec<Log>,
}

impl Input {
    pub(crate) fn new(db: &Db) -> Input {
        let logs = LOGS.iter().map(|(name, _)| db.log(name).unwrap()).collect();
        Input { db: db.clone(), logs }
    }

    /// How many seconds of event time are there.
    pub(crate) fn second(&self) -> u64 {
        self.logs[0].bounds().unwrap().end.get() / LOGS[0].1
    }

    /// Appends what is to come in so many seconds, to all Logs in one commit.
    pub(crate) fn feed(&mut self, seconds: u64) {
        let (from, until) = (self.second(), self.second() + seconds);
        let mut batch = self.db.batch();
        for (log, (name, rate)) in self.logs.iter().zip(LOGS) {
            numbers(log, from * rate..until * rate)
                .for_each(|number| batch.append(log, record(name, rate, number)));
        }
        batch.commit().unwrap();
    }

    /// A record in each Log that closes all windows.
    pub(crate) fn end(&mut self) {
        let time = NEW_YEAR + (self.second() + 3600) * 1000;
        let payload = format!(r#"{{"ts":{time},"device":"end","n":0,"temp":99}}"#);
        for log in &self.logs {
            append(&self.db, log, [Entry::new(payload.clone()).at(arrival(time))]);
        }
    }
}

/// All that are to come are of one commit, so a Log ends where the others do.
fn numbers(log: &Log, numbers: Range<u64>) -> Range<u64> {
    assert_eq!(log.bounds().unwrap().end.get(), numbers.start, "half a commit is there");
    numbers
}

fn arrival(millis: u64) -> Time {
    Time::from_micros(i64::try_from(millis * 1000).unwrap() + 500_000)
}

/// The record of this number. Those of `readings` and `doors` come up to 8 seconds late, and are
/// waited for; those of `strays` come later than that, from clocks that are years ahead, and as no rows.
fn record(log: &str, rate: u64, number: u64) -> Entry {
    let mut random = Random(number * 1_000_003 + rate + log.len() as u64);
    let clock = NEW_YEAR + 60_000 + number * 1000 / rate;
    let is_stray = log.starts_with("strays");
    let time = match is_stray {
        true if random.below(23) == 0 => clock + 1_000_000_000_000,
        true => clock - random.below(40_000),
        // Whole tenths of seconds, so that some have the same time.
        false => clock - random.below(80) * 100,
    };
    let payload = match random.below(17) {
        0 if is_stray => format!(r#"{{"ts":{time},"device":"d{number}","n":"many"}}"#),
        temp => {
            // Halves, which add up to the same in any order.
            let temp = if temp == 1 { "null".to_owned() } else { format!("{}.5", temp * 3) };
            let device = random.below(DEVICES);
            format!(r#"{{"ts":{time},"device":"d{device}","n":{number},"temp":{temp}}}"#)
        }
    };
    Entry::new(payload).key(format!("k{}", random.below(5))).at(arrival(clock))
}
