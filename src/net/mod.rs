//! What all HTTP clients here share: looking names up, reading HTTP dates, and what to do about a connection that failed.
//!
//! Keeps nothing. Invariants: a look-up never holds up the one who waits for it, however long the resolver is silent; no
//! text made here holds more of an address than its host's name.

pub mod backoff;
pub mod ping;
pub mod tls;
mod validity;

use std::error::Error as StdError;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{AlertDescription, CertificateError};
use tokio::sync::oneshot;

/// What to do where the system has not what a client needs.
pub(crate) const NO_RUNTIME: &str =
    "the system gave it nothing: look at the limits of this user and machine (`ulimit -a`), then run again";

/// A host's name that has no address, as far as the resolver tells.
#[derive(Debug, thiserror::Error)]
#[error("the name {host} cannot be resolved")]
pub struct NoAddress {
    host: String,
    #[source]
    cause: io::Error,
}

/// The system's resolver, asked on a thread that nobody waits for. `watch` gets the name at the start of a look-up and
/// `None` at its end.
pub(crate) struct Names<F>(pub(crate) F);

impl<F: Fn(Option<&str>) + Clone + Send + Sync + 'static> Resolve for Names<F> {
    fn resolve(&self, name: Name) -> Resolving {
        let (watch, host) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            watch(Some(&host));
            let found = look_up(host.clone()).await;
            watch(None);
            let addresses = found.map_err(|cause| NoAddress { host, cause })?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// A thread of its own for each look-up: the runtime's own pool panics where the system gives it none.
async fn look_up(host: String) -> io::Result<Vec<SocketAddr>> {
    let (answer, answered) = oneshot::channel();
    let name = host.clone();
    let asking = std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        // Whoever asked may have gone.
        drop(answer.send(addresses(&name)));
    });
    if asking.is_err() {
        return addresses(&host);
    }
    answered.await.unwrap_or_else(|_| Err(io::Error::other("the resolver ended without an answer")))
}

fn addresses(host: &str) -> io::Result<Vec<SocketAddr>> {
    // The client puts the port in.
    Ok((host, 0).to_socket_addrs()?.collect())
}

/// An HTTP date in any of the three forms that RFC 9110 has every recipient read.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let old = |form| {
        let date = DateTime::strptime(form, text).ok()?;
        date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    let today = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    today.or_else(|| old("%A, %d-%b-%y %H:%M:%S GMT")).or_else(|| old("%a %b %e %H:%M:%S %Y"))
}

/// Whether the system's root certificates are read for what is at `url`: hundreds of files, a third of what a small run costs. All that
/// is asked for there has its scheme; a proxy, which the HTTP library finds in the environment by itself, may have another.
#[must_use]
pub fn needs_roots(url: &reqwest::Url) -> bool {
    let tls_proxy = |name| std::env::var(name).is_ok_and(|proxy| proxy.starts_with("https:"));
    url.scheme() != "http" || ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].into_iter().any(tls_proxy)
}

/// What to do about a connection that failed with `cause`, where its cause tells: a name that has no address, a certificate,
/// a peer that speaks something else. `setting` is the key that holds the address.
#[must_use]
pub fn hint(cause: &(dyn StdError + 'static), setting: &str) -> Option<String> {
    let causes = || std::iter::successors(Some(cause), |error| below(*error));
    if causes().any(|error| error.is::<NoAddress>()) {
        return Some(format!("check the host in {setting}, and this machine's resolver (/etc/resolv.conf)"));
    }
    if let Some(tls) = causes().find_map(|error| error.downcast_ref::<rustls::Error>()) {
        return about_tls(tls, setting);
    }
    if causes().any(|error| error.to_string().contains("tls handshake eof")) {
        return Some(format!(
            "the other side hung up on the TLS handshake: check host and port in {setting}, and what is on the way there"
        ));
    }
    // Of the HTTP library, whose own error type is not ours to name: what came was no HTTP, or came before it was asked for.
    let no_http = |text: &str| text.starts_with("invalid HTTP") || text.starts_with("received unexpected message");
    if causes().any(|error| no_http(&error.to_string())) {
        return Some(format!(
            "what listens there speaks no HTTP/1.1: check scheme and port in {setting} (https:? or HTTP/2 only?)"
        ));
    }
    None
}

/// The error below `error`. An I/O error gives what is below the error that it wraps, and passes over that one.
fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn about_tls(error: &rustls::Error, setting: &str) -> Option<String> {
    match error {
        rustls::Error::InvalidCertificate(wrong) => Some(about_certificate(wrong, setting)),
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            Some(format!("what listens there speaks no TLS: check scheme and port in {setting} (http:?)"))
        }
        rustls::Error::NoApplicationProtocol
        | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Some(format!(
            "the server speaks no HTTP/1.1 (HTTP/2 only?): name one that does in {setting}, or put a proxy in between"
        )),
        rustls::Error::AlertReceived(alert) => about_alert(*alert, setting),
        rustls::Error::PeerIncompatible(_) => Some(NOTHING_IN_COMMON.to_owned()),
        _ => None,
    }
}

