//! The wire format of protocol buffers, as far as Sparkplug needs it.

/// The fields of a message, one by one. What is damaged is one error, and then the end.
#[derive(Debug, Clone)]
pub(crate) struct Message<'a>(pub(crate) &'a [u8]);

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl From<Damaged> for String {
    fn from(_: Damaged) -> String {
        "payload is no Sparkplug B".to_owned()
    }
}

impl<'a> Iterator for Message<'a> {
    /// The number of the field, and what it holds.
    type Item = Result<(u64, Wire<'a>), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Damaged))
    }
}

impl<'a> Message<'a> {
    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.fixed()?)),
            // Groups are of the past, and Sparkplug has none.
            _ => return None,
        };
        Some((tag >> 3, wire))
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for place in 0..10 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

/// Text of a field.
pub(crate) fn text(wire: Wire<'_>) -> Result<&str, Damaged> {
    match wire {
        Wire::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| Damaged),
        _ => Err(Damaged),
    }
}

/// A whole number of a field.
pub(crate) fn number(wire: Wire<'_>) -> Result<u64, Damaged> {
    match wire {
        Wire::Varint(number) => Ok(number),
        _ => Err(Damaged),
    }
}
