//! How to start runs: the line for cron, and the units for systemd. Pure.
//!
//! Invariant: whatever a folder is called, shell, cron and systemd read its name as it is. The units give a run no more of the
//! machine than it needs: its state, its folder for reading, the network.

use std::path::Path;

/// What the units are about.
#[derive(Debug)]
pub(super) struct Start<'a> {
    /// The folder of the configuration.
    pub(super) folder: &'a Path,
    /// The configuration.
    pub(super) file: &'a Path,
    /// This program.
    pub(super) binary: &'a Path,
    /// The folder that parts are written to, where it is one.
    pub(super) lake: Option<&'a Path>,
    /// Who runs it.
    pub(super) user: &'a str,
}

/// Where systemd keeps the state of services.
pub(super) const STATE: &str = "/var/lib/etl";

/// What no run needs.
const HARDENING: &str = "\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
PrivateDevices=yes
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
";

const UNIT: &str = "\
Wants=network-online.target
After=network-online.target
";

/// The lines of a service about how a run may end.
const ENDS: &str = "\
# 11: another run is at work. 75: source or store is unavailable, and the next run continues.
SuccessExitStatus=11 75
";

const SCHEDULE: &str = "\
[Timer]
OnCalendar=*:0/3
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
";

impl Start<'_> {
    /// The line of a crontab.
    pub(super) fn crontab_line(&self) -> String {
        let (folder, binary, file) = (shown(self.folder), shown(self.binary), shown(self.file));
        let (folder, binary, file) = (shell_word(&folder), shell_word(&binary), shell_word(&file));
        let command = format!("cd {folder} && {binary} --config {file} run --max-runtime 10m >> run.log");
        format!("*/3 * * * *  {}", command.replace('%', "\\%"))
    }

    /// The configuration as a word of a shell.
    pub(super) fn quoted_file(&self) -> String {
        shell_word(&shown(self.file))
    }

    /// The service and its timer.
    pub(super) fn units(&self) -> String {
        let command = format!(
            "{} --config {} run --max-runtime 10m --state-dir %S/etl --log-format text",
            program(&shown(self.binary)),
            unit_word(&shown(self.file))
        );
        format!(
            "\
# /etc/systemd/system/etl.service
[Unit]
Description=Encrypted logs into hourly files
{UNIT}
[Service]
Type=oneshot
User={user}
StateDirectory=etl
StateDirectoryMode=0700
WorkingDirectory={folder}
ExecStart={command}
{ENDS}{writable}{home}{tmp}{HARDENING}
# /etc/systemd/system/etl.timer
[Unit]
Description=etl every three minutes

{SCHEDULE}",
            user = self.user,
            folder = shown(self.folder).replace('%', "%%"),
            writable = self.writable(),
            home = self.home(),
            tmp = self.tmp(),
        )
    }

    /// The service of a machine of a cluster: it stays among the others between its ticks.
    pub(super) fn service_of_a_cluster(&self) -> String {
        let command = format!(
            "{} --config {} run --every 30s --state-dir %S/etl --log-format text",
            program(&shown(self.binary)),
            unit_word(&shown(self.file))
        );
        format!(
            "\
# /etc/systemd/system/etl.service
[Unit]
Description=Encrypted logs into hourly files, as one of several machines
{UNIT}
[Service]
User={user}
StateDirectory=etl
StateDirectoryMode=0700
WorkingDirectory={folder}
ExecStart={command}
# What a configuration lacks, only a person can mend.
Restart=always
RestartSec=10
RestartPreventExitStatus=2 78
# It finishes a step, and hands its lanes over.
TimeoutStopSec=120
{home}{tmp}{HARDENING}
[Install]
WantedBy=multi-user.target
",
            user = self.user,
            folder = shown(self.folder).replace('%', "%%"),
            home = self.home(),
            tmp = self.tmp(),
        )
    }

    /// A lake in a folder is written to.
    fn writable(&self) -> String {
        let Some(lake) = self.lake else { return String::new() };
        // Only what is there can be made writable: the lake is made by the first run.
        let there = if lake.starts_with(self.folder) { self.folder } else { lake };
        format!("ReadWritePaths={}\n", quoted(&shown(there)))
    }

    fn home(&self) -> &'static str {
        if self.is_in(&["/home", "/root", "/run/user"]) { "ProtectHome=read-only\n" } else { "ProtectHome=yes\n" }
    }

    /// A `/tmp` of its own would hide what is in the real one.
    fn tmp(&self) -> &'static str {
        if self.is_in(&["/tmp", "/var/tmp"]) { "" } else { "PrivateTmp=yes\n" }
    }

    fn is_in(&self, folders: &[&str]) -> bool {
        let paths = [Some(self.folder), Some(self.binary), self.lake];
        paths.into_iter().flatten().any(|path| folders.iter().any(|folder| path.starts_with(folder)))
    }
}

