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

/// Where else in the room a publication is wanted, or comes from, and in which of its codecs.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    /// Where somebody gets it elsewhere, what it is called there, and how much is wanted.
    wanted: BTreeMap<(LinkId, CodecIndex), (LinkTrack, Level)>,
    /// What was last asked for by this part, of a publication from elsewhere.
    asked: BTreeMap<CodecIndex, (LinkTrack, Level)>,
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

    /// The most that is wanted of one of its codecs in any other part.
    pub(crate) fn most_wanted(&self, codec: CodecIndex) -> Level {
        self.wanting(codec).map(|(_, _, level)| level).max().unwrap_or_default()
    }

    /// Nothing is wanted over a link any more; `true`: something was.
    pub(super) fn forget(&mut self, link: LinkId) -> bool {
        let before = self.wanted.len();
        self.wanted.retain(|(other, _), _| *other != link);
        self.wanted.len() < before
    }

    /// Where one of its codecs goes.
    fn wanting(
        &self,
        codec: CodecIndex,
    ) -> impl Iterator<Item = (LinkId, LinkTrack, Level)> + use<'_> {
        let of_it = self.wanted.iter().filter(move |((_, of), _)| *of == codec);
        of_it.map(|((link, _), (number, level))| (*link, *number, *level))
    }

    fn asked_level(&self, codec: CodecIndex) -> Option<Level> {
        self.asked.get(&codec).map(|(_, level)| *level)
    }
}

impl Room {
    /// So much of each codec of a track is wanted here and behind other links: the part of its publisher is asked for more
    /// at once, for less in a moment.
    pub(super) fn ask_elsewhere(
        &mut self,
        publisher: ParticipantId,
        track: &TrackSid,
        levels: &[(CodecIndex, Level)],
        now: Instant,
    ) {
        for (codec, level) in levels.iter().copied() {
            let Some(owner) = self.participants.get(&publisher) else { return };
            let Some(publication) = owner.publications.get(track) else { return };
            let wanted = self.is_wanted_in(publication, codec).then_some(level);
            match wanted.cmp(&publication.spread.asked_level(codec)) {
                Ordering::Greater => self.ask(publisher, track, codec, wanted),
                Ordering::Less if !self.timers.is_set(Timer::AskForLess) => {
                    self.timers.set(Timer::AskForLess, Some(now + LESS_AFTER));
                }
                Ordering::Less | Ordering::Equal => {}
            }
        }
    }

    /// Asks for less of whatever more comes of than is wanted.
    pub(super) fn ask_for_less(&mut self) {
        self.timers.set(Timer::AskForLess, None);
        let beyond = self.participants.values().filter(|one| one.link().is_some());
        let asked: Vec<(ParticipantId, TrackSid, CodecIndex)> = beyond
            .flat_map(|one| one.publications.values().map(|track| (one.id, track)))
            .flat_map(|(id, track)| {
                track.spread.asked.keys().map(move |codec| (id, track.sid.clone(), *codec))
            })
            .collect();
        for (publisher, track, codec) in asked {
            let level = self.demanded(publisher, &track, codec);
            let Some(owner) = self.participants.get(&publisher) else { continue };
            let Some(publication) = owner.publications.get(&track) else { continue };
            let wanted = self.is_wanted_in(publication, codec).then_some(level);
            if wanted < publication.spread.asked_level(codec) {
                self.ask(publisher, &track, codec, wanted);
            }
        }
    }

    /// Anybody gets it in that codec, here or elsewhere.
    fn is_wanted_in(&self, publication: &Publication, codec: CodecIndex) -> bool {
        let gets = |id: &ParticipantId| {
            let subscriber = self.participants.get(id);
            let subscription = subscriber.and_then(|one| one.subscriptions.get(&publication.sid));
            subscription.is_some_and(|one| one.codec == codec)
        };
        publication.spread.wanting(codec).next().is_some()
            || publication.subscribers.iter().any(gets)
    }

    fn ask(
        &mut self,
        publisher: ParticipantId,
        track: &TrackSid,
        codec: CodecIndex,
        level: Option<Level>,
    ) {
        let Some(owner) = self.participants.get_mut(&publisher) else { return };
        let Some(link) = owner.link() else { return };
        let Some(publication) = owner.publications.get_mut(track) else { return };
        let former = publication.spread.asked.remove(&codec).map(|(number, _)| number);
        let number = former.unwrap_or_else(|| self.links.next_track());
        if let Some(level) = level {
            publication.spread.asked.insert(codec, (number, level));
        }
        // A further codec may be sent only once it is asked for.
        if let Some(key) = publication.track_in(codec) {
            self.media.set_source(key, level.map(|_| (link, number)));
        }
        self.tell_link(link, Told::Demand { track: track.clone(), codec, number, level });
    }

    /// Another part wants so much of a track in one of its codecs; with `None` nobody there gets it in that one any more.
    pub(super) fn handle_demand(
        &mut self,
        link: LinkId,
        (track, codec): (&TrackSid, CodecIndex),
        (number, level): (LinkTrack, Option<Level>),
        now: Instant,
    ) {
        let mut owners = self.participants.values_mut();
        let owner = owners.find(|one| one.publications.contains_key(track));
        // It may have ended while this was on its way.
        let Some(owner) = owner.filter(|one| one.link() != Some(link)) else { return };
        let publisher = owner.id;
        let Some(publication) = owner.publications.get_mut(track) else { return };
        if codec != CodecIndex::FIRST && publication.variant(codec).is_none() {
            return;
        }
        let first = !publication.is_wanted();
        match level {
            Some(level) => publication.spread.wanted.insert((link, codec), (number, level)),
            None => publication.spread.wanted.remove(&(link, codec)),
        };
        if let Some(key) = publication.track_in(codec) {
            self.media.set_copy(key, link, level.map(|level| (number, level)));
        }
        if first && level.is_some() {
            self.tell(publisher, Change::TrackSubscribed(track.clone()));
        }
        self.reconsider_demand(publisher, track, now);
    }

    /// Packets of one codec of a track come from now on: over the link over which they were asked for, and to wherever they
    /// are wanted.
    pub(super) fn connect_links(
        &mut self,
        publisher: ParticipantId,
        track: &TrackSid,
        codec: CodecIndex,
    ) {
        let Some(owner) = self.participants.get(&publisher) else { return };
        let Some(publication) = owner.publications.get(track) else { return };
        let Some(key) = publication.track_in(codec) else { return };
        let asked = publication.spread.asked.get(&codec).map(|(number, _)| *number);
        if let (Some(link), Some(number)) = (owner.link(), asked) {
            self.media.set_source(key, Some((link, number)));
        }
        for (link, number, level) in publication.spread.wanting(codec) {
            self.media.set_copy(key, link, Some((number, level)));
        }
    }
}
