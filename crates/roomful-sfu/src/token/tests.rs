use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proto::TrackSource;
use serde_json::json;

use super::*;

const NOW: UnixTime = UnixTime(1_800_000_000);

#[test]
fn a_signed_grant_comes_back_as_it_was() {
    let mut grant = Grant::new(Identity::new("ann"), "Ann", RoomName::new("garden"));
    grant.metadata = "about ann".into();
    grant.attributes.insert("seat".into(), "3".into());
    grant.kind = Kind::Agent;
    grant.permissions.can_publish_data = false;
    grant.permissions.can_publish_sources = vec![TrackSource::Microphone];
    grant.permissions.hidden = true;
    grant.permissions.recorder = true;
    grant.permissions.agent = true;
    grant.permissions.can_subscribe_metrics = true;
    grant.permissions.can_manage_agent_session = true;
    let room = proto::RoomConfiguration { max_participants: 7, ..Default::default() };
    grant.room_configuration = Some(Box::new(room));
    grant.room_preset = "stage".into();
    grant.expires = Some(UnixTime(NOW.0 + 60));
    let token = keys().sign(&grant, NOW, UnixTime(NOW.0 + 60)).unwrap();
    assert_eq!(keys().verify(&token, NOW), Ok(grant));
}

#[test]
fn whoever_publishes_beside_itself_is_another_presence_that_receives_nothing() {
    let ann = Grant::new(Identity::new("ann"), "Ann", RoomName::new("garden"));
    let camera = ann.clone().to_publish_as("camera").unwrap();
    assert_eq!(camera.identity.as_str(), "ann#camera");
    assert!(camera.permissions.can_publish && !camera.permissions.can_subscribe);
    assert_eq!(camera.clone().to_publish_as("camera"), Ok(camera), "with a token of the call");
    let too_long = "x".repeat(MAX_NAME_BYTES);
    assert!(matches!(ann.clone().to_publish_as(&too_long), Err(TokenError::NameTooLong { .. })));
    let mut listener = ann;
    listener.permissions.can_publish = false;
    assert_eq!(listener.to_publish_as("camera"), Err(TokenError::NoPublish));
}

#[test]
fn absent_permissions_are_granted_but_changing_oneself_is_not() {
    let grant = verify(&json!({"video": {"roomJoin": true, "room": "garden"}})).unwrap();
    assert!(
        grant.permissions.can_publish
            && grant.permissions.can_subscribe
            && grant.permissions.can_publish_data
    );
    assert!(!grant.permissions.can_update_own_metadata && !grant.permissions.hidden);
    assert!(grant.permissions.can_publish_sources.is_empty());
}

#[test]
fn without_publishing_there_is_no_data_either_unless_granted() {
    let video = json!({"roomJoin": true, "room": "garden", "canPublish": false});
    assert!(!verify(&json!({ "video": video })).unwrap().permissions.can_publish_data);
    let video =
        json!({"roomJoin": true, "room": "garden", "canPublish": false, "canPublishData": true});
    assert!(verify(&json!({ "video": video })).unwrap().permissions.can_publish_data);
}

#[test]
fn an_unknown_source_does_not_turn_into_every_source() {
    let video = json!({"roomJoin": true, "room": "garden", "canPublishSources": ["hologram"]});
    let grant = verify(&json!({ "video": video })).unwrap();
    assert_eq!(grant.permissions.can_publish_sources, [TrackSource::Unknown]);
}

#[test]
fn another_secret_is_refused() {
    let mut others = ApiKeys::default();
    others.insert(ApiKey::new("key"), ApiSecret::new("guessed"));
    let token = others.sign(&grant(), NOW, UnixTime(NOW.0 + 60)).unwrap();
    assert_eq!(keys().verify(&token, NOW), Err(TokenError::Signature(ApiKey::new("key"))));
}

#[test]
fn a_changed_claim_breaks_the_signature() {
    let token = keys().sign(&grant(), NOW, UnixTime(NOW.0 + 60)).unwrap();
    let mut parts: Vec<&str> = token.split('.').collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let forged = URL_SAFE_NO_PAD.encode(claims.replace("garden", "cellar"));
    parts[1] = &forged;
    assert_eq!(
        keys().verify(&parts.join("."), NOW),
        Err(TokenError::Signature(ApiKey::new("key")))
    );
}

#[test]
fn only_hs256_counts_whatever_the_header_says() {
    for algorithm in ["none", "None", "HS384", "HS512", "RS256", "ES256", "hs256", ""] {
        let claims = json!({"iss": "key", "sub": "ann", "exp": NOW.0 + 60,
            "video": {"roomJoin": true, "room": "garden"}});
        let signed = sign_raw(&json!({"alg": algorithm, "typ": "JWT"}), &claims);
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        for token in [signed, unsigned] {
            assert_eq!(
                keys().verify(&token, NOW),
                Err(TokenError::Algorithm(algorithm.into())),
                "{algorithm:?}"
            );
        }
    }
}

#[test]
fn a_token_really_signed_with_hs384_is_refused() {
    let claims = json!({"iss": "key", "sub": "ann", "exp": NOW.0 + 60,
        "video": {"roomJoin": true, "room": "garden"}});
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS384), &claims, &secret).unwrap();
    assert_eq!(keys().verify(&token, NOW), Err(TokenError::Algorithm("HS384".into())));
}

