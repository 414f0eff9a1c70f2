//! `etl completions` and `etl man`: made from the command line's own description and the manual, so that they cannot differ from
//! these.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::{Cli, help, print};
use crate::docs::markdown::{Block, blocks, labelled, plain};
use crate::docs::topic;
use crate::error::{Error, ErrorKind, Result};
use crate::output::{self, Form};

/// The page about the configuration file.
const CONFIGURATION: &str = "etl.toml";

/// The examples of the help of `etl completions`.
pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  etl completions bash > ~/.local/share/bash-completion/completions/etl
  etl completions zsh > ~/.zfunc/_etl
  etl completions fish > ~/.config/fish/completions/etl.fish";

/// The examples of the help of `etl man`.
pub const MAN_EXAMPLES: &str = "\
Examples:
  etl man | man -l -                         read it now
  etl man etl-run | man -l -                 the page of a command
  etl man --out ~/.local/share/man/man1      a page for each command
  etl man etl.toml > ~/.local/share/man/man5/etl.toml.5";

/// `etl completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// `etl man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ManArgs {
    /// The page to print: etl, that of a command as in etl-run, or etl.toml
    #[arg(value_name = "PAGE", default_value = "etl", conflicts_with = "out")]
    pub page: String,
    /// Write a page for each command into this folder, instead of one to stdout
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Prints the completions for a shell.
pub fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "etl", &mut script);
    print::print_bytes(&script)?;
    Ok(0)
}

/// Prints a page, or writes one for each command into a folder.
pub fn man(args: &ManArgs) -> Result<u8> {
    let commands = commands();
    match &args.out {
        Some(dir) => write_pages(&commands, dir)?,
        None if args.page == CONFIGURATION => print::print_bytes(configuration().render().as_bytes())?,
        None => print::print_bytes(&page(named(&commands, &args.page)?, &commands)?)?,
    }
    Ok(0)
}

/// Every command, with the name of its page as its own: `etl-run`.
fn commands() -> Vec<Command> {
    let mut root = Cli::command();
    root.build();
    let (mut commands, mut open) = (Vec::new(), vec![root]);
    while let Some(command) = open.pop() {
        let name = command.get_bin_name().unwrap_or("etl").replace(' ', "-");
        // Clap adds a command `help` to each that has others below it. The one of `etl` is ours.
        let below = command.get_subcommands().filter(|below| name == "etl" || below.get_name() != "help");
        open.extend(below.cloned());
        commands.push(command.display_name(name));
    }
    commands.sort_by(|a, b| a.get_display_name().cmp(&b.get_display_name()));
    commands
}

fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_default()
}

fn named<'a>(commands: &'a [Command], page: &str) -> Result<&'a Command> {
    commands.iter().find(|command| page_name(command) == page).ok_or_else(|| {
        let known = commands.iter().map(page_name).chain([CONFIGURATION]);
        let nearest = help::nearest(page, known).unwrap_or("etl");
        Error::new(ErrorKind::Usage, format!("there is no manual page {page:?}"))
            .hint(format!("did you mean {nearest:?}?"))
    })
}

/// A file for each command: `etl-run.1`.
fn write_pages(commands: &[Command], dir: &Path) -> Result<()> {
    output::make_folder(dir)?;
    commands.iter().try_for_each(|command| {
        output::replace(&dir.join(format!("{}.1", page_name(command))), &page(command, commands)?, Form::PUBLIC)
    })
}

/// The page of a command.
fn page(command: &Command, commands: &[Command]) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    let rendered = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| if command.has_subcommands() { man.render_subcommands_section(&mut page) } else { Ok(()) })
        .and_then(|()| sections(command, commands).to_writer(&mut page));
    rendered.map_err(|e| Error::new(ErrorKind::Bug, "cannot make the manual page").caused_by(e))?;
    Ok(page)
}

