//! Who gets a message: a tree of topic filters, one node for each level.

use foldhash::HashMap;

use crate::{TopicFilter, TopicName};

/// Values under topic filters, found by the topics that the filters match.
///
/// Finding costs one look-up for each level of the topic and each `+` that may stand for it,
/// whatever the number of filters.
#[derive(Debug)]
pub(crate) struct FilterTree<T> {
    root: Node<T>,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    levels: HashMap<Box<str>, Node<T>>,
    plus: Option<Box<Node<T>>>,
    /// Of filters that end here.
    values: Vec<T>,
    /// Of filters that end with `#` below here.
    hash_values: Vec<T>,
}

impl<T> Default for FilterTree<T> {
    fn default() -> FilterTree<T> {
        FilterTree { root: Node::default(), len: 0 }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Node<T> {
        Node { levels: HashMap::default(), plus: None, values: Vec::new(), hash_values: Vec::new() }
    }
}

impl<T> FilterTree<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a value under a filter, in place of the one that `same` finds there.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, value: T, same: impl Fn(&T) -> bool) {
        let values = self.root.values_mut(filter);
        match values.iter_mut().find(|found| same(found)) {
            Some(found) => *found = value,
            None => {
                values.push(value);
                self.len += 1;
            }
        }
    }

    /// The value that `is` finds under a filter; a new one if there is none.
    pub(crate) fn entry(
        &mut self,
        filter: &TopicFilter,
        is: impl Fn(&T) -> bool,
        new: impl FnOnce() -> T,
    ) -> &mut T {
        let values = self.root.values_mut(filter);
        let place = values.iter().position(is).unwrap_or_else(|| {
            values.push(new());
            self.len += 1;
            values.len() - 1
        });
        &mut values[place]
    }

    /// The value that `is` finds under a filter.
    pub(crate) fn get(&self, filter: &TopicFilter, is: impl Fn(&T) -> bool) -> Option<&T> {
        self.root.values(filter)?.iter().find(|value| is(value))
    }

    /// Removes the value that `same` finds under a filter, and the nodes that nobody needs now.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, same: impl Fn(&T) -> bool) -> Option<T> {
        let removed = self.root.remove(filter.as_str(), &same);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Calls `found` with the values of each filter that matches.
    pub(crate) fn each_match<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(&'a T)) {
        // Wildcards at the first level do not match the broker's own topics (section 4.7.2).
        let wild = !topic.is_reserved();
        self.root.walk(Some(topic.as_str()), wild, &mut found);
    }
}

impl<T> Node<T> {
    fn values_mut(&mut self, filter: &TopicFilter) -> &mut Vec<T> {
        let mut node = self;
        for level in filter.as_str().split('/') {
            node = match level {
                "#" => return &mut node.hash_values,
                "+" => node.plus.get_or_insert_default(),
                level => node.levels.entry(level.into()).or_default(),
            };
        }
        &mut node.values
    }

    fn values(&self, filter: &TopicFilter) -> Option<&[T]> {
        let mut node = self;
        for level in filter.as_str().split('/') {
            node = match level {
                "#" => return Some(&node.hash_values),
                "+" => node.plus.as_deref()?,
                level => node.levels.get(level)?,
            };
        }
        Some(&node.values)
    }

    fn remove(&mut self, filter: &str, same: &impl Fn(&T) -> bool) -> Option<T> {
        if filter == "#" {
            return take(&mut self.hash_values, same);
        }
        let (level, rest) = split_level(filter);
        let child =
            if level == "+" { self.plus.as_deref_mut() } else { self.levels.get_mut(level) };
        let child = child?;
        let removed = match rest {
            Some(rest) => child.remove(rest, same),
            None => take(&mut child.values, same),
        };
        if child.is_empty() {
            if level == "+" {
                self.plus = None;
            } else {
                self.levels.remove(level);
            }
        }
        removed
    }

    fn is_empty(&self) -> bool {
        let no_values = self.values.is_empty() && self.hash_values.is_empty();
        no_values && self.levels.is_empty() && self.plus.is_none()
    }

    /// `topic` is what is left of it below this node. As deep as the tree, so at most as a
    /// filter has levels.
    fn walk<'a>(&'a self, topic: Option<&str>, wild: bool, found: &mut impl FnMut(&'a T)) {
        if wild {
            self.hash_values.iter().for_each(&mut *found);
        }
        let Some(topic) = topic else {
            return self.values.iter().for_each(found);
        };
        let (level, rest) = split_level(topic);
        if let Some(child) = self.levels.get(level) {
            child.walk(rest, true, found);
        }
        if let Some(child) = self.plus.as_deref().filter(|_| wild) {
            child.walk(rest, true, found);
        }
    }
}

fn split_level(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

fn take<T>(values: &mut Vec<T>, same: &impl Fn(&T) -> bool) -> Option<T> {
    let at = values.iter().position(same)?;
    Some(values.swap_remove(at))
}

#[cfg(test)]
mod tests;
