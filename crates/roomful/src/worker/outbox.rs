//! What a worker has to say on one connection, until the connection's task has written it.

use livekit_protocol::SignalResponse;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Messages that may wait for one connection. A newcomer to a room of hundreds causes bursts of
/// some tens; more than this waits only for a client that does not read. Larger, and a dead client
/// holds more memory; smaller, and a hiccup of a phone's network costs it the connection.
const OUTBOX_CAPACITY: usize = 512;

/// One thing for the connection's task to do.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Write this message.
    Message(Box<SignalResponse>),
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
        self.messages.try_send(Outgoing::Message(message)).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Closed(_) => SendError::Gone,
        })
    }

    /// Queues a ping, if there is room: lossy.
    pub(crate) fn ping(&self) {
        let _ = self.messages.try_send(Outgoing::Ping);
    }

    /// Queues the end.
    pub(crate) fn close(self, cause: CloseCause) {
        self.last.send(Outgoing::Close(cause));
    }
}

#[cfg(test)]
mod tests {
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
    fn a_connection_that_is_gone_is_not_called_slow() {
        let (outbox, receiver) = outbox().unwrap();
        drop(receiver);
        assert_eq!(outbox.send(Box::default()), Err(SendError::Gone));
    }
}
