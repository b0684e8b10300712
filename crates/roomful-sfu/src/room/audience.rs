//! Who may receive what, when somebody's mind or rights change during the call.
//!
//! A subscription that is not allowed is not forgotten: its track is barred for the subscriber, and comes back as
//! soon as it may.

use std::time::Instant;

use livekit_protocol as proto;
use proto::request_response::Reason;

use super::Room;
use crate::audience::{Audience, AudienceError};
use crate::ids::{Identity, ParticipantId, TrackSid};
use crate::limits;
use crate::participant::Participant;
use crate::signalling::{Change, Refusal};

impl Room {
    /// Takes the decision of `from` about who may receive its tracks. Whoever loses or gains one hears of it.
    pub(super) fn set_audience(
        &mut self,
        from: ParticipantId,
        said: &proto::SubscriptionPermission,
        now: Instant,
    ) -> Result<(), Refusal> {
        let identity_of = |sid: &str| -> Option<Identity> {
            let mut participants = self.participants.values();
            Some(participants.find(|one| one.profile.sid == sid)?.grant.identity.clone())
        };
        let audience = Audience::new(said, identity_of).map_err(|error| {
            let reason = match error {
                AudienceError::Nobody => Reason::InvalidRequest,
                AudienceError::OverLimit(_) => Reason::LimitExceeded,
            };
            Refusal::new(reason, error.to_string())
        })?;
        let Some(publisher) = self.participants.get_mut(&from) else { return Ok(()) };
        publisher.access.was_restricted |= audience != Audience::Everyone;
        if std::mem::replace(&mut publisher.access.audience, audience.clone()) == audience {
            return Ok(());
        }
        self.tell_other_parts_about(from, now);
        self.review_audience(from, now);
        Ok(())
    }

    /// `of` decided anew who may receive its tracks.
    pub(super) fn review_audience(&mut self, of: ParticipantId, now: Instant) {
        let Some(publisher) = self.participants.get(&of) else { return };
        let tracks: Vec<TrackSid> = publisher.publications.keys().cloned().collect();
        for other in self.others(of) {
            for track in &tracks {
                self.review(other, of, track, now);
            }
            self.review_data(other);
            self.refresh_sections(other, now);
        }
    }

    /// Ends every subscription of one who may no longer subscribe, or takes up those it wanted meanwhile.
    pub(super) fn review_all(&mut self, id: ParticipantId, now: Instant) {
        self.review_data(id);
        let Some(participant) = self.participants.get(&id) else { return };
        if participant.grant.permissions.can_subscribe {
            let barred: Vec<TrackSid> = participant.access.barred.iter().cloned().collect();
            for track in &barred {
                self.subscribe(id, track, now);
            }
            self.subscribe_to_everything(id, now);
        } else {
            let tracks: Vec<TrackSid> = participant.subscriptions.keys().cloned().collect();
            for track in &tracks {
                self.unsubscribe(id, track, now);
                self.bar(id, track);
            }
        }
        self.refresh_sections(id, now);
    }

    /// Remembers that `id` wants `track` and may not have it. Lossy: what is over the limit is forgotten.
    pub(super) fn bar(&mut self, id: ParticipantId, track: &TrackSid) -> bool {
        let Some(participant) = self.participants.get_mut(&id) else { return false };
        participant.access.barred.len() < limits::NAMED_TRACKS
            && participant.access.barred.insert(track.clone())
    }

    /// The publication is over: nobody waits for it any longer, or does not want it.
    pub(super) fn forget_access(&mut self, track: &TrackSid) {
        for participant in self.participants.values_mut() {
            participant.access.barred.remove(track);
            participant.access.declined.remove(track);
        }
    }

    fn review(
        &mut self,
        id: ParticipantId,
        publisher: ParticipantId,
        track: &TrackSid,
        now: Instant,
    ) {
        let Some(subscriber) = self.participants.get(&id) else { return };
        let Some(from) = self.participants.get(&publisher) else { return };
        let allowed = from.admits(&subscriber.grant.identity, track);
        if !allowed && subscriber.subscriptions.contains_key(track) {
            let publisher = from.profile.sid.clone();
            self.unsubscribe(id, track, now);
            self.bar(id, track);
            let track = track.clone();
            self.tell(id, Change::SubscriptionAllowed { publisher, track, allowed: false });
        } else if allowed && subscriber.access.barred.contains(track) {
            self.subscribe(id, track, now);
        }
    }
}

impl Participant {
    /// Whether somebody may receive a track of this participant, as far as this participant decides.
    pub(super) fn admits(&self, subscriber: &Identity, track: &TrackSid) -> bool {
        self.access.audience.admits(subscriber, track)
    }
}
