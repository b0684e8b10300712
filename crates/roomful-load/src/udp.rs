//! One UDP socket for each virtual participant: servers tell participants apart by where
//! their datagrams come from.

mod syscall;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Stamp;
pub(crate) use syscall::{Receiver, raise_file_limit};

/// Receive buffer in bytes: over a second of a 2.3 Mb/s stage as the kernel counts it (about twice the
/// payload), so that what is lost is the server's doing. Smaller, and a busy generator loses packets
/// it then blames on the server.
const RECEIVE_BUFFER: i32 = 1 << 20;

/// Most datagrams one `sendmsg` may carry (`UDP_MAX_SEGMENTS` of Linux before 6.9).
pub(crate) const MAX_SEGMENTS: usize = 64;

/// Most bytes of one segmented `sendmsg`: what fits into an IPv4 packet.
pub(crate) const MAX_SEGMENTED_BYTES: usize = 65_000;

/// What one receive call found: one datagram, or several that the kernel coalesced.
pub(crate) struct Message<'a> {
    pub(crate) bytes: &'a mut [u8],
    /// Length of each datagram but the last; zero if there is only one.
    pub(crate) segment: usize,
    /// When the kernel took the first of them in.
    pub(crate) arrived: Option<Stamp>,
}

impl Message<'_> {
    /// Its datagrams.
    pub(crate) fn datagrams(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let length = if self.segment == 0 { self.bytes.len().max(1) } else { self.segment };
        self.bytes.chunks_mut(length)
    }
}

/// Opens a socket on a port of the system's choice. It can talk to both families of addresses where the
/// system has both; [`select`] then decides for one address.
///
/// # Errors
/// As the system says: no descriptors left.
pub(crate) fn open() -> io::Result<UdpSocket> {
    let (socket, any) = match Socket::new(Domain::IPV6, Type::DGRAM.nonblocking(), UDP) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            (socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
        }
        Err(_) => {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), UDP)?;
            (socket, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
        }
    };
    // The forcing variant ignores the system's cap; it needs CAP_NET_ADMIN.
    syscall::set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)
        .or_else(|_| socket.set_recv_buffer_size(RECEIVE_BUFFER as usize))?;
    syscall::set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    // A kernel without it hands over datagrams one by one.
    let _refused = syscall::set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
    socket.bind(&any.into())?;
    Ok(socket.into())
}

const UDP: Option<Protocol> = Some(Protocol::UDP);

/// Exchanges datagrams with this address alone from now on.
///
/// # Errors
/// As the system says: no route.
pub(crate) fn select(socket: &UdpSocket, server: SocketAddr) -> io::Result<()> {
    socket.connect(as_known_to(socket, server))
}

/// Sends before an address is selected.
///
/// # Errors
/// As the system says: no route, or the family is not to be had.
pub(crate) fn send_to(socket: &UdpSocket, bytes: &[u8], server: SocketAddr) -> io::Result<usize> {
    socket.send_to(bytes, as_known_to(socket, server))
}

/// A socket for both families knows IPv4 addresses in mapped form (RFC 4291 §2.5.5.2).
fn as_known_to(socket: &UdpSocket, address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if socket.local_addr().is_ok_and(|local| local.is_ipv6()) => {
            SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()))
        }
        other => other,
    }
}

/// Sends datagrams of equal length (the last may be shorter) that stand one after another in `bytes`.
///
/// # Errors
/// As the system says for the first batch it did not take.
pub(crate) fn send_batch(socket: &UdpSocket, bytes: &[u8], segment: usize) -> io::Result<()> {
    let Ok(length) = u16::try_from(segment) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let batch = (MAX_SEGMENTED_BYTES / segment.max(1)).clamp(1, MAX_SEGMENTS) * segment.max(1);
    for part in bytes.chunks(batch) {
        syscall::send_segments(socket, part, length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_segmented_batch_arrives_whole_in_order_and_stamped() {
        let (sender, receiver) = pair();
        let bytes: Vec<u8> = (0..8u8).flat_map(|index| [index; 1000]).collect();
        let before = Stamp::now();
        send_batch(&sender, &bytes, 1000).unwrap();
        let received = receive(&receiver, 8);
        assert_eq!(received.len(), 8);
        for (index, (datagram, arrived)) in received.iter().enumerate() {
            assert_eq!(*datagram, vec![index as u8; 1000]);
            let age = arrived.expect("a kernel timestamp").nanos_since(before);
            assert!((0..5_000_000_000).contains(&age), "{age} ns");
        }
    }

    #[test]
    fn more_segments_than_one_call_takes_are_sent_in_several() {
        let (sender, receiver) = pair();
        let bytes = vec![7; 150 * 200];
        send_batch(&sender, &bytes, 200).unwrap();
        assert_eq!(receive(&receiver, 150).len(), 150);
    }

    fn pair() -> (UdpSocket, UdpSocket) {
        let passive = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let active = open().unwrap();
        select(&active, passive.local_addr().unwrap()).unwrap();
        let port = active.local_addr().unwrap().port();
        passive.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        (passive, active)
    }

    fn receive(socket: &UdpSocket, count: usize) -> Vec<(Vec<u8>, Option<Stamp>)> {
        let mut receiver = Receiver::new();
        let mut received = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while received.len() < count && Instant::now() < deadline {
            let _empty = receiver.receive(socket, |mut message| {
                let arrived = message.arrived;
                received.extend(message.datagrams().map(|bytes| (bytes.to_vec(), arrived)));
            });
        }
        received
    }
}
