//! Datagrams waiting to be sent, sorted into batches that the kernel can segment.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Bytes that may wait between two flushes: some 850 packets.
///
/// Larger, and what was written first has left the processor's cache before the kernel reads it;
/// smaller, and a wake needs several flushes, each with fewer packets per destination to segment.
/// Pages never written cost no memory.
const ARENA_BYTES: usize = 1 << 20;

/// Datagrams that may wait between two flushes; `sendmmsg` takes 1,024 messages (`UIO_MAXIOV`), so
/// with more one call would not do, and with fewer small audio packets would fill the queue early.
pub(super) const MAX_DATAGRAMS: usize = 1024;

/// Segments per batch: Linux's `UDP_MAX_SEGMENTS` before 6.9. With more, older kernels answer `EINVAL`.
const MAX_SEGMENTS: u32 = 64;

/// Bytes per batch. An IP packet, which a batch is until it is cut, has at most 65,535 with its
/// headers; with more the kernel answers `EMSGSIZE`.
const MAX_BATCH_BYTES: u32 = 65_000;

/// The longest payload UDP can carry at all (RFC 768: a 16-bit length that counts the 8-byte header).
const MAX_PAYLOAD: usize = 65_527;

/// Where a datagram's payload lies in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Piece {
    fn len(self) -> u32 {
        self.end - self.start
    }
}

/// Consecutive datagrams of one source and destination that leave as one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// Index of its first payload in [`Backlog::pieces`].
    pub(super) first: u32,
    /// How many payloads follow from there, at least one.
    pub(super) count: u32,
    /// Length of every payload but perhaps the last; zero if the batch holds one datagram.
    pub(super) segment: u16,
}

impl Batch {
    /// Its datagrams as batches of one.
    pub(super) fn singles(self) -> impl Iterator<Item = Self> {
        (self.first..self.first + self.count).map(move |first| Self {
            first,
            count: 1,
            segment: 0,
            ..self
        })
    }
}

/// The datagrams of one wake, in the order they were pushed, chained per source and destination.
pub(super) struct Backlog {
    arena: Vec<u8>,
    datagrams: Vec<Datagram>,
    flows: Vec<Flow>,
    flow_by_addresses: HashMap<(SocketAddr, SocketAddr), usize>,
    recent: usize,
    pieces: Vec<Piece>,
}

impl Backlog {
    /// An empty backlog with all the memory it will ever use reserved.
    pub(super) fn new() -> Self {
        Self {
            arena: Vec::with_capacity(ARENA_BYTES),
            datagrams: Vec::with_capacity(MAX_DATAGRAMS),
            flows: Vec::with_capacity(MAX_DATAGRAMS),
            flow_by_addresses: HashMap::with_capacity(MAX_DATAGRAMS),
            recent: 0,
            pieces: Vec::with_capacity(MAX_DATAGRAMS),
        }
    }

    /// Appends a copy of the datagram; `false` if there is no room or UDP cannot carry it.
    pub(super) fn push(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) -> bool {
        if payload.len() > MAX_PAYLOAD || destination.port() == 0 || !self.has_room(payload.len()) {
            return false;
        }
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(payload);
        let piece = Piece { start, end: start + payload.len() as u32 };
        let index = self.datagrams.len();
        self.datagrams.push(Datagram { piece, next: None });
        self.chain(source, destination, index);
        true
    }

    /// Whether a payload of this length can be pushed now.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.datagrams.len() < MAX_DATAGRAMS && self.arena.len() + length <= ARENA_BYTES
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Replaces `batches` by all that waits: destinations in the order of their first datagram,
    /// datagrams of a destination in the order pushed. With `segmentation` off, each alone.
    pub(super) fn batch_into(&mut self, batches: &mut Vec<Batch>, segmentation: bool) {
        batches.clear();
        self.pieces.clear();
        for flow in &self.flows {
            let mut open: Option<OpenBatch> = None;
            let mut next = Some(flow.head);
            while let Some(index) = next {
                let datagram = self.datagrams[index];
                let first = self.pieces.len() as u32;
                self.pieces.push(datagram.piece);
                next = datagram.next;
                let fits = open
                    .as_mut()
                    .is_some_and(|batch| segmentation && batch.take(datagram.piece.len()));
                if !fits {
                    batches.extend(open.take().map(|batch| batch.close(flow)));
                    open = Some(OpenBatch::new(first, datagram.piece.len()));
                }
            }
            batches.extend(open.map(|batch| batch.close(flow)));
        }
    }

    /// Forgets everything, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.datagrams.clear();
        self.flows.clear();
        self.flow_by_addresses.clear();
        self.recent = 0;
    }

    /// All bytes that [`Piece`]s refer to.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.arena
    }

    /// The payloads of a batch that [`Backlog::batch_into`] made.
    pub(super) fn pieces(&self, batch: &Batch) -> &[Piece] {
        &self.pieces[batch.first as usize..(batch.first + batch.count) as usize]
    }

    /// Puts a datagram at the end of the chain of its addresses.
    fn chain(&mut self, source: SocketAddr, destination: SocketAddr, index: usize) {
        let Some(known) = self.find(source, destination) else {
            self.recent = self.flows.len();
            self.flow_by_addresses.insert((source, destination), self.recent);
            self.flows.push(Flow { source, destination, head: index, tail: index });
            return;
        };
        let flow = &mut self.flows[known];
        self.datagrams[flow.tail].next = Some(index);
        flow.tail = index;
        self.recent = known;
    }

    /// The chain of these addresses. Forwarding sends packet after packet to the same subscribers
    /// in the same order, so the chain after the last used one is nearly always right, and asking it is ten
    /// times cheaper than hashing two addresses.
    fn find(&self, source: SocketAddr, destination: SocketAddr) -> Option<usize> {
        let is_it = |index: &usize| {
            self.flows
                .get(*index)
                .is_some_and(|flow| flow.destination == destination && flow.source == source)
        };
        [self.recent + 1, self.recent, 0]
            .into_iter()
            .find(is_it)
            .or_else(|| self.flow_by_addresses.get(&(source, destination)).copied())
    }
}

