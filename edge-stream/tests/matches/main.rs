//! `MATCH_RECOGNIZE` finds what a search finds that tries one way after the other, and goes back, over
//! all rows of a key at once.
//!
//! Generated rows come in any cut of batches, out of order within the watermark's delay, several at
//! one point in time; between batches the pipeline is, at generated moments, thrown away and made
//! anew from its checkpoints.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use answers::{exact_lines, store};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use edge_stream::{EventTime, OperatorError, Pipeline, SqlError, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../support/answers.rs"]
mod answers;
mod cases;
mod refusals;
#[path = "../support/tries.rs"]
mod tries;

use cases::CASES;

const SECOND: i64 = 1_000_000;
const DELAY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Row {
    second: i64,
    k: Option<u8>,
    v: i64,
    /// Its place among all rows.
    n: i64,
}

/// A pattern of letters.
#[derive(Clone)]
enum P {
    V(char),
    /// One behind the other.
    C(Vec<P>),
    /// One of them.
    E(Vec<P>),
    /// So many times, and whether rather more.
    R(Box<P>, u32, u32, bool),
}
use P::{C, E, R, V};

const MANY: u32 = u32::MAX;

fn repeat(letter: char, least: u32, most: u32) -> P {
    R(Box::new(V(letter)), least, most, true)
}

fn few(letter: char, least: u32, most: u32) -> P {
    R(Box::new(V(letter)), least, most, false)
}

/// Rows of one key in order, those that a match has so far, and what they are in it.
struct Seen<'a> {
    rows: &'a [Row],
    start: usize,
    letters: Vec<char>,
}

impl<'a> Seen<'a> {
    fn all(&self) -> impl DoubleEndedIterator<Item = (char, &'a Row)> {
        let rows = &self.rows[self.start..self.start + self.letters.len()];
        self.letters.clone().into_iter().zip(rows).collect::<Vec<_>>().into_iter()
    }

    fn of(&self, letter: char) -> Vec<&'a Row> {
        self.all().filter(|(own, _)| *own == letter).map(|(_, row)| row).collect()
    }

    fn first(&self, letter: char, behind: usize) -> Option<&'a Row> {
        self.of(letter).get(behind).copied()
    }

    fn last(&self, letter: char, in_front: usize) -> Option<&'a Row> {
        self.of(letter).into_iter().rev().nth(in_front)
    }

    /// The row that is looked at.
    fn now(&self) -> &'a Row {
        &self.rows[self.start + self.letters.len() - 1]
    }

    /// A row of the key in front of another, whether it is in the match or not.
    fn prev(&self, row: &Row, rows: usize) -> Option<&'a Row> {
        let place = self.rows.iter().position(|other| other.n == row.n).unwrap();
        place.checked_sub(rows).map(|place| &self.rows[place])
    }
}

