//! Access tokens: JSON Web Tokens (RFC 7519) signed with HS256, carrying LiveKit's grants.

use crate::ids::{Identity, RoomName};

/// What a token allows its bearer in one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who the bearer is.
    pub identity: Identity,
    /// The name others see.
    pub name: String,
    /// The room it may join.
    pub room: RoomName,
    /// Free text shown to others.
    pub metadata: String,
    /// Key-value pairs shown to others.
    pub attributes: std::collections::BTreeMap<String, String>,
    /// May publish tracks.
    pub can_publish: bool,
    /// May receive tracks.
    pub can_subscribe: bool,
    /// May send data messages.
    pub can_publish_data: bool,
    /// May change its own name, metadata and attributes.
    pub can_update_own_metadata: bool,
    /// Sources it may publish; empty means every source.
    pub can_publish_sources: Vec<livekit_protocol::TrackSource>,
    /// In no roster.
    pub hidden: bool,
}
