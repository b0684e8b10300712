//! `GET /agent`: the WebSocket by which agencies (LiveKit: agent workers) offer their work.
//!
//! Messages are `WorkerMessage`s and `ServerMessage`s, protobuf in binary frames and JSON in text frames; answers come in the
//! encoding of the last message. What they mean is decided in the core (`roomful_sfu::agents`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use livekit_protocol::{ServerMessage, WorkerMessage};
use prost::Message as _;
use roomful_sfu::ids::AgencyId;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::rtc::{access_token, unix_now};
use super::serve::Slot;
use super::{App, text};
use crate::agents::{AgentMail, AgentsHandle, LineItem, line};

/// Largest message of an agency, in bytes: LiveKit's limit. What they say is short, but for the metadata of an agent.
const MAX_MESSAGE: usize = 2 * 1024 * 1024;

/// Bytes set aside for each connection to read into: most messages are shorter.
const READ_BUFFER: usize = 4 * 1024;

/// Time between two pings of the server: LiveKit's value.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// An agency that sent nothing for so long, not even an answer to a ping, is gone: three pings. Longer offers jobs to
/// the dead, shorter cuts off those on bad networks.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// Longest time one message may wait for an agency that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the other side's half of the closing handshake (RFC 6455 §7.1.1).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The query; `protocol` says nothing that this server needs.
#[derive(Deserialize)]
pub(super) struct AgentQuery {
    #[serde(default)]
    access_token: String,
}

/// Upgrades if the token allows working as an agent.
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    Extension(slot): Extension<Slot>,
    Query(query): Query<AgentQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return text(StatusCode::NOT_FOUND, "/agent is a WebSocket: open it as one");
    };
    let token = access_token(&query.access_token, &headers).map_err(|error| error.to_string());
    let grant = token.and_then(|token| {
        app.admission.keys.verify_api(token, unix_now()).map_err(|error| error.to_string())
    });
    match grant {
        Ok(grant) if grant.agent => {}
        Ok(_) => {
            let words = "permissions denied: the access token does not allow working as an agent: \
                         set video.agent to true";
            return text(StatusCode::UNAUTHORIZED, words);
        }
        Err(error) => {
            return text(StatusCode::UNAUTHORIZED, format!("invalid authorization token: {error}"));
        }
    }
    let (agency, agents) = (AgencyId(app.next_connection().0), app.agents.clone());
    upgrade
        .max_frame_size(MAX_MESSAGE)
        .max_message_size(MAX_MESSAGE)
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(move |socket| async move {
            serve(socket, agency, agents).await;
            drop(slot);
        })
}

async fn serve(socket: WebSocket, agency: AgencyId, agents: AgentsHandle) {
    let Some((line, items)) = line() else { return };
    if agents.send(AgentMail::Connected { agency, line }).await.is_err() {
        return;
    }
    let mut this = Connection { agency, socket, agents, items, is_json: false };
    tracing::info!(agency = agency.0, "agency connected");
    let end = this.run().await;
    tracing::info!(agency = agency.0, "agency disconnected");
    tracing::debug!(agency = agency.0, reason = end.0, "agency disconnected");
    // Before the farewell, which may take its time: the jobs shall go to others at once.
    let _ = this.agents.send(AgentMail::Gone { agency }).await;
    if let Some(close) = end.1 {
        this.farewell(close).await;
    }
}

struct Connection {
    agency: AgencyId,
    socket: WebSocket,
    agents: AgentsHandle,
    items: mpsc::Receiver<LineItem>,
    /// The last message came as JSON.
    is_json: bool,
}

/// Why a connection ended, and what to tell the agency if it is still there.
struct End(String, Option<CloseFrame>);

impl End {
    fn gone(why: impl ToString) -> Self {
        Self(why.to_string(), None)
    }

    fn said(code: u16, why: &str) -> Self {
        // Every reason is one of this program's own, and short.
        Self(why.to_owned(), Some(CloseFrame { code, reason: why.into() }))
    }
}

impl Connection {
    async fn run(&mut self) -> End {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let step = tokio::select! {
                received = self.socket.recv() => {
                    heard = Instant::now();
                    self.handle_received(received).await
                }
                item = self.items.recv() => self.handle_item(item).await,
                _ = pings.tick() => {
                    if heard.elapsed() >= SILENT_FOR {
                        return End::gone("silent");
                    }
                    self.write(Message::Ping(Bytes::new())).await
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn handle_received(
        &mut self,
        received: Option<Result<Message, axum::Error>>,
    ) -> Result<(), End> {
        let message = match received {
            None => return Err(End::gone("the connection broke")),
            Some(Err(error)) => return Err(End::gone(error)),
            Some(Ok(message)) => message,
        };
        let message = match message {
            Message::Binary(bytes) => {
                self.is_json = false;
                WorkerMessage::decode(bytes).ok()
            }
            Message::Text(text) => {
                self.is_json = true;
                serde_json::from_str(&text).ok()
            }
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::gone("closed by the agency")),
        };
        let Some(message) = message else {
            return Err(End::said(close_code::INVALID, "not a WorkerMessage"));
        };
        let mail = AgentMail::Message { from: self.agency, message: Box::new(message) };
        let sent = self.agents.send(mail).await;
        sent.map_err(|error| End::said(close_code::AWAY, &error.to_string()))
    }

    async fn handle_item(&mut self, item: Option<LineItem>) -> Result<(), End> {
        match item {
            Some(LineItem::Message(message)) => {
                let frame = self.encode(&message);
                self.write(frame).await
            }
            Some(LineItem::Close(why)) => Err(End::said(close_code::POLICY, &why)),
            None => Err(End::said(close_code::AWAY, "the server is shutting down")),
        }
    }

    /// JSON cannot hold every number that protobuf can; then it is protobuf.
    fn encode(&self, message: &ServerMessage) -> Message {
        let json = self.is_json.then(|| serde_json::to_string(message).ok()).flatten();
        json.map_or_else(
            || Message::Binary(message.encode_to_vec().into()),
            |json| Message::Text(json.into()),
        )
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::gone(error)),
            Err(_) => Err(End::gone("it does not read")),
        }
    }

    /// Says why and reads what is still on its way, so that the reason is not overtaken by a reset.
    async fn farewell(&mut self, close: CloseFrame) {
        let goodbye = async {
            if self.socket.send(Message::Close(Some(close))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}
