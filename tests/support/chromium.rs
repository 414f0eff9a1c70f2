//! A headless Chromium: pages as a browser lays them out. Found on the path, or named by `ETL_TEST_CHROMIUM`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const TRIES: usize = 4;
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// What the reader prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

/// A browser to start.
pub struct Chromium(PathBuf);

/// The browser of this machine. `None`, said loudly, where there is none; a failure instead where
/// `ETL_TEST_REQUIRE_CHROMIUM=1`.
pub fn chromium() -> Option<Chromium> {
    let named = std::env::var_os("ETL_TEST_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = || std::env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name))).find(|p| p.is_file());
    if let Some(path) = named.or_else(found) {
        return Some(Chromium(path));
    }
    let how = "SKIPPED (needs Chromium): none on the path. How to get it: apt-get install chromium, or name one with \
               ETL_TEST_CHROMIUM";
    assert_ne!(std::env::var("ETL_TEST_REQUIRE_CHROMIUM").as_deref(), Ok("1"), "{how}");
    // Not eprintln!: the test harness would swallow it, and a skipped test has to be seen.
    let _ = writeln!(std::io::stderr(), "{how}");
    None
}

impl Chromium {
    /// The document at `page` once its scripts have run and put what they found into a `<pre>`.
    pub fn dom(&self, page: &Path, scheme: Scheme) -> String {
        let flags = ["--dump-dom".to_owned(), "--virtual-time-budget=5000".to_owned()];
        let output = self.run(page, scheme, &flags, |output| String::from_utf8_lossy(&output.stdout).contains("<pre>"));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Saves what a window of this size shows of `page`, and gives the size of the picture.
    pub fn screenshot(&self, page: &Path, scheme: Scheme, size: (u32, u32), png: &Path) -> (u32, u32) {
        let flags = [format!("--window-size={},{}", size.0, size.1), format!("--screenshot={}", png.display())];
        self.run(page, scheme, &flags, |_| png.is_file());
        let picture = std::fs::read(png).unwrap();
        let number = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
        assert_eq!(&picture[1..4], b"PNG");
        (number(16), number(20))
    }

    /// Runs it until it has done its work: on a busy machine it gives up now and then.
    fn run(&self, page: &Path, scheme: Scheme, flags: &[String], done: impl Fn(&Output) -> bool) -> Output {
        let mut output = self.run_once(page, scheme, flags);
        for _ in 1..TRIES {
            if output.status.success() && done(&output) {
                break;
            }
            output = self.run_once(page, scheme, flags);
        }
        assert!(output.status.success() && done(&output), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn run_once(&self, page: &Path, scheme: Scheme, flags: &[String]) -> Output {
        let profile = tempfile::tempdir().unwrap();
        let preferred = if scheme == Scheme::Dark { 0 } else { 1 };
        Command::new(&self.0)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--blink-settings=preferredColorScheme={preferred}"))
            .args(flags)
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}
