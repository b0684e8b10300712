//! The signalling endpoints of LiveKit's protocol: `/rtc/v1`, and `/rtc` for clients with two peer connections, which
//! differ in the form of the join request only.
//!
//! Clients read the status and the text of a refusal, not from the failed WebSocket (browsers hide
//! both) but by asking `…/validate` the same question again: 401 means "not allowed" to them,
//! and the text is shown; 404 means "try the old protocol", unless the text says that there is no such room.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{ConnectInfo, Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roomful_sfu::UnknownPreset;
use roomful_sfu::ids::{Origin, RoomName, UnixTime};
use roomful_sfu::join::{self, JoinAttempt, JoinError, PeerConnections};
use roomful_sfu::token::{Grant, TokenError};
use serde::Deserialize;

use super::browser;
use super::origin::is_this_machine;
use super::serve::Slot;
use super::{App, text};
use crate::placement::SeatKind;
use crate::signal::{self, Connection};
use crate::websocket::Upgrade;
use crate::worker::{Mail, outbox};

/// The query of all endpoints: `access_token`, `room` (the one the client means to join, if it says so: must be the
/// token's), and the join request, whole in `join_request` or in a parameter for each thing.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct JoinQuery(BTreeMap<String, String>);

/// Which of the protocol's two forms an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `/rtc/v1`.
    One,
    /// `/rtc`. With a `join_request` it speaks the other.
    Older,
}

/// Why somebody is not let in: in LiveKit's words, which some applications look for, and then in words that say what to
/// change.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("invalid authorization header. Must start with Bearer")]
    Authorization,
    #[error("{words}: {0}", words = token_words(.0))]
    Token(#[from] TokenError),
    #[error("{words}: {0}", words = join_words(.0))]
    Join(#[from] JoinError),
    #[error(
        "requested room does not exist: rooms are begun here by the server API or by a token with \
         roomCreate (room.auto_create is off)"
    )]
    NoRoom,
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
}

fn token_words(error: &TokenError) -> &'static str {
    match error {
        TokenError::Missing => "no permissions to access the room",
        TokenError::UnknownKey(_) => "invalid API key",
        TokenError::NoRoom => "no room name",
        TokenError::NoIdentity => "identity cannot be empty",
        TokenError::NameTooLong { what: "the room name", .. } => "room name length exceeds limits",
        TokenError::NameTooLong { what: "the identity", .. } => {
            "participant identity length exceeds limits"
        }
        TokenError::NameTooLong { .. } => "name length exceeds limits",
        TokenError::NoJoin | TokenError::NoPublish | TokenError::WrongRoom { .. } => {
            "permissions denied"
        }
        _ => "invalid authorization token",
    }
}

fn join_words(error: &JoinError) -> &'static str {
    match error {
        JoinError::Missing => "join_request is required",
        JoinError::Base64 => "cannot base64 decode wrapped join request",
        JoinError::Wrapper | JoinError::Compression(_) => "cannot unmarshal wrapped join request",
        JoinError::Gzip => "cannot read decompressed join request",
        JoinError::Request => "cannot unmarshal join request",
        JoinError::TooLarge => "join request too large",
        JoinError::Attributes => "cannot decode attributes",
        JoinError::MayNotDescribeItself => "no permissions to access the room",
        JoinError::OverLimit(_) => "exceeds limits",
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Token(
                TokenError::NoRoom | TokenError::NoIdentity | TokenError::NameTooLong { .. },
            ) => StatusCode::BAD_REQUEST,
            Refusal::Authorization
            | Refusal::Token(_)
            | Refusal::Join(JoinError::MayNotDescribeItself) => StatusCode::UNAUTHORIZED,
            Refusal::Join(_) | Refusal::Preset(_) => StatusCode::BAD_REQUEST,
            Refusal::NoRoom => StatusCode::NOT_FOUND,
        }
    }
}

