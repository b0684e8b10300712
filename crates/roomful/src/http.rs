//! What the server answers over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/`, `/room/{room}` | the page |
//! | `/assets/…` and other files | the page's parts |
//! | `/healthcheck` | `ok` |
//! | `/api/version` | the server's name and version |
//! | `/api/token` | a token for the page, in LiveKit's token-source format |
//! | `/twirp/{service}/{method}` | LiveKit's server API |
//! | `/rtc/v1`, `/rtc` | the signalling WebSocket, for clients with one and with two peer connections |
//! | `/rtc/v1/validate`, `/rtc/validate` | why the WebSocket was refused |
//! | `/agent` | the WebSocket of agencies |

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use roomful_sfu::ids::{ConnectionId, RoomName};
use roomful_sfu::token::ApiKeys;

use crate::agents::AgentsHandle;
use crate::config::PageAccess;
use crate::placement::{Directory, SeatKind};
use crate::worker::WorkerHandle;

mod agent;
mod api;
mod assets;
mod browser;
mod identity;
mod origin;
mod reached;
mod rtc;
mod serve;
mod share;
mod twirp;

pub(crate) use identity::IdentityMaker;
pub(crate) use rtc::unix_now;
pub(crate) use serve::Connections;
pub use share::Limit;

use reached::ReachedAddresses;
use share::JoinShares;

/// What every request may need.
pub(crate) struct App {
    admission: Admission,
    workers: Vec<WorkerHandle>,
    directory: Arc<Directory>,
    agents: AgentsHandle,
    next_connection: AtomicU64,
    reached: ReachedAddresses,
    joins: JoinShares,
}

/// Who may come in, as far as HTTP is concerned.
pub(crate) struct Admission {
    /// The key pairs whose tokens are accepted; the first signs.
    pub(crate) keys: ApiKeys,
    /// To whom `/api/token` gives tokens.
    pub(crate) page_access: PageAccess,
    /// Whether nobody decided that `/api/token` is for the public: then a name that a page of the
    /// Internet may have pointed at this machine is refused.
    pub(crate) is_trial: bool,
    /// Offer every client the loopback address.
    pub(crate) loopback_for_all: bool,
    /// Offer clients the public address by which they came: nobody configured one.
    pub(crate) finds_public_address: bool,
    /// Whoever may join a room begins it if need be.
    pub(crate) rooms_begin_by_themselves: bool,
    /// What rooms may be begun as by name.
    pub(crate) presets: BTreeSet<String>,
    /// Joins a second of one address.
    pub(crate) joins_of_one: Limit,
    /// Names the visitors who get tokens.
    pub(crate) identities: IdentityMaker,
}

impl App {
    pub(crate) fn new(
        admission: Admission,
        workers: Vec<WorkerHandle>,
        directory: Arc<Directory>,
        agents: AgentsHandle,
    ) -> Arc<Self> {
        Arc::new(Self {
            joins: JoinShares::new(admission.joins_of_one),
            admission,
            workers,
            directory,
            agents,
            next_connection: AtomicU64::new(1),
            reached: ReachedAddresses::new(),
        })
    }

    fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// The worker where `room` lives or is to live, which stays so while the answer is held.
    fn worker_of(&self, room: &RoomName, kind: SeatKind) -> Option<WorkerHandle> {
        let seat = self.directory.seat(room, kind, Instant::now())?;
        Some(self.workers.get(seat.worker().0)?.for_seat(seat))
    }
}

/// All routes, to be served by [`Connections`], which says who asks.
pub(crate) fn router(app: Arc<App>) -> Router {
    let token = post(api::token).layer(DefaultBodyLimit::max(api::MAX_TOKEN_REQUEST_BYTES));
    Router::new()
        .route("/", get(assets::page))
        .route("/room/{room}", get(assets::page))
        .route("/healthcheck", get(async || "ok"))
        .route("/api/version", get(api::version))
        .route("/api/token", token)
        .route("/api/{*rest}", any(api::unknown))
        .route("/twirp/{*route}", any(twirp::serve))
        .route("/agent", get(agent::connect))
        .merge(joining("/rtc/v1", rtc::Form::One))
        .merge(joining("/rtc", rtc::Form::Older))
        .fallback(get(async |uri: Uri, request: axum::extract::Request| {
            assets::file(uri.path(), request.headers())
        }))
        .with_state(app)
}

/// The door at `path` and the question whether it would open.
fn joining(path: &str, form: rtc::Form) -> Router<Arc<App>> {
    Router::new()
        .route(path, get(rtc::connect))
        .route(&format!("{path}/validate"), get(rtc::validate))
        .route_layer(Extension(form))
}

/// The address of a request's other end, with IPv4 written as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An answer in plain text.
fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}
