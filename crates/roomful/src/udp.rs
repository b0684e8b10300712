//! One UDP socket of a media worker: datagrams in and out in batches, each with its true addresses.
//!
//! The cost of a forwarded packet is the trip through the kernel's stack, not the system call around
//! it, so datagrams of one destination leave as one segmented buffer (GSO) and arrive the same way
//! (GRO). [`UdpSocket`] receives; [`SendQueue`] hands what the core wrote into its
//! [`roomful_sfu::transmit::TransmitBuffer`] over in one `sendmmsg`. Neither allocates once it is set up.
//!
//! Addresses that cross this boundary are canonical: IPv4 is always written as IPv4, also when the
//! socket is a dual-stack one to which the kernel shows it as `::ffff:a.b.c.d`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

#[cfg(feature = "measure")]
#[cfg(test)]
mod measure;
#[cfg(any(test, not(target_os = "linux")))]
mod plain;
mod queue;
#[cfg(target_os = "linux")]
mod syscall;
#[cfg(test)]
mod tests;

#[cfg(not(target_os = "linux"))]
use plain as system;
#[cfg(target_os = "linux")]
use syscall as system;

pub(crate) use queue::SendQueue;

/// What the kernel is asked to hold of arrived datagrams, in bytes.
///
/// A kilobyte packet occupies about 2.3 KB of kernel memory and the kernel doubles what it is asked
/// for, so this is some 3,600 packets: 36 ms at 100,000 packets per second. Less, and a worker that
/// is scheduled out for one time slice loses media; more, and an overloaded worker shows as seconds of delay
/// instead of loss, which congestion control reacts to. The system caps it (`net.core.rmem_max`)
/// for a process without `CAP_NET_ADMIN`; idle, it costs nothing.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What the kernel is asked to hold of datagrams the network device has not taken yet, in bytes.
///
/// Less, and the burst of one wake (a keyframe to every subscriber) overflows it; more, and a
/// saturated device queues old media in front of new. Capped by `net.core.wmem_max` likewise.
const SEND_BUFFER: usize = 4 << 20;

/// Complaints about earlier datagrams that one read skips. Each is reported once, so a burst of
/// them is as long as a burst of sends; smaller, and reading pauses after a burst to clients that
/// have gone; larger only matters to a system that repeats itself, which would hold the worker.
const MAX_COMPLAINTS: usize = 1024;

/// A non-blocking UDP socket that receives in batches and knows the local address of each datagram.
///
/// Register it with `mio` for readability; readiness is edge-triggered, so read until
/// [`UdpSocket::recv_batch`] says that it is drained.
pub(crate) struct UdpSocket {
    socket: std::net::UdpSocket,
    local: SocketAddr,
    family: Family,
    segmentation: bool,
    receiver: system::Receiver,
    truncated: u64,
}

impl UdpSocket {
    /// Binds to `address`; port 0 picks a free one.
    ///
    /// `[::]` takes IPv4 and IPv6 on one socket; where the machine has no IPv6 it becomes `0.0.0.0`.
    ///
    /// # Errors
    /// Whatever the system says, with the address in the message: the port is taken, the address
    /// is not one of this machine, no more file descriptors.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_exactly(address)
            .or_else(|error| match address {
                SocketAddr::V6(v6) if v6.ip().is_unspecified() && lacks_ipv6(&error) => {
                    Self::bind_exactly(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), v6.port()))
                }
                SocketAddr::V4(_) | SocketAddr::V6(_) => Err(error),
            })
            .map_err(|error| {
                io::Error::new(error.kind(), format!("cannot bind UDP {address}: {error}"))
            })
    }

    /// The address the socket is bound to, with its real port; unspecified if it was bound so.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams that did not fit a receive buffer and were thrown away, since the socket was bound.
    #[cfg_attr(not(test), expect(dead_code, reason = "a figure for the metrics page to come"))]
    pub(crate) fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Receives what one `recvmmsg` yields and calls `each` with source, local destination and
    /// payload of every datagram, in order of arrival. The payload may be overwritten.
    ///
    /// The destination is the address the sender wrote, never the wildcard (except on systems that cannot tell).
    /// Complaints of the network about earlier datagrams (ICMP) are no error: whoever is gone is
    /// noticed by its silence.
    ///
    /// # Errors
    /// The system could not deliver. [`is_fatal`] says whether the socket is unusable; otherwise
    /// datagrams may wait that readiness will not report again, so read again a little later.
    pub(crate) fn recv_batch(
        &mut self,
        mut each: impl FnMut(SocketAddr, SocketAddr, &mut [u8]),
    ) -> io::Result<Received> {
        let mut complaints = 0;
        loop {
            match self.receiver.receive(&self.socket, self.local, &mut each) {
                Ok(received) => {
                    self.truncated += received.truncated as u64;
                    return Ok(received);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Received { drained: true, ..Received::default() });
                }
                Err(error)
                    if is_about_an_earlier_datagram(&error) && complaints < MAX_COMPLAINTS =>
                {
                    complaints += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn bind_exactly(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if let SocketAddr::V6(v6) = address {
            // Explicit, because the system's default is a sysctl.
            socket.set_only_v6(!v6.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        let segmentation = system::configure(&socket, address.into())?;
        socket.bind(&address.into())?;
        let socket = std::net::UdpSocket::from(socket);
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            local,
            family: address.into(),
            segmentation,
            receiver: system::Receiver::new(),
            truncated: 0,
        })
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl mio::event::Source for UdpSocket {
    fn register(&mut self, to: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).register(to, token, interests)
    }

    fn reregister(&mut self, to: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).reregister(to, token, interests)
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(from)
    }
}

/// Which kind of addresses a socket speaks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// IPv4 only.
    V4,
    /// IPv6, and IPv4 as `::ffff:a.b.c.d`.
    V6,
}

impl From<SocketAddr> for Family {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }
}

/// What one receive call yielded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Datagrams passed on.
    pub(crate) datagrams: usize,
    /// Datagrams thrown away because they did not fit.
    truncated: usize,
    /// The socket held no more: whatever comes now is reported by readiness.
    pub(crate) drained: bool,
}

/// Asks the system to let the calling thread, a media worker, run soon when something arrives, although others want the
/// same processor. Best effort: a system that cannot does not.
pub(crate) fn be_prompt() {
    if let Err(error) = system::shorten_time_slice() {
        tracing::debug!(%error, "the system treats a media worker like any other thread");
    }
}

/// Whether a failed receive says that the socket cannot be used. Everything else (no memory, no
/// buffers, whatever a system thinks of) passes, and a worker that ends takes its calls along.
pub(crate) fn is_fatal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::EFAULT | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP)
    )
}

/// The same address with IPv4 written as IPv4, and without the parts of IPv6 that do not identify.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, v6.port())),
            None => {
                let scope = if v6.ip().is_unicast_link_local() { v6.scope_id() } else { 0 };
                SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope))
            }
        },
    }
}

/// Whether binding `[::]` failed for want of IPv6, as opposed to a taken port.
fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)
    )
}

/// Whether the system only passes on what happened to something sent before, or was interrupted.
fn is_about_an_earlier_datagram(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::ECONNRESET
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EINTR
                | libc::EMSGSIZE
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::ENOPROTOOPT
                | libc::EPROTO
        )
    )
}

/// Whether a datagram with this source can say so: it is a concrete address of the kind in use.
fn names_a_source(source: IpAddr, destination: IpAddr) -> bool {
    !source.is_unspecified() && source.is_ipv4() == destination.is_ipv4()
}
