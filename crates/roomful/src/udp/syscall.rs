//! The Linux system calls of media workers, and the only unsafe code of the project.
//!
//! Safe on the outside: every pointer given to the kernel is made from a live borrow right before
//! the call and forgotten right after it.

#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and control messages have no safe interface that \
                                 neither allocates nor shares one control message among all datagrams, and \
                                 sched_setattr has none at all"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, c_uint, cmsghdr, iovec, mmsghdr, sockaddr_in, sockaddr_in6};
use roomful_sfu::transmit::Piece;
use socket2::Socket;

use super::{Family, RECEIVE_BUFFER, Received, SEND_BUFFER, canonical};

/// Messages one `recvmmsg` may take. More gain nothing (the call itself is then below 1 % of the cost
/// per message) and delay the forwarding of the first; fewer cost calls when packets arrive in bursts.
const RECEIVE_SLOTS: usize = 32;

/// The longest message the kernel hands over: with GRO, a whole IP packet's worth of segments. The
/// slots' memory is zero pages until a message is written there, and a packet touches one page.
const RECEIVE_SLOT_BYTES: usize = 1 << 16;

/// Prepares an unbound socket: buffer sizes, destination addresses and coalescing on receive.
///
/// Returns whether the kernel can segment what is sent (`UDP_SEGMENT`, Linux 4.18). A kernel that
/// does not know the option would send a whole batch as one datagram, so this has to be asked.
///
/// # Errors
/// If the kernel cannot report destination addresses. All else is best effort.
pub(super) fn configure(socket: &Socket, family: Family) -> io::Result<bool> {
    match family {
        Family::V4 => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
        Family::V6 => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
    }
    // The forcing variants ignore the system's cap; they need CAP_NET_ADMIN.
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER as c_int)
        .or_else(|_| socket.set_recv_buffer_size(RECEIVE_BUFFER))
        .and_then(|()| {
            set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER as c_int)
        })
        .or_else(|_| socket.set_send_buffer_size(SEND_BUFFER))
        .unwrap_or_else(|error| tracing::debug!(%error, "the socket keeps its default buffers"));
    if let Err(error) = set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1) {
        tracing::debug!(%error, "the kernel does not coalesce received datagrams");
    }
    // Zero is the default, "do not segment by yourself": setting it only asks whether it exists.
    Ok(set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok())
}

/// The time slice a media worker asks for, in nanoseconds: the least the kernel grants. It is a deadline
/// rather than a limit (EEVDF, Linux 6.12): a thread that wakes with a short slice goes before one in the middle of
/// a long one (2.8 ms by default), and has as large a share of the processor as before. Longer, and
/// media waits while the same core writes a roster to a hundred WebSockets; shorter is not to be had.
const TIME_SLICE: u64 = 100_000;

