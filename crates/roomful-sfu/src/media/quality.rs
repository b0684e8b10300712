//! How well media gets to and from one participant: what its own reports and ours say of loss and delay, in one number.
//!
//! The number is a rating of the E-model (ITU-T G.107), as far as a server can know it: delay costs a little at first and
//! much from 180 ms on (Cole and Rosenbluth, Voice over IP Performance Monitoring, 2001), each percent of loss that was
//! not repaired costs as much as it disturbs.

use std::time::Duration;

use livekit_protocol::ConnectionQuality;
use roomful_rtp::rtcp::ReportBlock;

use crate::egress::MediaKind;

/// How well a participant is connected, from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathQuality(u8);

/// See the module text.
#[derive(Debug, Default)]
pub(super) struct QualityJudge {
    /// Since the last judgement: sound and pictures, from the participant and to it.
    passages: [Passage; 4],
    rating: Option<f32>,
    seconds: u32,
}

/// Which way media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the participant.
    Up,
    /// To it.
    Down,
}

/// What became of packets of one stream, or of several together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) expected: u64,
    /// Of those, what never arrived. Less than nothing where what seemed lost before came after all.
    pub(super) lost: i64,
    /// The largest mean deviation in the spacing of sound.
    pub(super) jitter: Duration,
}

/// What was sent of one stream, and what its receiver said of it last.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sending {
    /// The first sequence number, and the highest.
    span: Option<(u64, u64)>,
    sent: u64,
    reported: Option<Reported>,
}

#[derive(Debug, Clone, Copy)]
struct Reported {
    highest_seq: u32,
    lost: i32,
    /// Numbers that had not been sent by then.
    holes: u64,
}

/// Seconds between two judgements: LiveKit's. Longer shows a bad path later, shorter judges by a handful of packets.
const PERIOD: u32 = 5;

/// Fewer packets in one period say nothing of a path.
const FEWEST: u64 = 10;

/// Packets of sound in one period while somebody talks. Silence with few packets (RFC 7587 §3.1.3, DTX) is disturbed less
/// by the same share of loss.
const TALKING: f32 = 50.0 * PERIOD as f32;

/// What one percent of loss costs. Sound with the in-band redundancy that LiveKit's clients ask for (RFC 7587 §3.1.7) is
/// good until some 4 % and poor from some 11 % on, pictures from 2 % and 6 % of unrepaired loss on, as in LiveKit. More
/// marks connections that people find good, less hides what they complain of.
const SOUND_LOSS: f32 = 16.0 / 3.0;
const PICTURE_LOSS: f32 = 10.0;

/// How much of a change one judgement takes over: down fast, so that trouble shows while it lasts, up slowly, so that a
/// path that comes and goes does not flicker.
const FALL: f32 = 0.75;
const RISE: f32 = 0.33;

/// No rating is lower: from there a path that became good is shown so within 20 s.
const LOWEST: f32 = 30.0;

const BEST: f32 = 100.0;

/// Ratings above are excellent, and good: LiveKit's.
const EXCELLENT_ABOVE: u8 = 80;
const GOOD_ABOVE: u8 = 40;

impl PathQuality {
    /// What is said of one that is out of reach.
    pub(crate) const LOST: Self = Self(20);

    /// What is believed of one of which nothing is known yet.
    pub(crate) const UNKNOWN: Self = Self(BEST as u8);

    /// In LiveKit's words.
    pub(crate) fn grade(self) -> ConnectionQuality {
        match self.0 {
            rating if rating > EXCELLENT_ABOVE => ConnectionQuality::Excellent,
            rating if rating > GOOD_ABOVE => ConnectionQuality::Good,
            rating if rating > Self::LOST.0 => ConnectionQuality::Poor,
            _ => ConnectionQuality::Lost,
        }
    }

    /// The mean opinion score of listeners, from 1 to 4.5 (ITU-T G.107 annex B).
    pub(crate) fn score(self) -> f32 {
        let rating = f32::from(self.0);
        let score = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
        score.clamp(1.0, 4.5)
    }
}

