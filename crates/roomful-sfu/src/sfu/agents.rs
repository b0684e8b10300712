//! What the rooms of one worker have to do with agencies, beside what they ask ([`crate::Output::Agents`]).

use std::time::Instant;

use livekit_protocol as proto;

use super::Sfu;
use crate::ids::RoomName;

impl Sfu {
    /// An agency's job began, changed or ended. Rooms that are over take no note.
    pub fn handle_job(&mut self, job: proto::Job, now: Instant) {
        self.now = now;
        let Some(of) = &job.room else { return };
        let name = RoomName::new(of.name.clone());
        let Some(key) = self.names.get(&name).copied() else { return };
        if let Some(room) = self.rooms.get_mut(&key) {
            room.handle_job(job, now);
        }
        self.settle(key);
    }

    /// Where rooms begin by themselves, wanting agents there begins one, too.
    pub(super) fn begin_for_agents(&mut self, name: &RoomName, now: Instant) {
        if self.config.rooms.auto_create && !self.names.contains_key(name) {
            let wanted = proto::CreateRoomRequest { name: name.to_string(), ..Default::default() };
            if let Ok(key) = self.room(&wanted, now) {
                self.settle(key);
            }
        }
    }
}
