//! Documents name tests as `file::test`.

use std::path::Path;

/// The names of tests in a cell of a table: words in backticks with `::` in them.
pub(crate) fn tests_in(cell: &str) -> Vec<&str> {
    cell.split('`').filter(|word| word.contains("::")).collect()
}

/// Panics if there is no such test; `file` lies below `root`.
pub(crate) fn assert_exists(root: &Path, test: &str) {
    let (file, name) = test.split_once("::").expect("a file and a test");
    let path = root.join(file);
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.contains(&format!("fn {name}(")), "{file} has no test `{name}`");
}
