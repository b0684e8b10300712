//! Who is talking in one room, judged from the audio levels that publishers write beside each packet.
//!
//! A participant begins to talk when most of the frames of the last [`WINDOW`] are loud, so a click
//! or a cough is nobody talking; it stops when that has not been so for [`HOLD`], so the pauses
//! between words are part of talking. Reports carry differences only, as LiveKit's
//! `SpeakersChanged` does: who began, who stopped (level 0), whose level moved by a visible step.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::ids::ParticipantId;

/// What a participant must reach to begin talking: -35 dBov, LiveKit's default.
///
/// Louder, and soft-spoken people without automatic gain never light up; quieter, and fans and
/// street noise do.
const START: AudioLevel = AudioLevel(35);

/// What keeps a talking participant talking. Voices fall by some 5 dB towards the end of a sentence:
/// with the level of [`START`] such endings would be cut off; much quieter, and whoever spoke once
/// in a noisy place would talk for ever.
const CONTINUE: AudioLevel = AudioLevel(40);

/// The time over which frames vote. Longer, and the report comes late (200 ms from mouth to mark
/// are the goal, and the network takes its share); shorter, and a key stroke fills it.
const WINDOW: Duration = Duration::from_millis(100);

/// Loud frames needed within [`WINDOW`]: 60 ms of voice in the 20 ms frames that browsers send. More
/// delay the report by a frame each; with fewer a key stroke (one or two frames) is a voice.
const LOUD_FRAMES: usize = 3;

/// Frames at least this far apart are long ones (Opus has 40, 60 and 120 ms, RFC 6716 §2.1.4): two
/// loud ones in a row are as much voice as [`LOUD_FRAMES`] short ones. Below 20 ms, two ordinary
/// frames would do; above 40 ms, streams of 40 ms frames would be reported a frame later.
const LONG_FRAME: Duration = Duration::from_millis(35);

/// Frames further apart are not in a row: the publisher was silent between (discontinuous
/// transmission sends one frame per 400 ms). Must exceed the longest Opus frame with its jitter.
const LONGEST_FRAME: Duration = Duration::from_millis(180);

/// How long a participant still counts as talking after its voice. Pauses between words last up to
/// half a second, and the voice needs up to [`WINDOW`] to be believed again: shorter, and the mark
/// flickers within sentences; longer, and it lags behind in a quick exchange.
const HOLD: Duration = Duration::from_millis(600);

/// How often the level of who is talking is looked at again. Shorter sends more messages to everyone
/// in the room; longer makes level meters sluggish. LiveKit has 400 ms.
const LEVEL_INTERVAL: Duration = Duration::from_millis(400);

/// Weight of the latest interval in the reported level: an average over about two intervals, so that
/// one shout moves it without owning it. 1 is no smoothing.
const LEVEL_WEIGHT: f32 = 2.0 / 3.0;

/// Steps of the reported level, LiveKit's eight. More send a message for each nuance of a voice;
/// fewer say no more than talking or not.
const LEVEL_STEPS: f32 = 8.0;

/// How far beyond a step's edge, in steps, a level must go to leave it. Zero, and a voice at an edge
/// sends a message per [`LEVEL_INTERVAL`]; one or more, and real changes stay unseen.
const LEVEL_MARGIN: f32 = 0.25;

/// Frames remembered per participant: [`WINDOW`] of two streams (microphone and screen audio) of the
/// shortest frames browsers send (10 ms), and some. Fewer, and the window is cut short.
const MAX_FRAMES: usize = 32;

/// The loudness of one frame of audio in -dBov (RFC 6464 §3): 0 is the loudest, 127 is silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AudioLevel(pub u8);

impl AudioLevel {
    /// Digital silence.
    pub const SILENCE: Self = Self(127);

    /// The amplitude relative to the loudest possible, 0 to 1; silence is 0.
    fn amplitude(self) -> f32 {
        if self >= Self::SILENCE { 0.0 } else { 10_f32.powf(-f32::from(self.0) / 20.0) }
    }
}

