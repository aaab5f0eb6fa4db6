//! A small collector: keeps the protocol's rules, and breaks them when told to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use hyper::body::Frame as Piece;
use serde_json::json;
use submeter_common::id::{AgentId, Digest};
use submeter_common::meter::Meter;
use submeter_common::protocol::{
    CALL_HEADER, Catalog, Frame, FrameReply, FrameResult, Position, RegisterReply, RegisterRequest,
    RegisterStatus, decode_frame,
};
use submeter_common::time::{Clock as _, SystemClock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the collector does with the next frame instead of its duty.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mischief {
    /// Applies it and cuts the reply off.
    CutOff,
    /// Answers 503 with `Retry-After` in seconds.
    Busy(u64),
    /// Answers 429 with a `Retry-After` that is a date, this many seconds after the reply's own.
    Limited(i64),
    /// Swallows the frame and gives the reply to the call before once more.
    OldReply,
    /// Says that another session took over.
    Fence,
    /// Says that two histories exist.
    Fork,
    /// Has forgotten the agent altogether.
    Forget,
    /// Answers as a proxy would.
    Garbage,
    /// Refuses the key.
    RefuseKey,
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) mischief: VecDeque<Mischief>,
    pub(crate) registers: Vec<RegisterRequest>,
    /// The next register is answered so, with the session's position.
    pub(crate) next_status: Option<RegisterStatus>,
    /// What the next registers are told to be delivered of their journals.
    pub(crate) delivered: u64,
    /// Frames in the order they were applied.
    pub(crate) applied: Vec<Frame>,
    /// Arrival of every frame, applied or not.
    pub(crate) arrivals: Vec<(u64, Instant)>,
    pub(crate) results: Vec<FrameResult>,
    pub(crate) catalog: Catalog,
    /// Nobody gets the catalog who asks for it.
    pub(crate) catalog_is_away: bool,
    /// Time that each frame takes.
    pub(crate) slowness: Duration,
    agents: BTreeMap<AgentId, Session>,
}

#[derive(Default)]
struct Session {
    epoch: u64,
    position: Position,
    digests: BTreeMap<u64, Digest>,
}

impl Book {
    /// Events in the applied rows of one meter.
    pub(crate) fn events_of(&self, meter: &str) -> u64 {
        let rows = self.applied.iter().flat_map(|frame| &frame.rows);
        rows.filter(|row| row.meter_id.as_str() == meter)
            .map(|row| row.partial.events)
            .sum()
    }

    /// Goes back to an older backup: everything after `seq` of every agent is gone.
    pub(crate) fn restore(&mut self, seq: u64) {
        self.applied.retain(|frame| frame.header.seq <= seq);
        for session in self.agents.values_mut() {
            session.digests.retain(|number, _| *number <= seq);
            let digest = session.digests.get(&seq).copied().unwrap_or(Digest::ZERO);
            session.position = Position { seq, digest };
        }
    }

    /// Puts every agent's position elsewhere.
    pub(crate) fn place(&mut self, position: Position) {
        for session in self.agents.values_mut() {
            session.position = position;
            session.digests.insert(position.seq, position.digest);
        }
    }

    fn reply(&self, result: FrameResult, applied: Position) -> FrameReply {
        FrameReply {
            result,
            applied,
            catalog_version: self.catalog.version,
            now: SystemClock.now(),
            message: None,
        }
    }

    fn take(&mut self, frame: Frame, digest: Digest, epoch: u64) -> FrameReply {
        let Some(session) = self.agents.get_mut(&frame.header.agent_id) else {
            panic!("an unknown agent")
        };
        let (seq, applied) = (frame.header.seq, session.position);
        let result = if epoch != session.epoch {
            FrameResult::Fenced
        } else if seq <= applied.seq {
            if session.digests.get(&seq) == Some(&digest) {
                FrameResult::Duplicate
            } else {
                FrameResult::Fork
            }
        } else if seq > applied.seq + 1 {
            FrameResult::Gap
        } else if frame.header.previous != applied.digest {
            FrameResult::Fork
        } else {
            session.position = Position { seq, digest };
            session.digests.insert(seq, digest);
            self.applied.push(frame);
            return self.reply(FrameResult::Applied, Position { seq, digest });
        };
        self.reply(result, applied)
    }
}

