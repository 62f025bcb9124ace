//! `ASOF JOIN` against a search through all rows, as DataFusion has no such join.

use arrow::array::TimestampNanosecondArray;

use super::*;

/// What a join asks for; the oracle goes by this, and the operator by the SQL beside it.
#[derive(Clone, Copy)]
struct Asof {
    is_outer: bool,
    is_before: bool,
    has_key: bool,
    /// Seconds, and whether a row as old as that is out.
    within: Option<(i64, bool)>,
    /// What ON says of each side.
    left: fn(&Row) -> bool,
    right: fn(&Row) -> bool,
}

const PLAIN: Asof = Asof {
    is_outer: false,
    is_before: false,
    has_key: true,
    within: None,
    left: |_| true,
    right: |_| true,
};
const OUTER: Asof = Asof { is_outer: true, ..PLAIN };

impl Asof {
    /// Each left row that comes out, with its partner. Of rows of one time the last is the newest.
    fn pairs<'a>(&self, a: &'a [Row], b: &'a [Row]) -> Vec<(&'a Row, Option<&'a Row>)> {
        let mut pairs = Vec::new();
        for row in a {
            let is_candidate = |other: &&Row| {
                let is_key = !self.has_key || (row.k.is_some() && row.k == other.k);
                let is_in_time = if self.is_before {
                    other.micros < row.micros
                } else {
                    other.micros <= row.micros
                };
                is_key && is_in_time && (self.right)(other)
            };
            let newest = b.iter().filter(is_candidate).max_by_key(|other| other.micros);
            let partner = newest.filter(|other| {
                let age = row.micros - other.micros;
                let is_young = self.within.is_none_or(|(most, is_out)| {
                    age < most * SECOND || (age == most * SECOND && !is_out)
                });
                is_young && (self.left)(row)
            });
            if self.is_outer || partner.is_some() {
                pairs.push((row, partner));
            }
        }
        pairs
    }

    /// `n` of both.
    fn numbers(&self, a: &[Row], b: &[Row]) -> Vec<String> {
        sorted(
            self.pairs(a, b).into_iter().map(|(row, other)| format!("|{}|{}|", row.n, text(other))),
        )
    }
}

