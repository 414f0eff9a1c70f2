//! The Security Token Service: roles taken with a web identity's token, or with other credentials.
//!
//! Invariants: it is asked at the address that a variable names, else at AWS's in the configured region; of an error only its code and
//! message are shown, and never one that quotes what was sent.

use std::time::Duration;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use sha2::Sha256 as Hash;

use super::ask::{Asker, Question, Reply, Way};
use super::{Lookup, refused};
use crate::digest::{Sha256, hex};
use crate::error::{Error, Result};
use crate::store::s3::refusal::{element, excerpt};
use crate::store::s3::signing::{Identity, authority, escaped};

const PATIENCE: Duration = Duration::from_secs(10);
const TRIES: u32 = 3;
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A role to take.
pub(super) struct Role<'a> {
    pub(super) arn: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) external_id: Option<&'a str>,
    pub(super) seconds: Option<&'a str>,
}

/// The role of a pod or a job, which the environment names.
pub(super) fn web_identity_of_environment(lookup: &Lookup<'_>, file: &str) -> Result<Identity> {
    let provider = "the web identity";
    let Some(arn) = lookup.variables.get("AWS_ROLE_ARN") else {
        return Err(refused(provider, "AWS_WEB_IDENTITY_TOKEN_FILE is set, AWS_ROLE_ARN is not")
            .hint("set AWS_ROLE_ARN too, or unset both"));
    };
    web_identity(lookup, provider, arn, lookup.variables.get("AWS_ROLE_SESSION_NAME"), file)
}

/// A role taken with the token in `file`, which is read anew each time: it is replaced long before it expires.
pub(super) fn web_identity(
    lookup: &Lookup<'_>,
    provider: &str,
    arn: &str,
    session: Option<&str>,
    file: &str,
) -> Result<Identity> {
    let token = std::fs::read_to_string(file).map_err(|cause| {
        refused(provider, &format!("cannot read its token in {file}: {cause}"))
            .hint("let this user read the file (a pod: fsGroup), or correct its name")
    })?;
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", arn),
        ("RoleSessionName", session.unwrap_or("etl")),
        ("WebIdentityToken", token.trim()),
    ];
    ask(lookup, provider, &form, None, &[token.trim()])
}

/// A role taken with the credentials of `source`.
pub(super) fn assume(lookup: &Lookup<'_>, provider: &str, source: &Identity, role: &Role<'_>) -> Result<Identity> {
    let mut form = vec![
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", role.arn),
        ("RoleSessionName", role.session.unwrap_or("etl")),
    ];
    form.extend(role.external_id.map(|id| ("ExternalId", id)));
    form.extend(role.seconds.map(|seconds| ("DurationSeconds", seconds)));
    ask(lookup, provider, &form, Some(source), &source.secrets())
}

fn ask(
    lookup: &Lookup<'_>,
    provider: &str,
    form: &[(&str, &str)],
    source: Option<&Identity>,
    secrets: &[&str],
) -> Result<Identity> {
    let named = lookup.variables.get("AWS_ENDPOINT_URL_STS").or_else(|| lookup.variables.get("AWS_ENDPOINT_URL"));
    let suffix = if lookup.region.starts_with("cn-") { ".cn" } else { "" };
    let aws = || format!("https://sts.{}.amazonaws.com{suffix}", lookup.region);
    let url = named.map_or_else(aws, str::to_owned);
    let at = format!("STS at {}", crate::secret::redact_url(&url));
    let cannot = |why: &str| {
        refused(provider, &format!("{at}: {why}"))
            .hint("check the role, who may take it (its trust policy), and load.region; AWS_ENDPOINT_URL_STS names another STS")
    };
    let url = Url::parse(&format!("{}/", url.trim_end_matches('/'))).map_err(|_| cannot("not an address"))?;
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", escaped(value, true));
    let body = form.iter().map(pair).collect::<Vec<_>>().join("&");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
    if let Some(source) = source {
        sign(source, &url, &mut headers, &body, lookup.region).map_err(|()| cannot("the request cannot be signed"))?;
    }
    let asker = Asker::new(Way::Proxies, &url, PATIENCE, TRIES, lookup.stop)?;
    let reply = asker.ask(&Question { method: Method::POST, url, headers, body });
    answered(&reply.map_err(|why| cannot(&why))?, secrets, &cannot)
}

fn answered(reply: &Reply, secrets: &[&str], cannot: &dyn Fn(&str) -> Error) -> Result<Identity> {
    if reply.status != 200 {
        let said = excerpt(reply.body.as_bytes(), secrets);
        return Err(cannot(&format!("HTTP {} {said}", reply.status)));
    }
    let get = |name| element(&reply.body, name);
    let (Some(id), Some(secret), Some(token)) = (get("AccessKeyId"), get("SecretAccessKey"), get("SessionToken"))
    else {
        return Err(cannot("it answered no credentials"));
    };
    let expires = get("Expiration").and_then(|at| at.parse::<Timestamp>().ok());
    Ok(Identity::of(&id, &secret).with_token(Some(&token)).until(expires))
}

/// Signature Version 4 for STS: the library's signatures are for S3 alone.
fn sign(source: &Identity, url: &Url, headers: &mut HeaderMap, body: &str, region: &str) -> Result<(), ()> {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = now.get(..8).unwrap_or_default();
    let mut lines = vec![("content-type", FORM.to_owned()), ("host", authority(url)), ("x-amz-date", now.clone())];
    lines.extend(source.token().map(|token| ("x-amz-security-token", token.to_owned())));
    let canonical: String = lines.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let signed = lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let request = format!("POST\n{}\n\n{canonical}\n{signed}\n{}", url.path(), Sha256::of(body.as_bytes()));
    let scope = format!("{day}/{region}/sts/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", Sha256::of(request.as_bytes()));
    let mut key = format!("AWS4{}", source.secret()).into_bytes();
    for part in [day, region, "sts", "aws4_request", &text] {
        let mut hmac = Hmac::<Hash>::new_from_slice(&key).map_err(drop)?;
        hmac.update(part.as_bytes());
        key = hmac.finalize().into_bytes().to_vec();
    }
    let (id, signature) = (source.id(), hex(&key));
    let proof = format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}");
    for (name, value) in lines.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
        headers.insert(HeaderName::from_static(name), secret(value)?);
    }
    headers.insert(AUTHORIZATION, secret(&proof)?);
    Ok(())
}

fn secret(text: &str) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(text).map_err(drop)?;
    value.set_sensitive(true);
    Ok(value)
}
