//! `etl status --hour`: one hour, with its certificate.

use serde_json::Value;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::state::Ledger;
use crate::state::status::certificate::Certificate;
use crate::state::status::{self, Status};

/// Prints what is known of an hour, however old it is. Takes no lock: the ledger's files are replaced as a whole.
///
/// # Errors
/// `Usage`: nothing is known of it. `State`: the ledger cannot be read.
pub fn hour(config: &Config, mut status: Status, hour: Hour, json: bool) -> Result<u8> {
    status.hours.retain(|one| one.hour == hour);
    let row = match Ledger::open(&config.state.dir)? {
        Some(mut ledger) => Some(ledger.row(hour)?).filter(|row| !row.parts.is_empty()),
        None => None,
    };
    if status.hours.is_empty() {
        status.hours.extend(row.as_ref().map(status::sealed_hour));
    }
    let pending = status.hours.first().map_or(0, |hour| hour.pending_records);
    // Where gaps were given up, those that are listed are not all.
    let gaps = (status.gaps_given_up == 0).then_some(status.gaps.as_slice());
    let certificate = row.and_then(|row| Certificate::of(&row, pending, gaps));
    if status.hours.is_empty() {
        let what = format!("nothing is known of hour {hour}: no record of it was ever received here");
        return Err(
            Error::new(ErrorKind::Usage, what).hint("`etl status` lists the newest hours, `etl verify` looks at all")
        );
    }
    if !json {
        let text = certificate
            .map_or_else(|| unsealed(hour, pending), |certificate| crate::view::certificate::text(&certificate, hour));
        crate::cli::print::print(&text)?;
        return Ok(0);
    }
    let encode = |e| Error::new(ErrorKind::Bug, "cannot encode the status").caused_by(e);
    let mut all = serde_json::to_value(&status).map_err(encode)?;
    if let Value::Object(fields) = &mut all {
        fields.insert("certificate".to_owned(), serde_json::to_value(&certificate).map_err(encode)?);
    }
    crate::cli::print::print_json(&all)?;
    Ok(0)
}

fn unsealed(hour: Hour, pending: u64) -> String {
    let pending = crate::view::table::plural(pending, "record", "records");
    format!(
        "hour {hour}: not sealed yet\n  {pending} pending: `etl run` seals and uploads them when the hour has closed\n"
    )
}
