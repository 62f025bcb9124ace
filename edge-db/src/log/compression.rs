//! Whether and how chunks of a Log are compressed, in the one place that names the crates for it.

use serde::{Deserialize, Serialize};

use crate::codec::DecodeError;

/// How a [`Log`](crate::Log) lies in the data file.
///
/// Records are compressed on their way from memory into the data file, up to 240 KiB of them
/// together; the journal has them as they came, and who reads what was just appended gets those
/// very bytes. What does not get smaller stays as it is, and so does a record of more than 1 MiB.
/// Reading one settled record decompresses its neighbours, too. What a log may hold is counted
/// without compression.
///
/// Each one but [`Compression::None`] is a cargo feature of this crate.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let db = edge_db::Db::open(dir.path())?;
/// use edge_db::{Compression, LogOptions, OpenError};
/// match db.log_with("readings", LogOptions::new().compression(Compression::Lz4)) {
///     Ok(log) => drop(log),
///     Err(OpenError::Compression { .. }) => assert!(!cfg!(feature = "lz4")),
///     Err(other) => return Err(other.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Compression {
    /// As it came.
    #[default]
    None,
    /// LZ4: costs little time, for small processors. Feature `lz4`.
    Lz4,
    /// Zstandard at level 3: fewer bytes, more time. Feature `zstd`; needs a C compiler to build.
    Zstd,
}

impl Compression {
    /// The cargo feature that it needs.
    pub(crate) fn feature(self) -> &'static str {
        match self {
            Compression::None => "default",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Whether this build has it.
    pub(crate) fn is_built_in(self) -> bool {
        match self {
            Compression::None => true,
            Compression::Lz4 => cfg!(feature = "lz4"),
            Compression::Zstd => cfg!(feature = "zstd"),
        }
    }

    /// Whether this build makes anything smaller by it.
    pub(crate) fn is_packing(self) -> bool {
        self != Compression::None && self.is_built_in()
    }

    /// `plain` in fewer bytes; `None` if there are no fewer, or this build cannot.
    pub(crate) fn pack(self, plain: &[u8]) -> Option<Vec<u8>> {
        let packed: Option<Vec<u8>> = match self {
            #[cfg(feature = "lz4")]
            Compression::Lz4 => Some(lz4_flex::block::compress(plain)),
            #[cfg(feature = "zstd")]
            Compression::Zstd => zstd::bulk::compress(plain, 3).ok(),
            _ => None,
        };
        packed.filter(|packed| packed.len() < plain.len())
    }

    /// What [`Compression::pack`] was given, `bytes` long. Allocates no more than that.
    pub(crate) fn unpack(self, packed: &[u8], bytes: usize) -> Result<Vec<u8>, DecodeError> {
        let damaged = || DecodeError::Malformed("compressed chunk of a log is damaged".to_owned());
        let plain = match self {
            #[cfg(feature = "lz4")]
            Compression::Lz4 => {
                let mut plain = vec![0; bytes];
                let found = lz4_flex::block::decompress_into(packed, &mut plain);
                plain.truncate(found.map_err(|_| damaged())?);
                plain
            }
            #[cfg(feature = "zstd")]
            Compression::Zstd => zstd::bulk::decompress(packed, bytes).map_err(|_| damaged())?,
            Compression::None => packed.to_vec(),
            #[cfg(not(all(feature = "lz4", feature = "zstd")))]
            _ => return Err(DecodeError::Compression { feature: self.feature() }),
        };
        if plain.len() == bytes { Ok(plain) } else { Err(damaged()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 2] = [Compression::Lz4, Compression::Zstd];

    fn built_in() -> impl Iterator<Item = Compression> {
        ALL.into_iter().filter(|compression| compression.is_built_in())
    }

    #[test]
    fn what_is_not_built_in_says_which_feature_it_needs() {
        for compression in ALL.into_iter().filter(|compression| !compression.is_built_in()) {
            assert_eq!(compression.pack(&[0; 1000]), None);
            let feature = compression.feature();
            let refused = compression.unpack(&[0; 10], 1000);
            assert_eq!(refused, Err(DecodeError::Compression { feature }));
        }
    }

    #[test]
    fn bytes_that_expand_beyond_what_was_said_are_an_error() {
        for compression in built_in() {
            let packed = compression.pack(&vec![0; 1 << 20]).unwrap();
            assert!(packed.len() < 10_000);
            for wrong in [0, 10, (1 << 20) - 1, (1 << 20) + 1] {
                assert!(compression.unpack(&packed, wrong).is_err(), "{compression:?} {wrong}");
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(plain in vec(0u8..4, 0..3000)) {
            for compression in built_in() {
                if let Some(packed) = compression.pack(&plain) {
                    prop_assert!(packed.len() < plain.len());
                    prop_assert_eq!(compression.unpack(&packed, plain.len()), Ok(plain.clone()));
                }
            }
        }

        #[test]
        fn foreign_bytes_never_panic(packed in vec(any::<u8>(), 0..300), bytes in 0usize..5000) {
            for compression in ALL {
                if let Ok(plain) = compression.unpack(&packed, bytes) {
                    prop_assert_eq!(plain.len(), bytes);
                }
            }
        }
    }
}