/// A participant who began or stopped talking, or whose loudness changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speaker {
    /// Who.
    pub participant: ParticipantId,
    /// Loudness from 0 (not talking) to 1, in eighths, rounded up.
    pub level: f32,
    /// Whether the participant is talking now.
    pub active: bool,
}

/// The active speakers of one room.
///
/// After [`Speakers::handle_level`] and [`Speakers::handle_mute_or_gone`], call
/// [`Speakers::poll_change`] no later than [`Speakers::poll_timeout`] says.
#[derive(Debug, Default)]
pub struct Speakers {
    voices: BTreeMap<ParticipantId, Voice>,
    /// Levels of those whose voices another part of the room hears, as it reported them.
    elsewhere: BTreeMap<ParticipantId, f32>,
    /// Reported as talking, then muted or gone.
    stopped: Vec<ParticipantId>,
    next_level_look: Option<Instant>,
    /// No one who talks falls silent before; it is only moved by a report, not by each frame.
    next_silence: Option<Instant>,
    /// When something to report came up that cannot wait for a deadline.
    due: Option<Instant>,
}

impl Speakers {
    /// Nobody is talking.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of one frame of audio of a participant. Frames of several of its tracks may mix.
    pub fn handle_level(&mut self, participant: ParticipantId, level: AudioLevel, now: Instant) {
        let voice = self.voices.entry(participant).or_default();
        let talked = voice.is_talking();
        voice.hear(level, now);
        if voice.is_talking() && !talked {
            self.due.get_or_insert(now);
            self.next_level_look.get_or_insert(now + LEVEL_INTERVAL);
            self.next_silence.get_or_insert(now + HOLD);
        }
    }

    /// Takes note of what another part of the room reported of somebody there: the level, or that it is silent.
    pub fn handle_report(&mut self, participant: ParticipantId, level: Option<f32>) {
        match level {
            Some(level) => self.elsewhere.insert(participant, level),
            None => self.elsewhere.remove(&participant),
        };
    }

    /// Forgets a participant that muted its microphone or left: it stops talking at once. Call
    /// [`Speakers::poll_change`] right after to report it.
    pub fn handle_mute_or_gone(&mut self, participant: ParticipantId) {
        self.elsewhere.remove(&participant);
        if self.voices.remove(&participant).is_some_and(|voice| voice.reported.is_some()) {
            self.stopped.push(participant);
        }
    }

    /// What changed since the last report: who is talking, loudest first, then who stopped. Equally
    /// loud participants come in the order of their ids. `None` if nothing changed.
    pub fn poll_change(&mut self, now: Instant) -> Option<Vec<Speaker>> {
        self.due = None;
        let looks = self.next_level_look.is_some_and(|at| at <= now);
        let mut talking = Vec::new();
        let mut silent: Vec<ParticipantId> = Vec::new();
        self.next_silence = None;
        for (&participant, voice) in &mut self.voices {
            voice.fall_silent_by(now);
            if looks {
                voice.look_at_level();
            }
            self.next_silence = self.next_silence.into_iter().chain(voice.talking_until).min();
            match voice.take_change() {
                Some(Some(steps)) => talking.push((participant, voice.smoothed, steps)),
                Some(None) => silent.push(participant),
                None => {}
            }
        }
        // One who rejoined the talk between two reports is among the talking.
        let stopped = std::mem::take(&mut self.stopped).into_iter();
        silent.extend(stopped.filter(|one| !talking.iter().any(|(other, ..)| other == one)));
        self.next_level_look = match self.next_level_look {
            Some(at) if self.next_silence.is_some() => {
                Some(if looks { now + LEVEL_INTERVAL } else { at })
            }
            _ => None,
        };
        // The sort is stable: equals stay in the order of their ids.
        talking.sort_by(|(_, a, _), (_, b, _)| b.total_cmp(a));
        silent.sort_unstable();
        let talking = talking.into_iter().map(|(participant, _, steps)| Speaker {
            participant,
            level: f32::from(steps) / LEVEL_STEPS,
            active: true,
        });
        let silent = silent.into_iter().map(|participant| Speaker {
            participant,
            level: 0.0,
            active: false,
        });
        let changed: Vec<_> = talking.chain(silent).collect();
        (!changed.is_empty()).then_some(changed)
    }

