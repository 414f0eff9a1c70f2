//! What a running process has used so far, as the kernel tells it below `/proc`.

use std::path::PathBuf;

/// Seconds, and MiB.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time of all threads, those that have ended included.
    pub cpu: f64,
    /// Of it, the threads of Kafka's client that are there now.
    pub client: f64,
    /// The largest resident size.
    pub peak: f64,
}

/// In a second; the kernel counts so for programs, on every architecture that this one is built for.
const TICKS: f64 = 100.0;

/// What a process has used. Nothing, if there is none.
pub fn usage(pid: u32) -> Usage {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let threads = std::fs::read_dir(dir.join("task")).into_iter().flatten().flatten();
    let clients = threads.filter_map(|thread| {
        let (name, seconds) = stat(&thread.path().join("stat"))?;
        name.starts_with("rdk:").then_some(seconds)
    });
    let status = std::fs::read_to_string(dir.join("status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    Usage {
        cpu: stat(&dir.join("stat")).map_or(0.0, |(_, seconds)| seconds),
        client: clients.sum(),
        peak: peak.unwrap_or(0.0) / 1024.0,
    }
}

/// The name, and user and system time.
fn stat(path: &std::path::Path) -> Option<(String, f64)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (front, behind) = text.rsplit_once(')')?;
    let name = front.split_once('(')?.1.to_owned();
    let times = behind.split_whitespace().skip(11).take(2);
    let ticks: f64 = times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some((name, ticks / TICKS))
}

/// The processes below this one with the argument `what`.
pub fn processes(what: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| has_argument(*pid, what) && is_below(*pid, std::process::id())).collect()
}

fn has_argument(pid: u32, what: &str) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|argument| argument == what.as_bytes())
}

fn is_below(pid: u32, ancestor: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = text.rsplit_once(')').and_then(|(_, behind)| behind.split_whitespace().nth(1)?.parse().ok());
    parent.is_some_and(|parent| parent == ancestor || (parent > 1 && is_below(parent, ancestor)))
}
