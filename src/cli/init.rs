//! `etl init`: a configuration to start with, and how to run etl from cron or systemd.
//!
//! A crash leaves no file, or a whole one.

use std::path::{Path, PathBuf};

use clap::Args;

use nix::unistd::{Uid, User};

use super::from;
use super::print::print;
use super::setup;
use super::units::{STATE, Start, template_units};
use crate::config::{Config, Destination, Starter, template};
use crate::error::{Error, ErrorKind, Result};
use crate::output::{self, Form};
use crate::secret::SourceUrl;
use crate::store::s3::bucket_policy;

/// The examples of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  etl init                                   write etl.toml, and print what to do next
  etl init --url https://api.example.com/api/data/log --to s3://my-logs/prefix/
  etl init --to s3://logs/ --endpoint http://127.0.0.1:8333 --region us-east-1
  etl init /etc/etl/etl.toml --to file:/srv/lake
  etl init --from https://api.example.com/logs --header Authorization=env:API_TOKEN
                                             look at one page, and write what it seems to ask for
  etl init --systemd-template                units for several pipelines, one configuration each
  etl init --cluster                         what several machines need that share their work through Kafka
  etl init --bucket-policy > policy.json     the policy with which the bucket itself refuses to replace and delete

It asks no questions and overwrites nothing. With --from it fetches one page, keeps nothing of it, and notes in the file what it found and
what it did not: names, places and kinds, no values. A secret address stands in API_URL: --from env:API_URL.";

/// `etl init`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct InitArgs {
    /// The file to write
    #[arg(value_name = "FILE", default_value = "etl.toml")]
    file: PathBuf,
    /// Where the logs come from: an address, or files as in "file:pages/*.json"
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Look at one page from there, an address or files as for --url, and write down where the logs, their time and their number are
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    from: Option<String>,
    /// A header for --from and for the configuration, whose value is elsewhere: NAME=env:VARIABLE or NAME=file:PATH
    #[arg(long, value_name = "NAME=PLACE", requires = "from")]
    header: Vec<String>,
    /// Where the parts go: "s3://bucket/prefix/", or a folder as in "file:lake" [default: file:lake]
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
    /// Address of an S3-compatible store [default: AWS]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Print units for several pipelines instead, etl@.service and etl@.timer: etl@NAME reads /etc/etl/NAME.toml
    #[arg(long, conflicts_with_all = ["file", "url", "from", "to", "endpoint", "region", "bucket_policy"])]
    systemd_template: bool,
    /// Print what makes several machines a cluster instead: the section for their etl.toml, a unit for systemd, and the steps
    #[arg(long, conflicts_with_all = ["url", "from", "to", "endpoint", "region", "bucket_policy", "systemd_template"])]
    cluster: bool,
    /// Region of the bucket [default: ap-northeast-2]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Only print the policy with which the S3 bucket itself refuses to replace and to delete objects, for --to or the configured place
    #[arg(long, conflicts_with_all = ["url", "from", "endpoint"])]
    bucket_policy: bool,
}

/// Writes the configuration, and prints what comes next. `config` is what there is already.
pub(super) fn init(args: &InitArgs, config: impl FnOnce() -> Result<Config>) -> Result<u8> {
    let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/etl"));
    if args.systemd_template {
        print(&template_units(&binary))?;
        return Ok(0);
    }
    if args.cluster {
        let (folder, file) = place(&args.file)?;
        let user = user();
        print(&cluster_steps(&Start { folder: &folder, file: &file, binary: &binary, lake: None, user: &user }))?;
        return Ok(0);
    }
    if args.bucket_policy {
        return policy(args, &config()?);
    }
    let (folder, file) = place(&args.file)?;
    for (flag, url) in [("--url", &args.url), ("--from", &args.from), ("--endpoint", &args.endpoint)] {
        refuse_secrets(flag, url.as_deref())?;
    }
    if args.file != Path::new("-") {
        refuse_to_replace(&args.file)?;
    }
    let found = args.from.as_deref().map(|from| from::look(from, &args.header, &folder)).transpose()?;
    let starter = Starter {
        url: args.url.as_deref().or(args.from.as_deref().filter(|from| *from != from::API_URL)),
        to: args.to.as_deref(),
        endpoint: args.endpoint.as_deref(),
        region: args.region.as_deref(),
        found: found.as_ref().map_or(&[], |found| &found.changes),
    };
    let text = template(starter, &folder)?;
    output::replace(&args.file, text.as_bytes(), Form::PUBLIC.refusing(ErrorKind::Usage))?;
    if args.file == Path::new("-") {
        return Ok(0);
    }
    let lake = match Destination::from_argument(args.to.as_deref().unwrap_or("file:lake"), &folder) {
        Ok(Destination::Files(lake)) => Some(lake),
        _ => None,
    };
    let user = user();
    let start = Start { folder: &folder, file: &file, binary: &binary, lake: lake.as_deref(), user: &user };
    let tried = found.map(|found| found.tried(&text, &folder) + "\n\n");
    print(&(tried.unwrap_or_default() + &next_steps(&start)))?;
    Ok(0)
}

