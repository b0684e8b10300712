//! Tells publishers how much of their video is wanted.

use std::time::Instant;

use super::{Room, Timer};
use crate::demand::Level;
use crate::egress::MediaKind;
use crate::ids::{ParticipantId, TrackSid};
use crate::signalling::Change;

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
        let is_sent = publication.kind() == MediaKind::Video && publication.section.is_some();
        if !is_elsewhere && !is_sent {
            return;
        }
        let level = self.demanded(publisher, track);
        if is_elsewhere {
            return self.ask_elsewhere(publisher, track, level, now);
        }
        let Some(owner) = self.participants.get_mut(&publisher) else { return };
        if let Some(publication) = owner.publications.get_mut(track) {
            publication.demand.want(level, now);
            self.tell_demand(publisher, now);
        }
    }

    /// Tells `publisher` what is due of that, and remembers when the next is.
    pub(super) fn tell_demand(&mut self, publisher: ParticipantId, now: Instant) {
        let Some(owner) = self.participants.get_mut(&publisher) else { return };
        let mut changes = Vec::new();
        for publication in owner.publications.values_mut() {
            if let Some(level) = publication.demand.poll(now) {
                changes.push(Change::Demand {
                    track: publication.sid.clone(),
                    codec: publication.info.mime_type.clone(),
                    qualities: level.qualities(),
                });
            }
        }
        let due = owner.publications.values().filter_map(|one| one.demand.poll_timeout()).min();
        self.timers.set(Timer::Demand(publisher), due);
        for change in changes {
            self.tell(publisher, change);
        }
    }

    /// The most that any subscriber wants.
    pub(super) fn demanded(&self, publisher: ParticipantId, track: &TrackSid) -> Level {
        let Some(owner) = self.participants.get(&publisher) else { return Level::Nothing };
        let Some(publication) = owner.publications.get(track) else { return Level::Nothing };
        let mut most = publication.spread.most_wanted();
        for subscriber in &publication.subscribers {
            let subscription =
                self.participants.get(subscriber).and_then(|one| one.subscriptions.get(track));
            if let Some(subscription) = subscription {
                most = most.max(publication.level_for(subscription.wishes));
            }
            if most == Level::High {
                break;
            }
        }
        most
    }
}