/// What `man` expects behind the options.
fn sections(command: &Command, commands: &[Command]) -> Roff {
    let mut roff = Roff::new();
    if page_name(command) == "etl" {
        section(&mut roff, "EXIT STATUS", "operations", "Exit codes");
        section(&mut roff, "ENVIRONMENT", "configuration", "Environment");
        section(&mut roff, "FILES", "configuration", "Files");
    } else {
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([roman("As in "), bold("etl"), roman("(1), with its environment and files.")]);
    }
    if let Some(examples) = command.get_after_help().map(ToString::to_string) {
        roff.control("SH", ["EXAMPLES"]);
        code(&mut roff, examples.trim_start_matches("Examples:\n").lines());
    }
    let others = commands.iter().map(page_name).filter(|other| *other != page_name(command));
    see_also(&mut roff, others.map(|page| (page, 1)).chain([(CONFIGURATION, 5)]));
    roff
}

/// etl.toml(5): the manual's page about the configuration.
fn configuration() -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", [CONFIGURATION, "5", "", concat!("etl ", env!("CARGO_PKG_VERSION")), ""]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("etl.toml - the configuration of etl")]);
    roff.control("SH", ["DESCRIPTION"]);
    let page = topic("configuration").map_or("", |topic| topic.text);
    blocks(page).iter().skip(1).for_each(|block| put(&mut roff, block));
    see_also(&mut roff, [("etl", 1), ("etl-init", 1), ("etl-check", 1)].into_iter());
    roff
}

/// What stands below a heading of a page of the manual, as a section.
fn section(roff: &mut Roff, title: &str, page: &str, heading: &str) {
    roff.control("SH", [title]);
    let blocks = blocks(topic(page).map_or("", |topic| topic.text));
    let below = blocks.iter().skip_while(|block| **block != Block::Heading(2, heading)).skip(1);
    below.take_while(|block| !matches!(block, Block::Heading(..))).for_each(|block| put(roff, block));
}

fn see_also<'a>(roff: &mut Roff, pages: impl Iterator<Item = (&'a str, u8)>) {
    roff.control("SH", ["SEE ALSO"]);
    let mut names: Vec<Inline> = Vec::new();
    for (page, number) in pages {
        let comma = if names.is_empty() { "" } else { ", " };
        names.extend([roman(comma), bold(page), roman(format!("({number})"))]);
    }
    roff.text(names);
    roff.control("PP", []);
    roff.text([roman("The manual: "), bold("etl help")]);
}

fn put(roff: &mut Roff, block: &Block<'_>) {
    match block {
        Block::Heading(_, title) => {
            roff.control("SH", [plain(title).replace('`', "").to_uppercase().as_str()]);
        }
        Block::Paragraph(text) => {
            roff.control("PP", []);
            roff.text(inlines(text));
        }
        Block::Code(lines) => code(roff, lines.iter().copied()),
        Block::Item(text) => {
            let (label, rest) = labelled(text).unwrap_or(("-", text));
            entry(roff, label, rest);
        }
        // The head says what the columns are, which a list needs no words for.
        Block::Table(rows) => rows.iter().skip(1).for_each(|row| {
            let (label, rest) = row.split_first().map_or(("", String::new()), |(label, rest)| (*label, joined(rest)));
            entry(roff, label, &rest);
        }),
    }
}

/// The cells of a row behind its label as one text.
fn joined(cells: &[&str]) -> String {
    let cells: Vec<&str> = cells.iter().copied().filter(|cell| !cell.is_empty()).collect();
    cells.join("; ")
}

fn entry(roff: &mut Roff, label: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(plain(label).replace('`', ""))]);
    roff.text(inlines(text));
}

fn code<'a>(roff: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    roff.control("PP", []);
    roff.control("nf", []);
    lines.for_each(|line| {
        roff.text([roman(line)]);
    });
    roff.control("fi", []);
}

/// A text with what stands between backticks in bold.
fn inlines(text: &str) -> Vec<Inline> {
    let plain = plain(text);
    let parts = plain.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
