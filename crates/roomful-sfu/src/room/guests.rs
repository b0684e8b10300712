//! Guests: participants of other rooms who are seen and heard here, too, as the server API wishes.
//!
//! A guest stands in the roster like somebody in another part, takes a place and keeps the room open like anyone, and is
//! everyone's to subscribe to. What it says and sends is its own room's doing: nothing that is said here reaches it, and
//! of what the server API may ask of participants it can only be looked at and sent away, which ends its appearance here.
//! The home receives it; to other parts it is one more participant of the home.

use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::participant_info::KindDetail;

use super::{Room, RoomOutput};
use crate::administration::AdministrationError;
use crate::ids::{Identity, ParticipantId, ParticipantSid};
use crate::link::{Guest, LinkId, MemberFacts, Told};
use crate::participant::Participant;

impl Room {
    /// A participant of another room is to be a guest here, by that link.
    pub(crate) fn take_guest(&mut self, link: LinkId, guest: Guest, now: Instant) {
        let Guest { who, speaking, .. } = guest;
        match self.check_guest(&who, now) {
            Ok(()) => {
                self.links.guests.insert(link);
                self.tell_link(link, Told::GuestTaken);
                let since = self.clock.unix_millis(now);
                self.handle_present(link, who.into_guest(since), now);
                self.handle_speaks(link, speaking, now);
            }
            Err(error) => {
                self.tell_link(link, Told::GuestRefused(error));
                self.outputs.push_back(RoomOutput::CloseLink { link });
            }
        }
        self.settle(now);
    }

    /// The room of a guest says something of it.
    pub(super) fn handle_guest(&mut self, link: LinkId, told: Told, now: Instant) {
        match told {
            Told::Present(facts) => {
                let sid = ParticipantSid::new(facts.profile.sid.as_str());
                let known = self.member_behind(link, &sid);
                let here = known.and_then(|id| self.participants.get(&id));
                if let Some(since) = here.map(|one| one.profile.joined_at_ms) {
                    self.handle_present(link, facts.into_guest(since), now);
                }
            }
            Told::Gone { reason, .. } => self.end_guest(link, reason, now),
            Told::Speaks(speakers) => self.handle_speaks(link, speakers, now),
            Told::Reach { member, presence, quality } => {
                if let Some(id) = self.member_behind(link, &member) {
                    self.handle_reach(id, presence, quality, now);
                }
            }
            Told::Data { channel, message, .. } => {
                self.forward_from_link(link, channel, &message, false, now);
            }
            Told::DataPacket { track, packet } => {
                self.forward_data_from_link(link, &track, &packet, now);
            }
            _ => {}
        }
    }

    /// Whether that participant is of another room.
    pub(super) fn is_guest(&self, id: ParticipantId) -> bool {
        let link = self.participants.get(&id).and_then(Participant::link);
        link.is_some_and(|link| self.links.guests.contains(&link))
    }

    /// `who` is no longer here: if it was a guest, its room need send nothing more.
    pub(super) fn let_guest_go(&mut self, who: &Participant, reason: DisconnectReason) {
        let Some(link) = who.link().filter(|link| self.links.guests.remove(link)) else { return };
        let member = ParticipantSid::new(who.profile.sid.as_str());
        self.tell_link(link, Told::Gone { member, reason });
        self.media.remove_link(link);
        self.outputs.push_back(RoomOutput::CloseLink { link });
    }

    /// The link of a guest, or of somebody who is one elsewhere, broke.
    pub(super) fn forget_guest_link(&mut self, link: LinkId, now: Instant) {
        self.end_guest(link, DisconnectReason::ConnectionTimeout, now);
        self.end_appearance(link, &Err(AdministrationError::Unreachable), now);
    }

    fn end_guest(&mut self, link: LinkId, reason: DisconnectReason, now: Instant) {
        if !self.links.guests.contains(&link) {
            return;
        }
        let mut everyone = self.participants.values();
        match everyone.find(|one| one.link() == Some(link)).map(|one| one.id) {
            Some(id) => self.remove(id, reason, None, now),
            None => {
                self.links.guests.remove(&link);
                self.outputs.push_back(RoomOutput::CloseLink { link });
            }
        }
    }

    fn check_guest(&self, who: &MemberFacts, now: Instant) -> Result<(), AdministrationError> {
        let identity = Identity::new(who.profile.identity.as_str());
        if self.id_of(&identity).is_some() {
            return Err(AdministrationError::AlreadyThere);
        }
        if !self.has_place_for(&identity, now) {
            return Err(AdministrationError::Full);
        }
        Ok(())
    }
}

impl MemberFacts {
    /// The same where it is a guest, since that instant (Unix time in milliseconds).
    fn into_guest(mut self, since: i64) -> Self {
        let forwarded = i32::from(KindDetail::Forwarded);
        if !self.profile.kind_details.contains(&forwarded) {
            self.profile.kind_details.push(forwarded);
        }
        self.profile.joined_at = since / 1_000;
        self.profile.joined_at_ms = since;
        self
    }
}
