//! Who receives which tracks: what participants subscribe to, and how much of it they get.

use std::time::Instant;

use livekit_protocol as proto;
use proto::SubscriptionError;

use super::Room;
use crate::allocation::Share;
use crate::egress::{FrameRate, Layer, MediaKind};
use crate::ids::{ParticipantId, TrackSid};
use crate::limits;
use crate::participant::Participant;
use crate::signalling::{Change, Refusal, Wishes};
use crate::subscription::Subscription;
use crate::variant::CodecIndex;

impl Room {
    /// Subscribes those who want everything to what `from` publishes.
    pub(super) fn offer_tracks(&mut self, from: ParticipantId, now: Instant) {
        // Clients drop a track of somebody they were not told of.
        self.tell_gathered_of(from, now);
        for other in self.others(from) {
            self.subscribe_to(other, from, now);
            self.refresh_sections(other, now);
        }
    }

    pub(super) fn set_subscribed(
        &mut self,
        from: ParticipantId,
        tracks: &[TrackSid],
        wanted: bool,
        now: Instant,
    ) -> Result<(), Refusal> {
        limits::check_named_tracks(tracks.len())?;
        for track in tracks {
            if wanted {
                self.accept(from, track);
                self.subscribe(from, track, now);
            } else {
                self.decline(from, track);
                self.unsubscribe(from, track, now);
            }
        }
        self.refresh_sections(from, now);
        Ok(())
    }

    pub(super) fn set_wishes(
        &mut self,
        from: ParticipantId,
        tracks: &[TrackSid],
        (wishes, rate): (Wishes, Option<FrameRate>),
        now: Instant,
    ) -> Result<(), Refusal> {
        limits::check_named_tracks(tracks.len())?;
        for track in tracks {
            let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
            if let Some(subscription) = participant.subscriptions.get_mut(track) {
                subscription.wishes = wishes;
                subscription.rate = rate;
                let publisher = subscription.publisher;
                self.apply_wishes(from, track, now);
                self.reconsider_demand(publisher, track, now);
            }
        }
        Ok(())
    }

    /// Subscribes a newcomer to what is there, unless it wants to choose for itself.
    pub(super) fn subscribe_to_everything(&mut self, id: ParticipantId, now: Instant) {
        let publishers = self.participants.values().filter(|one| !one.publications.is_empty());
        let publishers: Vec<_> = publishers.map(|one| one.id).filter(|one| *one != id).collect();
        for publisher in publishers {
            self.subscribe_to(id, publisher, now);
        }
    }

    fn subscribe_to(&mut self, id: ParticipantId, publisher: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        if !participant.client.auto_subscribes() || !participant.grant.permissions.can_subscribe {
            return;
        }
        let declined = &participant.access.declined;
        let Some(publisher) = self.participants.get(&publisher) else { return };
        let announced = publisher.publications.values().filter(|one| one.section.is_some());
        let wanted = announced.map(|one| &one.sid).filter(|track| !declined.contains(*track));
        let tracks: Vec<TrackSid> = wanted.cloned().collect();
        let publisher = publisher.id;
        for track in tracks {
            self.subscribe_from(id, Some(publisher), &track, now);
        }
    }

    /// Subscribes `id` to a track, whoever publishes it.
    pub(super) fn subscribe(&mut self, id: ParticipantId, track: &TrackSid, now: Instant) {
        let mut others = self.participants.values().filter(|one| one.id != id);
        let owner = others.find(|one| one.publications.contains_key(track)).map(|one| one.id);
        self.subscribe_from(id, owner, track, now);
    }

