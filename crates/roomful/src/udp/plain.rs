//! The UDP path for systems without batched calls: datagram by datagram, through the standard library.
//!
//! Destination addresses are not known here: each datagram is reported as sent to the address the
//! socket is bound to. To serve several interfaces there, bind one socket to each.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::Socket;

use roomful_sfu::transmit::Piece;

use super::{Family, RECEIVE_BUFFER, Received, SEND_BUFFER, canonical};

/// Datagrams read per call, so that one busy socket does not starve timers; more make them late.
const RECEIVE_BUDGET: usize = 32;

/// The longest datagram UDP carries fits.
const RECEIVE_BYTES: usize = 1 << 16;

/// Prepares an unbound socket, as far as the system lets us. Nothing here segments.
#[expect(clippy::unnecessary_wraps, reason = "the same interface as on Linux, where it can fail")]
pub(super) fn configure(socket: &Socket, _family: Family) -> io::Result<bool> {
    socket
        .set_recv_buffer_size(RECEIVE_BUFFER)
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER))
        .unwrap_or_else(|error| tracing::debug!(%error, "the socket keeps its default buffers"));
    Ok(false)
}

/// There is no way to ask for it here.
#[cfg(not(target_os = "linux"))]
pub(super) fn shorten_time_slice() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Preallocated memory for receiving.
pub(super) struct Receiver {
    bytes: Vec<u8>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; RECEIVE_BYTES] }
    }

    /// Reads up to a budget of datagrams and passes source, `local` and payload of each on.
    ///
    /// # Errors
    /// As the system says about the first; `WouldBlock` if nothing waits.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        local: SocketAddr,
        each: &mut impl FnMut(SocketAddr, SocketAddr, &mut [u8]),
    ) -> io::Result<Received> {
        let mut received = Received::default();
        while received.datagrams < RECEIVE_BUDGET {
            match socket.recv_from(&mut self.bytes) {
                Ok((length, source)) => {
                    each(canonical(source), canonical(local), &mut self.bytes[..length]);
                    received.datagrams += 1;
                }
                Err(error) if received.datagrams > 0 => {
                    // Anything else that stopped us comes again with the next call, if it lasts.
                    received.drained = error.kind() == io::ErrorKind::WouldBlock;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(received)
    }
}

/// One datagram to send.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    /// Of no use here: the system chooses.
    pub(super) source: Option<SocketAddr>,
    pub(super) destination: SocketAddr,
    /// Always zero: nothing here segments.
    pub(super) segment: u16,
    /// Exactly one.
    pub(super) pieces: &'a [Piece],
}

/// Sends; holds nothing.
pub(super) struct Sender;

impl Sender {
    pub(super) fn with_capacity(_messages: usize) -> Self {
        Self
    }

    /// Sends `messages`, whose pieces lie in `bytes`, until the system takes no more. Returns how
    /// many it took, at least one.
    ///
    /// # Errors
    /// Why it did not take the first.
    pub(super) fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        family: Family,
        bytes: &[u8],
        messages: impl Iterator<Item = Message<'a>>,
    ) -> io::Result<usize> {
        let mut sent = 0;
        for message in messages {
            debug_assert!(message.segment == 0 && message.pieces.len() == 1, "nothing segments");
            tracing::trace!(source = ?message.source, "the system chooses the source address");
            for piece in message.pieces {
                let payload = &bytes[piece.range()];
                match socket.send_to(payload, as_seen_by(family, message.destination)) {
                    Ok(_) => sent += 1,
                    Err(_) if sent > 0 => return Ok(sent),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(sent)
    }
}

/// The address in the form a socket of this family understands.
fn as_seen_by(family: Family, address: SocketAddr) -> SocketAddr {
    match (family, address) {
        (Family::V6, SocketAddr::V4(v4)) => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        (Family::V4 | Family::V6, _) => address,
    }
}
