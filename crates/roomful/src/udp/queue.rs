//! How what a worker wants to send gets past the kernel.

use std::io;
use std::net::{IpAddr, SocketAddr};

use roomful_sfu::transmit::{Batch, TransmitBuffer};

use super::system::{Message, Sender};
use super::{UdpSocket, canonical, names_a_source};

/// How many flushes something the kernel refused is not tried again.
///
/// Refusals end: an interface gets its address, a route moves to a device that can segment. More,
/// and recovery from that takes longer (a busy worker flushes some thousand times a second); fewer,
/// and each attempt's extra system calls are felt.
const FLUSHES_UNTIL_RETRY: u32 = 10_000;

/// Source addresses remembered as not ours. A server advertises a handful; a longer list would only
/// make each batch's look-up longer, a shorter one makes addresses push each other out.
const MAX_FOREIGN_SOURCES: usize = 8;

/// Hands datagrams to the kernel, and remembers what it refused. Use one queue with one socket.
///
/// Lossy, as UDP is: what the kernel cannot take is dropped and counted.
pub(crate) struct SendQueue {
    batches: Vec<Batch>,
    sender: Sender,
    refusals: Refusals,
}

/// What became of the datagrams of one flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlushOutcome {
    /// Datagrams the kernel took.
    pub(crate) sent: usize,
    /// Datagrams lost: the socket buffer was full, or the destination cannot be reached from here.
    pub(crate) dropped: usize,
    /// System calls made.
    pub(crate) syscalls: usize,
}

impl std::ops::AddAssign for FlushOutcome {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.syscalls += other.syscalls;
    }
}

impl SendQueue {
    /// An empty queue with all its memory reserved; it is not resident until used.
    pub(crate) fn new() -> Self {
        Self {
            batches: Vec::with_capacity(TransmitBuffer::MAX_DATAGRAMS),
            sender: Sender::with_capacity(TransmitBuffer::MAX_DATAGRAMS),
            refusals: Refusals::default(),
        }
    }

    /// Hands everything to the kernel, in one system call if nothing is in the way, and empties the buffer.
    pub(crate) fn flush(
        &mut self,
        socket: &UdpSocket,
        buffer: &mut TransmitBuffer,
    ) -> FlushOutcome {
        let mut outcome = FlushOutcome::default();
        if buffer.is_empty() {
            return outcome;
        }
        self.refusals.count_flush();
        let segmentation = socket.segmentation && !self.refusals.segmentation();
        buffer.batch_into(&mut self.batches, segmentation);
        let mut next = 0;
        while next < self.batches.len() {
            match self.send(socket, buffer, next, &mut outcome) {
                Ok(batches) => next += batches,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    outcome.dropped += datagrams(&self.batches[next..]);
                    break;
                }
                Err(error) => {
                    outcome += self.send_otherwise(socket, buffer, self.batches[next], error);
                    next += 1;
                }
            }
        }
        buffer.clear();
        outcome
    }

    /// One system call for the batches from `first` on; returns how many went.
    fn send(
        &mut self,
        socket: &UdpSocket,
        buffer: &TransmitBuffer,
        first: usize,
        outcome: &mut FlushOutcome,
    ) -> io::Result<usize> {
        let Self { batches, sender, refusals, .. } = self;
        let messages = batches[first..].iter().map(|batch| {
            let source = batch_source(batch).filter(|source| !refusals.source(source.ip()));
            message(buffer, batch, source)
        });
        outcome.syscalls += 1;
        let sent = sender.send(&socket.socket, socket.family, buffer.bytes(), messages)?;
        outcome.sent += datagrams(&batches[first..first + sent]);
        Ok(sent)
    }

    /// Sends one batch that the kernel refused in the ways left, and remembers what it refused.
    fn send_otherwise(
        &mut self,
        socket: &UdpSocket,
        buffer: &TransmitBuffer,
        batch: Batch,
        error: io::Error,
    ) -> FlushOutcome {
        let mut outcome = FlushOutcome::default();
        let source = batch_source(&batch).filter(|source| !self.refusals.source(source.ip()));
        let asked = Way { source: source.is_some(), segments: batch.segment > 0 };
        let mut error = error;
        let mut uncut_error = None;
        for way in asked.alternatives() {
            if !way.is_worth_trying(asked, &error) {
                continue;
            }
            if asked.segments && !way.segments && uncut_error.is_none() {
                uncut_error = error.raw_os_error();
            }
            let from = source.filter(|_| way.source);
            let batches =
                if way.segments { Batches::Whole(batch) } else { Batches::Singles(batch) };
            match self.send_alone(socket, buffer, batches, from, &mut outcome) {
                Ok(()) => {
                    self.remember(way, source, uncut_error);
                    return outcome;
                }
                Err(next) => error = next,
            }
        }
        tracing::trace!(%error, "datagrams dropped");
        outcome.dropped += batch.count as usize;
        outcome
    }

    /// Sends one batch, whole or datagram by datagram.
    ///
    /// # Errors
    /// Why the kernel did not take the first; otherwise all of the batch is accounted for.
    fn send_alone(
        &mut self,
        socket: &UdpSocket,
        buffer: &TransmitBuffer,
        batches: Batches,
        source: Option<SocketAddr>,
        outcome: &mut FlushOutcome,
    ) -> io::Result<()> {
        let mut send = |batch: Batch| {
            outcome.syscalls += 1;
            let message = std::iter::once(message(buffer, &batch, source));
            self.sender.send(&socket.socket, socket.family, buffer.bytes(), message)?;
            outcome.sent += batch.count as usize;
            Ok(())
        };
        match batches {
            Batches::Whole(batch) => send(batch),
            Batches::Singles(batch) => {
                let mut singles = batch.singles();
                singles.next().map_or(Ok(()), &mut send)?;
                outcome.dropped += singles.filter(|single| send(*single).is_err()).count();
                Ok(())
            }
        }
    }

    /// Notes what had to be given up for the kernel to take a batch.
    fn remember(&mut self, way: Way, source: Option<SocketAddr>, uncut_error: Option<i32>) {
        if let (Some(source), false) = (source, way.source) {
            self.refusals.remember_source(source.ip());
        }
        // A datagram above its route's MTU says nothing about the others.
        if let Some(code) = uncut_error.filter(|code| !way.segments && *code != libc::EMSGSIZE) {
            self.refusals.remember_segmentation(code);
        }
    }
}

