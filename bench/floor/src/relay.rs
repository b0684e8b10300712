//! Sending back what arrives, with no work between: how late a packet is at the least that has been to a server.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt::UdpGroSegment,
};

/// The longest message: with coalescing, a whole burst.
const MESSAGE_BYTES: usize = 1 << 16;

/// Where to receive.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// The address
    #[arg(long)]
    at: SocketAddrV4,
}

/// Sends every burst back to where it came from, until it is ended from outside.
///
/// # Errors
/// If the socket cannot be made, or fails.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let at = plan.at;
    let socket = UdpSocket::bind(at).with_context(|| format!("cannot receive at {at}"))?;
    setsockopt(&socket, UdpGroSegment, &true)
        .context("this kernel does not coalesce UDP messages (Linux 5.0 does)")?;
    // Whoever started this may send now.
    eprintln!("ready");
    let mut bytes = vec![0; MESSAGE_BYTES];
    loop {
        match relay(&socket, &mut bytes) {
            // Somebody's port was closed: that is told once, by the next call.
            Ok(()) | Err(Errno::EINTR | Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error).context("cannot relay"),
        }
    }
}

/// Waits for one burst and sends it back, cut as it came.
fn relay(socket: &UdpSocket, bytes: &mut [u8]) -> nix::Result<()> {
    let mut control = cmsg_space!(i32);
    let mut room = [IoSliceMut::new(bytes)];
    let received = recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut room,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let (length, source) = (received.bytes, received.address);
    let segment = received.cmsgs()?.find_map(|note| match note {
        ControlMessageOwned::UdpGroSegments(segment) => u16::try_from(segment).ok(),
        _ => None,
    });
    let burst = [IoSlice::new(&bytes[..length])];
    let cut = segment.as_ref().map(|segment| [ControlMessage::UdpGsoSegments(segment)]);
    let cut = cut.as_ref().map_or(&[][..], |cut| &cut[..]);
    sendmsg(socket.as_raw_fd(), &burst, cut, MsgFlags::empty(), source.as_ref())?;
    Ok(())
}
