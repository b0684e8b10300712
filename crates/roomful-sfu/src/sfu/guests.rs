//! Participants of one room who are guests in another, on this worker or two of them.

use std::time::Instant;

use livekit_protocol as proto;

use super::Sfu;
use crate::administration::{AdministrationError, ForwardParticipant, RequestId};
use crate::limits;
use crate::link::{Guest, LinkId, Told};
use crate::output::Output;

impl Sfu {
    /// The server API wishes that a participant of a room here is a guest in another one, whose home is at the other end of
    /// `link`, on this worker or another. The answer is an [`Output::Reply`] when that room has said what it makes of it.
    pub fn forward(
        &mut self,
        request: RequestId,
        link: LinkId,
        wish: ForwardParticipant,
        now: Instant,
    ) {
        self.now = now;
        let ForwardParticipant { room, identity, destination } = wish;
        let Some(key) = self.names.get(&room).copied() else {
            self.outputs.push_back(Output::LinkClosed { link });
            return self.reply(request, Err(AdministrationError::NoRoom));
        };
        self.links.rooms.insert(link, key);
        if let Some(room) = self.rooms.get_mut(&key) {
            room.appear(request, link, &identity, destination, now);
        }
        self.settle(key);
    }

    /// A participant of another room is to be a guest in one that lives here, or begins.
    pub(super) fn take_guest(&mut self, link: LinkId, guest: Guest, now: Instant) {
        let name = guest.room.to_string();
        let wanted = proto::CreateRoomRequest { name, ..Default::default() };
        let may_begin = limits::check_room(&wanted).map_err(AdministrationError::from);
        let key = may_begin.and_then(|()| {
            self.forget_former_part(&guest.room, now);
            Ok(self.room(&wanted, now)?)
        });
        let key = match key {
            Ok(key) => key,
            Err(error) => {
                self.tell_link(link, Told::GuestRefused(error));
                return self.outputs.push_back(Output::LinkClosed { link });
            }
        };
        self.links.rooms.insert(link, key);
        if let Some(room) = self.rooms.get_mut(&key) {
            room.take_guest(link, guest, now);
        }
        self.settle(key);
    }
}
