//! Tables for people: columns that line up, numbers that can be read, and cells that are one line, whatever is in them.

use std::fmt::Write as _;

use anstyle::Style;

pub(crate) use crate::output::numbers::{bytes, count, plural};
use crate::output::plain_text::clean;

/// Which side of a column its cells keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of cells under a header.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    head: Style,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), head: Style::new(), rows: Vec::new() }
    }

    /// The same with this style for the header.
    pub(crate) fn with_head(mut self, style: Style) -> Self {
        self.head = style;
        self
    }

    /// Adds a row: one cell a column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.styled(cells.into_iter().map(|cell| (cell, Style::new())).collect());
    }

    /// Adds a row: one cell a column, each with its style.
    pub(crate) fn styled(&mut self, cells: Vec<(String, Style)>) {
        self.rows.push(cells.into_iter().map(|(cell, style)| (clean(&cell).into_owned(), style)).collect());
    }

    /// The text: a header line, then a line a row, no spaces at the ends of lines.
    pub(crate) fn render(&self) -> String {
        let header: Vec<_> = self.columns.iter().map(|(name, _)| ((*name).to_owned(), self.head)).collect();
        let lines: Vec<&Vec<(String, Style)>> = std::iter::once(&header).chain(&self.rows).collect();
        let width = |n: usize| lines.iter().filter_map(|line| line.get(n)).map(|(cell, _)| cell.chars().count()).max();
        let widths: Vec<usize> = (0..self.columns.len()).map(|n| width(n).unwrap_or(0)).collect();
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
}
