//! Which records are rows, and what stands in their columns.

mod hostile;

use arrow::datatypes::{DataType, Field, TimeUnit};
use edge_db::{Db, Entry, Records, Seq, Time};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn schema() -> SchemaRef {
    stream_schema(&[
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("room", DataType::Utf8, true),
        Field::new("temp", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("n", DataType::Int32, true),
        Field::new("on", DataType::Boolean, true),
    ])
}

fn decoder() -> Decoder {
    of(&Format::default())
}

fn of(format: &Format) -> Decoder {
    Decoder::new(&schema(), Some(&"office/{room}".parse().unwrap()), Some(0), format).unwrap()
}

/// Records as a Log gives them back.
fn records(entries: impl IntoIterator<Item = Entry>) -> Records {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("log").unwrap();
    let mut batch = db.batch();
    entries.into_iter().for_each(|entry| batch.append(&log, entry));
    batch.commit().unwrap();
    log.read(Seq::ZERO, usize::MAX).unwrap()
}

fn decoded(decoder: &Decoder, records: RecordSlice<'_>) -> Decoded {
    decoder.decode(records, &mut Memory::default()).unwrap()
}

fn entry(payload: &str) -> Entry {
    Entry::new(payload.to_owned()).key("office/lab")
}

#[test]
fn columns_come_from_payload_topic_and_headers() {
    let entry = entry(r#"{"ts":"2026-01-01T00:00:01.5","temp":21.5,"name":7,"more":[1]}"#);
    let entry = entry.header("qos", vec![1]).header("client", "dev-1").at(Time::from_micros(5));
    let decoded = decoded(&decoder(), records([entry]).as_slice());
    assert_eq!(decoded.rejected, []);
    let text = arrow::util::pretty::pretty_format_batches(&[decoded.rows]).unwrap().to_string();
    let row = text.lines().nth(3).unwrap().split('|').map(str::trim).collect::<Vec<_>>().join("|");
    let expected =
        "|2026-01-01T00:00:01.500|lab|21.5|7|||office/lab|1970-01-01T00:00:00.000005Z|0|1|dev-1|";
    assert_eq!(row, expected);
}

#[test]
fn types_are_taken_as_people_write_them() {
    let table = [
        (r#"{"ts":"2026-01-01T00:00:00"}"#, true),
        (r#"{"ts":"2026-01-01 00:00:00"}"#, true),
        (r#"{"ts":"2026-01-01T00:00:00Z"}"#, true),
        (r#"{"ts":"2026-01-01T02:00:00+02:00"}"#, true),
        (r#"{"ts":1767225600000000}"#, true),
        ("  {\"ts\":1}\r\n", true),
        (r#"{"ts":1,"temp":"21.5"}"#, true),
        (r#"{"ts":1,"temp":21}"#, true),
        (r#"{"ts":1,"temp":null}"#, true),
        (r#"{"ts":1,"name":true}"#, true),
        (r#"{"ts":1,"n":3}"#, true),
        (r#"{"ts":1,"n":"3"}"#, true),
        (r#"{"ts":1,"n":99999999999}"#, false),
        (r#"{"ts":1,"temp":"warm"}"#, false),
        (r#"{"ts":1,"temp":[1]}"#, false),
        (r#"{"ts":"yesterday"}"#, false),
        (r#"{"ts":null}"#, false),
        (r#"{}"#, false),
        (r#"{"ts":1"#, false),
        (r#"{"ts":1}}"#, false),
        (r#"{"ts":1},"#, false),
        (r#"{"ts":1} {"ts":2}"#, false),
        (r#"{"ts":"1767225600"}"#, true),
        (r#"{"ts":1767225600.25}"#, true),
        (r#"{"ts":1,"temp":"2.15e1"}"#, true),
        (r#"{"ts":1,"temp":" 21.5 "}"#, true),
        (r#"{"ts":1,"temp":true}"#, true),
        (r#"{"ts":1,"n":1e3}"#, true),
        (r#"{"ts":1,"n":"1e3"}"#, true),
        (r#"{"ts":1,"n":3.0}"#, true),
        (r#"{"ts":1,"on":1}"#, true),
        (r#"{"ts":1,"on":"false"}"#, true),
        (r#"{"ts":1,"on":2}"#, false),
        (r#"{"ts":1,"on":"maybe"}"#, false),
        (r#"{"ts":1,"name":"[[[[{{{{\"[["}"#, true),
        ("null", false),
        ("1", false),
        ("", false),
        ("\u{0}", false),
    ];
    for (payload, is_row) in table {
        let decoded = decoded(&decoder(), records([entry(payload)]).as_slice());
        assert_eq!(decoded.rows.num_rows() == 1, is_row, "{payload}: {:?}", decoded.rejected);
    }
}

#[test]
fn times_outside_the_calendar_are_no_rows() {
    let format = Format { times: time::TimeFormat::Micros, ..Format::default() };
    let table = [
        (253_402_300_799_999_999i64, true),
        (253_402_300_800_000_000, false),
        (-62_135_596_800_000_000, true),
        (-62_135_596_800_000_001, false),
        (8_400_000_000_000_000_000, false),
    ];
    for (micros, is_row) in table {
        let records = records([entry(&format!(r#"{{"ts":{micros}}}"#))]);
        let decoded = decoded(&of(&format), records.as_slice());
        assert_eq!(decoded.rows.num_rows() == 1, is_row, "{micros}: {:?}", decoded.rejected);
    }
}

#[test]
fn reasons_name_the_column_and_show_the_value() {
    let table = [
        (r#"{"ts":1,"temp":"warm"}"#, r#"column `temp` is DOUBLE, and the record has `"warm"`"#),
        (r#"{"ts":1,"n":99999999999}"#, "column `n` is INTEGER, and the record has `99999999999`"),
        (r#"{"ts":"noon"}"#, r#"column `ts` is TIMESTAMP, and the record has `"noon"`"#),
        (r#"{"ts":1,"on":[2]}"#, "column `on` is BOOLEAN, and the record has `[2]`"),
        ("[1]", "expected one object, found `[1]`"),
    ];
    for (payload, reason) in table {
        let decoded = decoded(&decoder(), records([entry(payload)]).as_slice());
        assert_eq!(decoded.rejected[0].reason, reason);
    }
}

#[test]
fn other_topics_and_bytes_are_no_rows() {
    let good = r#"{"ts":1}"#;
    let entries = [
        entry(good),
        Entry::new(good).key("office/lab/climate"),
        Entry::new(good).key(vec![0xFF]),
        Entry::new(vec![0xFF, 0xFE]).key("office/lab"),
        Entry::new([br#"{"ts":1,"name":""#, &[0xFF][..], br#""}"#].concat()).key("office/lab"),
    ];
    let decoded = decoded(&decoder(), records(entries).as_slice());
    assert_eq!(decoded.rows.num_rows(), 1);
    let places: Vec<_> = decoded.rejected.iter().map(|one| one.place).collect();
    assert_eq!(places, [1, 2, 3, 4]);
    assert_eq!(decoded.rejected[0].reason, "topic `office/lab/climate` does not fit office/{room}");
}

#[test]
fn nesting_that_would_overflow_the_stack_is_no_row() {
    let nested =
        |levels| format!(r#"{{"ts":1,"temp":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let other = |levels| format!(r#"{{"ts":1,"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let payloads = [nested(500_000), other(500_000), "[".repeat(1 << 20), nested(60), other(60)];
    let decoded = decoded(&decoder(), records(payloads.iter().map(|text| entry(text))).as_slice());
    assert_eq!(decoded.rows.num_rows(), 1, "what nobody declared may be nested somewhat");
    let places: Vec<_> = decoded.rejected.iter().map(|one| one.place).collect();
    assert_eq!(places, [0, 1, 2, 3]);
    assert_eq!(decoded.rejected[0].reason, "payload is nested more than 64 levels deep");
    assert!(decoded.rejected.iter().all(|one| one.reason.len() < 400));
}

#[test]
fn columns_nobody_wants_are_null_and_rows_the_same() {
    let records = records([entry(r#"{"ts":1,"temp":"warm"}"#), entry(r#"{"ts":1}"#)]);
    let decoded = decoded(&decoder().with_columns(&[1]), records.as_slice());
    assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (1, 1));
    assert!(decoded.rows["_seq"].is_null(0) && decoded.rows["_topic"].is_null(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Neighbours never change what a record is: not where they are cut, nor what they hold.
    #[test]
    fn a_record_is_decoded_as_if_it_were_alone(payloads in vec(prop_oneof![
        3 => (0i64..1000, -9i32..9).prop_map(|(ts, n)| format!(r#"{{"ts":{ts},"n":{n}}}"#)),
        1 => "[{}\\[\\]\":,a1 ]{0,8}",
        1 => Just(r#"{"ts":1"#.to_owned()),
        1 => Just("}".to_owned()),
        1 => Just(r#"{"ts":1}{"ts":2}"#.to_owned()),
    ], 1..20)) {
        let records = records(payloads.iter().map(|payload| entry(payload)));
        let together = decoded(&decoder(), records.as_slice());
        let mut rows = Vec::new();
        let mut rejected = Vec::new();
        for place in 0..records.len() {
            let (record, _) = records.as_slice().split_at(place).1.split_at(1);
            let alone = decoded(&decoder(), record);
            prop_assert_eq!(alone.rows.num_rows() + alone.rejected.len(), 1);
            rejected.extend(alone.rejected.into_iter().map(|one| Rejected { place, ..one }));
            rows.push(alone.rows);
        }
        prop_assert_eq!(together.rejected, rejected);
        prop_assert_eq!(together.rows, concat_batches(&schema(), &rows).unwrap());
    }
}

#[test]
fn rows_whose_clock_runs_ahead_of_their_arrival_are_left_out() {
    let day = Span::parse("1 day");
    let ahead = |seconds: i64, arrived: i64| {
        let time = arrived + seconds * 1_000_000;
        entry(&format!(r#"{{"ts":{}}}"#, time / 1_000_000)).at(Time::from_micros(arrived))
    };
    let (today, day_seconds) = (1_800_000_000_000_000, 86_400);
    // From the years 1970 and 2027; the first is that of a gateway without a clock.
    let entries = [
        ahead(2_000_000_000, 1_000_000),
        ahead(day_seconds, today),
        ahead(day_seconds + 1, today),
        ahead(-1_700_000_000, today),
        // A clock that has jumped back: what was in time before it is ahead now.
        ahead(day_seconds, today - 1_000_000),
        ahead(day_seconds + 1, today - 1_000_000),
    ];
    let records = records(entries);
    let decode = |most: &Option<Span>, records| {
        let decoded = decoded(&decoder().with_max_ahead(most.clone()), records);
        (decoded.rows.num_rows(), decoded.rejected)
    };
    let (rows, rejected) = decode(&day, records.as_slice());
    assert_eq!((rows, rejected.iter().map(|one| one.place).collect()), (4, vec![2, 5]));
    assert_eq!(
        rejected[0].reason,
        "`ts` is 2027-01-16T08:00:01Z, and it came at 2027-01-15T08:00:00Z: more than max_ahead = \
         '1 day' ahead"
    );
    let one = |place| records.as_slice().split_at(place).1.split_at(1).0;
    let alone: Vec<_> = (0..6).map(|place| decode(&day, one(place)).0).collect();
    assert_eq!(alone, [1, 1, 0, 1, 1, 0]);
    assert_eq!(decode(&None, records.as_slice()), (6, vec![]));
}

#[test]
fn of_a_record_with_many_rows_those_ahead_are_left_out() {
    let (kind, today) = (format::FormatKind::Csv, 1_800_000_000);
    let format = Format { kind, ..Format::default() };
    let decoder = of(&format).with_max_ahead(Span::parse("1 hour"));
    let lines = |hours: &[i64]| {
        let lines =
            hours.iter().map(|hours| format!("{},1,name,{hours},true\n", today + hours * 3600));
        entry(&lines.collect::<String>()).at(Time::from_micros(today * 1_000_000))
    };
    let entries = [lines(&[1]), lines(&[2]), entry("no row"), lines(&[0, 3, -1, 2])];
    let decoded = decoded(&decoder, records(entries).as_slice());
    let hours =
        decoded.rows.column_by_name("n").unwrap().as_primitive::<arrow::datatypes::Int32Type>();
    assert_eq!(hours.values(), &[1, 0, -1]);
    let rejected: Vec<_> = decoded.rejected.iter().map(|one| (one.place, one.rows_ahead)).collect();
    assert_eq!(rejected, [(1, 1), (2, 0), (3, 2)]);
    assert!(
        decoded.rejected[2].reason.starts_with("in 2 of its rows `ts` is 2027-01-15T11:00:00Z")
    );
}
