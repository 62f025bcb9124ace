//! Records come back from chunks however those were joined and compressed; damage is an error.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Seq;
use crate::log::records::Found;

/// Time, key, headers, value.
type Row = (i64, Vec<u8>, Vec<(String, Vec<u8>)>, Vec<u8>);

fn entries() -> impl Strategy<Value = Vec<Row>> {
    let headers = vec((".{0,5}", vec(any::<u8>(), 0..4)), 0..3);
    vec((any::<i64>(), vec(any::<u8>(), 0..9), headers, vec(any::<u8>(), 0..200)), 1..20)
}

fn wanted() -> impl Strategy<Value = Compression> {
    prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)]
}

/// The chunk as it settles.
fn settled(chunk: Bytes) -> Bytes {
    pack(&chunk).map_or(chunk, Bytes::from)
}

fn chunk_of(rows: &[Row], wanted: Compression) -> Bytes {
    let mut builder = ChunkBuilder::new(wanted);
    for (time, key, headers, value) in rows {
        let mut entry = Entry::new(value.clone()).key(key.clone());
        for (name, value) in headers {
            entry = entry.header(name.clone(), value.clone());
        }
        builder.push(&entry, Time::from_micros(*time));
    }
    builder.finish(7, Time::from_micros(8)).into()
}

fn last_of(rows: &[Row]) -> Seq {
    Seq::new(rows.len() as u64 - 1)
}

proptest! {
    /// Chunks of commits, each alone and all joined.
    #[test]
    fn records_come_back_from_any_position(
        commits in vec(entries(), 1..4),
        from in 0usize..60,
        most in 0usize..60,
        wanted in wanted(),
    ) {
        let rows = commits.concat();
        let chunks: Vec<Bytes> = commits.iter().map(|rows| chunk_of(rows, wanted)).collect();
        let stored = settled(join(&chunks).unwrap());
        let first = Seq::new(100);
        let last = Seq::new(99 + rows.len() as u64);
        let mut records = Found::default();
        read(&stored, last, first.plus(from as u64), most, &mut records).unwrap();
        let expected: Vec<_> = (100..).zip(&rows).skip(from).take(most).collect();
        prop_assert_eq!(records.len(), expected.len());
        for (record, (seq, (time, key, headers, value))) in records.iter().zip(expected) {
            prop_assert_eq!(record.seq().get(), seq);
            prop_assert_eq!(record.time().micros(), *time);
            prop_assert_eq!(record.key(), key);
            prop_assert_eq!(record.value(), value);
            let found: Vec<_> =
                record.headers().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
            prop_assert_eq!(&found, headers);
        }
        let front = front(&stored).unwrap();
        prop_assert_eq!(front.positions(last), Some(first..last.next()));
        prop_assert_eq!((front.end_bytes, front.newest), (7, Time::from_micros(8)));
        let times = rows.iter().map(|row| Time::from_micros(row.0));
        prop_assert_eq!(Some(front.earliest), times.clone().min());
        prop_assert_eq!(Some(front.latest), times.max());
    }

    #[test]
    fn damaged_chunks_never_panic(
        rows in entries(),
        wanted in wanted(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut bytes = settled(chunk_of(&rows, wanted)).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let mut out = Found::default();
        let result = read(&bytes.into(), last_of(&rows), Seq::ZERO, usize::MAX, &mut out);
        // A flipped bit may make another valid chunk; what counts is that it returns.
        prop_assert!(result.is_err() || out.len() > 0);
    }

    #[test]
    fn a_chunk_cut_short_is_an_error(
        rows in entries(),
        wanted in wanted(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = settled(chunk_of(&rows, wanted));
        let cut = whole.slice(..cut.index(whole.len()));
        prop_assert!(read(&cut, last_of(&rows), Seq::ZERO, usize::MAX, &mut Found::default()).is_err());
    }
}

fn same_rows(count: usize) -> Vec<Row> {
    vec![(5, b"key".to_vec(), Vec::new(), vec![7; 1000]); count]
}

#[test]
fn front_of_a_compressed_chunk_is_that_of_the_plain_one() {
    for wanted in [Compression::Lz4, Compression::Zstd] {
        let plain = chunk_of(&same_rows(20), wanted);
        let Some(packed) = pack(&plain) else {
            assert!(!wanted.is_built_in());
            continue;
        };
        assert!(packed.len() * 10 < plain.len());
        let expected = Front { packing: Packing::Packed(wanted), ..front(&plain).unwrap() };
        assert_eq!(front(&packed), Ok(expected));
        assert_eq!(pack(&packed), None, "it is compressed once");
    }
}

#[test]
fn length_beyond_what_is_ever_compressed_is_an_error_before_it_costs_memory() {
    for wanted in [Compression::Lz4, Compression::Zstd] {
        let plain = chunk_of(&same_rows(20), wanted);
        let Some(mut packed) = pack(&plain) else { continue };
        for length in [u32::MAX, u32::try_from(PACKED_BYTES).unwrap() + 1] {
            packed[FRONT_BYTES..FRONT_BYTES + 4].copy_from_slice(&length.to_le_bytes());
            let stored = packed.clone().into();
            let refused = read(&stored, Seq::new(19), Seq::ZERO, 1, &mut Found::default());
            assert_eq!(refused, Err(malformed("length")));
        }
    }
}

#[test]
fn record_that_is_too_long_stays_as_it_is() {
    let rows = vec![(5, Vec::new(), Vec::new(), vec![7; PACKED_BYTES])];
    for wanted in [Compression::Lz4, Compression::Zstd] {
        assert_eq!(pack(&chunk_of(&rows, wanted)), None);
    }
}
