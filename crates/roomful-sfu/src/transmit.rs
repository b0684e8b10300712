//! Datagrams on their way out of the core: written in place, grouped so that the kernel can segment them.
//!
//! The shell owns a [`TransmitBuffer`] and lends it to [`crate::Sfu::poll_transmits`], which fills it; then the
//! shell hands what is in it to the kernel and clears it. Lossy, as UDP is: what finds no room is refused.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

pub use level::level;

use crate::demux::AddressHasher;
use crate::route::{Protocol, Route};

mod level;

/// Bytes that may wait between two flushes: 512 packets of the longest kind.
///
/// Larger, and what was written first has left the processor's cache before the kernel reads it;
/// smaller, and long packets end a slice before the other limits do. Pages never written cost no memory.
const ARENA_BYTES: usize = 768 << 10;

/// Flows that may wait between two flushes: each costs the kernel a trip through its stack, 2 to 5 µs
/// (decision 0078), so this is half a millisecond. More, and sound that arrives meanwhile waits for longer;
/// fewer, and a slice's system calls are felt.
const MAX_FLOWS: usize = 128;

/// Segments per batch: Linux's `UDP_MAX_SEGMENTS` before 6.9. With more, older kernels answer `EINVAL`.
const MAX_SEGMENTS: u32 = 64;

/// Bytes per batch. An IP packet, which a batch is until it is cut, has at most 65,535 with its
/// headers; with more the kernel answers `EMSGSIZE`.
const MAX_BATCH_BYTES: u32 = 65_000;

/// The longest payload UDP can carry at all (RFC 768: a 16-bit length that counts the 8-byte header).
const MAX_PAYLOAD: usize = 65_527;

/// The datagrams of one slice, in the order they were pushed, chained by route.
///
/// Neither pushing nor batching allocates. Datagrams of one route leave in the order pushed;
/// nothing is promised between different ones.
#[derive(Debug)]
pub struct TransmitBuffer {
    arena: Vec<u8>,
    used: usize,
    datagrams: Vec<Datagram>,
    flows: Vec<Flow>,
    flow_by_route: HashMap<Route, u32, BuildHasherDefault<AddressHasher>>,
    tcp: bool,
    recent: u32,
    pieces: Vec<Piece>,
}

/// Where a datagram's payload lies in [`TransmitBuffer::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its first byte.
    pub start: u32,
    /// The byte behind its last.
    pub end: u32,
}

/// Consecutive datagrams of one route that leave as one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The way it takes.
    pub route: Route,
    /// Length in bytes of every payload but perhaps the last, which may be shorter; zero if the batch
    /// holds one datagram.
    pub segment: u16,
    /// How many datagrams it holds, at least one.
    pub count: u32,
    /// Index of its first payload among the pieces.
    first: u32,
}

impl Default for TransmitBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl TransmitBuffer {
    /// Datagrams that may wait between two flushes: one slice. Writing and sending one takes up to a
    /// millisecond, during which the socket is not read: with more, a burst of one room delays the sound of
    /// the others; with fewer, fewer datagrams of one destination leave together. `sendmmsg` would take 1,024
    /// messages (`UIO_MAXIOV`).
    pub const MAX_DATAGRAMS: usize = 512;

    /// An empty buffer with all the memory it will ever use reserved; it is not resident until used.
    pub fn new() -> Self {
        Self {
            // Zeroed memory of this size comes fresh from the system, which maps a page when it is touched.
            arena: vec![0; ARENA_BYTES],
            used: 0,
            datagrams: Vec::with_capacity(Self::MAX_DATAGRAMS),
            flows: Vec::with_capacity(MAX_FLOWS),
            flow_by_route: HashMap::with_capacity_and_hasher(
                MAX_FLOWS,
                BuildHasherDefault::default(),
            ),
            tcp: false,
            recent: 0,
            pieces: Vec::with_capacity(Self::MAX_DATAGRAMS),
        }
    }

    /// Whether a payload of `length` bytes has room now, whatever its destination.
    pub fn has_room(&self, length: usize) -> bool {
        self.flows.len() < MAX_FLOWS
            && self.datagrams.len() < Self::MAX_DATAGRAMS
            && length <= self.arena.len() - self.used
    }

    /// Appends a copy of the datagram; `false` if there is no room or UDP could not carry it.
    pub fn push(&mut self, route: Route, payload: &[u8]) -> bool {
        self.write(route, payload.len(), |room| {
            room.copy_from_slice(payload);
            Some(payload.len())
        })
    }

