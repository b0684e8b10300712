//! What was sent to one subscriber lately: enough to send any of it again.

use std::time::{Duration, Instant};

use super::ring::Position;
use crate::egress::Rewrite;

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
    /// Sequence number it was sent under.
    pub(super) seq: u16,
    pub(super) position: Position,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) rewrite: Option<Rewrite>,
}

/// See the module text. Takes no memory until something is sent.
#[derive(Debug)]
pub(super) struct SentPackets {
    slots: Box<[Slot]>,
    /// What times in the slots count from.
    epoch: Instant,
}

/// A [`Sent`] and its times in 32 bytes: there are hundreds for each subscriber.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    position: Position,
    timestamp: u32,
    /// Packets remembered together are closer than this tells apart.
    seq: u16,
    marker: bool,
    rewrite: Option<Rewrite>,
    sent: Moment,
    repeated: Moment,
}

/// Milliseconds since an epoch, and one; 0 for never. Wraps after 49 days, which only the pause and the age of a
/// packet could take for recent, once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Moment(u32);

const _: () = assert!(size_of::<Slot>() <= 32);

impl SentPackets {
    /// Nothing sent yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { slots: Box::default(), epoch: now }
    }

    /// Takes note of a packet sent at `now`.
    pub(super) fn insert(&mut self, sent: Sent, now: Instant) {
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); FIRST].into();
        }
        let now = self.moment(now);
        let Sent { seq, position, timestamp, marker, rewrite } = sent;
        while self.slots.len() < MOST && self.slots[self.index(seq)].sent.is_within(KEEP, now) {
            self.grow();
        }
        let repeated = Moment::default();
        self.slots[self.index(seq)] =
            Slot { position, timestamp, seq, marker, rewrite, sent: now, repeated };
    }

    /// The packet last sent under `sequence`, if it is remembered and was not repeated just now. It counts as repeated.
    pub(super) fn take_for_repeat(&mut self, sequence: u16, now: Instant) -> Option<Sent> {
        let now = self.moment(now);
        let index = self.index(sequence);
        let slot = self.slots.get_mut(index)?;
        let is_it = slot.sent != Moment::default() && slot.seq == sequence;
        if !is_it || slot.repeated.is_within(LEAST_PAUSE, now) {
            return None;
        }
        slot.repeated = now;
        let Slot { position, timestamp, seq, marker, rewrite, .. } = *slot;
        Some(Sent { seq, position, timestamp, marker, rewrite })
    }

    fn moment(&self, now: Instant) -> Moment {
        let elapsed = now.saturating_duration_since(self.epoch).as_millis();
        Moment((elapsed as u32).wrapping_add(1).max(1))
    }

    fn index(&self, seq: u16) -> usize {
        // A power of two, so that numbers that wrap go on in their order.
        usize::from(seq) % self.slots.len().max(1)
    }

    fn grow(&mut self) {
        let grown = vec![Slot::default(); self.slots.len() * 2].into();
        let former = std::mem::replace(&mut self.slots, grown);
        for slot in former.into_iter().filter(|slot| slot.sent != Moment::default()) {
            self.slots[self.index(slot.seq)] = slot;
        }
    }
}

impl Moment {
    fn is_within(self, span: Duration, now: Self) -> bool {
        self != Self::default() && u128::from(now.0.wrapping_sub(self.0)) < span.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    fn sent(seq: u64) -> Sent {
        let position = Position(seq + 7);
        Sent { seq: seq as u16, position, timestamp: 0, marker: false, rewrite: None }
    }

    #[test]
    fn what_was_sent_within_a_second_can_be_repeated_across_the_wrap() {
        let now = start_of_time();
        let mut packets = SentPackets::new(now);
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
        let mut packets = SentPackets::new(now);
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
        let mut packets = SentPackets::new(now);
        packets.insert(sent(5), now);
        assert!(packets.take_for_repeat(5, now).is_some());
        assert!(packets.take_for_repeat(5, now + LEAST_PAUSE / 2).is_none());
        assert!(packets.take_for_repeat(5, now + LEAST_PAUSE).is_some());
    }
}
