//! Queries, and beside each what it says in Rust.

use std::collections::BTreeSet;

use super::*;

pub(crate) const CASES: [Case; 9] = [
    // Down, and up again.
    Case {
        sql: "SELECT k, since, low, until FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts \
              MEASURES FIRST(a.n) AS since, LAST(down.n) AS low, LAST(up.n) AS until \
              ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW \
              PATTERN (a down+ up+) WITHIN INTERVAL '20 seconds' \
              DEFINE down AS down.v < PREV(down.v), up AS up.v > PREV(up.v))",
        pattern: || C(vec![V('a'), repeat('d', 1, MANY), repeat('u', 1, MANY)]),
        define: |letter, seen| {
            let (now, prev) = (seen.now(), seen.prev(seen.now(), 1));
            match letter {
                'd' => prev.is_some_and(|prev| now.v < prev.v),
                'u' => prev.is_some_and(|prev| now.v > prev.v),
                _ => true,
            }
        },
        within: 20,
        skips_past: true,
        line: |seen| {
            let k = seen.now().k.map_or(String::new(), |k| format!("d{k}"));
            format!("|{k}{}", numbers(&[seen.first('a', 0), seen.last('d', 0), seen.last('u', 0)]))
        },
    },
    Case {
        sql: "SELECT n, m, o FROM t MATCH_RECOGNIZE (ORDER BY ts \
              MEASURES a.n AS n, FIRST(b.n, 1) AS m, c.n AS o AFTER MATCH SKIP TO NEXT ROW \
              PATTERN (a b*? c) WITHIN INTERVAL '12 seconds' \
              DEFINE a AS v >= 3, b AS b.v >= 0, c AS c.v < a.v AND c.v <> FIRST(b.v, 1))",
        pattern: || C(vec![V('a'), few('b', 0, MANY), V('c')]),
        define: |letter, seen| match letter {
            'a' => seen.now().v >= 3,
            'b' => seen.now().v >= 0,
            _ => {
                let other = seen.first('b', 1);
                let is_less = seen.last('a', 0).is_some_and(|a| seen.now().v < a.v);
                is_less && other.is_some_and(|other| seen.now().v != other.v)
            }
        },
        within: 12,
        skips_past: false,
        line: |seen| numbers(&[seen.last('a', 0), seen.first('b', 1), seen.last('c', 0)]),
    },
    // Each row may be several variables.
    Case {
        sql: "SELECT n, m, o, p FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts \
              MEASURES LAST(n) AS n, LAST(b.n, 1) AS m, c.n AS o, d.n AS p \
              PATTERN (a (b | c){1,3} d?) WITHIN INTERVAL '30 seconds' \
              DEFINE b AS b.v > LAST(b.v, 1) OR LAST(b.v, 1) IS NULL, c AS c.v > a.v, d AS d.v = b.v)",
        pattern: || {
            let either = E(vec![V('b'), V('c')]);
            C(vec![V('a'), R(Box::new(either), 1, 3, true), repeat('d', 0, 1)])
        },
        define: |letter, seen| match letter {
            'b' => seen.last('b', 1).is_none_or(|other| seen.now().v > other.v),
            'c' => seen.last('a', 0).is_some_and(|a| seen.now().v > a.v),
            'd' => seen.last('b', 0).is_some_and(|b| seen.now().v == b.v),
            _ => true,
        },
        within: 30,
        skips_past: true,
        line: |seen| {
            let rest = [seen.last('b', 1), seen.last('c', 0), seen.last('d', 0)];
            numbers(&[&[Some(seen.now())][..], &rest].concat())
        },
    },
    // Aggregates, over a variable and over all.
    Case {
        sql: "SELECT n, s, c, d, h FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts \
              MEASURES FIRST(n) AS n, sum(hot.v) * 2 - min(v) AS s, count(*) AS c, \
              count(DISTINCT hot.v) AS d, count(hot.*) FILTER (WHERE hot.n % 2 = 0) AS h \
              PATTERN (cold? hot{2,} cold) WITHIN INTERVAL '25 seconds' \
              DEFINE hot AS hot.v > 1, cold AS cold.v <= 1)",
        pattern: || C(vec![repeat('c', 0, 1), repeat('h', 2, MANY), V('c')]),
        define: |letter, seen| (seen.now().v > 1) == (letter == 'h'),
        within: 25,
        skips_past: true,
        line: |seen| {
            let hot: Vec<_> = seen.of('h').iter().map(|row| row.v).collect();
            let least = seen.all().map(|(_, row)| row.v).min().unwrap();
            let distinct = hot.iter().collect::<BTreeSet<_>>().len();
            let even = seen.of('h').iter().filter(|row| row.n % 2 == 0).count();
            let (first, all) = (seen.rows[seen.start].n, seen.letters.len());
            format!("|{first}|{}|{all}|{distinct}|{even}|", hot.iter().sum::<i64>() * 2 - least)
        },
    },
    // Rows in front of others than the last one, and of the match.
    Case {
        sql: "SELECT n, m, o FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts \
              MEASURES PREV(FIRST(n), 2) AS n, PREV(LAST(a.n, 1)) AS m, LAST(b.n) - PREV(b.n, 3) AS o \
              PATTERN (a{2} b) WITHIN INTERVAL '15 seconds' \
              DEFINE a AS a.v <> PREV(a.v, 2), b AS b.v >= PREV(LAST(a.v)))",
        pattern: || C(vec![repeat('a', 2, 2), V('b')]),
        define: |letter, seen| match letter {
            'a' => seen.prev(seen.now(), 2).is_some_and(|prev| prev.v != seen.now().v),
            _ => {
                let a = seen.last('a', 0).unwrap();
                seen.prev(a, 1).is_some_and(|prev| seen.now().v >= prev.v)
            }
        },
        within: 15,
        skips_past: true,
        line: |seen| {
            let first = seen.prev(&seen.rows[seen.start], 2);
            let second = seen.prev(seen.last('a', 1).unwrap(), 1);
            let (last, third) = (seen.now(), seen.prev(seen.now(), 3));
            let n = |row: Option<&Row>| text(row.map(|row| row.n));
            format!("|{}|{}|{}|", n(first), n(second), text(third.map(|third| last.n - third.n)))
        },
    },
    // The preferred way, not the longest.
    Case {
        sql: "SELECT n, c FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts \
              MEASURES FIRST(n) AS n, count(*) AS c AFTER MATCH SKIP TO NEXT ROW \
              PATTERN ((a b | a b b c | b) d*?) WITHIN INTERVAL '30 seconds' \
              DEFINE a AS a.v < 2, b AS b.v > 2)",
        pattern: || {
            let ab = C(vec![V('a'), V('b')]);
            let abbc = C(vec![V('a'), V('b'), V('b'), V('c')]);
            C(vec![E(vec![ab, abbc, V('b')]), few('d', 0, MANY)])
        },
        define: |letter, seen| match letter {
            'a' => seen.now().v < 2,
            'b' => seen.now().v > 2,
            _ => true,
        },
        within: 30,
        skips_past: false,
        line: |seen| format!("|{}|{}|", seen.rows[seen.start].n, seen.letters.len()),
    },
    // Until there is no more, or the time is over.
    Case {
        sql: "SELECT found.n, m, c + 1 AS c FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts \
              MEASURES FIRST(n) AS n, n AS m, count(*) AS c \
              PATTERN (x+) WITHIN INTERVAL '8 seconds' DEFINE x AS x.v <> 0) AS found WHERE n >= 0",
        pattern: || repeat('x', 1, MANY),
        define: |_, seen| seen.now().v != 0,
        within: 8,
        skips_past: true,
        line: |seen| {
            let (first, last) = (seen.rows[seen.start].n, seen.now().n);
            format!("|{first}|{last}|{}|", seen.letters.len() + 1)
        },
    },
    // Without definitions, over a query.
    Case {
        sql: "WITH q AS (SELECT ts, upper(k) AS \"Key\", n FROM t) SELECT n, m FROM q MATCH_RECOGNIZE ( \
              PARTITION BY \"Key\" ORDER BY ts MEASURES FIRST(n) AS n, LAST(n) AS m \
              PATTERN (x y) WITHIN INTERVAL '5 seconds')",
        pattern: || C(vec![V('x'), V('y')]),
        define: |_, _| true,
        within: 5,
        skips_past: true,
        line: |seen| numbers(&[seen.first('x', 0), seen.last('y', 0)]),
    },
    Case {
        sql: "SELECT n, m, o FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts \
              MEASURES FIRST(a.n) AS n, LAST(b.n) AS m, c.n AS o \
              PATTERN (a+? b{,2} c) WITHIN INTERVAL '20 seconds' \
              DEFINE a AS v > 0, b AS b.v < FIRST(a.v) AND b.v > LAST(a.v) - 3, c AS c.v > FIRST(v))",
        pattern: || C(vec![few('a', 1, MANY), repeat('b', 0, 2), V('c')]),
        define: |letter, seen| {
            let (now, start) = (seen.now().v, seen.rows[seen.start].v);
            match letter {
                'a' => now > 0,
                'b' => {
                    let last = seen.last('a', 0).unwrap().v;
                    now < seen.first('a', 0).unwrap().v && now > last - 3
                }
                _ => now > start,
            }
        },
        within: 20,
        skips_past: true,
        line: |seen| numbers(&[seen.first('a', 0), seen.last('b', 0), seen.last('c', 0)]),
    },
];
