//! Telling a subscriber how long to hold pictures back, by a header extension of the packets of one feed
//! (`http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`).
//!
//! It is told for a while, until a report of the subscriber shows that a packet which told it arrived, and again when the
//! delay changes, which follows the jitter of the path. The rules and their numbers are LiveKit's, but for the while.

use std::time::{Duration, Instant};

use crate::playout::PlayoutDelay;

/// See the module text.
#[derive(Debug)]
pub(super) struct DelayTeller {
    allowed: PlayoutDelay,
    follows_jitter: bool,
    /// What the subscriber is to hold pictures back for.
    delay: Duration,
    state: State,
    /// When the subscriber was first told of `delay`; `None`: never of any.
    told_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was told of it yet.
    New,
    /// Every packet tells it, from this sequence number on.
    Telling { since: u16 },
    /// The subscriber has heard.
    Known,
}

/// How much longer than the jitter pictures are held back. More delays calls on rough paths, less lets pictures stutter.
const PER_JITTER: u32 = 10;

/// How long a delay is told at least. Packets of a new stream come before the answer that names it: Chromium reports on
/// them, and forgets what they said when it has read the answer. Shorter leaves pictures that are not held back on a slow
/// signalling path, longer costs 4 bytes a packet more.
const TOLD_FOR: Duration = Duration::from_secs(2);

/// The most by which the delay changes in a second: faster changes are heard and seen.
const MOST_CHANGE: Duration = Duration::from_millis(80);

impl DelayTeller {
    /// `follows_jitter`: not of shared screens, whose few pictures in bursts make the jitter look large.
    pub(super) fn new(allowed: PlayoutDelay, follows_jitter: bool) -> Self {
        let delay = allowed.min();
        Self { allowed, follows_jitter, delay, state: State::New, told_at: None }
    }

    /// What the packet with this sequence number is to carry.
    pub(super) fn extension(&mut self, sequence: u16, now: Instant) -> Option<[u8; 3]> {
        match self.state {
            State::Known => return None,
            State::Telling { .. } => {}
            State::New => {
                self.state = State::Telling { since: sequence };
                self.told_at = Some(now);
            }
        }
        Some(self.allowed.to_bytes(self.delay))
    }

    /// The subscriber reports that packets up to this sequence number arrived, with this jitter.
    pub(super) fn handle_report(&mut self, highest: u16, jitter: Duration, now: Instant) {
        let for_long = self.told_at.is_some_and(|at| now.saturating_duration_since(at) >= TOLD_FOR);
        // RFC 3550 §A.1: less than half of the numbers ahead is ahead.
        if let State::Telling { since } = self.state
            && highest.wrapping_sub(since) < 0x8000
            && for_long
        {
            self.state = State::Known;
        }
        if self.follows_jitter {
            self.follow(jitter, now);
        }
    }

    fn follow(&mut self, jitter: Duration, now: Instant) {
        let passed = self.told_at.map_or(1.0, |at| now.saturating_duration_since(at).as_secs_f64());
        let change = MOST_CHANGE.mul_f64(passed.min(1.0));
        let wanted = jitter.saturating_mul(PER_JITTER);
        let near =
            wanted.clamp(self.delay.saturating_sub(change), self.delay.saturating_add(change));
        let delay = self.allowed.clamp(Duration::from_millis(near.as_millis() as u64));
        if delay != self.delay {
            self.delay = delay;
            self.state = State::New;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    const STILL: Duration = Duration::ZERO;

    fn teller(follows_jitter: bool) -> DelayTeller {
        DelayTeller::new(PlayoutDelay::from_millis(100, 400), follows_jitter)
    }

    #[test]
    fn every_packet_tells_the_delay_until_one_of_them_is_known_to_have_arrived() {
        let (mut teller, now) = (teller(true), start_of_time());
        let told = teller.extension(65_534, now);
        assert_eq!(told, Some([0x00, 0xa0, 0x28]));
        assert_eq!(teller.extension(65_535, now), told);
        let later = now + TOLD_FOR;
        teller.handle_report(65_533, STILL, later);
        assert_eq!(teller.extension(0, later), told, "it reported on packets before the first");
        teller.handle_report(0, STILL, now + TOLD_FOR / 2);
        assert_eq!(teller.extension(1, later), told, "what came so early may be forgotten");
        teller.handle_report(1, STILL, later);
        assert_eq!(teller.extension(2, later), None);
    }

    #[test]
    fn a_delay_follows_the_jitter_by_eighty_milliseconds_a_second_within_what_is_allowed() {
        let (mut teller, mut now) = (teller(true), start_of_time());
        let mut told = Vec::new();
        for sequence in 0..7 {
            told.push(teller.extension(sequence, now).map(|bytes| bytes[1] >> 4 | bytes[0] << 4));
            now += Duration::from_secs(1);
            teller.handle_report(sequence, Duration::from_millis(60), now);
        }
        assert_eq!(told, [Some(10), Some(18), Some(26), Some(34), Some(40), Some(40), None]);
    }

    #[test]
    fn a_delay_that_does_not_follow_the_jitter_stays() {
        let (mut teller, now) = (teller(false), start_of_time());
        teller.extension(7, now);
        teller.handle_report(7, Duration::from_millis(60), now + TOLD_FOR);
        assert_eq!(teller.extension(8, now), None);
    }
}
