//! One event to one address: sealed, sent, and sent again if that failed.

use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livekit_protocol::WebhookEvent;
use roomful_sfu::ids::UnixTime;
use roomful_sfu::token::{ApiKey, ApiKeys};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::client::HttpClient;
use crate::config::WebhookConfig;
use crate::http::unix_now;

/// A type of its own, so that frameworks do not parse the body before its seal was checked.
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/webhook+json");

/// Pauses before each further attempt. Longer in all keeps a room's events behind one that cannot be delivered, shorter
/// gives up on an application that restarts. As LiveKit's: doubled each time, four times.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// How long one attempt may take. Longer lets an application that hangs hold its room's events, shorter repeats what a
/// slow one did take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read of an answer, in bytes: nothing of it is used.
const MAX_ANSWER: usize = 64 * 1024;

/// How long a seal is valid, in seconds: LiveKit's value. Each attempt gets a new one.
const SEAL_LASTS: u64 = 5 * 60;

/// Requests that may be on their way at a time. More opens more connections when many rooms begin at once, fewer delays
/// events of busy servers.
const MAX_AT_A_TIME: usize = 64;

/// What deliveries share.
pub(super) struct Delivery {
    client: HttpClient,
    keys: ApiKeys,
    key: ApiKey,
    turns: Semaphore,
}

/// How an attempt went.
enum Attempt {
    Taken,
    /// It may go better later.
    Failed(String),
    /// The application does not want it.
    Refused(StatusCode),
}

impl Delivery {
    pub(super) fn new(client: HttpClient, keys: ApiKeys, config: &WebhookConfig) -> Self {
        let turns = Semaphore::new(MAX_AT_A_TIME);
        Self { client, keys, key: config.key.clone(), turns }
    }

    /// Completes when the event was taken or given up.
    pub(super) async fn deliver(&self, url: &Uri, event: &WebhookEvent) {
        let name = event.event.as_str();
        let body = match serde_json::to_vec(event) {
            Ok(body) => Bytes::from(body),
            Err(error) => return tracing::error!(%error, name, "a webhook cannot be written"),
        };
        let mut pauses = PAUSES.iter();
        loop {
            match self.attempt(url, body.clone()).await {
                Attempt::Taken => return tracing::debug!(name, id = event.id, "webhook taken"),
                Attempt::Refused(status) => {
                    return tracing::warn!(name, %status, "webhook refused by the application");
                }
                Attempt::Failed(why) => match pauses.next() {
                    Some(pause) => {
                        tracing::debug!(name, why, "webhook not delivered: trying again");
                        sleep(*pause).await;
                    }
                    None => {
                        tracing::debug!(name, why, "webhook given up");
                        return tracing::warn!(name, "webhook given up: the application is away");
                    }
                },
            }
        }
    }

    async fn attempt(&self, url: &Uri, body: Bytes) -> Attempt {
        // Closed by nobody.
        let _turn = self.turns.acquire().await;
        let Some(seal) = self.seal(&body).and_then(|seal| HeaderValue::try_from(seal).ok()) else {
            return Attempt::Failed("the key cannot sign".to_owned());
        };
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, seal),
            (header::CONTENT_TYPE, CONTENT_TYPE),
        ]);
        match self.client.post(url, headers, body, PATIENCE, MAX_ANSWER).await {
            Ok((status, _)) if status.is_success() => Attempt::Taken,
            Ok((status, _)) if is_passing(status) => Attempt::Failed(status.to_string()),
            Ok((status, _)) => Attempt::Refused(status),
            Err(error) => Attempt::Failed(error.to_string()),
        }
    }

    fn seal(&self, body: &[u8]) -> Option<String> {
        let sum = STANDARD.encode(digest::digest(&digest::SHA256, body));
        let now = unix_now();
        self.keys.seal(&self.key, &sum, now, UnixTime(now.0 + SEAL_LASTS))
    }
}

/// Whether the application may take the same request later.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}
