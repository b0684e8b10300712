//! Access tokens: JSON Web Tokens (RFC 7519) signed with HS256, carrying LiveKit's grants.
//!
//! [`ApiKeys::verify`] turns a token into a [`Grant`], [`ApiKeys::sign`] makes a token from one.
//! The clock is an argument of both.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use livekit_protocol as proto;
use proto::participant_info::Kind;

use crate::ids::{Identity, RoomName, UnixTime};
use crate::token::claims::Claims;
pub use api::ApiGrant;

mod api;
mod claims;
mod permissions;

pub use permissions::Permissions;

/// Tolerated difference between the clocks of the token's maker and of this server, in seconds:
/// what LiveKit's server tolerates. Larger, and a revoked visitor keeps entering after `exp`;
/// smaller, and an application server whose clock runs ahead makes tokens that are "not yet valid".
pub const LEEWAY_SECONDS: u64 = 60;

/// Longest token looked at, in bytes. Larger, and strangers make the server decode more before a
/// signature is known; smaller, and tokens with long metadata stop working. A request line carries
/// no more than this anyway.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Longest room name, identity and display name, in bytes of UTF-8: LiveKit's default limits.
/// Larger names inflate every roster message of their room; smaller ones refuse tokens that work
/// elsewhere.
pub const MAX_NAME_BYTES: usize = 256;

/// What a token allows its bearer in one room.
#[derive(Debug, Clone, PartialEq)]
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
    pub attributes: BTreeMap<String, String>,
    /// What stands behind the participant: a person, an agent, a recorder.
    pub kind: Kind,
    /// What it may do there.
    pub permissions: Permissions,
    /// What the room shall be like if the bearer is the first to enter it.
    pub room_configuration: Option<Box<proto::RoomConfiguration>>,
    /// The operator's preset that the room shall be like then, where nothing else says so; empty for none.
    pub room_preset: String,
    /// When the token ends; `None` in a grant that came from no token.
    pub expires: Option<UnixTime>,
    /// May begin the room where rooms do not begin by themselves.
    pub can_create_room: bool,
}

impl Grant {
    /// A person who may publish, subscribe and send data in `room`: what an absent claim means.
    pub fn new(identity: Identity, name: impl Into<String>, room: RoomName) -> Self {
        Self {
            identity,
            name: name.into(),
            room,
            metadata: String::new(),
            attributes: BTreeMap::new(),
            kind: Kind::Standard,
            permissions: Permissions::default(),
            room_configuration: None,
            room_preset: String::new(),
            expires: None,
            can_create_room: false,
        }
    }

    /// The grant of a second presence of its bearer, called `name` beside it, that publishes and receives nothing.
    ///
    /// # Errors
    /// The bearer may not publish, or the name is too long.
    pub fn to_publish_as(mut self, name: &str) -> Result<Self, TokenError> {
        if !self.permissions.can_publish {
            return Err(TokenError::NoPublish);
        }
        self.permissions.can_subscribe = false;
        let suffix = format!("#{name}");
        // Tokens given out during the call say it already.
        if !self.identity.as_str().ends_with(&suffix) {
            let identity = format!("{}{suffix}", self.identity);
            claims::require_short("the identity", &identity)?;
            self.identity = Identity::new(identity);
        }
        Ok(self)
    }

    /// Refuses a token that was made for another room than the one the request names.
    pub fn require_room(&self, room: &RoomName) -> Result<(), TokenError> {
        if self.room == *room {
            return Ok(());
        }
        Err(TokenError::WrongRoom { granted: self.room.clone(), asked: room.clone() })
    }
}

/// The public half of an API key pair: the `iss` claim of the tokens it signs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps the text as it stands.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The secret half of an API key pair. It has no `Debug`, `Display` or `Serialize`, so that no log
/// line can carry it.
#[derive(Clone)]
pub struct ApiSecret(String);

impl ApiSecret {
    /// Wraps the text as it stands.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Length in bytes, for judging its strength.
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }
}

/// The key pairs this server trusts.
#[derive(Clone, Default)]
pub struct ApiKeys(BTreeMap<ApiKey, ApiSecret>);

/// No key and no secret.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} API keys", self.0.len())
    }
}

impl ApiKeys {
    /// Trusts one more pair; a pair with the same key is replaced.
    pub fn insert(&mut self, key: ApiKey, secret: ApiSecret) {
        self.0.insert(key, secret);
    }

