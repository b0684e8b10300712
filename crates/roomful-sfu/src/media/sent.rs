//! What was sent to one subscriber lately: enough to send any of it again.

use std::time::{Duration, Instant};

use super::ring::Position;
use crate::egress::Vp8Rewrite;

/// Packets remembered at first, and at most: it doubles when one younger than [`KEEP`] would have to leave.
/// 1,024 are a second of 8 Mb/s. Larger costs every subscriber memory, smaller leaves losses unrepaired.
const FIRST: usize = 64;
const MOST: usize = 1_024;

/// How long a packet should be remembered: as long as the ring of its track keeps it, roughly.
const KEEP: Duration = Duration::from_secs(1);

/// A packet is not repeated again within this time: subscribers ask again when an answer has not arrived after a
/// round trip, and browsers' first estimate of that is short. Smaller sends what is on its way already, larger
/// delays the repair of a lost repair.
const LEAST_PAUSE: Duration = Duration::from_millis(20);

/// One sent packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Extended sequence number it was sent under.
    pub(super) seq: u64,
    pub(super) position: Position,
    pub(super) timestamp: u32,
    pub(super) vp8: Option<Vp8Rewrite>,
    pub(super) repeated: Option<Instant>,
}

/// See the module text. Takes no memory until something is sent.
#[derive(Debug, Default)]
pub(super) struct SentPackets {
    slots: Vec<Option<(Sent, Instant)>>,
}

impl SentPackets {
    /// Takes note of a packet sent at `now`.
    pub(super) fn insert(&mut self, sent: Sent, now: Instant) {
        if self.slots.is_empty() {
            self.slots = vec![None; FIRST];
        }
        let young = |(_, at): &(Sent, Instant)| now.saturating_duration_since(*at) < KEEP;
        while self.slots.len() < MOST && self.slot(sent.seq).is_some_and(|former| young(&former)) {
            self.grow();
        }
        let index = self.index(sent.seq);
        self.slots[index] = Some((sent, now));
    }

    /// The packet last sent under `sequence`, if it is remembered and was not repeated just now. It counts as repeated.
    pub(super) fn take_for_repeat(&mut self, sequence: u16, now: Instant) -> Option<Sent> {
        if self.slots.is_empty() {
            return None;
        }
        let index = self.index(u64::from(sequence));
        let (sent, _) = self.slots[index].as_mut()?;
        let recent = |at: Instant| now.saturating_duration_since(at) < LEAST_PAUSE;
        if sent.seq as u16 != sequence || sent.repeated.is_some_and(recent) {
            return None;
        }
        sent.repeated = Some(now);
        Some(*sent)
    }

    fn slot(&self, seq: u64) -> Option<(Sent, Instant)> {
        self.slots[self.index(seq)]
    }

    fn index(&self, seq: u64) -> usize {
        // A power of two, so that 16-bit sequence numbers find the place of extended ones.
        (seq % self.slots.len().max(1) as u64) as usize
    }

    fn grow(&mut self) {
        let former = std::mem::take(&mut self.slots);
        self.slots = vec![None; former.len() * 2];
        for (sent, at) in former.into_iter().flatten() {
            let index = self.index(sent.seq);
            self.slots[index] = Some((sent, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    fn sent(seq: u64) -> Sent {
        Sent { seq, position: Position(seq + 7), timestamp: 0, vp8: None, repeated: None }
    }

    #[test]
    fn what_was_sent_within_a_second_can_be_repeated_across_the_wrap() {
        let now = start_of_time();
        let mut packets = SentPackets::default();
        for seq in 65_000..66_000 {
            packets.insert(sent(seq), now);
        }
        for seq in 65_000..66_000_u64 {
            let found = packets.take_for_repeat(seq as u16, now).unwrap();
            assert_eq!(found.position, Position(seq + 7));
        }
        assert!(packets.take_for_repeat(64_999, now).is_none());
    }

    #[test]
    fn old_packets_are_forgotten_rather_than_memory_taken() {
        let mut now = start_of_time();
        let mut packets = SentPackets::default();
        for seq in 0..2_000 {
            packets.insert(sent(seq), now);
            now += Duration::from_millis(20);
        }
        assert_eq!(packets.slots.len(), FIRST);
        assert!(packets.take_for_repeat(0, now).is_none());
        assert!(packets.take_for_repeat(1_999, now).is_some());
    }

    #[test]
    fn nothing_is_repeated_twice_at_once() {
        let now = start_of_time();
        let mut packets = SentPackets::default();
        packets.insert(sent(5), now);
        assert!(packets.take_for_repeat(5, now).is_some());
        assert!(packets.take_for_repeat(5, now + LEAST_PAUSE / 2).is_none());
        assert!(packets.take_for_repeat(5, now + LEAST_PAUSE).is_some());
    }
}
