//! One WebSocket ⇄ one worker: frames in, mails out; messages in, frames out.
//!
//! A connection ends in exactly one place, [`Connection::run`], whoever ends it; the worker always
//! hears of it.

use std::fmt::Display;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use roomful_sfu::frame::{self, EncodedFrame, Encoding, Frame, FrameError, MAX_FRAME_BYTES};
use roomful_sfu::ids::ConnectionId;
use roomful_sfu::join::JoinAttempt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use crate::worker::{CloseCause, Mail, Outgoing, WorkerHandle, outbox};

/// The transport's own limit, above the protocol's: frames in between are read and answered with
/// a reason; beyond it the connection may just break, since the rest is never read. Larger lets one connection
/// take more memory, smaller leaves honest mistakes without their reason.
pub(crate) const TRANSPORT_FRAME_LIMIT: usize = 16 * MAX_FRAME_BYTES;

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
    let (attempt, home) = (Box::new(attempt), worker.home());
    let join = Mail::Join { connection, attempt, outbox, home };
    let mut this =
        Connection { id: connection, socket, worker, outgoing, encoding: Encoding::default() };
    tracing::info!(connection = connection.0, "connection opened");
    let end = match this.worker.send(join).await {
        Ok(()) => this.run().await,
        Err(_) => End::SHUTTING_DOWN,
    };
    tracing::info!(connection = connection.0, reason = end.cause, "connection closed");
    if !end.detail.is_empty() {
        tracing::debug!(connection = connection.0, detail = end.detail, "connection closed");
    }
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
    /// For the log: fixed, since everything else may hold text of the client's choosing.
    cause: &'static str,
    /// For the log at debug: the exact words.
    detail: String,
    /// What to tell the client, if it is still there.
    close: Option<CloseFrame>,
}

impl Connection {
    async fn run(&mut self) -> End {
        loop {
            let step = tokio::select! {
                received = self.socket.recv() => self.handle_received(received).await,
                outgoing = self.outgoing.recv() => self.handle_outgoing(outgoing).await,
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
            None => return Err(End::gone("the client is gone", "")),
            Some(Err(error)) => return Err(End::of_transport(error)),
            Some(Ok(message)) => message,
        };
        let frame = match &message {
            Message::Binary(bytes) => Frame::Binary(bytes),
            Message::Text(text) => Frame::Text(text),
            Message::Ping(_) | Message::Pong(_) => {
                self.tell(Mail::Alive { connection: self.id }).await;
                return Ok(());
            }
            Message::Close(_) => return Err(End::gone("closed by the client", "")),
        };
        self.encoding = frame.encoding();
        match frame::decode(frame) {
            Ok(message) => {
                self.tell(Mail::Message { from: self.id, message: Box::new(message) }).await;
                Ok(())
            }
            Err(error @ FrameError::UnknownKind) => {
                tracing::debug!(connection = self.id.0, %error, "message ignored");
                self.tell(Mail::Alive { connection: self.id }).await;
                Ok(())
            }
            Err(error) => Err(End::of_frame(&error)),
        }
    }

    async fn handle_outgoing(&mut self, outgoing: Option<Outgoing>) -> Result<(), End> {
        match outgoing {
            Some(Outgoing::Message(message)) => match frame::encode(&message, self.encoding) {
                Ok(EncodedFrame::Binary(bytes)) => self.write(Message::Binary(bytes.into())).await,
                Ok(EncodedFrame::Text(text)) => self.write(Message::Text(text.into())).await,
                Err(error) => {
                    Err(End::said(close_code::ERROR, "a message cannot be encoded", &error))
                }
            },
            Some(Outgoing::Ping) => self.write(Message::Ping(axum::body::Bytes::new())).await,
            Some(Outgoing::Close(CloseCause::Finished)) => {
                Err(End::said(close_code::NORMAL, "finished", &"finished"))
            }
            Some(Outgoing::Close(CloseCause::TooSlow)) => {
                let reason = "too many messages wait: read faster";
                Err(End::said(close_code::POLICY, "reads too slowly", &reason))
            }
            None => Err(End::SHUTTING_DOWN),
        }
    }

    /// A worker that has ended hears nothing, and has left its last words in the outbox: those are
    /// still to be written, and the end of the outbox ends the connection.
    async fn tell(&mut self, mail: Mail) {
        if let Err(error) = self.worker.send(mail).await {
            tracing::debug!(connection = self.id.0, %error, "mail not delivered");
        }
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::gone("the client cannot be written to", &error)),
            Err(_) => Err(End::gone("the client does not read", "")),
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
        cause: "the server is shutting down",
        detail: String::new(),
        close: Some(CloseFrame {
            code: close_code::AWAY,
            reason: Utf8Bytes::from_static("the server is shutting down"),
        }),
    };

    /// There is nobody to tell.
    fn gone(cause: &'static str, detail: impl Display) -> Self {
        Self { cause, detail: detail.to_string(), close: None }
    }

    /// The client is told `reason`, as much of it as fits.
    fn said(code: u16, cause: &'static str, reason: &impl Display) -> Self {
        let detail = reason.to_string();
        let mut end = detail.len().min(MAX_REASON_BYTES);
        while !detail.is_char_boundary(end) {
            end -= 1;
        }
        let reason = detail[..end].into();
        Self { cause, detail, close: Some(CloseFrame { code, reason }) }
    }

    /// What the frame's reader refused.
    fn of_frame(error: &FrameError) -> Self {
        let (code, cause) = match error {
            FrameError::TooLarge { .. } => (close_code::SIZE, "a frame was too large"),
            FrameError::Json(_) => (close_code::INVALID, "a text frame was not JSON of a request"),
            FrameError::Protobuf(_) => {
                (close_code::INVALID, "a binary frame was not protobuf of a request")
            }
            FrameError::UnknownKind => (close_code::INVALID, "a request was of an unknown kind"),
        };
        Self::said(code, cause, error)
    }

    /// What the WebSocket itself refused, before it was a frame.
    fn of_transport(error: axum::Error) -> Self {
        use tungstenite::Error;
        use tungstenite::error::ProtocolError;
        const LOST: &str = "the connection broke";
        match error.into_inner().downcast::<Error>().map(|error| *error) {
            Ok(error @ Error::Utf8(_)) => {
                Self::said(close_code::INVALID, "a text frame was not UTF-8", &error)
            }
            Ok(Error::Capacity(_)) => Self::said(
                close_code::SIZE,
                "a frame was too large",
                &format!("frame too large: the limit is {MAX_FRAME_BYTES} bytes"),
            ),
            Ok(error @ Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                Self::gone(LOST, error)
            }
            Ok(error @ Error::Protocol(_)) => {
                Self::said(close_code::PROTOCOL, "the WebSocket protocol was violated", &error)
            }
            Ok(error) => Self::gone(LOST, error),
            Err(error) => Self::gone(LOST, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wrote_is_in_no_info_line() {
        let error = frame::decode(Frame::Text(r#"{"offer": "Ann's secret"}"#)).unwrap_err();
        assert!(error.to_string().contains("Ann's secret"), "{error}");
        let end = End::of_frame(&error);
        assert!(!end.cause.contains("secret"), "{}", end.cause);
        assert!(end.detail.contains("secret"));
        assert!(end.close.unwrap().reason.len() <= MAX_REASON_BYTES);
    }
}
