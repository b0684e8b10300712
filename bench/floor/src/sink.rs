//! Receiving and counting.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf, sockopt::UdpGroSegment};
use serde::Serialize;

/// Bytes that may wait in each socket: several bursts, for a sink that shares its core.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The longest message: with coalescing, a whole burst.
const MESSAGE_BYTES: usize = 1 << 16;

/// Sockets looked at a turn.
const EVENTS: usize = 256;

/// Stands for the standard input among the sockets' numbers.
const INPUT: u64 = u64::MAX;

/// Where to receive.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// The first address; the other sockets have the ports after it
    #[arg(long)]
    at: SocketAddrV4,
    /// How many sockets
    #[arg(long, default_value_t = 100)]
    sockets: u16,
    /// Bytes of a packet, to count packets in what arrives coalesced
    #[arg(long, default_value_t = 1200)]
    bytes: u16,
}

/// What arrived.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Packets received.
    packets: u64,
    /// Sockets that received anything.
    sockets: u64,
    /// Packets not of the expected length.
    odd: u64,
}

/// Receives until the standard input ends.
///
/// # Errors
/// If a socket cannot be made.
pub(crate) fn run(plan: &Plan) -> Result<Report> {
    ensure!(plan.bytes > 0, "packets of no bytes cannot be counted");
    let sockets: Vec<_> =
        (0..plan.sockets).map(|index| open(plan.at, index)).collect::<Result<_>>()?;
    let epoll = Epoll::new(EpollCreateFlags::empty()).context("no epoll")?;
    let readable = |number| EpollEvent::new(EpollFlags::EPOLLIN, number);
    for (number, socket) in (0_u64..).zip(&sockets) {
        epoll.add(socket, readable(number)).context("cannot watch a socket")?;
    }
    epoll.add(io::stdin(), readable(INPUT)).context("the standard input has to be a pipe")?;
    // Whoever started this may send now.
    eprintln!("ready");
    let mut counts = vec![Report::default(); sockets.len()];
    let mut events = [EpollEvent::empty(); EVENTS];
    let mut buffer = vec![0; MESSAGE_BYTES];
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other.context("cannot wait")?,
        };
        for event in &events[..ready] {
            let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
            match (sockets.get(number), counts.get_mut(number)) {
                (Some(socket), Some(count)) => drain(socket, &mut buffer, plan.bytes, count)?,
                _ => return Ok(total(&counts)),
            }
        }
    }
}

fn open(first: SocketAddrV4, index: u16) -> Result<UdpSocket> {
    let Some(port) = first.port().checked_add(index) else {
        bail!("there are not that many ports after {first}");
    };
    let at = SocketAddrV4::new(Ipv4Addr::new(0, 0, 0, 0), port);
    let socket = UdpSocket::bind(at).with_context(|| format!("cannot receive at {at}"))?;
    socket.set_nonblocking(true)?;
    // Without either the sink works as well, only slower.
    let _ = setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER);
    let _ = setsockopt(&socket, UdpGroSegment, &true);
    Ok(socket)
}

fn drain(socket: &UdpSocket, buffer: &mut [u8], packet: u16, count: &mut Report) -> Result<()> {
    loop {
        match socket.recv(buffer) {
            Ok(length) => {
                let packet = usize::from(packet);
                count.packets += (length / packet) as u64;
                count.odd += u64::from(!length.is_multiple_of(packet));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot receive"),
        }
    }
}

fn total(counts: &[Report]) -> Report {
    counts.iter().fold(Report::default(), |total, count| Report {
        packets: total.packets + count.packets,
        sockets: total.sockets + u64::from(count.packets > 0),
        odd: total.odd + count.odd,
    })
}
