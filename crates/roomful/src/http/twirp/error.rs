//! What goes wrong, in Twirp's words: `{"code", "msg", "meta"}` in JSON, whatever the request was in.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use roomful_sfu::administration::{AdministrationError, RpcError};
use serde::Serialize;

/// The codes of the Twirp specification that this server uses, with its HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Code {
    AlreadyExists,
    BadRoute,
    Canceled,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Malformed,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{msg}")]
pub(in crate::http) struct TwirpError {
    code: Code,
    msg: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<&'static str, String>,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Code::AlreadyExists => StatusCode::CONFLICT,
            Code::BadRoute | Code::NotFound => StatusCode::NOT_FOUND,
            Code::Canceled | Code::DeadlineExceeded => StatusCode::REQUEST_TIMEOUT,
            Code::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::InvalidArgument | Code::Malformed => StatusCode::BAD_REQUEST,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

impl TwirpError {
    fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), meta: BTreeMap::new() }
    }

    /// There is no such service or method.
    pub(super) fn no_route(method: &Method, path: &str) -> Self {
        Self::bad_route(format!("no handler for path {path:?}"), method, path)
    }

    /// The request is no POST.
    pub(super) fn not_post(method: &Method, path: &str) -> Self {
        let msg = format!("unsupported method {:?} (only POST is allowed)", method.as_str());
        Self::bad_route(msg, method, path)
    }

    /// The body is neither protobuf nor JSON.
    pub(super) fn content_type(said: &str, path: &str) -> Self {
        Self::bad_route(format!("unexpected Content-Type: {said:?}"), &Method::POST, path)
    }

    fn bad_route(msg: String, method: &Method, path: &str) -> Self {
        let meta = BTreeMap::from([("twirp_invalid_route", format!("{method} {path}"))]);
        Self { code: Code::BadRoute, msg, meta }
    }

    /// The body is not what its content type says, or no such message.
    pub(super) fn malformed(msg: impl Into<String>) -> Self {
        Self::new(Code::Malformed, msg)
    }

    /// The body did not arrive, or is larger than `limit` bytes.
    pub(super) fn body(limit: usize) -> Self {
        let msg = format!("the body broke off or has more than {limit} bytes");
        Self::new(Code::ResourceExhausted, msg)
    }

    /// A value cannot be.
    pub(super) fn invalid(msg: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, msg)
    }

    /// The token is not valid.
    pub(super) fn unauthenticated(msg: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, msg)
    }

    /// There is no token, or it does not allow this. LiveKit's code and text: its libraries know both.
    pub(super) fn denied() -> Self {
        Self::unauthenticated("permissions denied")
    }

    /// This server cannot do that.
    pub(super) fn unimplemented(msg: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, msg)
    }

    /// The server is about to end.
    pub(super) fn stopping() -> Self {
        Self::new(Code::Unavailable, "the server is shutting down")
    }

    /// Somebody took too long.
    pub(super) fn too_slow(msg: &str) -> Self {
        Self::new(Code::DeadlineExceeded, msg)
    }

    /// An error of this server's own.
    pub(super) fn internal(msg: impl Into<String>) -> Self {
        Self::new(Code::Internal, msg)
    }
}

impl From<AdministrationError> for TwirpError {
    fn from(error: AdministrationError) -> Self {
        let code = match &error {
            AdministrationError::NoRoom
            | AdministrationError::NoParticipant
            | AdministrationError::NoTrack
            | AdministrationError::NoDispatch => Code::NotFound,
            AdministrationError::UnmuteDisabled
            | AdministrationError::CannotMove { .. }
            | AdministrationError::CannotForward
            | AdministrationError::Guest => Code::FailedPrecondition,
            AdministrationError::AlreadyThere => Code::AlreadyExists,
            AdministrationError::Full => Code::ResourceExhausted,
            AdministrationError::OutOfReach | AdministrationError::Unreachable => Code::Unavailable,
            AdministrationError::OverLimit(_)
            | AdministrationError::Deployment(_)
            | AdministrationError::Preset(_) => Code::InvalidArgument,
            AdministrationError::Rpc(error) => rpc_code(error),
        };
        Self::new(code, error.to_string())
    }
}

/// As LiveKit translates them. Applications read the number in the text.
fn rpc_code(error: &RpcError) -> Code {
    match error.code {
        RpcError::CONNECTION_TIMEOUT | RpcError::RESPONSE_TIMEOUT => Code::Canceled,
        RpcError::RECIPIENT_DISCONNECTED => Code::Unavailable,
        RpcError::UNSUPPORTED_METHOD => Code::InvalidArgument,
        RpcError::RECIPIENT_NOT_FOUND => Code::NotFound,
        RpcError::REQUEST_PAYLOAD_TOO_LARGE => Code::Malformed,
        RpcError::UNSUPPORTED_SERVER | RpcError::UNSUPPORTED_VERSION => Code::Unimplemented,
        _ => Code::Internal,
    }
}

impl IntoResponse for TwirpError {
    fn into_response(self) -> Response {
        (self.code.status(), Json(self)).into_response()
    }
}
