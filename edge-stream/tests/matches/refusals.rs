//! What is refused, where, and what would work.

use super::*;

#[test]
fn what_it_cannot_do_is_refused_with_what_it_can() {
    let query = |measures: &str, pattern: &str, define: &str| {
        format!(
            "SELECT * FROM t MATCH_RECOGNIZE (\nORDER BY ts\nMEASURES {measures}\n{pattern}\nDEFINE {define})"
        )
    };
    let within = "PATTERN (a b) WITHIN INTERVAL '1 minute'";
    for (query, expected) in [
        (
            query("a.n AS n", "PATTERN (a b)", "a AS v > 1"),
            "MATCH_RECOGNIZE without WITHIN would follow a match for ever; write FROM readings",
        ),
        (
            query("a.n AS n", "PATTERN (a* b?) WITHIN INTERVAL '1 minute'", "a AS v > 1"),
            "line 4, column 10: the pattern may take no row; use + in place of *",
        ),
        (
            query("a.n AS n", "PATTERN ((a? b?)* c) WITHIN INTERVAL '1 minute'", "a AS v > 1"),
            "a part of the pattern that is repeated without end may take no row; repeat one",
        ),
        (
            query("a.n AS n", "PATTERN (a{3,2}) WITHIN INTERVAL '1 minute'", "a AS v > 1"),
            "{n,m} repeats at least n and at most m times",
        ),
        (
            query("a.n AS n", "PATTERN (a{1,2000}) WITHIN INTERVAL '1 minute'", "a AS v > 1"),
            "the pattern is too long with all its repetitions",
        ),
        (
            query("a.n AS n", "PATTERN (^ a) WITHIN INTERVAL '1 minute'", "a AS v > 1"),
            "^ or $ is not",
        ),
        (
            query("a.n AS n", "PATTERN (a PERMUTE(b, c)) WITHIN INTERVAL '1 minute'", "a AS v > 1"),
            "PERMUTE is not there in a pattern; write the orders with |",
        ),
        (
            query("a.n AS n", within, "a AS v > 1, bb AS v < 1"),
            "line 5, column 20: `bb` is defined, and not in the pattern; did you mean `b`?",
        ),
        (query("a.n AS n", within, "a AS v > 1, a AS v < 5"), "`a` is defined twice; join both"),
        (
            query("a.n AS n", "PATTERN (a b) WITHIN INTERVAL '1 month'", "a AS v > 1"),
            "WITHIN takes a fixed time, such as INTERVAL '1 minute'",
        ),
        (
            query("a.temp AS n", within, "a AS v > 1"),
            "line 3, column 12: there is no column `temp`",
        ),
        (
            query("a.n AS n", within, "a AS v > 1, b AS b.v > NEXT(b.v)"),
            "line 5, column 31: NEXT looks at a row that has not come; write PREV from the later row",
        ),
        (
            query("a.n AS n", within, "b AS b.v > avg(a.v)"),
            "line 5, column 19: `avg` over the rows of a match is there in MEASURES, not in DEFINE",
        ),
        (
            query("sum(a.v - b.v) AS n", within, "a AS v > 1"),
            "columns of one row are those of one variable: LAST(a.x) - LAST(b.x)",
        ),
        (
            query("classifier() AS n", within, "a AS v > 1"),
            "classifier() is not there; say by MEASURES",
        ),
        (
            query("LAST(a.n, b.n) AS n", within, "a AS v > 1"),
            "LAST takes a column, and perhaps a number",
        ),
        (
            query("a.n AS n", within, "a AS v > (SELECT max(v) FROM t)"),
            "MATCH_RECOGNIZE has no subqueries; join the table in front of it",
        ),
        (query("a.n AS n", within, "a AS v > random()"), "`random()` is not the same each time"),
        (
            query("a.n AS n", within, "a AS v > 1").replace("ORDER BY ts", "ORDER BY ts DESC"),
            "cannot run from the newest row back; write ORDER BY ts",
        ),
        (
            query("a.n AS n", within, "a AS v > 1").replace("ORDER BY ts", "ORDER BY n"),
            "MATCH_RECOGNIZE is ordered by `t.n`; write ORDER BY with the column of WATERMARK FOR of `t`",
        ),
        (
            query("a.n AS n", within, "a AS v > 1")
                .replace("ORDER BY", "PARTITION BY n % 2 ORDER BY"),
            "line 2, column 14: PARTITION BY of MATCH_RECOGNIZE takes columns, not `t.n % Int64(2)`",
        ),
        (
            query("a.n AS n", &format!("ALL ROWS PER MATCH {within}"), "a AS v > 1"),
            "MATCH_RECOGNIZE has ONE ROW PER MATCH only; say by MEASURES",
        ),
        (
            query("a.n AS n", &format!("AFTER MATCH SKIP TO LAST b {within}"), "a AS v > 1"),
            "does not skip to a variable; write AFTER MATCH SKIP PAST LAST ROW, or TO NEXT ROW",
        ),
        (
            query("a.n AS n", within, "a AS v > 1").replace("FROM t", "FROM (SELECT * FROM t)"),
            "`MATCH_RECOGNIZE` does not belong here; give the query in front of it a name: WITH name",
        ),
        (
            query("a.n AS n", &within.replace("a b", &"a ".repeat(400)), "a AS v > 1"),
            "the pattern has more than 300 words and signs; write {n,m} for repetitions",
        ),
        (
            query("a.n AS n", within, "a AS v > 1") + " EMIT CHANGES",
            "EMIT CHANGES gives out groups again and again, and MATCH_RECOGNIZE each row once",
        ),
    ] {
        let error = block_on(pipeline(&query)).unwrap_err().to_string();
        assert!(error.contains(expected), "{query}\n  says: {error}\n  not:  {expected}");
    }
}

/// A pattern is read by recursion, and a test's thread has 2 MiB of stack.
#[test]
fn deep_patterns_are_read() {
    let written = format!("{}a{}", "(".repeat(140), ")+".repeat(140));
    let query = format!(
        "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES a.n AS n PATTERN ({written}) \
         WITHIN INTERVAL '1 minute')"
    );
    let error = block_on(pipeline(&query)).unwrap_err().to_string();
    assert!(error.contains("the pattern has more than 300 words and signs"), "{error}");
    let query = query.replace(")+", ")");
    assert!(block_on(pipeline(&query)).is_ok());
}