#[test]
fn the_leeway_is_exact_at_both_ends() {
    let video = json!({"roomJoin": true, "room": "garden"});
    let expired = |ago: u64| verify(&json!({"exp": NOW.0 - ago, "video": video}));
    assert!(expired(LEEWAY_SECONDS - 1).is_ok());
    assert_eq!(expired(LEEWAY_SECONDS), Err(TokenError::Expired { ago_seconds: LEEWAY_SECONDS }));
    let begins = |ahead: u64| verify(&json!({"nbf": NOW.0 + ahead, "video": video}));
    assert!(begins(LEEWAY_SECONDS).is_ok());
    assert_eq!(
        begins(LEEWAY_SECONDS + 1),
        Err(TokenError::NotYetValid { in_seconds: LEEWAY_SECONDS + 1 })
    );
}

#[test]
fn times_may_have_fractions_and_nonsense_is_named() {
    let video = json!({"roomJoin": true, "room": "garden"});
    assert!(verify(&json!({"exp": NOW.0 as f64 + 0.5, "video": video})).is_ok());
    assert!(matches!(
        verify(&json!({"exp": "tomorrow", "video": video})),
        Err(TokenError::Claims(_))
    ));
    assert!(matches!(
        verify(&json!({"exp": -1.0e300, "video": video})),
        Err(TokenError::Expired { .. })
    ));
    assert!(verify(&json!({"exp": 1.0e300, "video": video})).is_ok());
}

#[test]
fn a_token_without_an_end_is_refused() {
    let claims = json!({"iss": "key", "sub": "ann", "video": {"roomJoin": true, "room": "garden"}});
    let token = sign_raw(&json!({"alg": "HS256"}), &claims);
    assert_eq!(keys().verify(&token, NOW), Err(TokenError::NoExpiry));
}

#[test]
fn a_grant_must_join_a_named_room_as_somebody() {
    assert_eq!(verify(&json!({})), Err(TokenError::NoJoin));
    assert_eq!(verify(&json!({"video": {"room": "garden"}})), Err(TokenError::NoJoin));
    assert_eq!(verify(&json!({"video": {"roomJoin": true}})), Err(TokenError::NoRoom));
    let video = json!({"roomJoin": true, "room": "garden"});
    assert_eq!(verify(&json!({"sub": "", "video": video})), Err(TokenError::NoIdentity));
    let video = json!({"roomJoin": true, "room": "x".repeat(MAX_NAME_BYTES + 1)});
    assert_eq!(
        verify(&json!({ "video": video })),
        Err(TokenError::NameTooLong { what: "the room name", size: MAX_NAME_BYTES + 1 })
    );
}

#[test]
fn a_token_for_another_room_is_refused() {
    assert_eq!(grant().require_room(&RoomName::new("garden")), Ok(()));
    assert_eq!(
        grant().require_room(&RoomName::new("cellar")),
        Err(TokenError::WrongRoom {
            granted: RoomName::new("garden"),
            asked: RoomName::new("cellar")
        })
    );
}

#[test]
fn an_unknown_key_is_named() {
    let mut others = ApiKeys::default();
    others.insert(ApiKey::new("other"), ApiSecret::new(SECRET));
    let token = others.sign(&grant(), NOW, UnixTime(NOW.0 + 60)).unwrap();
    assert_eq!(keys().verify(&token, NOW), Err(TokenError::UnknownKey(ApiKey::new("other"))));
    assert_eq!(
        ApiKeys::default().verify(&token, NOW),
        Err(TokenError::UnknownKey(ApiKey::new("other")))
    );
}

#[test]
fn garbage_is_not_a_token() {
    assert_eq!(keys().verify("", NOW), Err(TokenError::Missing));
    let empty_object = URL_SAFE_NO_PAD.encode("{}");
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    for token in [
        "x",
        ".",
        "..",
        "a.b.c",
        "\u{1F600}.\u{1F600}.\u{1F600}",
        &format!("{empty_object}.{empty_object}.x"),
        &format!("{header}.%%%.x"),
        &format!("{header}.{empty_object}"),
        &format!("{header}.{}.x", URL_SAFE_NO_PAD.encode("[[[[")),
    ] {
        assert_eq!(keys().verify(token, NOW), Err(TokenError::Malformed), "{token}");
    }
}

#[test]
fn a_huge_token_is_not_even_decoded() {
    let token = "x".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(keys().verify(&token, NOW), Err(TokenError::TooLong { size: MAX_TOKEN_BYTES + 1 }));
}

const SECRET: &str = "the secret of the key";

fn keys() -> ApiKeys {
    let mut keys = ApiKeys::default();
    keys.insert(ApiKey::new("key"), ApiSecret::new(SECRET));
    keys
}

fn grant() -> Grant {
    Grant::new(Identity::new("ann"), "Ann", RoomName::new("garden"))
}

/// Verifies a well-signed token of `ann`, valid for a minute, with `claims` laid over it.
fn verify(claims: &serde_json::Value) -> Result<Grant, TokenError> {
    let mut all = json!({"iss": "key", "sub": "ann", "exp": NOW.0 + 60});
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    keys().verify(&sign_raw(&json!({"alg": "HS256", "typ": "JWT"}), &all), NOW)
}

/// Signs with HS256 whatever the header claims.
fn sign_raw(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}
