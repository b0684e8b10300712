//! A media worker: one plain thread that owns one core, one UDP socket and some rooms.
//!
//! Everything that reaches the core of a worker comes in through its socket or its mailbox, so
//! nothing in it is locked. The mailbox is bounded and lossless: a sender waits while it is full,
//! which slows its WebSocket down and nobody else's (waiters are served in turn). What leaves for
//! a connection goes into its [`Outbox`], where the worker never waits.

use std::io;
use std::sync::Arc;

use livekit_protocol::{Job, SignalRequest};
use mio::Waker;
use roomful_sfu::administration::{Administration, AdministrationError, ForwardParticipant, Reply};
use roomful_sfu::ids::ConnectionId;
use roomful_sfu::join::JoinAttempt;
use roomful_sfu::link::LinkId;
use roomful_sfu::{Seed, SfuConfig};
use tokio::sync::{mpsc, oneshot};

use links::LinkEnd;
pub(crate) use links::Neighbours;
pub(crate) use outbox::{CloseCause, Outbox, Outgoing, SharedMessage, outbox};

use crate::agents::AgentsHandle;
use crate::lanes::{NewLane, Ufrags};
use crate::placement::{Directory, Seat, WorkerIndex};
use crate::udp::{self, UdpSocket};
use crate::webhook::Notices;
use event_loop::EventLoop;

mod event_loop;
mod lanes;
mod links;
mod outbox;
mod readiness;

/// Mails that may wait for a worker. More, and a stalled worker hides it for longer; fewer, and a
/// room whose every member reports at once makes connections wait for each other.
const MAILBOX_CAPACITY: usize = 1024;

/// What the connections of a worker's rooms tell it.
pub(crate) enum Mail {
    /// A connection was opened and asks to join.
    Join {
        /// The new connection.
        connection: ConnectionId,
        /// Who wants to join which room.
        attempt: Box<JoinAttempt>,
        /// Where the answers go.
        outbox: Outbox,
        /// The worker on which the room began.
        home: WorkerIndex,
    },
    /// A worker begins a part of a room that lives here, or has a guest for one.
    Link {
        /// The end here, by name.
        link: LinkId,
        /// The end itself.
        end: Box<LinkEnd>,
    },
    /// A connection sent a message.
    Message {
        /// Its sender.
        from: ConnectionId,
        /// What it says.
        message: Box<SignalRequest>,
    },
    /// A connection showed a sign of life.
    Alive {
        /// The connection that lives.
        connection: ConnectionId,
    },
    /// A connection is gone.
    Disconnect {
        /// The connection that was.
        connection: ConnectionId,
    },
    /// The server API asks something.
    Administer {
        /// What it asks.
        what: Box<Administration>,
        /// Where the answer goes; whoever asked may be gone by then.
        reply: Answer,
    },
    /// The server API wishes that a participant of a room here is a guest in another.
    Forward {
        /// Who, and where.
        what: Box<ForwardParticipant>,
        /// The worker on which the other room began.
        home: WorkerIndex,
        /// Where the answer goes; whoever asked may be gone by then.
        reply: Answer,
    },
    /// A room is to know how a job is that it asked for.
    Job(Box<Job>),
    /// A TCP connection for media of one of its transports was opened.
    Lane(Box<NewLane>),
    /// End every call and the worker.
    Shutdown,
}

/// Where the answer to the server API goes.
pub(crate) type Answer = oneshot::Sender<Result<Reply, AdministrationError>>;

