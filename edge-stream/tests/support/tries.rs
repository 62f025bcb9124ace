//! How many generated cases a property is tried with.
//!
//! `cargo test` takes as many as each property says. `EDGE_MORE_CASES=23` makes it 23 times as many, which
//! is 10,000 over all operators (`CONTRIBUTING.md` has the command), and tells how far each has come.
//! The first case that fails ends its property: proptest prints the smallest one that it finds, and
//! writes the seed into a file `proptest-regressions`, so that the next run begins with it.

use std::io::Write;

use proptest::test_runner::{Config, ResultCache, ResultCacheKey, TestCaseResult};

const MORE: &str = "EDGE_MORE_CASES";

fn times() -> Option<u32> {
    let times = std::env::var(MORE).ok()?;
    Some(times.parse().unwrap_or_else(|_| panic!("{MORE} is `{times}`, and says how many times")))
}

/// Each property of the block in so many cases, or so many times as many.
pub(crate) fn of(usual: u32) -> Config {
    let mut config = Config::with_cases(usual * times().unwrap_or(1));
    if times().is_some() {
        config.result_cache = || Box::new(Progress::default());
    }
    config
}

/// Stands where proptest asks whether it knows a case, which is never; it counts them.
#[derive(Default)]
struct Progress {
    done: u32,
    has_failed: bool,
}

impl ResultCache for Progress {
    fn key(&self, _: &ResultCacheKey) -> u64 {
        0
    }

    fn put(&mut self, _: u64, result: &TestCaseResult) {
        // What comes then makes the case smaller.
        self.has_failed |= result.is_err();
        self.done += 1;
        if self.done.is_multiple_of(50) && !self.has_failed {
            // Past what the harness captures. Nobody reads it if this fails.
            let thread = std::thread::current();
            let line = format!("{}: {} cases\n", thread.name().unwrap_or("?"), self.done);
            std::io::stderr().write_all(line.as_bytes()).ok();
        }
    }

    fn get(&self, _: u64) -> Option<&TestCaseResult> {
        None
    }
}
