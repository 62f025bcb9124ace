//! Sparkplug B payloads: a row for each metric.
//!
//! The topic says who speaks, and what about: `spBv1.0/group/NDATA/node` or
//! `spBv1.0/group/DDATA/node/device`. A birth names the metrics; data may name them by alias. A
//! death gives a row for each metric that its birth has named, without value and with the quality
//! of what is stale. Sparkplug 3.0, chapters 4 to 6.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, FieldRef, TimeUnit};

use super::MAX_ROWS;
use super::births::{Known, Memory, Node};
use super::protobuf::{Damaged, Message, Wire, number, text};
use super::wire::check_year;

/// The columns that a stream of this format can have.
pub(crate) const COLUMNS: [(&str, DataType); 16] = [
    ("group_id", DataType::Utf8),
    ("message_type", DataType::Utf8),
    ("edge_node_id", DataType::Utf8),
    ("device_id", DataType::Utf8),
    ("seq", DataType::Int32),
    ("ts", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("name", DataType::Utf8),
    ("alias", DataType::Int64),
    ("datatype", DataType::Utf8),
    ("value", DataType::Float64),
    ("value_int", DataType::Int64),
    ("value_text", DataType::Utf8),
    ("value_bool", DataType::Boolean),
    ("quality", DataType::Int32),
    ("is_null", DataType::Boolean),
    ("is_historical", DataType::Boolean),
];

/// Sparkplug's numbers for what a metric holds, from 0.
const DATATYPES: [&str; 22] = [
    "Unknown",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float",
    "Double",
    "Boolean",
    "String",
    "DateTime",
    "Text",
    "UUID",
    "DataSet",
    "Bytes",
    "File",
    "Template",
    "PropertySet",
    "PropertySetList",
];

/// The quality of what a death makes stale, and of what says nothing about it.
const STALE: i32 = 500;
const GOOD: i32 = 192;

/// What its name says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Speaker<'a> {
    group: &'a str,
    kind: &'a str,
    node: &'a str,
    /// Empty for the node itself.
    device: &'a str,
}

/// One row of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metric {
    group: String,
    kind: String,
    node: String,
    device: String,
    seq: Option<i32>,
    ts: i64,
    name: Option<String>,
    alias: Option<u64>,
    datatype: u32,
    value: Value,
    quality: i32,
    is_null: bool,
    is_historical: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
enum Value {
    /// Nothing, or what has no place in a column: sets of data, templates, bytes.
    #[default]
    None,
    Int(i128),
    Float(f64),
    Bool(bool),
    Text(String),
}

/// The rows of a record; none for what hosts say of themselves.
pub(crate) fn read(
    topic: &str,
    payload: &[u8],
    arrived: i64,
    memory: &mut Memory,
) -> Result<Vec<Metric>, String> {
    let Some(speaker) = speaker(topic)? else { return Ok(Vec::new()) };
    let node = format!("{}/{}", speaker.group, speaker.node);
    let known = memory.node(&node);
    let is_death = speaker.kind.ends_with("DEATH");
    let (mut rows, mut time, mut seq) = (Vec::new(), None, None);
    for field in Message(payload) {
        match field? {
            (1, wire) => time = Some(number(wire)?),
            (2, Wire::Bytes(bytes)) if rows.len() < MAX_ROWS => {
                rows.push(metric(bytes, &speaker, known)?);
            }
            (2, _) => return Err(format!("payload has more than {MAX_ROWS} metrics")),
            (3, wire) => seq = Some(number(wire)?),
            _ => {}
        }
    }
    // A node's death is written when it connects, so its time says nothing.
    let time = time.filter(|_| speaker.kind != "NDEATH").map(micros).transpose()?;
    let time = time.unwrap_or(arrived);
    let session = rows.iter().find(|row| row.name.as_deref() == Some("bdSeq")).and_then(whole);
    if is_death && known.is_none_or(|known| session.is_none() || session == known.birth) {
        let stale = known.into_iter().flat_map(|known| known.metrics(speaker.device));
        let stale = stale.filter(|known| known.name != "bdSeq").map(stale_row);
        rows.extend(stale);
        if rows.is_empty() {
            rows.push(Metric { quality: STALE, is_null: true, ts: i64::MIN, ..Metric::default() });
        }
    }
    for row in &mut rows {
        row.group = speaker.group.to_owned();
        row.kind = speaker.kind.to_owned();
        row.node = speaker.node.to_owned();
        if !is_death || row.device.is_empty() {
            row.device = speaker.device.to_owned();
        }
        row.seq = seq.and_then(|seq| i32::try_from(seq).ok());
        if row.ts == i64::MIN {
            row.ts = time;
        }
    }
    if speaker.kind.ends_with("BIRTH") {
        let metrics = rows.iter().filter_map(|row| known_of(row, speaker.device)).collect();
        memory.born(&node, speaker.device, session, metrics)?;
    }
    Ok(rows)
}