/// Units for several pipelines on one machine, each with a configuration of its own: `etl@NAME` reads `/etc/etl/NAME.toml`.
pub(super) fn template_units(binary: &Path) -> String {
    let command = format!(
        "{} --config /etc/etl/%i.toml run --max-runtime 10m --state-dir %S/etl-%i --log-format text",
        program(&shown(binary))
    );
    format!(
        "\
# /etc/systemd/system/etl@.service
[Unit]
Description=Encrypted logs into hourly files: %i
{UNIT}
[Service]
Type=oneshot
User=etl
StateDirectory=etl-%i
StateDirectoryMode=0700
# Secrets, NAME=value a line; read by systemd, so it can belong to root (chmod 600).
EnvironmentFile=-/etc/etl/%i.env
ExecStart={command}
{ENDS}ProtectHome=yes
PrivateTmp=yes
{HARDENING}
# /etc/systemd/system/etl@.timer
[Unit]
Description=etl every three minutes: %i

{SCHEDULE}"
    )
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A word of a shell's command line.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A word of a systemd unit's command line.
fn unit_word(text: &str) -> String {
    quoted(&text.replace('$', "$$"))
}

/// The first word of it, in which no variables are replaced.
fn program(text: &str) -> String {
    quoted(text)
}

/// A word of a list in a unit.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%$".contains(c);
    if escaped.chars().all(plain) { escaped } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start<'a>(folder: &'a str, file: &'a str, binary: &'a str) -> Start<'a> {
        let [folder, file, binary] = [folder, file, binary].map(Path::new);
        Start { folder, file, binary, lake: None, user: "etl" }
    }

    #[test]
    fn paths_are_quoted_for_whoever_reads_them() {
        let text = start("/a b/50%", "/a b/50%/etl.toml", "/bin/etl");
        let line = text.crontab_line();
        assert!(line.contains("cd '/a b/50\\%' && /bin/etl --config '/a b/50\\%/etl.toml' run"), "{line}");
        let units = text.units();
        assert!(units.contains("ExecStart=/bin/etl --config \"/a b/50%%/etl.toml\" run"), "{units}");
        assert!(units.contains("WorkingDirectory=/a b/50%%\n"), "{units}");
        let text = start("/it's", "/it's/etl.toml", "/bin/etl");
        assert!(text.crontab_line().contains("cd '/it'\\''s' && "), "{}", text.crontab_line());
        assert!(text.units().contains("--config \"/it's/etl.toml\" run"), "{}", text.units());
    }

    #[test]
    fn service_can_write_its_lake_and_see_its_folders_and_nothing_more() {
        let lake = Some(Path::new("/srv/etl/lake"));
        let units = Start { lake, ..start("/srv/etl", "/srv/etl/etl.toml", "/bin/etl") }.units();
        assert!(units.contains("\nReadWritePaths=/srv/etl\nProtectHome=yes\nPrivateTmp=yes\n"), "{units}");
        let units = start("/home/me/etl", "/home/me/etl/etl.toml", "/tmp/etl").units();
        assert!(units.contains("\nProtectHome=read-only\n"), "{units}");
        assert!(!units.contains("ReadWritePaths") && !units.contains("PrivateTmp"), "{units}");
    }
}
