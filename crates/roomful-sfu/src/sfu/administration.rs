//! What the server API asks of the rooms of one worker.

use std::time::Instant;

use livekit_protocol as proto;

use super::Sfu;
use crate::administration::{Administration, AdministrationError, Reply, RequestId, RoomRequest};
use crate::ids::RoomName;
use crate::limits;
use crate::output::Output;
use crate::room::Room;

impl Sfu {
    /// The server API asks something; whether it may was checked. The answer is an [`Output::Reply`], at once except
    /// where a participant must answer first.
    pub fn administer(&mut self, request: RequestId, what: Administration, now: Instant) {
        self.now = now;
        let outcome = match what {
            Administration::CreateRoom(wanted) => self.create_room(&wanted, now),
            Administration::ListRooms(names) => Ok(Reply::Rooms(self.room_infos(&names))),
            Administration::DeleteRoom(name) => self.delete_room(&name, now),
            Administration::InRoom(name, what) => {
                if matches!(what, RoomRequest::CreateDispatch(_)) {
                    self.begin_for_agents(&name, now);
                }
                let Some(key) = self.names.get(&name).copied() else {
                    return self.reply(request, in_no_room(&what));
                };
                if let Some(room) = self.rooms.get_mut(&key) {
                    room.administer(request, what, self.config.rooms.remote_unmute, now);
                }
                return self.settle(key);
            }
        };
        self.reply(request, outcome);
    }

    pub(super) fn reply(
        &mut self,
        request: RequestId,
        outcome: Result<Reply, AdministrationError>,
    ) {
        self.outputs.push_back(Output::Reply { request, outcome });
    }

    /// A room that exists stays as it is.
    fn create_room(
        &mut self,
        wanted: &proto::CreateRoomRequest,
        now: Instant,
    ) -> Result<Reply, AdministrationError> {
        limits::check_room(wanted)?;
        let key = self.room(wanted, now)?;
        self.settle(key);
        let room = self.rooms.get(&key).ok_or(AdministrationError::NoRoom)?;
        Ok(Reply::Room(Box::new(room.info())))
    }

    fn room_infos(&self, names: &[RoomName]) -> Vec<proto::Room> {
        let is_asked = |name: &RoomName| names.is_empty() || names.contains(name);
        self.names
            .iter()
            .filter(|(name, _)| is_asked(name))
            .filter_map(|(_, key)| self.rooms.get(key))
            // A room in parts is one room: its home's.
            .filter(|room| !room.is_away())
            .map(Room::info)
            .collect()
    }

    fn delete_room(&mut self, name: &RoomName, now: Instant) -> Result<Reply, AdministrationError> {
        let key = self.names.get(name).copied().ok_or(AdministrationError::NoRoom)?;
        if let Some(room) = self.rooms.get_mut(&key) {
            let why = proto::RoomEndReason::RoomEndApiDelete;
            room.close(why, proto::DisconnectReason::RoomDeleted, now);
        }
        self.settle(key);
        Ok(Reply::Done)
    }
}

/// What is so of a room that does not exist: nobody is there.
fn in_no_room(what: &RoomRequest) -> Result<Reply, AdministrationError> {
    match what {
        RoomRequest::ListParticipants => Ok(Reply::Participants(Vec::new())),
        _ => Err(AdministrationError::NoRoom),
    }
}
