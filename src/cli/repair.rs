//! `etl repair`: missing parts put back, losses accepted, parts cut again that the store never takes.

use std::ops::RangeInclusive;

use clap::Args;

use super::print::{print, print_json};
use super::{cluster, setup};
use crate::config::{Config, Destination};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Hour, SystemClock};
use crate::job::{self, Place, RepairRequest, Repaired, RepairedPart};
use crate::output::plain_text::clean;
use crate::stop::Stop;
use crate::view::table::plural;

pub(super) const EXAMPLES: &str = "\
Examples:
  etl repair --dry-run                       what is missing, and from where it can be put back
  etl repair                                 put it back: from the spool, archive.dir, the journal
  etl repair --from /backup/lake             also from parts, or originals, that were copied elsewhere
  etl repair --from s3://backup/prefix/
  etl repair --accept-loss 2023-03-10T01     what is missing of this hour is gone for good
  etl repair --accept-loss 2023-03-10T00..2023-03-10T23
  etl repair --recut 2023-03-10T01           cut an hour again whose part the store never takes";

/// `etl repair`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct RepairArgs {
    /// Also look here: s3://bucket/prefix/ or a folder with parts or originals
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["accept_loss", "recut"])]
    from: Option<String>,
    /// Say what would be put back, and from where; write nothing
    #[arg(long, conflicts_with_all = ["accept_loss", "recut"])]
    dry_run: bool,
    /// Give up what is missing of an hour, or of several, as in 2023-03-10T01..2023-03-10T05
    #[arg(long, value_name = "HOUR[..HOUR]", value_parser = super::values::hours, conflicts_with = "recut")]
    accept_loss: Option<RangeInclusive<Hour>>,
    /// Cut the parts of an hour again that the store never takes: an hour after the first time this is said
    #[arg(long, value_name = "HOUR", value_parser = super::values::hour)]
    recut: Option<Hour>,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

/// Repairs, and says what was done.
pub(super) fn repair(config: &Config, args: &RepairArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    cluster::refuse(
        config,
        "`etl repair`",
        "`etl verify` names what is missing or other than it should be: bring its earlier version back, where the bucket keeps versions",
    )?;
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let setup = setup::setup(config, &SystemClock, &stop, &|_| ())?;
    let done = job::repair(&setup, &request(config, args)?)?;
    done.problems.iter().for_each(say);
    if args.json {
        print_json(&done)?
    } else {
        print(&text(&done, args.accept_loss.is_some()))?
    }
    let worst = done.problems.iter().map(Error::kind).min();
    Ok(worst.map_or_else(|| stop.exit_code().unwrap_or(0), ErrorKind::exit_code))
}

fn request(config: &Config, args: &RepairArgs) -> Result<RepairRequest> {
    if let Some(hour) = args.recut {
        return Ok(RepairRequest::Recut(hour));
    }
    if let Some(hours) = &args.accept_loss {
        return Ok(RepairRequest::AcceptLoss(hours.clone()));
    }
    let from = args.from.as_deref().map(|named| place(config, named)).transpose()?;
    Ok(RepairRequest::PutBack { from, dry_run: args.dry_run })
}

fn place(config: &Config, named: &str) -> Result<Place> {
    let destination = setup::place_named(config, Some(named))?;
    let folder = if let Destination::Files(folder) = &destination { Some(folder.clone()) } else { None };
    if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
        let what = format!("there is no folder {}", folder.display());
        return Err(
            Error::new(ErrorKind::Usage, what).hint("name the folder, or s3://bucket/prefix/, that has the copies")
        );
    }
    let setup::Place { store, prefix, .. } = setup::place_at(config, &destination)?;
    Ok(Place { store, prefix, folder })
}

fn text(done: &Repaired, gives_up: bool) -> String {
    if let Some(recut) = &done.recut {
        return format!("{recut}\n");
    }
    let mut text = String::new();
    let line = |word: &str, part: &RepairedPart| {
        format!("{word}  {}  {}  {}\n", clean(&part.key), plural(part.rows, "record", "records"), clean(&part.from))
    };
    let found = if done.dry_run { "can be put back" } else { "put back" };
    done.repaired.iter().for_each(|part| text.push_str(&line(found, part)));
    done.expired.iter().for_each(|part| text.push_str(&line("gone", part)));
    done.left.iter().for_each(|part| text.push_str(&line("left", part)));
    let [repaired, expired, left] = [&done.repaired, &done.expired, &done.left].map(|parts| parts.len() as u64);
    let parts = |n| plural(n, "part", "parts");
    text.push_str(&match (gives_up, repaired, left) {
        (true, ..) if expired == 0 => "nothing was given up: no part of these hours is missing\n".to_owned(),
        (true, ..) => format!("{} given up; `etl replay` takes in what waits for their hours\n", parts(expired)),
        (false, 0, 0) if done.problems.is_empty() => {
            "nothing to repair: the store has every part of the ledger\n".to_owned()
        }
        (false, ..) => format!("{} {found}, {} left\n", parts(repaired), parts(left)),
    });
    text
}