/// Prints the bucket's policy.
fn policy(args: &InitArgs, config: &Config) -> Result<u8> {
    let Destination::S3 { bucket, prefix } = setup::place_named(config, args.to.as_deref())? else {
        return Err(Error::new(ErrorKind::Usage, "a folder has no bucket policy")
            .hint("name the bucket: --to s3://bucket/prefix/"));
    };
    let region = args.region.clone().map_or_else(|| config.load.s3_region(), Ok)?;
    print(&bucket_policy(&bucket, &prefix, &region))?;
    Ok(0)
}

/// The absolute, resolved paths of the folder and the file.
fn place(file: &Path) -> Result<(PathBuf, PathBuf)> {
    let name = file.file_name().ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("{} is not the name of a file", file.display()))
            .hint("write it as in etl.toml")
    })?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|e| Error::disk("find the folder", folder, e).hint("make it first"))?;
    let file = folder.join(name);
    Ok((folder, file))
}

/// Before a page is asked for.
fn refuse_to_replace(file: &Path) -> Result<()> {
    match file.symlink_metadata() {
        Ok(about) if about.is_file() => {
            let what = format!("{} is there already", file.display());
            Err(Error::new(ErrorKind::Usage, what).hint("name another file, or move that one away"))
        }
        _ => Ok(()),
    }
}

/// Everybody on the machine can read a command line.
fn refuse_secrets(flag: &str, url: Option<&str>) -> Result<()> {
    match url.and_then(SourceUrl::parse) {
        Some(url) if url.hides_something() => {
            Err(Error::new(ErrorKind::Usage, format!("{flag}: {url} has a user or a query, which may be a secret"))
                .hint("leave the flag out, and set API_URL in the environment or in .env"))
        }
        _ => Ok(()),
    }
}

fn next_steps(start: &Start<'_>) -> String {
    let secrets = match start.lake {
        None => "FERNET_KEY=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…, a line each",
        Some(_) => "FERNET_KEY=…",
    };
    format!(
        "\
{file} is written. Next:

1. Read it, and set what it lacks: source.url and load.to first of all.
2. Put the secrets into {folder}/.env (chmod 600), or into the environment:
     {secrets}
3. Check everything:
     etl --config {quoted} check
4. Run it from cron (crontab -e):
     {cron}

   or from systemd, as the user {user}, who has to be able to read .env and to write a lake here, with the state in
   {STATE}: set state.dir to that, so that commands by hand use it too.

{units}
   and: systemctl daemon-reload && systemctl enable --now etl.timer
",
        file = start.file.display(),
        folder = start.folder.display(),
        quoted = start.quoted_file(),
        cron = start.crontab_line(),
        user = start.user,
        units = start.units(),
    )
}

fn cluster_steps(start: &Start<'_>) -> String {
    format!(
        "\
Several machines that share their work need brokers of Apache Kafka (three of them, on machines of their own), a bucket that refuses to
replace objects, and the same configuration:

1. Take one machine's {file} for all, with load.to in a bucket, and add:

[cluster]
brokers = \"b1:9092,b2:9092,b3:9092\"
name = \"logs\"              # what topics and groups begin with
lanes = 6                  # about two a machine
security = \"tls\"           # tls, scram; plaintext only where nobody else can read along
# ca_file = \"ca.pem\"

2. Put the secrets of all of them beside it, into {folder}/.env (chmod 600).
3. Make the topics, once, from any machine; then check from each:
     etl --config {quoted} cluster init
     etl --config {quoted} check
4. Run it on each machine as a service of the user {user}, with a disk for {STATE}; what is there is a cache:

{unit}
   and: systemctl daemon-reload && systemctl enable --now etl.service
5. Look at all of them, from any machine:
     etl --config {quoted} cluster status
     etl --config {quoted} status --check

A machine that worked alone before seals what it has first: take [cluster] out, `etl run --drain`, put it back.
",
        file = start.file.display(),
        folder = start.folder.display(),
        quoted = start.quoted_file(),
        user = start.user,
        unit = start.service_of_a_cluster(),
    )
}

/// Who runs the service: whoever sets it up, but not root.
fn user() -> String {
    let me = User::from_uid(Uid::effective()).ok().flatten().map(|user| user.name);
    me.filter(|name| name != "root").unwrap_or_else(|| "etl".to_owned())
}