/// What a worker needs to start.
pub(crate) struct WorkerSeed {
    /// Its position among the workers.
    pub(crate) index: WorkerIndex,
    /// The others.
    pub(crate) neighbours: Arc<Neighbours>,
    /// Where its rooms and its load are known.
    pub(crate) directory: Arc<Directory>,
    /// Where it is told which ICE user names are its own.
    pub(crate) ufrags: Arc<Ufrags>,
    /// Where its rooms' media arrives.
    pub(crate) socket: UdpSocket,
    /// What its core needs to know.
    pub(crate) sfu: SfuConfig,
    /// Decides its random choices.
    pub(crate) seed: Seed,
    /// Where what happens is told, if anybody listens.
    pub(crate) notices: Option<Notices>,
    /// Whom its rooms ask for agents.
    pub(crate) agents: AgentsHandle,
}

/// A mail on its way.
pub(crate) struct Envelope {
    mail: Mail,
    /// Keeps the room of whom it concerns where it is until it was read.
    seat: Option<Arc<Seat>>,
}

/// How the rest of the program reaches a worker, which ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    index: WorkerIndex,
    // Dropped in this order: whoever is woken finds the mailbox without this sender.
    mailbox: mpsc::Sender<Envelope>,
    waker: Arc<WakeOnDrop>,
    /// The claim on a room there for which the worker was found.
    seat: Option<Arc<Seat>>,
}

/// The worker has ended and reads no mail.
#[derive(Debug, thiserror::Error)]
#[error("the media worker has ended")]
pub(crate) struct WorkerGone;

impl WorkerHandle {
    /// The same worker, found for the room of `seat`, which stays there while this handle or a mail it sent lives.
    pub(crate) fn for_seat(&self, seat: Arc<Seat>) -> Self {
        Self { seat: Some(seat), ..self.clone() }
    }

    /// The worker on which the room began for which this one was found; itself if it was found for none.
    pub(crate) fn home(&self) -> WorkerIndex {
        self.seat.as_ref().map_or(self.index, |seat| seat.home())
    }

    /// Delivers `mail`, after waiting for room in the mailbox if need be.
    pub(crate) async fn send(&self, mail: Mail) -> Result<(), WorkerGone> {
        let seat = self.seat.clone();
        self.mailbox.send(Envelope { mail, seat }).await.map_err(|_| WorkerGone)?;
        // It fails only where the worker's descriptors are gone, and the worker with them.
        self.waker.0.wake().map_err(|_| WorkerGone)
    }
}

/// Wakes the worker so that it notices that nobody can send mails any more.
struct WakeOnDrop(Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        if let Err(error) = self.0.wake() {
            tracing::debug!(%error, "cannot wake a worker");
        }
    }
}

/// How a worker ended.
#[derive(Debug)]
pub(crate) enum WorkerEnd {
    /// As asked.
    Finished,
    /// Its socket or its poll is unusable.
    Failed(io::Error),
    /// An error in this program; what and where is logged.
    Panicked,
}

/// Starts a worker on a thread of its own and reports its end, whatever its cause, to `ends`: a
/// call without its worker looks alive and is not.
pub(crate) fn spawn(
    seed: WorkerSeed,
    ends: mpsc::UnboundedSender<WorkerEnd>,
) -> io::Result<WorkerHandle> {
    let (mailbox, mails) = mpsc::channel(MAILBOX_CAPACITY);
    let index = seed.index;
    let name = format!("media-{}", seed.index.0);
    let (event_loop, waker) = EventLoop::new(seed, mails)?;
    std::thread::Builder::new().name(name).spawn(move || {
        let mut report = Report { ends, end: WorkerEnd::Panicked };
        udp::be_prompt();
        report.end = event_loop.run().map_or_else(WorkerEnd::Failed, |()| WorkerEnd::Finished);
    })?;
    Ok(WorkerHandle { index, mailbox, waker: Arc::new(WakeOnDrop(waker)), seat: None })
}

/// Sent when the thread ends, also by a panic.
struct Report {
    ends: mpsc::UnboundedSender<WorkerEnd>,
    end: WorkerEnd,
}

impl Drop for Report {
    fn drop(&mut self) {
        let _ = self.ends.send(std::mem::replace(&mut self.end, WorkerEnd::Panicked));
    }
}
