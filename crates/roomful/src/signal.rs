//! One WebSocket ⇄ one worker: frames in, mails out; messages in, frames out.
//!
//! A connection ends in exactly one place, [`Connection::run`], whoever ends it; the worker always
//! hears of it.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use roomful_sfu::frame::{self, EncodedFrame, Encoding, Frame, FrameError, MAX_FRAME_BYTES};
use roomful_sfu::ids::ConnectionId;
use roomful_sfu::join::JoinAttempt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite;

use crate::worker::{CloseCause, Mail, Outgoing, WorkerHandle, outbox};

/// The transport's own limit, above the protocol's: frames in between are read and answered with
/// a reason; beyond it the connection may just break, since the rest is never read.
pub(crate) const TRANSPORT_FRAME_LIMIT: usize = 4 * MAX_FRAME_BYTES;

/// Time between two pings of the server. A client that neither answers these nor sends media must
/// be marked as lost within 3 s; at 1 s two may be lost on the way. Shorter costs phones battery.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time one frame may wait for a client that does not read. Longer holds the memory of
/// the dead; shorter drops those who cross a tunnel.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the other side's half of the closing handshake (RFC 6455 §7.1.1).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest reason in a close frame, in bytes (RFC 6455 §5.5 leaves 123 beside the code).
const MAX_REASON_BYTES: usize = 123;

/// Serves `socket` until either side ends it.
pub(crate) async fn serve(
    socket: WebSocket,
    connection: ConnectionId,
    attempt: JoinAttempt,
    worker: WorkerHandle,
) {
    let Some((outbox, outgoing)) = outbox() else { return };
    let join = Mail::Join { connection, attempt: Box::new(attempt), outbox };
    let mut this =
        Connection { id: connection, socket, worker, outgoing, encoding: Encoding::default() };
    tracing::info!(connection = connection.0, "connection opened");
    let end = match this.worker.send(join).await {
        Ok(()) => this.run().await,
        Err(_) => End::SHUTTING_DOWN,
    };
    tracing::info!(connection = connection.0, reason = %end.log, "connection closed");
    // Before the farewell, which may take its time: the worker shall know at once.
    let _ = this.worker.send(Mail::Disconnect { connection }).await;
    if let Some(close) = end.close {
        this.farewell(close).await;
    }
}

struct Connection {
    id: ConnectionId,
    socket: WebSocket,
    worker: WorkerHandle,
    outgoing: mpsc::Receiver<Outgoing>,
    encoding: Encoding,
}

/// How a connection ended.
struct End {
    /// For the log.
    log: Cow<'static, str>,
    /// What to tell the client, if it is still there.
    close: Option<CloseFrame>,
}

impl Connection {
    async fn run(&mut self) -> End {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                received = self.socket.recv() => self.handle_received(received).await,
                outgoing = self.outgoing.recv() => self.handle_outgoing(outgoing).await,
                _ = pings.tick() => self.write(Message::Ping(axum::body::Bytes::new())).await,
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
            None => return Err(End::gone("the client is gone")),
            Some(Err(error)) => return Err(End::of_transport(error)),
            Some(Ok(message)) => message,
        };
        let frame = match &message {
            Message::Binary(bytes) => Frame::Binary(bytes),
            Message::Text(text) => Frame::Text(text),
            Message::Ping(_) | Message::Pong(_) => return self.report_alive().await,
            Message::Close(_) => return Err(End::gone("closed by the client")),
        };
        self.encoding = frame.encoding();
        match frame::decode(frame) {
            Ok(message) => {
                let mail = Mail::Message { from: self.id, message: Box::new(message) };
                self.worker.send(mail).await.map_err(|_| End::SHUTTING_DOWN)
            }
            Err(error @ FrameError::UnknownKind) => {
                tracing::debug!(connection = self.id.0, %error, "message ignored");
                self.report_alive().await
            }
            Err(error @ FrameError::TooLarge { .. }) => Err(End::said(close_code::SIZE, &error)),
            Err(error) => Err(End::said(close_code::INVALID, &error)),
        }
    }

    async fn handle_outgoing(&mut self, outgoing: Option<Outgoing>) -> Result<(), End> {
        match outgoing {
            Some(Outgoing::Message(message)) => match frame::encode(&message, self.encoding) {
                Ok(EncodedFrame::Binary(bytes)) => self.write(Message::Binary(bytes.into())).await,
                Ok(EncodedFrame::Text(text)) => self.write(Message::Text(text.into())).await,
                Err(error) => Err(End::said(close_code::ERROR, &error)),
            },
            Some(Outgoing::Close(CloseCause::Finished)) => {
                Err(End::said(close_code::NORMAL, &"finished"))
            }
            Some(Outgoing::Close(CloseCause::TooSlow)) => {
                Err(End::said(close_code::POLICY, &"too many messages wait: read faster"))
            }
            None => Err(End::SHUTTING_DOWN),
        }
    }

    async fn report_alive(&mut self) -> Result<(), End> {
        let mail = Mail::Alive { connection: self.id };
        self.worker.send(mail).await.map_err(|_| End::SHUTTING_DOWN)
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::gone(&format!("cannot write: {error}"))),
            Err(_) => Err(End::gone("the client does not read")),
        }
    }

    /// Closes politely: says why and reads what is still on its way, so that the reason is not
    /// overtaken by a reset of the connection.
    async fn farewell(&mut self, close: CloseFrame) {
        let goodbye = async {
            if self.socket.send(Message::Close(Some(close))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

impl End {
    const SHUTTING_DOWN: Self = Self {
        log: Cow::Borrowed("the server is shutting down"),
        close: Some(CloseFrame {
            code: close_code::AWAY,
            reason: Utf8Bytes::from_static("the server is shutting down"),
        }),
    };

    /// There is nobody to tell.
    fn gone(log: &str) -> Self {
        Self { log: log.to_owned().into(), close: None }
    }

    fn said(code: u16, reason: &impl std::fmt::Display) -> Self {
        let log = reason.to_string();
        let mut end = log.len().min(MAX_REASON_BYTES);
        while !log.is_char_boundary(end) {
            end -= 1;
        }
        let reason = log[..end].into();
        Self { log: log.into(), close: Some(CloseFrame { code, reason }) }
    }

    /// What the WebSocket itself refused, before it was a frame.
    fn of_transport(error: axum::Error) -> Self {
        use tungstenite::Error;
        match error.into_inner().downcast::<Error>().map(|error| *error) {
            Ok(error @ Error::Utf8(_)) => Self::said(close_code::INVALID, &error),
            Ok(Error::Capacity(_)) => Self::said(
                close_code::SIZE,
                &format!("frame too large: the limit is {MAX_FRAME_BYTES} bytes"),
            ),
            Ok(
                error @ Error::Protocol(
                    tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                ),
            ) => Self::gone(&error.to_string()),
            Ok(error @ Error::Protocol(_)) => Self::said(close_code::PROTOCOL, &error),
            Ok(error) => Self::gone(&error.to_string()),
            Err(error) => Self::gone(&error.to_string()),
        }
    }
}
