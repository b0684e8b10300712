//! One WebSocket ⇄ one worker: frames in, mails out; messages in, frames out.
//!
//! A connection ends in exactly one place, [`Connection::run`], whoever ends it; the worker always
//! hears of it.

use std::fmt::Display;
use std::time::Duration;

use roomful_sfu::frame::{self, Encoding, Frame, FrameError, MAX_FRAME_BYTES};
use roomful_sfu::ids::ConnectionId;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use crate::websocket::{Outbound, Socket};
use crate::worker::{CloseCause, Mail, Outgoing, WorkerHandle};

/// Longest time one frame may wait for a client that does not read. Longer holds the memory of
/// the dead; shorter drops those who cross a tunnel.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the other side's half of the closing handshake (RFC 6455 §7.1.1).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest reason in a close frame, in bytes (RFC 6455 §5.5 leaves 123 beside the code).
const MAX_REASON_BYTES: usize = 123;

/// One participant's connection.
pub(crate) struct Connection {
    id: ConnectionId,
    socket: Socket,
    worker: WorkerHandle,
    outgoing: mpsc::Receiver<Outgoing>,
    encoding: Encoding,
}

impl Connection {
    /// What the worker has to say comes out of `outgoing`.
    pub(crate) fn new(
        id: ConnectionId,
        socket: Socket,
        worker: WorkerHandle,
        outgoing: mpsc::Receiver<Outgoing>,
    ) -> Self {
        Self { id, socket, worker, outgoing, encoding: Encoding::default() }
    }
}

/// Tells the worker of a newcomer and serves its connection until either side ends it; `held` is dropped then.
///
/// Not an `async fn`: those keep a copy of their arguments beside what they make of them, for every connection as long as
/// it lasts.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(crate) fn serve(
    mut this: Connection,
    join: Mail,
    held: impl Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    async move {
        tracing::info!(connection = this.id.0, "connection opened");
        let end = match this.worker.send(join).await {
            Ok(()) => this.run().await,
            Err(_) => End::SHUTTING_DOWN,
        };
        tracing::info!(connection = this.id.0, reason = end.cause, "connection closed");
        if !end.detail.is_empty() {
            tracing::debug!(connection = this.id.0, detail = end.detail, "connection closed");
        }
        // Before the farewell, which may take its time: the worker shall know at once.
        let _ = this.worker.send(Mail::Disconnect { connection: this.id }).await;
        if let Some(close) = end.close {
            this.farewell(close).await;
        }
        drop(held);
    }
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
        received: Option<Result<Message, tungstenite::Error>>,
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
            // Single frames are for writing only.
            Message::Frame(_) => return Ok(()),
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
            Some(Outgoing::Message(message)) => {
                let frame = frame::encode(&message, self.encoding).map(Outbound::from);
                drop(message);
                self.write_encoded(frame).await
            }
            Some(Outgoing::Shared(message)) => {
                let frame = message.frame(self.encoding);
                drop(message);
                self.write_encoded(frame).await
            }
            Some(Outgoing::Ping) => self.write(Outbound::ping()).await,
            Some(Outgoing::Close(CloseCause::Finished)) => {
                Err(End::said(CloseCode::Normal, "finished", &"finished"))
            }
            Some(Outgoing::Close(CloseCause::TooSlow)) => {
                let reason = "too many messages wait: read faster";
                Err(End::said(CloseCode::Policy, "reads too slowly", &reason))
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

    async fn write_encoded(&mut self, frame: Result<Outbound, FrameError>) -> Result<(), End> {
        match frame {
            Ok(frame) => self.write(frame).await,
            Err(error) => Err(End::said(CloseCode::Error, "a message cannot be encoded", &error)),
        }
    }

    async fn write(&mut self, frame: Outbound) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::gone("the client cannot be written to", &error)),
            Err(_) => Err(End::gone("the client does not read", "")),
        }
    }

    /// Closes politely: says why and reads what is still on its way, so that the reason is not
    /// overtaken by a reset of the connection.
    async fn farewell(&mut self, close: CloseFrame) {
        let goodbye = async {
            if self.socket.close(close).await.is_ok() {
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
            code: CloseCode::Away,
            reason: Utf8Bytes::from_static("the server is shutting down"),
        }),
    };

    /// There is nobody to tell.
    fn gone(cause: &'static str, detail: impl Display) -> Self {
        Self { cause, detail: detail.to_string(), close: None }
    }

    /// The client is told `reason`, as much of it as fits.
    fn said(code: CloseCode, cause: &'static str, reason: &impl Display) -> Self {
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
            FrameError::TooLarge { .. } => (CloseCode::Size, "a frame was too large"),
            FrameError::Json(_) => (CloseCode::Invalid, "a text frame was not JSON of a request"),
            FrameError::Protobuf(_) => {
                (CloseCode::Invalid, "a binary frame was not protobuf of a request")
            }
            FrameError::UnknownKind => (CloseCode::Invalid, "a request was of an unknown kind"),
        };
        Self::said(code, cause, error)
    }

    /// What the WebSocket itself refused, before it was a frame.
    fn of_transport(error: tungstenite::Error) -> Self {
        use tungstenite::Error;
        use tungstenite::error::ProtocolError;
        const LOST: &str = "the connection broke";
        match error {
            Error::Utf8(_) => Self::said(CloseCode::Invalid, "a text frame was not UTF-8", &error),
            Error::Capacity(_) => Self::said(
                CloseCode::Size,
                "a frame was too large",
                &format!("frame too large: the limit is {MAX_FRAME_BYTES} bytes"),
            ),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::gone(LOST, error),
            Error::Protocol(_) => {
                Self::said(CloseCode::Protocol, "the WebSocket protocol was violated", &error)
            }
            _ => Self::gone(LOST, error),
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
