//! How long a room stays when nobody is in it, and its end.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::leave_request::Action;
use proto::participant_info::Kind;
use proto::{DisconnectReason, RoomEndReason};

use super::{Room, Timer};
use crate::ids::ParticipantId;
use crate::participant::Participant;
use crate::token::{Grant, Permissions};

/// Where a room stands between its beginning and its end.
#[derive(Debug, Default)]
pub(super) struct Lifetime {
    /// Somebody was here once: from then on the departure timeout counts.
    was_entered: bool,
    /// It ends unless somebody comes.
    is_ending: bool,
    /// It is over.
    over: Option<RoomEndReason>,
}

impl Room {
    /// Why the room is over, if it is: it is to be forgotten then.
    pub(crate) fn end_reason(&self) -> Option<RoomEndReason> {
        self.lifetime.over
    }

    /// Ends the room: everyone is told why and sent away.
    pub(crate) fn close(&mut self, why: RoomEndReason, tell: DisconnectReason, now: Instant) {
        self.end_jobs();
        self.end_links(why, tell);
        for id in self.others(ParticipantId(u64::MAX)) {
            self.remove(id, tell, Some(Action::Disconnect), now);
        }
        self.lifetime.over = Some(why);
        self.notice_end(why, now);
        self.timers.set(Timer::End, None);
        self.settle(now);
    }

    /// Sets or clears the deadline after which the room ends, and tells who is left how many they are. To be called
    /// whenever somebody comes or goes, and once at the beginning.
    pub(crate) fn arrange_end(&mut self, now: Instant) {
        self.tell_room_soon(now);
        if self.is_away() {
            // The home decides.
            return self.timers.set(Timer::End, None);
        }
        let is_deserted = self.participants.values().all(Participant::is_dependent);
        if !is_deserted {
            self.lifetime.was_entered = true;
            self.lifetime.is_ending = false;
            self.timers.set(Timer::End, None);
        } else if !self.lifetime.is_ending {
            self.lifetime.is_ending = true;
            let seconds = if self.lifetime.was_entered {
                self.info.departure_timeout
            } else {
                self.info.empty_timeout
            };
            self.timers.set(Timer::End, Some(now + Duration::from_secs(seconds.into())));
        }
    }

    /// The deadline has come: nobody came back.
    pub(super) fn end_deserted(&mut self, now: Instant) {
        self.close(RoomEndReason::RoomEndIdleTimeout, DisconnectReason::RoomClosed, now);
    }
}

impl Participant {
    /// It is here for the sake of others: an agent or a recorder keeps no room open and takes nobody's place.
    pub(crate) fn is_dependent(&self) -> bool {
        is_dependent(&self.grant)
    }
}

/// See [`Participant::is_dependent`].
pub(super) fn is_dependent(grant: &Grant) -> bool {
    let Permissions { agent, recorder, .. } = grant.permissions;
    agent || recorder || matches!(grant.kind, Kind::Agent | Kind::Egress)
}
