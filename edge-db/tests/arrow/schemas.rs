//! Which columns types have, and which have none.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use arrow_schema::{DataType, Field};
use edge_db::arrow::{KeyColumns, RowSchema, SchemaError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn columns<K: KeyColumns, V: DeserializeOwned>() -> Vec<String> {
    let schema = RowSchema::<K, V>::new().unwrap();
    let fields = schema.schema().fields().iter();
    fields
        .map(|field| {
            let mark = if field.is_nullable() { "?" } else { "" };
            format!("{}: {}{mark}", field.name(), field.data_type())
        })
        .collect()
}

#[derive(Serialize, Deserialize)]
struct Reading {
    celsius: f64,
    label: Option<String>,
    raw: Vec<u8>,
    counts: Vec<u32>,
    tags: BTreeMap<String, State>,
}

#[derive(Serialize, Deserialize)]
enum State {
    On,
    Off,
}

#[derive(Debug, Serialize, Deserialize)]
enum Event {
    Started,
    Failed(u32),
}

#[test]
fn columns_follow_the_types() {
    let list = r#"counts: List(non-null UInt32, field: 'element')"#;
    let tags = r#"tags: Map("entries": non-null Struct("key": non-null Utf8, "value": non-null Utf8), unsorted)"#;
    let reading = ["celsius: Float64", "label: Utf8?", "raw: Binary", list, tags];
    assert_eq!(columns::<u64, Reading>(), [&["key: UInt64"], &reading[..]].concat());
    assert_eq!(columns::<(String, u8), f32>(), ["key_0: Utf8", "key_1: UInt8", "value: Float32"]);
    assert_eq!(
        columns::<u8, (u64, Option<i8>)>(),
        ["key: UInt8", "value_0: UInt64", "value_1: Int8?"]
    );
    assert_eq!(columns::<u8, Option<Vec<u8>>>(), ["key: UInt8", "value: Binary?"]);
    assert_eq!(columns::<u8, State>(), ["key: UInt8", "value: Utf8"]);
    assert_eq!(columns::<u8, ()>(), ["key: UInt8"]);
    let union = r#"value: Union(Dense, 0: ("Started": Null), 1: ("Failed": non-null UInt32))"#;
    assert_eq!(columns::<u8, Event>(), ["key: UInt8", union]);
}

#[test]
fn columns_of_one_name_are_refused_until_the_key_has_others() {
    #[derive(Serialize, Deserialize)]
    struct Keyed {
        key: String,
    }
    let refused = RowSchema::<u8, Keyed>::new().unwrap_err();
    assert!(matches!(refused, SchemaError::Duplicate { column } if column == "key"));
    let schema = RowSchema::<u8, Keyed>::with_keys(["id"]).unwrap();
    assert_eq!(schema.schema().field(0).name(), "id");
    let few = RowSchema::<(u8, u8), Keyed>::with_keys(["id"]).unwrap_err();
    assert!(matches!(few, SchemaError::KeyNames { expected: 2, found: 1 }), "{few}");
}

#[test]
fn column_that_is_not_there_or_cannot_be_so_is_refused() {
    let schema = || RowSchema::<u8, f64>::new().unwrap();
    for name in ["key", "other"] {
        let refused = schema().column(Field::new(name, DataType::Int8, false)).unwrap_err();
        assert!(matches!(refused, SchemaError::NoColumn { column } if column == name));
    }
    let refused = schema().column(Field::new("value", DataType::Decimal256(5, 1), false));
    assert!(matches!(refused, Err(SchemaError::Type { column, .. }) if column == "value"));
}

#[derive(Debug, Serialize, Deserialize)]
struct Node {
    next: Option<Box<Node>>,
}

#[test]
fn type_that_tells_no_columns_says_where() {
    fn reason<V: DeserializeOwned>() -> String {
        match RowSchema::<u8, (u8, V)>::new() {
            Err(error @ SchemaError::Value { .. }) => error.source().unwrap().to_string(),
            other => panic!("{other:?}"),
        }
    }
    assert!(reason::<Node>().contains("recursive"));
    assert!(reason::<u128>().contains("u128 is not supported"));
    assert!(reason::<NonZeroU32>().contains("value.1"));
    assert!(reason::<Option<Event>>().contains("cannot be null"));
    let address = reason::<Ipv4Addr>();
    assert!(address.contains("value.1") && !address.contains("from_samples"), "{address}");
}

/// What to do with it then.
#[test]
fn rows_are_mapped_to_a_type_that_tells_its_columns() {
    #[derive(Serialize, Deserialize)]
    struct Host {
        address: String,
    }
    let hosts = [Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST].into_iter();
    let rows = (0u32..).zip(hosts).map(|(id, host)| Ok((id, Host { address: host.to_string() })));
    let schema = RowSchema::<u32, Host>::new().unwrap();
    let batches: Vec<_> = schema.record_batches(rows, 100).unwrap().collect();
    assert_eq!(batches[0].as_ref().unwrap().num_rows(), 2);
}
