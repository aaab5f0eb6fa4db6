//! TLS towards the collector: whom the agent trusts, what it shows, and that it follows its certificates.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use submeter_agent::agent::{Agent, StartError};
use submeter_agent::config::Config;
use submeter_common::time::SystemClock;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::collector::Collector;
use crate::harness::{Running, config, event, secret_file};

/// An authority that signs certificates for the test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for `name` and its private key.
    fn signs(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }

    /// Writes `NAME.crt` and `NAME.key`.
    fn writes(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.signs(name);
        let path = |extension: &str| directory.join(name).with_extension(extension);
        secret_file(&path("crt"), &certificate.pem(), 0o644);
        secret_file(&path("key"), &key.serialize_pem(), 0o600);
        (path("crt"), path("key"))
    }
}

/// A door with TLS in front of a collector, for `localhost`. It asks for a certificate of `clients`, if that is given.
struct Door {
    address: SocketAddr,
    /// The heads of all requests that came through, as text.
    heard: Arc<Mutex<String>>,
}

impl Door {
    async fn open(
        collector: &Collector,
        authority: &Authority,
        clients: Option<&Authority>,
    ) -> Self {
        submeter_agent::tls::install_provider();
        let (certificate, key) = authority.signs("localhost");
        let builder = ServerConfig::builder();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                let der = rustls::pki_types::pem::PemObject::from_pem_slice(clients.pem.as_bytes());
                roots
                    .add(der.expect("a certificate"))
                    .expect("an authority");
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder(Arc::new(roots))
                        .build()
                        .expect("a verifier"),
                )
            }
        };
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let tls = builder
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("a TLS server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let inside = collector.url().replace("http://", "");
        let heard = Arc::new(Mutex::new(String::new()));
        tokio::spawn(Self::serve(
            listener,
            TlsAcceptor::from(Arc::new(tls)),
            inside,
            Arc::clone(&heard),
        ));
        Self { address, heard }
    }

    async fn serve(
        listener: TcpListener,
        acceptor: TlsAcceptor,
        inside: String,
        heard: Arc<Mutex<String>>,
    ) {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, inside, heard) = (acceptor.clone(), inside.clone(), Arc::clone(&heard));
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.ok()?;
                let (mut from_agent, mut to_agent) = tokio::io::split(stream);
                let (mut from_collector, mut to_collector) =
                    TcpStream::connect(inside).await.ok()?.into_split();
                tokio::spawn(
                    async move { tokio::io::copy(&mut from_collector, &mut to_agent).await },
                );
                let mut bytes = vec![0; 1 << 16];
                loop {
                    let length = from_agent
                        .read(&mut bytes)
                        .await
                        .ok()
                        .filter(|length| *length > 0)?;
                    heard
                        .lock()
                        .expect("no panic")
                        .push_str(&String::from_utf8_lossy(&bytes[..length]));
                    to_collector.write_all(&bytes[..length]).await.ok()?;
                }
                #[expect(unreachable_code, reason = "gives the block its type")]
                Some(())
            });
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    fn heard(&self) -> String {
        self.heard.lock().expect("no panic").to_lowercase()
    }
}

/// Settings for an agent that trusts `authority`.
fn trusting(directory: &TempDir, door: &Door, authority: &Authority) -> Config {
    let ca = directory.path().join("ca.pem");
    secret_file(&ca, &authority.pem, 0o644);
    let mut config = config(&directory.path().join("data"), &door.url());
    config.tls_ca_file = Some(ca);
    config
}

async fn until_collected(agent: &Running) {
    agent.post("/v1/flush", "application/json", "").await;
    agent
        .until("all frames", |status| status["at_risk_events"] == 0)
        .await;
}

