//! What is so of every room unless its maker says otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use livekit_protocol as proto;

use crate::administration::AdministrationError;
use crate::agents::check_deployment;
use crate::codecs::EnabledCodecs;
use crate::limits;
use crate::outflow::DataPolicy;
use crate::playout::{Playout, PlayoutDelay};
use crate::token::Grant;

/// The operator's rules about rooms. The defaults are LiveKit's.
#[derive(Debug, Clone, PartialEq)]
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
    /// Pictures may be paused that a receiver's link has no room for, unless its client says otherwise. If not, it gets the
    /// smallest layer all the same.
    pub may_pause: bool,
    /// Whether, and how, applications are told what happens ([`crate::Output::Notice`]).
    pub notices: NoticePolicy,
    /// A room of more participants is a large one: what everyone is to know of everyone is gathered for a moment there
    /// and told together. Larger makes each who comes cost a message to everyone in larger rooms, smaller makes news
    /// wait for 0.2 s in smaller ones.
    pub large_above: usize,
    /// What tracks may be coded with.
    pub enabled_codecs: EnabledCodecs,
    /// What is asked of players.
    pub playout: Playout,
    /// What rooms may be like that are begun by naming one of these.
    pub presets: BTreeMap<String, proto::RoomConfiguration>,
}

/// What applications are told of rooms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NoticePolicy {
    /// Nothing.
    #[default]
    Untold,
    /// What happens. What is about tracks names their room, and says no more of it: as LiveKit does by default.
    Named,
    /// What happens; what is about tracks describes their room as everything else does.
    Described,
}

/// A room that is about to begin.
#[derive(Debug, Clone)]
pub(crate) struct RoomPlan {
    /// All that is told of it, but its sid and when it began.
    pub(crate) info: proto::Room,
    pub(crate) playout: Playout,
    /// The agents that are wanted from its beginning.
    pub(crate) agents: Vec<proto::RoomAgentDispatch>,
}

/// A room is to begin as a preset says that the operator did not make. The text begins with LiveKit's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown room configuration in create room request: there is no {0:?} under room.room_configurations of this server"
)]
pub struct UnknownPreset(pub String);

impl Default for RoomPolicy {
    fn default() -> Self {
        Self {
            empty_timeout: Duration::from_secs(5 * 60),
            departure_timeout: Duration::from_secs(20),
            max_participants: 0,
            auto_create: true,
            remote_unmute: false,
            data_blobs: false,
            may_pause: false,
            data_tracks: true,
            data: DataPolicy::default(),
            notices: NoticePolicy::Untold,
            large_above: 100,
            enabled_codecs: EnabledCodecs::default(),
            playout: Playout::default(),
            presets: BTreeMap::new(),
        }
    }
}

impl RoomPolicy {
    /// Lets rooms begin as `preset` says by naming it `name`.
    ///
    /// # Errors
    /// What no room may be like.
    pub fn add_preset(
        &mut self,
        name: String,
        preset: proto::RoomConfiguration,
    ) -> Result<(), AdministrationError> {
        limits::check_room(&proto::CreateRoomRequest {
            metadata: preset.metadata.clone(),
            agents: preset.agents.clone(),
            ..Default::default()
        })?;
        preset.agents.iter().try_for_each(|agent| check_deployment(&agent.deployment))?;
        self.presets.insert(name, preset);
        Ok(())
    }

    /// A room as `request` wants it: what it leaves at zero or empty is the preset's that it names, and what that
    /// leaves so the operator's.
    pub(crate) fn plan(
        &self,
        request: &proto::CreateRoomRequest,
    ) -> Result<RoomPlan, UnknownPreset> {
        let none = proto::RoomConfiguration::default();
        let preset = match request.room_preset.as_str() {
            "" => &none,
            name => self.presets.get(name).ok_or_else(|| UnknownPreset(name.to_owned()))?,
        };
        let or = |wanted: u32, preset: u32, default: u32| {
            [wanted, preset].into_iter().find(|one| *one > 0).unwrap_or(default)
        };
        let metadata =
            if request.metadata.is_empty() { &preset.metadata } else { &request.metadata };
        let agents = if request.agents.is_empty() { &preset.agents } else { &request.agents };
        let (empty, departure) = (seconds(self.empty_timeout), seconds(self.departure_timeout));
        let info = proto::Room {
            name: request.name.clone(),
            empty_timeout: or(request.empty_timeout, preset.empty_timeout, empty),
            departure_timeout: or(request.departure_timeout, preset.departure_timeout, departure),
            max_participants: or(
                request.max_participants,
                preset.max_participants,
                self.max_participants,
            ),
            metadata: metadata.clone(),
            enabled_codecs: self.enabled_codecs.of_room(),
            ..Default::default()
        };
        let delays = (
            or(request.min_playout_delay, preset.min_playout_delay, 0),
            or(request.max_playout_delay, preset.max_playout_delay, 0),
        );
        let playout = Playout {
            delay: match delays {
                (0, 0) => self.playout.delay,
                (min, max) => Some(PlayoutDelay::from_millis(min, max)),
            },
            in_step: request.sync_streams || preset.sync_streams || self.playout.in_step,
        };
        Ok(RoomPlan { info, playout, agents: agents.clone() })
    }
}

