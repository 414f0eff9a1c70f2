//! The command: parse, run, print what went wrong, exit code. The only process exit.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use etl::cli::{Cli, Command, LogFormat};
use etl::config::Config;
use etl::error::{Error, Result};
use etl::output::flow::Stderr;
use etl::{commands, config, limits, memory, panics};
use tracing::Level;

fn main() -> ExitCode {
    memory::give_back_large_buffers();
    panics::install();
    limits::survive_large_files();
    let cli = Cli::parse();
    let say = logging(&cli);
    let code = dispatch(&cli, &say).unwrap_or_else(|error| {
        say(&error);
        error.kind().exit_code()
    });
    ExitCode::from(code)
}

fn dispatch(cli: &Cli, say: &dyn Fn(&Error)) -> Result<u8> {
    // These need no configuration.
    match &cli.command {
        Command::Simulate(args) => {
            return commands::simulate(args, config::simulator_key()?.as_ref().map(config::Secret::expose));
        }
        Command::Init(args) => return commands::init(args),
        Command::Completions(args) => return commands::completions(args),
        Command::Man(args) => return commands::man(args),
        _ => {}
    }
    let config = Config::from_process(&cli.overrides());
    if let Command::Check(args) = &cli.command {
        return commands::check(config, args);
    }
    let config = config?;
    match &cli.command {
        Command::Run(args) => commands::run(&config, args, say),
        Command::Replay(args) => commands::replay(&config, args, say),
        Command::Status(args) => commands::status(&config, args),
        Command::Verify(args) => commands::verify(&config, args),
        Command::Restore(args) => commands::restore(&config, args, say),
        Command::Ddl(args) => commands::ddl(&config, args),
        Command::Quarantine(args) => commands::quarantine(&config, args),
        Command::Simulate(_) | Command::Check(_) | Command::Init(_) | Command::Completions(_) | Command::Man(_) => {
            Ok(0)
        }
    }
}

/// Sets the log up, and gives the way in which a failure is said: text on a terminal, else JSON lines.
fn logging(cli: &Cli) -> impl Fn(&Error) + use<> {
    let json = match cli.global.log_format {
        Some(format) => format == LogFormat::Json,
        None => !std::io::stderr().is_terminal(),
    };
    let level = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Level::ERROR,
        (_, 0) => Level::WARN,
        (_, 1) => Level::INFO,
        _ => Level::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(|| Stderr);
    if json {
        log.json().flatten_event(true).with_target(false).init();
    } else {
        log.without_time().with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
    }
    move |error| say(error, json)
}

fn say(error: &Error, json: bool) {
    let (kind, message, hint) = (error.kind(), error.chain(), error.next_step());
    if json {
        tracing::error!(%kind, exit = kind.exit_code(), hint, "{message}");
    } else {
        let hint = hint.map(|hint| format!("  hint: {hint}\n")).unwrap_or_default();
        Stderr.say(&format!("error: {message}\n{hint}"));
    }
}