fn speaker(topic: &str) -> Result<Option<Speaker<'_>>, String> {
    let levels: Vec<_> = topic.split('/').collect();
    let (group, kind, node, device) = match levels.as_slice() {
        [_, "STATE", _] | [_, _, "STATE", ..] => return Ok(None),
        [_, group, kind @ ("NBIRTH" | "NDATA" | "NDEATH" | "NCMD"), node] => {
            (group, kind, node, &"")
        }
        [_, group, kind @ ("DBIRTH" | "DDATA" | "DDEATH" | "DCMD"), node, device] => {
            (group, kind, node, device)
        }
        _ => return Err(format!("topic `{topic}` is none of Sparkplug")),
    };
    Ok(Some(Speaker { group, kind, node, device }))
}

/// A metric; its time is `i64::MIN` if it has none of its own.
fn metric(bytes: &[u8], speaker: &Speaker<'_>, node: Option<&Node>) -> Result<Metric, String> {
    let mut row = Metric { ts: i64::MIN, quality: GOOD, ..Metric::default() };
    let mut held = None;
    for field in Message(bytes) {
        match field? {
            (1, wire) => row.name = Some(text(wire)?.to_owned()),
            (2, wire) => row.alias = Some(number(wire)?),
            (3, wire) => row.ts = micros(number(wire)?)?,
            (4, wire) => row.datatype = u32::try_from(number(wire)?).map_err(|_| Damaged)?,
            (5, wire) => row.is_historical = number(wire)? != 0,
            (7, wire) => row.is_null = number(wire)? != 0,
            (9, Wire::Bytes(properties)) => row.quality = quality(properties)?.unwrap_or(GOOD),
            (field @ 10..=15, wire) => held = Some((field, wire)),
            _ => {}
        }
    }
    let is_birth = speaker.kind.ends_with("BIRTH");
    let known = node.filter(|_| !is_birth).and_then(|node| match (&row.name, row.alias) {
        (Some(name), _) => node.by_name(speaker.device, name),
        (None, Some(alias)) => node.by_alias(alias),
        (None, None) => None,
    });
    if let Some(known) = known {
        row.name = Some(known.name.clone());
        row.alias = row.alias.or(known.alias);
        if row.datatype == 0 {
            row.datatype = known.datatype;
        }
    }
    if row.name.is_none() {
        return Err(match row.alias {
            Some(alias) => format!(
                "alias {alias} is in no birth of {}/{} that this stream has seen",
                speaker.group, speaker.node
            ),
            None => "a metric has neither name nor alias".to_owned(),
        });
    }
    if let Some((field, wire)) = held.filter(|_| !row.is_null) {
        row.value = value(field, wire, row.datatype)?;
    }
    Ok(row)
}

fn value(field: u64, wire: Wire<'_>, datatype: u32) -> Result<Value, Damaged> {
    Ok(match (field, wire) {
        (10 | 11, Wire::Varint(bits)) => Value::Int(signed(bits, datatype)),
        (12, Wire::Fixed32(bits)) => Value::Float(f32::from_bits(bits).into()),
        (13, Wire::Fixed64(bits)) => Value::Float(f64::from_bits(bits)),
        (14, Wire::Varint(bit)) => Value::Bool(bit != 0),
        (15, wire) => Value::Text(text(wire)?.to_owned()),
        _ => return Err(Damaged),
    })
}

/// Whole numbers below zero come in two's complement, as wide as their type or their field.
#[expect(clippy::cast_possible_truncation, reason = "that is what the encoding does")]
fn signed(bits: u64, datatype: u32) -> i128 {
    match datatype {
        1 => i128::from(bits as i8),
        2 => i128::from(bits as i16),
        3 => i128::from(bits as i32),
        4 => i128::from(bits as i64),
        _ => i128::from(bits),
    }
}

