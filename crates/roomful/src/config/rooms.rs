//! What rooms are like: the section `room`, and the presets in it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use livekit_protocol as proto;
use roomful_sfu::{NoticePolicy, Playout, PlayoutDelay, RoomPolicy};
use serde::Deserialize;

use super::ConfigError;
use super::offered::{FileCodec, enabled_codecs};

/// The section of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileRoom {
    pub(super) auto_create: Option<bool>,
    pub(super) max_participants: Option<u32>,
    pub(super) spread_above: Option<u32>,
    /// In seconds.
    pub(super) empty_timeout: Option<u32>,
    /// In seconds.
    pub(super) departure_timeout: Option<u32>,
    pub(super) enable_remote_unmute: Option<bool>,
    pub(super) enabled_codecs: Option<Vec<FileCodec>>,
    pub(super) enable_full_room_in_webhooks: Option<bool>,
    pub(super) playout_delay: Option<FilePlayoutDelay>,
    pub(super) sync_streams: Option<bool>,
    pub(super) room_configurations: Option<BTreeMap<String, FilePreset>>,
}

/// In milliseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FilePlayoutDelay {
    pub(super) enabled: Option<bool>,
    pub(super) min: Option<u32>,
    pub(super) max: Option<u32>,
}

/// A `RoomConfiguration`. As everywhere in protobuf's JSON, names may be written in either way.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FilePreset {
    #[serde(alias = "emptyTimeout")]
    empty_timeout: u32,
    #[serde(alias = "departureTimeout")]
    departure_timeout: u32,
    #[serde(alias = "maxParticipants")]
    max_participants: u32,
    metadata: String,
    #[serde(alias = "minPlayoutDelay")]
    min_playout_delay: u32,
    #[serde(alias = "maxPlayoutDelay")]
    max_playout_delay: u32,
    #[serde(alias = "syncStreams")]
    sync_streams: bool,
    agents: Vec<FileAgent>,
    tags: HashMap<String, String>,
}

/// A `RoomAgentDispatch`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileAgent {
    #[serde(alias = "agentName")]
    agent_name: String,
    metadata: String,
    attributes: HashMap<String, String>,
    deployment: String,
    /// The name of a value of `JobRestartPolicy`.
    #[serde(alias = "restartPolicy")]
    restart_policy: Option<String>,
}

impl FileRoom {
    /// What applications are told of rooms, if there `are_any`.
    pub(super) fn notices(&self, are_any: bool) -> NoticePolicy {
        match (are_any, self.enable_full_room_in_webhooks) {
            (false, _) => NoticePolicy::Untold,
            (true, Some(true)) => NoticePolicy::Described,
            (true, _) => NoticePolicy::Named,
        }
    }

    /// What is so of every room, and of those that name a preset. What is not about rooms is left as it is by default.
    ///
    /// # Errors
    /// A preset that no room can be like.
    pub(super) fn read(
        self,
        max_participants: Option<u32>,
        warnings: &mut Vec<String>,
    ) -> Result<RoomPolicy, ConfigError> {
        let default = RoomPolicy::default();
        let seconds = |seconds: Option<u32>, default| {
            seconds.map_or(default, |seconds| Duration::from_secs(seconds.into()))
        };
        let mut policy = RoomPolicy {
            empty_timeout: seconds(self.empty_timeout, default.empty_timeout),
            departure_timeout: seconds(self.departure_timeout, default.departure_timeout),
            max_participants: max_participants
                .or(self.max_participants)
                .unwrap_or(default.max_participants),
            auto_create: self.auto_create.unwrap_or(default.auto_create),
            remote_unmute: self.enable_remote_unmute.unwrap_or(default.remote_unmute),
            playout: Playout {
                delay: self.playout_delay.and_then(FilePlayoutDelay::read),
                in_step: self.sync_streams.unwrap_or(false),
            },
            enabled_codecs: enabled_codecs(&self.enabled_codecs.unwrap_or_default(), warnings),
            ..default
        };
        for (name, preset) in self.room_configurations.unwrap_or_default() {
            let key = format!("room.room_configurations.{name}");
            let preset =
                preset.read(&name).map_err(|error| ConfigError::new(format!("{key}.{error}")))?;
            policy
                .add_preset(name, preset)
                .map_err(|error| ConfigError::new(format!("{key}: {error}")))?;
        }
        Ok(policy)
    }
}

