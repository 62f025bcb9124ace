//! Windows that are cut out of all rows of a key at once, and DataFusion's groups over them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use datafusion::prelude::SessionContext;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::answers::lines;

pub(crate) const SECOND: i64 = 1_000_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) micros: i64,
    pub(crate) device: Option<u8>,
    pub(crate) temp: Option<i16>,
    pub(crate) n: i64,
    pub(crate) flag: Option<bool>,
}

/// Rows whose times go up, but for some seconds up and down. No two are of one time, whose order would
/// be that in which they come.
pub(crate) fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0i64..8,
        0i64..30,
        prop::option::weighted(0.9, 0u8..5),
        prop::option::weighted(0.9, -50i16..100),
        -1000i64..1000,
        prop::option::weighted(0.8, any::<bool>()),
    );
    vec(row, 1..120).prop_map(|steps| {
        let mut clock = 0;
        let rows = (0..).zip(steps).map(|(number, (step, back, device, temp, n, flag))| {
            clock += step;
            Row { micros: (clock - back) * SECOND + number, device, temp, n, flag }
        });
        rows.collect()
    })
}

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.micros);
    let devices = rows.iter().map(|row| row.device.map(|device| format!("d{device}")));
    let temps = rows.iter().map(|row| row.temp.map(f64::from));
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times)), true),
        ("device", Arc::new(devices.collect::<StringArray>()), true),
        ("temp", Arc::new(temps.collect::<Float64Array>()), true),
        ("n", Arc::new(rows.iter().map(|row| Some(row.n)).collect::<Int64Array>()), true),
        ("flag", Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Windows as they stand in FROM, and as they are defined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) sql: &'static str,
    pub(crate) rule: Rule,
    pub(crate) longest: i64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    Count { rows: usize, every: usize },
    Event(fn(&Row) -> bool, fn(&Row) -> bool),
    State(fn(&Row) -> Option<bool>),
}

const DAY: i64 = 86_400 * SECOND;

/// Values of `temp` are from -50 to 99.
pub(crate) const ALL: [Windows; 6] = [
    Windows {
        sql: "COUNT_WINDOW(t, DESCRIPTOR(ts), 3)",
        rule: Rule::Count { rows: 3, every: 3 },
        longest: DAY,
    },
    Windows {
        sql: "COUNT_WINDOW(t, ts, 5, 2)",
        rule: Rule::Count { rows: 5, every: 2 },
        longest: DAY,
    },
    Windows {
        sql: "COUNT_WINDOW(t, ts, 3, LONGEST => INTERVAL '20 seconds')",
        rule: Rule::Count { rows: 3, every: 3 },
        longest: 20 * SECOND,
    },
    Windows {
        sql: "EVENT_WINDOW(t, ts, START WITH temp > 50, END WITH temp < 0)",
        rule: Rule::Event(|row| row.temp > Some(50), |row| row.temp.is_some_and(|temp| temp < 0)),
        longest: DAY,
    },
    Windows {
        sql: "EVENT_WINDOW(t, ts, flag, NOT flag OR n > 900, LONGEST => INTERVAL '15 seconds')",
        rule: Rule::Event(
            |row| row.flag == Some(true),
            |row| row.flag == Some(false) || row.n > 900,
        ),
        longest: 15 * SECOND,
    },
    Windows {
        sql: "STATE_WINDOW(t, ts, temp > 20, LONGEST => INTERVAL '30 seconds')",
        rule: Rule::State(|row| row.temp.map(|temp| temp > 20)),
        longest: 30 * SECOND,
    },
];

/// A window: its start, its end, and which rows are in it.
type Window = (i64, i64, Vec<usize>);

impl Windows {
    /// The windows that rows of one key make in their order, which are these by their places; no more
    /// come.
    fn of_key(&self, rows: &[Row], order: &[usize]) -> Vec<Window> {
        if let Rule::Count { rows: size, every } = self.rule
            && self.longest == DAY
        {
            let windows = order.windows(size).step_by(every);
            return windows.map(|own| self.window(rows, own, None)).collect();
        }
        let (mut rest, mut found) = (order, Vec::new());
        while let Some(first) = rest.first() {
            let cut = rows[*first].micros + self.longest;
            let within = rest.partition_point(|row| rows[*row].micros < cut);
            let (len, window) = match self.rule {
                Rule::Count { rows: size, .. } => match within >= size {
                    true => (size, Some(self.window(rows, &rest[..size], None))),
                    false => (within, None),
                },
                Rule::Event(opens, _) if !opens(&rows[*first]) => (1, None),
                Rule::Event(_, closes) => {
                    match rest[..within].iter().position(|row| closes(&rows[*row])) {
                        Some(last) => (last + 1, Some(self.window(rows, &rest[..=last], None))),
                        None => (within, Some(self.window(rows, &rest[..within], Some(cut)))),
                    }
                }
                Rule::State(value) => {
                    let is_same = |row: &&usize| value(&rows[**row]) == value(&rows[*first]);
                    let same = rest.iter().take_while(is_same).count();
                    let changes = rest.get(same).map_or(cut, |row| rows[*row].micros.min(cut));
                    let len = same.min(within);
                    (len, Some(self.window(rows, &rest[..len], Some(changes))))
                }
            };
            found.extend(window);
            rest = &rest[len..];
        }
        found
    }

    /// Without an end of its own it ends with its last row.
    fn window(&self, rows: &[Row], own: &[usize], end: Option<i64>) -> Window {
        let time = |place: Option<&usize>| rows[*place.unwrap()].micros;
        (time(own.first()), end.unwrap_or(time(own.last())), own.to_vec())
    }

    pub(crate) fn all(&self, rows: &[Row], key: impl Fn(&Row) -> Option<u8>) -> Vec<Window> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|place| (key(&rows[*place]), rows[*place].micros));
        let keys = order.chunk_by(|a, b| key(&rows[*a]) == key(&rows[*b]));
        keys.flat_map(|own| self.of_key(rows, own)).collect()
    }
}

/// What DataFusion answers over rows with the windows that they are in.
pub(crate) async fn answer(windows: &Windows, query: &str, rows: &[Row]) -> Vec<String> {
    let is_filtered = query.contains("WHERE temp > 0");
    let rows: Vec<_> =
        rows.iter().filter(|row| !is_filtered || row.temp > Some(0)).cloned().collect();
    let is_keyed = query.split("GROUP BY").nth(1).unwrap().contains("device");
    let found = windows.all(&rows, |row| if is_keyed { row.device } else { None });
    let of_rows = found.iter().flat_map(|(start, end, own)| {
        own.iter().map(move |row| (*start, *end, u32::try_from(*row).unwrap()))
    });
    let of_rows: Vec<_> = of_rows.collect();
    let places: UInt32Array = of_rows.iter().map(|(.., row)| Some(*row)).collect();
    let rows = take_record_batch(&batch(&rows), &places).unwrap();
    let bound = |of: fn(&(i64, i64, u32)) -> i64| {
        Arc::new(TimestampMicrosecondArray::from_iter_values(of_rows.iter().map(of))) as ArrayRef
    };
    let names = rows.schema();
    let names = names.fields().iter().map(|field| field.name().as_str());
    let columns = names.zip(rows.columns().iter().cloned());
    let bounds = [("window_start", bound(|found| found.0)), ("window_end", bound(|found| found.1))];
    let columns = columns.chain(bounds).map(|(name, column)| (name, column, true));
    let table = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let context = SessionContext::new();
    context.register_batch("t", table).unwrap();
    let query = query.replace(" W ", " t ");
    lines(&context.sql(&query).await.unwrap().collect().await.unwrap())
}