    /// The level, 0 to 1, at which a participant was last reported as talking; `None` if it was not.
    pub fn reported_level(&self, participant: ParticipantId) -> Option<f32> {
        if let Some(level) = self.elsewhere.get(&participant) {
            return Some(*level);
        }
        let steps = self.voices.get(&participant)?.reported?;
        Some(f32::from(steps) / LEVEL_STEPS)
    }

    /// When [`Speakers::poll_change`] is to be called; an instant of the past means now, `None` that
    /// nothing will change by itself.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.next_level_look).chain(self.next_silence).min()
    }
}

/// What is known of one participant's voice.
#[derive(Debug, Default)]
struct Voice {
    /// The latest frames, none older than [`WINDOW`] but perhaps the last.
    frames: VecDeque<Frame>,
    talking_until: Option<Instant>,
    /// The loudest frame since the level was last looked at.
    loudest: Option<AudioLevel>,
    /// Amplitude, averaged over some [`LEVEL_INTERVAL`]s.
    smoothed: f32,
    /// The level last reported, in steps; nothing if last reported as silent.
    reported: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    at: Instant,
    level: AudioLevel,
}

impl Voice {
    fn hear(&mut self, level: AudioLevel, now: Instant) {
        let previous = self.frames.back().copied();
        let is_old = |frame: &Frame| now.saturating_duration_since(frame.at) >= WINDOW;
        while self.frames.len() == MAX_FRAMES || self.frames.front().is_some_and(is_old) {
            self.frames.pop_front();
        }
        self.frames.push_back(Frame { at: now, level });
        self.loudest = Some(self.loudest.map_or(level, |loudest| loudest.min(level)));
        let threshold = if self.is_talking() { CONTINUE } else { START };
        if !self.is_voice(previous, threshold) {
            return;
        }
        if !self.is_talking() {
            let loudest = self.frames.iter().map(|frame| frame.level).min();
            self.smoothed = loudest.unwrap_or(AudioLevel::SILENCE).amplitude();
            self.loudest = loudest;
        }
        self.talking_until = Some(now + HOLD);
    }

    fn is_talking(&self) -> bool {
        self.talking_until.is_some()
    }

    fn fall_silent_by(&mut self, now: Instant) {
        if self.talking_until.is_some_and(|until| until <= now) {
            self.talking_until = None;
        }
    }

    /// Moves the smoothed level towards the loudest frame since the last look.
    fn look_at_level(&mut self) {
        let loudest = self.loudest.take().unwrap_or(AudioLevel::SILENCE).amplitude();
        self.smoothed += (loudest - self.smoothed) * LEVEL_WEIGHT;
    }

    /// The level to report in steps (nothing: silent), if it is not the one last reported.
    fn take_change(&mut self) -> Option<Option<u8>> {
        let current = self.is_talking().then(|| self.steps());
        if current == self.reported {
            return None;
        }
        self.reported = current;
        Some(current)
    }

    /// The smoothed level in steps, at least one; the step last reported as long as it about fits.
    fn steps(&self) -> u8 {
        let level = self.smoothed * LEVEL_STEPS;
        if let Some(reported) = self.reported {
            let upper = f32::from(reported);
            if (upper - 1.0 - LEVEL_MARGIN..=upper + LEVEL_MARGIN).contains(&level) {
                return reported;
            }
        }
        level.ceil().clamp(1.0, LEVEL_STEPS) as u8
    }

    /// Whether the latest frames are voice: most of them loud, or two long ones in a row.
    fn is_voice(&self, previous: Option<Frame>, threshold: AudioLevel) -> bool {
        let is_loud = |frame: &Frame| frame.level <= threshold;
        let loud = self.frames.iter().filter(|frame| is_loud(frame)).count();
        if loud >= LOUD_FRAMES && loud * 2 >= self.frames.len() {
            return true;
        }
        let (Some(previous), Some(latest)) = (previous, self.frames.back()) else { return false };
        let apart = latest.at.saturating_duration_since(previous.at);
        is_loud(&previous) && is_loud(latest) && (LONG_FRAME..=LONGEST_FRAME).contains(&apart)
    }
}

#[cfg(test)]
mod tests;