impl QualityJudge {
    /// Something passed, or did not.
    pub(super) fn handle(&mut self, way: Way, kind: MediaKind, passed: Passage) {
        let [sound_up, pictures_up, sound_down, pictures_down] = &mut self.passages;
        let passage = match (way, kind) {
            (Way::Up, MediaKind::Audio) => sound_up,
            (Way::Up, MediaKind::Video) => pictures_up,
            (Way::Down, MediaKind::Audio) => sound_down,
            (Way::Down, MediaKind::Video) => pictures_down,
        };
        passage.expected += passed.expected;
        passage.lost += passed.lost;
        passage.jitter = passage.jitter.max(passed.jitter);
    }

    /// A second has passed. Every [`PERIOD`] it judges what came since, over a path of that round trip; `None` in between.
    pub(super) fn handle_second(&mut self, round_trip: Option<Duration>) -> Option<PathQuality> {
        self.seconds += 1;
        if self.seconds < PERIOD {
            return None;
        }
        self.seconds = 0;
        let [sound_up, pictures_up, sound_down, pictures_down] = std::mem::take(&mut self.passages);
        let sound = sound_up.sound_rating(round_trip).min(sound_down.sound_rating(round_trip));
        let pictures = pictures_up.picture_rating().min(pictures_down.picture_rating());
        let now = sound.min(pictures);
        let before = self.rating.unwrap_or(BEST);
        let taken_over = if now < before { FALL } else { RISE };
        let rating = (before + taken_over * (now - before)).clamp(LOWEST, BEST);
        self.rating = Some(rating);
        Some(PathQuality(rating.round() as u8))
    }
}

impl Passage {
    fn sound_rating(&self, round_trip: Option<Duration>) -> f32 {
        if self.expected < FEWEST {
            return BEST;
        }
        let talking = (self.expected as f32 / TALKING).min(1.0).sqrt();
        let delay = round_trip.unwrap_or_default() / 2 + self.jitter * 2;
        BEST - delay_costs(delay) - self.loss_percent() * SOUND_LOSS * talking
    }

    fn picture_rating(&self) -> f32 {
        if self.expected < FEWEST {
            return BEST;
        }
        BEST - self.loss_percent() * PICTURE_LOSS
    }

    fn loss_percent(&self) -> f32 {
        100.0 * self.lost.max(0) as f32 / self.expected.max(1) as f32
    }
}

/// What a delay from mouth to ear costs.
fn delay_costs(delay: Duration) -> f32 {
    let milliseconds = delay.as_secs_f32() * 1_000.0;
    0.024 * milliseconds + 0.11 * (milliseconds - 177.3).max(0.0)
}

impl Sending {
    /// A packet was sent for the first time.
    pub(super) fn handle_sent(&mut self, seq: u64) {
        let (first, highest) = self.span.unwrap_or((seq, seq));
        self.span = Some((first.min(seq), highest.max(seq)));
        self.sent += 1;
    }

    /// Takes in the next report block; returns what passed since the last, if there was one that it follows.
    pub(super) fn handle_report(&mut self, block: &ReportBlock) -> Option<Passage> {
        let (highest_seq, lost, holes) = (block.highest_seq, block.cumulative_lost, self.holes());
        let before = self.reported.replace(Reported { highest_seq, lost, holes })?;
        let passed = highest_seq.wrapping_sub(before.highest_seq);
        // A step back, or one of minutes: another beginning of the stream.
        if passed > u32::from(u16::MAX) {
            return None;
        }
        // What never came from the publisher is missing here, too, and no fault of this path. One that comes late fills its
        // hole here before it does so there: for a moment it seems lost, and the next report takes that back.
        let holes = holes as i64 - before.holes as i64;
        let expected = u64::from(passed).saturating_sub(u64::try_from(holes).unwrap_or(0));
        let lost = i64::from(lost.saturating_sub(before.lost)) - holes;
        let lost = lost.min(i64::try_from(expected).unwrap_or(i64::MAX));
        // Only of sound is jitter told apart from the bursts in which pictures are sent: at 48 kHz (RFC 7587 §4.1).
        let jitter = Duration::from_micros(u64::from(block.jitter) * 1_000 / 48);
        Some(Passage { expected, lost, jitter })
    }

