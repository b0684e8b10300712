//! Access tokens of LiveKit's form: JSON Web Tokens signed with HS256 (RFC 7515, RFC 7519).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

/// How long a token lets its bearer in.
const VALID: Duration = Duration::from_secs(6 * 3600);

/// What an operator configured at the server.
#[derive(Debug, Clone)]
pub(crate) struct ApiKey {
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl ApiKey {
    /// A token that lets `identity` into `room` to send and receive.
    pub(crate) fn sign(&self, room: &str, identity: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "iss": self.key,
            "sub": identity,
            "name": identity,
            // Clocks of client and server may differ a little.
            "nbf": now.as_secs().saturating_sub(60),
            "exp": (now + VALID).as_secs(),
            "video": { "room": room, "roomJoin": true, "canPublish": true, "canSubscribe": true },
        });
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_over_what_it_says() {
        let key = ApiKey { key: "k".into(), secret: "s".into() };
        let token = key.sign("garden", "ann");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s");
        hmac::verify(&key, signed.as_bytes(), &signature).expect("authentic");
        let claims = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["video"]["room"], "garden");
        assert_eq!(claims["sub"], "ann");
    }
}
