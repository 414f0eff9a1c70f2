//! The log on stderr, and how an error is told there: text for people, on a terminal and in cron's mail, else JSON lines.

use std::io::{self, IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

use super::{GlobalArgs, LogFormat};
use crate::config;
use crate::error::Error;
use crate::output::flow::Stderr;
use crate::output::plain_text::{clean, clean_json};

/// Starts the log, and gives the way in which an error is told.
pub(super) fn start(args: &GlobalArgs) -> impl Fn(&Error) + use<> {
    let json = match args.log_format {
        Some(format) => format == LogFormat::Json,
        None => !io::stderr().is_terminal() && !config::under_cron(),
    };
    let level = match (args.quiet, args.verbose) {
        (true, _) => Level::ERROR,
        (_, 0) => Level::WARN,
        (_, 1) => Level::INFO,
        _ => Level::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    if json {
        log.json().flatten_event(true).with_writer(|| CleanJson(Stderr)).init();
    } else {
        let fields = format::debug_fn(|out, field, value| match (field.name(), clean(&format!("{value:?}"))) {
            ("message", text) => write!(out, "{text}"),
            (name, text) => write!(out, "{name}={text}"),
        });
        let log = log.fmt_fields(fields.delimited(" ")).with_writer(|| Stderr);
        log.without_time().with_ansi(io::stderr().is_terminal()).init();
    }
    move |error| tell(error, json)
}

fn tell(error: &Error, json: bool) {
    let (kind, message, hint) = (error.kind(), error.chain(), error.next_step());
    if json {
        tracing::error!(%kind, exit = kind.exit_code(), hint, "{message}");
    } else {
        let hint = hint.map(|hint| format!("  hint: {}\n", clean(hint))).unwrap_or_default();
        Stderr.say(&format!("error: {}\n{hint}", clean(&message)));
    }
}

/// Writes JSON events without anything that acts on a terminal.
struct CleanJson(Stderr);

impl Write for CleanJson {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(clean_json(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
