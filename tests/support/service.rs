//! The simulated service, in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use etl::simulate::{Options, serve};

/// `etl simulate` on a thread; it ends when dropped.
pub struct Service {
    pub url: String,
    pub key: String,
    truth: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Service {
    /// Starts one with this seed and these options.
    pub fn start(seed: u64, set: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let truth = dir.path().join("truth.ndjson");
        let mut options = Options { seed, truth: Some(truth.clone()), ..Options::default() };
        set(&mut options);
        let key = options.key().to_text();
        let stop = Arc::new(AtomicBool::new(false));
        let (lines, ready) = mpsc::channel();
        let should_stop = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            serve(&options, &|| should_stop.load(Ordering::SeqCst), &mut |line| drop(lines.send(line.to_owned())))
                .unwrap();
        });
        let url = ready.iter().find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned())).unwrap();
        Self { url, key, truth, stop, thread: Some(thread), _dir: dir }
    }

    /// Every distinct good record that was sent whole, as canonical JSON text.
    pub fn truth(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.truth).unwrap();
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap().to_string()).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
