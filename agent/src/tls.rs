//! Cryptography for outgoing connections: one provider for the process, chosen here, and what is trusted and shown.
//!
//! `ring` needs no C library of its own to build; the trust roots are the system's unless a file of one's own names them.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::config::PrivateFile;

/// Makes `ring` the process's provider. Called first thing in `main`; later calls change nothing.
pub fn install_provider() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

/// How every HTTP client of the agent begins: no redirects (a key must not follow one), named as what it is.
///
/// A client for any but an `https://` address trusts nobody: it need not load the system's roots, which a small container may
/// not have.
pub fn client_builder(base: &str) -> ClientBuilder {
    install_provider();
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("submeter-agent/", env!("CARGO_PKG_VERSION")))
        .tcp_nodelay(true);
    if base.starts_with("https://") {
        builder
    } else {
        builder.tls_certs_only([])
    }
}

/// PEM files for connections to the collector.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Certificates of the authorities that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to a collector that asks for one, with its chain.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// Tells one state of the files from another without reading them.
pub(crate) type Stamp = Vec<Option<(u64, u64, i64, i64, u64)>>;

impl TlsFiles {
    /// Gives the files to a client. The error names the file and what is wrong with it, never what is in it.
    pub(crate) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, String> {
        let mut builder = builder;
        if let Some(path) = &self.ca {
            builder = builder.tls_certs_only(authorities(path)?);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            builder = builder.identity(identity(certificate, key)?);
        }
        Ok(builder)
    }

    /// What the files look like now.
    pub(crate) fn stamp(&self) -> Stamp {
        [&self.ca, &self.certificate, &self.key]
            .into_iter()
            .map(|path| {
                let file = std::fs::metadata(path.as_deref()?).ok()?;
                let (seconds, nanos) = (file.mtime(), file.mtime_nsec());
                Some((file.dev(), file.ino(), seconds, nanos, file.size()))
            })
            .collect()
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let wrong = |problem: &str| format!("tls_ca_file: {}: {problem}", path.display());
    let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(wrong("expected certificates in PEM")),
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, String> {
    let mut pem = PrivateFile::read(key)
        .map_err(|error| format!("tls_key_file: {error}"))?
        .text;
    if certificate != key {
        let chain = std::fs::read_to_string(certificate)
            .map_err(|error| format!("tls_cert_file: {}: {error}", certificate.display()))?;
        pem.push('\n');
        pem.push_str(&chain);
    }
    Identity::from_pem(pem.as_bytes()).map_err(|_| {
        format!(
            "tls_cert_file and tls_key_file: expected a certificate in {} and its private key in {}, both in PEM",
            certificate.display(),
            key.display()
        )
    })
}
