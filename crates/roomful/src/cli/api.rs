//! Calls of a running server's `RoomService`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use roomful_sfu::ids::UnixTime;
use roomful_sfu::token::{ApiGrant, ApiKeys};
use serde::Deserialize;

use super::access::Access;
use crate::client::HttpClient;
use crate::config::Flags;
use crate::http::unix_now;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer read, in bytes: many thousands of rooms.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// How long the token of one call is valid, in seconds.
const TOKEN_LASTS: u64 = 60;

/// One server, and the right to ask it.
pub(super) struct Api {
    client: HttpClient,
    url: Uri,
    keys: ApiKeys,
}

/// What went wrong, as Twirp says it.
#[derive(Deserialize)]
struct Refusal {
    code: String,
    msg: String,
}

impl Api {
    pub(super) fn new(access: &Access, flags: Flags) -> anyhow::Result<Self> {
        let (url, keys) = access.resolve(flags)?;
        Ok(Self { client: HttpClient::new()?, url, keys })
    }

    /// Calls `method`, with a token for no more than `grant`.
    pub(super) async fn call<Q, A>(
        &self,
        method: &str,
        grant: &ApiGrant,
        question: &Q,
    ) -> anyhow::Result<A>
    where
        Q: prost::Message,
        A: prost::Message + Default,
    {
        let base = self.url.to_string();
        let url = format!("{}/twirp/livekit.RoomService/{method}", base.trim_end_matches('/'));
        let url: Uri = url.parse().context("the address of the server")?;
        let body = Bytes::from(question.encode_to_vec());
        let answer = self.client.post(&url, self.headers(grant)?, body, PATIENCE, MAX_ANSWER).await;
        let (status, body) = answer.with_context(|| format!("{}", self.url))?;
        if status.is_success() {
            return A::decode(body).context("the server's answer makes no sense");
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => {
                bail!("{} ({})", super::plain(&refusal.msg), super::plain(&refusal.code))
            }
            Err(_) => bail!("{} answers {status}: is there a Roomful or LiveKit server?", self.url),
        }
    }

    fn headers(&self, grant: &ApiGrant) -> anyhow::Result<HeaderMap> {
        let now = unix_now();
        let token = self.keys.sign_api(grant, now, UnixTime(now.0 + TOKEN_LASTS));
        let bearer = format!("Bearer {}", token.context("the key cannot sign")?);
        Ok(HeaderMap::from_iter([
            (header::AUTHORIZATION, HeaderValue::try_from(bearer)?),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/protobuf")),
        ]))
    }
}
