//! `etl cluster check`, and the steps of it that `etl check` takes too. Changes nothing.

use crate::cli::print::{print, print_json};
use crate::cli::setup;
use crate::cluster::Names;
use crate::cluster::kafka::{Admin, Connection};
use crate::cluster::settings::{ClusterSettings, Ours};
use crate::cluster::start::{self, Look, Topic};
use crate::cluster::topics::Finding;
use crate::config::{ClusterConfig, Config, Security, SourceLocation};
use crate::error::{Error, ErrorKind, Result};
use crate::view::findings::{Checked, Findings};
use crate::view::table::plural;

/// Takes all steps, and prints the result of each.
pub(super) fn check(config: &Config, cluster: &ClusterConfig, json: bool) -> Result<u8> {
    let found = Findings::new(steps(config, cluster));
    if json {
        print_json(&found)?
    } else {
        print(&found.text())?
    }
    Ok(found.exit)
}

/// What this machine's configuration says of what all have to agree on.
pub(super) fn ours(config: &Config, cluster: &ClusterConfig) -> Result<Ours> {
    let source = match config.source.location() {
        Ok(SourceLocation::Http(url)) => Some(url.to_string()),
        Ok(SourceLocation::Files(_)) | Err(_) => None,
    };
    Ok(Ours { lanes: cluster.lanes, source, settings: setup::settings(config)? })
}

/// Brokers, topics, settings, prefix.
pub(in crate::cli) fn steps(config: &Config, cluster: &ClusterConfig) -> Vec<Checked> {
    let connected =
        Connection::new(cluster).and_then(|connection| Admin::new(&connection).map(|admin| (connection, admin)));
    match connected.and_then(|(connection, admin)| look(config, cluster, &connection, &admin)) {
        Ok(steps) => steps,
        Err(error) => vec![Checked::failed("brokers", &error)],
    }
}

fn look(config: &Config, cluster: &ClusterConfig, connection: &Connection, admin: &Admin) -> Result<Vec<Checked>> {
    let mut steps = vec![brokers(cluster, admin)?];
    let (ours, place) = (ours(config, cluster)?, setup::place(config)?);
    let look = Look { connection, ours: &ours, store: &*place.store, prefix: &place.prefix };
    let settings = start::settings(&look, admin);
    let (epoch, lanes) =
        settings.as_ref().ok().and_then(Option::as_ref).map_or((1, cluster.lanes), |known| (known.epoch, known.lanes));
    let names = Names::new(&cluster.name);
    steps.extend(topics(&start::look_at(admin, &names, epoch, lanes)?));
    match settings {
        Ok(Some(settings)) => {
            steps.push(agreement(&settings, &ours, &cluster.name));
            let prefix = start::prefix(&look, admin, &settings);
            steps.push(step("prefix", prefix.map(|()| format!("{} is this cluster's", place.store.place()))));
        }
        Ok(None) => steps.push(Checked::failed("settings", &nothing_recorded(&cluster.name))),
        Err(error) => steps.push(Checked::failed("settings", &error)),
    }
    Ok(steps)
}

fn brokers(cluster: &ClusterConfig, admin: &Admin) -> Result<Checked> {
    let count = admin.brokers()?;
    let way = match cluster.security() {
        Security::Plaintext if !cluster.is_local() => {
            let what =
                format!("{}; what goes to them can be read on the way", plural(count as u64, "broker", "brokers"));
            return Ok(Checked::warning("brokers", what, "set cluster.security to \"tls\" or \"scram\""));
        }
        Security::Plaintext => "in the clear, within this machine",
        Security::Tls => "over TLS",
        Security::Scram => "over TLS, with a password",
    };
    Ok(Checked::ok("brokers", format!("{}, {way}", plural(count as u64, "broker", "brokers"))))
}

fn agreement(settings: &ClusterSettings, ours: &Ours, name: &str) -> Checked {
    let lanes = plural(u64::from(settings.lanes), "lane", "lanes");
    step(
        "settings",
        settings
            .check_stays(name)
            .and_then(|()| settings.check(ours, name))
            .map(|()| format!("those of the cluster {name}: {lanes}, epoch {}", settings.epoch)),
    )
}

fn nothing_recorded(name: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the settings of the cluster {name} are not recorded"))
        .hint("run `etl cluster init`, once, from any machine")
}

fn step(name: &'static str, found: Result<String>) -> Checked {
    found.map_or_else(|error| Checked::failed(name, &error), |text| Checked::ok(name, text))
}

/// One step where all is well, else one for each finding.
pub(super) fn topics(topics: &[Topic]) -> Vec<Checked> {
    let findings: Vec<&Finding> = topics.iter().flat_map(|topic| &topic.findings).collect();
    if findings.is_empty() {
        return vec![Checked::ok("topics", format!("all {} are as they have to be", topics.len()))];
    }
    let checked = |finding: &&Finding| {
        let what = format!("{}: {}", finding.topic, finding.what);
        match finding.is_refused {
            true => Checked::failed("topics", &Error::new(ErrorKind::Config, what).hint(finding.fix.clone())),
            false => Checked::warning("topics", what, finding.fix.clone()),
        }
    };
    findings.iter().map(checked).collect()
}
