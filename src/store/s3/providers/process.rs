//! `credential_process`: a program of the operator's prints credentials.
//!
//! It is started as its words say, without a shell: nothing in them is expanded. Invariants: it ends within a minute, or is killed; no
//! more of what it prints is read than credentials can have; neither its words nor what it prints gets into a message, because both
//! may hold a secret.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::{Lookup, refused};
use crate::error::{Error, Result};
use crate::process::threads;
use crate::store::s3::signing::Identity;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether it has ended.
const BEAT: Duration = Duration::from_millis(10);
/// The longest output that is read.
const LONGEST: u64 = 256 << 10;

/// The credentials that `command` prints. `provider` names the profile.
pub(super) fn find(lookup: &Lookup<'_>, provider: &str, command: &str) -> Result<Identity> {
    find_within(lookup, provider, command, PATIENCE)
}

fn find_within(lookup: &Lookup<'_>, provider: &str, command: &str, patience: Duration) -> Result<Identity> {
    let words = words(command).filter(|words| !words.is_empty());
    let Some((program, arguments)) = words.as_ref().and_then(|words| words.split_first()) else {
        return Err(refused(provider, "its credential_process is no command")
            .hint("write a program and its arguments, with balanced quotes"));
    };
    let cannot = |why: &str| {
        refused(provider, &format!("credential_process {program}: {why}"))
            .hint("start it by hand to see what it says; under cron, write its full path")
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|cause| cannot(&format!("cannot be started: {cause}")))?;
    let printed = wait(&mut child, lookup, patience);
    // It has ended, or must.
    drop(child.kill());
    let status = child.wait().map_err(|cause| cannot(&format!("cannot be waited for: {cause}")))?;
    let printed = printed.map_err(|why| why.into_error(cannot))?;
    if !status.success() {
        return Err(cannot(&format!("ended with {status}")));
    }
    let text = String::from_utf8_lossy(&printed);
    let version = |printed: serde_json::Value| printed.get("Version").and_then(serde_json::Value::as_i64);
    let has_version = serde_json::from_str(&text).ok().and_then(version) == Some(1);
    let identity = Identity::of_json(&text, "SessionToken").filter(|_| has_version);
    identity.ok_or_else(|| cannot("printed no credentials of version 1"))
}

/// Why there is no output.
enum Failed {
    Late(Duration),
    Stopped,
    TooLong,
    Local(Error),
}

impl Failed {
    fn into_error(self, cannot: impl Fn(&str) -> Error) -> Error {
        match self {
            Self::Late(patience) => cannot(&format!("did not end within {patience:?}")),
            Self::Stopped => cannot("the run was to stop before it ended"),
            Self::TooLong => cannot("printed more than any credentials"),
            Self::Local(error) => error,
        }
    }
}

/// What it printed when it ended.
fn wait(child: &mut Child, lookup: &Lookup<'_>, patience: Duration) -> Result<Vec<u8>, Failed> {
    let (began, printed) = (Instant::now(), read(child)?);
    let mut output = None;
    loop {
        match printed.try_recv() {
            Ok(bytes) => output = Some(bytes),
            // Sent, or the reader is gone.
            Err(TryRecvError::Disconnected) if output.is_none() => output = Some(Vec::new()),
            Err(_) => {}
        }
        if let Some(bytes) = output.take_if(|bytes| bytes.len() as u64 > LONGEST || has_ended(child)) {
            return if bytes.len() as u64 > LONGEST { Err(Failed::TooLong) } else { Ok(bytes) };
        }
        if began.elapsed() > patience {
            return Err(Failed::Late(patience));
        }
        if lookup.stop.sleep(BEAT) {
            return Err(Failed::Stopped);
        }
    }
}

/// A process whose end cannot be seen has ended: what follows waits for it, and kills it first.
fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

/// Reads on a thread of its own: a child of the program may keep the pipe open for ever.
fn read(child: &mut Child) -> Result<Receiver<Vec<u8>>, Failed> {
    let (done, printed) = channel();
    if let Some(pipe) = child.stdout.take() {
        let reading = std::thread::Builder::new().name("credentials".to_owned()).spawn(move || {
            let mut bytes = Vec::new();
            drop(pipe.take(LONGEST + 1).read_to_end(&mut bytes));
            drop(done.send(bytes));
        });
        reading.map_err(|cause| Failed::Local(threads::no_thread("for credential_process", cause)))?;
    }
    Ok(printed)
}

/// The words of a command: separated by white space, or within quotes. Nothing else is special but a backslash before a quote or
/// another backslash. `None`: a quote is not closed.
fn words(command: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = command.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') if rest.peek().is_some_and(|next| "\\\"'".contains(*next)) => {
                word.get_or_insert_default().extend(rest.next());
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AwsVariables;
    use crate::stop::Stop;

    fn run(command: &str) -> Result<Identity, String> {
        let (variables, stop) = (AwsVariables::set(&[]), Stop::new());
        let lookup = Lookup { variables: &variables, region: "r", stop: &stop };
        find_within(&lookup, "the profile \"p\"", command, Duration::from_secs(2)).map_err(|error| error.chain())
    }

    #[test]
    fn words_are_those_of_a_shell_that_expands_nothing() {
        let of = |text: &str| words(text).unwrap();
        assert_eq!(of(r#"/bin/x  "a b" '$HOME *' c\"d "" e'f'"#), ["/bin/x", "a b", "$HOME *", "c\"d", "", "ef"]);
        assert_eq!(of(r"C:\bin\x"), [r"C:\bin\x"]);
        assert_eq!(words("x 'a"), None);
    }

    #[test]
    fn what_it_prints_is_used_and_what_fails_is_named_without_its_words() {
        let json = r#"{"Version":1,"AccessKeyId":"PROCESS","SecretAccessKey":"s","SessionToken":"t","Expiration":"2999-01-01T00:00:00Z"}"#;
        let found = run(&format!("printf %s '{json}'")).unwrap();
        assert!(!found.has_expired());
        for (command, says) in [
            ("/bin/false SECRET".to_owned(), "credential_process /bin/false: ended with exit status: 1"),
            ("no-such-program SECRET".to_owned(), "cannot be started"),
            ("printf SECRET".to_owned(), "printed no credentials"),
            (format!("printf %s '{}'", json.replace("\"Version\":1", "\"Version\":2")), "of version 1"),
            ("sleep 30".to_owned(), "did not end within 2s"),
            ("sh -c 'sleep 30 & exit 0'".to_owned(), "did not end within 2s"),
            ("yes SECRET".to_owned(), "printed more than any"),
            ("x 'SECRET".to_owned(), "is no command"),
        ] {
            let Err(error) = run(&command) else { panic!("{command}") };
            assert!(error.contains(says) && !error.contains("SECRET"), "{command}: {error}");
        }
    }
}