/// Asks the kernel to let the calling thread run soon when it wakes.
///
/// # Errors
/// As the system says. Kernels before 6.12 say nothing and change nothing.
pub(super) fn shorten_time_slice() -> io::Result<()> {
    // Everything else stays as whoever started the process wants it.
    let attributes = libc::sched_attr { sched_runtime: TIME_SLICE, ..scheduling()? };
    let (thread, flags): (c_int, c_uint) = (0, 0);
    // SAFETY: the pointer is to a `sched_attr` that says its own size and outlives the call, which only reads it; thread
    // 0 is the calling one.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attributes, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How the kernel schedules the calling thread.
fn scheduling() -> io::Result<libc::sched_attr> {
    // SAFETY: all zero bytes are a valid `sched_attr`: it holds only integers.
    let mut attributes: libc::sched_attr = unsafe { zeroed() };
    let (thread, flags): (c_int, c_uint) = (0, 0);
    let size = size_of::<libc::sched_attr>() as c_uint;
    let attributes_at = &raw mut attributes;
    // SAFETY: the pointer is to a `sched_attr` of the stated size, which outlives the call; thread 0 is the calling one.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, thread, attributes_at, size, flags) };
    if result == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

/// Preallocated memory for receiving.
pub(super) struct Receiver {
    bytes: Vec<u8>,
    slot_bytes: usize,
    names: Vec<Name>,
    controls: Vec<Control>,
    calls: CallArguments,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self::with_slots(RECEIVE_SLOTS, RECEIVE_SLOT_BYTES)
    }

    /// As [`Receiver::new`], for messages up to `slot_bytes` only.
    pub(super) fn with_slots(slots: usize, slot_bytes: usize) -> Self {
        Self {
            bytes: vec![0; slots * slot_bytes],
            slot_bytes,
            names: vec![Name::EMPTY; slots],
            controls: vec![Control::EMPTY; slots],
            calls: CallArguments::with_capacity(slots, slots),
        }
    }

    /// One `recvmmsg`: passes source, destination and payload of every datagram to `each`.
    ///
    /// # Errors
    /// As the system says; `WouldBlock` if nothing waits.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        local: SocketAddr,
        each: &mut impl FnMut(SocketAddr, SocketAddr, &mut [u8]),
    ) -> io::Result<Received> {
        let messages = self.call(socket)?;
        // The kernel stops early only where nothing is left, so to ask once more for the answer `EAGAIN`, as
        // readiness by edges seems to call for, would be a system call in vain: what comes later is an edge.
        let mut received = Received { drained: messages < self.names.len(), ..Received::default() };
        for index in 0..messages {
            let message = self.calls.headers[index];
            let slot = index * self.slot_bytes;
            let length = (message.msg_len as usize).min(self.slot_bytes);
            let lost = message.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
            let source = self.names[index].address();
            let (Some(source), false) = (source, lost) else {
                received.truncated += 1;
                continue;
            };
            let notes = Notes::read(&message.msg_hdr);
            let destination = notes.destination.unwrap_or(local.ip());
            let destination = with_scope(destination, local.port(), notes.interface);
            let payload = &mut self.bytes[slot..slot + length];
            received.datagrams += split(payload, notes.segment, |datagram| {
                each(canonical(source), canonical(destination), datagram);
            });
        }
        self.calls.clear();
        Ok(received)
    }

    /// Points the kernel at the slots; returns how many it filled.
    fn call(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let CallArguments { headers, pieces } = &mut self.calls;
        headers.clear();
        pieces.clear();
        for slot in self.bytes.chunks_exact_mut(self.slot_bytes) {
            pieces.push(iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() });
        }
        let memory = pieces.iter_mut().zip(&mut self.names).zip(&mut self.controls);
        for ((piece, name), control) in memory {
            let mut message = blank_message();
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = ptr::from_mut(name).cast();
            message.msg_hdr.msg_namelen = size_of::<Name>() as _;
            message.msg_hdr.msg_control = ptr::from_mut(control).cast();
            message.msg_hdr.msg_controllen = Control::CAPACITY as _;
            headers.push(message);
        }
        // SAFETY: each header points at a name, a control buffer, one iovec and through it a slot,
        // all distinct, owned by `self`, of the stated lengths, and untouched until the call
        // returns. A null timeout is allowed.
        let filled = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(filled).map_err(|_| io::Error::last_os_error())
    }
}

/// One message to send: one datagram, or several that the kernel cuts apart.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    /// Address to send from; the kernel chooses if there is none.
    pub(super) source: Option<SocketAddr>,
    pub(super) destination: SocketAddr,
    /// Where to cut; zero for not at all.
    pub(super) segment: u16,
    /// What to send, in order.
    pub(super) pieces: &'a [Piece],
}

/// Preallocated memory for describing messages to the kernel.
pub(super) struct Sender {
    names: Vec<Name>,
    controls: Vec<Control>,
    calls: CallArguments,
}

impl Sender {
    /// Room for that many messages, and as many payloads in all; more cost an allocation.
    pub(super) fn with_capacity(messages: usize) -> Self {
        Self {
            names: Vec::with_capacity(messages),
            controls: Vec::with_capacity(messages),
            calls: CallArguments::with_capacity(messages, messages),
        }
    }

