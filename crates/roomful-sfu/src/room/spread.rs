//! Tracks that are wanted in other parts of the room than the one their publisher is in.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Room, Timer};
use crate::demand::Level;
use crate::ids::{ParticipantId, TrackSid};
use crate::link::{LinkId, LinkTrack, Told};
use crate::publication::Publication;
use crate::signalling::Change;
use crate::variant::CodecIndex;

/// Where else in the room a publication is wanted, or comes from.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    /// Parts in which somebody subscribes to it, and how much is wanted there.
    pub(super) wanted: BTreeMap<LinkId, Level>,
    /// What was last asked for by this part, of a publication from elsewhere.
    asked: Option<(LinkTrack, Level)>,
}

/// How long less is wanted before it is asked for. Longer carries what nobody receives, shorter lets one who turns
/// pages fill links with messages.
const LESS_AFTER: Duration = Duration::from_millis(500);

impl Publication {
    /// Anybody subscribes to it, here or elsewhere.
    fn is_wanted(&self) -> bool {
        !self.subscribers.is_empty() || self.spread.is_subscribed()
    }
}

impl Spread {
    /// Somebody in another part subscribes to it.
    pub(crate) fn is_subscribed(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The most that is wanted in any other part.
    pub(crate) fn most_wanted(&self) -> Level {
        self.wanted.values().copied().max().unwrap_or_default()
    }
}

impl Room {
    /// As much of a track as `level` is wanted here and behind other links: the part of its publisher is asked for more
    /// at once, for less in a moment.
    pub(super) fn ask_elsewhere(
        &mut self,
        publisher: ParticipantId,
        track: &TrackSid,
        level: Level,
        now: Instant,
    ) {
        let Some(owner) = self.participants.get(&publisher) else { return };
        let Some(publication) = owner.publications.get(track) else { return };
        let wanted = publication.is_wanted().then_some(level);
        match wanted.cmp(&publication.spread.asked.map(|(_, level)| level)) {
            Ordering::Greater => self.ask(publisher, track, wanted),
            Ordering::Less if !self.timers.is_set(Timer::AskForLess) => {
                self.timers.set(Timer::AskForLess, Some(now + LESS_AFTER));
            }
            Ordering::Less | Ordering::Equal => {}
        }
    }

    /// Asks for less of whatever more comes of than is wanted.
    pub(super) fn ask_for_less(&mut self) {
        self.timers.set(Timer::AskForLess, None);
        let beyond = self.participants.values().filter(|one| one.link().is_some());
        let asked: Vec<(ParticipantId, TrackSid)> = beyond
            .flat_map(|one| one.publications.values().map(|track| (one.id, track)))
            .filter(|(_, track)| track.spread.asked.is_some())
            .map(|(id, track)| (id, track.sid.clone()))
            .collect();
        for (publisher, track) in asked {
            let level = self.demanded(publisher, &track, CodecIndex::FIRST);
            let Some(owner) = self.participants.get(&publisher) else { continue };
            let Some(publication) = owner.publications.get(&track) else { continue };
            let wanted = publication.is_wanted().then_some(level);
            if wanted < publication.spread.asked.map(|(_, level)| level) {
                self.ask(publisher, &track, wanted);
            }
        }
    }

    fn ask(&mut self, publisher: ParticipantId, track: &TrackSid, level: Option<Level>) {
        let Some(owner) = self.participants.get_mut(&publisher) else { return };
        let Some(link) = owner.link() else { return };
        let Some(publication) = owner.publications.get_mut(track) else { return };
        let Some(key) = publication.track else { return };
        let former = publication.spread.asked.map(|(number, _)| number);
        let number = former.unwrap_or_else(|| self.links.next_track());
        publication.spread.asked = level.map(|level| (number, level));
        self.media.set_source(key, level.map(|_| (link, number)));
        self.tell_link(link, Told::Demand { track: track.clone(), number, level });
    }

    /// Another part wants so much of a track; with `None` nobody there subscribes to it any more.
    pub(super) fn handle_demand(
        &mut self,
        link: LinkId,
        track: &TrackSid,
        number: LinkTrack,
        level: Option<Level>,
        now: Instant,
    ) {
        let mut owners = self.participants.values_mut();
        let owner = owners.find(|one| one.publications.contains_key(track));
        // It may have ended while this was on its way.
        let Some(owner) = owner.filter(|one| one.link() != Some(link)) else { return };
        let publisher = owner.id;
        let Some(publication) = owner.publications.get_mut(track) else { return };
        let first = !publication.is_wanted();
        match level {
            Some(level) => publication.spread.wanted.insert(link, level),
            None => publication.spread.wanted.remove(&link),
        };
        if let Some(key) = publication.track {
            self.media.set_copy(key, link, level.map(|level| (number, level)));
        }
        if first && level.is_some() {
            self.tell(publisher, Change::TrackSubscribed(track.clone()));
        }
        self.reconsider_demand(publisher, track, now);
    }
}
