//! Tables for people: columns that line up, numbers that can be read, and cells that are one line, whatever is in them.

use std::fmt::Write as _;

use anstyle::Style;

use crate::output::plain_text::clean;

/// Which side of a column its cells keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells under a header.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    head: Style,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), head: Style::new(), rows: Vec::new() }
    }

    /// The same with this style for the header.
    #[must_use]
    pub fn with_head(mut self, style: Style) -> Self {
        self.head = style;
        self
    }

    /// Adds a row: one cell a column.
    pub fn row(&mut self, cells: Vec<String>) {
        self.styled(cells.into_iter().map(|cell| (cell, Style::new())).collect());
    }

    /// Adds a row: one cell a column, each with its style.
    pub fn styled(&mut self, cells: Vec<(String, Style)>) {
        self.rows.push(cells.into_iter().map(|(cell, style)| (clean(&cell).into_owned(), style)).collect());
    }

    /// The text: a header line, then a line a row, no spaces at the ends of lines.
    #[must_use]
    pub fn render(&self) -> String {
        let header: Vec<_> = self.columns.iter().map(|(name, _)| ((*name).to_owned(), self.head)).collect();
        let lines: Vec<&Vec<(String, Style)>> = std::iter::once(&header).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|n| {
                lines.iter().filter_map(|line| line.get(n)).map(|(cell, _)| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in lines {
            let mut out = String::new();
            for (((cell, style), width), (_, align)) in line.iter().zip(&widths).zip(&self.columns) {
                let space = " ".repeat(width.saturating_sub(cell.chars().count()));
                // An empty cell takes no style, so that no line ends in one.
                let style = if cell.is_empty() { Style::new() } else { *style };
                let _ = match align {
                    Align::Left => write!(out, "{style}{cell}{style:#}{space}  "),
                    Align::Right => write!(out, "{space}{style}{cell}{style:#}  "),
                };
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A count with thousands set apart: `1,234,567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 part`, `2 parts`.
#[must_use]
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// Bytes as people read them: `61.2 kB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut tenths = n / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("hour", Align::Left), ("records", Align::Right)]);
        table.row(vec!["2023-03-10T01".into(), count(1200)]);
        table.row(vec!["–".into(), count(7)]);
        assert_eq!(table.render(), "hour           records\n2023-03-10T01    1,200\n–                    7\n");
    }

    #[test]
    fn numbers_can_be_read() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([bytes(999), bytes(61_234), bytes(64_000_000)], ["999 B", "61.2 kB", "64.0 MB"]);
        assert_eq!([plural(1, "part", "parts"), plural(2000, "part", "parts")], ["1 part", "2,000 parts"]);
    }
}
