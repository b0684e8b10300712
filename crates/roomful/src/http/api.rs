//! The endpoints of the page.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roomful_sfu::ids::{RoomName, UnixTime};
use roomful_sfu::token::{Grant, MAX_NAME_BYTES};
use serde::Deserialize;
use serde_json::json;

use super::identity::NoRandomness;
use super::rtc::unix_now;
use super::{App, IdentityMaker, origin};
use crate::config::PageAccess;

/// Largest body of a token request, in bytes. JSON may write a byte of what is in it as six.
pub(super) const MAX_TOKEN_REQUEST_BYTES: usize = 64 * 1024;

/// Lifetime of a token for the page, in seconds. It is checked on joining and on every reconnect:
/// shorter than the longest call, and a participant who loses the network late cannot come back.
const TOKEN_LIFETIME_SECONDS: u64 = 24 * 3600;

/// Most that metadata, attribute names and attribute values may hold together, in bytes. The token
/// carries them in a request line, in which they grow by four thirds, and every roster repeats
/// them; smaller refuses applications that keep a picture's address and a few settings there.
const MAX_DESCRIPTION_BYTES: usize = 16 * 1024;

/// LiveKit's token-source request. Fields of other services (`room_config`) are ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenRequest {
    room_name: String,
    participant_name: String,
    /// A secret of the page, not the identity itself: see [`IdentityMaker`].
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
    #[error(
        "participant_metadata and participant_attributes hold {size} bytes: at most \
         {MAX_DESCRIPTION_BYTES} together"
    )]
    DescriptionTooLong { size: usize },
    #[error("the Host header is missing or malformed")]
    Host,
    #[error(
        "a page of another site may not ask for tokens; if this is the server's own page, the proxy \
         in front must pass the Host header on"
    )]
    CrossOrigin,
    #[error(
        "a server that is open for trial does not answer to this name over plain HTTP: use \
         localhost or an IP address, put HTTPS in front, or configure keys and page.open"
    )]
    Rebound,
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
/// No other origin may ask from a browser: the answer carries no CORS headers, the JSON content
/// type that is required makes browsers ask for them, and an origin that shows is compared.
/// Otherwise any page on the Internet could walk its visitors into the calls of their own network.
pub(super) async fn token(
    State(app): State<Arc<App>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    request: Result<Json<TokenRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let admission = &app.admission;
    let is_admitted = match admission.page_access {
        PageAccess::Everyone => true,
        PageAccess::ThisMachine => origin::is_this_machine(client, &headers),
        PageAccess::Nobody => false,
    };
    if !is_admitted {
        return Err(ApiError::Closed);
    }
    if origin::is_cross_origin(&headers) {
        return Err(ApiError::CrossOrigin);
    }
    if admission.is_trial && origin::may_be_rebound(client, &headers) {
        return Err(ApiError::Rebound);
    }
    let Json(request) = request?;
    let grant = grant(request, &admission.identities)?;
    let server_url = server_url(&headers)?;
    let now = unix_now();
    let expires = UnixTime(now.0 + TOKEN_LIFETIME_SECONDS);
    let token = admission.keys.sign(&grant, now, expires).ok_or(ApiError::Internal)?;
    let answer = json!({
        "server_url": server_url,
        "participant_token": token,
        "participant_name": grant.name,
        "participant_identity": grant.identity.as_str(),
        "room_name": grant.room.as_str(),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

fn grant(request: TokenRequest, identities: &IdentityMaker) -> Result<Grant, ApiError> {
    let room = RoomName::new(name("room_name", &request.room_name)?);
    let display = name("participant_name", &request.participant_name)?;
    let seed = match request.participant_identity.trim() {
        "" => String::new(),
        seed => name("participant_identity", seed)?,
    };
    let attributes = request.participant_attributes.iter();
    let size = attributes.map(|(key, value)| key.len() + value.len()).sum::<usize>()
        + request.participant_metadata.len();
    if size > MAX_DESCRIPTION_BYTES {
        return Err(ApiError::DescriptionTooLong { size });
    }
    let identity = identities.identity(&room, &seed)?;
    let mut grant = Grant::new(identity, display, room);
    grant.metadata = request.participant_metadata;
    grant.attributes = request.participant_attributes;
    grant.permissions.can_update_own_metadata = true;
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

/// Where the client of this request reaches the signalling: the host it used, encrypted if it or
/// the proxy in front was.
fn server_url(headers: &HeaderMap) -> Result<String, ApiError> {
    let host = origin::host(headers).ok_or(ApiError::Host)?;
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
            ApiError::DescriptionTooLong { .. } => (StatusCode::BAD_REQUEST, "too_long"),
            ApiError::CrossOrigin => (StatusCode::FORBIDDEN, "cross_origin"),
            ApiError::Rebound => (StatusCode::FORBIDDEN, "unknown_host"),
            ApiError::Host => (StatusCode::BAD_REQUEST, "bad_host"),
            ApiError::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl From<NoRandomness> for ApiError {
    fn from(_: NoRandomness) -> Self {
        Self::Internal
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
        let identities = IdentityMaker::new().unwrap();
        let one = grant(request(), &identities).unwrap();
        let other = grant(request(), &identities).unwrap();
        assert_eq!((one.name.as_str(), other.name.as_str()), ("Ann", "Ann"));
        assert_ne!(one.identity, other.identity);
    }
}
