//! Tokens of programs: what one may ask of the server API, and the seal on a webhook's body.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::claims::{ApiClaims, Claims};
use super::{ApiKey, ApiKeys, ApiSecret, TokenError};
use crate::ids::{RoomName, UnixTime};

/// What a token allows its bearer to ask of the server API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiGrant {
    /// May begin and end any room (`roomCreate`).
    pub create_rooms: bool,
    /// May ask which rooms there are (`roomList`).
    pub list_rooms: bool,
    /// May ask and change everything in this room (`roomAdmin` and `room`).
    pub administers: Option<RoomName>,
    /// May move participants from there to this room (`destinationRoom`).
    pub destination: Option<RoomName>,
    /// May offer its work as an agent (`agent`).
    pub agent: bool,
}

impl ApiGrant {
    /// Whether everything in `room` may be asked and changed.
    pub fn may_administer(&self, room: &RoomName) -> bool {
        self.administers.as_ref() == Some(room)
    }

    /// Whether participants may be moved from `room` to `destination`.
    pub fn may_move(&self, room: &RoomName, destination: &RoomName) -> bool {
        self.may_administer(room) && self.destination.as_ref() == Some(destination)
    }

    pub(super) fn of(claims: Claims) -> Self {
        let video = claims.video.unwrap_or_default();
        let named = |room: String| (!room.is_empty()).then(|| RoomName::new(room));
        Self {
            create_rooms: video.api.room_create,
            list_rooms: video.api.room_list,
            administers: named(video.room).filter(|_| video.api.room_admin),
            destination: named(video.api.destination_room),
            agent: video.agent,
        }
    }

    fn video(&self) -> Video<'_> {
        Video {
            room: self.administers.as_ref().map(RoomName::as_str),
            agent: self.agent,
            api: ApiClaims {
                room_create: self.create_rooms,
                room_list: self.list_rooms,
                room_admin: self.administers.is_some(),
                destination_room: self
                    .destination
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            },
        }
    }
}

/// The claims of a program's token.
#[derive(Serialize)]
struct Program<'a> {
    iss: &'a str,
    nbf: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<Video<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
}

/// Its grants.
#[derive(Serialize)]
struct Video<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    agent: bool,
    #[serde(flatten)]
    api: ApiClaims,
}

impl ApiKeys {
    /// Checks form, algorithm, key, signature and times of `token`, in this order, and returns what it allows of the
    /// server API; a token may be valid and allow nothing.
    ///
    /// # Errors
    /// Why it is not valid.
    pub fn verify_api(&self, token: &str, now: UnixTime) -> Result<ApiGrant, TokenError> {
        self.verified_claims(token, now).map(ApiGrant::of)
    }

    /// Signs a token for the server API with the first key. `None` without a key.
    pub fn sign_api(&self, grant: &ApiGrant, now: UnixTime, expires: UnixTime) -> Option<String> {
        let (key, secret) = self.0.first_key_value()?;
        let video = Some(grant.video());
        let iss = key.as_str();
        sign(secret, &Program { iss, nbf: now.0, exp: expires.0, video, sha256: None })
    }

    /// Signs a token that says what the SHA-256 of a body is (in base64), with this key. `None`: it is unknown.
    pub fn seal(
        &self,
        key: &ApiKey,
        sha256: &str,
        now: UnixTime,
        expires: UnixTime,
    ) -> Option<String> {
        let secret = self.0.get(key)?;
        let sha256 = Some(sha256);
        sign(
            secret,
            &Program { iss: key.as_str(), nbf: now.0, exp: expires.0, video: None, sha256 },
        )
    }

    /// Whether this key is trusted.
    pub fn contains(&self, key: &ApiKey) -> bool {
        self.0.contains_key(key)
    }
}

fn sign(secret: &ApiSecret, claims: &Program<'_>) -> Option<String> {
    let secret = EncodingKey::from_secret(secret.0.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &secret).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn keys() -> ApiKeys {
        let mut keys = ApiKeys::default();
        keys.insert(ApiKey::new("key"), ApiSecret::new("a secret of more than thirty-two bytes"));
        keys
    }

    fn later(seconds: u64) -> UnixTime {
        UnixTime(NOW.0 + seconds)
    }

    #[test]
    fn a_signed_grant_comes_back_as_it_was() {
        let garden = RoomName::new("garden");
        for grant in [
            ApiGrant::default(),
            ApiGrant { create_rooms: true, list_rooms: true, ..Default::default() },
            ApiGrant { administers: Some(garden.clone()), ..Default::default() },
            ApiGrant {
                administers: Some(garden),
                destination: Some(RoomName::new("attic")),
                agent: true,
                ..Default::default()
            },
        ] {
            let token = keys().sign_api(&grant, NOW, later(60)).unwrap();
            assert_eq!(keys().verify_api(&token, NOW), Ok(grant));
        }
    }

    #[test]
    fn a_program_joins_no_room_and_a_participant_administers_none() {
        let garden = RoomName::new("garden");
        let grant = ApiGrant { administers: Some(garden.clone()), ..Default::default() };
        let token = keys().sign_api(&grant, NOW, later(60)).unwrap();
        assert_eq!(keys().verify(&token, NOW), Err(TokenError::NoJoin));
        let ann = super::super::Grant::new(crate::ids::Identity::new("ann"), "Ann", garden.clone());
        let token = keys().sign(&ann, NOW, later(60)).unwrap();
        assert!(!keys().verify_api(&token, NOW).unwrap().may_administer(&garden));
    }

    #[test]
    fn an_administrator_of_one_room_is_none_of_another() {
        let (garden, attic) = (RoomName::new("garden"), RoomName::new("attic"));
        let grant = ApiGrant { administers: Some(garden.clone()), ..Default::default() };
        assert!(grant.may_administer(&garden) && !grant.may_administer(&attic));
        assert!(!grant.may_move(&garden, &attic) && !ApiGrant::default().may_administer(&garden));
        let grant = ApiGrant { destination: Some(attic.clone()), ..grant };
        assert!(grant.may_move(&garden, &attic) && !grant.may_move(&attic, &garden));
    }

    #[test]
    fn a_program_s_token_ends_like_any_other() {
        let token = keys().sign_api(&ApiGrant::default(), NOW, later(60)).unwrap();
        let late = later(60 + super::super::LEEWAY_SECONDS);
        assert!(matches!(keys().verify_api(&token, late), Err(TokenError::Expired { .. })));
        assert_eq!(
            ApiKeys::default().verify_api(&token, NOW),
            Err(TokenError::UnknownKey(ApiKey::new("key")))
        );
    }

    #[test]
    fn only_a_known_key_seals() {
        assert!(keys().seal(&ApiKey::new("key"), "abc", NOW, later(60)).is_some());
        assert_eq!(keys().seal(&ApiKey::new("other"), "abc", NOW, later(60)), None);
    }
}
