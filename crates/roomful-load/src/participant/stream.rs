//! One received RTP stream, as a browser would follow it.

use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use roomful_rtp::nack::{NackCounts, NackGenerator, Place};
use roomful_rtp::reception::Reception;

use crate::clock::Stamp;
use crate::sdp::Format;

/// A keyframe is asked for when none came for so long after the first packet, and again after as long:
/// what browsers' decoders wait (libwebrtc, 200 ms between requests).
const KEYFRAME_PATIENCE: Duration = Duration::from_millis(200);

/// See the module text.
pub(crate) struct Stream {
    pub(crate) ssrc: Ssrc,
    pub(crate) format: Format,
    pub(crate) reception: Reception,
    pub(crate) nack: NackGenerator,
    highest: Option<u64>,
    /// Repairs as counted when the measuring window opened.
    before: NackCounts,
    keyframe: Keyframe,
    /// When the last packet came, for gaps.
    last_arrival: Option<Stamp>,
}

#[derive(Clone, Copy)]
enum Keyframe {
    /// Not a picture.
    NotNeeded,
    Missing {
        ask_at: Instant,
    },
    Seen,
}

/// What a packet was to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// In order, or in the place of one that was missed.
    New,
    /// Here before.
    Duplicate,
}

impl Stream {
    pub(crate) fn new(ssrc: Ssrc, format: Format, now: Instant) -> Self {
        let keyframe = match format {
            Format::Video(_) => Keyframe::Missing { ask_at: now + KEYFRAME_PATIENCE },
            Format::Opus | Format::Repair(_) => Keyframe::NotNeeded,
        };
        Self {
            ssrc,
            format,
            reception: Reception::new(ssrc, format.clock_rate()),
            nack: NackGenerator::new(),
            highest: None,
            before: NackCounts::default(),
            keyframe,
            last_arrival: None,
        }
    }

    /// A packet of the stream itself.
    pub(crate) fn handle_packet(&mut self, seq: u16, timestamp: u32, now: Instant) -> Arrival {
        let seq = self.extend(seq);
        self.reception.handle_packet(seq, timestamp, now);
        match self.nack.handle_packet(seq, now) {
            Place::Newest | Place::Filled | Place::Restart => Arrival::New,
            Place::NotMissed => Arrival::Duplicate,
        }
    }

    /// A retransmission of the packet with this number.
    pub(crate) fn handle_repair(&mut self, seq: u16) -> Arrival {
        let seq = self.extend(seq);
        match self.nack.handle_repair(seq) {
            Place::Newest | Place::Filled | Place::Restart => Arrival::New,
            Place::NotMissed => Arrival::Duplicate,
        }
    }

    /// Time since the packet before this one.
    pub(crate) fn gap(&mut self, arrived: Stamp) -> Option<Duration> {
        let before = self.last_arrival.replace(arrived)?;
        u64::try_from(arrived.nanos_since(before)).ok().map(Duration::from_nanos)
    }

    pub(crate) fn handle_keyframe(&mut self) {
        if let Some(highest) = self.highest {
            self.nack.handle_keyframe(highest);
        }
        self.keyframe = Keyframe::Seen;
    }

    /// Whether the content has to be read to find a keyframe.
    pub(crate) fn awaits_keyframe(&self) -> bool {
        matches!(self.keyframe, Keyframe::Missing { .. })
    }

    /// Whether to send a keyframe request now.
    pub(crate) fn poll_keyframe_request(&mut self, now: Instant) -> bool {
        let lost = self.nack.poll_keyframe_request();
        match &mut self.keyframe {
            Keyframe::Missing { ask_at } if *ask_at <= now => {
                *ask_at = now + KEYFRAME_PATIENCE;
                true
            }
            Keyframe::Seen if lost => {
                self.keyframe = Keyframe::Missing { ask_at: now + KEYFRAME_PATIENCE };
                true
            }
            Keyframe::Missing { .. } | Keyframe::Seen | Keyframe::NotNeeded => false,
        }
    }

    /// Counts repairs from here on.
    pub(crate) fn open_window(&mut self) {
        self.before = self.nack.counts();
        self.last_arrival = None;
    }

    /// Packets missed since the window opened, and what became of them.
    pub(crate) fn window(&self) -> NackCounts {
        let (now, before) = (self.nack.counts(), self.before);
        NackCounts {
            missing: now.missing - before.missing,
            asked: now.asked - before.asked,
            repaired: now.repaired - before.repaired,
            reordered: now.reordered - before.reordered,
            given_up: now.given_up - before.given_up,
        }
    }

    /// The number nearest to the highest so far that ends in `seq` (RFC 3711 §3.3.1).
    fn extend(&mut self, seq: u16) -> u64 {
        let extended = match self.highest {
            // One wrap up, so that what came before the first packet is not negative.
            None => 0x1_0000 + u64::from(seq),
            Some(highest) => {
                let step = seq.wrapping_sub(highest as u16).cast_signed();
                highest.saturating_add_signed(step.into())
            }
        };
        self.highest = Some(self.highest.map_or(extended, |highest| highest.max(extended)));
        extended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::VideoCodec;

    #[test]
    fn numbers_continue_over_the_wrap() {
        let now = Instant::now();
        let mut stream = Stream::new(Ssrc(1), Format::Opus, now);
        for seq in [65_534, 65_535, 0, 1] {
            assert_eq!(stream.handle_packet(seq, 0, now), Arrival::New);
        }
        assert_eq!(stream.nack.counts().missing, 0);
        assert_eq!(stream.handle_packet(65_535, 0, now), Arrival::Duplicate);
    }

    #[test]
    fn only_what_is_missed_in_the_window_counts() {
        let now = Instant::now();
        let mut stream = Stream::new(Ssrc(1), Format::Opus, now);
        stream.handle_packet(1, 0, now);
        stream.handle_packet(5, 0, now);
        assert_eq!(stream.window().missing, 3);
        stream.open_window();
        assert_eq!(stream.window().missing, 0);
        stream.handle_packet(7, 0, now);
        assert_eq!(stream.window().missing, 1);
        assert_eq!(stream.handle_packet(6, 0, now), Arrival::New);
        assert_eq!(stream.window().reordered, 1);
    }

    #[test]
    fn a_keyframe_that_does_not_come_is_asked_for_until_it_does() {
        let now = Instant::now();
        let mut stream = Stream::new(Ssrc(1), Format::Video(VideoCodec::Vp8), now);
        stream.handle_packet(1, 0, now);
        assert!(!stream.poll_keyframe_request(now));
        let later = now + KEYFRAME_PATIENCE;
        assert!(stream.poll_keyframe_request(later));
        assert!(!stream.poll_keyframe_request(later), "not twice at once");
        stream.handle_keyframe();
        assert!(!stream.poll_keyframe_request(later + KEYFRAME_PATIENCE));
    }
}