    /// One `sendmmsg` of all `messages`, whose pieces lie in `bytes`. Returns how many of them the
    /// kernel took, at least one.
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
        self.names.clear();
        self.controls.clear();
        self.calls.clear();
        for message in messages {
            // The first undescribable one is an error of its own, when its turn comes.
            match self.describe(family, bytes, message) {
                Err(error) if self.calls.headers.is_empty() => return Err(error),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        self.link();
        let headers = &mut self.calls.headers;
        // SAFETY: each header points at a name, a control buffer and iovecs owned by `self`, in
        // vectors that grow no more after `link`, with the lengths those have; the iovecs point
        // into `bytes`, borrowed until after the call. The kernel writes only `msg_len`.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as _,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error());
        self.calls.clear();
        sent
    }

    /// Appends everything about a message but the pointers between its parts.
    fn describe(&mut self, family: Family, bytes: &[u8], message: Message<'_>) -> io::Result<()> {
        let (name, name_length) = Name::of(message.destination, family)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        let mut control = Control::EMPTY;
        let mut control_length = 0;
        if let Some(source) = message.source {
            control_length = control.append_source(control_length, source, family);
        }
        if message.segment > 0 {
            control_length =
                control.append(control_length, libc::SOL_UDP, libc::UDP_SEGMENT, message.segment);
        }
        let first = self.calls.pieces.len();
        let mut end = None;
        for piece in message.pieces {
            let part = &bytes[piece.range()];
            match self.calls.pieces.last_mut() {
                Some(previous) if end == Some(piece.start) => previous.iov_len += part.len(),
                Some(_) | None => self
                    .calls
                    .pieces
                    .push(iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() }),
            }
            end = Some(piece.end);
        }
        let mut header = blank_message();
        header.msg_hdr.msg_iovlen = (self.calls.pieces.len() - first) as _;
        header.msg_hdr.msg_namelen = name_length as _;
        header.msg_hdr.msg_controllen = control_length as _;
        self.names.push(name);
        self.controls.push(control);
        self.calls.headers.push(header);
        Ok(())
    }

    /// Fills in the pointers, now that no vector moves any more.
    fn link(&mut self) {
        let CallArguments { headers, pieces } = &mut self.calls;
        let mut pieces = pieces.as_mut_slice();
        let parts = headers.iter_mut().zip(&mut self.names).zip(&mut self.controls);
        for ((header, name), control) in parts {
            let header = &mut header.msg_hdr;
            #[allow(clippy::unnecessary_cast, reason = "musl counts in c_int")]
            let count = header.msg_iovlen as usize;
            let (own, rest) = pieces.split_at_mut(count);
            pieces = rest;
            header.msg_iov = own.as_mut_ptr();
            header.msg_name = ptr::from_mut(name).cast();
            if header.msg_controllen > 0 {
                header.msg_control = ptr::from_mut(control).cast();
            }
        }
    }
}

/// The arrays a call takes; empty but during one.
struct CallArguments {
    headers: Vec<mmsghdr>,
    pieces: Vec<iovec>,
}

// SAFETY: only the pointers in the vectors keep this from being `Send`; each is written right before
// the call that reads it and never read after, so none is ever followed on another thread.
unsafe impl Send for CallArguments {}

impl CallArguments {
    fn with_capacity(messages: usize, pieces: usize) -> Self {
        Self { headers: Vec::with_capacity(messages), pieces: Vec::with_capacity(pieces) }
    }

    fn clear(&mut self) {
        self.headers.clear();
        self.pieces.clear();
    }
}

/// A socket address as the kernel reads and writes it.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

impl Name {
    const EMPTY: Self = Self {
        // SAFETY: all zero bytes are a valid `sockaddr_in6`: it holds only integers.
        v6: unsafe { zeroed() },
    };

    /// The address in the form a socket of this family understands, with its length.
    fn of(address: SocketAddr, family: Family) -> Option<(Self, usize)> {
        let mut name = Self::EMPTY;
        let length = match (family, address) {
            (Family::V4, SocketAddr::V4(v4)) => {
                // SAFETY: all zero bytes are a valid `sockaddr_in`: it holds only integers.
                let mut raw: sockaddr_in = unsafe { zeroed() };
                raw.sin_family = libc::AF_INET as _;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr = in_addr(*v4.ip());
                name.v4 = raw;
                size_of::<sockaddr_in>()
            }
            (Family::V4, SocketAddr::V6(_)) => return None,
            (Family::V6, _) => {
                // SAFETY: as in `EMPTY`.
                let mut raw: sockaddr_in6 = unsafe { zeroed() };
                raw.sin6_family = libc::AF_INET6 as _;
                raw.sin6_port = address.port().to_be();
                raw.sin6_addr = in6_addr(address.ip());
                raw.sin6_scope_id = scope_of(address);
                name.v6 = raw;
                size_of::<sockaddr_in6>()
            }
        };
        Some((name, length))
    }

