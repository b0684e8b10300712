//! What a participant may do in its room: from its token at first, from the server's API later.

use livekit_protocol as proto;
use proto::TrackSource;

/// See the module text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// May publish tracks.
    pub can_publish: bool,
    /// May receive tracks.
    pub can_subscribe: bool,
    /// May send data messages.
    pub can_publish_data: bool,
    /// May change its own name, metadata and attributes.
    pub can_update_own_metadata: bool,
    /// Sources it may publish; empty means every source.
    pub can_publish_sources: Vec<TrackSource>,
    /// In no roster.
    pub hidden: bool,
    /// It records the room: the room says that it is being recorded while such a one is there.
    pub recorder: bool,
    /// It is an agent, which may speak for others where text is concerned.
    pub agent: bool,
    /// Receives the metrics others send.
    pub can_subscribe_metrics: bool,
    /// May steer an agent's session; passed on, nothing here depends on it.
    pub can_manage_agent_session: bool,
}

/// What an absent claim means.
impl Default for Permissions {
    fn default() -> Self {
        Self {
            can_publish: true,
            can_subscribe: true,
            can_publish_data: true,
            can_update_own_metadata: false,
            can_publish_sources: Vec::new(),
            hidden: false,
            recorder: false,
            agent: false,
            can_subscribe_metrics: false,
            can_manage_agent_session: false,
        }
    }
}

impl Permissions {
    /// Whether a track of `source` may be published.
    pub fn allow_source(&self, source: TrackSource) -> bool {
        let sources = &self.can_publish_sources;
        self.can_publish && (sources.is_empty() || sources.contains(&source))
    }
}

/// As the server's API says it. A source this server does not know stays in the list as `Unknown`: dropped, it
/// could leave the list empty, and an empty list allows every source.
impl From<&proto::ParticipantPermission> for Permissions {
    #[expect(deprecated, reason = "servers of every age say recorder and agent here")]
    fn from(said: &proto::ParticipantPermission) -> Self {
        let sources = said.can_publish_sources.iter();
        let sources =
            sources.map(|one| TrackSource::try_from(*one).unwrap_or(TrackSource::Unknown));
        Self {
            can_publish: said.can_publish,
            can_subscribe: said.can_subscribe,
            can_publish_data: said.can_publish_data,
            can_update_own_metadata: said.can_update_metadata,
            can_publish_sources: sources.collect(),
            hidden: said.hidden,
            recorder: said.recorder,
            agent: said.agent,
            can_subscribe_metrics: said.can_subscribe_metrics,
            can_manage_agent_session: said.can_manage_agent_session,
        }
    }
}

impl From<&Permissions> for proto::ParticipantPermission {
    #[expect(deprecated, reason = "clients of every age read recorder and agent here")]
    fn from(permissions: &Permissions) -> Self {
        let sources = &permissions.can_publish_sources;
        Self {
            can_subscribe: permissions.can_subscribe,
            can_publish: permissions.can_publish,
            can_publish_data: permissions.can_publish_data,
            can_publish_sources: sources.iter().map(|one| (*one).into()).collect(),
            hidden: permissions.hidden,
            recorder: permissions.recorder,
            can_update_metadata: permissions.can_update_own_metadata,
            agent: permissions.agent,
            can_subscribe_metrics: permissions.can_subscribe_metrics,
            can_manage_agent_session: permissions.can_manage_agent_session,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_says_comes_back_as_it_was() {
        let permissions = Permissions {
            can_publish: false,
            can_update_own_metadata: true,
            can_publish_sources: vec![TrackSource::Microphone],
            hidden: true,
            recorder: true,
            agent: true,
            can_subscribe_metrics: true,
            can_manage_agent_session: true,
            ..Permissions::default()
        };
        assert_eq!(Permissions::from(&(&permissions).into()), permissions);
    }

    #[test]
    fn an_unknown_source_does_not_turn_into_every_source() {
        let said = proto::ParticipantPermission {
            can_publish: true,
            can_publish_sources: vec![99],
            ..Default::default()
        };
        assert!(!Permissions::from(&said).allow_source(TrackSource::Camera));
    }

    #[test]
    fn sources_count_only_for_those_who_may_publish() {
        let mut permissions = Permissions::default();
        assert!(permissions.allow_source(TrackSource::Camera));
        permissions.can_publish_sources = vec![TrackSource::Microphone];
        assert!(permissions.allow_source(TrackSource::Microphone));
        assert!(!permissions.allow_source(TrackSource::Camera));
        permissions.can_publish = false;
        assert!(!permissions.allow_source(TrackSource::Microphone));
    }
}
