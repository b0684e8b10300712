//! What a client says when it opens a connection, decoded from the URL of `/rtc/v1` or `/rtc`.

mod query;

use std::io::Read as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::GzDecoder;
use livekit_protocol::wrapped_join_request::Compression;
use livekit_protocol::{JoinRequest, WrappedJoinRequest};
use prost::Message as _;

use crate::limits::OverLimit;
use crate::token::Grant;
pub use query::from_query;

/// Largest join request, in bytes and after decompression: LiveKit's limit. What honest clients
/// send is an offer and, on a reconnect, two descriptions of what they had: some tens of KiB.
/// Larger, and a small gzip bomb costs more memory; smaller, and resuming in a big room fails.
pub const MAX_JOIN_REQUEST_BYTES: usize = 1024 * 1024;

/// A verified wish to join.
#[derive(Debug, Clone)]
pub struct JoinAttempt {
    /// What the token allows.
    pub grant: Grant,
    /// The request itself: client info, settings, first tracks and first offer.
    pub request: JoinRequest,
    /// The client runs on this machine: a loopback candidate reaches it.
    pub from_loopback: bool,
    /// The address by which the client says it reached this server's page. It is offered to this client alone as a
    /// way for its media, if it is public and not known already (see [`crate::reached`]): a lie leads nobody
    /// else astray.
    pub reached_at: Option<IpAddr>,
    /// How many peer connections the client makes.
    pub peer_connections: PeerConnections,
}

/// How many peer connections a client makes to one room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PeerConnections {
    /// One, on which it offers: `/rtc/v1`.
    #[default]
    One,
    /// One on which it offers and publishes, and one on which the server offers and it receives: `/rtc`.
    Two,
}

impl JoinAttempt {
    /// Lays what the request says about the participant (metadata, attributes) over what the token
    /// says, if the grant allows it. An empty value deletes no attribute of the token.
    /// [`JoinAttempt::reached_at`] and [`JoinAttempt::peer_connections`] are for the caller to set, if it knows.
    pub fn new(
        mut grant: Grant,
        request: JoinRequest,
        from_loopback: bool,
    ) -> Result<Self, JoinError> {
        let describes_itself =
            !request.metadata.is_empty() || !request.participant_attributes.is_empty();
        if describes_itself && !grant.permissions.can_update_own_metadata {
            return Err(JoinError::MayNotDescribeItself);
        }
        if !request.metadata.is_empty() {
            grant.metadata.clone_from(&request.metadata);
        }
        for (name, value) in &request.participant_attributes {
            if !value.is_empty() {
                grant.attributes.insert(name.clone(), value.clone());
            }
        }
        crate::limits::check_join(&request)?;
        crate::limits::check_description(&grant.name, &grant.metadata, &grant.attributes)?;
        let peer_connections = PeerConnections::One;
        Ok(Self { grant, request, from_loopback, reached_at: None, peer_connections })
    }
}

/// Why a join request was refused. The text goes to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The query has no `join_request`.
    #[error("join_request is required: /rtc/v1?join_request=… (base64url of a WrappedJoinRequest)")]
    Missing,
    /// Not base64url.
    #[error("join_request is not base64url")]
    Base64,
    /// The outer message is no protobuf of its type.
    #[error("join_request is not a WrappedJoinRequest")]
    Wrapper,
    /// Compressed in a way this server does not know.
    #[error("join_request has compression {0}: only none (0) and gzip (1) are known")]
    Compression(i32),
    /// Said to be gzip and is not.
    #[error("join_request is not gzip though it says so")]
    Gzip,
    /// The inner message is no protobuf of its type.
    #[error("join_request holds no JoinRequest")]
    Request,
    /// Larger than [`MAX_JOIN_REQUEST_BYTES`], before or after decompression.
    #[error("join request too large: more than {MAX_JOIN_REQUEST_BYTES} bytes")]
    TooLarge,
    /// The attributes in the query of `/rtc` are not base64url of a JSON object of texts.
    #[error("attributes is not base64url of a JSON object of texts")]
    Attributes,
    /// Brings metadata or attributes of its own without the grant to do so.
    #[error("the token does not allow setting metadata or attributes (video.canUpdateOwnMetadata)")]
    MayNotDescribeItself,
    /// Something it brings is larger than it may be.
    #[error("the join request or its token: {0}")]
    OverLimit(#[from] OverLimit),
}

/// Reads the value of the query parameter `join_request`: base64url (padded or not) of a
/// `WrappedJoinRequest` that holds a `JoinRequest`, plain or gzip.
pub fn decode(value: &str) -> Result<JoinRequest, JoinError> {
    if value.is_empty() {
        return Err(JoinError::Missing);
    }
    // Base64 makes four characters of three bytes.
    if value.len() / 4 * 3 > MAX_JOIN_REQUEST_BYTES {
        return Err(JoinError::TooLarge);
    }
    let wrapped = BASE64URL.decode(value).map_err(|_| JoinError::Base64)?;
    let wrapped = WrappedJoinRequest::decode(&wrapped[..]).map_err(|_| JoinError::Wrapper)?;
    let request = match Compression::try_from(wrapped.compression) {
        Ok(Compression::None) => wrapped.join_request,
        Ok(Compression::Gzip) => gunzip(&wrapped.join_request)?,
        Err(_) => return Err(JoinError::Compression(wrapped.compression)),
    };
    JoinRequest::decode(&request[..]).map_err(|_| JoinError::Request)
}

