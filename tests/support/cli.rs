//! The command as a user runs it: a process, an empty environment, a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use fernet::Fernet;
use serde_json::Value;

use super::form::{Form, form, lines};
use super::weed::TestS3;

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The last line of stdout as JSON: what `--json` prints.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.out.trim_end();
        let line = text.lines().next_back().unwrap_or_default();
        serde_json::from_str(text).or_else(|_| serde_json::from_str(line)).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Checks the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A place to run `etl` in: a directory with an `etl.toml`, a key, and nothing else in the environment.
pub struct Place {
    dir: tempfile::TempDir,
    pub key: String,
    pub env: Vec<(String, String)>,
    /// In which its parts are.
    pub form: Form,
}

impl Place {
    /// A place whose `etl.toml` is `config`.
    pub fn new(config: &str) -> Self {
        Self::at(tempfile::tempdir().unwrap(), config)
    }

    /// The same in memory where there is room for it: for tests of thousands of runs that need no real disk.
    pub fn in_memory(config: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let room = nix::sys::statvfs::statvfs(memory).map_or(0, |stat| stat.blocks_available() * stat.fragment_size());
        let dir = if room > 1 << 30 { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self::at(dir.unwrap(), config)
    }

    fn at(dir: tempfile::TempDir, config: &str) -> Self {
        let key = Fernet::generate_key();
        let place = Self { dir, env: vec![("FERNET_KEY".into(), key.clone())], key, form: form() };
        place.configure(config);
        place
    }

    /// Replaces `etl.toml`.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.path("etl.toml"), self.form.configured(config)).unwrap();
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sets an environment variable for the commands run here.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
    }

    /// Gives it the credentials of an S3 server.
    pub fn trust(&mut self, at: &TestS3) {
        self.set("AWS_ACCESS_KEY_ID", &at.key);
        self.set("AWS_SECRET_ACCESS_KEY", &at.secret);
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etl"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Runs `etl` to its end.
    pub fn etl(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Starts `etl` and leaves it running.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// `etl status --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.etl(&["status", "--json"]).exits(0).json()
    }

    /// A page file with a new token for each text.
    pub fn page(&self, name: &str, plaintexts: &[String]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, page(&self.key, plaintexts)).unwrap();
    }

    /// All lines of all objects below a lake directory, by key.
    pub fn lake(&self, dir: &str) -> Vec<(String, Vec<String>)> {
        let mut objects = Vec::new();
        let root = self.path(dir);
        collect(&root, &root.join(self.form.root), &mut objects);
        objects.sort();
        objects
    }
}

fn collect(root: &Path, dir: &Path, objects: &mut Vec<(String, Vec<String>)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, objects);
        } else {
            let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            objects.push((key, gunzip(&std::fs::read(&path).unwrap())));
        }
    }
}

/// The lines of a part.
pub fn gunzip(object: &[u8]) -> Vec<String> {
    lines(object)
}

/// A page as the origin sends it: a new token for each text.
pub fn page(key: &str, plaintexts: &[String]) -> String {
    let fernet = Fernet::new(key).unwrap();
    let elements: Vec<Value> =
        plaintexts.iter().map(|text| serde_json::json!({"data": fernet.encrypt(text.as_bytes())})).collect();
    serde_json::to_string(&elements).unwrap()
}

/// The plaintext of a record as the origin writes it.
pub fn record(id: u64, at: &str) -> String {
    format!(
        "{{'user_id': '{id:064x}', 'record_id': {id}, 'activity': 'view', 'url': '/api/products/product/', \
         'method': 'GET', 'name': 'json_logger', 'inDate': '{at}', \
         'detail': {{'message': 'GET view', 'levelname': 'INFO'}}}}"
    )
}
