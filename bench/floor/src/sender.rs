//! Sealing and sending, and what it costs.

use std::io::IoSlice;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, sendmmsg, setsockopt, sockopt::SndBuf,
    sockopt::UdpGsoSegment,
};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::pace::{Bursts, Pace};
use crate::seal::Sealer;

/// Destinations sealed before they are sent together. Fewer make more system calls; many more push what was just
/// sealed out of the cache before the kernel copies it (eight packets of 1,200 bytes for 32 are 307 kB).
const DESTINATIONS_AT_ONCE: usize = 32;

/// Bytes that may wait in the socket. A burst to a thousand destinations is 10 MB; the call waits where they do not
/// fit, so a smaller buffer costs time between cores, not packets.
const SEND_BUFFER: usize = 4 << 20;

/// How bursts reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// One message per destination, which the kernel cuts into packets (UDP_SEGMENT)
    Gso,
    /// One message per packet, many messages a call
    Sendmmsg,
}

/// What to send, to how many, for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// How bursts reach the kernel
    #[arg(long, value_enum)]
    mode: Mode,
    /// The first destination; the others have the ports after it
    #[arg(long)]
    to: SocketAddrV4,
    /// How many destinations
    #[arg(long, default_value_t = 100)]
    destinations: u16,
    #[command(flatten)]
    bursts: Bursts,
}

/// What was sent and what it cost.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: Mode,
    destinations: u16,
    /// Packets sent while measuring.
    packets: u64,
    /// Packets sent in all, with those of the warm-up: what a sink should have received.
    packets_in_all: u64,
    /// Measured time.
    seconds: f64,
    /// User and system time of this process per packet, in microseconds.
    cpu_us_per_packet: f64,
    /// The same as a share of one core.
    cpu_share: f64,
}

/// Sends as planned.
///
/// # Errors
/// If the socket cannot be made, the kernel cannot segment, or sending fails.
pub(crate) fn run(plan: &Plan) -> Result<Report> {
    let mut sender = Sender::new(plan)?;
    let started = Instant::now();
    let mut pace = Pace::new(plan.bursts.rate, started);
    sender.send_until(started + plan.bursts.warmup()?, &mut pace)?;
    let (warm, cpu, since) = (sender.sent, processor_time()?, Instant::now());
    sender.send_until(since + plan.bursts.measured()?, &mut pace)?;
    let (packets, cpu, took) = (sender.sent - warm, processor_time()? - cpu, since.elapsed());
    ensure!(packets > 0, "nothing was sent while measuring: measure for longer");
    Ok(Report {
        mode: plan.mode,
        destinations: plan.destinations,
        packets,
        packets_in_all: sender.sent,
        seconds: took.as_secs_f64(),
        cpu_us_per_packet: cpu.as_secs_f64() * 1e6 / packets as f64,
        cpu_share: cpu.as_secs_f64() / took.as_secs_f64(),
    })
}

struct Sender {
    socket: UdpSocket,
    destinations: Vec<(Sealer, SockaddrIn)>,
    /// The bursts of some destinations, packet after packet; sealed again and again in place.
    bursts: Vec<u8>,
    packet_bytes: usize,
    burst_bytes: usize,
    /// Bytes that one message carries.
    message_bytes: usize,
    headers: MultiHeaders<SockaddrIn>,
    sent: u64,
}

impl Sender {
    fn new(plan: &Plan) -> Result<Self> {
        let packet_bytes = usize::from(plan.bursts.bytes);
        let burst_bytes = plan.bursts.length();
        ensure!(plan.destinations > 0 && burst_bytes > 0, "nothing to send");
        let socket = UdpSocket::bind("0.0.0.0:0").context("cannot open a socket")?;
        // More than the system's cap is cut to it, and a small buffer only waits more often.
        let _ = setsockopt(&socket, SndBuf, &SEND_BUFFER);
        let message_bytes = match plan.mode {
            Mode::Gso => {
                ensure!(burst_bytes <= 65_000, "a burst has to fit one UDP message: 65,000 bytes");
                setsockopt(&socket, UdpGsoSegment, &i32::from(plan.bursts.bytes))
                    .context("this kernel does not segment UDP messages (Linux 4.18 does)")?;
                burst_bytes
            }
            Mode::Sendmmsg => packet_bytes,
        };
        let destinations = (0..plan.destinations).map(|index| destination(plan.to, index));
        let at_once = DESTINATIONS_AT_ONCE.min(usize::from(plan.destinations));
        Ok(Self {
            socket,
            destinations: destinations.collect::<Result<_>>()?,
            bursts: vec![0x2a; at_once * burst_bytes],
            packet_bytes,
            burst_bytes,
            message_bytes,
            headers: MultiHeaders::preallocate(at_once * burst_bytes / message_bytes, None),
            sent: 0,
        })
    }

    fn send_until(&mut self, end: Instant, pace: &mut Pace) -> Result<()> {
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let wait = pace.wait(now);
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            for first in (0..self.destinations.len()).step_by(DESTINATIONS_AT_ONCE) {
                self.send_some(first)?;
            }
        }
    }

    /// One burst to each of the next destinations from the one numbered `first`.
    fn send_some(&mut self, first: usize) -> Result<()> {
        let last = (first + DESTINATIONS_AT_ONCE).min(self.destinations.len());
        let some = &mut self.destinations[first..last];
        for ((sealer, _), burst) in some.iter_mut().zip(self.bursts.chunks_mut(self.burst_bytes)) {
            for packet in burst.chunks_mut(self.packet_bytes) {
                sealer.seal(packet)?;
            }
        }
        let sealed = &self.bursts[..some.len() * self.burst_bytes];
        let messages: Vec<_> =
            sealed.chunks(self.message_bytes).map(|message| [IoSlice::new(message)]).collect();
        let each = self.burst_bytes / self.message_bytes;
        let addresses: Vec<_> =
            some.iter().flat_map(|(_, to)| std::iter::repeat_n(Some(*to), each)).collect();
        self.sent += (sealed.len() / self.packet_bytes) as u64;
        send_all(&self.socket, &mut self.headers, &messages, &addresses)
    }
}

fn destination(first: SocketAddrV4, index: u16) -> Result<(Sealer, SockaddrIn)> {
    let Some(port) = first.port().checked_add(index) else {
        bail!("there are not that many ports after {first}");
    };
    Ok((Sealer::for_destination(index)?, SocketAddrV4::new(*first.ip(), port).into()))
}

/// Sends every message. The kernel may take only some of them a call.
fn send_all(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrIn>,
    mut messages: &[[IoSlice<'_>; 1]],
    mut addresses: &[Option<SockaddrIn>],
) -> Result<()> {
    while !messages.is_empty() {
        let flags = MsgFlags::empty();
        let taken = match sendmmsg(socket.as_raw_fd(), headers, messages, addresses, [], flags) {
            Ok(results) => results.count(),
            // Somebody's port was closed: that is told once, by the next call.
            Err(Errno::EINTR | Errno::ECONNREFUSED) => 0,
            Err(error) => return Err(error).context("cannot send"),
        };
        messages = &messages[taken..];
        addresses = &addresses[taken..];
    }
    Ok(())
}

/// User and system time of this process so far; what /proc tells of a server is scaled to the same clock.
fn processor_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("no processor clock")?;
    Ok(Duration::from(time))
}
