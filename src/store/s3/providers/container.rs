//! The role of a container (ECS, EKS Pod Identity): an agent beside it gives out credentials.
//!
//! Invariant: without TLS it is asked only at an address that does not leave the machine, so nobody who sets a variable can have
//! its token sent elsewhere in the clear.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::ask::{Asker, Question, Way};
use super::{Lookup, refused};
use crate::error::{Error, Result};
use crate::store::s3::signing::Identity;

/// Where ECS's agent is; the variable gives only the path.
const ECS: &str = "http://169.254.170.2";
/// Hosts that do not leave the machine, beside loopback: ECS's agent, and that of EKS Pod Identity.
const LOCAL: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
const PROVIDER: &str = "the container's role";
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: u32 = 3;

/// Credentials of the container's role. `None`: no variable says that there is one.
pub(super) fn find(lookup: &Lookup<'_>) -> Option<Result<Identity>> {
    let get = |name| lookup.variables.get(name).map(|value| (name, value));
    let (relative, full) = (get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), get("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
    match (relative, full) {
        (Some((name, path)), _) => {
            Some(ask(lookup, name, Url::parse(&format!("{ECS}{path}")).ok(), path.starts_with('/')))
        }
        (None, Some((name, url))) => Some(ask(lookup, name, Url::parse(url).ok(), true)),
        (None, None) => None,
    }
}

fn ask(lookup: &Lookup<'_>, name: &str, url: Option<Url>, is_whole: bool) -> Result<Identity> {
    let Some(url) = url.filter(|url| is_whole && may_be_asked(url)) else {
        return Err(refused(PROVIDER, &format!("{name} is not the address of an agent on this machine"))
            .hint("unset it, or let it name the agent: loopback, 169.254.170.2, 169.254.170.23, or https"));
    };
    let mut question = Question::get(&url);
    if let Some(token) = token(lookup)? {
        let mut token = HeaderValue::from_str(&token)
            .map_err(|_| refused(PROVIDER, "its authorization token has characters that no header has"))?;
        token.set_sensitive(true);
        question.headers.insert(AUTHORIZATION, token);
    }
    let at = format!("the agent at {}", super::profile::shown(&url));
    let asker = Asker::new(Way::Direct, &url, PATIENCE, TRIES, lookup.stop)?;
    let reply = asker.ask(&question).map_err(|why| agent_refuses(&format!("{at}: {why}")))?;
    if reply.status != 200 {
        return Err(agent_refuses(&format!("{at} answered HTTP {}", reply.status)));
    }
    Identity::of_json(&reply.body, "Token").ok_or_else(|| agent_refuses(&format!("{at} answered no credentials")))
}

fn agent_refuses(why: &str) -> Error {
    refused(PROVIDER, why).hint("check that the task or the pod has a role, and that its agent runs")
}

fn token(lookup: &Lookup<'_>) -> Result<Option<String>> {
    let Some(file) = lookup.variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") else {
        return Ok(lookup.variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned));
    };
    let text = std::fs::read_to_string(file).map_err(|cause| {
        refused(PROVIDER, &format!("cannot read {file}, which AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names: {cause}"))
            .hint("let this user read the file, or correct the variable")
    })?;
    Ok(Some(text.trim().to_owned()))
}

fn may_be_asked(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_matches(['[', ']']);
    let is_loopback =
        host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_plain = url.username().is_empty() && url.password().is_none();
    is_plain && (url.scheme() == "https" || (url.scheme() == "http" && (is_loopback || LOCAL.contains(&host))))
}
