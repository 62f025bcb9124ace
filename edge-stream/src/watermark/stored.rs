//! The keys of a stream in checkpoints: those that have changed, each under its place.

use bytes::Bytes;

use super::keys::{Key, Keys};
use crate::error::OperatorError;
use crate::operator::{Changes, Stored};

/// What stands in front of each key: its watermark, and the clock when it was heard last.
#[cfg(feature = "db")]
const HEAD_BYTES: usize = 16;

/// What is stored below a key.
pub(crate) fn below<'a>(
    stored: &'a Stored,
    prefix: &'a [u8],
) -> impl Iterator<Item = (&'a [u8], &'a Bytes)> {
    let from = stored.range(prefix.to_vec()..);
    from.map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
}

impl Keys {
    /// What they take in the store.
    #[cfg(feature = "db")]
    pub(crate) fn state_bytes(&self) -> usize {
        self.key_bytes + self.places.len() * HEAD_BYTES
    }

    /// Puts what has changed since the last time below this key.
    pub(crate) fn store(&mut self, prefix: &[u8], changes: &mut Changes) {
        for place in self.changed.drain(..) {
            self.is_changed[place as usize] = false;
            let known = self.places.key(place).zip(self.places.get(place));
            let value = known.map(|(key, known)| {
                [&known.mark.to_le_bytes(), &known.heard.to_le_bytes(), key].concat().into()
            });
            changes.insert([prefix, &place.to_be_bytes()].concat(), value);
        }
        let arrived = [self.arrived.is_some().into(), self.arrived.unwrap_or(0)];
        let numbers = [self.clock, arrived[0], arrived[1], self.crowded_out.cast_signed()];
        let numbers = numbers.map(i64::to_le_bytes).concat();
        let head = [&numbers, self.of.title().as_bytes()].concat();
        changes.insert(prefix.to_vec(), Some(head.into()));
    }

    /// Goes on from what was stored below this key. Whether it was there, and of this column.
    ///
    /// # Errors
    /// When it is damaged.
    pub(crate) fn restore(
        &mut self,
        prefix: &[u8],
        stored: &Stored,
    ) -> Result<bool, OperatorError> {
        let damaged = || OperatorError::State { reason: "its keys are damaged".to_owned() };
        let Some(head) = stored.get(prefix) else { return Ok(false) };
        let (numbers, title) = head.split_at_checked(32).ok_or_else(damaged)?;
        if title != self.of.title().as_bytes() {
            return Ok(false);
        }
        let (numbers, _) = numbers.as_chunks::<8>();
        let numbers: Vec<_> = numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        let &[clock, is_there, arrived, crowded_out] = &numbers[..] else { return Err(damaged()) };
        (self.clock, self.crowded_out) = (clock, crowded_out.cast_unsigned());
        self.arrived = (is_there == 1).then_some(arrived);
        for (place, value) in below(stored, prefix).filter(|(place, _)| !place.is_empty()) {
            let place = u32::from_be_bytes(place.try_into().map_err(|_| damaged())?);
            let (mark, rest) = value.split_first_chunk().ok_or_else(damaged)?;
            let (heard, key) = rest.split_first_chunk().ok_or_else(damaged)?;
            let (mark, heard) = (i64::from_le_bytes(*mark), i64::from_le_bytes(*heard));
            self.places.insert(place, key.into(), Key { mark, heard });
            self.note(place);
        }
        Ok(true)
    }
}
