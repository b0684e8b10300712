//! The JSON inside a token, under LiveKit's claim names.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use livekit_protocol::TrackSource;
use livekit_protocol::participant_info::Kind;
use serde::{Deserialize, Serialize};

use super::{ApiKey, Grant, MAX_NAME_BYTES, Permissions, TokenError};
use crate::ids::{Identity, RoomName, UnixTime};

/// The registered claims and LiveKit's own. Claims of other services (SIP, inference) are ignored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claims {
    iss: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exp: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    kind: String,
    pub(super) video: Option<VideoClaims>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    metadata: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_config: Option<Box<livekit_protocol::RoomConfiguration>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    room_preset: String,
}

/// What the bearer may do in rooms. `None` is not `Some(false)`: absent permissions are granted.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VideoClaims {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    room_join: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) room: String,
    #[serde(flatten)]
    pub(super) api: ApiClaims,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_publish: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_subscribe: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_publish_data: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_update_own_metadata: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    can_publish_sources: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hidden: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recorder: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) agent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_subscribe_metrics: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_manage_agent_session: Option<bool>,
}

/// What the bearer may ask of the server API.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ApiClaims {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) room_create: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) room_list: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) room_admin: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) destination_room: String,
}

impl Claims {
    pub(super) fn from_grant(
        grant: &Grant,
        key: &ApiKey,
        begins: UnixTime,
        expires: UnixTime,
    ) -> Self {
        let may = &grant.permissions;
        let video = VideoClaims {
            room_join: true,
            room: grant.room.as_str().to_owned(),
            api: ApiClaims { room_create: grant.can_create_room, ..Default::default() },
            can_publish: Some(may.can_publish),
            can_subscribe: Some(may.can_subscribe),
            can_publish_data: Some(may.can_publish_data),
            can_update_own_metadata: Some(may.can_update_own_metadata),
            can_publish_sources: may.can_publish_sources.iter().map(source_name).collect(),
            hidden: may.hidden,
            recorder: may.recorder,
            agent: may.agent,
            can_subscribe_metrics: may.can_subscribe_metrics.then_some(true),
            can_manage_agent_session: may.can_manage_agent_session.then_some(true),
        };
        Self {
            iss: key.as_str().to_owned(),
            sub: grant.identity.as_str().to_owned(),
            exp: Some(NumericDate(expires.0 as f64)),
            nbf: Some(NumericDate(begins.0 as f64)),
            name: grant.name.clone(),
            kind: match grant.kind {
                Kind::Standard => String::new(),
                kind => kind.as_str_name().to_lowercase(),
            },
            video: Some(video),
            metadata: grant.metadata.clone(),
            attributes: grant.attributes.clone(),
            room_config: grant.room_configuration.clone(),
            room_preset: grant.room_preset.clone(),
        }
    }

    pub(super) fn into_grant(self) -> Result<Grant, TokenError> {
        let video = self.video.filter(|video| video.room_join).ok_or(TokenError::NoJoin)?;
        if video.room.is_empty() {
            return Err(TokenError::NoRoom);
        }
        if self.sub.is_empty() {
            return Err(TokenError::NoIdentity);
        }
        require_short("the room name", &video.room)?;
        require_short("the identity", &self.sub)?;
        require_short("the name", &self.name)?;
        Ok(Grant {
            identity: Identity::new(self.sub),
            name: self.name,
            room: RoomName::new(video.room.clone()),
            metadata: self.metadata,
            attributes: self.attributes,
            kind: Kind::from_str_name(&self.kind.to_uppercase()).unwrap_or(Kind::Standard),
            can_create_room: video.api.room_create,
            permissions: video.into_permissions(),
            room_configuration: self.room_config,
            room_preset: self.room_preset,
            expires: self.exp.map(NumericDate::as_unix_time),
        })
    }
}

impl VideoClaims {
    fn into_permissions(self) -> Permissions {
        let can_publish = self.can_publish.unwrap_or(true);
        Permissions {
            can_publish,
            can_subscribe: self.can_subscribe.unwrap_or(true),
            // As LiveKit reads it: whoever may not publish tracks sends no data either, unless
            // the token says so.
            can_publish_data: self.can_publish_data.unwrap_or(can_publish),
            can_update_own_metadata: self.can_update_own_metadata.unwrap_or(false),
            can_publish_sources: self.can_publish_sources.iter().map(|name| source(name)).collect(),
            hidden: self.hidden,
            recorder: self.recorder,
            agent: self.agent,
            can_subscribe_metrics: self.can_subscribe_metrics.unwrap_or(false),
            can_manage_agent_session: self.can_manage_agent_session.unwrap_or(false),
        }
    }
}

/// RFC 7519 §2: seconds since the epoch, possibly with a fraction.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct NumericDate(#[serde(serialize_with = "whole_seconds")] f64);

impl NumericDate {
    /// The second it falls into; dates before 1970 count as 1970.
    pub(super) fn as_unix_time(self) -> UnixTime {
        UnixTime(self.0 as u64)
    }
}

/// The one claim that is read before the signature is known to be right.
#[derive(Deserialize)]
pub(super) struct Issuer {
    pub(super) iss: Option<String>,
}

/// The one header field that is looked at.
#[derive(Deserialize)]
pub(super) struct Algorithm {
    pub(super) alg: String,
}

impl Algorithm {
    pub(super) fn of_token(token: &str) -> Option<Self> {
        let (header, _) = token.split_once('.')?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        serde_json::from_slice(&header).ok()
    }
}

/// Many verifiers read integers only, so no fraction is written.
fn whole_seconds<S: serde::Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(*seconds as u64)
}

pub(super) fn require_short(what: &'static str, text: &str) -> Result<(), TokenError> {
    if text.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(TokenError::NameTooLong { what, size: text.len() })
}

fn source_name(source: &TrackSource) -> String {
    source.as_str_name().to_lowercase()
}

/// A source this server does not know stays in the list as `Unknown`: dropped, it could leave the
/// list empty, and an empty list allows every source.
fn source(name: &str) -> TrackSource {
    TrackSource::from_str_name(&name.to_uppercase()).unwrap_or(TrackSource::Unknown)
}
