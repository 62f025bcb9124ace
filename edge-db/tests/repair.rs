//! What repair keeps of a damaged database: everything that is not damaged and nothing that is not
//! what was written; and it drops what its plan says, no more and no less.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use std::fs;
use std::path::Path;

use edge_db::{DbBuilder, GapReason, OpenError, RepairError, Report, plan_repair};
use sample::{
    BLOCK, Files, Found, KEY, LONG, ROWS, Rng, SETTLED, altered, builder, builders, files, fill,
    filled, filled_by, look, write,
};

/// Repairs the damaged files; gives what was planned and what is there then.
fn repaired(dir: &Path, damaged: &Files) -> (Report, String, Found) {
    repaired_by(&builder(), dir, damaged)
}

fn repaired_by(builder: &DbBuilder, dir: &Path, damaged: &Files) -> (Report, String, Found) {
    let verify = |dir: &Path| builder.clone().verify(dir, |_| {}).unwrap();
    let (broken, new) = (dir.join("broken"), dir.join("new"));
    write(&broken, damaged);
    if new.exists() {
        fs::remove_dir_all(&new).unwrap();
    }
    let plan = builder.clone().plan_repair(&broken, |_| {}).unwrap();
    let (report, text) = (plan.report().clone(), plan.to_string());
    assert!(!new.exists(), "a plan writes nothing");
    plan.apply(&new, |_| {}).unwrap_or_else(|error| panic!("{text}{error:?}"));
    assert_eq!(&files(&broken), damaged, "repair changes nothing of what is damaged");
    let after = verify(&new);
    assert!(after.is_clean(), "{text}\nthen {:#?}", after.findings);
    let db = builder.clone().open(&new).unwrap();
    let found = look(&db).unwrap_or_else(|error| panic!("{text}{error:?}"));
    // It works: what is written from now on is there, and positions go on.
    fill(&db, 5000..5004);
    assert!(db.table::<u32, Vec<u8>>("rows").unwrap().get(&5003).unwrap().is_some());
    db.shutdown(LONG).unwrap();
    drop(db);
    let after = verify(&new);
    assert!(after.is_clean(), "{text}\nat last {:#?}", after.findings);
    (report, text, found)
}

fn all() -> Found {
    let fourth: Vec<u32> = (0..ROWS).step_by(4).collect();
    let each: Vec<u32> = (0..ROWS).collect();
    Found { rows: each.clone(), people: fourth.clone(), keys: fourth, records: each }
}

#[test]
fn whole_database_is_copied_whole() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled_by(&builder, &dir.path().join("db"));
        let (report, text, found) = repaired_by(&builder, dir.path(), &whole);
        assert!(report.is_clean());
        assert!(text.starts_with("nothing is wrong"), "{text}");
        assert_eq!(found, all());
    }
}

#[test]
fn damaged_record_ends_the_journal_as_the_plan_says() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled_by(&builder, &dir.path().join("db"));
        let segments = whole.iter().filter(|(name, _)| name.starts_with("journal"));
        let (name, bytes) = segments.max_by_key(|(_, bytes)| bytes[16..24].to_vec()).unwrap();
        let length =
            |at: usize| u32::from_le_bytes(*bytes[at + 8..].first_chunk().unwrap()) as usize;
        let revision = |at: usize| u64::from_le_bytes(*bytes[at + 16..].first_chunk().unwrap());
        let second = 64 + (32 + length(64)).next_multiple_of(8);
        let damaged = altered(&whole, name, |bytes| bytes[second + 40] ^= 1);
        let (report, text, found) = repaired_by(&builder, dir.path(), &damaged);
        let next = |at: usize| at + (32 + length(at)).next_multiple_of(8);
        let mut last = second;
        // Behind the last one may be what the segment held before.
        while revision(next(last)) == revision(last) + 1 {
            last = next(last);
        }
        let lost = format!("commits {} to {} are lost", revision(second), revision(last));
        assert_eq!(report.findings.len(), 1, "{text}");
        assert!(text.contains(&lost), "{lost}: {text}");
        // The last commit made the last row, each other one before.
        let kept = ROWS - u32::try_from(revision(last) - revision(second) + 1).unwrap();
        assert!(found.rows.iter().copied().eq(0..kept), "{kept}: {:?}", found.rows);
        assert!(found.records.iter().copied().eq(0..kept));
    }
}

