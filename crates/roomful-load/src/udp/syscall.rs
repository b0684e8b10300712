//! The Linux system calls of the generator, and its only unsafe code.
//!
//! Safe on the outside: every pointer given to the kernel is made from a live borrow right before
//! the call and forgotten right after it. Sockets are connected, so no addresses pass through here.

#![expect(
    unsafe_code,
    reason = "recvmmsg with control messages has no safe interface that can be called twice with \
              the same memory: nix keeps the control length that the last call left behind"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, c_uint, cmsghdr, iovec, mmsghdr, timespec};

use super::Message;
use crate::clock::Stamp;

/// Messages one call may take. A server without GSO sends a frame as several datagrams: fewer slots
/// cost it extra calls, more gain nothing.
const SLOTS: usize = 16;

/// The longest message: with GRO, a whole IP packet's worth of segments.
const SLOT_BYTES: usize = 1 << 16;

/// Room for a timestamp and a segment size.
const CONTROL_BYTES: usize = 64;

/// Preallocated memory for receiving, shared by all sockets of a thread.
pub(crate) struct Receiver {
    bytes: Vec<u8>,
    controls: Vec<Control>,
    headers: Vec<mmsghdr>,
    pieces: Vec<iovec>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; SLOTS * SLOT_BYTES],
            controls: vec![Control([0; CONTROL_BYTES]); SLOTS],
            headers: Vec::with_capacity(SLOTS),
            pieces: Vec::with_capacity(SLOTS),
        }
    }

    /// One `recvmmsg`: calls `each` for every message. Returns whether more may be waiting.
    ///
    /// # Errors
    /// As the system says; `WouldBlock` if nothing waits.
    pub(crate) fn receive(
        &mut self,
        socket: &impl AsRawFd,
        mut each: impl FnMut(Message<'_>),
    ) -> io::Result<bool> {
        let messages = self.call(socket)?;
        let slots = self.bytes.chunks_exact_mut(SLOT_BYTES);
        for (header, slot) in self.headers.iter().take(messages).zip(slots) {
            let notes = Notes::read(&header.msg_hdr);
            let length = (header.msg_len as usize).min(SLOT_BYTES);
            each(Message {
                bytes: &mut slot[..length],
                segment: notes.segment,
                arrived: notes.arrived,
            });
        }
        self.headers.clear();
        self.pieces.clear();
        Ok(messages == SLOTS)
    }

    /// Points the kernel at the slots; returns how many it filled.
    fn call(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.headers.clear();
        self.pieces.clear();
        for slot in self.bytes.chunks_exact_mut(SLOT_BYTES) {
            self.pieces.push(iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() });
        }
        for (piece, control) in self.pieces.iter_mut().zip(&mut self.controls) {
            // SAFETY: all zero bytes are a valid `mmsghdr`: integers, and pointers that may be null.
            let mut header: mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = ptr::from_mut(control).cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            self.headers.push(header);
        }
        // SAFETY: each header points at one iovec, through it at a slot, and at a control buffer, all
        // distinct, owned by `self`, of the stated lengths, in vectors that do not move until the
        // call returns. A null timeout is allowed.
        let filled = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(filled).map_err(|_| io::Error::last_os_error())
    }
}

// SAFETY: only the pointers in the vectors keep this from being `Send`; each is written right before
// the call that reads it and cleared after, so none is ever followed on another thread.
unsafe impl Send for Receiver {}

/// Sends `bytes` on a connected socket, cut by the kernel into datagrams of `segment` bytes (the last
/// may be shorter).
///
/// # Errors
/// As the system says; `EINVAL` if there are more segments than it takes (64 before Linux 6.9).
pub(crate) fn send_segments(
    socket: &impl AsRawFd,
    bytes: &[u8],
    segment: u16,
) -> io::Result<usize> {
    let mut piece = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: all zero bytes are a valid `msghdr`: integers, and pointers that may be null.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    if usize::from(segment) < bytes.len() {
        header.msg_controllen = control.put_segment(segment) as _;
        header.msg_control = ptr::from_mut(&mut control).cast();
    }
    // SAFETY: the header points at one iovec over `bytes`, which the kernel only reads, and at a
    // control buffer of the stated length; all outlive the call.
    let sent = unsafe {
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const header,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sets an integer option of a socket.
///
/// # Errors
/// As the system says, `ENOPROTOOPT` if it has no such option.
pub(crate) fn set_option(
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

/// Raises the limit of open files to what the system allows; returns what it is now.
///
/// # Errors
/// If the limit cannot be read.
pub(crate) fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live `rlimit`, which the kernel fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let wanted = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: the pointer is to a live `rlimit`, which the kernel reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } == 0 {
        limit = wanted;
    }
    Ok(limit.rlim_cur)
}

/// Control messages, aligned as they have to be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

impl Control {
    /// Writes a segment size as the only control message; returns the length.
    fn put_segment(&mut self, segment: u16) -> usize {
        let size = size_of::<u16>() as c_uint;
        // SAFETY: both only do arithmetic on the size.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
        // SAFETY: all zero bytes are a valid `cmsghdr`: it holds only integers.
        let mut header: cmsghdr = unsafe { zeroed() };
        header.cmsg_len = length as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        let data = length as usize - size_of::<u16>();
        // SAFETY: the buffer is longer than `CMSG_SPACE` of a `u16`: the header lies at its start
        // and the value at `data`; both are plain data, and the writes need no alignment.
        unsafe {
            self.0.as_mut_ptr().cast::<cmsghdr>().write_unaligned(header);
            self.0[data..].as_mut_ptr().cast::<u16>().write_unaligned(segment);
        }
        space
    }
}

/// What the kernel notes beside a received message.
#[derive(Default)]
struct Notes {
    segment: usize,
    arrived: Option<Stamp>,
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
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        let time = data.cast::<timespec>().read_unaligned();
                        notes.arrived = Some(Stamp::from_timespec(time.tv_sec, time.tv_nsec));
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