async fn until_unreachable(agent: &Running) {
    let retrying = |status: &Value| {
        status["flush"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("cannot be reached"))
    };
    agent.until("a refusal", retrying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_trusts_its_own_authority_and_shows_its_key_to_no_other() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let impostor = Door::open(&collector, &foreign, None).await;
    let agent = Running::start(trusting(&directory, &impostor, &ours)).await;
    agent.ingest(&[event("e1")]).await;
    until_unreachable(&agent).await;
    assert_eq!(impostor.heard(), "");
    agent.stop().await;

    let door = Door::open(&collector, &ours, None).await;
    let agent = Running::start(trusting(&directory, &door, &ours)).await;
    until_collected(&agent).await;
    assert!(
        door.heard().contains("authorization: bearer smk_test"),
        "{}",
        door.heard()
    );
    agent.stop().await;

    // Without the file the system's authorities are asked, none of whom signed for localhost.
    door.heard.lock().expect("no panic").clear();
    let mut without = trusting(&directory, &door, &ours);
    without.tls_ca_file = None;
    let agent = Running::start(without).await;
    agent.ingest(&[event("e2")]).await;
    until_unreachable(&agent).await;
    assert_eq!(door.heard(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_asks_gets_the_certificate_with_a_key_or_instead_of_one() {
    let authority = Authority::new();
    let collector = Collector::start().await;
    let door = Door::open(&collector, &authority, Some(&authority)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = authority.writes(directory.path(), "agent");
    let bare = trusting(&directory, &door, &authority);
    let agent = Running::start(bare.clone()).await;
    agent.ingest(&[event("e1")]).await;
    until_unreachable(&agent).await;
    agent.stop().await;
    assert_eq!(door.heard(), "");

    let mut with = bare.clone();
    (with.tls_cert_file, with.tls_key_file) = (Some(certificate), Some(key));
    let agent = Running::start(with.clone()).await;
    until_collected(&agent).await;
    agent.stop().await;
    assert!(door.heard().contains("authorization: bearer smk_test"));

    door.heard.lock().expect("no panic").clear();
    with.key = None;
    let agent = Running::start(with).await;
    agent.ingest(&[event("e2")]).await;
    until_collected(&agent).await;
    assert!(!door.heard().contains("authorization"), "{}", door.heard());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_renewed_on_disk_are_shown_without_a_restart() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let collector = Collector::start().await;
    let door = Door::open(&collector, &authority, Some(&authority)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = stranger.writes(directory.path(), "agent");
    let mut config = trusting(&directory, &door, &authority);
    (config.tls_cert_file, config.tls_key_file) = (Some(certificate.clone()), Some(key));
    let agent = Running::start(config).await;
    agent.ingest(&[event("e1")]).await;
    until_unreachable(&agent).await;
    // Half of a renewal leaves things as they are.
    secret_file(&certificate, "half written", 0o644);
    until_unreachable(&agent).await;
    authority.writes(directory.path(), "agent");
    until_collected(&agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_or_an_open_key_stops_the_start_by_its_setting() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = authority.writes(directory.path(), "agent");
    let (_, other_key) = authority.writes(directory.path(), "other");
    let text = directory.path().join("text");
    secret_file(&text, "hello", 0o600);
    let none = directory.path().join("none");
    let open = directory.path().join("open.key");
    secret_file(&open, &std::fs::read_to_string(&key).expect("a key"), 0o644);
    let some = |path: &PathBuf| Some(path.clone());
    for (ca, pair, setting) in [
        (some(&none), None, "tls_ca_file"),
        (some(&text), None, "tls_ca_file"),
        (None, Some((&none, &key)), "tls_cert_file"),
        (None, Some((&text, &key)), "tls_cert_file"),
        (None, Some((&certificate, &none)), "tls_key_file"),
        (None, Some((&certificate, &text)), "tls_key_file"),
        (None, Some((&certificate, &open)), "tls_key_file"),
        (None, Some((&certificate, &other_key)), ""),
    ] {
        let mut config = config(&directory.path().join("data"), "https://localhost:1");
        // The system's roots need not be there for this.
        config.tls_ca_file = ca.or_else(|| {
            let path = directory.path().join("ca.pem");
            secret_file(&path, &authority.pem, 0o644);
            Some(path)
        });
        (config.tls_cert_file, config.tls_key_file) =
            pair.map(|(a, b)| (a.clone(), b.clone())).unzip();
        match Agent::start(&config, Arc::new(SystemClock)).await {
            Err(StartError::Config(message)) => {
                assert!(message.contains(setting), "{setting}: {message}");
                assert!(!message.contains("PRIVATE"), "{message}");
            }
            Err(other) => panic!("{setting}: {other:?}"),
            Ok(_) => panic!("{setting}: started with {pair:?}"),
        }
    }
}
