//! Where credentials come from: the providers of AWS's tools, in one order, and what each of them answered.
//!
//! | provider | asked where |
//! |---|---|
//! | the configured keys | `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are set |
//! | a profile | `AWS_PROFILE` names it |
//! | a web identity | `AWS_WEB_IDENTITY_TOKEN_FILE` is set |
//! | the profile `default` | one of the two files has credentials in it |
//! | the container's role | `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `…_FULL_URI` is set |
//! | the instance's role | nothing of the above, and `AWS_EC2_METADATA_DISABLED` is not `true` |
//!
//! Keeps nothing on disk. Invariants: a provider that was chosen and fails is an error, never a reason to ask the next: another identity
//! could write where this one must not. Each error names the provider, the file or address, and the answer, and no secret.

use super::settings::S3Settings;
use super::signing::Identity;
use crate::config::{AwsVariables, Profiles, S3Credentials};
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

mod ask;
mod container;
mod instance;
mod process;
mod profile;
mod sts;
#[cfg(test)]
mod tests;

/// What to do where nothing offers credentials.
const NOTHING: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role";

/// What the providers look at.
pub(super) struct Lookup<'a> {
    variables: &'a AwsVariables,
    region: &'a str,
    stop: &'a Stop,
}

/// Looks the credentials up.
pub(super) fn find(settings: &S3Settings, stop: &Stop) -> Result<Identity> {
    let lookup = Lookup { variables: &settings.variables, region: &settings.region, stop };
    match &settings.credentials {
        S3Credentials::Keys { id, secret, token } => {
            Ok(Identity::of(id.expose(), secret.expose()).with_token(token.as_ref().map(|token| token.expose())))
        }
        S3Credentials::Profile(name) => profile::named(&lookup, name),
        S3Credentials::Default => lookup.chain(),
    }
}

impl Lookup<'_> {
    fn chain(&self) -> Result<Identity> {
        if let Some(file) = self.variables.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            return sts::web_identity_of_environment(self, file);
        }
        let profiles = Profiles::read(self.variables);
        if let Some(found) = profile::default(self, &profiles) {
            return found;
        }
        if let Some(found) = container::find(self) {
            return found;
        }
        // Asking the machine next would be another identity than the one that was meant.
        if let Some(broken) = profiles.broken() {
            return Err(refused("the profile \"default\"", &broken)
                .hint("correct the variable that names the file, or unset it"));
        }
        self.instance(&profiles)
    }

    /// The provider that nobody configures: what there is no other for.
    fn instance(&self, profiles: &Profiles) -> Result<Identity> {
        let none_before = format!("no variables, no profile \"default\" with credentials in {}", profiles.described());
        if self.variables.is_on("AWS_EC2_METADATA_DISABLED") {
            let what = format!("no S3 credentials: {none_before}, and AWS_EC2_METADATA_DISABLED is set");
            return Err(Error::new(ErrorKind::Credentials, what).hint(NOTHING));
        }
        instance::find(self).map_err(|error| {
            let what = format!("{error}; before it: {none_before}");
            let hint = error.next_step().unwrap_or(NOTHING).to_owned();
            Error::new(ErrorKind::Credentials, what).hint(hint)
        })
    }
}

/// A provider that was chosen and gives nothing. `why` names the file or address, and the answer.
fn refused(provider: &str, why: &str) -> Error {
    Error::new(ErrorKind::Credentials, format!("no S3 credentials: {provider}: {why}"))
}
