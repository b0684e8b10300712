//! What participants are called, what is said of them, and what they may do.

use std::time::Instant;

use livekit_protocol as proto;
use proto::request_response::{Reason, Request};

use super::Room;
use crate::ids::ParticipantId;
use crate::limits::{self, OverLimit};
use crate::participant::Participant;
use crate::signalling::{Change, Refusal};

impl Room {
    /// Changes what a participant says of itself, if it may, and answers it either way.
    pub(super) fn update_own_description(
        &mut self,
        from: ParticipantId,
        update: proto::UpdateParticipantMetadata,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get(&from) else { return Ok(()) };
        let request_id = update.request_id;
        let allowed = participant.grant.permissions.can_update_own_metadata;
        let hears_of_success = participant.client.hears_of_success();
        let done = if allowed {
            self.describe(from, &update, now).map_err(Refusal::from)
        } else {
            let text = "does not have permission to update own metadata";
            Err(Refusal::new(Reason::NotAllowed, text))
        };
        let request = Request::UpdateMetadata(update);
        done.map_err(|refusal| Refusal { request_id, ..refusal }.of(request.clone()))?;
        if hears_of_success {
            self.tell(from, Change::Done { request_id, request: Box::new(request) });
        }
        Ok(())
    }

    /// Changes name, metadata and attributes of a participant, whoever asks for it: what is empty stays as it is, an
    /// attribute with an empty value goes. It and everyone who sees it hears of it.
    pub(crate) fn describe(
        &mut self,
        id: ParticipantId,
        update: &proto::UpdateParticipantMetadata,
        now: Instant,
    ) -> Result<(), OverLimit> {
        let Some(participant) = self.participants.get_mut(&id) else { return Ok(()) };
        if participant.describe(update)? {
            self.tell_everyone_about(id, now);
            self.refresh_token(id, now);
        }
        Ok(())
    }

    /// Tells `of` itself and everyone who sees it how it is now.
    pub(super) fn tell_everyone_about(&mut self, of: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get_mut(&of) else { return };
        participant.touch();
        let own = participant.info();
        self.tell(of, Change::Participants(vec![own]));
        self.tell_others_about(of, now);
    }
}

impl Participant {
    /// `true` if anything is different now.
    fn describe(&mut self, update: &proto::UpdateParticipantMetadata) -> Result<bool, OverLimit> {
        let mut attributes = self.profile.attributes.clone();
        for (key, value) in &update.attributes {
            if value.is_empty() {
                attributes.remove(key);
            } else {
                attributes.insert(key.clone(), value.clone());
            }
        }
        limits::check_description(&update.name, &update.metadata, &attributes)?;
        let before = (&self.profile.name, &self.profile.metadata, &self.profile.attributes);
        let or = |new: &String, old: &String| if new.is_empty() { old } else { new }.clone();
        let name = or(&update.name, before.0);
        let metadata = or(&update.metadata, before.1);
        let changed = (&name, &metadata, &attributes) != before;
        self.profile.name = name;
        self.profile.metadata = metadata;
        self.profile.attributes = attributes;
        Ok(changed)
    }
}
