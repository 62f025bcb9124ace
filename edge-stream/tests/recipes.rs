//! The recipes of the README do what stands below them: their SQL runs in an engine with a broker, the
//! rows go in one by one, and what comes out is compared with the page. `duckdb.rs` asks DuckDB too.

#![cfg(feature = "mq")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/recipes.rs"]
mod recipes;

use std::fmt::Write;

#[tokio::test(flavor = "multi_thread")]
async fn recipes_give_what_the_readme_says() {
    let all = recipes::all();
    assert!(all.len() >= 12, "{}", all.len());
    let mut wrong = String::new();
    for recipe in all {
        let found = recipe.run(false).await;
        let expected: Vec<_> = recipe.blocks.iter().filter(|block| !block.is_in).collect();
        assert_eq!(found.len(), expected.len(), "{}", recipe.title);
        for (found, block) in found.iter().zip(expected) {
            if found != &block.rows {
                writeln!(wrong, "{}: out {}\n{found:#?}", recipe.title, block.name).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "README says otherwise:\n{wrong}");
}
