//! What is kept for each key, under a small number of its own.

use std::collections::{BTreeSet, HashMap};

#[derive(Debug)]
pub(crate) struct Places<T> {
    by_key: HashMap<Box<[u8]>, u32>,
    entries: Vec<Option<Entry<T>>>,
    /// Numbers that no key has.
    free: BTreeSet<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    key: Box<[u8]>,
    of: T,
}

impl<T> Default for Places<T> {
    fn default() -> Places<T> {
        Places { by_key: HashMap::new(), entries: Vec::new(), free: BTreeSet::new() }
    }
}

impl<T> Places<T> {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn key(&self, place: u32) -> Option<&[u8]> {
        Some(&*self.entries.get(place as usize)?.as_ref()?.key)
    }

    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        self.entries.get(place as usize)?.as_ref().map(|entry| &entry.of)
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.entries.get_mut(place as usize)?.as_mut().map(|entry| &mut entry.of)
    }

    /// The places of all keys.
    pub(crate) fn places(&self) -> impl Iterator<Item = u32> + '_ {
        let entries = (0..).zip(&self.entries);
        entries.filter_map(|(place, entry)| entry.as_ref().map(|_| place))
    }

    /// The place of a key; a new one gets the least that is free.
    pub(crate) fn place_of(&mut self, key: &[u8], new: impl FnOnce() -> T) -> u32 {
        if let Some(place) = self.find(key) {
            return place;
        }
        let place = self.free.pop_first().unwrap_or_else(|| {
            u32::try_from(self.entries.len()).expect("the limit of state is far below")
        });
        self.insert(place, key.into(), new());
        place
    }

    /// Puts a key at a place that no other has.
    pub(crate) fn insert(&mut self, place: u32, key: Box<[u8]>, of: T) {
        let known = u32::try_from(self.entries.len()).expect("the limit of state is far below");
        self.free.extend(known..place);
        self.free.remove(&place);
        let len = self.entries.len().max(place as usize + 1);
        self.entries.resize_with(len, || None);
        self.by_key.insert(key.clone(), place);
        self.entries[place as usize] = Some(Entry { key, of });
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let entry = self.entries.get_mut(place as usize)?.take()?;
        self.by_key.remove(&entry.key);
        self.free.insert(place);
        Some(entry.of)
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn new_keys_get_places_that_no_other_has() {
        let mut places = Places::default();
        places.insert(3, (*b"c").into(), 'c');
        places.insert(1, (*b"b").into(), 'b');
        assert_eq!(
            [places.find(b"b"), places.find(b"c"), places.find(b"x")],
            [Some(1), Some(3), None]
        );
        let all = [b"d", b"e", b"f", b"d"].map(|key| places.place_of(key, || char::from(key[0])));
        assert_eq!(all, [0, 2, 4, 0]);
        assert_eq!(places.remove(1), Some('b'));
        assert_eq!((places.find(b"b"), places.len()), (None, 4));
        assert_eq!(places.place_of(b"g", || 'g'), 1);
        assert_eq!(
            places.places().map(|place| places.get(place).copied().unwrap()).collect::<String>(),
            "dgecf"
        );
    }
}
