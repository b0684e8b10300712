//! Sound that was lost on the way here and came again inside a later packet (RFC 2198).
//!
//! It takes its place among the others, so that what was lost between the publisher and here does not count against the
//! way to the subscribers, who can repair as much again by themselves.

use roomful_rtp::rtp::red::{MOST_REDUNDANT, Red};

use super::ring::{Arrived, Carried};
use crate::transport::Format;

/// Which of the newest packets of a track are here. Nothing before its first packet is missing.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    newest: Option<u64>,
    /// Bit `n` stands for the packet `n + 1` before the newest.
    here: u64,
}

/// Packets that are remembered.
const WINDOW: u64 = u64::BITS as u64;

const _: () = assert!(MOST_REDUNDANT < WINDOW as usize);

/// A packet that is so much older than the newest does not come late, the stream begins anew: 20 s of sound, in packets.
/// Smaller takes a burst of old ones for a beginning, larger recovers nothing for longer.
const ANEW: u64 = 1_000;

impl Recovery {
    /// What comes next has nothing to do with what came before.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    /// Takes note of a packet; `false`: it is here already.
    pub(super) fn note(&mut self, seq: u64) -> bool {
        let Some(newest) = self.newest.filter(|newest| newest.saturating_sub(seq) < ANEW) else {
            (self.newest, self.here) = (Some(seq), u64::MAX);
            return true;
        };
        match newest.checked_sub(seq) {
            Some(0) => false,
            Some(back) => {
                let Some(bit) = bit(back) else { return true };
                let is_new = self.here & bit == 0;
                self.here |= bit;
                is_new
            }
            None => {
                let ahead = seq - newest;
                // The former newest is `ahead` before this one.
                let moved =
                    u32::try_from(ahead).ok().and_then(|ahead| self.here.checked_shl(ahead));
                self.here = moved.unwrap_or(0) | bit(ahead).unwrap_or(0);
                self.newest = Some(seq);
                true
            }
        }
    }

    /// Hands `found` every packet that `packet` carries and that is missing, the earliest first. Each once.
    pub(super) fn recover<'a>(
        &mut self,
        packet: &Arrived<'a>,
        mut found: impl FnMut(&Arrived<'a>),
    ) {
        if packet.format != Format::RED {
            return;
        }
        let Ok(red) = Red::parse(packet.payload) else { return };
        let blocks = red.blocks();
        let distances = (1..=blocks.len() as u64).rev();
        for (block, distance) in blocks.zip(distances) {
            let Some(seq) = packet.seq.checked_sub(distance) else { continue };
            // Without content, or of the same moment, it is nothing that was sent by itself.
            if block.data.is_empty() || block.timestamp_offset == 0 || !self.is_missing(seq) {
                continue;
            }
            self.note(seq);
            found(&Arrived {
                seq,
                timestamp: packet.timestamp.wrapping_sub(u64::from(block.timestamp_offset)),
                marker: false,
                format: Format::OPUS,
                // How loud it was nobody said; what carries it was sampled a moment later.
                extensions: Carried { level: packet.extensions.level, ..Carried::default() },
                payload: block.data,
                ..*packet
            });
        }
    }

    fn is_missing(&self, seq: u64) -> bool {
        let back = self.newest.and_then(|newest| newest.checked_sub(seq));
        back.and_then(bit).is_some_and(|bit| self.here & bit == 0)
    }
}

/// The bit of the packet `back` before the newest.
fn bit(back: u64) -> Option<u64> {
    (1..=WINDOW).contains(&back).then(|| 1 << (back - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Layer;
    use crate::testing::start_of_time;

    /// The payload of packet `seq`, with the `before` packets before it. Each says its number.
    fn redundant(seq: u8, before: u8) -> Vec<u8> {
        let mut payload = Vec::new();
        for back in (1..=before).rev() {
            let offset = 960 * u16::from(back);
            payload.extend([0xef, (offset >> 6) as u8, (offset << 2) as u8, 1]);
        }
        payload.push(0x6f);
        payload.extend((0..=before).rev().map(|back| seq - back));
        payload
    }

    /// Lets packets arrive in this order, each with as many before it. Returns what was recovered at each.
    fn recovered(order: &[u8], before: u8) -> Vec<Vec<u8>> {
        let mut recovery = Recovery::default();
        let mut arrive = |seq: &u8| {
            let payload = redundant(*seq, before);
            let packet = Arrived {
                layer: Layer::LOW,
                seq: 1_000 + u64::from(*seq),
                timestamp: 960 * u64::from(*seq),
                marker: false,
                arrival: start_of_time(),
                format: Format::RED,
                extensions: Carried::default(),
                payload: &payload,
                descriptor: &[],
            };
            recovery.note(packet.seq);
            let mut found = Vec::new();
            recovery.recover(&packet, |one| {
                assert_eq!(one.payload, [(one.seq - 1_000) as u8], "under its own number");
                assert_eq!(one.timestamp, 960 * (one.seq - 1_000));
                found.push(one.payload[0]);
            });
            found
        };
        order.iter().map(&mut arrive).collect()
    }

    #[test]
    fn what_was_lost_is_recovered_from_the_next_packet_once() {
        assert_eq!(recovered(&[10, 12, 13], 1), [vec![], vec![11], vec![]]);
        assert_eq!(recovered(&[10, 13, 14], 2), [vec![], vec![11, 12], vec![]]);
        assert_eq!(recovered(&[10, 14, 15], 2), [vec![], vec![12, 13], vec![]], "11 is gone");
    }

    #[test]
    fn what_arrived_or_was_never_expected_is_not_recovered() {
        assert!(recovered(&[10, 11, 12], 2).concat().is_empty());
        assert!(recovered(&[10], 5).concat().is_empty(), "nothing is missing before the first");
    }

    #[test]
    fn a_late_packet_brings_what_is_missing_before_it_and_is_taken_once() {
        assert_eq!(recovered(&[10, 14, 12], 1), [vec![], vec![13], vec![11]]);
        let mut recovery = Recovery::default();
        let taken = [10, 12, 11, 11, 12, 10].map(|seq| recovery.note(seq));
        assert_eq!(taken, [true, true, true, false, false, false]);
    }

    #[test]
    fn a_stream_that_jumps_far_begins_anew() {
        let mut recovery = Recovery::default();
        for seq in [5_000, 5_000 + 10 * WINDOW, 7] {
            assert!(recovery.note(seq));
        }
        assert!(!recovery.is_missing(6), "nothing before the beginning");
        assert!(recovery.note(u64::MAX));
        assert!(recovery.is_missing(u64::MAX - 1));
    }
}
