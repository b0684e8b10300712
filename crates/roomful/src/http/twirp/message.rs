//! Bodies of requests: protobuf, or JSON by protobuf's mapping (both spellings of names, unknown fields ignored).

use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::TwirpError;

/// How a request is encoded, and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// What the content type says; parameters such as `charset` do not matter.
    pub(super) fn of(headers: &HeaderMap, path: &str) -> Result<Self, TwirpError> {
        let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let said = said.unwrap_or_default();
        let kind = said.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            Ok(Encoding::Json)
        } else if kind.eq_ignore_ascii_case("application/protobuf") {
            Ok(Encoding::Protobuf)
        } else {
            Err(TwirpError::content_type(said, path))
        }
    }

    /// What the answer's content type says.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Encoding::Protobuf => "application/protobuf",
            Encoding::Json => "application/json",
        }
    }
}

/// The body of one request.
pub(super) struct Message<'a> {
    encoding: Encoding,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn new(encoding: Encoding, body: &'a [u8]) -> Self {
        Self { encoding, body }
    }

    /// The message it holds.
    pub(super) fn decode<M: prost::Message + Default + DeserializeOwned>(
        &self,
    ) -> Result<M, TwirpError> {
        match self.encoding {
            Encoding::Protobuf => M::decode(self.body)
                .map_err(|_| TwirpError::malformed("the protobuf request could not be decoded")),
            Encoding::Json => serde_json::from_slice(self.body).map_err(|error| {
                TwirpError::malformed(format!("the json request could not be decoded: {error}"))
            }),
        }
    }
}
