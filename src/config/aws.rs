//! What AWS's own tools read: their variables, and the profiles of their two files.
//!
//! Read, never written. Invariants: a variable that is set but empty is not set; of two files the credentials file counts; no error
//! holds a value of a file. Which of all this is used, and in which order, is decided where requests are signed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::environment::{Environment, Variable};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// The variables about S3 and its credentials. Other programs use these names too, so they are looked at only where S3 is used.
const NAMES: [&str; 23] = [
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "HOME",
];

/// Those of the variables that are set.
#[derive(Clone, Default)]
pub struct AwsVariables(BTreeMap<&'static str, Variable>);

/// A section of a profile file: its keys, in lower case.
type Keys = BTreeMap<String, Secret>;

/// One of the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProfileFile {
    /// Where it is, or would be.
    pub(crate) path: PathBuf,
    /// Whether a variable names it.
    pub(crate) is_named: bool,
    /// Its sections, or why it cannot be read: "is not there".
    sections: std::result::Result<BTreeMap<String, Keys>, String>,
}

/// Both files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profiles {
    credentials: ProfileFile,
    config: ProfileFile,
}

/// A profile, and where its keys stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// The keys of both files; those of the credentials file go before the others.
    keys: Keys,
    /// The file that has it; the credentials file where both do.
    pub(crate) file: PathBuf,
}

impl AwsVariables {
    pub(super) fn of(environment: &Environment<'_>) -> Result<Self> {
        environment.all(&NAMES).map(Self)
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.0.get(name)
    }

    /// The first of `names` that is set.
    pub(super) fn first(&self, names: &[&str]) -> Option<&Variable> {
        names.iter().find_map(|name| self.variable(name))
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variable(name).map(|found| found.value.expose())
    }

    /// Whether a switch is on: `true` in any case of letters, as AWS's tools read it.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The profile that a variable names.
    pub(crate) fn profile(&self) -> Option<&str> {
        self.get("AWS_PROFILE").or_else(|| self.get("AWS_DEFAULT_PROFILE"))
    }

    /// The region of the profile in use, if its file can be read and names one.
    pub(super) fn profile_region(&self) -> Option<(String, PathBuf)> {
        let profile = Profiles::read(self).find(self.profile().unwrap_or("default"))?;
        Some((profile.get("region")?.to_owned(), profile.file))
    }

    /// For tests: variables of the environment.
    #[cfg(test)]
    pub(crate) fn set(pairs: &[(&'static str, &str)]) -> Self {
        let variable = |name: &str, value: &str| Variable {
            value: Secret::new(value),
            origin: super::environment::Origin::Environment(name.to_owned()),
        };
        Self(pairs.iter().map(|(name, value)| (*name, variable(name, value))).collect())
    }

    fn home(&self) -> PathBuf {
        let of_system = || User::from_uid(Uid::effective()).ok().flatten().map(|user| user.dir);
        self.get("HOME").map(PathBuf::from).or_else(of_system).unwrap_or_else(|| PathBuf::from("/"))
    }
}

impl fmt::Debug for AwsVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl PartialEq for AwsVariables {
    fn eq(&self, other: &Self) -> bool {
        let values = |of: &Self| of.0.iter().map(|(name, found)| (*name, found.value.clone())).collect::<Vec<_>>();
        values(self) == values(other)
    }
}

impl Eq for AwsVariables {}

impl Profiles {
    /// Reads both files.
    pub(crate) fn read(variables: &AwsVariables) -> Self {
        let file = |name, default: &str| {
            let named = variables.get(name).map(|path| expand(path, variables));
            ProfileFile::read(named.is_some(), named.unwrap_or_else(|| variables.home().join(default)))
        };
        Self {
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
            config: file("AWS_CONFIG_FILE", ".aws/config"),
        }
    }

    /// The profile `name`, from both files.
    pub(crate) fn find(&self, name: &str) -> Option<Profile> {
        let (of_credentials, of_config) = (self.credentials.section(name), self.config.section(name));
        let file = if of_credentials.is_some() { &self.credentials } else { &self.config };
        of_credentials.or(of_config)?;
        let keys = [of_config, of_credentials].into_iter().flatten().flatten();
        let keys = keys.map(|(key, value)| (key.clone(), value.clone())).collect();
        Some(Profile { name: name.to_owned(), keys, file: file.path.clone() })
    }

    /// The names of all profiles.
    pub(crate) fn names(&self) -> Vec<&str> {
        let sections = [&self.credentials, &self.config].into_iter().flat_map(|file| file.sections.iter().flatten());
        let mut names: Vec<&str> = sections.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Both files with what is wrong with them: `"/home/me/.aws/config is not there"`.
    pub(crate) fn described(&self) -> String {
        let one = |file: &ProfileFile| match &file.sections {
            Ok(_) => file.path.display().to_string(),
            Err(why) => format!("{} ({why})", file.path.display()),
        };
        format!("{} and {}", one(&self.credentials), one(&self.config))
    }

    /// A file that a variable names and that cannot be read, as part of a sentence.
    pub(crate) fn broken(&self) -> Option<String> {
        [&self.credentials, &self.config].into_iter().find_map(|file| {
            let why = file.sections.as_ref().err().filter(|_| file.is_named)?;
            Some(format!("{} {why}", file.path.display()))
        })
    }
}

impl Profile {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(Secret::expose).filter(|value| !value.is_empty())
    }
}

impl ProfileFile {
    fn read(is_named: bool, path: PathBuf) -> Self {
        let sections = match std::fs::read_to_string(&path) {
            Ok(text) => Ok(sections(&text)),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Err("is not there".to_owned()),
            Err(cause) => Err(format!("cannot be read: {cause}")),
        };
        Self { path, is_named, sections }
    }

    fn section(&self, name: &str) -> Option<&Keys> {
        self.sections.as_ref().ok()?.get(name)
    }
}

/// `~` at the start of a path stands for the home folder, as in AWS's tools.
fn expand(path: &str, variables: &AwsVariables) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => variables.home().join(rest),
        None => Path::new(path).to_owned(),
    }
}

