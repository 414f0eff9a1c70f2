//! The heat map on a terminal: a line for each day, in shades that the screen knows. Pure.

use std::fmt::Write as _;

use anstyle::Style;

use super::{DIM, GREEN, MAGENTA, RED, Screen, YELLOW};
use crate::view::heat::{Cell, Heat, HeatDay};
use crate::view::table::count;

/// From so many columns on, each hour gets two.
const WIDE: usize = 80;

/// The characters for what a cell can be.
struct Signs {
    shades: [char; 4],
    hole: char,
    pending: char,
    late: char,
    both: char,
}

impl Signs {
    fn shade(&self, shade: u64) -> char {
        let sign = usize::try_from(shade).ok().and_then(|shade| self.shades.get(shade.saturating_sub(1)));
        sign.copied().unwrap_or(' ')
    }
}

const UNICODE: Signs = Signs { shades: ['░', '▒', '▓', '█'], hole: '─', pending: '+', late: '*', both: '#' };
const ASCII: Signs = Signs { shades: ['.', ':', 'o', 'O'], hole: '-', pending: '+', late: '*', both: '#' };

pub(super) fn draw(heat: &Heat, screen: Screen) -> String {
    let signs = if screen.unicode { UNICODE } else { ASCII };
    let wide = screen.columns >= WIDE;
    let space = " ".repeat(if wide { 10 } else { 4 });
    let hours = ["00", "06", "12", "18"].join(&space);
    let mut text = format!("{:15}{DIM}{hours}{DIM:#}\n", "");
    for day in &heat.days {
        text.push_str(&line(day, &signs, wide));
    }
    text.push_str(&legend(heat, &signs));
    text
}

fn line(day: &HeatDay, signs: &Signs, wide: bool) -> String {
    let mut line = format!("{:14} ", day.day.strftime("%Y-%m-%d %a").to_string());
    for cell in &day.cells {
        let (pair, style) = sign(*cell, signs, wide);
        let _ = write!(line, "{style}{pair}{style:#}");
    }
    let _ = writeln!(line, "  {:>9}", count(day.total));
    line
}

/// A cell's characters. In one column a mark stands for the shade.
fn sign(cell: Cell, signs: &Signs, wide: bool) -> (String, Style) {
    let columns = if wide { 2 } else { 1 };
    match cell {
        Cell::Blank | Cell::Skipped => (" ".repeat(columns), Style::new()),
        Cell::Hole => (signs.hole.to_string().repeat(columns), RED),
        Cell::Records { pending, late, shade, .. } => {
            let shade = signs.shade(shade);
            let (mark, style) = match (pending > 0, late > 0) {
                (true, true) => (Some(signs.both), YELLOW),
                (true, false) => (Some(signs.pending), YELLOW),
                (false, true) => (Some(signs.late), MAGENTA),
                (false, false) => (None, GREEN),
            };
            let second = mark.unwrap_or(shade);
            (if wide { format!("{shade}{second}") } else { second.to_string() }, style)
        }
    }
}

fn legend(heat: &Heat, signs: &Signs) -> String {
    let mut line = format!("{:15}", "");
    for (shade, most) in heat.shades() {
        let sign = signs.shade(shade);
        let _ = match most {
            Some(most) => write!(line, "{GREEN}{sign}{sign}{GREEN:#} to {}  ", count(most)),
            None => write!(line, "{GREEN}{sign}{sign}{GREEN:#} {}", if heat.top > 1 { "more" } else { "some" }),
        };
    }
    let Signs { hole, pending, late, both, .. } = signs;
    let _ = writeln!(
        line,
        " records an hour\n{:15}{RED}{hole}{hole}{RED:#} none  {YELLOW}{pending}{YELLOW:#} some pending  \
         {MAGENTA}{late}{MAGENTA:#} some late  {YELLOW}{both}{YELLOW:#} both",
        ""
    );
    line
}
