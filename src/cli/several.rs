//! `etl status` over several configurations, each with a state of its own.
//!
//! One that cannot be read costs its own row only: it is named there, with what is wrong and what to do. The exit code is the worst of
//! what `etl status` gives for each alone.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::monitoring;
use super::print::{print, print_bytes, print_json, styled};
use super::status::{StatusArgs, fresh, heat, read, thresholds, watch};
use crate::config::{self, Config, Overrides};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::output::{self, Form};
use crate::state::status::Status;
use crate::state::status::days::KEPT;
use crate::view::monitor::{self, Level};
use crate::view::overview::{self, Pipeline, Read};

/// Shows them all: as a table, as JSON, as a page, or as a line for monitoring.
pub(super) fn status(all: &[Overrides], args: &StatusArgs) -> Result<u8> {
    if args.hour.is_some() || args.runs.is_some() {
        return Err(Error::new(
            ErrorKind::Usage,
            "--hour and --runs are about one pipeline, and --config names several",
        )
        .hint("leave one --config"));
    }
    let now = SystemClock.now();
    if args.check {
        return Ok(check(all, args, now));
    }
    if let Some(interval) = args.watch {
        return watch(interval, |now| overview::text(&pipelines(all, args, now), now, fresh(args)));
    }
    let pipelines = pipelines(all, args, now);
    if let Some(file) = &args.html {
        let page = overview::page(&pipelines, now, fresh(args));
        output::replace(file, page.as_bytes(), Form::PUBLIC)?;
    }
    if args.json {
        print_json(&pipelines.iter().map(Row::of).collect::<Vec<_>>())?;
    } else if args.html.is_none() {
        print_bytes(styled(&overview::text(&pipelines, now, fresh(args))).as_bytes())?;
    }
    Ok(exit(&pipelines))
}

/// That of the most pressing error.
fn exit(pipelines: &[Pipeline]) -> u8 {
    let errors = pipelines.iter().filter_map(|pipeline| pipeline.read.as_ref().err());
    errors.map(Error::kind).min().map_or(0, ErrorKind::exit_code)
}

fn pipelines(all: &[Overrides], args: &StatusArgs, now: Timestamp) -> Vec<Pipeline> {
    let names = names(all);
    let read = |flags: &Overrides| {
        let config = Config::from_process(flags)?;
        let status = read(&config, args, now)?;
        let heat = heat(&config, args, &status, now, KEPT);
        Ok(Read { status, heat })
    };
    let each = all.iter().zip(names);
    each.map(|(flags, name)| Pipeline { name, config: file(flags), read: read(flags) }).collect()
}

/// The file, as it was named.
fn file(flags: &Overrides) -> String {
    flags.config.as_deref().unwrap_or(Path::new("")).display().to_string()
}

/// What the pipelines are called. Those that are called the same are told apart by their files.
fn names(all: &[Overrides]) -> Vec<String> {
    let names: Vec<String> = all.iter().map(name).collect();
    let is_shared = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
    let each = all.iter().zip(&names);
    each.map(|(flags, name)| if is_shared(name) { file(flags) } else { name.clone() }).collect()
}

fn name(flags: &Overrides) -> String {
    match Config::from_process(flags) {
        Ok(config) => config.name(),
        // The folder's name may count, also where the file is not there.
        Err(_) => config::name_of(&std::path::absolute(file(flags)).unwrap_or_else(|_| PathBuf::from(file(flags)))),
    }
}

/// One line for monitoring, which names each.
fn check(all: &[Overrides], args: &StatusArgs, now: Timestamp) -> u8 {
    let limits = thresholds(&args.limits);
    let answers = all.iter().zip(names(all));
    let answers = answers.map(|(flags, name)| (name, monitoring::answer_of(flags, &limits, now))).collect();
    let answer = monitor::of_several(answers);
    match print(&answer.line()) {
        Ok(()) => answer.level as u8,
        // Nobody was told.
        Err(_) => Level::Unknown as u8,
    }
}

/// A pipeline of `--json`.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    config: &'a str,
    exit: u8,
    error: Option<String>,
    hint: Option<&'a str>,
    status: Option<&'a Status>,
}

impl<'a> Row<'a> {
    fn of(pipeline: &'a Pipeline) -> Self {
        let error = pipeline.read.as_ref().err();
        Self {
            name: &pipeline.name,
            config: &pipeline.config,
            exit: error.map_or(0, |error| error.kind().exit_code()),
            error: error.map(Error::chain),
            hint: error.and_then(Error::next_step),
            status: pipeline.read.as_ref().ok().map(|read| &read.status),
        }
    }
}
