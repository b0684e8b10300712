use super::*;
use crate::testing::start_of_time;

const ANN: ParticipantId = ParticipantId(1);
const BEN: ParticipantId = ParticipantId(2);
const VOICE: AudioLevel = AudioLevel(20);
const SOFT: AudioLevel = AudioLevel(30);
const ROOM_NOISE: AudioLevel = AudioLevel(60);
const FRAME: Duration = ms(20);

#[test]
fn who_begins_to_talk_is_reported_within_a_fraction_of_200_ms() {
    for frame in [10, 20, 30, 40, 60] {
        let mut room = Room::new();
        room.hear(ANN, ROOM_NOISE, ms(1000), ms(frame));
        let began = room.now;
        room.hear(ANN, VOICE, ms(500), ms(frame));
        let (at, speaker) = room.reports[0];
        assert!(at - began <= ms(80), "{frame} ms frames: {:?}", at - began);
        assert_eq!((speaker.participant, speaker.active), (ANN, true));
    }
}

#[test]
fn the_longest_opus_frames_are_heard_too() {
    let mut room = Room::new();
    room.hear(ANN, VOICE, ms(500), ms(120));
    assert!(room.is_talking(ANN));
}

#[test]
fn pauses_between_words_do_not_flicker() {
    for pause_has_frames in [true, false] {
        let mut room = Room::new();
        for _ in 0..20 {
            room.hear(ANN, VOICE, ms(300), FRAME);
            if pause_has_frames {
                room.hear(ANN, ROOM_NOISE, ms(500), FRAME);
            } else {
                room.wait(ms(500));
            }
        }
        assert_eq!(room.activity(ANN), [true], "pauses with frames: {pause_has_frames}");
    }
}

#[test]
fn who_stops_is_reported_silent_within_a_second_even_without_frames() {
    for silence_has_frames in [true, false] {
        let mut room = Room::new();
        room.hear(ANN, VOICE, ms(1000), FRAME);
        let stopped = room.now;
        if silence_has_frames {
            room.hear(ANN, AudioLevel::SILENCE, ms(1000), FRAME);
        } else {
            room.wait(ms(1000));
        }
        let (at, last) = *room.reports.last().unwrap();
        assert_eq!(last, Speaker { participant: ANN, level: 0.0, active: false });
        assert!(at - stopped >= ms(500) && at - stopped < ms(1000), "{:?}", at - stopped);
        assert_eq!(room.speakers.poll_timeout(), None, "a silent room needs no wake-ups");
    }
}

#[test]
fn clicks_are_nobody_talking() {
    let mut room = Room::new();
    for _ in 0..50 {
        room.hear(ANN, AudioLevel(5), FRAME * 2, FRAME);
        room.hear(ANN, ROOM_NOISE, FRAME * 6, FRAME);
    }
    assert_eq!(room.reports, []);
}

#[test]
fn clicks_after_a_silence_without_frames_are_nobody_talking() {
    let mut room = Room::new();
    for _ in 0..20 {
        room.hear(ANN, VOICE, FRAME, FRAME);
        room.wait(ms(380));
    }
    assert_eq!(room.reports, []);
}

#[test]
fn scattered_loud_frames_in_noise_are_nobody_talking() {
    let mut room = Room::new();
    for _ in 0..50 {
        room.hear(ANN, VOICE, ms(10), ms(10));
        room.hear(ANN, ROOM_NOISE, ms(20), ms(10));
    }
    assert_eq!(room.reports, []);
}

#[test]
fn a_noise_below_the_threshold_is_nobody_talking() {
    let mut room = Room::new();
    room.hear(ANN, AudioLevel(START.0 + 1), ms(5000), FRAME);
    assert_eq!(room.reports, []);
}

#[test]
fn the_soft_end_of_a_sentence_belongs_to_it_and_noise_does_not() {
    let mut room = Room::new();
    room.hear(ANN, VOICE, ms(300), FRAME);
    room.hear(ANN, CONTINUE, ms(3000), FRAME);
    assert!(room.is_talking(ANN));
    room.hear(ANN, AudioLevel(CONTINUE.0 + 1), ms(1000), FRAME);
    assert!(!room.is_talking(ANN));
}

#[test]
fn a_silent_screen_share_does_not_hide_the_voice_beside_it() {
    let mut room = Room::new();
    for _ in 0..50 {
        room.speakers.handle_level(ANN, AudioLevel::SILENCE, room.now);
        room.hear(ANN, VOICE, FRAME, FRAME);
    }
    assert_eq!(room.activity(ANN), [true]);
}

#[test]
fn a_steady_voice_is_reported_once() {
    let mut room = Room::new();
    room.hear(ANN, VOICE, ms(10_000), FRAME);
    assert_eq!(room.reports.len(), 1);
}

#[test]
fn a_level_at_the_edge_of_a_step_is_reported_once() {
    let mut room = Room::new();
    // An eighth is -18.06 dBov: these two lie on either side.
    for _ in 0..20 {
        room.hear(ANN, AudioLevel(18), ms(1000), FRAME);
        room.hear(ANN, AudioLevel(19), ms(1000), FRAME);
    }
    assert_eq!(room.reports.len(), 1, "{:?}", room.reports);
}

