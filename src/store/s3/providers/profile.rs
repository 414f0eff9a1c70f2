//! Profiles: what stands in one, and how that becomes credentials.
//!
//! Invariant: what a profile says is done, or named as not supported with the way out; nothing of it is passed over.

use reqwest::Url;

use super::{Lookup, container, instance, process, refused, sts};
use crate::config::{Profile, Profiles};
use crate::error::{Error, Result};
use crate::store::s3::signing::Identity;

/// How many profiles may take each other's roles in a row.
const DEEPEST: usize = 5;

/// What stands in a profile that signs in through a browser.
const SSO: [&str; 4] = ["sso_session", "sso_start_url", "sso_account_id", "sso_role_name"];

/// Credentials of the profile that a variable names.
pub(super) fn named(lookup: &Lookup<'_>, name: &str) -> Result<Identity> {
    let profiles = Profiles::read(lookup.variables);
    let Some(profile) = profiles.find(name) else {
        let provider = format!("the profile {name:?}");
        let why = format!("it is not in {}", profiles.described());
        let known = profiles.names().into_iter().filter(|name| !name.starts_with("sso-session "));
        let known = known.take(8).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { String::new() } else { format!(" (there are: {known})") };
        let hint = format!("correct AWS_PROFILE{known}, or unset it; HOME decides where the files are");
        return Err(refused(&provider, &why).hint(hint));
    };
    Chain { lookup, profiles: &profiles }.resolve(&profile, 0).unwrap_or_else(|| {
        Err(refused(&quoted(&profile), "it has no credentials")
            .hint("give it aws_access_key_id and aws_secret_access_key, a role_arn, or a credential_process"))
    })
}

/// Credentials of the profile `default`. `None`: it says nothing about any.
pub(super) fn default(lookup: &Lookup<'_>, profiles: &Profiles) -> Option<Result<Identity>> {
    let profile = profiles.find("default")?;
    Chain { lookup, profiles }.resolve(&profile, 0)
}

/// An address without what may be a secret in it.
pub(super) fn shown(url: &Url) -> String {
    crate::secret::redact_url(url.as_str())
}

fn quoted(profile: &Profile) -> String {
    format!("the profile {:?} in {}", profile.name, profile.file.display())
}

struct Chain<'a> {
    lookup: &'a Lookup<'a>,
    profiles: &'a Profiles,
}

impl Chain<'_> {
    /// `None`: the profile says nothing about credentials.
    fn resolve(&self, profile: &Profile, depth: usize) -> Option<Result<Identity>> {
        let is_own_source = profile.get("source_profile") == Some(&profile.name);
        if profile.get("role_arn").is_some() && !(is_own_source && depth > 0) {
            return Some(self.role(profile, depth));
        }
        if let Some(keys) = keys(profile) {
            return Some(keys);
        }
        if let Some(command) = profile.get("credential_process") {
            return Some(process::find(self.lookup, &quoted(profile), command));
        }
        SSO.iter().find(|key| profile.get(key).is_some()).map(|key| Err(signs_in(profile, key)))
    }

    /// The role that a profile takes.
    fn role(&self, profile: &Profile, depth: usize) -> Result<Identity> {
        let name = quoted(profile);
        let Some(arn) = profile.get("role_arn") else { return Err(refused(&name, "it has no role")) };
        if let Some(token_file) = profile.get("web_identity_token_file") {
            return sts::web_identity(self.lookup, &name, arn, profile.get("role_session_name"), token_file);
        }
        if profile.get("mfa_serial").is_some() {
            return Err(unsupported(profile, "its role asks for a code (mfa_serial)"));
        }
        if depth >= DEEPEST {
            return Err(refused(&name, "its roles are taken from each other in a circle")
                .hint("correct the source_profile of one of them"));
        }
        let source = match (profile.get("source_profile"), profile.get("credential_source")) {
            (Some(source), _) => self.source(profile, source, depth)?,
            (None, Some(source)) => self.machine(profile, source)?,
            (None, None) => {
                return Err(refused(&name, "its role_arn stands without source_profile and credential_source")
                    .hint("say with whose credentials the role is taken"));
            }
        };
        sts::assume(
            self.lookup,
            &name,
            &source,
            &sts::Role {
                arn,
                session: profile.get("role_session_name"),
                external_id: profile.get("external_id"),
                seconds: profile.get("duration_seconds"),
            },
        )
    }

    fn source(&self, profile: &Profile, source: &str, depth: usize) -> Result<Identity> {
        let found = self.profiles.find(source).and_then(|source| self.resolve(&source, depth + 1));
        found.unwrap_or_else(|| {
            Err(refused(&quoted(profile), &format!("its source_profile {source:?} has no credentials"))
                .hint("name a profile that has some, or give it some"))
        })
    }

    fn machine(&self, profile: &Profile, source: &str) -> Result<Identity> {
        let name = quoted(profile);
        let get = |name| self.lookup.variables.get(name);
        match source {
            "Environment" => match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
                (Some(id), Some(secret)) => Ok(Identity::of(id, secret).with_token(get("AWS_SESSION_TOKEN"))),
                _ => Err(refused(&name, "credential_source is Environment, and AWS_ACCESS_KEY_ID is not set")
                    .hint("set it with AWS_SECRET_ACCESS_KEY, or name another source")),
            },
            "Ec2InstanceMetadata" if self.lookup.variables.is_on("AWS_EC2_METADATA_DISABLED") => {
                Err(refused(&name, "credential_source is Ec2InstanceMetadata, and AWS_EC2_METADATA_DISABLED is set")
                    .hint("unset it, or name another source"))
            }
            "Ec2InstanceMetadata" => instance::find(self.lookup),
            "EcsContainer" => container::find(self.lookup).unwrap_or_else(|| {
                Err(refused(&name, "credential_source is EcsContainer, and no AWS_CONTAINER_CREDENTIALS_… is set")
                    .hint("run it in a container that has a role, or name another source"))
            }),
            _ => Err(refused(&name, "its credential_source is not known")
                .hint("write Environment, Ec2InstanceMetadata or EcsContainer")),
        }
    }
}

/// The keys that stand in a profile.
fn keys(profile: &Profile) -> Option<Result<Identity>> {
    let missing = match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
        (None, None) => return None,
        (Some(id), Some(secret)) => {
            return Some(Ok(Identity::of(id, secret).with_token(profile.get("aws_session_token"))));
        }
        (Some(_), None) => "aws_secret_access_key",
        (None, Some(_)) => "aws_access_key_id",
    };
    let why = format!("{missing} is missing");
    Some(Err(refused(&quoted(profile), &why).hint(format!("add {missing} to it"))))
}

fn signs_in(profile: &Profile, key: &str) -> Error {
    unsupported(profile, &format!("it signs in through a browser ({key}, IAM Identity Center)"))
}

fn unsupported(profile: &Profile, what: &str) -> Error {
    let name = &profile.name;
    refused(&quoted(profile), &format!("{what}, which is not supported")).hint(format!(
        "set what `aws configure export-credentials --profile {name} --format env` prints, or set AWS_PROFILE to a profile with \
         credential_process = aws configure export-credentials --profile {name}"
    ))
}