    /// Appends a datagram that `write` puts in place. It gets exactly `capacity` bytes, whose content is
    /// left over from earlier datagrams, and returns how many of them it used, or `None` to take the room back.
    ///
    /// `false`, and nothing appended, if there is no room, UDP could not carry it, `write` wants nothing sent or
    /// claims more than it got.
    pub fn write(
        &mut self,
        route: Route,
        capacity: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        if capacity > MAX_PAYLOAD || route.remote.port() == 0 || !self.has_room(capacity) {
            return false;
        }
        let Some(room) = self.arena.get_mut(self.used..self.used + capacity) else { return false };
        let Some(length) = write(room).filter(|length| *length <= capacity) else { return false };
        let piece = Piece { start: self.used as u32, end: (self.used + length) as u32 };
        self.used += length;
        self.chain(route, piece);
        true
    }

    /// How many datagrams wait.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Route and payload of each datagram, in the order pushed.
    pub fn iter(&self) -> impl Iterator<Item = (Route, &[u8])> {
        self.datagrams.iter().filter_map(|datagram| {
            let flow = self.flows.get(datagram.flow as usize)?;
            let payload = self.arena.get(datagram.piece.range())?;
            Some((flow.route, payload))
        })
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams.clear();
        self.flows.clear();
        self.flow_by_route.clear();
        self.tcp = false;
        self.recent = 0;
    }

    /// Whether anything is to travel by TCP.
    pub fn has_tcp(&self) -> bool {
        self.tcp
    }

    /// Replaces `batches` by all that travels by UDP: destinations in the order of their first datagram,
    /// datagrams of a destination in the order pushed. With `segmentation` off, each alone.
    pub fn batch_into(&mut self, batches: &mut Vec<Batch>, segmentation: bool) {
        batches.clear();
        self.pieces.clear();
        for flow in self.flows.iter().filter(|flow| flow.route.protocol == Protocol::Udp) {
            let mut open: Option<OpenBatch> = None;
            let mut next = self.datagrams.get(flow.head as usize);
            while let Some(datagram) = next {
                let first = self.pieces.len() as u32;
                self.pieces.push(datagram.piece);
                next = self.datagrams.get(datagram.next as usize);
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

    /// All bytes that [`Piece`]s refer to.
    pub fn bytes(&self) -> &[u8] {
        &self.arena
    }

    /// The payloads of a batch that the latest [`TransmitBuffer::batch_into`] made, in order.
    pub fn pieces(&self, batch: &Batch) -> &[Piece] {
        self.pieces.get(batch.first as usize..(batch.first + batch.count) as usize).unwrap_or(&[])
    }

    /// Puts a datagram at the end of the chain of its route.
    fn chain(&mut self, route: Route, piece: Piece) {
        let index = self.datagrams.len() as u32;
        let known = self.find(route);
        let flow = known.unwrap_or(self.flows.len() as u32);
        self.recent = flow;
        self.datagrams.push(Datagram { piece, flow, next: NONE });
        let Some(flow) = known.and_then(|known| self.flows.get_mut(known as usize)) else {
            self.flow_by_route.insert(route, flow);
            self.flows.push(Flow { route, head: index, tail: index });
            self.tcp |= route.protocol == Protocol::Tcp;
            return;
        };
        if let Some(last) = self.datagrams.get_mut(flow.tail as usize) {
            last.next = index;
        }
        flow.tail = index;
    }

    /// The chain of this route. Forwarding writes what one subscriber gets in a run, or packet after packet to
    /// the same subscribers in the same order, so the chain last used or the one after it is nearly always
    /// right, and asking it is ten times cheaper than hashing two addresses.
    fn find(&self, route: Route) -> Option<u32> {
        let is_it =
            |index: &u32| self.flows.get(*index as usize).is_some_and(|flow| flow.route == route);
        [self.recent, self.recent + 1, 0]
            .into_iter()
            .find(is_it)
            .or_else(|| self.flow_by_route.get(&route).copied())
    }
}

impl Piece {
    /// The same as a range, to index [`TransmitBuffer::bytes`] with.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    fn len(self) -> u32 {
        self.end - self.start
    }
}

impl Batch {
    /// Its datagrams as batches of one.
    pub fn singles(self) -> impl Iterator<Item = Self> {
        (self.first..self.first + self.count).map(move |first| Self {
            first,
            count: 1,
            segment: 0,
            ..self
        })
    }
}

/// No index: behind the last datagram of a chain.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Datagram {
    piece: Piece,
    flow: u32,
    /// The next datagram of the same flow, or [`NONE`].
    next: u32,
}

#[derive(Debug)]
struct Flow {
    route: Route,
    head: u32,
    tail: u32,
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
            route: flow.route,
            first: self.first,
            count: self.count,
            segment: if self.count > 1 { self.segment as u16 } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn route(from: u16, to: u16) -> Route {
        let [local, remote] = [from, to].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Route::udp(local, remote)
    }

