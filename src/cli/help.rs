//! `etl help`: a command's help, or a page of the manual. A terminal gets it laid out, everything else gets the Markdown.
//!
//! A page goes before a command of the same name, whose help its own flag prints.
//!
//! Reads nothing but what is compiled in, and keeps nothing.

use std::io::IsTerminal;

use clap::{Args, CommandFactory};

use super::{Cli, print};
use crate::docs::markdown::{self, Block, blocks, plain};
use crate::docs::{TOPICS, topic};
use crate::error::{Error, ErrorKind, Result};

/// The examples of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  etl help                                   the commands and the pages of the manual
  etl help run                               a command
  etl help quarantine drop                   a command below another
  etl help configuration                     a page of the manual
  etl help guarantees | less";

/// A line longer than this is hard to read, however wide the terminal is.
const WIDEST: usize = 100;
/// How far code and lists are set in.
const INDENT: usize = 4;
/// The space between two columns of a table.
const GAP: usize = 2;

/// `etl help`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct HelpArgs {
    /// A command, or a page of the manual [default: a list of both]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Prints the help of a command, a page of the manual, or a list of both.
pub(super) fn help(args: &HelpArgs) -> Result<u8> {
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    match names.as_slice() {
        [] => print::print(&list())?,
        [name] if topic(name).is_some() => show(topic(name).map_or("", |topic| topic.text))?,
        names => print::print_bytes(print::styled(&of_command(names)?).as_bytes())?,
    }
    Ok(0)
}

/// The commands and the pages.
fn list() -> String {
    let command = Cli::command();
    let commands = command.get_subcommands();
    let commands = commands.map(|c| (c.get_name(), c.get_about().map(ToString::to_string).unwrap_or_default()));
    let pages = TOPICS.iter().map(|topic| (topic.name, topic.about.to_owned()));
    let lines = |entries: &mut dyn Iterator<Item = (&str, String)>| -> String {
        entries.map(|(name, about)| format!("  {name:<13}  {about}\n")).collect()
    };
    format!(
        "Commands:\n{}\nThe manual:\n{}\n`etl help NAME` shows one of them.\n",
        lines(&mut commands.into_iter()),
        lines(&mut pages.into_iter())
    )
}

/// The long help of the command that the names lead to.
fn of_command(names: &[&str]) -> Result<String> {
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for name in names {
        let known: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
        command = command.find_subcommand_mut(name).ok_or_else(|| unknown(name, &known))?;
    }
    Ok(command.render_long_help().ansi().to_string())
}

fn unknown(name: &str, commands: &[String]) -> Error {
    let pages = TOPICS.iter().map(|topic| topic.name);
    let known = commands.iter().map(String::as_str).chain(pages);
    let nearest = nearest(name, known).map_or_else(String::new, |nearest| format!("did you mean {nearest:?}? "));
    Error::new(ErrorKind::Usage, format!("there is no command and no page of the manual {name:?}"))
        .hint(format!("{nearest}`etl help` lists them all"))
}

/// The known name that is most like `name`, if one is like it at all.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let like = known.map(|known| (strsim::jaro_winkler(known, name), known)).filter(|(likeness, _)| *likeness > 0.7);
    like.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// Prints a page.
fn show(page: &str) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        return print::print(page);
    }
    let columns = terminal_size::terminal_size().map_or(80, |(columns, _)| usize::from(columns.0));
    print::print_bytes(print::styled(&laid_out(page, columns.clamp(40, WIDEST))).as_bytes())
}

/// A page, laid out for a terminal with `columns` columns.
fn laid_out(page: &str, columns: usize) -> String {
    let text: Vec<String> = blocks(page).iter().map(|block| block_laid_out(block, columns)).collect();
    text.join("\n")
}

fn block_laid_out(block: &Block<'_>, columns: usize) -> String {
    match block {
        Block::Heading(_, title) => bold(&plain(title)) + "\n",
        Block::Paragraph(text) => wrapped(&plain(text), columns).join("\n") + "\n",
        Block::Code(lines) => {
            lines.iter().map(|line| format!("{:INDENT$}{line}", "").trim_end().to_owned() + "\n").collect()
        }
        Block::Item(text) => item(text, columns),
        Block::Table(rows) => table(rows, columns),
    }
}

fn item(text: &str, columns: usize) -> String {
    let (label, rest) = markdown::labelled(text).unwrap_or(("", text));
    let head = if label.is_empty() { String::new() } else { bold(&plain(label)) + "\n" };
    let lines = wrapped(&plain(rest), columns - INDENT);
    let set_in = lines.iter().enumerate().map(|(at, line)| {
        let bullet = if at == 0 && label.is_empty() { "  - " } else { "" };
        format!("{bullet:INDENT$}{line}\n")
    });
    head + &set_in.collect::<String>()
}

fn table(rows: &[Vec<&str>], columns: usize) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let widths = widths(&rows, columns);
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<Vec<String>> = row.iter().zip(&widths).map(|(cell, width)| wrapped(cell, *width)).collect();
        for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let parts = cells.iter().zip(&widths).map(|(cell, width)| {
                let part = cell.get(line).map_or("", String::as_str);
                format!("{part:<width$}{:GAP$}", "")
            });
            let line = parts.collect::<String>();
            text += &if at == 0 { bold(line.trim_end()) } else { line.trim_end().to_owned() };
            text.push('\n');
        }
    }
    text
}

/// The widths of a table's columns: their own where there is room, else the widest give way.
fn widths(rows: &[Vec<String>], columns: usize) -> Vec<usize> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let own = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let mut widths: Vec<usize> = (0..count).map(|at| own(at).unwrap_or(0)).collect();
    let room = columns.saturating_sub(GAP * count.saturating_sub(1)).max(count);
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max() else { break };
        *widest -= 1;
    }
    widths
}

/// `text`, wrapped into lines that fit; a word that is longer than a line stands alone on one.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn bold(text: &str) -> String {
    let bold = anstyle::Style::new().bold();
    format!("{bold}{text}{bold:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_fits_the_terminal_and_loses_no_word() {
        let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        for topic in TOPICS {
            let shown = anstream::adapter::strip_str(&laid_out(topic.text, 80)).to_string();
            let said: Vec<String> = words(&shown);
            for block in blocks(topic.text) {
                if let Block::Paragraph(text) = block {
                    let text = words(&plain(&text));
                    assert!(said.windows(text.len()).any(|window| window == text), "{}: {text:?}", topic.name);
                }
            }
        }
    }

    #[test]
    fn table_that_is_too_wide_is_wrapped_column_by_column() {
        let rows = vec![vec!["a", "b"], vec!["one", "two three four five six"]];
        let shown = anstream::adapter::strip_str(&table(&rows, 18)).to_string();
        assert_eq!(shown, "a    b\none  two three\n     four five six\n");
        assert_eq!(widths(&[vec!["x".repeat(50), "y".repeat(9)]], 30), [19, 9]);
    }

    #[test]
    fn nearest_name_is_like_it() {
        assert_eq!(nearest("confguration", ["run", "configuration"].into_iter()), Some("configuration"));
        assert_eq!(nearest("xyz", ["run", "configuration"].into_iter()), None);
    }
}
