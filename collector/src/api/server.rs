//! The door: accepts connections within bounds, and closes gracefully.
//!
//! hyper is used directly because axum's own server can bound neither connections nor the time a head may take.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics::gauge;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::config::ApiConfig;
use crate::telemetry::metric;

/// Pause after a failed accept, which mostly means that file descriptors ran out: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait in the kernel's queue at most, as far as the kernel allows: a fleet that comes back at once finds
/// room there instead of being turned away.
const WAITING_MAX: u32 = 4096;

/// Most headers of a request.
const HEADERS_MAX: usize = 64;

/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// A bound listener that serves nothing yet.
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says, mostly that the address is in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait until the connections of the life before are forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(WAITING_MAX)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves `routes` until `stop` turns true; then accepts no more, lets open requests finish for at most `grace`, and
/// returns how many connections were still open at its end.
pub async fn serve(
    door: Door,
    routes: Router,
    config: Arc<ApiConfig>,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) -> usize {
    let room = Arc::new(Semaphore::new(config.connections_max));
    let routes = routes.layer(from_fn_with_state(Arc::clone(&room), make_room));
    let open = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // A closed channel means that the owner is gone: stop as well.
            _ = stop.wait_for(|stopped| *stopped) => break,
            accepted = accept(&door.listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => spawn(stream, permit, routes.clone(), &config, &open),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(door);
    tokio::select! {
        () = open.shutdown() => 0,
        () = tokio::time::sleep(grace) => config.connections_max.saturating_sub(room.available_permits()),
    }
}

/// Waits for room first and accepts then, so that connections beyond the bound wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

/// While the house is full, whoever was served makes room for those who wait; kept connections would shut them out for good.
async fn make_room(State(room): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if room.available_permits() == 0 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

fn spawn(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    routes: Router,
    config: &ApiConfig,
    open: &GracefulShutdown,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let connection = open.watch(connection);
    tokio::spawn(async move {
        gauge!(metric::CONNECTIONS).increment(1);
        if let Err(error) = connection.await {
            // Clients that hang up are daily life.
            tracing::debug!(%error, "a connection ended with an error");
        }
        gauge!(metric::CONNECTIONS).decrement(1);
        drop(permit);
    });
}
