//! The program: prepare the process, parse the command line, run the command, report an error, exit.

use std::process::ExitCode;

use clap::Parser;
use etl::cli::Cli;
use etl::output::plain_text::clean;
use etl::process::{limits, memory, panics};

fn main() -> ExitCode {
    memory::give_back_large_buffers();
    panics::install();
    limits::survive_large_files();
    let code = match Cli::try_parse() {
        Ok(cli) => run(&cli),
        Err(refused) => show_usage(refused),
    };
    ExitCode::from(code)
}

fn run(cli: &Cli) -> u8 {
    let tell = cli.start_log();
    cli.run(&tell).unwrap_or_else(|error| {
        tell(&error);
        error.kind().exit_code()
    })
}

/// Prints the help, or what is wrong with the arguments. Those may be names of files that a shell put there: the parser is
/// asked again with what of them can be printed.
fn show_usage(refused: clap::Error) -> u8 {
    let printable = std::env::args_os().map(|arg| clean(&arg.to_string_lossy()).into_owned());
    let refused = Cli::try_parse_from(printable).err().unwrap_or(refused);
    // The reader may have closed the pipe: that is not a failure.
    let _ = refused.print();
    u8::try_from(refused.exit_code()).unwrap_or(2)
}