    /// Sequence numbers that were left out so far.
    fn holes(&self) -> u64 {
        let span = self.span.map_or(0, |(first, highest)| highest - first + 1);
        span.saturating_sub(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomful_rtp::Ssrc;
    use roomful_rtp::units::NtpShort;

    fn judge_for(
        seconds: u32,
        judge: &mut QualityJudge,
        kind: MediaKind,
        lost: i64,
    ) -> Vec<ConnectionQuality> {
        let passed = Passage { expected: 50, lost, jitter: Duration::from_millis(5) };
        let mut grades = Vec::new();
        for _ in 0..seconds {
            judge.handle(Way::Up, kind, passed);
            let judged = judge.handle_second(Some(Duration::from_millis(80)));
            grades.extend(judged.map(PathQuality::grade));
        }
        grades
    }

    #[test]
    fn a_path_without_loss_is_excellent_and_so_is_a_silent_one() {
        let mut judge = QualityJudge::default();
        let grades = judge_for(10, &mut judge, MediaKind::Audio, 0);
        assert_eq!(grades, [ConnectionQuality::Excellent; 2]);
        let mut silent = QualityJudge::default();
        let judged = (0..5).find_map(|_| silent.handle_second(None));
        assert_eq!(judged, Some(PathQuality::UNKNOWN));
    }

    #[test]
    fn loss_shows_at_once_and_a_good_path_after_a_while() {
        let mut judge = QualityJudge::default();
        assert_eq!(judge_for(5, &mut judge, MediaKind::Audio, 13), [ConnectionQuality::Poor]);
        let after = judge_for(25, &mut judge, MediaKind::Audio, 0);
        assert_eq!(after.first(), Some(&ConnectionQuality::Good));
        assert_eq!(after.last(), Some(&ConnectionQuality::Excellent));
    }

    #[test]
    fn the_same_loss_disturbs_pictures_more_than_sound_and_silence_least() {
        let grade = |kind, expected, lost| {
            let mut judge = QualityJudge::default();
            judge.handle(Way::Down, kind, Passage { expected, lost, ..Passage::default() });
            (0..5).find_map(|_| judge.handle_second(None)).unwrap()
        };
        let [silence, sound, pictures] = [
            grade(MediaKind::Audio, 12, 1),
            grade(MediaKind::Audio, 240, 20),
            grade(MediaKind::Video, 240, 20),
        ];
        assert!(silence.0 > sound.0 && sound.0 > pictures.0, "{silence:?} {sound:?} {pictures:?}");
        assert_eq!(grade(MediaKind::Audio, 9, 9), PathQuality::UNKNOWN, "too few to tell");
    }

    #[test]
    fn a_long_way_costs_and_scores_are_those_of_the_e_model() {
        assert!(delay_costs(Duration::from_millis(100)) < 3.0);
        assert!(delay_costs(Duration::from_millis(400)) > 30.0);
        assert!((PathQuality(100).score() - 4.5).abs() < 0.01);
        assert!((PathQuality(50).score() - 2.575).abs() < 0.01);
        assert!(PathQuality::LOST.score() < 1.3);
        assert_eq!(PathQuality::LOST.grade(), ConnectionQuality::Lost);
    }

    #[test]
    fn what_receivers_report_is_taken_since_their_last_report() {
        let block = |highest_seq, cumulative_lost| ReportBlock {
            ssrc: Ssrc(1),
            fraction_lost: 0,
            cumulative_lost,
            highest_seq,
            jitter: 480,
            last_sender_report: NtpShort(0),
            delay_since_last_sender_report: NtpShort(0),
        };
        let mut sending = Sending::default();
        (0..1_000).for_each(|seq| sending.handle_sent(seq));
        assert_eq!(sending.handle_report(&block(1_000, 5)), None);
        (1_000..1_200).filter(|seq| seq % 10 != 0).for_each(|seq| sending.handle_sent(seq));
        let passed = sending.handle_report(&block(1_200, 35)).unwrap();
        assert_eq!((passed.expected, passed.lost), (180, 10), "20 of 30 were never sent");
        assert_eq!(passed.jitter, Duration::from_millis(10));
        sending.handle_sent(1_100);
        (1_201..1_220).for_each(|seq| sending.handle_sent(seq));
        let seems_lost = sending.handle_report(&block(1_210, 36)).unwrap();
        let taken_back = sending.handle_report(&block(1_219, 35)).unwrap();
        assert_eq!([seems_lost.lost, taken_back.lost], [1, -1], "it was on its way");
        assert_eq!(sending.handle_report(&block(10, 0)), None, "begun anew");
        let nonsense = sending.handle_report(&block(20, i32::MAX)).unwrap();
        assert_eq!((nonsense.expected, nonsense.lost), (10, 10));
    }
}
