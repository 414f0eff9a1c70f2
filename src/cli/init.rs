//! `etl init`: a configuration to start with, and how to run etl from cron or systemd.
//!
//! A crash leaves no file, or a whole one.

use std::path::{Path, PathBuf};

use clap::Args;

use super::print::print;
use super::setup;
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
  etl init --bucket-policy > policy.json     the policy with which the bucket itself refuses to replace and delete

It asks no questions and overwrites nothing.";

/// `etl init`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct InitArgs {
    /// The file to write
    #[arg(value_name = "FILE", default_value = "etl.toml")]
    file: PathBuf,
    /// Where the logs come from: an address, or files as in "file:pages/*.json"
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Where the parts go: "s3://bucket/prefix/", or a folder as in "file:lake" [default: file:lake]
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
    /// Address of an S3-compatible store [default: AWS]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Region of the bucket [default: ap-northeast-2]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Only print the policy with which the S3 bucket itself refuses to replace and to delete objects, for --to or the configured place
    #[arg(long, conflicts_with_all = ["url", "endpoint"])]
    bucket_policy: bool,
}

/// Writes the configuration, and prints what comes next. `config` is what there is already.
pub(super) fn init(args: &InitArgs, config: impl FnOnce() -> Result<Config>) -> Result<u8> {
    if args.bucket_policy {
        return policy(args, &config()?);
    }
    let (folder, file) = place(&args.file)?;
    for (flag, url) in [("--url", &args.url), ("--endpoint", &args.endpoint)] {
        refuse_secrets(flag, url.as_deref())?;
    }
    let starter = Starter {
        url: args.url.as_deref(),
        to: args.to.as_deref(),
        endpoint: args.endpoint.as_deref(),
        region: args.region.as_deref(),
    };
    let text = template(starter, &folder)?;
    output::replace(&args.file, text.as_bytes(), Form::PUBLIC.refusing(ErrorKind::Usage))?;
    if args.file == Path::new("-") {
        return Ok(0);
    }
    let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("etl"));
    print(&next_steps(&folder, &file, &binary, args.to.as_deref().is_some_and(|to| to.starts_with("s3:"))))?;
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

fn next_steps(folder: &Path, file: &Path, binary: &Path, is_s3: bool) -> String {
    let shown = |path: &Path| path.display().to_string();
    let secrets = if is_s3 {
        "FERNET_KEY=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…, a line each"
    } else {
        "FERNET_KEY=…"
    };
    let run = |quote: fn(&str) -> String| {
        format!("{} --config {} run --max-runtime 10m", quote(&shown(binary)), quote(&shown(file)))
    };
    let cron = run(shell_word).replace('%', "\\%");
    let cron_folder = shell_word(&shown(folder)).replace('%', "\\%");
    let (unit, unit_folder) = (run(unit_word), shown(folder).replace('%', "%%"));
    format!(
        "\
{file} is written. Next:

1. Read it, and set source.url and load.to.
2. Put the secrets into {folder}/.env (chmod 600), or into the environment:
     {secrets}
3. Check everything, in that folder:
     etl check
4. Run it from cron (crontab -e):
     */3 * * * *  cd {cron_folder} && {cron} >> run.log

   or from systemd:

# /etc/systemd/system/etl.service
[Unit]
Description=Encrypted logs into hourly files
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={unit_folder}
ExecStart={unit}
# 11: another run is at work. 75: source or store is unavailable, and the next run continues.
SuccessExitStatus=11 75

# /etc/systemd/system/etl.timer
[Unit]
Description=etl every three minutes

[Timer]
OnCalendar=*:0/3
AccuracySec=1s

[Install]
WantedBy=timers.target

   and: systemctl daemon-reload && systemctl enable --now etl.timer
",
        file = file.display(),
        folder = folder.display(),
    )
}

/// A word of a shell's command line.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A word of a systemd unit's command line.
fn unit_word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if escaped.contains(|c: char| c.is_whitespace() || c == '\'') { format!("\"{escaped}\"") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_whoever_reads_them() {
        let text = next_steps(Path::new("/a b/50%"), Path::new("/a b/50%/etl.toml"), Path::new("/bin/etl"), true);
        assert!(text.contains("cd '/a b/50\\%' && /bin/etl --config '/a b/50\\%/etl.toml' run"), "{text}");
        assert!(text.contains("ExecStart=/bin/etl --config \"/a b/50%%/etl.toml\" run"), "{text}");
        assert!(text.contains("WorkingDirectory=/a b/50%%\n"), "{text}");
    }
}
