//! Sparkplug B payloads as prost writes them.

#![allow(dead_code, reason = "each test file uses a part of it")]

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payload {
    #[prost(uint64, optional, tag = "1")]
    timestamp: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
    #[prost(uint64, optional, tag = "3")]
    seq: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metric {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    alias: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    datatype: Option<u32>,
    #[prost(message, optional, tag = "9")]
    properties: Option<PropertySet>,
    #[prost(oneof = "Held", tags = "10, 11, 12, 13, 14, 15")]
    held: Option<Held>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Held {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Bool(bool),
    #[prost(string, tag = "15")]
    Text(String),
}

#[derive(Clone, PartialEq, Message)]
struct PropertySet {
    #[prost(string, repeated, tag = "1")]
    keys: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    values: Vec<PropertyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct PropertyValue {
    #[prost(uint32, optional, tag = "1")]
    kind: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    int_value: Option<u32>,
}

impl Metric {
    pub(crate) fn quality(&mut self, quality: u32) {
        let other = PropertyValue { kind: Some(3), int_value: Some(1) };
        let value = PropertyValue { kind: Some(3), int_value: Some(quality) };
        let keys = vec!["other".to_owned(), "Quality".to_owned()];
        self.properties = Some(PropertySet { keys, values: vec![other, value] });
    }
}

/// Without a name if that is empty, without a type if that is 0.
pub(crate) fn metric(name: &str, alias: Option<u64>, datatype: u32, held: Held) -> Metric {
    Metric {
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        alias,
        timestamp: None,
        datatype: Some(datatype).filter(|datatype| *datatype > 0),
        properties: None,
        held: Some(held),
    }
}

pub(crate) fn payload(millis: u64, metrics: Vec<Metric>) -> Vec<u8> {
    Payload { timestamp: Some(millis), metrics, seq: Some(3) }.encode_to_vec()
}