#[derive(Clone, Copy)]
struct Datagram {
    piece: Piece,
    next: Option<usize>,
}

struct Flow {
    source: SocketAddr,
    destination: SocketAddr,
    head: usize,
    tail: usize,
}

/// A batch that may still grow.
struct OpenBatch {
    first: u32,
    count: u32,
    segment: u32,
    bytes: u32,
    /// A shorter datagram has come: that is the last segment.
    complete: bool,
}

impl OpenBatch {
    fn new(first: u32, length: u32) -> Self {
        // The kernel makes no segment of zero bytes: an empty datagram travels alone.
        Self { first, count: 1, segment: length, bytes: length, complete: length == 0 }
    }

    /// Whether the batch took one more datagram of this length.
    fn take(&mut self, length: u32) -> bool {
        let fits = !self.complete
            && length != 0
            && length <= self.segment
            && self.count < MAX_SEGMENTS
            && self.bytes + length <= MAX_BATCH_BYTES;
        if fits {
            self.count += 1;
            self.bytes += length;
            self.complete = length < self.segment;
        }
        fits
    }

    fn close(self, flow: &Flow) -> Batch {
        Batch {
            source: flow.source,
            destination: flow.destination,
            first: self.first,
            count: self.count,
            segment: if self.count > 1 { self.segment as u16 } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn batches(datagrams: &[(u16, usize)], segmentation: bool) -> Vec<(u16, u32, u16)> {
        let mut backlog = Backlog::new();
        for &(port, length) in datagrams {
            assert!(backlog.push(address(1), address(port), &vec![0; length]));
        }
        let mut batches = Vec::new();
        backlog.batch_into(&mut batches, segmentation);
        batches.iter().map(|b| (b.destination.port(), b.count, b.segment)).collect()
    }

    #[test]
    fn interleaved_destinations_become_one_batch_each() {
        let pushed = [(7, 100), (8, 100), (9, 50), (7, 100), (8, 100), (7, 60)];
        assert_eq!(batches(&pushed, true), [(7, 3, 100), (8, 2, 100), (9, 1, 0)]);
    }

    #[test]
    fn a_shorter_datagram_ends_a_batch_and_a_longer_one_begins_another() {
        let pushed = [(7, 100), (7, 60), (7, 60), (7, 100), (7, 100)];
        assert_eq!(batches(&pushed, true), [(7, 2, 100), (7, 1, 0), (7, 2, 100)]);
    }

    #[test]
    fn an_empty_datagram_travels_alone() {
        let pushed = [(7, 100), (7, 0), (7, 0), (7, 100)];
        assert_eq!(batches(&pushed, true), [(7, 1, 0), (7, 1, 0), (7, 1, 0), (7, 1, 0)]);
    }

    #[test]
    fn a_batch_keeps_within_the_kernels_segments_and_bytes() {
        let small = vec![(7, 10); 65];
        assert_eq!(batches(&small, true), [(7, 64, 10), (7, 1, 0)]);
        let large = vec![(7, 1300); 51];
        assert_eq!(batches(&large, true), [(7, 50, 1300), (7, 1, 0)]);
    }

    #[test]
    fn without_segmentation_each_datagram_travels_alone() {
        assert_eq!(batches(&[(7, 10), (7, 10)], false), [(7, 1, 0), (7, 1, 0)]);
    }

    #[test]
    fn one_destination_from_two_sources_is_two_batches() {
        let mut backlog = Backlog::new();
        for source in [1, 2, 1, 2] {
            assert!(backlog.push(address(source), address(7), b"x"));
        }
        let mut batches = Vec::new();
        backlog.batch_into(&mut batches, true);
        let sources: Vec<u16> = batches.iter().map(|batch| batch.source.port()).collect();
        assert_eq!(sources, [1, 2]);
    }

    #[test]
    fn a_full_backlog_refuses_until_it_is_cleared() {
        let mut backlog = Backlog::new();
        let mut pushed = 0;
        while backlog.push(address(1), address(7), &[0; 1200]) {
            pushed += 1;
        }
        assert_eq!(pushed, ARENA_BYTES / 1200);
        backlog.clear();
        pushed = 0;
        while backlog.push(address(1), address(7), b"") {
            pushed += 1;
        }
        assert_eq!(pushed, MAX_DATAGRAMS);
    }

    #[test]
    fn what_udp_cannot_carry_is_refused() {
        let mut backlog = Backlog::new();
        assert!(!backlog.push(address(1), address(7), &vec![0; MAX_PAYLOAD + 1]));
        assert!(!backlog.push(address(1), address(0), b"to nowhere"));
        assert!(backlog.is_empty());
    }
}
