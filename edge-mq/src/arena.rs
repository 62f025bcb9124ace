//! Values under keys that are never used twice.

/// Values in slots. A key tells the generation of its slot too, so that the key of a value that
/// is gone finds nothing, never the value that came after it.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

/// Names a value in an [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    slot: u32,
    generation: u32,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Arena<T> {
        Arena { slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(slot) = self.free.pop() {
            let (generation, place) = &mut self.slots[slot as usize];
            *place = Some(value);
            return Key { slot, generation: *generation };
        }
        let slot = u32::try_from(self.slots.len()).expect("sessions are limited far below this");
        self.slots.push((0, Some(value)));
        Key { slot, generation: 0 }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let (generation, value) = self.slots.get(key.slot as usize)?;
        value.as_ref().filter(|_| *generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(key.slot as usize)?;
        value.as_mut().filter(|_| *generation == key.generation)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let (generation, value) = &mut self.slots[key.slot as usize];
        // After four billion values in one slot an old key could find a new value.
        *generation = generation.wrapping_add(1);
        self.free.push(key.slot);
        value.take()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        let used = (0..).zip(&self.slots).filter(|(_, (_, value))| value.is_some());
        used.map(|(slot, (generation, _))| Key { slot, generation: *generation }).collect()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|(_, value)| value.as_mut())
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|(_, value)| value.as_ref())
    }
}