/// What the kernel is told of a batch.
fn message<'a>(
    buffer: &'a TransmitBuffer,
    batch: &Batch,
    source: Option<SocketAddr>,
) -> Message<'a> {
    Message {
        source,
        destination: canonical(batch.route.remote),
        segment: batch.segment,
        pieces: buffer.pieces(batch),
    }
}

/// The address to send from, if the batch names one the kernel could use.
fn batch_source(batch: &Batch) -> Option<SocketAddr> {
    let destination = canonical(batch.route.remote);
    Some(canonical(batch.route.local))
        .filter(|source| names_a_source(source.ip(), destination.ip()))
}

fn datagrams(batches: &[Batch]) -> usize {
    batches.iter().map(|batch| batch.count as usize).sum()
}

/// A batch to send in one message, or datagram by datagram.
enum Batches {
    Whole(Batch),
    Singles(Batch),
}

/// One way to send a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    /// Saying which address to send from.
    source: bool,
    /// Leaving it to the kernel to cut the batch.
    segments: bool,
}

impl Way {
    /// This way once more, then what gives up something, the least loss first.
    fn alternatives(self) -> impl Iterator<Item = Self> {
        let Self { source, segments } = self;
        [
            Some(self),
            source.then_some(Self { source: false, segments }),
            segments.then_some(Self { source, segments: false }),
            (source && segments).then_some(Self { source: false, segments: false }),
        ]
        .into_iter()
        .flatten()
    }

    /// Whether this way gives up something that `asked` has and the latest error may be about. One
    /// error stands for several causes: only the success of a way tells which it was.
    fn is_worth_trying(self, asked: Self, error: &io::Error) -> bool {
        match (asked.source && !self.source, asked.segments && !self.segments) {
            (false, false) => is_stale(error),
            (false, true) => is_about_segments(error),
            (true, _) => is_about_the_source(error),
        }
    }
}

/// Whether the error is about an earlier datagram: then this one was not even tried.
fn is_stale(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::ECONNRESET))
}

/// Whether Linux answers so to a source address that is not ours (`ip_route_output_key_hash_rcu`,
/// `ip6_datagram_send_ctl`); it answers so to other things, too.
fn is_about_the_source(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL)
    )
}

/// Whether Linux answers so to a batch it cannot cut (`udp_send_skb`): `EINVAL` or `EMSGSIZE` above
/// the route's MTU, `EIO` for a route that transforms packets (IPsec) or a device that computes no
/// checksums; it answers so to other things, too.
fn is_about_segments(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::ENOPROTOOPT | libc::EOPNOTSUPP)
    )
}

/// What the kernel refused lately.
#[derive(Default)]
struct Refusals {
    segmentation_left: u32,
    segmentation_told: bool,
    sources: Vec<ForeignSource>,
}

struct ForeignSource {
    ip: IpAddr,
    left: u32,
}

impl Refusals {
    fn count_flush(&mut self) {
        self.segmentation_left = self.segmentation_left.saturating_sub(1);
        for source in &mut self.sources {
            source.left = source.left.saturating_sub(1);
        }
        self.sources.retain(|source| source.left > 0);
    }

    fn segmentation(&self) -> bool {
        self.segmentation_left > 0
    }

    fn source(&self, ip: IpAddr) -> bool {
        self.sources.iter().any(|source| source.ip == ip)
    }

    fn remember_segmentation(&mut self, code: i32) {
        self.segmentation_left = FLUSHES_UNTIL_RETRY;
        if !std::mem::replace(&mut self.segmentation_told, true) {
            tracing::warn!(
                error = %io::Error::from_raw_os_error(code),
                "the kernel does not segment UDP on a route in use: sending costs several times more CPU there"
            );
        }
    }

    fn remember_source(&mut self, ip: IpAddr) {
        if self.sources.len() == MAX_FOREIGN_SOURCES {
            self.sources.remove(0);
        }
        self.sources.push(ForeignSource { ip, left: FLUSHES_UNTIL_RETRY });
        tracing::debug!(%ip, "not an address of this machine: the kernel chooses the source");
    }
}