#[test]
fn a_voice_that_gets_louder_is_reported_in_few_steps_up_to_its_level() {
    let mut room = Room::new();
    room.hear(ANN, SOFT, ms(1000), FRAME);
    room.hear(ANN, AudioLevel(3), ms(4000), FRAME);
    let levels: Vec<f32> = room.reports.iter().map(|(_, speaker)| speaker.level).collect();
    assert!(levels.len() <= 4, "{levels:?}");
    assert!(levels.is_sorted(), "{levels:?}");
    // -3 dBov is an amplitude of 0.71, the sixth eighth.
    assert_eq!((levels[0], levels[levels.len() - 1]), (0.125, 0.75));
    assert!(room.reports.windows(2).all(|two| two[1].0 - two[0].0 >= ms(400)));
}

#[test]
fn levels_stay_within_zero_and_one_whatever_the_packet_says() {
    for level in [0, 127, 128, 255] {
        let mut room = Room::new();
        room.hear(ANN, AudioLevel(level), ms(1000), FRAME);
        assert!(room.reports.iter().all(|(_, speaker)| (0.0..=1.0).contains(&speaker.level)));
        assert_eq!(room.is_talking(ANN), level == 0);
    }
}

#[test]
fn one_report_names_the_loudest_first_and_the_silent_last() {
    let mut speakers = Speakers::new();
    let start = start_of_time();
    let levels = [(4, VOICE), (1, SOFT), (3, AudioLevel(10)), (2, VOICE)];
    let talk = |speakers: &mut Speakers, levels: &[(u64, AudioLevel)], from: u32| {
        for frame in from..from + 5 {
            for &(id, level) in levels {
                speakers.handle_level(ParticipantId(id), level, start + FRAME * frame);
            }
        }
        let report = speakers.poll_change(start + FRAME * (from + 4)).unwrap_or_default();
        report.iter().map(|speaker| (speaker.participant.0, speaker.active)).collect::<Vec<_>>()
    };
    let first = talk(&mut speakers, &levels, 0);
    assert_eq!(first, [(3, true), (2, true), (4, true), (1, true)]);
    speakers.handle_mute_or_gone(ParticipantId(4));
    speakers.handle_mute_or_gone(ParticipantId(2));
    let second = talk(&mut speakers, &[(5, SOFT), (6, VOICE)], 5);
    assert_eq!(second, [(6, true), (5, true), (2, false), (4, false)]);
}

#[test]
fn who_mutes_or_leaves_while_talking_is_silent_at_once_and_once() {
    let mut room = Room::new();
    room.hear(ANN, VOICE, ms(300), FRAME);
    room.speakers.handle_mute_or_gone(ANN);
    let silent = Speaker { participant: ANN, level: 0.0, active: false };
    assert_eq!(room.speakers.poll_change(room.now), Some(vec![silent]));
    room.speakers.handle_mute_or_gone(ANN);
    assert_eq!(room.speakers.poll_change(room.now), None);
}

#[test]
fn who_mutes_in_silence_is_not_reported() {
    let mut room = Room::new();
    room.hear(ANN, ROOM_NOISE, ms(300), FRAME);
    room.speakers.handle_mute_or_gone(ANN);
    assert_eq!(room.speakers.poll_change(room.now), None);
}

#[test]
fn two_who_talk_by_turns_are_told_apart() {
    let mut room = Room::new();
    room.hear(ANN, VOICE, ms(500), FRAME);
    room.hear(BEN, VOICE, ms(1000), FRAME);
    assert!(room.is_talking(BEN) && !room.is_talking(ANN));
    assert_eq!((room.activity(ANN), room.activity(BEN)), (vec![true, false], vec![true]));
}

/// A room whose speakers are polled exactly when they ask for it, and what they reported when.
struct Room {
    speakers: Speakers,
    now: Instant,
    reports: Vec<(Instant, Speaker)>,
}

impl Room {
    fn new() -> Self {
        Self { speakers: Speakers::new(), now: start_of_time(), reports: Vec::new() }
    }

    /// Frames of one level for a while.
    fn hear(&mut self, who: ParticipantId, level: AudioLevel, during: Duration, frame: Duration) {
        let end = self.now + during;
        while self.now < end {
            self.speakers.handle_level(who, level, self.now);
            self.wait(frame);
        }
    }

    fn wait(&mut self, during: Duration) {
        let end = self.now + during;
        let mut polls = 0;
        while let Some(at) = self.speakers.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let changed = self.speakers.poll_change(self.now).unwrap_or_default();
            self.reports.extend(changed.into_iter().map(|speaker| (self.now, speaker)));
            polls += 1;
            assert!(polls < 100, "each poll moves the deadline");
        }
        self.now = end;
    }

    fn activity(&self, who: ParticipantId) -> Vec<bool> {
        let of_one = self.reports.iter().filter(|(_, speaker)| speaker.participant == who);
        of_one.map(|(_, speaker)| speaker.active).collect()
    }

    fn is_talking(&self, who: ParticipantId) -> bool {
        self.activity(who).last() == Some(&true)
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
