//! The transports of one participant: one for everything, or, for clients of LiveKit's older protocol, one on which
//! they publish and one on which they receive.

use std::time::Instant;

use crate::ids::ParticipantId;
use crate::media::SessionKey;
use crate::transport::Transport;

/// See the module text.
#[derive(Debug)]
pub(crate) struct Transports {
    /// On which the client offers. It publishes here, and receives here, too, unless it has another for that.
    pub(crate) publishing: Transport,
    /// On which this server offers.
    pub(crate) receiving: Option<Box<ReceivingTransport>>,
}

/// A transport by which a participant receives and nothing else.
#[derive(Debug)]
pub(crate) struct ReceivingTransport {
    pub(crate) transport: Transport,
    /// Its media.
    pub(crate) session: SessionKey,
    /// Media may flow.
    pub(crate) connected: bool,
    /// The participant is connected once this transport is, and data goes to it here. Else its client was told to
    /// connect the other one first, because it could receive nothing when it came.
    pub(crate) is_primary: bool,
    pub(crate) offers: OffersMade,
}

/// Where this server stands with the offers it makes to one client: one is out at a time, and what changes meanwhile
/// goes into the next (RFC 9429 §3.2 leaves no other order).
#[derive(Debug, Default)]
pub(crate) struct OffersMade {
    /// The number of the last one, from 1; answers name it.
    pub(crate) last: u32,
    /// Since when the last one waits for its answer.
    pub(crate) out: Option<Instant>,
    /// The next is to come even if nothing else is new, and lets ICE begin, or begin anew.
    pub(crate) restarts: bool,
}

/// Which of a participant's transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// On which the client offers; the only one, if there is only one.
    Publishing,
    /// On which this server offers.
    Receiving,
}

/// One transport of one participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TransportId {
    pub(crate) participant: ParticipantId,
    pub(crate) role: Role,
}

impl Role {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Publishing, Self::Receiving];
}

impl TransportId {
    /// Those a participant may have.
    pub(crate) fn all(participant: ParticipantId) -> [Self; 2] {
        Role::ALL.map(|role| Self { participant, role })
    }
}

impl Transports {
    /// One for everything.
    pub(crate) fn one(publishing: Transport) -> Self {
        Self { publishing, receiving: None }
    }

    /// The transport of that role, if there is one.
    pub(crate) fn get(&self, role: Role) -> Option<&Transport> {
        match role {
            Role::Publishing => Some(&self.publishing),
            Role::Receiving => self.receiving.as_ref().map(|receiving| &receiving.transport),
        }
    }

    /// The same to be changed.
    pub(crate) fn get_mut(&mut self, role: Role) -> Option<&mut Transport> {
        match role {
            Role::Publishing => Some(&mut self.publishing),
            Role::Receiving => self.receiving.as_mut().map(|receiving| &mut receiving.transport),
        }
    }

    /// Which one the participant receives by.
    pub(crate) fn receiving_role(&self) -> Role {
        if self.receiving.is_some() { Role::Receiving } else { Role::Publishing }
    }

    /// The primary one.
    pub(crate) fn primary_mut(&mut self) -> &mut Transport {
        match &mut self.receiving {
            Some(receiving) if receiving.is_primary => &mut receiving.transport,
            _ => &mut self.publishing,
        }
    }

    /// Which one is to be connected for the participant to be so, and carries data to it.
    pub(crate) fn primary(&self) -> Role {
        let receives_first = self.receiving.as_ref().is_some_and(|receiving| receiving.is_primary);
        if receives_first { Role::Receiving } else { Role::Publishing }
    }
}
