//! What is so of every room unless its maker says otherwise.

use std::time::Duration;

use livekit_protocol as proto;

use crate::codecs::EnabledCodecs;
use crate::outflow::DataPolicy;
use crate::token::Grant;

/// The operator's rules about rooms. The defaults are LiveKit's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPolicy {
    /// How long a room nobody has entered yet is kept. Whole seconds; longer lets forgotten rooms pile up, shorter
    /// ends rooms before those for whom they were made arrive.
    pub empty_timeout: Duration,
    /// How long a room is kept after the last participant left. Whole seconds; longer keeps its metadata and sid for
    /// whoever comes back, shorter makes a reconnect of the only participant begin a new room.
    pub departure_timeout: Duration,
    /// Participants one room may hold; 0 is no limit. Agents and recorders do not count.
    pub max_participants: u32,
    /// Rooms begin when somebody joins. If not, only the server API and tokens with `roomCreate` begin one.
    pub auto_create: bool,
    /// The server API may unmute tracks, not only mute them.
    pub remote_unmute: bool,
    /// Participants may leave data with the room for others to fetch.
    pub data_blobs: bool,
    /// Participants may publish data tracks.
    pub data_tracks: bool,
    /// When data for slow receivers is lost.
    pub data: DataPolicy,
    /// Applications are told what happens ([`crate::Output::Notice`]).
    pub notices: bool,
    /// A room of more participants is a large one: what everyone is to know of everyone is gathered for a moment there
    /// and told together. Larger makes each who comes cost a message to everyone in larger rooms, smaller makes news
    /// wait for 0.2 s in smaller ones.
    pub large_above: usize,
    /// What tracks may be coded with.
    pub enabled_codecs: EnabledCodecs,
}

impl Default for RoomPolicy {
    fn default() -> Self {
        Self {
            empty_timeout: Duration::from_secs(5 * 60),
            departure_timeout: Duration::from_secs(20),
            max_participants: 0,
            auto_create: true,
            remote_unmute: false,
            data_blobs: false,
            data_tracks: true,
            data: DataPolicy::default(),
            notices: false,
            large_above: 100,
            enabled_codecs: EnabledCodecs::default(),
        }
    }
}

impl RoomPolicy {
    /// A room as `request` wants it: what it leaves at zero is the operator's.
    pub(crate) fn room(&self, request: &proto::CreateRoomRequest) -> proto::Room {
        let or = |wanted: u32, default: u32| if wanted > 0 { wanted } else { default };
        proto::Room {
            name: request.name.clone(),
            empty_timeout: or(request.empty_timeout, seconds(self.empty_timeout)),
            departure_timeout: or(request.departure_timeout, seconds(self.departure_timeout)),
            max_participants: or(request.max_participants, self.max_participants),
            metadata: request.metadata.clone(),
            enabled_codecs: self.enabled_codecs.described(),
            ..Default::default()
        }
    }
}

/// What the bearer of `grant` makes a room like by being the first to enter it.
pub(crate) fn begun_by(grant: &Grant) -> proto::CreateRoomRequest {
    let wishes = grant.room_configuration.as_deref().cloned().unwrap_or_default();
    proto::CreateRoomRequest {
        name: grant.room.to_string(),
        empty_timeout: wishes.empty_timeout,
        departure_timeout: wishes.departure_timeout,
        max_participants: wishes.max_participants,
        metadata: wishes.metadata,
        tags: wishes.tags,
        agents: wishes.agents,
        ..Default::default()
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_leaves_open_is_the_operators() {
        let policy = RoomPolicy { max_participants: 7, ..Default::default() };
        let open = proto::CreateRoomRequest { name: "garden".into(), ..Default::default() };
        let room = policy.room(&open);
        assert_eq!(
            (room.empty_timeout, room.departure_timeout, room.max_participants),
            (300, 20, 7)
        );
        let said = proto::CreateRoomRequest {
            empty_timeout: 1,
            departure_timeout: 2,
            max_participants: 3,
            ..open
        };
        let room = policy.room(&said);
        assert_eq!((room.empty_timeout, room.departure_timeout, room.max_participants), (1, 2, 3));
    }
}
