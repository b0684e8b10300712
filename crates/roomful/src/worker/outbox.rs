//! What a worker has to say on one connection, until the connection's task has written it.

use std::sync::{Arc, OnceLock};

use livekit_protocol::SignalResponse;
use roomful_sfu::frame::{self, Encoding, FrameError};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::websocket::Outbound;

/// Messages that may wait for one connection. A newcomer to a room of hundreds causes bursts of
/// some tens; more than this waits only for a client that does not read. Larger, and a dead client
/// holds more memory; smaller, and a hiccup of a phone's network costs it the connection.
const OUTBOX_CAPACITY: usize = 512;

/// One thing for the connection's task to do.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Write this message.
    Message(Box<SignalResponse>),
    /// Write this message, which others are told, too.
    Shared(Arc<SharedMessage>),
    /// Ask for a sign of life.
    Ping,
    /// Close the connection; nothing follows.
    Close(CloseCause),
}

/// Why the worker wants a connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCause {
    /// The core is done with it: the participant left, was removed, or was never let in.
    Finished,
    /// Its client reads too slowly.
    TooSlow,
}

/// Why a message cannot be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// Too much waits already: the client reads too slowly.
    Full,
    /// The connection's task has ended.
    Gone,
}

/// The worker's end. Bounded and lossless: full, it ends the connection. Dropping it ends the
/// connection, too, after all that was sent.
pub(crate) struct Outbox {
    messages: mpsc::Sender<Outgoing>,
    /// Room for the last word, set aside so that it fits into a full outbox.
    last: mpsc::OwnedPermit<Outgoing>,
}

/// A new outbox and the end its connection's task reads. `None` cannot happen with a capacity
/// above zero.
pub(crate) fn outbox() -> Option<(Outbox, mpsc::Receiver<Outgoing>)> {
    let (messages, receiver) = mpsc::channel(OUTBOX_CAPACITY + 1);
    let last = messages.clone().try_reserve_owned().ok()?;
    Some((Outbox { messages, last }, receiver))
}

impl Outbox {
    /// Queues `message`.
    ///
    /// # Errors
    /// It cannot be queued: the connection is to be forgotten, and closed if it still exists.
    pub(crate) fn send(&self, message: Box<SignalResponse>) -> Result<(), SendError> {
        self.queue(Outgoing::Message(message))
    }

    /// Queues a message that others are told, too.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub(crate) fn send_shared(&self, message: &Arc<SharedMessage>) -> Result<(), SendError> {
        self.queue(Outgoing::Shared(Arc::clone(message)))
    }

    /// Queues a ping, if there is room: lossy.
    pub(crate) fn ping(&self) {
        let _ = self.messages.try_send(Outgoing::Ping);
    }

    /// Queues the end.
    pub(crate) fn close(self, cause: CloseCause) {
        self.last.send(Outgoing::Close(cause));
    }

    fn queue(&self, outgoing: Outgoing) -> Result<(), SendError> {
        self.messages.try_send(outgoing).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Closed(_) => SendError::Gone,
        })
    }
}

/// One message for many connections, encoded by the first that writes it, on a thread that carries no media.
#[derive(Debug)]
pub(crate) struct SharedMessage {
    message: SignalResponse,
    protobuf: OnceLock<Outbound>,
    json: OnceLock<Outbound>,
}

impl SharedMessage {
    pub(crate) fn new(message: SignalResponse) -> Self {
        Self { message, protobuf: OnceLock::new(), json: OnceLock::new() }
    }

    /// The message as a frame; all that are encoded alike share their bytes.
    ///
    /// # Errors
    /// As [`frame::encode`].
    pub(crate) fn frame(&self, encoding: Encoding) -> Result<Outbound, FrameError> {
        let known = match encoding {
            Encoding::Protobuf => &self.protobuf,
            Encoding::Json => &self.json,
        };
        if let Some(frame) = known.get() {
            return Ok(frame.clone());
        }
        // Two may be first at once; then one of them has encoded in vain.
        let frame = frame::encode(&self.message, encoding)?;
        Ok(known.get_or_init(|| frame.into()).clone())
    }
}

#[cfg(test)]
mod tests {
    use roomful_sfu::frame::EncodedFrame;

    use super::*;

    #[test]
    fn a_full_outbox_still_takes_the_last_word() {
        let (outbox, mut receiver) = outbox().unwrap();
        let mut sent = 0;
        while outbox.send(Box::default()).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, OUTBOX_CAPACITY);
        assert_eq!(outbox.send(Box::default()), Err(SendError::Full));
        outbox.close(CloseCause::TooSlow);
        for _ in 0..OUTBOX_CAPACITY {
            assert!(matches!(receiver.try_recv(), Ok(Outgoing::Message(_))));
        }
        assert!(matches!(receiver.try_recv(), Ok(Outgoing::Close(CloseCause::TooSlow))));
        assert!(matches!(receiver.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
    }

    #[test]
    fn a_shared_message_is_encoded_once_for_each_encoding() {
        let message = SharedMessage::new(SignalResponse {
            message: Some(livekit_protocol::signal_response::Message::Pong(7)),
        });
        for (encoding, expected) in [
            (Encoding::Protobuf, EncodedFrame::Binary(vec![0x90, 0x01, 7])),
            (Encoding::Json, EncodedFrame::Text(r#"{"pong":"7"}"#.into())),
        ] {
            let first = message.frame(encoding).unwrap();
            assert_eq!(first, expected.into());
            let again = message.frame(encoding).unwrap();
            assert_eq!(first.payload().as_ptr(), again.payload().as_ptr(), "the same bytes");
        }
    }

    #[test]
    fn a_connection_that_is_gone_is_not_called_slow() {
        let (outbox, receiver) = outbox().unwrap();
        drop(receiver);
        assert_eq!(outbox.send(Box::default()), Err(SendError::Gone));
    }
}
