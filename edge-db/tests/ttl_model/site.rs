//! The database under test: one table by handles whose rows live differently long, with what hangs
//! on it.

use std::ops::{Bound, Range};
use std::path::Path;
use std::time::Duration;

use edge_db::{Batch, Db, Index, Key as _, Log, Snapshot, Table};

use crate::model::{Key, Life, Model, Row, Rows, Step};

pub(crate) type People = Table<Key, Row>;

pub(crate) struct Site {
    pub(crate) db: Db,
    /// One for each [`Life`].
    tables: [People; 3],
    by_badge: Index<u8, Key, Row>,
    by_room: Index<u8, Key, Row>,
    changes: Log,
    /// How many tables this was settled with.
    settled: u64,
}

impl Site {
    pub(crate) fn open(dir: &Path) -> Site {
        let db = Db::builder().memory_bytes(0).journal_bytes(0).open(dir).unwrap();
        let forever = db.table::<Key, Row>("people").unwrap();
        let changes = db.log("changes").unwrap();
        forever.capture_into(&changes).unwrap();
        let none = forever.clone().expire_after(Duration::ZERO);
        let longest = forever.clone().expire_after(Duration::MAX);
        Site {
            by_badge: none.unique_index("badge", |(badge, _): &Row| *badge).unwrap(),
            by_room: longest.index("room", |(_, room): &Row| Some(*room)).unwrap(),
            tables: [none, longest, forever],
            changes,
            db,
            settled: 0,
        }
    }

    pub(crate) fn table(&self, life: Life) -> &People {
        &self.tables[life as usize]
    }

    pub(crate) fn batch(&self, steps: &[Step]) -> Batch {
        let any = self.table(Life::Forever);
        let mut batch = self.db.batch();
        for step in steps.iter().cloned() {
            match step {
                Step::Insert(life, key, row) => batch.insert(self.table(life), &key, &row).unwrap(),
                Step::Remove(key) => batch.remove(any, &key),
                Step::RemoveRange(range) => batch.remove_range(any, range),
                Step::Clear => batch.clear_table(any),
                Step::Move { life, key, room, or_insert } => {
                    batch.update(self.table(life), &key, move |old| match old {
                        Some((badge, _)) => Some((badge, room)),
                        None => or_insert.then_some((None, room)),
                    });
                }
                Step::Expect(key, row) => batch.expect(any, &key, row.as_ref()).unwrap(),
            }
        }
        batch
    }

    /// Settles, even if there was nothing to settle: what has expired leaves the file.
    pub(crate) fn settle(&mut self) {
        self.settled += 1;
        let mut batch = self.db.batch();
        batch.put(&self.db.keyspace("settled").unwrap(), [], self.settled.to_be_bytes());
        batch.commit().unwrap();
        self.db.checkpoint().unwrap();
    }

    /// All that is read by any handle is what lives.
    pub(crate) fn check(&self, model: &Model) {
        for table in &self.tables {
            check_table(table, &model.rows);
            let (count, live) = (table.count().unwrap(), model.rows.len());
            let most = live + model.expired.len();
            assert!((live as u64..=most as u64).contains(&count), "count {count} of {live}");
        }
        self.check_indexes(&model.rows);
        self.check_changes(model);
    }

    fn check_indexes(&self, rows: &Rows) {
        for badge in 0..6 {
            let found = self.by_badge.get(&badge).unwrap().map(Result::unwrap);
            let expected = rows.iter().filter(|(_, row)| row.0 == Some(badge));
            assert!(found.eq(expected.map(|(key, row)| (*key, *row))), "badge {badge}");
        }
        let mut expected: Vec<_> = rows.iter().map(|(key, row)| (*key, *row)).collect();
        expected.sort_by_key(|(key, row)| (row.1, *key));
        expected.retain(|(_, row)| row.1 < 3);
        let found = self.by_room.range(..3).unwrap().map(Result::unwrap);
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let back = self.by_room.range(..3).unwrap().rev().map(Result::unwrap);
        assert!(back.eq(expected.into_iter().rev()), "rooms backwards");
    }

    /// The change log has every put and every removal, in order; an expiry is none.
    fn check_changes(&self, model: &Model) {
        let mut found = Vec::new();
        let mut position = self.changes.bounds().unwrap().start;
        loop {
            let records = self.changes.read(position, 100).unwrap();
            if records.is_empty() {
                break;
            }
            position = records.next();
            found.extend(records.into_iter().map(|record| {
                let key = Key::decode(&mut record.key().as_ref()).unwrap();
                let is_put = record.header("change").unwrap() == "put";
                (key, is_put.then(|| row_in(record.value())))
            }));
        }
        assert_eq!(found, model.changes, "the change log tells another story");
    }
}

fn check_table(table: &People, rows: &Rows) {
    let all = |range: Range<Key>| rows.range(range).map(|(key, row)| (*key, *row));
    let least = (0, 0)..(9, 0);
    assert!(table.iter().unwrap().map(Result::unwrap).eq(all(least.clone())), "all rows");
    let back = table.iter().unwrap().rev().map(Result::unwrap);
    assert!(back.eq(all(least.clone()).rev()), "all rows backwards");
    assert_eq!(table.first().unwrap(), all(least.clone()).next());
    assert_eq!(table.last().unwrap(), all(least).next_back());
    for area in 0..3 {
        let found = table.prefix(&area).unwrap().map(Result::unwrap);
        assert!(found.eq(all((area, 0)..(area + 1, 0))), "rows of area {area}");
        let bounds = (Bound::Excluded((area, 1)), Bound::Included((area + 1, 1)));
        let found = table.range(bounds).unwrap().map(Result::unwrap);
        assert!(found.eq(all((area, 2)..(area + 1, 2))), "rows behind {area}, 1");
        for number in 0..4 {
            let key = (area, number);
            assert_eq!(table.get(&key).unwrap(), rows.get(&key).copied());
            assert_eq!(table.contains(&key).unwrap(), rows.contains_key(&key));
        }
    }
}

pub(crate) fn check_snapshot(snapshot: &Snapshot, table: &People, rows: &Rows) {
    let found: Rows = snapshot.iter(table).unwrap().map(Result::unwrap).collect();
    assert_eq!(&found, rows);
    let key = (1, 1);
    assert_eq!(snapshot.get(table, &key).unwrap(), rows.get(&key).copied());
}

/// Behind codec and version, and a time if it expires, are two numbers: bincode writes an option
/// as 0, or 1 and it.
fn row_in(stored: &[u8]) -> Row {
    let expires = stored[0] >= 128;
    match stored[if expires { 10 } else { 2 }..] {
        [0, room] => (None, room),
        [1, badge, room] => (Some(badge), room),
        _ => panic!("{stored:?} is no row"),
    }
}
