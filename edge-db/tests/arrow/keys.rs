//! Columns of keys.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::UInt64Builder;
use arrow_array::{
    ArrayRef, BooleanArray, Decimal256Array, Int8Array, StringArray, TimestampMicrosecondArray,
    UInt16Array, UInt64Array,
};
use arrow_buffer::i256;
use arrow_schema::DataType;
use edge_db::arrow::KeyColumns;
use edge_db::{Db, Key, Seq, Time};

use super::{collect, one};

/// The key columns of these keys, as one batch has them, once they were stored.
fn key_columns<K: KeyColumns + Ord + 'static>(keys: &[K]) -> Vec<ArrayRef> {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<K, ()>("keys").unwrap();
    let mut batch = db.batch();
    keys.iter().for_each(|key| batch.insert(&table, key, &()).unwrap());
    batch.commit().unwrap();
    let batches = collect(table.iter().unwrap().record_batches(100).unwrap());
    batches[0].columns().to_vec()
}

fn decimals<const N: usize>(numbers: [i256; N]) -> Decimal256Array {
    Decimal256Array::from(numbers.to_vec()).with_precision_and_scale(39, 0).unwrap()
}

#[test]
fn extremes_of_keys_are_exact() {
    assert_eq!(key_columns(&[0, u64::MAX]), one(UInt64Array::from(vec![0, u64::MAX])));
    assert_eq!(key_columns(&[i8::MIN, i8::MAX]), one(Int8Array::from(vec![i8::MIN, i8::MAX])));
    assert_eq!(key_columns(&[false, true]), one(BooleanArray::from(vec![false, true])));
    assert_eq!(key_columns(&[Seq::new(7)]), one(UInt64Array::from(vec![7])));
    let times = [i64::MIN, -1, i64::MAX];
    let expected = TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC");
    assert_eq!(key_columns(&times.map(Time::from_micros)), one(expected));

    let most = "340282366920938463463374607431768211455";
    assert_eq!(key_columns(&[u128::MAX]), one(decimals([i256::from_string(most).unwrap()])));
    let both = [i128::MIN, i128::MAX];
    assert_eq!(key_columns(&both), one(decimals(both.map(i256::from_i128))));

    let nested = ((String::new(), 1u16), Time::from_micros(2));
    let expected: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![""])),
        Arc::new(UInt16Array::from(vec![1])),
        Arc::new(TimestampMicrosecondArray::from(vec![2]).with_timezone("UTC")),
    ];
    assert_eq!(key_columns(&[nested]), expected);
}

#[test]
fn own_key_type_has_the_columns_of_what_it_holds() {
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Device(u64);
    impl Key for Device {
        fn kind() -> Cow<'static, str> {
            u64::kind()
        }
        fn encode(&self, out: &mut Vec<u8>) {
            self.0.encode(out);
        }
        fn decode(bytes: &mut &[u8]) -> Option<Device> {
            u64::decode(bytes).map(Device)
        }
    }
    impl KeyColumns for Device {
        type Builder = UInt64Builder;

        fn data_types() -> Vec<DataType> {
            u64::data_types()
        }
        fn append(&self, columns: &mut UInt64Builder) {
            self.0.append(columns);
        }
        fn finish(columns: &mut UInt64Builder) -> Vec<ArrayRef> {
            u64::finish(columns)
        }
    }
    assert_eq!(key_columns(&[Device(7)]), one(UInt64Array::from(vec![7])));
}