/// `GET /rtc/v1` and `GET /rtc`: upgrades to the signalling WebSocket if token and join request are right.
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    (Extension(form), Extension(slot)): (Extension<Form>, Extension<Slot>),
    Query(query): Query<JoinQuery>,
    headers: HeaderMap,
    upgrade: Result<Upgrade, StatusCode>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return text(StatusCode::NOT_FOUND, "this is a WebSocket: open it as one");
    };
    let mut attempt = match attempt(form, &app, &query, &headers, client) {
        Ok(attempt) => Box::new(attempt),
        Err(refusal) => return refuse(&refusal),
    };
    if app.joins.take(client.ip(), Instant::now()).is_err() {
        let words = "too many joins from your address: try again in a moment";
        return text(StatusCode::TOO_MANY_REQUESTS, words);
    }
    let request = &attempt.request;
    let kind = match request.reconnect {
        true => SeatKind::Returning(Origin::in_sid(&request.participant_sid)),
        false => SeatKind::Newcomer,
    };
    let Some(worker) = app.worker_of(&attempt.grant.room, kind) else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down");
    };
    if app.admission.finds_public_address && !attempt.request.reconnect {
        attempt.reached_at = app.reached.find(client, &headers).await;
    }
    let Some((outbox, outgoing)) = outbox() else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "no outbox can be made");
    };
    let connection = app.next_connection();
    let join = Mail::Join { connection, attempt, outbox, home: worker.home() };
    upgrade.serve(move |socket| {
        signal::serve(Connection::new(connection, socket, worker, outgoing), join, slot)
    })
}

/// `GET /rtc/v1/validate` and `GET /rtc/validate`: the same checks without the WebSocket. Scripts of any origin may ask:
/// the token protects, not the origin.
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Extension(form): Extension<Form>,
    Query(query): Query<JoinQuery>,
    headers: HeaderMap,
) -> Response {
    let answer = match attempt(form, &app, &query, &headers, client) {
        Ok(_) => text(StatusCode::OK, "success"),
        Err(refusal) => refuse(&refusal),
    };
    ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], answer).into_response()
}

fn attempt(
    form: Form,
    app: &App,
    query: &JoinQuery,
    headers: &HeaderMap,
    client: SocketAddr,
) -> Result<JoinAttempt, Refusal> {
    let token = access_token(query.text("access_token"), headers)?;
    let mut grant = app.admission.keys.verify(token, unix_now())?;
    if let Some(room) = query.get("room") {
        grant.require_room(&RoomName::new(room))?;
    }
    let whole = query.text("join_request");
    let (mut request, peer_connections) = match form {
        Form::Older if whole.is_empty() => {
            let publishes_as = query.text("publish");
            if !publishes_as.is_empty() {
                grant = grant.to_publish_as(publishes_as)?;
            }
            (join::from_query(|name| query.get(name))?, PeerConnections::Two)
        }
        Form::One | Form::Older => (join::decode(whole)?, PeerConnections::One),
    };
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    browser::complete(request.client_info.get_or_insert_default(), user_agent.unwrap_or_default());
    let from_loopback = app.admission.loopback_for_all || is_this_machine(client, headers);
    let attempt = JoinAttempt::new(grant, request, from_loopback)?;
    require_room(app, &attempt.grant)?;
    Ok(JoinAttempt { peer_connections, ..attempt })
}

impl JoinQuery {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

/// Refuses who would begin a room and may not, or cannot. The room decides again when they arrive: it may have ended
/// meanwhile.
pub(super) fn require_room(app: &App, grant: &Grant) -> Result<(), Refusal> {
    if app.directory.has_begun(&grant.room) {
        return Ok(());
    }
    if !app.admission.rooms_begin_by_themselves && !grant.can_create_room {
        return Err(Refusal::NoRoom);
    }
    let preset = &grant.room_preset;
    if !preset.is_empty() && !app.admission.presets.contains(preset) {
        return Err(UnknownPreset(preset.clone()).into());
    }
    Ok(())
}

/// The token in the header, or else the one in the query.
pub(super) fn access_token<'a>(
    in_query: &'a str,
    headers: &'a HeaderMap,
) -> Result<&'a str, Refusal> {
    match headers.get(header::AUTHORIZATION) {
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(Refusal::Authorization),
        None => Ok(in_query),
    }
}

fn refuse(refusal: &Refusal) -> Response {
    tracing::info!("join refused");
    tracing::debug!(%refusal, "join refused");
    text(refusal.status(), refusal.to_string())
}

/// The clock against which tokens are checked and made.
pub(crate) fn unix_now() -> UnixTime {
    // A clock before 1970 refuses every token rather than none.
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
