//! The sender's half: what was sent when, and what feedback says became of it.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::{FIRST, nearest};
use crate::rtcp::{FeedbackTime, Span, Spans, TransportFeedback};

/// The packets one transport sent lately, numbered here.
///
/// A ring of eight bytes a packet. It begins with [`SentLog::SMALLEST`] packets at the first one sent
/// (2 KiB; nothing before that) and doubles, up to [`SentLog::LARGEST`] (16 KiB), only while it would
/// otherwise forget packets of the last second that nothing was heard of.
#[derive(Debug)]
pub struct SentLog {
    ring: Box<[Entry]>,
    epoch: Option<Instant>,
    next: u64,
    /// Everything before this number is no longer on its way.
    settled: u64,
    in_flight: u64,
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentPacket {
    /// Its transport-wide number, as on the wire.
    pub seq: u16,
    /// When it was sent.
    pub sent: Instant,
    /// Its size, as given to [`SentLog::sent`].
    pub size: usize,
    /// What feedback says of it.
    pub fate: Fate,
}

/// What feedback says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrived.
    Arrived(FeedbackTime),
    /// It arrived after all: an earlier feedback had it as lost.
    ArrivedLate(FeedbackTime),
    /// It had not arrived when a later one had.
    Lost,
}

/// One packet in eight bytes: microseconds since the epoch (48 bits, nine years), state (2 bits), size
/// (14 bits).
#[derive(Clone, Copy, Debug, Default)]
struct Entry(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Outstanding,
    Lost,
    Arrived,
}

impl SentLog {
    /// Packets it holds at first: two seconds of a talking subscriber, a quarter of a second at 10 Mb/s.
    pub const SMALLEST: usize = 256;

    /// Packets it holds at most: a second at 20 Mb/s. Fewer: on a fast and long path feedback comes for
    /// packets already forgotten, and the estimate has nothing to go by. More: memory of each subscriber.
    pub const LARGEST: usize = 2048;

    /// Feedback comes once or several times a second, after one round trip: what was not heard of for
    /// this long is not worth memory.
    const HORIZON: Duration = Duration::from_secs(1);

    /// Nothing sent yet.
    pub fn new() -> Self {
        Self { ring: Box::default(), epoch: None, next: FIRST, settled: FIRST, in_flight: 0 }
    }

    /// The number that the next packet is to carry.
    pub fn next_seq(&self) -> u16 {
        self.next as u16
    }

    /// A packet of `size` bytes (up to 16,383 are counted) is sent; returns the number it is to carry.
    pub fn sent(&mut self, size: usize, now: Instant) -> u16 {
        let epoch = *self.epoch.get_or_insert(now);
        let micros = now.saturating_duration_since(epoch).as_micros() as u64;
        self.make_room(micros);
        let entry = Entry::new(micros, size);
        let (seq, slot) = (self.next, self.slot_of(self.next));
        if let Some(place) = self.ring.get_mut(slot) {
            *place = entry;
        }
        self.next += 1;
        self.in_flight += entry.size() as u64;
        seq as u16
    }

    /// What `feedback` says of packets sent, in their order: each packet once as lost and once as
    /// arrived at most, and no word of what was never sent or is forgotten. Go through to the end:
    /// what is not taken out is not noted either.
    #[must_use = "what is not taken out is not noted"]
    pub fn handle_feedback<'a>(&'a mut self, feedback: &TransportFeedback<'a>) -> Acks<'a> {
        // Nothing that was sent is further away than half the numbers there are.
        let seq = nearest(self.next, feedback.first_seq).unwrap_or(self.next);
        Acks { log: self, spans: feedback.spans(), seq, lost: 0..0 }
    }

    /// Bytes sent since the newest packet that feedback named: on their way, or lost there.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Bytes of memory it holds besides itself.
    pub fn heap_size(&self) -> usize {
        size_of_val(&*self.ring)
    }

    /// The numbers that are remembered.
    fn known(&self) -> Range<u64> {
        self.next.saturating_sub(self.ring.len() as u64).max(FIRST)..self.next
    }

