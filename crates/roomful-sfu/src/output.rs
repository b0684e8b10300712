//! What the core asks of its shell, as data.

use std::time::Instant;

use livekit_protocol::{SignalResponse, WebhookEvent};

use crate::administration::{AdministrationError, Reply, RequestId};
use crate::agents::AgentRequest;
use crate::ids::{ConnectionId, RoomName};
use crate::link::{LinkId, LinkMessage};

/// One thing for the shell to do. Drain with [`crate::Sfu::poll_output`] until [`Output::Timeout`]. Datagrams leave
/// by [`crate::Sfu::poll_transmits`].
#[derive(Debug)]
pub enum Output {
    /// Send this message on that connection. Lossless: a shell that cannot must close the connection.
    Message {
        /// The connection to send it on.
        connection: ConnectionId,
        /// The message, yet to be encoded as the connection's frames (protobuf or JSON).
        message: Box<SignalResponse>,
    },
    /// Send this one message on each of these connections, as [`Output::Message`]: large rooms are told the same, and
    /// whoever encodes it once for all saves most of what that costs.
    MessageToAll {
        /// The connections to send it on.
        connections: Vec<ConnectionId>,
        /// The message, yet to be encoded.
        message: Box<SignalResponse>,
    },
    /// Ask the other end of this connection for a sign of life, which comes back as [`crate::Sfu::handle_alive`].
    Ping {
        /// The connection.
        connection: ConnectionId,
    },
    /// Close that connection after everything sent on it so far; the core has forgotten it.
    Close {
        /// The connection to close.
        connection: ConnectionId,
    },
    /// Carry this to the other end of a link. Lossless and in order: a shell that cannot must close the link
    /// ([`crate::Sfu::handle_link_closed`] at both ends).
    Link {
        /// The link.
        link: LinkId,
        /// What to say.
        message: LinkMessage,
    },
    /// Close the link after everything said over it so far; the core has forgotten it.
    LinkClosed {
        /// The link.
        link: LinkId,
    },
    /// The answer to what [`crate::Sfu::administer`] was asked.
    Reply {
        /// What was asked.
        request: RequestId,
        /// How it went.
        outcome: Result<Reply, AdministrationError>,
    },
    /// Applications that listen are told this, in the order of the room it is about. Lossy: an application that does
    /// not listen holds nobody up.
    Notice(Box<WebhookEvent>),
    /// A transport answers at this ICE user name from now on: connections whose first check names it belong to this
    /// core.
    Reachable {
        /// The user name.
        ufrag: String,
    },
    /// Nobody answers at this ICE user name any more.
    Unreachable {
        /// The user name.
        ufrag: String,
    },
    /// A room asks something of the agencies ([`crate::agents::Agencies`]). Lossy: a room goes on without agents.
    Agents(AgentRequest),
    /// Something a log, a metric or a placement table wants to know.
    Event(SfuEvent),
    /// Nothing more now; call [`crate::Sfu::handle_timeout`] at this instant, if nothing comes before.
    Timeout(Instant),
}

/// Lifecycle of rooms, for logs and counters. No names of people: those stay out of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SfuEvent {
    /// A room began: somebody entered, or the server API made it.
    RoomStarted(RoomName),
    /// The room is over and forgotten.
    RoomEnded(RoomName),
}