/// Each block of the data file in turn.
#[test]
fn damaged_block_loses_what_lies_on_it_and_the_plan_counts_it() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled_by(&builder, &dir.path().join("db"));
        let everything = all();
        let (mut harmless, mut gaps) = (0, 0);
        let blocks = whole["data.pages"].len() / BLOCK;
        // Decrypting takes its time in a test.
        let tries = if whole.contains_key(KEY) { 20 } else { 60 };
        for block in (2..blocks).step_by(1 + blocks / tries) {
            let damaged = altered(&whole, "data.pages", |bytes| bytes[block * BLOCK + 58] ^= 4);
            let (report, text, found) = repaired_by(&builder, dir.path(), &damaged);
            let lost = |kept: &[u32], all: &[u32]| all.len() - kept.len();
            let lost_rows = lost(&found.rows, &everything.rows)
                + lost(&found.people, &everything.people)
                + lost(&found.keys, &everything.keys);
            let lost_records = lost(&found.records, &everything.records);
            assert!(lost_rows <= 70, "block {block}: {lost_rows} rows: {text}");
            gaps += usize::from(lost_records > 0);
            let said = report.findings.iter().find_map(|finding| {
                finding.what.strip_suffix(" entries that were stored are not there")?.parse().ok()
            });
            // Chunks, cursors, index entries and rows that expire are entries, too.
            assert!(said.unwrap_or(0) >= lost_rows, "block {block}: {lost_rows} rows: {text}");
            assert_eq!(said.is_none(), !text.contains("cannot be read"), "{text}");
            if found == everything {
                harmless += 1;
            } else {
                assert!(said.is_some(), "block {block}: {text}");
            }
        }
        assert!(
            harmless >= tries / 15 && gaps >= tries / 15,
            "{harmless} harmless, {gaps} gaps: the test sees nothing"
        );
    }
}

/// Pages that lead to others are few and everything hangs on them: what they lead to is known by
/// its own checksums.
#[test]
fn damaged_page_that_leads_to_others_loses_only_what_it_no_longer_leads_to() {
    let dir = tempfile::tempdir().unwrap();
    let whole = filled(&dir.path().join("db"));
    let data = &whole["data.pages"];
    let branches = (2 * BLOCK..data.len()).step_by(BLOCK).filter(|at| data[*at] == 2);
    let mut seen = 0;
    for at in branches {
        let keys = usize::from(u16::from_le_bytes(*data[at + 2..].first_chunk().unwrap()));
        let first_key = at + 8 + 28 * (keys + 1);
        let (_, text, found) =
            repaired(dir.path(), &altered(&whole, "data.pages", |bytes| bytes[first_key] ^= 1));
        assert_eq!(found, all(), "{text}");
        // One that is of use, and not left over from before.
        if text.contains("leads to others") {
            seen += 1;
            let last_child = at + 8 + 16 * keys;
            let damaged = altered(&whole, "data.pages", |bytes| bytes[last_child] ^= 1);
            let (_, text, found) = repaired(dir.path(), &damaged);
            assert!(text.contains("cannot be read"), "{text}");
            assert!(found.rows.len() + 40 > ROWS as usize, "{text}");
        }
    }
    assert!(seen > 0, "no page of the data file leads to others");
}

#[test]
fn lost_chunk_is_a_gap_that_readers_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let whole = filled(&dir.path().join("db"));
    // A record of the log is told from a row by the header in front of its value.
    let record = [&b"\x01n\x011\x90\x03"[..], &sample::value(200)].concat();
    let at = whole["data.pages"].windows(record.len()).rposition(|bytes| bytes == record).unwrap();
    let damaged = altered(&whole, "data.pages", |bytes| bytes[at] ^= 1);
    let (report, text, found) = repaired(dir.path(), &damaged);
    assert!(found.records.len() < ROWS as usize, "{text}");
    let db = builder().open(dir.path().join("new")).unwrap();
    let gaps = db.log("readings").unwrap().gaps().unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].reason, GapReason::Damaged);
    let (first, last) = (gaps[0].records.start, gaps[0].records.end.get() - 1);
    assert!(text.contains(&format!("records {first} to {last} are not there")), "{text}");
    assert!(!report.is_clean());
    let log = db.log("readings").unwrap();
    let before = log.read(log.bounds().unwrap().start, 10_000).unwrap();
    assert_eq!((before.next(), before.missing()), (gaps[0].records.start, None));
    let behind = log.read(before.next(), 10_000).unwrap();
    assert_eq!(behind.missing(), Some(gaps[0].records.clone()));
    assert_eq!(behind.iter().next().unwrap().seq(), gaps[0].records.end);
    db.shutdown(LONG).unwrap();
}

