//! The ways that datagrams take between this server and its participants.

use std::net::SocketAddr;

/// What carries a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// One datagram in one packet.
    Udp,
    /// One after the other on a connection, each with its length before it (RFC 4571), which passes where UDP is
    /// blocked (ICE-TCP, RFC 6544).
    Tcp,
}

/// One address of this server's, one of a participant's, and what carries datagrams between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// What carries them.
    pub protocol: Protocol,
    /// The address here. Of what arrives, the one it arrived at, never the unspecified address; of what is sent, the one
    /// to send from, which may be unspecified or not of this machine (one that a NAT translates): then the system chooses.
    pub local: SocketAddr,
    /// The address there.
    pub remote: SocketAddr,
}

impl Route {
    /// Between these two, as UDP.
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { protocol: Protocol::Udp, local, remote }
    }

    /// Between these two, on a TCP connection.
    pub fn tcp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { protocol: Protocol::Tcp, local, remote }
    }

    /// The other end as whoever is reached by it is known: an address means something else in each protocol.
    pub fn far_end(self) -> (Protocol, SocketAddr) {
        (self.protocol, self.remote)
    }
}