/// What the bearer of `grant` makes a room like by being the first to enter it.
pub(crate) fn begun_by(grant: &Grant) -> proto::CreateRoomRequest {
    let wishes = grant.room_configuration.as_deref().cloned().unwrap_or_default();
    proto::CreateRoomRequest {
        name: grant.room.to_string(),
        room_preset: grant.room_preset.clone(),
        empty_timeout: wishes.empty_timeout,
        departure_timeout: wishes.departure_timeout,
        max_participants: wishes.max_participants,
        metadata: wishes.metadata,
        min_playout_delay: wishes.min_playout_delay,
        max_playout_delay: wishes.max_playout_delay,
        sync_streams: wishes.sync_streams,
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

    fn request() -> proto::CreateRoomRequest {
        proto::CreateRoomRequest { name: "garden".into(), ..Default::default() }
    }

    /// What says how long a room lives and how many it holds.
    fn numbers(policy: &RoomPolicy, request: &proto::CreateRoomRequest) -> (u32, u32, u32) {
        let room = policy.plan(request).unwrap().info;
        (room.empty_timeout, room.departure_timeout, room.max_participants)
    }

    fn agent(name: &str) -> Vec<proto::RoomAgentDispatch> {
        vec![proto::RoomAgentDispatch { agent_name: name.into(), ..Default::default() }]
    }

    #[test]
    fn what_a_request_leaves_open_is_the_operators() {
        let policy = RoomPolicy { max_participants: 7, ..Default::default() };
        assert_eq!(numbers(&policy, &request()), (300, 20, 7));
        let said = proto::CreateRoomRequest {
            empty_timeout: 1,
            departure_timeout: 2,
            max_participants: 3,
            ..request()
        };
        assert_eq!(numbers(&policy, &said), (1, 2, 3));
    }

    #[test]
    fn a_preset_stands_between_the_request_and_the_operator() {
        let stage = proto::RoomConfiguration {
            empty_timeout: 60,
            max_participants: 2,
            metadata: "a stage".into(),
            agents: agent("prompter"),
            ..Default::default()
        };
        let mut policy = RoomPolicy::default();
        policy.add_preset("stage".into(), stage).unwrap();
        let preset = proto::CreateRoomRequest { room_preset: "stage".into(), ..request() };
        assert_eq!(numbers(&policy, &preset), (60, 20, 2));
        let plan = policy.plan(&preset).unwrap();
        assert_eq!((plan.info.metadata.as_str(), plan.agents), ("a stage", agent("prompter")));
        let said = proto::CreateRoomRequest {
            max_participants: 9,
            metadata: "mine".into(),
            agents: agent("mine"),
            ..preset
        };
        assert_eq!(numbers(&policy, &said), (60, 20, 9));
        let plan = policy.plan(&said).unwrap();
        assert_eq!((plan.info.metadata.as_str(), plan.agents), ("mine", agent("mine")));
        assert_eq!(numbers(&policy, &request()), (300, 20, 0), "only where it is named");
    }

    #[test]
    fn how_to_play_is_said_by_the_request_the_preset_and_the_operator() {
        let slow = proto::RoomConfiguration { min_playout_delay: 50, ..Default::default() };
        let operators = Playout { delay: Some(PlayoutDelay::from_millis(1, 2)), in_step: false };
        let mut policy = RoomPolicy { playout: operators, ..Default::default() };
        policy.add_preset("slow".into(), slow).unwrap();
        let playout = |request| policy.plan(&request).unwrap().playout;
        assert_eq!(playout(request()), operators);
        let preset = proto::CreateRoomRequest { room_preset: "slow".into(), ..request() };
        assert_eq!(playout(preset.clone()).delay, Some(PlayoutDelay::from_millis(50, 0)));
        let said = proto::CreateRoomRequest { max_playout_delay: 70, sync_streams: true, ..preset };
        let delay = Some(PlayoutDelay::from_millis(50, 70));
        assert_eq!(playout(said), Playout { delay, in_step: true });
    }

    #[test]
    fn a_preset_that_no_room_can_be_like_is_refused() {
        let large =
            proto::RoomConfiguration { metadata: "x".repeat(1024 * 1024), ..Default::default() };
        assert!(RoomPolicy::default().add_preset("large".into(), large).is_err());
        let mut agents = agent("prompter");
        agents[0].deployment = "no such name".into();
        let nowhere = proto::RoomConfiguration { agents, ..Default::default() };
        assert!(RoomPolicy::default().add_preset("nowhere".into(), nowhere).is_err());
    }

    #[test]
    fn a_preset_nobody_made_is_an_error_that_names_it() {
        let wanted = proto::CreateRoomRequest { room_preset: "stag".into(), ..request() };
        let error = RoomPolicy::default().plan(&wanted).unwrap_err().to_string();
        assert!(
            error.contains("\"stag\"") && error.contains("room.room_configurations"),
            "{error}"
        );
    }
}
