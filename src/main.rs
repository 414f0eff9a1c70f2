//! The command: parse, run, print what went wrong, exit code. The only process exit.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use etl::cli::{Cli, Command, LogFormat};
use etl::config::Config;
use etl::error::{Error, Result};
use etl::output::flow::Stderr;
use etl::output::plain_text::{clean, clean_json};
use etl::process::{limits, memory, panics};
use etl::secret::Secret;
use etl::{cli, config};
use tracing::Level;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

fn main() -> ExitCode {
    memory::give_back_large_buffers();
    panics::install();
    limits::survive_large_files();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return say_usage(error),
    };
    let say = logging(&cli);
    let code = dispatch(&cli, &say).unwrap_or_else(|error| {
        say(&error);
        error.kind().exit_code()
    });
    ExitCode::from(code)
}

/// Prints the help, or what is wrong with the arguments. Those may be names of files that a shell put there: the parser is
/// asked again with what of them can be printed.
fn say_usage(error: clap::Error) -> ExitCode {
    let printable = std::env::args_os().map(|arg| clean(&arg.to_string_lossy()).into_owned());
    let error = Cli::try_parse_from(printable).err().unwrap_or(error);
    // A reader that has gone away is no failure.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn dispatch(cli: &Cli, say: &dyn Fn(&Error)) -> Result<u8> {
    // These need no configuration.
    match &cli.command {
        Command::Simulate(args) => {
            return cli::simulate(args, config::simulator_key()?.as_ref().map(Secret::expose));
        }
        Command::Init(args) => return cli::init(args),
        Command::Completions(args) => return cli::completions(args),
        Command::Man(args) => return cli::man(args),
        _ => {}
    }
    let config = Config::from_process(&cli.overrides());
    if let Command::Check(args) = &cli.command {
        return cli::check(config, args);
    }
    let config = config?;
    match &cli.command {
        Command::Run(args) => cli::run(&config, args, say),
        Command::Replay(args) => cli::replay(&config, args, say),
        Command::Status(args) => cli::status(&config, args),
        Command::Verify(args) => cli::verify(&config, args),
        Command::Restore(args) => cli::restore(&config, args, say),
        Command::Ddl(args) => cli::ddl(&config, args),
        Command::Quarantine(args) => cli::quarantine(&config, args),
        Command::Simulate(_) | Command::Check(_) | Command::Init(_) | Command::Completions(_) | Command::Man(_) => {
            Ok(0)
        }
    }
}

/// Sets the log up, and gives the way in which a failure is said: text on a terminal, else JSON lines.
fn logging(cli: &Cli) -> impl Fn(&Error) + use<> {
    let json = match cli.global.log_format {
        Some(format) => format == LogFormat::Json,
        None => !io::stderr().is_terminal(),
    };
    let level = match (cli.global.quiet, cli.global.verbose) {
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
    move |error| say(error, json)
}

/// The log as JSON, which is written an event at a time.
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

fn say(error: &Error, json: bool) {
    let (kind, message, hint) = (error.kind(), error.chain(), error.next_step());
    if json {
        tracing::error!(%kind, exit = kind.exit_code(), hint, "{message}");
    } else {
        let hint = hint.map(|hint| format!("  hint: {}\n", clean(hint))).unwrap_or_default();
        Stderr.say(&format!("error: {}\n{hint}", clean(&message)));
    }
}