/// A collector on a port of its own.
pub(crate) struct Collector {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    serving: JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), Book::default()).await
    }

    pub(crate) async fn start_at(address: SocketAddr, book: Book) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let book = Arc::new(Mutex::new(book));
        let routes = Router::new()
            .route("/v1/agents/register", post(register))
            .route("/v1/agents/{id}/frames", post(frames))
            .route("/v1/catalog", get(catalog))
            .layer(DefaultBodyLimit::max(64 << 20))
            .layer(from_fn(name_the_call))
            .with_state(Arc::clone(&book));
        let serving =
            tokio::spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        Self {
            address,
            book,
            serving,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no handler panicked")
    }

    pub(crate) fn will(&self, mischief: &[Mischief]) {
        self.book().mischief.extend(mischief);
    }

    /// Defines a count meter on `api.call` and returns its id.
    pub(crate) fn count_meter(&self, id: &str) -> String {
        let now = SystemClock.now();
        let meter: Meter = serde_json::from_value(json!({
            "id": id, "name": id, "description": null, "event_name": "api.call", "measurement_unit": "calls",
            "aggregation": {"type": "count", "key": null}, "filter": null, "group_by": [], "archived": false,
            "created_at": now, "updated_at": now,
        }))
        .expect("a meter");
        let mut book = self.book();
        book.catalog.version += 1;
        book.catalog.meters.push(meter);
        id.to_owned()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Shared = State<Arc<Mutex<Book>>>;

/// A reply names the call it answers, unless it says already that it answers another.
async fn name_the_call(request: Request, next: Next) -> Response {
    let call = request.headers().get(CALL_HEADER).cloned();
    let mut response = next.run(request).await;
    if let Some(call) = call {
        response.headers_mut().entry(CALL_HEADER).or_insert(call);
    }
    response
}

/// A date as HTTP writes it, `seconds` from a fixed moment.
fn http_date(seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(1_700_000_000 + seconds).expect("a time");
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

async fn register(State(book): Shared, body: Bytes) -> Response {
    let request: RegisterRequest = serde_json::from_slice(&body).expect("a register request");
    let mut book = book.lock().expect("no handler panicked");
    let known = book.agents.contains_key(&request.agent_id);
    let asked = book.next_status.take();
    let session = book.agents.entry(request.agent_id).or_default();
    session.epoch += 1;
    let status = asked.unwrap_or(if known {
        RegisterStatus::Resumed
    } else {
        RegisterStatus::New
    });
    let (epoch, applied) = (session.epoch, session.position);
    book.registers.push(request);
    let reply = RegisterReply {
        epoch,
        applied,
        status,
        delivered: book.delivered,
        torn_after: None,
        backfilled: true,
        replaces: None,
        catalog: book.catalog.clone(),
        now: SystemClock.now(),
    };
    axum::Json(reply).into_response()
}

async fn catalog(State(book): Shared) -> Response {
    let book = book.lock().expect("no handler panicked");
    if book.catalog_is_away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    axum::Json(book.catalog.clone()).into_response()
}

async fn frames(
    State(book): Shared,
    Path(id): Path<AgentId>,
    Query(query): Query<BTreeMap<String, u64>>,
    body: Bytes,
) -> Response {
    let (frame, digest) = decode_frame(&body).expect("a good frame");
    assert_eq!(frame.header.agent_id, id);
    let epoch = query["epoch"];
    let slowness = book.lock().expect("no handler panicked").slowness;
    tokio::time::sleep(slowness).await;
    let mut book = book.lock().expect("no handler panicked");
    book.arrivals.push((frame.header.seq, Instant::now()));
    let mischief = book.mischief.pop_front();
    let reply = match mischief {
        None => book.take(frame, digest, epoch),
        Some(Mischief::CutOff) => {
            let reply = book.take(frame, digest, epoch);
            book.results.push(reply.result);
            return Body::new(Cut(false)).into_response();
        }
        Some(Mischief::Busy(seconds)) => {
            let body = axum::Json(json!({"code": "BUSY", "message": "come back later"}));
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                [("retry-after", seconds.to_string())],
                body,
            )
                .into_response();
        }
        Some(Mischief::Limited(seconds)) => {
            let headers = [("date", http_date(0)), ("retry-after", http_date(seconds))];
            let body = axum::Json(json!({"code": "RATE_LIMITED", "message": "not so fast"}));
            return (StatusCode::TOO_MANY_REQUESTS, headers, body).into_response();
        }
        Some(Mischief::OldReply) => {
            let applied = book.agents.get(&id).expect("a session").position;
            let old = book.reply(FrameResult::Applied, applied);
            return ([(CALL_HEADER, "the call before")], axum::Json(old)).into_response();
        }
        Some(Mischief::Fence) => {
            if let Some(session) = book.agents.get_mut(&id) {
                session.epoch += 1;
            }
            book.take(frame, digest, epoch)
        }
        Some(Mischief::Fork) => {
            let applied = book
                .agents
                .get(&id)
                .map(|session| session.position)
                .unwrap_or_default();
            book.reply(FrameResult::Fork, applied)
        }
        Some(Mischief::Forget) => {
            book.agents.clear();
            book.applied.clear();
            return (
                StatusCode::NOT_FOUND,
                axum::Json(json!({"code": "AGENT_NOT_FOUND", "message": "who?"})),
            )
                .into_response();
        }
        Some(Mischief::Garbage) => {
            return (StatusCode::OK, "<html>welcome to the hotel</html>").into_response();
        }
        Some(Mischief::RefuseKey) => {
            return (
                StatusCode::UNAUTHORIZED,
                axum::Json(json!({"code": "UNAUTHORIZED", "message": "unknown key"})),
            )
                .into_response();
        }
    };
    book.results.push(reply.result);
    let status = match reply.result {
        FrameResult::Applied | FrameResult::Duplicate => StatusCode::OK,
        _ => StatusCode::CONFLICT,
    };
    (status, axum::Json(reply)).into_response()
}

/// A body that breaks off after its first bytes.
struct Cut(bool);

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, io::Error>>> {
        if self.0 {
            return Poll::Ready(Some(Err(io::Error::other("cut off"))));
        }
        self.0 = true;
        Poll::Ready(Some(Ok(Piece::data(Bytes::from_static(
            b"{\"result\":\"appl",
        )))))
    }
}
