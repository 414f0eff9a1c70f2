//! The role of an instance: the metadata service of EC2 (version 2) gives out credentials.
//!
//! Invariant: it is asked directly. A proxy would answer with its own role, or learn ours.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::ask::{Asker, Question, Reply, Way};
use super::{Lookup, refused};
use crate::error::Result;
use crate::store::s3::signing::Identity;

const V4: &str = "http://169.254.169.254";
const V6: &str = "http://[fd00:ec2::254]";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// How long an answer may take: the service is beside the machine, and most machines have none.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 2;

/// Credentials of the instance's role.
pub(super) fn find(lookup: &Lookup<'_>) -> Result<Identity> {
    let v6 = lookup
        .variables
        .get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")
        .is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let named = lookup.variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let service = named.unwrap_or(if v6 { V6 } else { V4 }).trim_end_matches('/');
    let provider = format!("the instance's role (metadata service at {service})");
    let url = |path: &str| Url::parse(&format!("{service}{path}")).map_err(|_| refused(&provider, "not an address"));
    let asker = Asker::new(Way::Direct, &url("/")?, PATIENCE, TRIES, lookup.stop)?;
    let good = |what: &str, reply: Result<Reply, String>| match reply {
        Ok(reply) if reply.status == 200 => Ok(reply.body.trim().to_owned()),
        Ok(reply) => Err(refused(&provider, &format!("HTTP {} to {what}", reply.status))),
        Err(why) => Err(refused(&provider, &why)),
    };

    let token = good("the request for a token", asker.ask(&for_token(url("/latest/api/token")?)))?;
    let mut headers = HeaderMap::new();
    let mut token = HeaderValue::from_str(&token).map_err(|_| refused(&provider, "it answered no token"))?;
    token.set_sensitive(true);
    headers.insert(HeaderName::from_static("x-aws-ec2-metadata-token"), token);
    let get = |path: &str| Ok(asker.ask(&Question { headers: headers.clone(), ..Question::get(&url(path)?) }));

    let roles = good("the question for its role", get(ROLES)?)
        .map_err(|error| error.hint("give the instance a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"))?;
    let role = roles.lines().next().unwrap_or_default().trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if role.is_empty() || !role.chars().all(fits) {
        return Err(refused(&provider, "it answered no role"));
    }
    let body = good(&format!("the question for {role}"), get(&format!("{ROLES}{role}"))?)?;
    Identity::of_json(&body, "Token").ok_or_else(|| refused(&provider, &format!("no credentials of {role}")))
}

fn for_token(url: Url) -> Question {
    let mut headers = HeaderMap::new();
    let lifetime = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
    headers.insert(lifetime, HeaderValue::from_static("21600"));
    headers.insert(reqwest::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Question { method: Method::PUT, headers, ..Question::get(&url) }
}