const NOTHING_IN_COMMON: &str = "ask the server's owner for TLS 1.2 or 1.3 with one of today's ciphers";

fn about_alert(alert: AlertDescription, setting: &str) -> Option<String> {
    let text = match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::DecryptError
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => return Some(about_client(setting)),
        AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::HandshakeFailure => NOTHING_IN_COMMON,
        _ => return None,
    };
    Some(text.to_owned())
}

/// The server wants to know its clients, and did not like what it was shown.
fn about_client(setting: &str) -> String {
    if setting.starts_with("source.") {
        "the server wants a certificate from its clients that it trusts: name it in [source.auth] (cert, key); `etl check` says until \
         when it is valid"
            .to_owned()
    } else {
        format!(
            "the server of {setting} wants a certificate from its clients, which is not supported: ask its owner for another way in"
        )
    }
}

fn about_certificate(wrong: &CertificateError, setting: &str) -> String {
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's owner has to renew its certificate; unless this machine's clock is wrong: look at it"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "look at this machine's clock: by it, the server's certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is for another host: write one that it is for in {setting}")
        }
        // A bad signature is that of an authority of the same name with another key: one that was made again.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => about_roots(setting),
        _ => "ask the server's owner to look at its certificate".to_owned(),
    }
}

/// Nobody vouches for the certificate: because it is private, or because nobody is known at all.
fn about_roots(setting: &str) -> String {
    let named = std::env::var("SSL_CERT_FILE").ok().filter(|file| !file.is_empty());
    // Read again, as this end is seldom: the HTTP library does not tell what it found.
    let any = !rustls_native_certs::load_native_certs().certs.is_empty();
    match (named, any) {
        (Some(file), false) => {
            format!(
                "SSL_CERT_FILE names {file}, which has no certificate in it that can be read: name another, or unset it"
            )
        }
        (Some(file), true) => {
            format!("SSL_CERT_FILE names {file}: add the certificate of the authority that signed the server's to it")
        }
        (None, false) => "this machine has no root certificates: install them (the package is often called \
             ca-certificates), or name a file of them in SSL_CERT_FILE"
            .to_owned(),
        (None, true) => {
            let place =
                if setting.starts_with("source.") { "source.auth.ca (or SSL_CERT_FILE)" } else { "SSL_CERT_FILE" };
            format!(
                "if the certificate is signed by a private authority, name the file of that authority's certificate in {place}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_servers_are_read_in_all_three_forms() {
        let expected = "1994-11-06T08:49:37Z".parse().ok();
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT\t",
        ] {
            assert_eq!(http_date(text), expected, "{text}");
        }
        for text in ["", "yesterday", "1994-11-06", "0"] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn cause_is_found_below_whatever_wraps_it() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert!(hint(&wrapped, "source.url").is_some_and(|text| text.contains("renew")));
        assert_eq!(hint(&io::Error::other("something else"), "source.url"), None);
    }

    #[test]
    fn each_cause_has_a_hint_of_its_own() {
        let certificate = rustls::Error::InvalidCertificate;
        let alert = rustls::Error::AlertReceived;
        let errors = [
            (certificate(CertificateError::NotValidYet), "clock"),
            (certificate(CertificateError::NotValidForName), "another host"),
            (certificate(CertificateError::UnknownIssuer), "SSL_CERT_FILE"),
            (certificate(CertificateError::BadSignature), "SSL_CERT_FILE"),
            (certificate(CertificateError::Revoked), "owner to look"),
            (rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "no TLS"),
            (alert(AlertDescription::NoApplicationProtocol), "HTTP/2"),
            (alert(AlertDescription::CertificateRequired), "wants a certificate"),
            (alert(AlertDescription::HandshakeFailure), "TLS 1.2"),
        ];
        for (error, expected) in errors {
            let hint = hint(&error, "load.endpoint").unwrap();
            assert!(hint.contains(expected) && !hint.contains("source.url"), "{error}: {hint}");
        }
        let unknown = NoAddress { host: "h.invalid".into(), cause: io::Error::other("x") };
        assert!(hint(&unknown, "load.endpoint").unwrap().contains("load.endpoint"));
    }

    #[test]
    fn name_that_nobody_knows_is_named_and_watched() {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = std::sync::Arc::clone(&seen);
        let names = Names(move |host: Option<&str>| log.lock().unwrap().push(host.map(str::to_owned)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(names.resolve("nobody.invalid".parse().unwrap()));
        let Err(error) = found else { panic!("it has an address") };
        assert_eq!(error.to_string(), "the name nobody.invalid cannot be resolved");
        assert!(error.is::<NoAddress>());
        assert_eq!(*seen.lock().unwrap(), [Some("nobody.invalid".to_owned()), None]);
        assert!(
            runtime.block_on(names.resolve("localhost".parse().unwrap())).is_ok_and(|mut found| found.next().is_some())
        );
    }
}
