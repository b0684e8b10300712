//! `PacketRing`: the newest packets of one track, decrypted, kept once for everyone who receives it.
//!
//! Forwarding reads it, and so does repair: a subscriber that asks for a packet again gets it from here. It
//! grows while packets younger than [`KEEP`] would have to leave, up to a limit; older ones leave. Payloads lie in one circular buffer, each in one piece.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::egress::{Layer, LayerFrame, MediaKind};
use crate::transport::Format;

/// How long a packet should stay. A subscriber on a path of 300 ms asks twice within it. Longer costs memory
/// for each track; shorter leaves distant subscribers' losses unrepaired.
const KEEP: Duration = Duration::from_millis(1_500);

/// Bytes to begin with: half a second of a low layer, or some seconds of sound. A track that never sends
/// takes nothing.
const FIRST_CAPACITY: usize = 32 * 1024;

/// Bytes one track's ring may take: [`KEEP`] of three layers at 20 Mb/s together, or of any sound. Larger lets
/// one participant hold that much memory; smaller shortens what can be repaired of high bitrates.
const MAX_VIDEO: usize = 4 * 1024 * 1024;
const MAX_AUDIO: usize = 64 * 1024;

/// Packets a ring may hold, however small: bounds what a flood of empty packets takes.
const MAX_PACKETS: usize = 8 * 1024;

/// See the module text.
#[derive(Debug)]
pub(crate) struct PacketRing {
    bytes: Vec<u8>,
    kept: VecDeque<Kept>,
    /// Position of the oldest packet kept.
    first: u64,
    /// Where the next payload begins. Offsets only grow; the buffer holds them modulo its length.
    write: u64,
    limit: usize,
}

/// One packet of the ring, without its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) layer: Layer,
    /// Sequence number in its own stream, extended past 16 bits.
    pub(crate) seq: u64,
    /// Timestamp in its own stream, extended past 32 bits.
    pub(crate) timestamp: u64,
    pub(crate) marker: bool,
    pub(crate) arrival: Instant,
    pub(crate) format: Format,
    pub(crate) extensions: Carried,
    /// Its place among the layers inside its encoding, if it says so.
    pub(crate) frame: Option<LayerFrame>,
    offset: u64,
    length: u16,
    /// Bytes of its dependency descriptor, which lies behind the payload.
    descriptor: u8,
}

/// What a packet's header extensions say that subscribers should hear, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Audio level with its voice bit (RFC 6464), as on the wire.
    pub(crate) level: Option<u8>,
    /// Coordination of video orientation (3GPP TS 26.114 §7.4.5), as on the wire.
    pub(crate) orientation: Option<u8>,
}

/// A packet's place in its ring, counted from the first the track ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position(pub(crate) u64);

/// A packet on its way into a ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) layer: Layer,
    pub(crate) seq: u64,
    pub(crate) timestamp: u64,
    pub(crate) marker: bool,
    pub(crate) arrival: Instant,
    pub(crate) format: Format,
    pub(crate) extensions: Carried,
    pub(crate) payload: &'a [u8],
    /// Its dependency descriptor, where its codec needs one that subscribers have to have, too; else empty.
    pub(crate) descriptor: &'a [u8],
}

impl PacketRing {
    pub(crate) fn new(kind: MediaKind) -> Self {
        let limit = match kind {
            MediaKind::Audio => MAX_AUDIO,
            MediaKind::Video => MAX_VIDEO,
        };
        Self { bytes: Vec::new(), kept: VecDeque::new(), first: 0, write: 0, limit }
    }

    /// Where the next packet will stand.
    pub(crate) fn end(&self) -> Position {
        Position(self.first + self.kept.len() as u64)
    }

    /// Takes a packet in, which is of `frame`; one that no buffer could hold is left out, which RTP over UDP cannot produce.
    pub(crate) fn push(&mut self, packet: &Arrived<'_>, frame: Option<LayerFrame>) {
        let payload = packet.payload.len();
        let length = payload + packet.descriptor.len();
        let (Ok(short), Ok(descriptor)) =
            (u16::try_from(payload), u8::try_from(packet.descriptor.len()))
        else {
            return;
        };
        if self.bytes.is_empty() {
            self.bytes = vec![0; FIRST_CAPACITY.min(self.limit)];
        }
        while !self.make_room(length, packet.arrival) {
            self.grow();
        }
        let start = self.place(self.write);
        self.bytes[start..start + payload].copy_from_slice(packet.payload);
        self.bytes[start + payload..start + length].copy_from_slice(packet.descriptor);
        self.kept.push_back(Kept {
            layer: packet.layer,
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            arrival: packet.arrival,
            format: packet.format,
            extensions: packet.extensions,
            frame,
            offset: self.write,
            length: short,
            descriptor,
        });
        self.write += length as u64;
    }

