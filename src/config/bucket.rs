//! What an S3 bucket may be called, a prefix in it, and an endpoint that does not name it.
//!
//! Pure. Invariant: what is accepted is spelled the same in an object key, a URL and a path.

use super::paths::wrong;
use crate::error::Result;

/// What other stores than AWS put at the end of their hosts. Before it may stand a region, and before that a bucket.
const HOSTS: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "digitaloceanspaces.com",
    "r2.cloudflarestorage.com",
    "storage.googleapis.com",
    "backblazeb2.com",
    "wasabisys.com",
];

/// A bucket's name: looser than AWS, for the sake of other stores, but nothing that could change the URL.
pub(super) fn check(name: &str) -> Result<String> {
    let lower = name.to_ascii_lowercase();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_name = (1..=255).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.');
    match is_name {
        true if lower == name => Ok(name.to_owned()),
        true => Err(wrong(format!("{name:?} is not the name of an S3 bucket: these are in lower case"))
            .hint(format!("write {lower:?}, if that is the bucket"))),
        false => Err(wrong(format!("{name:?} is not the name of an S3 bucket"))
            .hint("write it as in \"s3://my-logs/prefix/\": letters in lower case, digits, hyphens and dots")),
    }
}

/// Whether a bucket can be asked for at this address. `None`: AWS, which is stricter than other stores.
pub(crate) fn check_address(bucket: &str, endpoint: Option<&str>) -> Result<()> {
    let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else { return check_for_aws(bucket) };
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let (host, path) = rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
    let without = host.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('.')).filter(|rest| is_store(rest));
    let shorter = match (without, path.rsplit('/').next() == Some(bucket)) {
        (Some(rest), _) => format!("{scheme}://{rest}"),
        (None, true) => format!("{scheme}://{host}/{}", path.strip_suffix(bucket).unwrap_or(path)),
        (None, false) => return Ok(()),
    };
    let shorter = shorter.trim_end_matches('/');
    Err(wrong(format!("the endpoint has the S3 bucket {bucket:?} in it"))
        .hint(format!("write endpoint = {shorter:?}, and the bucket only in load.to")))
}

/// Whether the host of a store remains when a bucket's name is taken off its front.
fn is_store(host: &str) -> bool {
    let host = host.split(':').next().unwrap_or(host);
    let is_of = |end: &str| host == end || host.ends_with(&format!(".{end}"));
    host.starts_with("s3.") || host.starts_with("s3-") || HOSTS.iter().any(|end| is_of(end))
}

fn check_for_aws(name: &str) -> Result<()> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    let ends = [name.as_bytes().first(), name.as_bytes().last()];
    let well_ended = ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric));
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
    if (3..=63).contains(&name.len()) && name.bytes().all(fits) && well_ended && !name.contains("..") && !is_address {
        return Ok(());
    }
    Err(wrong(format!("{name:?} is not the name of a bucket at AWS")).hint(
        "3 to 63 letters in lower case, digits, hyphens and dots; for a store that is not AWS, set load.endpoint",
    ))
}

/// A prefix with one `/` at its end, or none at all.
pub(super) fn check_prefix(prefix: &str) -> Result<String> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() {
        return Ok(String::new());
    }
    check_segments(prefix).map_err(|what| wrong(format!("the prefix {what}")))?;
    Ok(format!("{prefix}/"))
}

/// What is spelled the same in an object key, a URL and a path: plain segments between single slashes.
fn check_segments(text: &str) -> std::result::Result<(), String> {
    if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("has an empty segment, \".\" or \"..\"".to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "/-._=!'()".contains(c);
    match text.chars().find(|c| !fits(*c)) {
        Some(odd) => Err(format!("has a {odd:?}, which is not safe in an object key")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_in_upper_case_is_refused_with_its_lower_case() {
        assert_eq!(check("My-Logs").unwrap_err().next_step(), Some("write \"my-logs\", if that is the bucket"));
        for name in ["my logs", "", ".x", "a/b"] {
            assert!(check(name).unwrap_err().next_step().unwrap().contains("s3://my-logs/"), "{name}");
        }
        check("my_logs.1").unwrap();
        for name in ["my_logs", "ab", "-ab", "a..b", "127.0.0.1"] {
            assert!(check_address(name, None).is_err() && check_address(name, Some("http://h")).is_ok(), "{name}");
        }
        check_address("my-logs.1", Some("")).unwrap();
    }

    #[test]
    fn endpoint_with_the_bucket_in_it_is_refused_with_what_to_write() {
        for (endpoint, hint) in [
            ("https://logs.s3.eu-west-1.amazonaws.com", "\"https://s3.eu-west-1.amazonaws.com\""),
            ("https://logs.fra1.digitaloceanspaces.com/", "\"https://fra1.digitaloceanspaces.com\""),
            ("https://logs.s3.example.net:9000", "\"https://s3.example.net:9000\""),
            ("http://127.0.0.1:9000/logs/", "\"http://127.0.0.1:9000\""),
            ("https://h/s3/logs", "\"https://h/s3\""),
        ] {
            let error = check_address("logs", Some(endpoint)).unwrap_err();
            assert!(error.next_step().unwrap().contains(hint), "{endpoint}: {error:?}");
        }
        for endpoint in ["https://logs.example.net", "https://s3.logs.net", "http://logs:9000", "https://h/logs-s3"] {
            check_address("logs", Some(endpoint)).unwrap();
        }
    }
}