    /// Trusts no key, and so no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many pairs are trusted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks form, algorithm, key, signature, times and grant of `token`, in this order, and
    /// returns what it allows.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Grant, TokenError> {
        self.verified_claims(token, now)?.into_grant()
    }

    /// Signs a token for `grant` with the first key, valid from `now` (back-dated by nothing: the
    /// verifier's leeway covers clocks that differ) until `expires`. `None` without a key.
    pub fn sign(&self, grant: &Grant, now: UnixTime, expires: UnixTime) -> Option<String> {
        let (key, secret) = self.0.first_key_value()?;
        let claims = Claims::from_grant(grant, key, now, expires);
        let secret = EncodingKey::from_secret(secret.0.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).ok()
    }

    /// Signs a token with what `grant` says now, for somebody who is in already: valid for `lasts` from `now`, and
    /// as long as the token it came with if that is longer. `None` without a key.
    pub(crate) fn refresh(&self, grant: &Grant, now: UnixTime, lasts: Duration) -> Option<String> {
        let soonest = UnixTime(now.0.saturating_add(lasts.as_secs()));
        let expires = grant.expires.map_or(soonest, |before| before.max(soonest));
        self.sign(grant, now, expires)
    }

    fn verified_claims(&self, token: &str, now: UnixTime) -> Result<Claims, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong { size: token.len() });
        }
        require_hs256(token)?;
        let claims = self.verify_signature(token)?;
        require_valid_at(&claims, now)?;
        Ok(claims)
    }

    fn verify_signature(&self, token: &str) -> Result<Claims, TokenError> {
        // The issuer is read before the signature is checked, and used for nothing but the choice
        // of the secret: a forged issuer meets a secret its forger does not know.
        let issuer = jsonwebtoken::dangerous::insecure_decode::<claims::Issuer>(token)
            .map_err(|_| TokenError::Malformed)?;
        let key = ApiKey(issuer.claims.iss.unwrap_or_default());
        let Some(secret) = self.0.get(&key) else {
            return Err(TokenError::UnknownKey(key));
        };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        // These would read the system clock; `require_valid_at` checks them against an argument.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        // LiveKit's tokens name no audience.
        validation.validate_aud = false;
        let secret = DecodingKey::from_secret(secret.0.as_bytes());
        match jsonwebtoken::decode::<Claims>(token, &secret, &validation) {
            Ok(token) => Ok(token.claims),
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature(key),
                ErrorKind::Json(cause) => TokenError::Claims(cause.to_string()),
                _ => TokenError::Malformed,
            }),
        }
    }
}

/// Why a token was refused. The text goes to whoever sent it, so it names what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token at all.
    #[error("no access token: pass it as ?access_token=… or as \"Authorization: Bearer …\"")]
    Missing,
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the access token has {size} bytes, more than {MAX_TOKEN_BYTES}: shorten its metadata")]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// Not three parts of base64url, or no JSON inside.
    #[error("the access token is not a JSON Web Token: was it cut off or changed on its way?")]
    Malformed,
    /// Signed with something else than HS256, or not at all.
    #[error("the access token is signed with {0:?}: only HS256 is accepted")]
    Algorithm(String),
    /// The `iss` claim names no key of this server.
    #[error("unknown API key {:?} (claim iss): sign with a key of this server", .0.as_str())]
    UnknownKey(ApiKey),
    /// The signature was made with another secret, or the token was changed.
    #[error("wrong signature: the access token was not signed with the secret of API key {:?}", .0.as_str())]
    Signature(ApiKey),
    /// A claim has a type or value that it cannot have.
    #[error("the claims of the access token cannot be read: {0}")]
    Claims(String),
    /// Nothing says when it ends.
    #[error("the access token has no expiry (claim exp): set one")]
    NoExpiry,
    /// `exp` has passed.
    #[error("the access token expired {ago_seconds} s ago (claim exp): ask for a new one")]
    Expired {
        /// For how long it has been invalid.
        ago_seconds: u64,
    },
    /// `nbf` is ahead.
    #[error("the access token is valid only in {in_seconds} s (claim nbf): check the clocks")]
    NotYetValid {
        /// How far ahead its first valid second is.
        in_seconds: u64,
    },
    /// No `video` grant, or one without `roomJoin`.
    #[error("the access token does not allow joining a room: set video.roomJoin to true")]
    NoJoin,
    /// A connection that is to publish, for somebody who may not.
    #[error("the access token does not allow publishing: set video.canPublish to true")]
    NoPublish,
    /// A grant to join, but nothing says which room.
    #[error("the access token names no room: set video.room")]
    NoRoom,
    /// No `sub` claim.
    #[error("the access token names no participant: set the identity (claim sub)")]
    NoIdentity,
    /// A name longer than [`MAX_NAME_BYTES`].
    #[error("{what} in the access token has {size} bytes, more than {MAX_NAME_BYTES}: shorten it")]
    NameTooLong {
        /// Which name.
        what: &'static str,
        /// Its length in bytes.
        size: usize,
    },
    /// The request asks for another room than the token grants.
    #[error("the access token is for room {granted:?}, not for {asked:?}")]
    WrongRoom {
        /// The room of the token.
        granted: RoomName,
        /// The room of the request.
        asked: RoomName,
    },
}

/// The header decides nothing here: a token that says `none`, or an asymmetric algorithm in the
/// hope that its public key is taken for a secret, is refused by name (RFC 8725 §3.1).
fn require_hs256(token: &str) -> Result<(), TokenError> {
    let header = claims::Algorithm::of_token(token).ok_or(TokenError::Malformed)?;
    if header.alg == "HS256" {
        return Ok(());
    }
    Err(TokenError::Algorithm(header.alg.chars().take(16).collect()))
}

/// RFC 7519 §4.1.4 and §4.1.5, with [`LEEWAY_SECONDS`] on both sides.
fn require_valid_at(claims: &Claims, now: UnixTime) -> Result<(), TokenError> {
    let expires = claims.exp.ok_or(TokenError::NoExpiry)?.as_unix_time().0;
    if now.0 >= expires.saturating_add(LEEWAY_SECONDS) {
        return Err(TokenError::Expired { ago_seconds: now.0 - expires });
    }
    let begins = claims.nbf.map_or(0, |begins| begins.as_unix_time().0);
    if begins > now.0.saturating_add(LEEWAY_SECONDS) {
        return Err(TokenError::NotYetValid { in_seconds: begins - now.0 });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