/// A query, and what the search goes by.
struct Case {
    sql: &'static str,
    pattern: fn() -> P,
    define: fn(char, &Seen<'_>) -> bool,
    within: i64,
    skips_past: bool,
    line: fn(&Seen<'_>) -> String,
}

impl Case {
    /// Takes rows for a pattern: the first way that leads to a match.
    fn takes(&self, pattern: &[P], seen: &mut Seen<'_>) -> bool {
        let Some((first, rest)) = pattern.split_first() else { return true };
        let with = |parts: &[P]| [parts, rest].concat();
        match first {
            V(letter) => {
                let (length, start) = (seen.letters.len(), seen.rows[seen.start].second);
                let next = seen.rows.get(seen.start + length);
                if next.is_none_or(|row| row.second - start >= self.within) {
                    return false;
                }
                seen.letters.push(*letter);
                if (self.define)(*letter, seen) && self.takes(rest, seen) {
                    return true;
                }
                seen.letters.truncate(length);
                false
            }
            C(parts) => self.takes(&with(parts), seen),
            E(parts) => {
                parts.iter().any(|part| self.takes(&with(std::slice::from_ref(part)), seen))
            }
            R(of, least, most, is_greedy) => {
                let less = (least.saturating_sub(1), most.saturating_sub(1));
                let again =
                    R(of.clone(), less.0, if *most == MANY { MANY } else { less.1 }, *is_greedy);
                let more = with(&[P::clone(of), again]);
                match (*least > 0, *most == 0, *is_greedy) {
                    (true, ..) => self.takes(&more, seen),
                    (false, true, _) => self.takes(rest, seen),
                    (false, false, true) => self.takes(&more, seen) || self.takes(rest, seen),
                    (false, false, false) => self.takes(rest, seen) || self.takes(&more, seen),
                }
            }
        }
    }

    fn lines(&self, rows: &[Row], has_keys: bool) -> Vec<String> {
        let mut keys: BTreeMap<Option<u8>, Vec<Row>> = BTreeMap::new();
        for row in rows {
            keys.entry(row.k.filter(|_| has_keys)).or_default().push(row.clone());
        }
        let mut lines = Vec::new();
        for rows in keys.values_mut() {
            rows.sort_by_key(|row| row.second);
            let mut start = 0;
            while start < rows.len() {
                let mut seen = Seen { rows, start, letters: Vec::new() };
                let is_match = self.takes(&[(self.pattern)()], &mut seen);
                if is_match {
                    lines.push((self.line)(&seen));
                }
                start += if is_match && self.skips_past { seen.letters.len() } else { 1 };
            }
        }
        lines.sort();
        lines
    }
}

fn text(value: Option<i64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn numbers(rows: &[Option<&Row>]) -> String {
    let cells: Vec<_> = rows.iter().map(|row| text(row.map(|row| row.n))).collect();
    format!("|{}|", cells.join("|"))
}

/// Rows whose times go up, but for some seconds up and down that the watermark's delay covers.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let k = prop::option::weighted(0.8, 0u8..2);
    vec((0i64..3, 0i64..10, k, 0i64..5), 1..60).prop_map(|steps| {
        let mut clock = 0;
        let rows = steps.into_iter().zip(0..).map(|((step, back, k, v), n)| {
            clock += step;
            Row { second: clock - back, k, v, n }
        });
        rows.collect()
    })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.second * SECOND);
    let keys = rows.iter().map(|row| row.k.map(|k| format!("d{k}")));
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times)), true),
        ("k", Arc::new(keys.collect::<StringArray>()), true),
        ("v", Arc::new(rows.iter().map(|row| Some(row.v)).collect::<Int64Array>()), true),
        ("n", Arc::new(rows.iter().map(|row| Some(row.n)).collect::<Int64Array>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

async fn pipeline(query: &str) -> Result<Pipeline, SqlError> {
    Pipeline::builder("t", batch(&[]).schema()).watermark("ts", DELAY).query(query).await
}

/// Pushes the rows in pieces; behind some of them the state is stored, and behind some of those the
/// pipeline is made anew. Returns the answer, and bytes of state in the end.
async fn streamed(query: &str, rows: &[Row], cuts: &[(usize, u8)]) -> (Vec<String>, usize) {
    let mut query_now = pipeline(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let (mut answers, mut stored) = (Vec::new(), Stored::new());
    let (mut rest, mut cuts) = (rows, cuts.iter().cycle());
    while !rest.is_empty() {
        let (size, what) = *cuts.next().unwrap();
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        answers.extend(query_now.push(&batch(piece)).unwrap());
        if what > 0 {
            store(&mut query_now, &mut stored);
        }
        if what > 1 {
            query_now = pipeline(query).await.unwrap();
            query_now.restore(&stored).unwrap();
        }
    }
    answers.extend(query_now.advance(EventTime::from_micros(i64::MAX)).unwrap());
    assert_eq!(query_now.late(), 0);
    store(&mut query_now, &mut stored);
    (exact_lines(&answers), stored.values().map(|bytes| bytes.len()).sum())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(tries::of(12))]

    #[test]
    fn matches_are_those_of_a_search_through_all_rows(
        rows in rows(),
        cuts in vec((1usize..20, 0u8..3), 1..6),
    ) {
        for case in &CASES {
            let (found, left) = block_on(streamed(case.sql, &rows, &cuts));
            let has_keys = case.sql.contains("PARTITION BY");
            prop_assert_eq!(&found, &case.lines(&rows, has_keys), "{}", case.sql);
            let is_kept = case.sql.contains("PREV");
            prop_assert!(is_kept || left < 1500, "{} waits for ever: {} bytes", case.sql, left);
        }
    }
}

fn row(second: i64, v: i64) -> RecordBatch {
    batch(&[Row { second, k: Some(1), v, n: second }])
}

#[test]
fn a_match_comes_out_once_no_row_to_come_can_change_it() {
    block_on(async {
        let matched = |pattern: &str| {
            format!(
                "SELECT n, m FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES \
                 FIRST(n) AS n, LAST(n) AS m PATTERN {pattern} WITHIN INTERVAL '30 seconds' \
                 DEFINE a AS a.v = 1, b AS b.v = 2)"
            )
        };
        // The watermark is ten seconds behind, and passes what lies in front of it.
        for (pattern, rows, expected) in [
            ("(a b)", vec![(0, 1), (1, 2), (11, 0)], None),
            ("(a b)", vec![(0, 1), (1, 2), (12, 0)], Some("|0|1|")),
            ("(a b+)", vec![(0, 1), (1, 2), (12, 0)], None),
            ("(a b+)", vec![(0, 1), (1, 2), (5, 0), (16, 0)], Some("|0|1|")),
            // By then no row can be within 30 seconds of the first.
            ("(a b+)", vec![(0, 1), (1, 2), (39, 2)], None),
            ("(a b+)", vec![(0, 1), (1, 2), (40, 2)], Some("|0|1|")),
            ("(a b+?)", vec![(0, 1), (1, 2), (12, 0)], Some("|0|1|")),
            ("(a b{1,2})", vec![(0, 1), (1, 2), (2, 2), (13, 0)], Some("|0|2|")),
        ] {
            let mut query = pipeline(&matched(pattern)).await.unwrap();
            let mut answers = Vec::new();
            for (second, v) in &rows {
                answers.extend(query.push(&row(*second, *v)).unwrap());
            }
            assert_eq!(exact_lines(&answers), Vec::from_iter(expected), "{pattern} in {rows:?}");
        }
        let mut query = pipeline(&matched("(a b)")).await.unwrap();
        query.push(&row(100, 0)).unwrap();
        query.push(&row(89, 1)).unwrap();
        assert_eq!(query.late(), 1);
    });
}

#[test]
fn matches_are_counted_in_windows_by_the_time_of_a_row_that_each_has() {
    block_on(async {
        let found = "SELECT since, until FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES \
                     FIRST(ts) AS since, b.ts AS until, c.ts AS maybe AFTER MATCH SKIP TO NEXT ROW \
                     PATTERN (a x* b c?) WITHIN INTERVAL '20 seconds' DEFINE a AS a.v = 1, \
                     b AS b.v = 2, c AS c.v = 3)";
        let rows =
            (0..400).map(|n| Row { second: n / 2, k: Some((n % 3) as u8), v: n * 7 % 11 % 5, n });
        let rows: Vec<_> = rows.collect();
        for column in ["since", "until"] {
            let each = format!("SELECT date_trunc('minute', {column}) AS w FROM ({found})");
            let (each, _) = streamed(&each, &rows, &[(7, 1), (9, 2)]).await;
            assert!(each.len() > 20, "{} matches", each.len());
            let mut expected: Vec<_> = each
                .chunk_by(|a, b| a == b)
                .map(|same| format!("{}{}|", same[0], same.len()))
                .collect();
            expected.sort();
            let counted = format!(
                "SELECT tumble_start({column}, INTERVAL '1 minute') AS w, count(*) AS c FROM \
                 ({found}) GROUP BY tumble_start({column}, INTERVAL '1 minute')"
            );
            assert_eq!(streamed(&counted, &rows, &[(7, 1), (9, 2)]).await.0, expected);
        }
        let maybe = found.replace("since, until FROM", "maybe FROM");
        let counted = format!(
            "SELECT count(*) FROM ({maybe}) GROUP BY tumble_start(maybe, INTERVAL '1 minute')"
        );
        let error = pipeline(&counted).await.unwrap_err().to_string();
        assert!(error.contains("windows close by the watermark"), "{error}");
    });
}

#[test]
fn state_and_partial_matches_have_a_limit() {
    block_on(async {
        let query = "SELECT n FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES FIRST(n) AS n, \
                     LAST(concat(k, repeat('x', 3000))) AS x PATTERN (a+ b) WITHIN INTERVAL '1 hour' \
                     DEFINE a AS a.v >= 0, b AS b.v < 0)";
        let rows = (0..8192).map(|n| Row { second: n / 100, k: Some(1), v: 1, n });
        let mut full = pipeline(query).await.unwrap();
        full.push(&batch(&rows.collect::<Vec<_>>())).unwrap();
        let error = full.checkpoint().unwrap_err();
        assert!(matches!(error, OperatorError::MatchesFull { rows: 8192, .. }), "{error}");

        let query = "SELECT n FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES FIRST(n) AS n \
                     PATTERN ((a | b)+ c) WITHIN INTERVAL '1 hour' DEFINE \
                     a AS LAST(a.v, 20) IS NULL OR a.v >= 0, c AS c.v < 0)";
        let mut crowded = pipeline(query).await.unwrap();
        let rows = (0..40).map(|n| Row { second: n, k: None, v: 1, n });
        let error = crowded.push(&batch(&rows.collect::<Vec<_>>())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "MATCH_RECOGNIZE has more than 10000 partial matches from one row, which is the limit"
        );
    });
}