    fn batches(datagrams: &[(u16, usize)], segmentation: bool) -> Vec<(u16, u32, u16)> {
        let mut buffer = TransmitBuffer::new();
        for &(port, length) in datagrams {
            assert!(buffer.push(route(1, port), &vec![0; length]));
        }
        let mut batches = Vec::new();
        buffer.batch_into(&mut batches, segmentation);
        batches.iter().map(|b| (b.route.remote.port(), b.count, b.segment)).collect()
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
        let mut buffer = TransmitBuffer::new();
        for source in [1, 2, 1, 2] {
            assert!(buffer.push(route(source, 7), b"x"));
        }
        let mut batches = Vec::new();
        buffer.batch_into(&mut batches, true);
        let sources: Vec<u16> = batches.iter().map(|batch| batch.route.local.port()).collect();
        assert_eq!(sources, [1, 2]);
    }

    #[test]
    fn a_full_buffer_refuses_until_it_is_cleared() {
        let mut buffer = TransmitBuffer::new();
        let mut pushed = 0;
        while buffer.push(route(1, 7), &[0; 4000]) {
            pushed += 1;
        }
        assert_eq!(pushed, ARENA_BYTES / 4000);
        buffer.clear();
        pushed = 0;
        while buffer.push(route(1, 7), b"") {
            pushed += 1;
        }
        assert_eq!(pushed, TransmitBuffer::MAX_DATAGRAMS);
        buffer.clear();
        let ports = (1..).take_while(|port| buffer.push(route(1, *port), b"x"));
        assert_eq!(ports.count(), MAX_FLOWS);
    }

    #[test]
    fn what_udp_cannot_carry_is_refused() {
        let mut buffer = TransmitBuffer::new();
        assert!(!buffer.push(route(1, 7), &vec![0; MAX_PAYLOAD + 1]));
        assert!(!buffer.push(route(1, 0), b"to nowhere"));
        assert!(buffer.is_empty());
    }
    #[test]
    fn what_is_written_in_place_is_what_is_sent() {
        let mut buffer = TransmitBuffer::new();
        let written = buffer.write(route(1, 7), 100, |room| {
            assert_eq!(room.len(), 100);
            room[..3].copy_from_slice(b"abc");
            Some(3)
        });
        assert!(written);
        assert!(buffer.push(route(2, 8), b"def"));
        let all: Vec<_> = buffer.iter().collect();
        assert_eq!(all, [(route(1, 7), &b"abc"[..]), (route(2, 8), b"def")]);
    }

    #[test]
    fn room_taken_back_and_claims_beyond_it_leave_nothing() {
        let mut buffer = TransmitBuffer::new();
        assert!(!buffer.write(route(1, 7), 100, |_| None));
        assert!(!buffer.write(route(1, 7), 100, |_| Some(101)));
        assert!(buffer.is_empty());
        assert!(buffer.push(route(1, 7), b"x"));
        assert_eq!(buffer.len(), 1);
        assert_eq!(buffer.bytes()[..1], *b"x");
    }

    #[test]
    fn datagrams_are_listed_in_the_order_pushed_whatever_their_flows() {
        let mut buffer = TransmitBuffer::new();
        let order = [7, 8, 9, 7, 9, 8, 8, 7];
        for port in order {
            assert!(buffer.push(route(1, port), b"x"));
        }
        assert!(buffer.iter().map(|(route, _)| route.remote.port()).eq(order));
    }

    #[test]
    fn what_travels_by_tcp_is_in_no_batch() {
        let mut buffer = TransmitBuffer::new();
        assert!(buffer.push(route(1, 7), b"udp"));
        assert!(!buffer.has_tcp());
        let Route { local, remote, .. } = route(1, 7);
        assert!(buffer.push(Route::tcp(local, remote), b"tcp"));
        let mut batches = Vec::new();
        buffer.batch_into(&mut batches, true);
        assert_eq!(batches.iter().map(|batch| batch.count).collect::<Vec<_>>(), [1]);
        assert!(buffer.has_tcp());
        assert_eq!(buffer.len(), 2);
        buffer.clear();
        assert!(!buffer.has_tcp());
    }
}