/// Decompresses at most one byte more than allowed, however much the input would become.
fn gunzip(compressed: &[u8]) -> Result<Vec<u8>, JoinError> {
    let mut plain = Vec::new();
    GzDecoder::new(compressed)
        .take(MAX_JOIN_REQUEST_BYTES as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|_| JoinError::Gzip)?;
    if plain.len() > MAX_JOIN_REQUEST_BYTES {
        return Err(JoinError::TooLarge);
    }
    Ok(plain)
}

/// RFC 4648 §5; clients differ in whether they pad.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
    use flate2::Compression as Level;
    use flate2::write::GzEncoder;
    use livekit_protocol::SessionDescription;

    use crate::ids::{Identity, RoomName};

    #[test]
    fn plain_and_gzip_padded_and_not_mean_the_same() {
        let plain = wrap(Compression::None, request().encode_to_vec());
        let zipped = wrap(Compression::Gzip, gzip(&request().encode_to_vec()));
        for bytes in [plain, zipped] {
            assert_eq!(decode(&URL_SAFE.encode(&bytes)), Ok(request()));
            assert_eq!(decode(&URL_SAFE_NO_PAD.encode(&bytes)), Ok(request()));
        }
    }

    #[test]
    fn every_cause_has_its_own_error() {
        let of = |bytes: &[u8]| decode(&URL_SAFE_NO_PAD.encode(bytes)).unwrap_err();
        assert_eq!(decode(""), Err(JoinError::Missing));
        assert_eq!(decode("not base64!"), Err(JoinError::Base64));
        assert_eq!(of(&[0xFF; 9]), JoinError::Wrapper);
        let unknown = WrappedJoinRequest { compression: 7, join_request: Vec::new() };
        assert_eq!(of(&unknown.encode_to_vec()), JoinError::Compression(7));
        assert_eq!(of(&wrap(Compression::Gzip, b"plain".to_vec())), JoinError::Gzip);
        let mut cut = gzip(&request().encode_to_vec());
        cut.truncate(cut.len() - 9);
        assert_eq!(of(&wrap(Compression::Gzip, cut)), JoinError::Gzip);
        assert_eq!(of(&wrap(Compression::None, vec![0xFF; 9])), JoinError::Request);
        assert_eq!(of(&wrap(Compression::Gzip, gzip(&[0xFF; 9]))), JoinError::Request);
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        let bomb = wrap(Compression::Gzip, gzip(&vec![0; 256 * 1024 * 1024]));
        assert!(bomb.len() < MAX_JOIN_REQUEST_BYTES, "the bomb is small: {}", bomb.len());
        assert_eq!(decode(&URL_SAFE_NO_PAD.encode(bomb)), Err(JoinError::TooLarge));
    }

    #[test]
    fn the_limit_is_exact() {
        let of = |size: usize| {
            let mut request = JoinRequest { metadata: String::new(), ..request() };
            let empty = request.encoded_len();
            // Four bytes of tag and length for a text of this size.
            request.metadata = "x".repeat(size - empty - 4);
            assert_eq!(request.encoded_len(), size);
            decode(&URL_SAFE_NO_PAD.encode(wrap(Compression::Gzip, gzip(&request.encode_to_vec()))))
        };
        assert!(of(MAX_JOIN_REQUEST_BYTES).is_ok());
        assert_eq!(of(MAX_JOIN_REQUEST_BYTES + 1), Err(JoinError::TooLarge));
    }

    #[test]
    fn a_plain_request_over_the_limit_is_refused_unread() {
        let value = "A".repeat(MAX_JOIN_REQUEST_BYTES / 3 * 4 + 8);
        assert_eq!(decode(&value), Err(JoinError::TooLarge));
    }

    #[test]
    fn describing_oneself_needs_the_grant() {
        let mut grant = Grant::new(Identity::new("ann"), "Ann", RoomName::new("garden"));
        grant.attributes.insert("seat".into(), "3".into());
        grant.attributes.insert("hat".into(), "red".into());
        let mut request = request();
        assert!(JoinAttempt::new(grant.clone(), request.clone(), false).is_ok());
        request.metadata = "mine".into();
        request.participant_attributes.insert("seat".into(), "4".into());
        request.participant_attributes.insert("hat".into(), String::new());
        assert_eq!(
            JoinAttempt::new(grant.clone(), request.clone(), false).unwrap_err(),
            JoinError::MayNotDescribeItself
        );
        grant.permissions.can_update_own_metadata = true;
        let grant = JoinAttempt::new(grant, request, false).unwrap().grant;
        assert_eq!(grant.metadata, "mine");
        assert_eq!(grant.attributes["seat"], "4");
        assert_eq!(grant.attributes["hat"], "red", "an empty value deletes nothing");
    }

    fn request() -> JoinRequest {
        JoinRequest {
            publisher_offer: Some(SessionDescription {
                r#type: "offer".into(),
                sdp: "v=0".into(),
                ..SessionDescription::default()
            }),
            ..JoinRequest::default()
        }
    }

    fn wrap(compression: Compression, join_request: Vec<u8>) -> Vec<u8> {
        WrappedJoinRequest { compression: compression.into(), join_request }.encode_to_vec()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }
}
