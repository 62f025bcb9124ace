//! Whatever bytes come, in every format: rows or a reason, and never a panic.

use arrow::array::{Float64Array, StringArray};

use super::super::format::FormatKind;
use super::super::ipc::payload_of;
use super::super::{json, sparkplug};
use super::*;

const KINDS: [FormatKind; 6] = [
    FormatKind::Json,
    FormatKind::Csv,
    FormatKind::Raw,
    FormatKind::Cbor,
    FormatKind::ArrowIpc,
    FormatKind::SparkplugB,
];

fn decoder_of(kind: FormatKind) -> Decoder {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    let ts = field("ts", DataType::Timestamp(TimeUnit::Microsecond, None));
    let item = DataType::Struct(vec![field("x", DataType::Boolean)].into());
    let fields = match kind {
        FormatKind::Raw => vec![field("v", DataType::Float64)],
        FormatKind::Csv => vec![ts, field("v", DataType::Float64), field("s", DataType::Utf8)],
        FormatKind::SparkplugB => {
            sparkplug::COLUMNS.into_iter().map(|(name, kind)| field(name, kind)).collect()
        }
        _ => vec![
            ts,
            field("v", DataType::Float64),
            field("s", DataType::Utf8),
            field("l", DataType::new_list(item, true)),
            field("d", DataType::Decimal128(10, 2)),
        ],
    };
    let format = Format { kind, ..Format::default() };
    Decoder::new(&stream_schema(&fields), None, None, &format).unwrap()
}

/// In each format, each record is rows or one reason.
fn survive(payloads: &[Vec<u8>]) {
    let topics = ["spBv1.0/g/DBIRTH/n/d", "spBv1.0/g/NDATA/n"];
    let entries = payloads.iter().zip(topics.iter().cycle());
    let records = records(entries.map(|(payload, topic)| Entry::new(payload.clone()).key(*topic)));
    for kind in KINDS {
        let decoded = decoded(&decoder_of(kind), records.as_slice());
        for rejected in &decoded.rejected {
            let length = rejected.reason.len();
            assert!((1..2000).contains(&length), "{rejected:?}");
        }
        // Some have several rows, or none.
        let has_one_each = !matches!(kind, FormatKind::ArrowIpc | FormatKind::SparkplugB);
        let rows = decoded.rows.num_rows() + decoded.rejected.len();
        assert!(rows >= records.len() || !has_one_each, "{kind:?}");
    }
}

fn ipc() -> Vec<u8> {
    let rows = RecordBatch::try_from_iter([
        ("v", Arc::new(Float64Array::from(vec![1.5, 2.5])) as ArrayRef),
        ("s", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
    ]);
    payload_of(&rows.unwrap()).unwrap()
}

/// Whole payloads of each format, to be spoilt.
fn sound() -> Vec<Vec<u8>> {
    vec![
        br#"{"ts":1,"v":1e3,"s":"x","l":[{"x":1}],"d":"1.25"}"#.to_vec(),
        b"2026-01-01,1.5,\"a,b\"\n1767225600,2,c\n".to_vec(),
        b"\xA4bts\x01av\xF9\x3E\x00asaxal\x81\xA1ax\xF5".to_vec(),
        b"\x08\x80\xA0\x8B\xA4\xB73\x12\x11\x0A\x04temp\x10\x07\x20\x0A\x69\0\0\0\0\0\x80\x35\x40\x18\x03".to_vec(),
        ipc(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_rows_or_a_reason(payloads in vec(vec(any::<u8>(), 0..200), 1..4)) {
        survive(&payloads);
    }

    #[test]
    fn spoilt_payloads_are_rows_or_a_reason(
        which in 0usize..5,
        spoilt in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut payload = sound().remove(which);
        for (place, byte) in spoilt {
            let place = place.index(payload.len());
            payload[place] = byte;
        }
        if is_cut {
            payload.truncate(cut.index(payload.len()));
        }
        survive(&[payload]);
    }
}

#[test]
fn claims_of_more_than_is_there_set_nothing_aside() {
    let claims: [&[u8]; 6] = [
        b"\xBB\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\xA1av\x9B\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\xA1as\x7B\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
        b"\x12\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
        b"\xFF\xFF\xFF\xFF\x10\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
    ];
    survive(&claims.map(<[u8]>::to_vec));
}

#[test]
fn nesting_in_cbor_is_bounded() {
    for opening in [b"\xA1aa".as_slice(), b"\x81", b"\xC1", b"\x9F", b"\xBFaa"] {
        let payload = [b"\xA1av".as_slice(), &opening.repeat(200_000)].concat();
        let records = records([Entry::new(payload)]);
        let mut decoded = decoded(&decoder_of(FormatKind::Cbor), records.as_slice());
        let reason = decoded.rejected.remove(0).reason;
        let limit = json::MAX_DEPTH;
        assert_eq!(reason, format!("payload is nested more than {limit} levels deep"));
    }
}