    /// The address, if it is an IP address.
    fn address(&self) -> Option<SocketAddr> {
        // SAFETY: both variants begin with the family, and a `Name` is fully initialised always.
        match c_int::from(unsafe { self.v4.sin_family }) {
            libc::AF_INET => {
                // SAFETY: the family says that the kernel wrote this variant; it holds only integers.
                let raw = unsafe { self.v4 };
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let raw = unsafe { self.v6 };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Some(SocketAddrV6::new(ip, port, 0, raw.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Room for a source or destination address and a segment size, aligned as control messages are.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; Self::CAPACITY]);

impl Control {
    const CAPACITY: usize = 96;
    const EMPTY: Self = Self([0; Self::CAPACITY]);

    /// Appends the address to send from at `offset`; returns the new length.
    fn append_source(&mut self, offset: usize, source: SocketAddr, family: Family) -> usize {
        match (family, source.ip()) {
            (Family::V4, IpAddr::V4(ip)) => {
                let any = in_addr(Ipv4Addr::UNSPECIFIED);
                let info =
                    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: in_addr(ip), ipi_addr: any };
                self.append(offset, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            (Family::V4, IpAddr::V6(_)) => offset,
            (Family::V6, ip) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: in6_addr(ip),
                    ipi6_ifindex: scope_of(source) as _,
                };
                self.append(offset, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        }
    }

    /// Appends a control message at `offset`; returns the new length.
    fn append<T: Copy>(&mut self, offset: usize, level: c_int, kind: c_int, value: T) -> usize {
        let size = size_of::<T>() as c_uint;
        // SAFETY: both only do arithmetic on the size.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
        let room = &mut self.0[offset..offset + space];
        // SAFETY: all zero bytes are a valid `cmsghdr`: it holds only integers.
        let mut header: cmsghdr = unsafe { zeroed() };
        header.cmsg_len = length as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let data = length as usize - size_of::<T>();
        // SAFETY: `room` holds `CMSG_SPACE` bytes: the header, then, from `data` on, a `T`; both
        // are plain data, and the writes need no alignment.
        unsafe {
            room.as_mut_ptr().cast::<cmsghdr>().write_unaligned(header);
            room[data..].as_mut_ptr().cast::<T>().write_unaligned(value);
        }
        offset + space
    }
}

/// What the kernel notes beside a received message.
#[derive(Default)]
struct Notes {
    destination: Option<IpAddr>,
    interface: u32,
    segment: usize,
}

impl Notes {
    /// Reads the control messages of a header whose control buffer is alive.
    fn read(header: &libc::msghdr) -> Self {
        let mut notes = Self::default();
        // SAFETY: `header` came back from `recvmmsg`: its control pointer and length describe a
        // live, aligned `Control` that the kernel filled with well-formed messages.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
        // SAFETY: not null, so it points at a `cmsghdr` inside that buffer.
        while let Some(message) = unsafe { next.as_ref() } {
            // SAFETY: the data follows the header; the kernel wrote the type the kind calls for,
            // and reading it needs no alignment.
            unsafe {
                let data = libc::CMSG_DATA(message);
                match (message.cmsg_level, message.cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                        let ip = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                        notes.destination = Some(ip.into());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        notes.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                        notes.interface = info.ipi6_ifindex as _;
                    }
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let size = data.cast::<c_int>().read_unaligned();
                        notes.segment = usize::try_from(size).unwrap_or(0);
                    }
                    _ => {}
                }
                next = libc::CMSG_NXTHDR(header, message);
            }
        }
        notes
    }
}

/// Calls `each` with every datagram of a message that the kernel coalesced; returns how many.
fn split(message: &mut [u8], segment: usize, mut each: impl FnMut(&mut [u8])) -> usize {
    if segment == 0 || message.len() <= segment {
        each(message);
        return 1;
    }
    message.chunks_mut(segment).map(&mut each).count()
}

fn with_scope(ip: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match ip {
        IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, interface).into(),
    }
}

fn scope_of(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) }
}

fn in6_addr(ip: IpAddr) -> libc::in6_addr {
    let ip = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    libc::in6_addr { s6_addr: ip.octets() }
}

fn blank_message() -> mmsghdr {
    // SAFETY: all zero bytes are a valid `mmsghdr`: integers, and pointers that may be null.
    unsafe { zeroed() }
}

/// Sets an integer option of a socket.
///
/// # Errors
/// As the system says, `ENOPROTOOPT` if it has no such option.
pub(super) fn set_option(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            size_of::<c_int>() as _,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_time_slice_is_granted_and_nothing_else_changes() {
        let before = scheduling().unwrap();
        shorten_time_slice().unwrap();
        let after = scheduling().unwrap();
        // Kernels before 6.12 have no slices to tell of.
        assert!(before.sched_runtime == 0 || after.sched_runtime == TIME_SLICE);
        assert_eq!(after.sched_policy, before.sched_policy);
        assert_eq!(after.sched_nice, before.sched_nice);
    }
}
