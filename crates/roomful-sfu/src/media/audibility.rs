//! Which microphones of a room are forwarded when many are open at once.
//!
//! A listener makes out two or three voices; sixty open microphones are mostly noise, and each costs every listener a
//! packet twenty times a second and the server one for each pair. So beyond [`ALL_HEARD`] only the loudest
//! [`LOUDEST`] are forwarded, by the levels that their own packets carry (RFC 6464). The choice is made anew with every
//! packet, so whoever begins to talk is heard from the first syllable.

use std::time::{Duration, Instant};

use super::TrackKey;

/// Up to this many open microphones all are forwarded. More, and a meeting of that size costs each member as many
/// packets; fewer, and in small meetings someone's quiet word is left out.
const ALL_HEARD: usize = 10;

/// Forwarded beyond that: who talks, who interrupts, and who laughs. More costs packets that nobody makes out,
/// fewer cuts off interruptions.
const LOUDEST: usize = 3;

/// How much louder than the quietest forwarded microphone another has to be to take its place, in sixteenths of a dB:
/// 6 dB. Less, and two equal voices push each other out with every syllable; more, and a quiet voice is not let in.
const MARGIN: u16 = 6 * 16;

/// A microphone that sent nothing for this long is not open (a muted one, or one that is silent and says so by
/// sending less). Longer keeps quiet rooms in the mode of loud ones; shorter forgets voices between sentences.
const OPEN: Duration = Duration::from_secs(2);

/// The level of a microphone that hears nothing (RFC 6464 §3).
const SILENCE: u8 = 127;

/// See the module text.
#[derive(Debug, Default)]
pub(super) struct Audibility {
    open: Vec<Microphone>,
}

#[derive(Debug)]
struct Microphone {
    track: TrackKey,
    /// dB below the loudest possible, in sixteenths; quick to get louder, slow to get quieter.
    below_full: u16,
    heard: Instant,
    forwarded: bool,
}

/// What becomes of a packet of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Forward,
    /// Forward it as the beginning of something new: what came before was left out.
    Begin,
    LeaveOut,
}

impl Audibility {
    /// Judges a packet with this level, if it carries one.
    pub(super) fn judge(&mut self, track: TrackKey, level: Option<u8>, now: Instant) -> Verdict {
        let Some(level) = level else { return Verdict::Forward };
        self.open
            .retain(|one| now.saturating_duration_since(one.heard) < OPEN || one.track == track);
        let index = self.note(track, level & SILENCE, now);
        let was_forwarded = self.open.get(index).is_some_and(|one| one.forwarded);
        let is_forwarded = self.decide(index);
        match (was_forwarded, is_forwarded) {
            (true, true) => Verdict::Forward,
            (false, true) => Verdict::Begin,
            (_, false) => Verdict::LeaveOut,
        }
    }

    /// The track is muted or gone.
    pub(super) fn forget(&mut self, track: TrackKey) {
        self.open.retain(|one| one.track != track);
    }

    fn note(&mut self, track: TrackKey, level: u8, now: Instant) -> usize {
        let level = u16::from(level) * 16;
        if let Some(index) = self.open.iter().position(|one| one.track == track) {
            let known = &mut self.open[index];
            known.below_full = match level < known.below_full {
                true => (known.below_full + 3 * level) / 4,
                // By half in 0.4 s of packets of 20 ms: longer than a breath between words.
                false => (known.below_full * 31 + level).div_ceil(32),
            };
            known.heard = now;
            return index;
        }
        self.open.push(Microphone { track, below_full: level, heard: now, forwarded: false });
        self.open.len() - 1
    }

