//! A server on loopback that speaks TLS, with a certificate of its own making.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The address of a server that speaks TLS for these names, and its certificate.
pub fn serve(names: &[&str], answer: Vec<u8>, change: impl FnOnce(&mut rcgen::CertificateParams)) -> (String, Vec<u8>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (listen(config, answer), certificate.der().to_vec())
}

/// The address of a server that wants this of its clients, and its certificate, which it also wants theirs to be signed with.
pub fn serve_picky(
    versions: &[&'static rustls::SupportedProtocolVersion],
    wants_certificate: bool,
    protocols: &[&str],
) -> (String, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let builder =
        if wants_certificate { builder.with_client_cert_verifier(verifier) } else { builder.with_no_client_auth() };
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (listen(config, Vec::new()), certificate.der().to_vec())
}

/// Answers each connection with `answer`.
fn listen(config: rustls::ServerConfig, answer: Vec<u8>) -> String {
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/api/data/log", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            // A client that does not like the certificate hangs up.
            if stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
                drop(stream.write_all(&answer));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    url
}

/// A certificate as the text of a file.
pub fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// An authority of a test's own, and what it signs.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: rcgen::Issuer::new(params, key), certificate }
    }

    /// Its certificate, as the text of a file.
    pub fn pem(&self) -> String {
        pem(&self.certificate)
    }

    /// A certificate for `name` that is valid for so many days, and its key, as texts of files.
    pub fn sign(&self, name: &str, days: u64) -> (String, String) {
        let (certificate, key) = self.signed(name, days);
        (pem(&certificate), pem(&key).replace("CERTIFICATE", "PRIVATE KEY"))
    }

    fn signed(&self, name: &str, days: u64) -> (Vec<u8>, Vec<u8>) {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        // OpenSSL takes a certificate for its own issuer where both have one name.
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_after = (std::time::SystemTime::now() + std::time::Duration::from_secs(days * 86_400)).into();
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().to_vec(), key.serialize_der())
    }

    /// The address of a server that this authority vouches for, and that answers only those whom it vouches for.
    pub fn serve_known(&self, answer: Vec<u8>) -> String {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone().into()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let (certificate, key) = self.signed("localhost", 30);
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.into());
        let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
        listen(builder.with_single_cert(vec![certificate.into()], key).unwrap(), answer)
    }
}
