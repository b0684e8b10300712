//! What participants leave for each other in the room.

use livekit_protocol as proto;
use proto::request_response::Reason;

use super::Room;
use crate::ids::ParticipantId;
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
        let blob = owner.data.blobs.get(key);
        let blob = blob.ok_or(refuse(Reason::NotFound, "data blob not found"))?.clone();
        self.tell(from, Change::BlobFetched { request_id, blob: Box::new(blob) });
        Ok(())
    }
}
