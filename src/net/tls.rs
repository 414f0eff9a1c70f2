//! Certificates of one's own: authorities to trust instead of the system's, and a client's certificate with its key.
//!
//! Keeps what was read. Invariants: what is wrong with a text is found when it is read, and named by its place; a key is in no message.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::{Certificate, Client, ClientBuilder, Identity};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::validity;
use crate::error::{Error, ErrorKind, Result};

/// A text with certificates or a key, and what errors call it.
#[derive(Clone, Copy)]
pub struct Pem<'a> {
    /// The key of the configuration, and the file.
    pub place: &'a str,
    /// The text.
    pub text: &'a str,
}

/// What connections use beside, or instead of, what the system has.
#[derive(Clone, Default)]
pub struct Tls {
    roots: Option<Vec<Certificate>>,
    identity: Option<Identity>,
    /// Until when the client's certificate is valid, where that can be read.
    until: Option<Timestamp>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (roots, identity) = (self.roots.as_ref().map(Vec::len), self.identity.is_some());
        f.debug_struct("Tls").field("roots", &roots).field("identity", &identity).finish()
    }
}

impl Tls {
    /// Trusts the authorities in `ca`, and no others.
    ///
    /// # Errors
    /// `Config`: there is no certificate in it that can be used.
    pub fn trusting(mut self, ca: Pem<'_>) -> Result<Self> {
        let roots = certificates(ca)?;
        let roots = roots.iter().map(|root| Certificate::from_der(root)).collect::<Result<Vec<_>, _>>();
        self.roots =
            Some(roots.map_err(|cause| wrong(ca, "has a certificate that cannot be used", ASK_CA).caused_by(cause))?);
        self.try_out(ca)
    }

    /// Shows the certificate in `cert`, with its chain behind it, where a server asks for one.
    ///
    /// # Errors
    /// `Config`: no certificate, no key, or a key of another certificate.
    pub fn showing(mut self, cert: Pem<'_>, key: Pem<'_>) -> Result<Self> {
        let chain = certificates(cert)?;
        let private = private_key(key)?;
        self.until = chain.first().and_then(|first| validity::until(first));
        let mut text = String::new();
        chain.iter().for_each(|one| encode("CERTIFICATE", one, &mut text));
        encode(label(&private), private.secret_der(), &mut text);
        let identity = Identity::from_pem(text.as_bytes());
        self.identity = Some(
            identity.map_err(|cause| wrong(key, "cannot be used with its certificate", ASK_KEY).caused_by(cause))?,
        );
        self.try_out(key)
    }

    /// Whether a client's certificate is shown.
    #[must_use]
    pub const fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Until when the client's certificate is valid; `None` where there is none, or that cannot be read.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// A client that uses them. `needs_roots`: whether it needs those of the system where no others are named.
    pub(crate) fn set_up(&self, builder: ClientBuilder, needs_roots: bool) -> ClientBuilder {
        let builder = match &self.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        };
        let Some(roots) = &self.roots else { return builder.tls_built_in_root_certs(needs_roots) };
        let builder = builder.tls_built_in_root_certs(false);
        roots.iter().fold(builder, |builder, root| builder.add_root_certificate(root.clone()))
    }

    /// Makes a client of it: what the TLS library refuses, it refuses here, where it can be named.
    fn try_out(self, newest: Pem<'_>) -> Result<Self> {
        match self.set_up(Client::builder(), false).build() {
            Ok(_) => Ok(self),
            Err(cause) => {
                let hint = if self.identity.is_some() { ASK_KEY } else { ASK_CA };
                Err(wrong(newest, "cannot be used", hint).caused_by(cause.without_url()))
            }
        }
    }
}

/// What to do about a file of authorities.
const ASK_CA: &str =
    "name a PEM file with the certificate of the authority that signed the server's: -----BEGIN CERTIFICATE-----";
/// What to do about a client's files.
const ASK_KEY: &str = "cert and key belong together: `openssl x509 -noout -pubkey -in CERT` and `openssl pkey -pubout -in KEY` print the same";

fn wrong(pem: Pem<'_>, what: &str, hint: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{}: {what}", pem.place)).hint(hint)
}

fn certificates(pem: Pem<'_>) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem.text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found
        .map_err(|cause| wrong(pem, &format!("is damaged: {cause}"), "put the file there again, as it was issued"))?;
    if found.is_empty() {
        return Err(wrong(pem, "has no certificate in it", "it has to be PEM text: -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

fn private_key(pem: Pem<'_>) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem.text.as_bytes()).map_err(|_| {
        if pem.text.contains("ENCRYPTED") {
            let hint = "nobody is there to type it: `openssl pkey -in KEY -out PLAIN` takes it away; let only the owner read the result";
            return wrong(pem, "has a password", hint);
        }
        wrong(pem, "has no private key in it", "it has to be PEM text: -----BEGIN PRIVATE KEY-----")
    })
}

const fn label(key: &PrivateKeyDer<'_>) -> &'static str {
    match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    }
}

/// Spelled again, so that what else stands in a file does not matter.
fn encode(label: &str, der: &[u8], into: &mut String) {
    into.push_str(&format!("-----BEGIN {label}-----\n"));
    let text = STANDARD.encode(der);
    for line in text.as_bytes().chunks(64) {
        into.push_str(&String::from_utf8_lossy(line));
        into.push('\n');
    }
    into.push_str(&format!("-----END {label}-----\n"));
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn pem<'a>(text: &'a str) -> Pem<'a> {
        Pem { place: "source.auth.x: /f.pem", text }
    }

    fn made(days: i64) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after =
            (SystemTime::now() + std::time::Duration::from_secs(86_400) * u32::try_from(days).unwrap()).into();
        let key = rcgen::KeyPair::generate().unwrap();
        let (mut cert, mut private) = (String::new(), String::new());
        encode("CERTIFICATE", params.self_signed(&key).unwrap().der(), &mut cert);
        encode("PRIVATE KEY", &key.serialize_der(), &mut private);
        (cert, private)
    }

    fn refusal(made: Result<Tls>) -> String {
        let error = made.unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.next_step().is_some(), "{error:?}");
        error.chain()
    }

    #[test]
    fn certificate_and_key_of_one_pair_are_taken_however_they_lie_in_their_files() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (cert, key) = made(3);
        let both = format!("subject=etl\n{key}\n{cert}");
        for (cert, key) in [(&cert, &key), (&both, &both)] {
            let tls = Tls::default().showing(pem(cert), pem(key)).unwrap();
            let left = tls.until().unwrap().duration_since(Timestamp::now()).as_hours();
            assert!((70..=72).contains(&left), "{left}");
        }
        assert!(Tls::default().trusting(pem(&cert)).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file_and_without_the_key() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ((cert, key), (other, _)) = (made(3), made(3));
        let show = |cert: &str, key: &str| refusal(Tls::default().showing(pem(cert), pem(key)));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let broken = cert.replace("-----END CERTIFICATE-----\n", "");
        let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (said, expected) in [
            (show(&other, &key), "cannot be used"),
            (show("", &key), "has no certificate in it"),
            (show(&broken, &key), "is damaged"),
            (show(&cert, &cert), "has no private key in it"),
            (show(&cert, encrypted), "has a password"),
            (refusal(Tls::default().trusting(pem("x"))), "has no certificate in it"),
            (refusal(Tls::default().trusting(pem(no_der))), "cannot be used"),
        ] {
            assert!(said.starts_with("source.auth.x: /f.pem: ") && said.contains(expected), "{expected}: {said}");
            assert!(!said.contains(key.lines().nth(1).unwrap()), "{said}");
        }
    }
}
