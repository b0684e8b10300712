//! What the server API asks of somebody in another part of the room.

use super::links::FROM_LINK;
use super::{Room, RoomOutput};
use crate::administration::{AdministrationError, Reply, RequestId, RoomRequest};
use crate::ids::{Identity, ParticipantId};
use crate::link::{LinkId, Told};

impl Room {
    /// Hands what the server API asks to the part in which the participant is. `true`: it was.
    pub(super) fn ask_part_of(
        &mut self,
        request: RequestId,
        what: &RoomRequest,
        may_unmute: bool,
    ) -> bool {
        let link = subject(what).and_then(|identity| self.part_of(self.id_of(&identity)?));
        let Some(link) = link else { return false };
        self.links.asked.insert(request, link);
        self.tell_link(link, Told::Asked { request, what: Box::new(what.clone()), may_unmute });
        true
    }

    /// The server API asks something of a guest, which only its own room can do: here it can be looked at and sent away.
    pub(super) fn asks_guest(&self, what: &RoomRequest) -> bool {
        let is_of_its_own_room =
            !matches!(what, RoomRequest::GetParticipant(_) | RoomRequest::RemoveParticipant(_));
        let id = subject(what).and_then(|identity| self.id_of(&identity));
        is_of_its_own_room && id.is_some_and(|id| self.is_guest(id))
    }

    /// Replies to the server API, wherever it was asked.
    pub(super) fn reply(
        &mut self,
        request: RequestId,
        outcome: Result<Reply, AdministrationError>,
    ) {
        match self.links.home {
            Some(home) if request.0 & FROM_LINK != 0 => {
                let request = RequestId(request.0 & !FROM_LINK);
                self.tell_link(home, Told::Answered { request, outcome });
            }
            _ => self.outputs.push_back(RoomOutput::Reply { request, outcome }),
        }
    }

    /// The link to the part in which a participant can be asked something, if that is another one. A guest cannot: whatever
    /// is not about its tracks is its own room's business.
    pub(super) fn part_of(&self, id: ParticipantId) -> Option<LinkId> {
        let link = self.participants.get(&id)?.link()?;
        (!self.links.guests.contains(&link)).then_some(link)
    }
}

/// The participant a request is about, if it is about one.
fn subject(request: &RoomRequest) -> Option<Identity> {
    match request {
        RoomRequest::GetParticipant(identity)
        | RoomRequest::RemoveParticipant(identity)
        | RoomRequest::MuteTrack { identity, .. }
        | RoomRequest::UpdateSubscriptions { identity, .. }
        | RoomRequest::MoveParticipant { identity, .. } => Some(identity.clone()),
        RoomRequest::UpdateParticipant(request) => Some(Identity::new(request.identity.as_str())),
        RoomRequest::PerformRpc(request) => {
            Some(Identity::new(request.destination_identity.as_str()))
        }
        RoomRequest::ListParticipants
        | RoomRequest::SendData(_)
        | RoomRequest::UpdateMetadata(_)
        | RoomRequest::Expect(_)
        | RoomRequest::CreateDispatch(_)
        | RoomRequest::DeleteDispatch(_)
        | RoomRequest::ListDispatches(_) => None,
    }
}
