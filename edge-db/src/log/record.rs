//! What goes into a Log and what comes out of it.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Seq, Time};

/// One entry to be appended to a [`Log`](super::Log): a value with an optional key, headers and
/// time.
///
/// ```
/// use edge_db::Entry;
/// let entry = Entry::new(r#"{"co2_ppm":749}"#).key("office/lab/climate").header("qos", vec![1]);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Entry {
    pub(crate) time: Option<Time>,
    pub(crate) key: Bytes,
    pub(crate) headers: Vec<(Cow<'static, str>, Bytes)>,
    pub(crate) value: Bytes,
}

impl Entry {
    /// An entry with this value, an empty key and no headers.
    pub fn new(value: impl Into<Bytes>) -> Entry {
        Entry { time: None, key: Bytes::new(), headers: Vec::new(), value: value.into() }
    }

    /// What the entry is about, for example the topic that a message came on. At most 64 KiB.
    pub fn key(mut self, key: impl Into<Bytes>) -> Entry {
        self.key = key.into();
        self
    }

    /// Adds a header. Order and repeats are kept.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Entry {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// When it happened. Without this, the time of [`Batch::append`](crate::Batch::append).
    pub fn at(mut self, time: Time) -> Entry {
        self.time = Some(time);
        self
    }

    /// Bytes of key, headers and value.
    pub(crate) fn payload_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.key.len() + self.value.len() + headers.sum::<usize>()
    }
}

/// One record of a [`Log`](super::Log). Its bytes are shared with the chunk it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub(super) seq: Seq,
    pub(super) time: Time,
    pub(super) key: Bytes,
    pub(super) headers: Bytes,
    pub(super) value: Bytes,
}

impl Record {
    /// Where in its Log it stands.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// When it was appended, or what [`Entry::at`] said.
    pub fn time(&self) -> Time {
        self.time
    }

    /// What it is about; empty if nothing was said.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The value as it was appended.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// The same, to be looked at.
    pub fn view(&self) -> RecordRef<'_> {
        let Record { seq, time, .. } = *self;
        RecordRef { seq, time, key: &self.key, headers: &self.headers, value: &self.value }
    }

    /// Its headers in the order of [`Entry::header`]. They are parsed as they are asked for.
    pub fn headers(&self) -> Headers<'_> {
        Headers { shared: &self.headers, rest: &self.headers }
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<Bytes> {
        self.headers().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// A record where it lies, for as long as one looks: [`Records::iter`](super::Records::iter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    pub(crate) seq: Seq,
    pub(crate) time: Time,
    pub(crate) key: &'a [u8],
    pub(crate) headers: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// Where in its Log it stands.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// When it was appended, or what [`Entry::at`] said.
    pub fn time(&self) -> Time {
        self.time
    }

    /// What it is about; empty if nothing was said.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The value as it was appended.
    pub fn value(&self) -> &'a [u8] {
        self.value
    }

    /// Its headers in the order of [`Entry::header`]. They are parsed as they are asked for.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let mut rest = self.headers;
        // The chunk was checked when it was read, so nothing but the end stops this.
        std::iter::from_fn(move || super::chunk::take_header(&mut rest))
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// The headers of one [`Record`].
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    shared: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Bytes);

    fn next(&mut self) -> Option<(&'a str, Bytes)> {
        // The chunk was checked when it was read, so nothing but the end stops this.
        let (name, value) = super::chunk::take_header(&mut self.rest)?;
        Some((name, self.shared.slice_ref(value)))
    }
}
