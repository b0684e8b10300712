//! How participants are told things: one of them, or all of them the same.

use super::{Room, RoomOutput};
use crate::ids::ParticipantId;
use crate::participant::Participant;
use crate::signalling::Change;

impl Room {
    /// Tells one participant, as far as its client understands.
    pub(super) fn tell(&mut self, to: ParticipantId, change: Change) {
        let Some(participant) = self.participants.get(&to) else { return };
        let Some(connection) = participant.connection else { return };
        if let Some(change) = participant.client.understood(change) {
            self.outputs.push_back(RoomOutput::Tell { connection, change });
        }
    }

    /// Tells everyone but `but` the same.
    pub(super) fn tell_all(&mut self, change: Change, but: Option<ParticipantId>) {
        self.tell_those(change, |one| Some(one.id) != but);
    }

    /// Tells some the same, which is rendered and encoded once.
    pub(super) fn tell_those(&mut self, change: Change, whom: impl Fn(&Participant) -> bool) {
        let (mut connections, mut others) = (Vec::new(), Vec::new());
        for one in self.participants.values().filter(|one| whom(one)) {
            let Some(connection) = one.connection else { continue };
            if one.client.takes(&change) {
                connections.push(connection);
            } else {
                others.push(one.id);
            }
        }
        for id in others {
            self.tell(id, change.clone());
        }
        if !connections.is_empty() {
            self.outputs.push_back(RoomOutput::TellAll { connections, change });
        }
    }
}
