//! The listening sockets, one of TCP and at will one in the file system: accepts connections, serves each with its own task, and lets them finish at the end.
//!
//! What a client may hold open is bounded: the number of connections, the time to send a request's head, and (in
//! [`super::body`]) the time and bytes of its body. Beyond the number of connections, new ones wait in the system's
//! listen queue, and whoever is served meanwhile is asked to make room.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::unix_socket::SocketFile;
use crate::budget::Budget;

/// The read buffer of a connection, which also bounds a request's head: a block of events is read at once, a head of this
/// size is not one.
const READ_BYTES_MAX: usize = 128 * 1024;

/// A wait after a failed accept: the usual cause is that the process is out of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Where a request came in.
#[derive(Clone, Copy, Eq, PartialEq, Debug)]
pub(crate) enum Door {
    /// Whoever reaches the address may knock.
    Tcp,
    /// The file system says who may speak.
    UnixSocket,
}

/// Answers requests.
pub(crate) trait Answer: Send + Sync + 'static {
    /// Answers one that came in at `door`.
    fn answer(&self, request: Request, door: Door) -> impl Future<Output = Response> + Send;
}

/// What clients may hold open.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Limits {
    /// Connections served at one time.
    pub(crate) connections_max: usize,
    /// Time a client has to send the whole head of a request, idle time on a kept connection included.
    pub(crate) head_timeout: Duration,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    socket_file: Option<SocketFile>,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<GracefulShutdown>,
}

impl Server {
    /// Binds `listen` and begins to serve `routes` there and on `unix`, within `limits` for both together.
    pub(crate) async fn start(
        listen: SocketAddr,
        unix: Option<(UnixListener, SocketFile)>,
        routes: impl Answer,
        limits: Limits,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let connections = Arc::new(Semaphore::new(
            limits.connections_max.min(Semaphore::MAX_PERMITS),
        ));
        let (unix, socket_file) = unix.unzip();
        let doors = Doors {
            tcp: listener,
            unix,
        };
        let house = Arc::new(House {
            routes,
            connections,
            head_timeout: limits.head_timeout,
        });
        let accepting = tokio::spawn(accept(doors, house, stopped));
        Ok(Self {
            address,
            socket_file,
            stop,
            accepting,
        })
    }

    /// The bound address: with port 0 asked for, the one the system chose.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting at once and gives requests in flight until `grace` is over. Idle connections are closed.
    pub(crate) async fn stop(self, grace: Duration) {
        drop(self.stop);
        drop(self.socket_file);
        let Ok(connections) = self.accepting.await else {
            return;
        };
        let count = connections.count();
        if tokio::time::timeout(grace, connections.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = count,
                "requests were still in flight when the grace was over; their clients will retry"
            );
        }
    }
}

/// Where connections come in.
struct Doors {
    tcp: TcpListener,
    unix: Option<UnixListener>,
}

/// What serves them.
struct House<A> {
    routes: A,
    connections: Arc<Semaphore>,
    head_timeout: Duration,
}

impl<A: Answer> House<A> {
    async fn answer(&self, request: Request, door: Door) -> Response {
        let mut response = self.routes.answer(request, door).await;
        // While the house is full, whoever was served makes room for those who wait; kept connections would shut them out
        // for good.
        if self.connections.available_permits() == 0 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }
}

enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn accept(
    doors: Doors,
    house: Arc<House<impl Answer>>,
    mut stopped: oneshot::Receiver<()>,
) -> GracefulShutdown {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return graceful,
            accepted = next_connection(&doors, &house.connections) => accepted,
        };
        match accepted {
            Ok((Accepted::Tcp(stream), permit)) => {
                let (house, watcher) = (Arc::clone(&house), graceful.watcher());
                tokio::spawn(serve(stream, Door::Tcp, house, watcher, permit));
            }
            Ok((Accepted::Unix(stream), permit)) => {
                let (house, watcher) = (Arc::clone(&house), graceful.watcher());
                tokio::spawn(serve(stream, Door::UnixSocket, house, watcher, permit));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

async fn next_connection(
    doors: &Doors,
    connections: &Arc<Semaphore>,
) -> io::Result<(Accepted, OwnedSemaphorePermit)> {
    let permit = match Arc::clone(connections).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => {
            Budget::Connections.hit();
            let room = Arc::clone(connections).acquire_owned().await;
            room.map_err(io::Error::other)?
        }
    };
    let unix = async {
        match &doors.unix {
            Some(listener) => listener.accept().await,
            None => std::future::pending().await,
        }
    };
    let accepted = tokio::select! {
        accepted = doors.tcp.accept() => {
            let (stream, _) = accepted?;
            stream.set_nodelay(true)?;
            Accepted::Tcp(stream)
        }
        accepted = unix => Accepted::Unix(accepted?.0),
    };
    Ok((accepted, permit))
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    door: Door,
    house: Arc<House<impl Answer>>,
    watcher: Watcher,
    permit: OwnedSemaphorePermit,
) {
    Budget::Connections.take_one();
    let head_timeout = house.head_timeout;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let house = Arc::clone(&house);
        async move { Ok::<_, Infallible>(house.answer(request.map(Body::new), door).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(READ_BYTES_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        if error.is_timeout() {
            Budget::HeadTimeout.hit();
        }
        tracing::debug!(%error, "a connection ended early");
    }
    Budget::Connections.give_one_back();
    drop(permit);
}
