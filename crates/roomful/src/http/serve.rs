//! Serves connections, no more of them than fit and none that stalls.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower_service::Service as _;

use super::share::{ConnectionShare, ConnectionShares, Limit};
use super::text;

/// Connections that are answered with a refusal at a time, beyond those that are served. More lets
/// a flood take more memory; fewer drops people without a word.
const MAX_REFUSALS: usize = 64;

/// How long a client may take for the head of a request, and how long a connection may lie idle
/// between two. Longer lets whoever sends a byte now and then hold more connections; shorter cuts
/// off phones on bad networks.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for a request's body, which is one packet or a few.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a refused client may take to ask what it will not get.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause after the system could not accept, mostly for want of file descriptors. Shorter spins;
/// longer keeps people waiting when some are free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Keeps its connection counted: whoever takes the connection out of HTTP's hands holds it on.
#[derive(Clone)]
pub(super) struct Slot(
    #[expect(dead_code, reason = "held, not read")]
    Arc<(OwnedSemaphorePermit, Option<ConnectionShare>)>,
);

/// What serves connections; one for all listeners, so that they share the limit.
#[derive(Clone)]
pub(crate) struct Connections {
    router: Router,
    limit: u32,
    slots: Arc<Semaphore>,
    shares: ConnectionShares,
    refusals: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Connections {
    /// Serves up to `limit` connections with `router`, of each address up to `share`, until `stopping` says `true`.
    pub(crate) fn new(
        router: Router,
        limit: NonZeroU32,
        share: Limit,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        // Lower only where a pointer has 32 bits.
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let limit = limit.get().min(most);
        Self {
            router,
            limit,
            slots: Arc::new(Semaphore::new(limit as usize)),
            shares: ConnectionShares::new(share),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            stopping,
        }
    }

    /// Accepts until it is to stop. Connections live on for as long as their requests do.
    ///
    /// # Errors
    /// The listener is unusable.
    pub(crate) async fn accept(mut self, listener: TcpListener) -> io::Result<()> {
        let mut stopping = self.stopping.clone();
        let mut is_full = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop(&mut stopping) => return Ok(()),
            };
            match accepted {
                Ok((stream, client)) => self.open(stream, client, &mut is_full),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection, trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Completes when no connection is open; those that were told to stop do so one by one.
    pub(crate) async fn closed(&self) {
        // Fails only where the semaphore is closed, which nobody does.
        let _ = self.slots.acquire_many(self.limit).await;
    }

    fn open(&mut self, stream: TcpStream, client: SocketAddr, is_full: &mut bool) {
        // Signalling messages are small and wait for nothing.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let Ok(share) = self.shares.take(client.ip()) else {
            tracing::debug!("too many connections of one address: a further one is refused");
            return self.refuse(stream, &TOO_MANY_OF_ONE);
        };
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            *is_full = false;
            tokio::spawn(self.clone().serve(stream, client, Slot(Arc::new((slot, share)))));
            return;
        }
        if !std::mem::replace(is_full, true) {
            tracing::warn!("too many connections: further ones are refused");
        }
        self.refuse(stream, &FULL);
    }

    fn refuse(&self, stream: TcpStream, words: &'static Refusal) {
        if let Ok(permit) = self.refusals.clone().try_acquire_owned() {
            tokio::spawn(refuse(stream, words, permit));
        }
    }

    async fn serve(mut self, stream: TcpStream, client: SocketAddr, slot: Slot) {
        let router = self.router;
        let service = service_fn(move |request: Request<Incoming>| {
            answer(router.clone(), request, client, slot.clone())
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stop(&mut self.stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "HTTP connection failed");
        }
    }
}

async fn answer(
    mut router: Router,
    mut request: Request<Incoming>,
    client: SocketAddr,
    slot: Slot,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(client));
    request.extensions_mut().insert(slot);
    // The server API waits for its bodies itself, and its answers may take a participant's time.
    if request.uri().path().starts_with("/twirp/") {
        return router.call(request).await;
    }
    match timeout(REQUEST_TIMEOUT, router.call(request)).await {
        Ok(response) => response,
        Err(_) => Ok(text(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive")),
    }
}

/// Why a connection is not served.
type Refusal = (StatusCode, &'static str);

const FULL: Refusal = (
    StatusCode::SERVICE_UNAVAILABLE,
    "the server is full: too many connections are open, try again later",
);

const TOO_MANY_OF_ONE: Refusal = (
    StatusCode::TOO_MANY_REQUESTS,
    "too many connections of your address are open: close some, or try again later",
);

/// Reads what is asked, so that the answer is not overtaken by a reset, and says no.
async fn refuse(stream: TcpStream, words: &'static Refusal, _permit: OwnedSemaphorePermit) {
    let service =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(text(words.0, words.1)));
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    let _ = timeout(REFUSAL_TIMEOUT, connection).await;
}

async fn stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Whether the next connection may well be accepted at once.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
