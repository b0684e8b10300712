//! Sending bursts to a relay and telling how late they come back.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt::{ReceiveTimestampns, UdpGroSegment},
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::pace::{Bursts, Pace};

/// The longest message: with coalescing, a whole burst.
const MESSAGE_BYTES: usize = 1 << 16;

/// Bytes of a send time at the front of each packet, in nanoseconds.
const STAMP_BYTES: usize = 8;

/// How long what is late may take after the last burst. Longer makes each run longer, shorter counts the slow as lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// What to send, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// The relay
    #[arg(long)]
    to: SocketAddrV4,
    #[command(flatten)]
    bursts: Bursts,
}

/// How late what was sent came back.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Packets sent while measuring.
    packets: u64,
    /// Those of them that came back.
    back: u64,
    /// The median of the time from the sending call to the kernel's taking it in here, in microseconds.
    p50_us: f64,
    /// What one packet in a hundred exceeds.
    p99_us: f64,
}

/// Sends as planned. What comes back is looked at when the next burst is due: the kernel notes when it arrived.
///
/// # Errors
/// If the socket cannot be made, sending fails, or nothing comes back.
pub(crate) fn run(plan: &Plan) -> Result<Report> {
    let bursts = &plan.bursts;
    ensure!(usize::from(bursts.bytes) >= STAMP_BYTES, "a packet has no room for its time");
    let socket = UdpSocket::bind("0.0.0.0:0").context("cannot open a socket")?;
    socket.connect(plan.to).with_context(|| format!("cannot send to {}", plan.to))?;
    setsockopt(&socket, ReceiveTimestampns, &true).context("the kernel notes no arrivals")?;
    setsockopt(&socket, UdpGroSegment, &true)
        .context("this kernel does not coalesce UDP messages (Linux 5.0 does)")?;
    let mut burst = vec![0x2a; bursts.length()];
    let mut probe = Probe { socket, packet: usize::from(bursts.bytes), late: Vec::new() };
    let mut pace = Pace::new(bursts.rate, Instant::now());
    let measured_from = Instant::now() + bursts.warmup()?;
    let end = measured_from + bursts.measured()?;
    let mut packets = 0;
    while Instant::now() < end {
        thread::sleep(pace.wait(Instant::now()));
        probe.receive()?;
        if packets == 0 && Instant::now() >= measured_from {
            probe.late.clear();
        }
        probe.send(&mut burst, bursts.bytes)?;
        packets += if Instant::now() >= measured_from { u64::from(bursts.packets) } else { 0 };
    }
    thread::sleep(PATIENCE);
    probe.receive()?;
    probe.report(packets)
}

struct Probe {
    socket: UdpSocket,
    packet: usize,
    /// Of each packet that came back, in nanoseconds.
    late: Vec<u64>,
}

impl Probe {
    fn send(&self, burst: &mut [u8], segment: u16) -> Result<()> {
        let now = nanoseconds(clock_gettime(ClockId::CLOCK_REALTIME)?).to_be_bytes();
        for packet in burst.chunks_mut(self.packet) {
            packet[..STAMP_BYTES].copy_from_slice(&now);
        }
        let cut = [ControlMessage::UdpGsoSegments(&segment)];
        let message = [IoSlice::new(burst)];
        sendmsg::<SockaddrIn>(self.socket.as_raw_fd(), &message, &cut, MsgFlags::empty(), None)
            .context("cannot send")?;
        Ok(())
    }

    /// Everything that has come back.
    fn receive(&mut self) -> Result<()> {
        let mut bytes = vec![0; MESSAGE_BYTES];
        loop {
            match self.receive_one(&mut bytes) {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
    }

    fn receive_one(&mut self, bytes: &mut [u8]) -> nix::Result<()> {
        let mut control = cmsg_space!(TimeSpec, i32);
        let mut room = [IoSliceMut::new(bytes)];
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let received = recvmsg::<SockaddrIn>(fd, &mut room, Some(&mut control), flags)?;
        let length = received.bytes;
        let arrived = received.cmsgs()?.find_map(|note| match note {
            ControlMessageOwned::ScmTimestampns(at) => Some(nanoseconds(at)),
            _ => None,
        });
        for packet in bytes[..length].chunks(self.packet) {
            if let (Some(arrived), Some(stamp)) = (arrived, packet.first_chunk()) {
                self.late.push(arrived.saturating_sub(u64::from_be_bytes(*stamp)));
            }
        }
        Ok(())
    }

    fn report(mut self, packets: u64) -> Result<Report> {
        self.late.sort_unstable();
        let at = |share: f64| {
            let index = (self.late.len() as f64 * share) as usize;
            Some(*self.late.get(index)? as f64 / 1e3)
        };
        let (p50_us, p99_us) = at(0.5).zip(at(0.99)).context("nothing came back")?;
        Ok(Report { packets, back: self.late.len() as u64, p50_us, p99_us })
    }
}

fn nanoseconds(time: TimeSpec) -> u64 {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or_default()
}
