//! The endpoints of the page.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roomful_sfu::ids::{Identity, RoomName, UnixTime};
use roomful_sfu::token::{Grant, MAX_NAME_BYTES};
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::rtc::unix_now;

/// Largest body of a token request, in bytes; attributes and metadata included.
pub(super) const MAX_TOKEN_REQUEST_BYTES: usize = 64 * 1024;

/// Lifetime of a token for the page, in seconds. It is checked on joining and on every reconnect:
/// shorter than the longest call, and a participant who loses the network late cannot come back.
const TOKEN_LIFETIME_SECONDS: u64 = 24 * 3600;

/// Random bytes of an identity made here: by the birthday bound, one collision in a room of a
/// million takes 2^40 rooms.
const IDENTITY_BYTES: usize = 10;

/// LiveKit's token-source request. Fields of other services (`room_config`) are ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenRequest {
    room_name: String,
    participant_name: String,
    participant_identity: String,
    participant_metadata: String,
    participant_attributes: BTreeMap<String, String>,
}

/// Why no token is given, as JSON `{"error": {"code", "message"}}`.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error(
        "this server gives no tokens to visitors: join with a link from the application that uses \
         it, or ask its operator to set page.open"
    )]
    Closed,
    #[error("{0}")]
    Json(#[from] JsonRejection),
    #[error("{what} is missing")]
    Missing { what: &'static str },
    #[error("{what} is too long: at most {MAX_NAME_BYTES} bytes")]
    TooLong { what: &'static str },
    #[error("{what} holds a control character")]
    ControlCharacter { what: &'static str },
    #[error("the Host header is missing or malformed")]
    Host,
    #[error("there is nothing at this address")]
    NotFound,
    #[error("the system gave no randomness, or no key is configured")]
    Internal,
}

/// `GET /api/version`.
pub(super) async fn version() -> Response {
    Json(json!({"name": "roomful", "version": env!("CARGO_PKG_VERSION")})).into_response()
}

/// Anything else below `/api/`.
pub(super) async fn unknown() -> ApiError {
    ApiError::NotFound
}

/// `POST /api/token`: a token to join one room under one name.
///
/// No other origin may ask from a browser: the answer carries no CORS headers, and the JSON content
/// type that is required makes browsers ask for them. Otherwise any page on the Internet could
/// walk its visitors into the calls of their own network.
pub(super) async fn token(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Result<Json<TokenRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    if !app.page_open {
        return Err(ApiError::Closed);
    }
    let Json(request) = request?;
    let grant = grant(request)?;
    let server_url = server_url(&headers)?;
    let now = unix_now();
    let expires = UnixTime(now.0 + TOKEN_LIFETIME_SECONDS);
    let token = app.keys.sign(&grant, now, expires).ok_or(ApiError::Internal)?;
    let answer = json!({
        "server_url": server_url,
        "participant_token": token,
        "participant_name": grant.name,
        "participant_identity": grant.identity.as_str(),
        "room_name": grant.room.as_str(),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

fn grant(request: TokenRequest) -> Result<Grant, ApiError> {
    let room = name("room_name", &request.room_name)?;
    let display = name("participant_name", &request.participant_name)?;
    let identity = match request.participant_identity.trim() {
        "" => random_identity()?,
        _ => name("participant_identity", &request.participant_identity)?,
    };
    let mut grant = Grant::new(Identity::new(identity), display, RoomName::new(room));
    grant.metadata = request.participant_metadata;
    grant.attributes = request.participant_attributes;
    grant.can_update_own_metadata = true;
    Ok(grant)
}

/// The text without surrounding space, if it can be a name. Anything visible can: it is shown as
/// text, never as markup.
fn name(what: &'static str, text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ApiError::Missing { what });
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(ApiError::TooLong { what });
    }
    if text.chars().any(char::is_control) {
        return Err(ApiError::ControlCharacter { what });
    }
    Ok(text.to_owned())
}

fn random_identity() -> Result<String, ApiError> {
    let mut bytes = [0; IDENTITY_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| ApiError::Internal)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where the client of this request reaches the signalling: the host it used, encrypted if it or
/// the proxy in front was.
fn server_url(headers: &HeaderMap) -> Result<String, ApiError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host: Authority = host.and_then(|host| host.parse().ok()).ok_or(ApiError::Host)?;
    if host.as_str().contains('@') {
        return Err(ApiError::Host);
    }
    let proto = headers.get("x-forwarded-proto").and_then(|proto| proto.to_str().ok());
    let encrypted = proto.is_some_and(|proto| {
        // A chain of proxies lists one each, the outermost first.
        proto.split(',').next().is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
    });
    Ok(format!("{}://{host}", if encrypted { "wss" } else { "ws" }))
}

impl ApiError {
    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::Closed => (StatusCode::FORBIDDEN, "page_closed"),
            ApiError::Json(rejection) => (rejection.status(), "bad_request"),
            ApiError::Missing { .. } => (StatusCode::BAD_REQUEST, "missing"),
            ApiError::TooLong { .. } => (StatusCode::BAD_REQUEST, "too_long"),
            ApiError::ControlCharacter { .. } => (StatusCode::BAD_REQUEST, "control_character"),
            ApiError::Host => (StatusCode::BAD_REQUEST, "bad_host"),
            ApiError::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.parts();
        let body = json!({"error": {"code": code, "message": self.to_string()}});
        (status, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_server_is_where_the_page_came_from() {
        let url = |host: &'static str, proto: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(proto) = proto {
                headers.insert("x-forwarded-proto", HeaderValue::from_static(proto));
            }
            server_url(&headers).ok()
        };
        assert_eq!(url("localhost:7880", None).unwrap(), "ws://localhost:7880");
        assert_eq!(url("[::1]:7880", None).unwrap(), "ws://[::1]:7880");
        assert_eq!(url("meet.example", Some("https, http")).unwrap(), "wss://meet.example");
        assert_eq!(url("meet.example", Some("http")).unwrap(), "ws://meet.example");
        for bad in ["", "a b", "user@host", "host/path", "<script>"] {
            assert_eq!(url(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn names_are_trimmed_and_may_hold_anything_visible() {
        assert_eq!(name("x", "  Ann <img onerror> 🌻 ").unwrap(), "Ann <img onerror> 🌻");
        assert!(matches!(name("x", " \t "), Err(ApiError::Missing { .. })));
        assert!(matches!(name("x", "a\u{0}b"), Err(ApiError::ControlCharacter { .. })));
        assert!(name("x", &"x".repeat(MAX_NAME_BYTES)).is_ok());
        assert!(matches!(
            name("x", &"x".repeat(MAX_NAME_BYTES + 1)),
            Err(ApiError::TooLong { .. })
        ));
    }

    #[test]
    fn two_visitors_of_one_name_get_two_identities() {
        let request = || TokenRequest {
            room_name: "garden".into(),
            participant_name: "Ann".into(),
            ..TokenRequest::default()
        };
        let (one, other) = (grant(request()).unwrap(), grant(request()).unwrap());
        assert_eq!((one.name.as_str(), other.name.as_str()), ("Ann", "Ann"));
        assert_ne!(one.identity, other.identity);
    }
}