    /// Whether the microphone at `index` is forwarded from now on; another may have to make room.
    fn decide(&mut self, index: usize) -> bool {
        let all = self.open.len() <= ALL_HEARD;
        let forwarded = || self.open.iter().enumerate().filter(|(_, one)| one.forwarded);
        let quietest = forwarded().max_by_key(|(_, one)| one.below_full).map(|(at, _)| at);
        let count = forwarded().count();
        let Some(this) = self.open.get(index) else { return false };
        let level = this.below_full;
        let is_forwarded = match (this.forwarded, quietest.and_then(|at| self.open.get(at))) {
            _ if all => true,
            _ if level >= u16::from(SILENCE) * 16 => false,
            // The room was smaller: the quietest leave one by one.
            (true, _) => count <= LOUDEST || quietest != Some(index),
            (false, Some(other)) if count >= LOUDEST => level + MARGIN < other.below_full,
            (false, _) => true,
        };
        let replaces = is_forwarded && !all && !this.forwarded && count >= LOUDEST;
        if let Some(replaced) = quietest.filter(|_| replaces).and_then(|at| self.open.get_mut(at)) {
            replaced.forwarded = false;
        }
        if let Some(this) = self.open.get_mut(index) {
            this.forwarded = is_forwarded;
        }
        is_forwarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;
    use slotmap::SlotMap;

    const LOUD: u8 = 20;
    const QUIET: u8 = 60;

    struct Hall {
        audibility: Audibility,
        tracks: Vec<TrackKey>,
        now: Instant,
    }

    impl Hall {
        fn new(microphones: usize) -> Self {
            let mut keys = SlotMap::<TrackKey, ()>::with_key();
            let tracks = (0..microphones).map(|_| keys.insert(())).collect();
            Self { audibility: Audibility::default(), tracks, now: start_of_time() }
        }

        /// Every microphone sends for a second; returns those forwarded at its end.
        fn second(&mut self, level: impl Fn(usize) -> u8) -> Vec<usize> {
            let mut heard = Vec::new();
            for _ in 0..50 {
                self.now += Duration::from_millis(20);
                heard.clear();
                for (index, track) in self.tracks.iter().enumerate() {
                    let verdict = self.audibility.judge(*track, Some(level(index)), self.now);
                    if verdict != Verdict::LeaveOut {
                        heard.push(index);
                    }
                }
            }
            heard
        }
    }

    #[test]
    fn in_a_small_room_everyone_is_forwarded() {
        let mut hall = Hall::new(ALL_HEARD);
        assert_eq!(hall.second(|_| QUIET).len(), ALL_HEARD);
    }

    #[test]
    fn in_a_large_one_the_loudest_are() {
        let mut hall = Hall::new(60);
        let heard = hall.second(|index| if index >= 57 { LOUD } else { QUIET });
        assert_eq!(heard, [57, 58, 59]);
    }

    #[test]
    fn whoever_begins_to_talk_is_heard_from_the_first_packet() {
        let mut hall = Hall::new(60);
        hall.second(|index| if index < 2 { LOUD } else { QUIET });
        let verdict = hall.audibility.judge(hall.tracks[40], Some(LOUD), hall.now);
        assert_eq!(verdict, Verdict::Begin);
        let verdict = hall.audibility.judge(hall.tracks[40], Some(LOUD), hall.now);
        assert_eq!(verdict, Verdict::Forward);
    }

    #[test]
    fn equal_voices_do_not_push_each_other_out() {
        let mut hall = Hall::new(60);
        let first = hall.second(|_| LOUD);
        assert_eq!(first.len(), LOUDEST);
        for _ in 0..10 {
            assert_eq!(hall.second(|index| LOUD + (index % 3) as u8), first);
        }
    }

    #[test]
    fn silence_is_not_forwarded_and_sound_without_levels_always_is() {
        let mut hall = Hall::new(60);
        hall.second(|_| SILENCE);
        assert!(hall.second(|_| SILENCE).is_empty());
        assert_eq!(hall.audibility.judge(hall.tracks[7], None, hall.now), Verdict::Forward);
    }

    #[test]
    fn a_room_that_empties_forwards_everyone_again() {
        let mut hall = Hall::new(60);
        hall.second(|_| QUIET);
        hall.tracks.truncate(5);
        hall.now += OPEN;
        assert_eq!(hall.second(|_| QUIET).len(), 5);
    }
}