    fn subscribe_from(
        &mut self,
        id: ParticipantId,
        publisher: Option<ParticipantId>,
        track: &TrackSid,
        now: Instant,
    ) {
        let Some(participant) = self.participants.get(&id) else { return };
        // Whoever is elsewhere is served by its own part.
        if participant.subscriptions.contains_key(track) || participant.link().is_some() {
            return;
        }
        if !participant.grant.permissions.can_subscribe {
            tracing::debug!(participant = id.0, "a subscription without the right to subscribe");
            self.bar(id, track);
            return;
        }
        let identity = participant.grant.identity.clone();
        let owner = publisher.and_then(|publisher| self.participants.get_mut(&publisher));
        let Some(owner) = owner else {
            let error = SubscriptionError::SeTrackNotfound;
            return self.tell(id, Change::SubscriptionRefused { track: track.clone(), error });
        };
        let (publisher, sid) = (owner.id, owner.profile.sid.clone());
        if !owner.admits(&identity, track) {
            let track = track.clone();
            if self.bar(id, &track) {
                let change = Change::SubscriptionAllowed { publisher: sid, track, allowed: false };
                self.tell(id, change);
            }
            return;
        }
        let Some(publication) = owner.publications.get_mut(track) else { return };
        let first = publication.subscribers.is_empty() && !publication.spread.is_subscribed();
        publication.subscribers.insert(id);
        let subscription = Subscription {
            publisher,
            kind: publication.kind(),
            wishes: Wishes::Quality(proto::VideoQuality::High),
            rate: None,
            share: Share::ALL,
            codec: CodecIndex::FIRST,
            section: None,
            feed: None,
        };
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.subscriptions.insert(track.clone(), subscription);
            participant.access.barred.remove(track);
        }
        let allowed =
            Change::SubscriptionAllowed { publisher: sid, track: track.clone(), allowed: true };
        self.tell(id, allowed);
        if first {
            self.tell(publisher, Change::TrackSubscribed(track.clone()));
        }
        self.apply_wishes(id, track, now);
        self.reconsider_demand(publisher, track, now);
    }

    pub(super) fn unsubscribe(&mut self, id: ParticipantId, track: &TrackSid, now: Instant) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.access.barred.remove(track);
        let Some(subscription) = participant.subscriptions.remove(track) else { return };
        if let Some(section) = subscription.section {
            participant.release(section);
            self.touched.push(id);
        }
        if let Some(feed) = subscription.feed {
            self.media.remove_feed(feed);
        }
        if let Some(publisher) = self.participants.get_mut(&subscription.publisher)
            && let Some(publication) = publisher.publications.get_mut(track)
        {
            publication.subscribers.remove(&id);
        }
        self.reconsider_demand(subscription.publisher, track, now);
    }

    /// Ends a subscription that cannot be served: `id` decodes no codec the track comes in.
    pub(super) fn refuse_codec(&mut self, id: ParticipantId, track: &TrackSid, now: Instant) {
        tracing::debug!(participant = id.0, "a track in a codec that its subscriber does not take");
        self.decline(id, track);
        self.unsubscribe(id, track, now);
        let error = SubscriptionError::SeCodecUnsupported;
        self.tell(id, Change::SubscriptionRefused { track: track.clone(), error });
    }

    /// From now on `id` gets `track` only if it asks for it. Bounded by the tracks there are: each is forgotten when
    /// it ends.
    fn decline(&mut self, id: ParticipantId, track: &TrackSid) {
        let exists = |one: &Participant| one.publications.contains_key(track);
        if !self.participants.values().any(exists) {
            return;
        }
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.access.declined.insert(track.clone());
        }
    }

    fn accept(&mut self, id: ParticipantId, track: &TrackSid) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.access.declined.remove(track);
        }
    }

    pub(super) fn apply_all_wishes(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        let tracks: Vec<TrackSid> = participant.subscriptions.keys().cloned().collect();
        for track in tracks {
            self.apply_wishes(id, &track, now);
        }
    }

    /// Sets what is forwarded of one subscription: nothing before media can flow or while the track
    /// is muted, and otherwise the layer its wishes come to.
    pub(super) fn apply_wishes(&mut self, id: ParticipantId, track: &TrackSid, now: Instant) {
        self.begin_feed(id, track, now);
        let Some(participant) = self.participants.get(&id) else { return };
        let Some(subscription) = participant.subscriptions.get(track) else { return };
        let Some(feed) = subscription.feed else { return };
        let Some(publisher) = self.participants.get(&subscription.publisher) else { return };
        let Some(publication) = publisher.publications.get(track) else { return };
        let wanted = if !participant.can_receive_media() || publication.info.muted {
            None
        } else if subscription.kind == MediaKind::Audio {
            (subscription.wishes != Wishes::Disabled).then_some(Layer::LOW.into())
        } else {
            let Subscription { codec, wishes, rate, share, .. } = *subscription;
            publication.wanted_in(codec, wishes, rate, share)
        };
        self.media.set_wanted(feed, wanted, now);
    }
}
