//! Keys whose bytes sort as their values do.

pub(crate) mod kind;

use std::borrow::Cow;

use crate::{Seq, Time};

/// A key of a [`Table`](crate::Table): its encoding sorts, byte by byte, as the values sort.
///
/// Integers are big-endian with the sign bit turned, so they take their fixed width; floats are
/// turned so that they sort by `total_cmp`. Text and
/// bytes are ended by `00 00`, with a `00` inside written as `00 FF`, so that they can stand
/// before other parts of a tuple. The encoding is part of the file format: it never changes for a
/// given [`Key::kind`].
pub trait Key: Sized {
    /// Names the encoding; stored with the table, so that it is never opened as another.
    fn kind() -> Cow<'static, str>;

    /// Appends the encoding of this key.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes one key off the front of `bytes`; `None` where they are no such key.
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
}

/// The whole of `bytes` as one key.
pub(crate) fn decode_whole<K: Key>(mut bytes: &[u8]) -> Option<K> {
    let key = K::decode(&mut bytes)?;
    bytes.is_empty().then_some(key)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

macro_rules! unsigned_key {
    ($($int:ty),*) => {$(
        impl Key for $int {
            fn kind() -> Cow<'static, str> {
                stringify!($int).into()
            }
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                let head = take(bytes, size_of::<$int>())?;
                Some(<$int>::from_be_bytes(head.try_into().ok()?))
            }
        }
    )*};
}

macro_rules! signed_key {
    ($($int:ty as $unsigned:ty),*) => {$(
        impl Key for $int {
            fn kind() -> Cow<'static, str> {
                stringify!($int).into()
            }
            fn encode(&self, out: &mut Vec<u8>) {
                (self.cast_unsigned() ^ (1 << (<$int>::BITS - 1))).encode(out);
            }
            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                let turned = <$unsigned>::decode(bytes)?;
                Some((turned ^ (1 << (<$int>::BITS - 1))).cast_signed())
            }
        }
    )*};
}

unsigned_key!(u8, u16, u32, u64, u128);
signed_key!(i8 as u8, i16 as u16, i32 as u32, i64 as u64, i128 as u128);

macro_rules! float_key {
    ($($float:ty as $int:ty),*) => {$(
        /// Sorts as `total_cmp` does: -0.0 before 0.0, NaN at the ends.
        impl Key for $float {
            fn kind() -> Cow<'static, str> {
                stringify!($float).into()
            }
            fn encode(&self, out: &mut Vec<u8>) {
                let bits = self.to_bits().cast_signed();
                // Larger magnitudes of negative numbers sort first.
                (bits ^ ((bits >> (<$int>::BITS - 1)) & <$int>::MAX)).encode(out);
            }
            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                let turned = <$int>::decode(bytes)?;
                let bits = turned ^ ((turned >> (<$int>::BITS - 1)) & <$int>::MAX);
                Some(<$float>::from_bits(bits.cast_unsigned()))
            }
        }
    )*};
}

float_key!(f32 as i32, f64 as i64);

impl Key for bool {
    fn kind() -> Cow<'static, str> {
        "bool".into()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn decode(bytes: &mut &[u8]) -> Option<bool> {
        match take(bytes, 1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Key for Vec<u8> {
    fn kind() -> Cow<'static, str> {
        "bytes".into()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        encode_escaped(self, out);
    }
    fn decode(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        decode_escaped(bytes)
    }
}

impl Key for String {
    fn kind() -> Cow<'static, str> {
        "text".into()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        encode_escaped(self.as_bytes(), out);
    }
    fn decode(bytes: &mut &[u8]) -> Option<String> {
        String::from_utf8(decode_escaped(bytes)?).ok()
    }
}

fn encode_escaped(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        out.push(byte);
        if byte == 0 {
            out.push(0xFF);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn decode_escaped(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len());
    loop {
        match *take(bytes, 1)?.first()? {
            0 => match *take(bytes, 1)?.first()? {
                0 => return Some(text),
                0xFF => text.push(0),
                _ => return None,
            },
            byte => text.push(byte),
        }
    }
}

impl Key for Seq {
    fn kind() -> Cow<'static, str> {
        "seq".into()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.get().encode(out);
    }
    fn decode(bytes: &mut &[u8]) -> Option<Seq> {
        u64::decode(bytes).map(Seq::new)
    }
}

impl Key for Time {
    fn kind() -> Cow<'static, str> {
        "time".into()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.micros().encode(out);
    }
    fn decode(bytes: &mut &[u8]) -> Option<Time> {
        i64::decode(bytes).map(Time::from_micros)
    }
}

macro_rules! tuple_key {
    ($($part:ident $at:tt),*) => {
        impl<$($part: Key),*> Key for ($($part,)*) {
            fn kind() -> Cow<'static, str> {
                let parts: Vec<Cow<'static, str>> = vec![$($part::kind()),*];
                format!("({})", parts.join(",")).into()
            }
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$at.encode(out);)*
            }
            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                Some(($($part::decode(bytes)?,)*))
            }
        }
    };
}

tuple_key!(A 0, B 1);
tuple_key!(A 0, B 1, C 2);
tuple_key!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded<K: Key>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn encoding_sorts_as_the_values_do(
            a in any::<(String, i64, Vec<u8>, u16)>(),
            b in any::<(String, i64, Vec<u8>, u16)>(),
        ) {
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
        }

        #[test]
        fn floats_sort_as_their_total_order(a in any::<f64>(), b in any::<f64>(), c in any::<f32>()) {
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.total_cmp(&b));
            let back = decode_whole::<f64>(&encoded(&a)).map(f64::to_bits);
            prop_assert_eq!(back, Some(a.to_bits()));
            prop_assert_eq!(decode_whole::<f32>(&encoded(&c)).map(f32::to_bits), Some(c.to_bits()));
        }

        #[test]
        fn decoding_gives_the_key_back(key in any::<(bool, i8, Vec<u8>)>()) {
            prop_assert_eq!(decode_whole::<(bool, i8, Vec<u8>)>(&encoded(&key)), Some(key));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _: Option<(String, u64, bool)> = decode_whole(&bytes);
        }
    }

    #[test]
    fn a_text_that_is_a_prefix_sorts_first_inside_a_tuple() {
        let short = ("room".to_owned(), u64::MAX);
        let long = ("room-1".to_owned(), 0);
        assert!(encoded(&short) < encoded(&long));
    }

    #[test]
    fn kind_names_the_parts() {
        assert_eq!(<(String, u64)>::kind(), "(text,u64)");
    }
}
