//! `Demand`: how much of a publication its subscribers want together, and when its publisher is told.
//!
//! What nobody wants need not be sent (LiveKit calls it dynacast). More is asked for at once, since somebody waits;
//! less only after a while, since whoever turned a page often turns back.

use std::time::{Duration, Instant};

use livekit_protocol as proto;

use crate::egress::Layer;
use crate::publication::Publication;
use crate::signalling::Wishes;
use crate::variant::CodecIndex;

/// See the module text.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    wanted: Level,
    told: Option<Level>,
    due: Option<Instant>,
}

/// The most anybody wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    Nothing,
    Low,
    Medium,
    High,
}

/// How long less is wanted before the publisher is told: LiveKit's value. Longer sends what nobody sees, shorter makes
/// publishers restart encoders, and people wait for a keyframe, each time somebody scrolls.
const LOWER_AFTER: Duration = Duration::from_secs(5);

/// How long a new publication is sent in full though nobody wants it yet: LiveKit's value. Longer sends for nobody,
/// shorter stops encoders just before the first subscriber.
const FIRST_AFTER: Duration = Duration::from_secs(10);

impl Demand {
    /// Subscribers want this much now.
    pub(crate) fn want(&mut self, level: Level, now: Instant) {
        self.wanted = level;
        self.due = match self.told {
            Some(told) if told == level => None,
            Some(told) if level > told => Some(now),
            Some(_) => self.due.or(Some(now + LOWER_AFTER)),
            None if level > Level::Nothing => Some(now),
            None => self.due.or(Some(now + FIRST_AFTER)),
        };
    }

    /// The same of what costs little to begin and to end: it is told at once either way, and nothing before anybody wanted
    /// anything.
    pub(crate) fn want_at_once(&mut self, level: Level, now: Instant) {
        self.wanted = level;
        let is_news = self.told.unwrap_or_default() != level;
        self.due = is_news.then_some(now);
    }

    /// What the publisher was told may not have reached it: it is told again.
    pub(crate) fn repeat(&mut self, now: Instant) {
        if self.told.is_some() {
            self.due = Some(now);
        }
    }

    /// What the publisher is to be told now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Level> {
        self.due.take_if(|due| *due <= now)?;
        self.told = Some(self.wanted);
        self.told
    }

    /// What the publisher was told last, if anything.
    pub(crate) fn told(&self) -> Level {
        self.told.unwrap_or_default()
    }

    /// When [`Demand::poll`] may have something next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

impl Level {
    /// The same as LiveKit says it: for each quality whether it is wanted. Whoever wants a quality may get a lower
    /// one when bandwidth is short, so those below are wanted, too.
    pub(crate) fn qualities(self) -> Vec<proto::SubscribedQuality> {
        [
            (proto::VideoQuality::Low, Self::Low),
            (proto::VideoQuality::Medium, Self::Medium),
            (proto::VideoQuality::High, Self::High),
        ]
        .into_iter()
        .map(|(quality, level)| proto::SubscribedQuality {
            quality: quality.into(),
            enabled: level <= self,
        })
        .collect()
    }
}

impl Publication {
    /// How much of one of its codecs these wishes need: at least the layer they are served with. The best there is counts
    /// as high, however few there are.
    pub(crate) fn level_in(&self, index: CodecIndex, wishes: Wishes) -> Level {
        let best = self.layer_in(index, Wishes::Quality(proto::VideoQuality::High));
        match self.layer_in(index, wishes) {
            None => Level::Nothing,
            layer if layer == best => Level::High,
            Some(layer) if layer == Layer::LOW => Level::Low,
            Some(_) => Level::Medium,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn more_is_told_at_once_and_less_after_a_while() {
        let start = start_of_time();
        let mut demand = Demand::default();
        demand.want(Level::Low, start);
        assert_eq!(demand.poll(start), Some(Level::Low));
        demand.want(Level::High, start);
        assert_eq!(demand.poll(start), Some(Level::High));
        demand.want(Level::Low, start);
        assert_eq!(demand.poll(start + seconds(4)), None);
        assert_eq!(demand.poll_timeout(), Some(start + LOWER_AFTER));
        assert_eq!(demand.poll(start + LOWER_AFTER), Some(Level::Low));
        assert_eq!(demand.poll_timeout(), None);
    }

    #[test]
    fn less_for_a_moment_is_never_told_and_still_less_does_not_wait_longer() {
        let start = start_of_time();
        let mut demand = Demand::default();
        demand.want(Level::High, start);
        demand.poll(start);
        demand.want(Level::Low, start);
        demand.want(Level::High, start + seconds(3));
        assert_eq!(demand.poll(start + seconds(9)), None);
        demand.want(Level::Medium, start + seconds(10));
        demand.want(Level::Nothing, start + seconds(14));
        assert_eq!(demand.poll(start + seconds(15)), Some(Level::Nothing));
    }

    #[test]
    fn a_publication_nobody_wants_stops_after_ten_seconds() {
        let start = start_of_time();
        let mut demand = Demand::default();
        demand.want(Level::Nothing, start);
        demand.want(Level::Nothing, start + seconds(8));
        assert_eq!(demand.poll(start + seconds(9)), None);
        assert_eq!(demand.poll(start + FIRST_AFTER), Some(Level::Nothing));
    }

    #[test]
    fn what_costs_little_is_told_at_once_either_way() {
        let start = start_of_time();
        let mut demand = Demand::default();
        demand.want_at_once(Level::Nothing, start);
        assert_eq!(demand.poll_timeout(), None, "nobody wanted it yet");
        demand.want_at_once(Level::High, start);
        assert_eq!(demand.poll(start), Some(Level::High));
        demand.want_at_once(Level::Nothing, start);
        demand.want_at_once(Level::High, start);
        assert_eq!(demand.poll(start), None, "as it was told");
        demand.want_at_once(Level::Nothing, start);
        assert_eq!(demand.poll(start), Some(Level::Nothing));
    }

    #[test]
    fn whoever_wants_a_quality_wants_those_below() {
        let enabled = |level: Level| {
            level.qualities().iter().map(|quality| quality.enabled).collect::<Vec<_>>()
        };
        assert_eq!(enabled(Level::Nothing), [false, false, false]);
        assert_eq!(enabled(Level::Medium), [true, true, false]);
    }
}
