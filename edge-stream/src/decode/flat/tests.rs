//! What is taken, and that it is what the reader of all schemas would have made of it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::json;
use super::super::objects::Objects;
use super::*;

fn fields() -> Vec<FieldRef> {
    let fields = [
        ("text", DataType::Utf8),
        ("double", DataType::Float64),
        ("real", DataType::Float32),
        ("tiny", DataType::Int8),
        ("big", DataType::Int64),
        ("ts", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("on", DataType::Boolean),
    ];
    fields.map(|(name, kind)| Arc::new(Field::new(name, kind, true))).to_vec()
}

fn read(payload: &[u8]) -> Option<Vec<ArrayRef>> {
    Flat::new(&fields(), &BTreeMap::new(), TimeFormat::Auto).unwrap().read(std::iter::once(payload))
}

fn read_slowly(payload: &[u8]) -> Result<Vec<ArrayRef>, String> {
    let objects = Objects::new(&fields(), &BTreeMap::new(), TimeFormat::Auto)?;
    let mut decoder = objects.decoder(1)?;
    json::read(&mut decoder, payload, 0)?;
    objects.columns(decoder)
}

#[test]
fn what_devices_usually_send_is_taken() {
    let taken = [
        r#"{}"#,
        r#"{"text":"a","double":1.5,"real":0.1,"tiny":-7,"big":5,"ts":1767225600000,"on":true}"#,
        r#" { "on" : "off" , "ts" : "2026-01-01T00:00:00Z" , "text" : null } "#,
        r#"{"ts":"2026-01-01 00:00:00","more":{"a":[1,{"b":"}"}]},"list":[],"big":-0}"#,
        r#"{"text":12.50,"double":"21.5","real":1e3,"on":1}"#,
        r#"{"text":"\"\\\/\b\f\n\r\t\u00e4\u0000"}"#,
        r#"{"text":"späť","double":1.7976931348623157e308,"ts":1767225600.25}"#,
        r#"{"double":123456789012345678901234567890,"real":-0.0}"#,
    ];
    for payload in taken {
        let columns = read(payload.as_bytes()).unwrap_or_else(|| panic!("{payload}"));
        assert_eq!(columns, read_slowly(payload.as_bytes()).unwrap(), "{payload}");
    }
}

#[test]
fn what_is_wrong_or_rare_is_left_to_others() {
    let left = [
        "",
        "7",
        "null",
        "[]",
        "{",
        r#"{"text""#,
        r#"{"text":"a""#,
        r#"{"text":"a"}}"#,
        r#"{"text":"a"} x"#,
        r#"{"text":tru}"#,
        r#"{"double":01}"#,
        r#"{"double":1.}"#,
        r#"{"double":.5}"#,
        r#"{"double":+1}"#,
        r#"{"double":-}"#,
        r#"{"double":1e}"#,
        r#"{"tiny":128}"#,
        r#"{"tiny":1.0}"#,
        r#"{"big":9223372036854775808}"#,
        r#"{"ts":"yesterday"}"#,
        r#"{"on":"maybe"}"#,
        r#"{"on":2}"#,
        r#"{"double":true}"#,
        r#"{"text":{}}"#,
        r#"{"text":"\q"}"#,
        r#"{"text":"\ud83d\ude00"}"#,
        r#"{"t\u0065xt":1}"#,
        r#"{"text":1,"text":2}"#,
        r#"{"text":1,}"#,
        r#"{"text":1 "double":2}"#,
    ];
    for payload in left {
        assert_eq!(read(payload.as_bytes()), None, "{payload}");
    }
    assert_eq!(read(b"{\"text\":\"\xff\"}"), None);
    let deep = format!(r#"{{"more":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read(deep.as_bytes()), None);
}

#[test]
fn names_and_types_that_are_not_plain_are_not_for_this() {
    let flat = |name: &str, kind: DataType, path: Option<&[&str]>| {
        let paths = path.map(|path| {
            (name.to_owned(), path.iter().map(ToString::to_string).collect::<Vec<_>>())
        });
        let field = Arc::new(Field::new(name, kind, true));
        Flat::new(&[field], &paths.into_iter().collect(), TimeFormat::Auto)
    };
    assert!(flat("a", DataType::Utf8, Some(&["b"])).is_some());
    assert!(flat("a", DataType::Utf8, Some(&["b", "c"])).is_none());
    assert!(flat("a\"b", DataType::Utf8, None).is_none());
    assert!(flat("a", DataType::Binary, None).is_none());
    assert!(flat("a", DataType::Date32, None).is_none());
}

#[test]
fn rows_of_a_batch_stand_in_their_order_whatever_the_order_of_their_fields() {
    let payloads: [&[u8]; 3] =
        [br#"{"text":"a","big":1}"#, br#"{"big":2,"text":"b"}"#, br#"{"big":3}"#];
    let flat = Flat::new(&fields(), &BTreeMap::new(), TimeFormat::Auto).unwrap();
    let columns = flat.read(payloads.iter().copied()).unwrap();
    for (row, payload) in payloads.into_iter().enumerate() {
        let alone: Vec<_> = columns.iter().map(|column| column.slice(row, 1)).collect();
        assert_eq!(alone, read_slowly(payload).unwrap());
    }
}

/// A field as text, mostly one that is right for its column.
fn field() -> impl Strategy<Value = String> {
    const KEYS: [&str; 9] =
        ["text", "double", "real", "tiny", "big", "ts", "on", "more", "te\\u0078t"];
    const VALUES: [&str; 38] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "127",
        "128",
        "1767225600000",
        "1.5",
        "-0.25",
        "1e2",
        "1E-3",
        "2.5e+2",
        "123456789012345678",
        "12345678901234567890",
        "0.1234567890123456789",
        "1e400",
        "01",
        "\"\"",
        "\"a\"",
        "\"1.5\"",
        "\" 7\"",
        "\"on\"",
        "\"1767225600\"",
        "\"2026-01-01T00:00:00Z\"",
        "\"2026-02-30\"",
        "\"a\\\"b\\n\"",
        "\"\\u00e4\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"ä\"",
        "{}",
        "[]",
        "{\"a\":[1,\"]\"]}",
        "[[1],{}]",
        "253402300800000000",
    ];
    (select(&KEYS[..]), select(&VALUES[..]), select(&["", " ", "\t\n"][..]))
        .prop_map(|(key, value, space)| format!("{space}\"{key}\"{space}:{space}{value}{space}"))
}

fn number() -> impl Strategy<Value = String> {
    (
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        select(&["double", "real", "text"][..]),
    )
        .prop_map(|(number, key)| format!("\"{key}\":{number}"))
}

/// Bytes that mean something in JSON, and others.
fn bytes() -> impl Strategy<Value = u8> {
    prop_oneof![select(&b"{}[]\",:\\ 0e-.nt\xff"[..]), any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_taken_is_taken_by_the_other_reader_too_and_is_the_same(
        fields in vec(prop_oneof![3 => field(), 1 => number()], 0..6),
        damage in vec((any::<prop::sample::Index>(), bytes(), 0..3), 0..3),
    ) {
        let mut payload = format!("{{{}}}", fields.join(",")).into_bytes();
        for (place, byte, kind) in damage {
            let place = place.index(payload.len());
            match kind {
                0 => payload[place] = byte,
                1 => payload.insert(place, byte),
                _ if payload.len() > 1 => drop(payload.remove(place)),
                _ => {}
            }
        }
        if let Some(columns) = read(&payload) {
            prop_assert_eq!(Ok(columns), read_slowly(&payload));
        }
    }
}