fn text(row: Option<&Row>) -> String {
    row.map_or(String::new(), |row| row.n.to_string())
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

type Oracle = fn(&[Row], &[Row]) -> Vec<String>;

const QUERIES: [(&str, Oracle); 13] = [
    (
        "SELECT a.n AS n, b.n AS m FROM a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k",
        |a, b| PLAIN.numbers(a, b),
    ),
    (
        "SELECT a.n AS n, b.n AS m FROM a ASOF LEFT JOIN b MATCH_CONDITION (b.ts <= a.ts) \
         ON b.k = a.k",
        |a, b| OUTER.numbers(a, b),
    ),
    (
        "SELECT a.n AS n, b.n AS m FROM a ASOF LEFT OUTER JOIN b MATCH_CONDITION (a.ts > b.ts) \
         ON a.k = b.k",
        |a, b| Asof { is_before: true, ..OUTER }.numbers(a, b),
    ),
    (
        "SELECT a.n AS n, b.n AS m FROM a ASOF LEFT JOIN b \
         MATCH_CONDITION (a.ts >= b.ts AND a.ts <= b.ts + INTERVAL '5 seconds') ON a.k = b.k",
        |a, b| Asof { within: Some((5, false)), ..OUTER }.numbers(a, b),
    ),
    // As DuckDB writes it.
    (
        "SELECT a.n AS n, b.n AS m FROM a ASOF JOIN b ON a.k = b.k AND a.ts >= b.ts \
         AND a.ts - b.ts < INTERVAL '7 seconds'",
        |a, b| Asof { within: Some((7, true)), ..PLAIN }.numbers(a, b),
    ),
    (
        "SELECT a.n AS n, b.n AS m FROM a ASOF LEFT JOIN b ON a.k = b.k AND b.ts < a.ts \
         AND b.n % 3 <> 0 AND a.n % 2 = 0 AND a.ts BETWEEN b.ts AND b.ts + INTERVAL '20 seconds'",
        |a, b| {
            let (left, right) = (|row: &Row| row.n % 2 == 0, |row: &Row| row.n % 3 != 0);
            let within = Some((20, false));
            Asof { is_before: true, within, left, right, ..OUTER }.numbers(a, b)
        },
    ),
    // WHERE is asked of the pair that was found.
    (
        "SELECT a.ts, a.k, a.n, b.ts AS u, b.k AS l, b.n AS m FROM a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) \
         ON a.k = b.k AND a.n > -500 AND b.n < 500 WHERE b.n > a.n",
        |a, b| {
            let (left, right) = (|row: &Row| row.n > -500, |row: &Row| row.n < 500);
            let pairs = Asof { left, right, ..PLAIN }.pairs(a, b).into_iter();
            let pairs = pairs.filter(|(row, other)| other.is_some_and(|other| other.n > row.n));
            sorted(pairs.map(|(row, other)| {
                let (k, m, u) = (row.k.unwrap(), text(other), other.unwrap().micros);
                format!("|{}|d{k}|{}|{}|d{k}|{m}|", time(row.micros), row.n, time(u))
            }))
        },
    ),
    ("SELECT a.n AS n, b.n AS m FROM a ASOF LEFT JOIN b MATCH_CONDITION (a.ts >= b.ts)", |a, b| {
        Asof { has_key: false, ..OUTER }.numbers(a, b)
    }),
    (
        "SELECT l.n AS n, r.n AS m FROM a l ASOF LEFT JOIN a r MATCH_CONDITION (l.ts > r.ts) \
         ON upper(l.k) = upper(r.k)",
        |a, _| Asof { is_before: true, ..OUTER }.numbers(a, a),
    ),
    // Columns of every kind.
    (
        "SELECT a.n, a.k, b.k AS l, b.ts, b.n AS m FROM (a ASOF LEFT JOIN \
         (SELECT * FROM b WHERE n > 0) b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k)",
        |a, b| {
            let pairs = Asof { right: |row| row.n > 0, ..OUTER }.pairs(a, b);
            let key = |row: Option<&Row>| row.and_then(|row| row.k).map(|k| format!("d{k}"));
            sorted(pairs.into_iter().map(|(row, other)| {
                let (k, l) = (key(Some(row)).unwrap_or_default(), key(other).unwrap_or_default());
                let ts = other.map(|other| time(other.micros)).unwrap_or_default();
                format!("|{}|{k}|{l}|{ts}|{}|", row.n, text(other))
            }))
        },
    ),
    // Each row of the answer has the time of its left row.
    (
        "SELECT date_bin(INTERVAL '10 seconds', ts) AS w, count(*) AS c, sum(m) AS s FROM \
         (SELECT a.ts, b.n AS m FROM a ASOF LEFT JOIN b MATCH_CONDITION (a.ts >= b.ts) \
          ON a.k = b.k) GROUP BY date_bin(INTERVAL '10 seconds', ts)",
        |a, b| {
            let mut windows: std::collections::BTreeMap<i64, (i64, Option<i64>)> =
                Default::default();
            for (row, other) in OUTER.pairs(a, b) {
                let (count, sum) = windows.entry(row.micros.div_euclid(10 * SECOND)).or_default();
                *count += 1;
                *sum = other.map(|other| other.n + sum.unwrap_or_default()).or(*sum);
            }
            sorted(windows.into_iter().map(|(window, (count, sum))| {
                let sum = sum.map_or(String::new(), |sum| sum.to_string());
                format!("|{}|{count}|{sum}|", time(window * 10 * SECOND))
            }))
        },
    ),
    // Windows, each with what was the newest row at its start.
    (
        "SELECT x.w, x.k, x.c, b.n AS m FROM (SELECT date_bin(INTERVAL '10 seconds', ts) AS w, k, \
         count(*) AS c FROM a GROUP BY date_bin(INTERVAL '10 seconds', ts), k) x \
         ASOF LEFT JOIN b MATCH_CONDITION (x.w >= b.ts) ON x.k = b.k",
        |a, b| {
            let mut windows: std::collections::BTreeMap<(i64, Option<u8>), i64> =
                Default::default();
            for row in a {
                *windows.entry((row.micros.div_euclid(10 * SECOND), row.k)).or_default() += 1;
            }
            let windows = windows.into_iter();
            let rows = windows.map(|((w, k), n)| Row { micros: w * 10 * SECOND, k, n });
            let rows: Vec<_> = rows.collect();
            sorted(OUTER.pairs(&rows, b).into_iter().map(|(row, other)| {
                let k = row.k.map_or(String::new(), |k| format!("d{k}"));
                format!("|{}|{k}|{}|{}|", time(row.micros), row.n, text(other))
            }))
        },
    ),
    (
        "SELECT a.n + b.n AS n, c.n AS m FROM a \
         ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k \
         ASOF LEFT JOIN a c MATCH_CONDITION (a.ts > c.ts) ON c.k = b.k",
        |a, b| {
            let pairs = PLAIN.pairs(a, b).into_iter();
            let rows = pairs.map(|(row, other)| Row { n: row.n + other.unwrap().n, ..row.clone() });
            Asof { is_before: true, ..OUTER }.numbers(&rows.collect::<Vec<_>>(), a)
        },
    ),
];

/// As the answer is printed.
fn time(micros: i64) -> String {
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![micros]));
    arrow::util::display::array_value_to_string(&times, 0).unwrap()
}

