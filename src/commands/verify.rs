//! `etl verify`.

use super::setup;
use crate::cli::VerifyArgs;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::report::text;
use crate::report::verify::Verifier;
use crate::state::{HashDir, Ledger};

/// Looks at every part in the store, prints what differs from the ledger.
///
/// # Errors
/// The store or the ledger could not be read; a difference is `Mismatch`.
pub fn verify(config: &Config, args: &VerifyArgs) -> Result<u8> {
    let dir = &config.state.dir;
    let ledger = Ledger::open(dir)?.ok_or_else(|| {
        Error::new(ErrorKind::State, format!("{} holds no ledger: there is nothing to verify", dir.display()))
            .hint("name the state directory that the runs use: state.dir, or --state-dir")
    })?;
    let (place, compactor) = (setup::place(config)?, setup::compactor(config)?);
    let verifier = Verifier {
        ledger: &ledger,
        hashes: &HashDir::at(dir),
        store: &*place.store,
        prefix: &place.prefix,
        layout: &place.layout,
        compactor: &compactor,
        zone: &config.hours.timezone,
        deep: args.deep,
    };
    let progress = super::run::bar("parts");
    let found = verifier.verify(&mut |parts| progress.set_position(parts))?;
    progress.finish_and_clear();
    if args.json {
        super::print_json(&found)?
    } else {
        super::print(&text::verification(&found))?
    }
    Ok(if found.findings.is_empty() { 0 } else { ErrorKind::Mismatch.exit_code() })
}
