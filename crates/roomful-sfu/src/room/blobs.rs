//! What participants leave for each other in the room.

use livekit_protocol as proto;
use proto::request_response::Reason;

use super::Room;
use crate::ids::{ParticipantId, ParticipantSid};
use crate::link::{LinkId, Told};
use crate::signalling::{Change, Refusal};

impl Room {
    /// Keeps what `from` leaves, where the operator allows that.
    pub(super) fn store_blob(
        &mut self,
        from: ParticipantId,
        request: proto::StoreDataBlobRequest,
    ) -> Result<(), Refusal> {
        let request_id = request.request_id;
        let blob = request.blob.unwrap_or_default();
        let key = blob.key.clone();
        let stored = match self.participants.get_mut(&from) {
            None => return Ok(()),
            Some(_) if !self.terms.data_blobs => {
                Err(Refusal::new(Reason::NotAllowed, "data blob not enabled"))
            }
            Some(participant) => participant.data.blobs.store(blob),
        };
        stored.map_err(|refusal| Refusal { request_id, ..refusal })?;
        self.tell(from, Change::BlobStored { request_id, key });
        Ok(())
    }

    /// Gives `from` what somebody left.
    pub(super) fn fetch_blob(
        &mut self,
        from: ParticipantId,
        request: &proto::GetDataBlobRequest,
    ) -> Result<(), Refusal> {
        let request_id = request.request_id;
        let refuse = |reason, text| Refusal { request_id, ..Refusal::new(reason, text) };
        let key = request.key.as_ref();
        let key = key.ok_or(refuse(Reason::InvalidRequest, "data blob key is required"))?;
        let owner = self
            .participants
            .values()
            .find(|one| one.profile.identity == request.participant_identity)
            .ok_or(refuse(Reason::NotFound, "participant not found"))?;
        if let Some(link) = self.part_of(owner.id) {
            if let Some(asker) = self.participants.get(&from) {
                let asker = ParticipantSid::new(asker.profile.sid.as_str());
                self.tell_link(link, Told::Fetch { asker, request: request.clone() });
            }
            return Ok(());
        }
        let blob = owner.data.blobs.get(key);
        let blob = blob.ok_or(refuse(Reason::NotFound, "data blob not found"))?.clone();
        self.tell(from, Change::BlobFetched { request_id, blob: Box::new(blob) });
        Ok(())
    }

    /// Somebody behind `link` wants what somebody here, or behind another link, left.
    pub(super) fn fetch_for(
        &mut self,
        link: LinkId,
        asker: ParticipantSid,
        request: proto::GetDataBlobRequest,
    ) {
        let mut everyone = self.participants.values();
        let owner = everyone.find(|one| one.profile.identity == request.participant_identity);
        if let Some(further) =
            owner.and_then(|owner| self.part_of(owner.id)).filter(|one| *one != link)
        {
            return self.tell_link(further, Told::Fetch { asker, request });
        }
        let request_id = request.request_id;
        let blob = owner.and_then(|owner| owner.data.blobs.get(request.key.as_ref()?)).cloned();
        let refusal = Refusal::new(Reason::NotFound, "data blob not found");
        let outcome = blob.map(Box::new).ok_or(Refusal { request_id, ..refusal });
        self.tell_link(link, Told::Fetched { asker, outcome: (request_id, outcome) });
    }

    /// What somebody here, or behind another link, wanted is fetched.
    pub(super) fn handle_fetched(
        &mut self,
        asker: ParticipantSid,
        outcome: (u32, Result<Box<proto::DataBlob>, Refusal>),
    ) {
        let mut everyone = self.participants.values();
        let Some(found) = everyone.find(|one| one.profile.sid == asker.as_str()) else { return };
        if let Some(link) = found.link() {
            return self.tell_link(link, Told::Fetched { asker, outcome });
        }
        let (request_id, outcome) = outcome;
        let id = found.id;
        let change = match outcome {
            Ok(blob) => Change::BlobFetched { request_id, blob },
            Err(refusal) => Change::Refused(Box::new(refusal)),
        };
        self.tell(id, change);
    }
}
