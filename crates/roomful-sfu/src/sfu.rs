//! `Sfu` owns every room of one worker and is driven by five verbs.

use std::net::SocketAddr;
use std::time::Instant;

use livekit_protocol::SignalRequest;

use crate::ids::ConnectionId;
use crate::join::JoinAttempt;
use crate::output::Output;

/// One incoming datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// The local address it arrived at (never the unspecified address).
    pub destination: SocketAddr,
    /// UDP payload.
    pub payload: &'a [u8],
}

/// An address on which this worker receives media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaAddress {
    /// What clients are told (an ICE host candidate): differs from `local` behind a 1:1 NAT.
    pub advertised: SocketAddr,
    /// The address the datagrams carry when they arrive here.
    pub local: SocketAddr,
}

/// What a worker's core needs to know before it starts.
#[derive(Debug, Clone)]
pub struct SfuConfig {
    /// Where media arrives.
    pub media_addresses: Vec<MediaAddress>,
}

/// Decides every random choice of one core: sids, SSRCs, ICE credentials.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub u64);

/// The rooms of one worker. Every call must be followed by a full drain of [`Sfu::poll_output`].
#[derive(Debug)]
pub struct Sfu {
    now: Instant,
}

impl Sfu {
    /// A core without rooms.
    pub fn new(_config: SfuConfig, _seed: Seed, now: Instant) -> Self {
        Self { now }
    }

    /// A client opened `connection` and asks to join (or resume); the token was verified.
    pub fn handle_join(&mut self, _connection: ConnectionId, _attempt: JoinAttempt, now: Instant) {
        self.now = now;
    }

    /// A signalling message arrived.
    pub fn handle_message(&mut self, _from: ConnectionId, _message: SignalRequest, now: Instant) {
        self.now = now;
    }

    /// The connection proves its other end alive (a WebSocket pong, any frame).
    pub fn handle_alive(&mut self, _connection: ConnectionId, now: Instant) {
        self.now = now;
    }

    /// The connection is gone, however that came.
    pub fn handle_disconnect(&mut self, _connection: ConnectionId, now: Instant) {
        self.now = now;
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, _datagram: Datagram<'_>, now: Instant) {
        self.now = now;
    }

    /// The instant of the last [`Output::Timeout`] has come, or any later one.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
    }

    /// The server stops: everyone is told and every connection closed.
    pub fn handle_shutdown(&mut self, now: Instant) {
        self.now = now;
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        Output::Timeout(self.now + std::time::Duration::from_secs(3600))
    }
}
