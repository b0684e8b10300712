//! What a client still knows after its WebSocket was replaced, against what the room knows.

use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;

use super::Room;
use crate::ids::{ParticipantId, TrackSid};
use crate::limits;
use crate::signalling::{Change, Refusal, Wishes};

impl Room {
    /// Tells one that was away what may have been decided meanwhile: how the room is described, how much of its
    /// video is wanted, which tracks it may have.
    pub(super) fn repeat_decisions(&mut self, id: ParticipantId, now: Instant) {
        let room = Box::new(self.info());
        self.tell(id, Change::RoomUpdated(room));
        let Some(participant) = self.participants.get_mut(&id) else { return };
        for publication in participant.publications.values_mut() {
            publication.demand.repeat(now);
            publication.further.iter_mut().for_each(|one| one.demand.repeat(now));
        }
        self.tell_demand(id, now);
        for change in self.allowances(id) {
            self.tell(id, change);
        }
        self.repeat_paused(id);
        if self.participants.get(&id).is_some_and(|one| !one.data.tracks.wanted.is_empty()) {
            self.tell_handles(id);
        }
    }

    /// Which tracks `id` may have, of those publishers who ever decided about that.
    fn allowances(&self, id: ParticipantId) -> Vec<Change> {
        let Some(subscriber) = self.participants.get(&id) else { return Vec::new() };
        let deciders = self.participants.values().filter(|one| one.access.was_restricted);
        deciders
            .flat_map(|publisher| {
                publisher.publications.keys().map(move |track| (publisher, track))
            })
            .filter(|(_, track)| {
                subscriber.subscriptions.contains_key(*track)
                    || subscriber.access.barred.contains(*track)
            })
            .map(|(publisher, track)| Change::SubscriptionAllowed {
                publisher: publisher.profile.sid.clone(),
                track: track.clone(),
                allowed: publisher.admits(&subscriber.grant.identity, track),
            })
            .collect()
    }

    /// Takes over what a client that resumes wants to receive. One that believes to publish what is not published
    /// here cannot go on: it joins anew.
    pub(super) fn sync_state(
        &mut self,
        from: ParticipantId,
        state: &proto::SyncState,
        now: Instant,
    ) -> Result<(), Refusal> {
        limits::check_named_tracks(state.publish_tracks.len())?;
        limits::check_named_tracks(state.publish_data_tracks.len())?;
        let Some(participant) = self.participants.get(&from) else { return Ok(()) };
        let known = |published: &proto::TrackPublishedResponse| {
            let track = published.track.as_ref();
            track.is_some_and(|one| {
                participant.publications.contains_key(&TrackSid::new(one.sid.as_str()))
            })
        };
        let known_data = |published: &proto::PublishDataTrackResponse| {
            let published_here = &participant.data.tracks.published;
            let info = published.info.as_ref();
            info.is_some_and(|one| published_here.contains_key(&TrackSid::new(one.sid.as_str())))
        };
        let all_known = state.publish_tracks.iter().all(known)
            && state.publish_data_tracks.iter().all(known_data);
        if !all_known {
            tracing::debug!(participant = from.0, "resumes with tracks that are not published");
            let reason = DisconnectReason::StateMismatch;
            self.remove(from, reason, Some(Action::Reconnect), now);
            return Ok(());
        }
        let sids = |sids: &[String]| sids.iter().map(TrackSid::new).collect::<Vec<_>>();
        let disabled = sids(&state.track_sids_disabled);
        self.set_wishes(from, &disabled, (Wishes::Disabled, None), now)?;
        if let Some(update) = &state.subscription {
            let by_participant = update.participant_tracks.iter().flat_map(|one| &one.track_sids);
            let tracks: Vec<_> =
                by_participant.chain(&update.track_sids).map(TrackSid::new).collect();
            self.set_subscribed(from, &tracks, update.subscribe, now)?;
        }
        if let Some(update) = &state.data_subscription {
            self.subscribe_data_tracks(from, update)?;
        }
        Ok(())
    }
}