    /// The ring's length is a power of two.
    fn slot_of(&self, seq: u64) -> usize {
        seq as usize & self.ring.len().wrapping_sub(1)
    }

    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let slot = self.slot_of(seq);
        if self.known().contains(&seq) { self.ring.get_mut(slot) } else { None }
    }

    /// Forgets the oldest packet, or grows so that it need not.
    fn make_room(&mut self, micros: u64) {
        if self.ring.is_empty() {
            self.ring = vec![Entry::default(); Self::SMALLEST].into_boxed_slice();
            return;
        }
        let oldest = self.ring.get(self.slot_of(self.next)).copied().unwrap_or_default();
        let age = Duration::from_micros(micros.saturating_sub(oldest.micros()));
        let is_awaited = oldest.state() == State::Outstanding && age < Self::HORIZON;
        if is_awaited && self.ring.len() < Self::LARGEST {
            self.grow();
        } else if oldest.state() != State::Empty {
            self.settle(self.known().start + 1);
        }
    }

    fn grow(&mut self) {
        let mut larger = vec![Entry::default(); self.ring.len() * 2].into_boxed_slice();
        let mask = larger.len() - 1;
        for seq in self.known() {
            let entry = self.ring.get(self.slot_of(seq)).copied().unwrap_or_default();
            if let Some(place) = larger.get_mut(seq as usize & mask) {
                *place = entry;
            }
        }
        self.ring = larger;
    }

    /// Nothing before `seq` is on its way any more.
    fn settle(&mut self, seq: u64) {
        while self.settled < seq.min(self.next) {
            let size = self.entry(self.settled).map_or(0, |entry| entry.size());
            self.in_flight = self.in_flight.saturating_sub(size as u64);
            self.settled += 1;
        }
    }

    fn packet(&self, seq: u64, entry: Entry, fate: Fate) -> Option<SentPacket> {
        let sent = self.epoch? + Duration::from_micros(entry.micros());
        Some(SentPacket { seq: seq as u16, sent, size: entry.size(), fate })
    }

    fn handle_arrived(&mut self, seq: u64, at: FeedbackTime) -> Option<SentPacket> {
        let entry = self.entry(seq)?;
        let fate = match entry.state() {
            State::Outstanding => Fate::Arrived(at),
            State::Lost => Fate::ArrivedLate(at),
            State::Empty | State::Arrived => return None,
        };
        entry.set(State::Arrived);
        let entry = *entry;
        self.settle(seq + 1);
        self.packet(seq, entry, fate)
    }

    fn handle_lost(&mut self, seq: u64) -> Option<SentPacket> {
        let entry = self.entry(seq)?;
        if entry.state() != State::Outstanding {
            return None;
        }
        entry.set(State::Lost);
        let entry = *entry;
        self.packet(seq, entry, Fate::Lost)
    }
}

impl Default for SentLog {
    fn default() -> Self {
        Self::new()
    }
}

/// What feedback says of packets sent. See [`SentLog::handle_feedback`].
#[derive(Debug)]
pub struct Acks<'a> {
    log: &'a mut SentLog,
    spans: Spans<'a>,
    /// Number of the next packet of `spans`.
    seq: u64,
    /// The rest of a span of lost packets, of those that are remembered.
    lost: Range<u64>,
}

impl Iterator for Acks<'_> {
    type Item = SentPacket;

    fn next(&mut self) -> Option<SentPacket> {
        loop {
            for seq in self.lost.by_ref() {
                if let Some(packet) = self.log.handle_lost(seq) {
                    return Some(packet);
                }
            }
            match self.spans.next()? {
                Span::Lost { count, .. } => {
                    let end = self.seq + u64::from(count);
                    let known = self.log.known();
                    // Thousands may be reported lost in a few bytes: only what is remembered counts.
                    self.lost = self.seq.max(known.start)..end.min(known.end);
                    self.seq = end;
                }
                Span::Arrived { at, .. } => {
                    let seq = self.seq;
                    self.seq += 1;
                    if let Some(packet) = self.log.handle_arrived(seq, at) {
                        return Some(packet);
                    }
                }
            }
        }
    }
}

impl Entry {
    const MAX_SIZE: usize = 0x3fff;

    fn new(micros: u64, size: usize) -> Self {
        let mut entry = Self(micros << 16 | size.min(Self::MAX_SIZE) as u64);
        entry.set(State::Outstanding);
        entry
    }

    const fn micros(self) -> u64 {
        self.0 >> 16
    }

    const fn size(self) -> usize {
        self.0 as usize & Self::MAX_SIZE
    }

    const fn state(self) -> State {
        match self.0 >> 14 & 3 {
            0 => State::Empty,
            1 => State::Outstanding,
            2 => State::Lost,
            _ => State::Arrived,
        }
    }

    const fn set(&mut self, state: State) {
        self.0 = self.0 & !(3 << 14) | (state as u64) << 14;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Rtcp, packets};
    use crate::testing::start_of_time;

    #[test]
    fn a_claim_that_thousands_were_lost_costs_no_more_than_what_was_sent() {
        // From number 65,000 on, 8191 lost: of those, ten were sent.
        #[rustfmt::skip]
        let bytes = [
            0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2,
            0xfd, 0xe8, 0x1f, 0xff, 0, 0, 0, 0, 0x1f, 0xff, 0, 0,
        ];
        let Some(Ok(Rtcp::TransportFeedback(feedback))) = packets(&bytes).next() else {
            panic!("feedback")
        };
        let mut log = SentLog::new();
        (0..10).for_each(|_| _ = log.sent(1000, start_of_time()));
        let mut acks = log.handle_feedback(&feedback);
        assert_eq!(acks.next().map(|packet| packet.seq), Some(0));
        assert_eq!(acks.lost, FIRST + 1..FIRST + 10);
        assert_eq!(acks.count(), 9);
    }
}