proptest! {
    #![proptest_config(tries::of(8))]

    #[test]
    fn each_left_row_has_the_newest_right_row_that_is_not_behind_it(
        a in rows(4),
        b in rows(2),
        turns in vec((any::<bool>(), 1usize..20, any::<bool>()), 1..8),
    ) {
        for (query, oracle) in QUERIES {
            let (found, late, _) = block_on(streamed(query, &a, &b, &turns));
            prop_assert_eq!(late, 0, "{}", query);
            prop_assert_eq!(&found, &oracle(&a, &b), "{}", query);
        }
    }
}

fn row(second: i64, k: u8, n: i64) -> RecordBatch {
    batch(&[Row { micros: second * SECOND, k: Some(k), n }])
}

#[test]
fn a_row_waits_for_the_watermark_and_one_behind_it_is_late_on_either_side() {
    block_on(async {
        let mut join = pipeline(QUERIES[1].0).await.unwrap();
        assert!(join.push_to("b", &row(5, 1, 50)).unwrap().is_empty());
        assert!(join.push_to("a", &row(10, 1, 1)).unwrap().is_empty());
        // The watermark is 30 seconds behind the slower of the two.
        assert!(join.push_to("a", &row(100, 2, 2)).unwrap().is_empty());
        assert!(join.push_to("b", &row(40, 2, 51)).unwrap().is_empty());
        assert!(join.push_to("b", &row(10, 1, 52)).unwrap().is_empty());
        assert_eq!(exact_lines(&join.push_to("b", &row(41, 2, 53)).unwrap()), ["|1|52|"]);
        assert!(join.push_to("a", &row(10, 1, 3)).unwrap().is_empty());
        assert!(join.push_to("b", &row(10, 2, 54)).unwrap().is_empty());
        assert_eq!(join.late(), 2);
        let rest = join.advance(EventTime::from_micros(i64::MAX)).unwrap();
        assert_eq!(exact_lines(&rest), ["|2|53|"]);
    });
}

#[test]
fn of_rows_of_one_time_the_last_is_the_newest_whatever_was_stored_between_them() {
    block_on(async {
        let mut stored = Stored::new();
        let mut join = pipeline(QUERIES[0].0).await.unwrap();
        for n in [7, 3, 9, 1] {
            assert!(join.push_to("b", &row(5, 1, n)).unwrap().is_empty());
            store(&mut join, &mut stored);
            join = pipeline(QUERIES[0].0).await.unwrap();
            join.restore(&stored).unwrap();
        }
        join.push_to("a", &row(5, 1, 0)).unwrap();
        let rest = join.advance(EventTime::from_micros(i64::MAX)).unwrap();
        assert_eq!(exact_lines(&rest), ["|0|1|"]);
    });
}

/// What is in the store once `keys` devices have sent ten rows each on the right.
async fn stored_for(query: &str, keys: i64) -> Stored {
    let (mut join, mut stored) = (pipeline(query).await.unwrap(), Stored::new());
    for second in 0..10 {
        let rows = (0..keys).map(|n| Row { micros: second * SECOND, k: Some((n % 250) as u8), n });
        join.push_to("b", &batch(&rows.collect::<Vec<_>>())).unwrap();
        join.push_to("a", &row(second, 1, 0)).unwrap();
        store(&mut join, &mut stored);
    }
    for second in [41, 1000, 1034] {
        join.push_to("a", &row(second, 1, 0)).unwrap();
        join.push_to("b", &row(second, 1, 0)).unwrap();
        store(&mut join, &mut stored);
    }
    stored
}

#[test]
fn one_row_of_each_key_is_kept_and_none_that_is_too_old() {
    block_on(async {
        let rows_of = |stored: &Stored| stored.values().map(|bytes| bytes.len()).sum::<usize>();
        let (without, within) = (QUERIES[1].0, QUERIES[3].0);
        let (few, many) = (stored_for(without, 10).await, stored_for(without, 250).await);
        // Watermarks of sources and of operators, progress, a piece of what waits on each side, and 250
        // keys in fours of 64.
        assert_eq!((few.len(), many.len()), (6, 9));
        assert!(rows_of(&many) < 20_000, "{} bytes", rows_of(&many));
        // All but the key that has sent something since.
        let young = stored_for(within, 250).await;
        assert_eq!(young.len(), 6, "{:?}", young.keys());
        assert!(rows_of(&young) < rows_of(&few), "{} bytes", rows_of(&young));
    });
}

