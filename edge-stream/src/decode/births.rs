//! What Sparkplug's births have said: which metrics there are, and their aliases.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// In front of the state of a job that belongs to a decoder, not to an operator.
pub(crate) const MEMORY_KEY: u8 = 0xFE;

/// Bytes of the names that all births of a stream keep.
const MAX_BYTES: usize = 16 << 20;

/// What a decoder remembers from one record to the next. Only Sparkplug needs it: data name their
/// metrics by numbers that the birth of their edge node has given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    nodes: BTreeMap<String, Node>,
    changed: BTreeSet<String>,
}

/// An edge node since its birth.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Tells births apart, so that the will of an earlier connection ends nothing.
    pub(crate) birth: Option<u64>,
    metrics: Vec<Known>,
    #[serde(skip)]
    by_alias: BTreeMap<u64, usize>,
    #[serde(skip)]
    by_name: BTreeMap<(String, String), usize>,
}

/// A metric that a birth has named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Empty for the node itself.
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) alias: Option<u64>,
    pub(crate) datatype: u32,
}

impl Node {
    pub(crate) fn by_alias(&self, alias: u64) -> Option<&Known> {
        self.by_alias.get(&alias).map(|place| &self.metrics[*place])
    }

    pub(crate) fn by_name(&self, device: &str, name: &str) -> Option<&Known> {
        let place = self.by_name.get(&(device.to_owned(), name.to_owned()));
        place.map(|place| &self.metrics[*place])
    }

    /// The metrics of a device; of the node with all its devices, if that is empty.
    pub(crate) fn metrics(&self, device: &str) -> impl Iterator<Item = &Known> {
        self.metrics.iter().filter(move |known| device.is_empty() || known.device == device)
    }

    fn index(&mut self) {
        let placed = || self.metrics.iter().enumerate();
        let aliases = placed().filter_map(|(place, known)| Some((known.alias?, place)));
        self.by_alias = aliases.collect();
        let names =
            placed().map(|(place, known)| ((known.device.clone(), known.name.clone()), place));
        self.by_name = names.collect();
    }

    fn bytes(&self) -> usize {
        self.metrics.iter().map(|known| 32 + known.name.len() + known.device.len()).sum()
    }
}

impl Memory {
    pub(crate) fn node(&self, node: &str) -> Option<&Node> {
        self.nodes.get(node)
    }

    /// A node, or a device of it, is born: what it was before is gone.
    ///
    /// # Errors
    /// When the births of all nodes would be too much to keep; nothing has changed then.
    pub(crate) fn born(
        &mut self,
        name: &str,
        device: &str,
        birth: Option<u64>,
        metrics: Vec<Known>,
    ) -> Result<(), String> {
        let mut node = match device.is_empty() {
            true => Node { birth, ..Node::default() },
            false => self.nodes.get(name).cloned().unwrap_or_default(),
        };
        node.metrics.retain(|known| known.device != device);
        node.metrics.extend(metrics);
        let others = self.nodes.iter().filter(|(other, _)| other.as_str() != name);
        let bytes =
            others.map(|(name, node)| name.len() + node.bytes()).sum::<usize>() + node.bytes();
        if bytes > MAX_BYTES {
            return Err(format!("births name metrics of more than {MAX_BYTES} bytes"));
        }
        node.index();
        self.nodes.insert(name.to_owned(), node);
        self.changed.insert(name.to_owned());
        Ok(())
    }

    /// What has changed since the last call, to be stored with the position.
    pub(crate) fn changes(&mut self) -> Vec<(Vec<u8>, Bytes)> {
        let changed = std::mem::take(&mut self.changed);
        let changes = changed.iter().filter_map(|name| {
            let node = serde_json::to_vec(self.nodes.get(name)?);
            let node = node.expect("names and numbers are always JSON");
            Some((name.as_bytes().to_vec(), Bytes::from(node)))
        });
        changes.collect()
    }

    /// What [`Memory::changes`] has given, one by one.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let name = std::str::from_utf8(key);
        let name = name.map_err(|_| "the name of an edge node is damaged")?;
        let mut node: Node = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        node.index();
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }
}
