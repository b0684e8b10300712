//! What a client still knows after its WebSocket was replaced, against what the room knows.

use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;

use super::Room;
use crate::ids::{ParticipantId, TrackSid};
use crate::limits;
use crate::signalling::{Refusal, Wishes};

impl Room {
    /// Takes over what a client that resumes wants to receive. One that believes to publish what is not published
    /// here cannot go on: it joins anew.
    pub(super) fn sync_state(
        &mut self,
        from: ParticipantId,
        state: &proto::SyncState,
        now: Instant,
    ) -> Result<(), Refusal> {
        limits::check_named_tracks(state.publish_tracks.len())?;
        let Some(participant) = self.participants.get(&from) else { return Ok(()) };
        let known = |published: &proto::TrackPublishedResponse| {
            let track = published.track.as_ref();
            track.is_some_and(|one| {
                participant.publications.contains_key(&TrackSid::new(one.sid.as_str()))
            })
        };
        if !state.publish_tracks.iter().all(known) {
            tracing::debug!(participant = from.0, "resumes with tracks that are not published");
            let reason = DisconnectReason::StateMismatch;
            self.remove(from, reason, Some(Action::Reconnect), now);
            return Ok(());
        }
        let sids = |sids: &[String]| sids.iter().map(TrackSid::new).collect::<Vec<_>>();
        self.set_wishes(from, &sids(&state.track_sids_disabled), Wishes::Disabled, now)?;
        if let Some(update) = &state.subscription {
            let by_participant = update.participant_tracks.iter().flat_map(|one| &one.track_sids);
            let tracks: Vec<_> =
                by_participant.chain(&update.track_sids).map(TrackSid::new).collect();
            self.set_subscribed(from, &tracks, update.subscribe, now)?;
        }
        Ok(())
    }
}