    /// The packet at `position` and its payload, if it is still here.
    pub(crate) fn get(&self, position: Position) -> Option<(&Kept, &[u8])> {
        let index = usize::try_from(position.0.checked_sub(self.first)?).ok()?;
        let kept = self.kept.get(index)?;
        let start = self.place(kept.offset);
        let payload = self.bytes.get(start..start + usize::from(kept.length))?;
        Some((kept, payload))
    }

    /// The dependency descriptor of a packet that is still here; empty if it has none.
    pub(crate) fn descriptor(&self, kept: &Kept) -> &[u8] {
        let start = self.place(kept.offset) + usize::from(kept.length);
        self.bytes.get(start..start + usize::from(kept.descriptor)).unwrap_or_default()
    }

    /// Lets the oldest go until `length` bytes fit in one piece; `false` if growing is better.
    fn make_room(&mut self, length: usize, now: Instant) -> bool {
        let capacity = self.bytes.len();
        let start = self.place(self.write);
        let skipped = if start + length > capacity { capacity - start } else { 0 };
        let end = self.write + (skipped + length) as u64;
        while let Some(oldest) = self.kept.front() {
            let fits = oldest.offset + capacity as u64 >= end && self.kept.len() < MAX_PACKETS;
            let young = now.saturating_duration_since(oldest.arrival) < KEEP;
            if fits && young {
                break;
            }
            if young && capacity < self.limit && self.kept.len() < MAX_PACKETS {
                return false;
            }
            self.kept.pop_front();
            self.first += 1;
        }
        if self.kept.is_empty() && length > capacity {
            return false;
        }
        self.write += skipped as u64;
        true
    }

    /// Doubles the buffer.
    fn grow(&mut self) {
        let grown = vec![0; self.bytes.len() * 2];
        let former = std::mem::replace(&mut self.bytes, grown);
        let mut write = 0;
        for kept in &mut self.kept {
            let length = usize::from(kept.length) + usize::from(kept.descriptor);
            let from = (kept.offset % former.len() as u64) as usize;
            self.bytes[write..write + length].copy_from_slice(&former[from..from + length]);
            kept.offset = write as u64;
            write += length;
        }
        self.write = write as u64;
    }

    fn place(&self, offset: u64) -> usize {
        (offset % self.bytes.len().max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    fn push(ring: &mut PacketRing, seq: u64, length: usize, arrival: Instant) -> Position {
        let position = ring.end();
        let packet = Arrived {
            layer: Layer::LOW,
            seq,
            timestamp: 0,
            marker: false,
            arrival,
            format: Format::OPUS,
            extensions: Carried::default(),
            payload: &vec![seq as u8; length],
            descriptor: &[],
        };
        ring.push(&packet, None);
        position
    }

    fn check(ring: &PacketRing, position: Position, seq: u64, length: usize) {
        let (kept, payload) = ring.get(position).unwrap();
        assert_eq!((kept.seq, payload.len()), (seq, length));
        assert!(payload.iter().all(|byte| *byte == seq as u8), "packet {seq} is torn");
    }

    #[test]
    fn young_packets_stay_whole_while_the_ring_grows() {
        let now = start_of_time();
        let mut ring = PacketRing::new(MediaKind::Video);
        let mut rng = fastrand::Rng::with_seed(1);
        let lengths: Vec<usize> = (0..2_000).map(|_| rng.usize(0..1_400)).collect();
        for (seq, length) in lengths.iter().enumerate() {
            push(&mut ring, seq as u64, *length, now);
        }
        for (seq, length) in lengths.iter().enumerate() {
            check(&ring, Position(seq as u64), seq as u64, *length);
        }
    }

    #[test]
    fn old_packets_leave_and_the_ring_does_not_grow() {
        let mut now = start_of_time();
        let mut ring = PacketRing::new(MediaKind::Video);
        for seq in 0..5_000 {
            push(&mut ring, seq, 1_000, now);
            now += Duration::from_millis(100);
        }
        assert_eq!(ring.bytes.len(), FIRST_CAPACITY, "15 packets are young at a time");
        assert!(ring.get(Position(0)).is_none());
        for seq in 4_985..5_000 {
            check(&ring, Position(seq), seq, 1_000);
        }
    }

    #[test]
    fn a_flood_takes_no_more_than_the_limit() {
        let now = start_of_time();
        let mut ring = PacketRing::new(MediaKind::Audio);
        for seq in 0..20_000 {
            push(&mut ring, seq, usize::from(seq % 3 == 0) * 900, now);
        }
        assert!(ring.bytes.len() <= MAX_AUDIO && ring.kept.len() <= MAX_PACKETS);
        check(&ring, Position(19_998), 19_998, 900);
        let mut empty = PacketRing::new(MediaKind::Video);
        for seq in 0..20_000 {
            push(&mut empty, seq, 0, now);
        }
        assert_eq!(empty.kept.len(), MAX_PACKETS);
    }

    #[test]
    fn what_is_not_here_is_not_found() {
        let ring = PacketRing::new(MediaKind::Audio);
        assert!(ring.get(Position(0)).is_none());
        assert!(ring.get(Position(u64::MAX)).is_none());
    }
}