/// The sections of a file, each under the name of its profile. A line that is indented further than the key above belongs to that
/// key, and is left out; a section of another kind (`[sso-session x]`) keeps its whole name.
fn sections(text: &str) -> BTreeMap<String, Keys> {
    let (mut found, mut name, mut depth) = (BTreeMap::<String, Keys>::new(), None, None);
    for line in text.trim_start_matches('\u{feff}').lines() {
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = plain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let header = header.0.split_whitespace().collect::<Vec<_>>().join(" ");
            let header = header.strip_prefix("profile ").unwrap_or(&header).trim_matches(['"', '\'']).to_owned();
            found.entry(header.clone()).or_default();
            (name, depth) = (Some(header), None);
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if depth.is_some_and(|depth| indent > depth) {
            continue;
        }
        depth = Some(indent);
        if let (Some(name), Some((key, value))) = (&name, plain.split_once('=')) {
            found.entry(name.clone()).or_default().insert(key.trim().to_ascii_lowercase(), Secret::new(bare(value)));
        }
    }
    found
}

/// A value without the comment behind it.
fn bare(value: &str) -> &str {
    let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    end.and_then(|end| value.get(..end)).unwrap_or(value).trim()
}

/// The error where a region of a profile is none.
pub(super) fn wrong_region(file: &Path, why: &Error) -> Error {
    let error = Error::new(ErrorKind::Config, format!("{}: region: {why}", file.display()));
    error.hint("correct it there, or set load.region or AWS_REGION")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(credentials: &str, config: &str) -> (tempfile::TempDir, AwsVariables) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        let variables = AwsVariables::set(&[("HOME", home.path().to_str().unwrap())]);
        (home, variables)
    }

    #[test]
    fn profile_is_read_from_both_files_and_the_credentials_file_counts() {
        let (home, variables) = files(
            "[a]\naws_access_key_id = OF_CREDENTIALS\n",
            "# x\n[default]\nregion=r-0\n[profile a]\n  AWS_ACCESS_KEY_ID = OF_CONFIG\n  region = r-1 # near\n  s3 =\n    region = nested\n[sso-session s]\nx = 1\n[profile \"b c\"]\nregion=r-2\n",
        );
        let profiles = Profiles::read(&variables);
        let a = profiles.find("a").unwrap();
        assert_eq!((a.get("aws_access_key_id"), a.get("region")), (Some("OF_CREDENTIALS"), Some("r-1")));
        assert_eq!(a.file, home.path().join(".aws/credentials"));
        assert_eq!(profiles.find("b c").unwrap().get("region"), Some("r-2"));
        assert_eq!(profiles.names(), ["a", "b c", "default", "sso-session s"]);
        assert_eq!(profiles.find("z"), None);
        assert_eq!(variables.profile_region().unwrap().0, "r-0");
        assert!(!format!("{profiles:?} {a:?}").contains("OF_"), "{profiles:?} {a:?}");
    }

    #[test]
    fn file_that_a_variable_names_and_that_is_not_there_is_named() {
        let variables = AwsVariables::set(&[("HOME", "/nowhere"), ("AWS_CONFIG_FILE", "~/x/config")]);
        let profiles = Profiles::read(&variables);
        assert_eq!(profiles.broken().unwrap(), "/nowhere/x/config is not there");
        assert!(profiles.described().starts_with("/nowhere/.aws/credentials (is not there) and"));
    }

    #[test]
    fn switch_is_on_in_any_case_of_letters() {
        for (value, on) in [("true", true), ("TRUE", true), ("false", false), ("1", false)] {
            assert_eq!(AwsVariables::set(&[("X", value)]).is_on("X"), on, "{value}");
        }
    }
}