impl FilePlayoutDelay {
    /// `None` where it is not switched on.
    fn read(self) -> Option<PlayoutDelay> {
        let (min, max) = (self.min.unwrap_or_default(), self.max.unwrap_or_default());
        (self.enabled == Some(true)).then(|| PlayoutDelay::from_millis(min, max))
    }
}

impl FilePreset {
    /// The error begins with the key.
    fn read(self, name: &str) -> Result<proto::RoomConfiguration, String> {
        let agents = self.agents.into_iter().map(FileAgent::read);
        Ok(proto::RoomConfiguration {
            name: name.to_owned(),
            empty_timeout: self.empty_timeout,
            departure_timeout: self.departure_timeout,
            max_participants: self.max_participants,
            metadata: self.metadata,
            min_playout_delay: self.min_playout_delay,
            max_playout_delay: self.max_playout_delay,
            sync_streams: self.sync_streams,
            agents: agents.collect::<Result<_, String>>()?,
            tags: self.tags,
            egress: None,
        })
    }
}

impl FileAgent {
    fn read(self) -> Result<proto::RoomAgentDispatch, String> {
        let restart_policy = match self.restart_policy.as_deref() {
            None => proto::JobRestartPolicy::default(),
            Some(name) => proto::JobRestartPolicy::from_str_name(name).ok_or_else(|| {
                format!("agents: restart_policy {name:?} must be JRP_ON_FAILURE or JRP_NEVER")
            })?,
        };
        Ok(proto::RoomAgentDispatch {
            agent_name: self.agent_name,
            metadata: self.metadata,
            attributes: self.attributes,
            deployment: self.deployment,
            restart_policy: restart_policy.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<RoomPolicy, String> {
        let file: FileRoom = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        file.read(None, &mut Vec::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn presets_are_read_as_livekit_writes_them() {
        let stage = "{empty_timeout: 60, departureTimeout: 5, max_participants: 2, metadata: a stage, \
                     min_playout_delay: 100, maxPlayoutDelay: 200, sync_streams: true, tags: {a: b}, \
                     agents: [{agent_name: prompter, metadata: m, attributes: {k: v}}, \
                     {agentName: light, restart_policy: JRP_NEVER}]}";
        let policy = read(&format!("{{room_configurations: {{stage: {stage}}}}}")).unwrap();
        let preset = &policy.presets["stage"];
        assert_eq!((preset.empty_timeout, preset.departure_timeout), (60, 5));
        assert_eq!((preset.max_participants, preset.metadata.as_str()), (2, "a stage"));
        assert_eq!((preset.min_playout_delay, preset.max_playout_delay), (100, 200));
        assert!(preset.sync_streams);
        let agents: Vec<_> = preset.agents.iter().map(|one| one.agent_name.as_str()).collect();
        assert_eq!(agents, ["prompter", "light"]);
        assert_eq!(preset.agents[0].attributes["k"], "v");
        assert_eq!(preset.agents[1].restart_policy(), proto::JobRestartPolicy::JrpNever);
    }

    #[test]
    fn how_to_play_is_said_in_livekits_words() {
        let playout = |yaml| read(yaml).unwrap().playout;
        let delay = Some(PlayoutDelay::from_millis(100, 2_000));
        assert_eq!(
            playout("{playout_delay: {enabled: true, min: 100, max: 2000}, sync_streams: true}"),
            Playout { delay, in_step: true }
        );
        assert_eq!(playout("{playout_delay: {min: 100}}"), Playout::default(), "not enabled");
    }

    #[test]
    fn what_a_preset_cannot_be_is_named_with_its_key() {
        let error = read("{room_configurations: {stage: {agents: [{restart_policy: soon}]}}}");
        let error = error.unwrap_err();
        assert!(error.contains("room.room_configurations.stage.agents") && error.contains("JRP_"));
        let error = read("{room_configurations: {stage: {agents: [{deployment: \"a b\"}]}}}");
        assert!(error.unwrap_err().contains("room.room_configurations.stage: "));
    }
}