/// The property `Quality`.
fn quality(properties: &[u8]) -> Result<Option<i32>, Damaged> {
    let (mut place, mut keys, mut values) = (None, 0, Vec::new());
    for field in Message(properties) {
        match field? {
            (1, wire) => {
                if text(wire)? == "Quality" {
                    place = Some(keys);
                }
                keys += 1;
            }
            (2, Wire::Bytes(value)) => values.push(value),
            _ => {}
        }
    }
    let Some(value) = place.and_then(|place: usize| values.get(place)) else { return Ok(None) };
    for field in Message(value) {
        if let (3 | 4, Wire::Varint(quality)) = field? {
            return Ok(i32::try_from(quality).ok());
        }
    }
    Ok(None)
}

fn micros(millis: u64) -> Result<i64, String> {
    let micros = i64::try_from(millis).ok().and_then(|millis| millis.checked_mul(1_000));
    let micros = micros.ok_or_else(|| format!("{millis} milliseconds are no time"))?;
    check_year(micros).map_err(|reason| format!("{millis} milliseconds, {reason}"))
}

fn whole(row: &Metric) -> Option<u64> {
    match row.value {
        Value::Int(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

fn known_of(row: &Metric, device: &str) -> Option<Known> {
    let (device, name) = (device.to_owned(), row.name.clone()?);
    Some(Known { device, name, alias: row.alias, datatype: row.datatype })
}

fn stale_row(known: &Known) -> Metric {
    Metric {
        device: known.device.clone(),
        name: Some(known.name.clone()),
        alias: known.alias,
        datatype: known.datatype,
        quality: STALE,
        is_null: true,
        ts: i64::MIN,
        ..Metric::default()
    }
}

/// The columns of these rows, as the stream has declared them.
pub(crate) fn columns(fields: &[FieldRef], rows: &[Metric]) -> Vec<ArrayRef> {
    fields.iter().map(|field| column(field.name(), rows)).collect()
}

fn column(name: &str, rows: &[Metric]) -> ArrayRef {
    let rows = rows.iter();
    match name {
        "group_id" => texts(rows.map(|row| Some(row.group.as_str()))),
        "message_type" => texts(rows.map(|row| Some(row.kind.as_str()))),
        "edge_node_id" => texts(rows.map(|row| Some(row.node.as_str()))),
        "device_id" => texts(rows.map(|row| Some(row.device.as_str()).filter(|id| !id.is_empty()))),
        "name" => texts(rows.map(|row| row.name.as_deref())),
        "datatype" => texts(rows.map(|row| {
            usize::try_from(row.datatype).ok().and_then(|place| DATATYPES.get(place)).copied()
        })),
        "ts" => Arc::new(TimestampMicrosecondArray::from_iter_values(rows.map(|row| row.ts))),
        "seq" => Arc::new(rows.map(|row| row.seq).collect::<Int32Array>()),
        "alias" => {
            let aliases = rows.map(|row| row.alias.and_then(|alias| i64::try_from(alias).ok()));
            Arc::new(aliases.collect::<Int64Array>())
        }
        "quality" => Arc::new(Int32Array::from_iter_values(rows.map(|row| row.quality))),
        "is_null" => Arc::new(rows.map(|row| Some(row.is_null)).collect::<BooleanArray>()),
        "is_historical" => {
            Arc::new(rows.map(|row| Some(row.is_historical)).collect::<BooleanArray>())
        }
        "value_int" => Arc::new(rows.map(|row| row.value.int()).collect::<Int64Array>()),
        "value_bool" => Arc::new(rows.map(|row| row.value.truth()).collect::<BooleanArray>()),
        "value_text" => Arc::new(rows.map(|row| row.value.text()).collect::<StringArray>()),
        _ => Arc::new(rows.map(|row| row.value.float()).collect::<Float64Array>()),
    }
}

fn texts<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(texts.collect::<StringArray>())
}

impl Value {
    #[expect(clippy::cast_precision_loss, reason = "a DOUBLE is what was asked for")]
    fn float(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
            Value::Text(_) | Value::None => None,
        }
    }

    fn int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => i64::try_from(*number).ok(),
            Value::Bool(truth) => Some(i64::from(*truth)),
            _ => None,
        }
    }

    fn truth(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Text(text) => Some(text.clone()),
            Value::None => None,
        }
    }
}
