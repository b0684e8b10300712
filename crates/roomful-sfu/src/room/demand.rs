//! Tells publishers how much of their video is wanted, and which codecs of their sound, where that comes in several.

use std::time::Instant;

use livekit_protocol as proto;

use super::{Room, Timer};
use crate::codecs::Codec;
use crate::demand::Level;
use crate::egress::MediaKind;
use crate::ids::{ParticipantId, TrackSid};
use crate::publication::Publication;
use crate::signalling::Change;
use crate::subscription::Subscription;
use crate::variant::CodecIndex;

impl Room {
    /// Somebody's wishes for `track` changed: its publisher hears of it, if it makes a difference.
    pub(super) fn reconsider_demand(
        &mut self,
        publisher: ParticipantId,
        track: &TrackSid,
        now: Instant,
    ) {
        let Some(owner) = self.participants.get(&publisher) else { return };
        let Some(publication) = owner.publications.get(track) else { return };
        let is_elsewhere = owner.link().is_some();
        let is_audio = publication.kind() == MediaKind::Audio;
        let is_told = !is_audio || !publication.further.is_empty();
        if !(is_elsewhere || is_told && publication.section.is_some()) {
            return;
        }
        let levels: Vec<(CodecIndex, Level)> = publication
            .codecs()
            .map(|(index, _)| (index, self.demanded(publisher, track, index)))
            .collect();
        if is_elsewhere {
            return self.ask_elsewhere(publisher, track, &levels, now);
        }
        let Some(owner) = self.participants.get_mut(&publisher) else { return };
        let Some(publication) = owner.publications.get_mut(track) else { return };
        for (index, level) in levels {
            let demand = match publication.variant_mut(index) {
                Some(variant) => &mut variant.demand,
                None => &mut publication.demand,
            };
            match is_audio {
                true => demand.want_at_once(level, now),
                false => demand.want(level, now),
            }
        }
        self.tell_demand(publisher, now);
    }

    /// Tells `publisher` what is due of that, and remembers when the next is.
    pub(super) fn tell_demand(&mut self, publisher: ParticipantId, now: Instant) {
        let Some(owner) = self.participants.get_mut(&publisher) else { return };
        let mut changes = Vec::new();
        for publication in owner.publications.values_mut() {
            if publication.poll_demand(now) {
                let (track, codecs) = (publication.sid.clone(), publication.told_demand());
                changes.push(match publication.kind() {
                    MediaKind::Audio => Change::AudioDemand { track, codecs: enabled(codecs) },
                    MediaKind::Video => Change::Demand { track, codecs: qualities(codecs) },
                });
            }
        }
        let due = owner.publications.values().filter_map(Publication::demand_timeout).min();
        self.timers.set(Timer::Demand(publisher), due);
        for change in changes {
            self.tell(publisher, change);
        }
    }

    /// The most that any subscriber wants of one codec of a track, here or elsewhere.
    pub(super) fn demanded(
        &self,
        publisher: ParticipantId,
        track: &TrackSid,
        index: CodecIndex,
    ) -> Level {
        let Some(owner) = self.participants.get(&publisher) else { return Level::Nothing };
        let Some(publication) = owner.publications.get(track) else { return Level::Nothing };
        let mut most = publication.spread.most_wanted(index);
        for subscriber in &publication.subscribers {
            let subscription =
                self.participants.get(subscriber).and_then(|one| one.subscriptions.get(track));
            // Which codec of sound somebody gets is known once a section carries it.
            let is_known =
                |one: &&Subscription| one.kind == MediaKind::Video || one.section.is_some();
            let subscription = subscription.filter(|one| one.codec == index).filter(is_known);
            if let Some(subscription) = subscription {
                most = most.max(publication.level_in(index, subscription.wishes));
            }
            if most == Level::High {
                break;
            }
        }
        most
    }
}

impl Publication {
    /// `true`: its publisher is to be told now how much of it is wanted.
    fn poll_demand(&mut self, now: Instant) -> bool {
        let first = self.demand.poll(now).is_some();
        self.further.iter_mut().fold(first, |due, one| one.demand.poll(now).is_some() || due)
    }

    /// How much of each codec is wanted, as far as its publisher is to know.
    fn told_demand(&self) -> Vec<(Codec, Level)> {
        let told = |index| self.variant(index).map_or(&self.demand, |one| &one.demand).told();
        self.codecs().filter_map(|(index, codec)| Some((codec?, told(index)))).collect()
    }

    fn demand_timeout(&self) -> Option<Instant> {
        let demands =
            std::iter::once(&self.demand).chain(self.further.iter().map(|one| &one.demand));
        demands.filter_map(|one| one.poll_timeout()).min()
    }
}

fn qualities(codecs: Vec<(Codec, Level)>) -> Vec<(Codec, Vec<proto::SubscribedQuality>)> {
    codecs.into_iter().map(|(codec, level)| (codec, level.qualities())).collect()
}

fn enabled(codecs: Vec<(Codec, Level)>) -> Vec<(Codec, bool)> {
    codecs.into_iter().map(|(codec, level)| (codec, level > Level::Nothing)).collect()
}
