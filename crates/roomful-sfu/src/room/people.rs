//! What participants are called, what is said of them, and what they may do.

use std::time::Instant;

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::request_response::{Reason, Request};

use super::Room;
use crate::ids::{Identity, ParticipantId, ParticipantSid, TrackSid};
use crate::limits::{self, OverLimit};
use crate::link::Told;
use crate::participant::Participant;
use crate::signalling::{Change, Refusal};
use crate::token::Permissions;

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
            self.update_description(from, &update, now).map_err(Refusal::from)
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
    pub(crate) fn update_description(
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

    /// The participant of that identity, if it is here.
    pub(crate) fn id_of(&self, identity: &Identity) -> Option<ParticipantId> {
        self.participants.values().find(|one| one.grant.identity == *identity).map(|one| one.id)
    }

    /// Changes what a participant may do, at once: tracks it may no longer publish end, tracks it may no longer
    /// receive stop, and it gets a token that says so.
    pub(crate) fn set_permissions(
        &mut self,
        id: ParticipantId,
        permissions: Permissions,
        now: Instant,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.grant.permissions == permissions {
            return;
        }
        if let Some(link) = participant.link() {
            if self.links.guests.contains(&link) {
                return;
            }
            let member = ParticipantSid::new(participant.profile.sid.as_str());
            let permissions = Box::new(permissions);
            return self.tell_link(link, Told::Permit { member, permissions });
        }
        let before = std::mem::replace(&mut participant.grant.permissions, permissions);
        let permissions = &participant.grant.permissions;
        participant.profile.permission = Some(permissions.into());
        let could_see = (before.can_subscribe, before.hidden);
        let can_see = (permissions.can_subscribe, permissions.hidden);
        let can_publish_data = permissions.can_publish_data;
        let ended: Vec<TrackSid> = participant
            .publications
            .values()
            .filter(|one| !permissions.allow_source(one.info.source()))
            .map(|one| one.sid.clone())
            .collect();
        participant.negotiation.queued.retain(|one| permissions.allow_source(one.source()));
        for track in &ended {
            self.unpublish(id, track, now);
        }
        if !can_publish_data {
            self.end_data_tracks(id);
        }
        if could_see.0 != can_see.0 {
            self.review_all(id, now);
        }
        if can_see.1 && !could_see.1 {
            self.tell_of_hiding(id, now);
        }
        self.tell_everyone_about(id, now);
        self.refresh_token(id, now);
        // Agents and recorders keep no room open.
        self.arrange_end(now);
        self.settle(now);
    }

    /// To everyone else, somebody who hides is gone.
    pub(super) fn tell_of_hiding(&mut self, id: ParticipantId, now: Instant) {
        // Otherwise it could be told after this that it is here.
        self.tell_gathered(now);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.touch();
        let gone =
            proto::ParticipantInfo { state: State::Disconnected.into(), ..participant.info() };
        self.tell_all(Change::Participants(vec![gone]), Some(id));
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
