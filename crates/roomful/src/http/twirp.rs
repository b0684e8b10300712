//! LiveKit's server API: Twirp (version 7) over HTTP, `POST /twirp/{service}/{method}` with protobuf or JSON.
//!
//! A request goes `access → message → room_service → worker → answer`. What may go wrong has Twirp's shape and codes
//! whatever the request's encoding. Scripts of any origin may ask: the token protects, not the origin, and a browser
//! adds none by itself.

mod agent_dispatch;
mod answer;
mod error;
mod json_defaults;
mod message;
mod room_service;
mod two_rooms;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use roomful_sfu::administration::{Administration, Reply};
use roomful_sfu::ids::RoomName;
use roomful_sfu::token::ApiGrant;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::App;
use super::rtc::unix_now;
use crate::placement::SeatKind;
use crate::worker::{Answer, Mail, WorkerHandle};
pub(super) use error::TwirpError;
use message::{Encoding, Message};

/// Largest request body, in bytes. Metadata is the largest thing anyone sends here: smaller refuses rooms that work
/// elsewhere, larger lets the bearer of any valid token fill more memory.
const MAX_BODY: usize = 1024 * 1024;

/// How long a body may take to arrive. Longer lets slow senders hold more connections, shorter cuts off servers on bad
/// networks.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take: a participant's method may work as long as its caller allows, but no connection is
/// held for longer than this. Everything else is answered in milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// What is there in LiveKit and not here: known services answer so to every method.
const UNIMPLEMENTED: &[&str] = &["livekit.Egress", "livekit.Ingress", "livekit.SIP"];

/// The token may come in the query, too.
#[derive(Deserialize)]
pub(super) struct ApiQuery {
    #[serde(default)]
    access_token: String,
}

/// `/twirp/` and whatever follows, which should be a service and a method.
pub(super) async fn serve(
    State(app): State<Arc<App>>,
    Path(route): Path<String>,
    Query(query): Query<ApiQuery>,
    request: Request,
) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight(request.headers());
    }
    let mut answer = match perform(&app, &route, &query, request).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(route, %error, "an API request is refused");
            error.into_response()
        }
    };
    allow_every_origin(answer.headers_mut());
    answer
}

async fn perform(
    app: &App,
    route: &str,
    query: &ApiQuery,
    request: Request,
) -> Result<Response, TwirpError> {
    let path = request.uri().path();
    let (service, method) = route.split_once('/').unwrap_or((route, ""));
    if request.method() != Method::POST {
        return Err(TwirpError::not_post(request.method(), path));
    }
    if UNIMPLEMENTED.contains(&service) {
        return Err(TwirpError::unimplemented(format!("{service} is not there in this server")));
    }
    let read_request = match service {
        room_service::NAME if room_service::METHODS.contains(&method) => {
            room_service::administration
        }
        agent_dispatch::NAME if agent_dispatch::METHODS.contains(&method) => {
            agent_dispatch::administration
        }
        _ => return Err(TwirpError::no_route(request.method(), path)),
    };
    let encoding = Encoding::of(request.headers(), path)?;
    // Before the body: strangers shall not have it read.
    let grant = grant(app, query, request.headers())?;
    let body = read(request.into_body()).await?;
    let message = Message::new(encoding, &body);
    let reply = match (service, method) {
        (room_service::NAME, room_service::MOVE) => {
            two_rooms::move_on(app, room_service::move_participant(&message, &grant)?).await?
        }
        (room_service::NAME, room_service::FORWARD) => {
            two_rooms::forward(app, room_service::forward_participant(&message, &grant)?).await?
        }
        _ => administer(app, read_request(method, &message, &grant)?).await?,
    };
    answer::encode(reply, encoding)
}

fn grant(app: &App, query: &ApiQuery, headers: &HeaderMap) -> Result<ApiGrant, TwirpError> {
    let token = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(
                || TwirpError::unauthenticated("the Authorization header must be \"Bearer …\""),
            )?
        }
        None if query.access_token.is_empty() => return Err(TwirpError::denied()),
        None => &query.access_token,
    };
    let grant = app.admission.keys.verify_api(token, unix_now());
    grant.map_err(|error| TwirpError::unauthenticated(error.to_string()))
}

async fn read(body: Body) -> Result<Vec<u8>, TwirpError> {
    match timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(_)) => Err(TwirpError::body(MAX_BODY)),
        Err(_) => Err(TwirpError::too_slow("the request took too long to arrive")),
    }
}

/// Asks the worker that the room lives on, or all of them.
async fn administer(app: &App, what: Administration) -> Result<Reply, TwirpError> {
    let room = match &what {
        Administration::ListRooms(_) => return list_rooms(app, &what).await,
        Administration::CreateRoom(request) => RoomName::new(request.name.clone()),
        Administration::DeleteRoom(room) | Administration::InRoom(room, _) => room.clone(),
    };
    let worker = app.worker_of(&room, SeatKind::Visitor).ok_or_else(TwirpError::stopping)?;
    ask(&worker, what).await
}

async fn list_rooms(app: &App, what: &Administration) -> Result<Reply, TwirpError> {
    let mut all = Vec::new();
    for worker in &app.workers {
        if let Reply::Rooms(rooms) = ask(worker, what.clone()).await? {
            all.extend(rooms);
        }
    }
    Ok(Reply::Rooms(all))
}

async fn ask(worker: &WorkerHandle, what: Administration) -> Result<Reply, TwirpError> {
    ask_by(worker, |reply| Mail::Administer { what: Box::new(what), reply }).await
}

/// Sends the mail that asks, and waits for the answer.
async fn ask_by(
    worker: &WorkerHandle,
    mail: impl FnOnce(Answer) -> Mail,
) -> Result<Reply, TwirpError> {
    let (reply, answer) = oneshot::channel();
    let mail = mail(reply);
    let asking = async {
        worker.send(mail).await.map_err(|_| TwirpError::stopping())?;
        answer.await.map_err(|_| TwirpError::stopping())?.map_err(TwirpError::from)
    };
    let too_slow = |_| TwirpError::too_slow("the answer took too long");
    timeout(ANSWER_TIMEOUT, asking).await.map_err(too_slow)?
}

/// What a browser asks before a script of another origin may send a token (Fetch Standard, CORS-preflight fetch).
fn preflight(asked: &HeaderMap) -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    let headers = answer.headers_mut();
    allow_every_origin(headers);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    // The wildcard would leave Authorization out, so what is asked for is repeated.
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let wanted = wanted.unwrap_or(HeaderValue::from_static("authorization, content-type"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}

fn allow_every_origin(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
}