#[test]
fn missing_files_are_named_and_the_rest_is_kept() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled_by(&builder, &dir.path().join("db"));
        for name in whole.keys().filter(|name| *name != KEY) {
            let mut damaged = whole.clone();
            damaged.remove(name);
            let (report, text, found) = repaired_by(&builder, dir.path(), &damaged);
            match name.as_str() {
                "durable" => assert!(report.is_clean() && found == all(), "{text}"),
                "data.pages" => {
                    assert!(text.contains(name), "{text}");
                    // Names are lost with it, so rows are there under other ones.
                    assert!(text.contains("recovered-"), "{text}");
                }
                _ if found == all() => {}
                _ => {
                    assert!(!report.is_clean(), "{name}: {text}");
                    let kept = u32::try_from(found.rows.len()).unwrap();
                    assert!(kept >= SETTLED && found.rows.iter().copied().eq(0..kept), "{text}");
                }
            }
        }
    }
}

#[test]
fn segment_that_is_there_twice_loses_nothing() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let mut whole = filled_by(&builder, &dir.path().join("db"));
        let (name, bytes) = whole.iter().find(|(name, _)| name.starts_with("journal")).unwrap();
        let (name, bytes) = (name.clone(), bytes.clone());
        whole.insert("journal-00009999".to_owned(), bytes);
        let (_, text, found) = repaired_by(&builder, dir.path(), &whole);
        assert!(text.contains(&name) && text.contains("journal-00009999"), "{text}");
        assert_eq!(found, all());
    }
}

#[test]
fn everything_in_the_journal_outlives_the_data_file() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let db = builder.clone().open(dir.path().join("db")).unwrap();
        fill(&db, 0..ROWS);
        db.shutdown(LONG).unwrap();
        drop(db);
        let mut damaged = files(&dir.path().join("db"));
        damaged.remove("data.pages");
        let (_, text, found) = repaired_by(&builder, dir.path(), &damaged);
        assert_eq!(found, all(), "{text}");
    }
}

#[test]
fn repair_needs_a_new_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (path, full) = (dir.path().join("db"), dir.path().join("full"));
    filled(&path);
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter"), "").unwrap();
    for into in [&path, &full] {
        let plan = plan_repair(&path, |_| {}).unwrap();
        let error = plan.apply(into, |_| {}).unwrap_err();
        assert!(matches!(error, RepairError::NotEmpty { .. }), "{error}");
    }
}

/// The medium gets worse between the plan and the repair: what was not planned is not done.
#[test]
fn repair_that_would_drop_more_than_planned_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (path, new) = (dir.path().join("db"), dir.path().join("new"));
    let whole = filled(&path);
    let plan = plan_repair(&path, |_| {}).unwrap();
    let record = [&b"\x01n\x011\x90\x03"[..], &sample::value(200)].concat();
    let at = whole["data.pages"].windows(record.len()).rposition(|bytes| bytes == record).unwrap();
    let damaged = altered(&whole, "data.pages", |bytes| bytes[at] ^= 1);
    fs::write(path.join("data.pages"), &damaged["data.pages"]).unwrap();
    let error = plan.apply(&new, |_| {}).unwrap_err();
    assert!(matches!(error, RepairError::Changed), "{error}");
    assert!(matches!(builder().open(&new), Err(OpenError::Damaged { .. })));
}

/// Up to three damages at once, at random.
#[test]
fn whatever_the_damage_what_is_kept_is_what_was_written() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled_by(&builder, &dir.path().join("db"));
        for seed in 0..60 {
            let mut rng = Rng(seed);
            let mut damaged = whole.clone();
            let mut done = Vec::new();
            for _ in 0..=rng.below(3) {
                if damaged.values().any(|bytes| !bytes.is_empty()) {
                    let (what, files) = sample::damage(&mut rng, &damaged);
                    done.push(what);
                    damaged = files;
                }
            }
            if let Some(key) = whole.get(KEY) {
                // Without it nothing is kept.
                damaged.insert(KEY.to_owned(), key.clone());
            }
            let outcome = std::panic::catch_unwind(|| repaired_by(&builder, dir.path(), &damaged));
            assert!(outcome.is_ok(), "seed {seed}: {done:?}");
        }
    }
}