#[test]
fn times_in_nanoseconds_are_told_apart() {
    block_on(async {
        let rows = |nanos: &[i64]| {
            let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(nanos.to_vec()));
            let numbers: ArrayRef = Arc::new(Int64Array::from(nanos.to_vec()));
            RecordBatch::try_from_iter([("ts", times), ("n", numbers)]).unwrap()
        };
        for (condition, expected) in [
            ("a.ts >= b.ts", ["|1000|1000|", "|999|998|"]),
            ("a.ts > b.ts", ["|1000|998|", "|999|998|"]),
            (
                "a.ts >= b.ts AND a.ts < b.ts + INTERVAL '1 microsecond'",
                ["|1000|1000|", "|999|998|"],
            ),
        ] {
            let query =
                format!("SELECT a.n, b.n AS m FROM a ASOF JOIN b MATCH_CONDITION ({condition})");
            let builder = Pipeline::builder("a", rows(&[]).schema()).watermark("ts", DELAY);
            let builder = builder.stream("b", rows(&[]).schema()).watermark("ts", DELAY);
            let mut join = builder.query(&query).await.unwrap();
            join.push_to("b", &rows(&[998, 1000])).unwrap();
            join.push_to("a", &rows(&[999, 1000])).unwrap();
            let found = join.advance(EventTime::from_micros(i64::MAX)).unwrap();
            assert_eq!(exact_lines(&found), expected, "{condition}");
        }
    });
}

#[test]
fn state_has_a_limit() {
    block_on(async {
        let mut join = pipeline(QUERIES[1].0).await.unwrap();
        let rows: Vec<_> = (0..8192).map(|n| Row { micros: 0, k: Some(1), n }).collect();
        for _ in 0..100 {
            join.push_to("a", &batch(&rows)).unwrap();
        }
        let full = join.checkpoint().unwrap_err();
        assert!(matches!(full, OperatorError::JoinFull { rows: 819_200, .. }), "{full}");
    });
}

#[test]
fn what_it_cannot_do_is_refused_with_what_it_can() {
    for (query, expected) in [
        (
            "SELECT a.n FROM a ASOF JOIN b ON a.k = b.k",
            "ASOF JOIN does not say how the event times of the two streams are compared; add \
             MATCH_CONDITION (a.ts >= b.ts)",
        ),
        (
            "SELECT a.n FROM a ASOF JOIN b MATCH_CONDITION (a.ts <= b.ts) ON a.k = b.k",
            "ASOF JOIN finds the newest right row that is not behind the left one; write \
             MATCH_CONDITION (a.ts >= b.ts), and perhaps AND a.ts <= b.ts + INTERVAL '5 seconds'",
        ),
        (
            "SELECT a.n FROM a ASOF JOIN b MATCH_CONDITION (a.ts <= b.ts + INTERVAL '1 s')",
            "write MATCH_CONDITION (a.ts >= b.ts)",
        ),
        (
            "SELECT a.n FROM a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts + INTERVAL '1 s')",
            "write MATCH_CONDITION (a.ts >= b.ts)",
        ),
        (
            "SELECT a.n FROM a\nASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) USING (k)",
            "line 2, column 11: ASOF JOIN takes ON, not USING; write ON t.symbol = q.symbol",
        ),
        (
            "SELECT a.n FROM a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.n > b.n",
            "`a.n > b.n` of an ASOF JOIN is neither a key nor about one side; put it into WHERE",
        ),
        // Rows come in the order of their left times.
        (
            "SELECT count(*) FROM (SELECT b.ts FROM a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts)) \
             GROUP BY tumble_start(ts, INTERVAL '10 seconds')",
            "windows close by the watermark, and this one is not over its column of `a`",
        ),
        ("SELECT a.n FROM a ASOF JOIN b", "expected MATCH_CONDITION, but the text ends"),
        ("SELECT a.n FROM a ASOF RIGHT JOIN b ON a.ts >= b.ts", "expected JOIN, found RIGHT"),
        ("SELECT n FROM a WHERE asof_match(n > 0)", "`asof_match` is what ASOF JOIN is made of"),
    ] {
        let error = block_on(pipeline(query)).unwrap_err().to_string();
        assert!(error.contains(expected), "{query}\n  says: {error}\n  not:  {expected}");
    }
}
