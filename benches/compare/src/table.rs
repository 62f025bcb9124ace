//! One aligned table, which is Markdown, too.

use std::fmt;

/// A table of text. The first two columns are names and go left, figures go right.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Table {
        Table { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    /// Whether it has no row but its header.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 | 1 => write!(f, "| {cell:<width$} ")?,
                    _ => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let end = if column < 2 { '-' } else { ':' };
                    write!(f, "|{}{end}", "-".repeat(width + 1))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A figure with this many decimals; `-` where there is none.
pub(crate) fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// A rate in three digits or so: `1.23M`, `84.1k`, `912`.
pub(crate) fn rate(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 999_500.0 => format!("{:.2}M", value / 1e6),
        Some(value) if value >= 99_950.0 => format!("{:.0}k", value / 1e3),
        Some(value) if value >= 1_000.0 => format!("{:.1}k", value / 1e3),
        Some(value) => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["case", "peer", "rate"]);
        table.row(["put".to_owned(), "edge-db".to_owned(), rate(Some(84_100.0))]);
        let lines = [
            "| case | peer    |  rate |\n",
            "|------|---------|------:|\n",
            "| put  | edge-db | 84.1k |\n",
        ];
        assert_eq!(table.to_string(), lines.concat());
    }

    #[test]
    fn rates_keep_three_digits() {
        let rates = [1_234_567.0, 999_600.0, 123_456.0, 84_120.0, 912.4];
        let texts = rates.map(|value| rate(Some(value)));
        assert_eq!(texts, ["1.23M", "1.00M", "123k", "84.1k", "912"]);
    }
}
