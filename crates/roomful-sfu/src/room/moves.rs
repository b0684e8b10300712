//! Participants that the server API moves from one room to another.
//!
//! The client is given a token for the other room, told that it is moved, and made to join anew, in this order: clients
//! show the last token they were given, and those that know nothing of moving end up in the right room, too. Media
//! begins anew there, on another worker maybe. Meanwhile the other room keeps a place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::Kind;

use super::administration::Outcome;
use super::{Room, RoomOutput};
use crate::administration::{AdministrationError, Reply};
use crate::ids::{Identity, RoomName};
use crate::link::Told;
use crate::token::Grant;

/// Who is on the way here, and until when a place is kept. As many as there are places in the room.
#[derive(Debug, Default)]
pub(super) struct Expected(BTreeMap<Identity, Instant>);

/// How long the way may take: clients come within a second, those with a bad network try a few times. Longer keeps the
/// place of somebody who closed the page meanwhile, shorter gives it to another.
const ON_THE_WAY: Duration = Duration::from_secs(15);

impl Expected {
    /// Somebody came.
    pub(super) fn handle_arrival(&mut self, identity: &Identity) {
        self.0.remove(identity);
    }
}

impl Room {
    /// Keeps a place for `identity`, if there is one, in every part of the room.
    pub(super) fn expect(&mut self, identity: &Identity, now: Instant) -> Outcome {
        if !self.has_place_for(identity, now) {
            return Err(AdministrationError::Full);
        }
        if self.info.max_participants > 0 {
            self.tell_links(None, &Told::Expected(identity.clone()));
            self.keep_place(identity.clone(), now);
        }
        Ok(Reply::Room(Box::new(self.info())))
    }

    /// Counts `identity` as coming for a while.
    pub(super) fn keep_place(&mut self, identity: Identity, now: Instant) {
        let expected = &mut self.outside.expected.0;
        expected.retain(|_, until| *until > now);
        expected.insert(identity, now + ON_THE_WAY);
    }

    /// Those for whom a place is kept.
    pub(super) fn expected(&self, now: Instant) -> impl Iterator<Item = &Identity> {
        let expected = self.outside.expected.0.iter();
        expected.filter(move |(_, until)| **until > now).map(|(identity, _)| identity)
    }

    /// Sends a participant to another room, with what it is called and may do here. To the others here it has left.
    pub(super) fn move_on(
        &mut self,
        identity: &Identity,
        destination: proto::Room,
        now: Instant,
    ) -> Outcome {
        let id = self.called(identity)?;
        let participant = self.participants.get(&id).ok_or(AdministrationError::NoParticipant)?;
        let kind = participant.profile.kind();
        if matches!(kind, Kind::Agent | Kind::Egress) {
            return Err(AdministrationError::CannotMove { kind: kind.as_str_name() });
        }
        let connection = participant.connection.ok_or(AdministrationError::OutOfReach)?;
        let grant = Grant {
            room: RoomName::new(destination.name.as_str()),
            // They were about the room that is left.
            room_configuration: None,
            room_preset: String::new(),
            ..participant.grant_now()
        };
        let moved = participant.client.survives_unknown_messages().then(|| {
            Box::new(proto::RoomMovedResponse {
                room: Some(destination),
                participant: Some(participant.info()),
                // Those it meets are told when it joins; told here, they would be gone again a moment later.
                other_participants: Vec::new(),
                ..Default::default()
            })
        });
        let grant = Box::new(grant);
        self.outputs.push_back(RoomOutput::RefreshToken { connection, grant, moved });
        self.remove(id, DisconnectReason::Migration, Some(Action::Reconnect), now);
        Ok(Reply::Done)
    }
}
