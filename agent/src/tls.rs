//! Cryptography for outgoing connections: one provider for the process, chosen here.
//!
//! `ring` needs no C library of its own to build; the trust roots are the system's.

/// Makes `ring` the process's provider. Called first thing in `main`; later calls change nothing.
pub fn install_provider() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

/// How every HTTP client of the agent begins: no redirects (a key must not follow one), named as what it is.
pub fn client_builder() -> reqwest::ClientBuilder {
    install_provider();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("submeter-agent/", env!("CARGO_PKG_VERSION")))
        .tcp_nodelay(true)
}
