//! Tokens that somebody changed, cut, or made without the secret: none of them opens anything.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::stage::{KEY, SECRET, Stage, join_request};

/// A token, and what was done to it.
type Mutation = (String, String);

const ROOM_SERVICE: [&str; 14] = [
    "CreateRoom",
    "ListRooms",
    "DeleteRoom",
    "ListParticipants",
    "GetParticipant",
    "RemoveParticipant",
    "MutePublishedTrack",
    "UpdateParticipant",
    "UpdateSubscriptions",
    "SendData",
    "UpdateRoomMetadata",
    "ForwardParticipant",
    "MoveParticipant",
    "PerformRpc",
];
const AGENT_DISPATCH: [&str; 3] = ["CreateDispatch", "DeleteDispatch", "ListDispatch"];

/// Fewer would be no proof.
const MUTATIONS_AT_LEAST: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_token_is_taken_for_the_one_it_was_at_any_endpoint() {
    let stage = Stage::start_with_keys();
    let good = token();
    let accepted = statuses(&stage, &good).await;
    // Whoever may do everything is at most told that there is nobody.
    assert!(accepted.iter().all(|(_, status)| ![401, 403].contains(status)), "{accepted:?}");
    let mutations = mutations(&good);
    assert!(mutations.len() >= MUTATIONS_AT_LEAST, "{}", mutations.len());
    for (what, mutated) in mutations {
        for (endpoint, status) in statuses(&stage, &mutated).await {
            assert_eq!(status, 401, "{what} at {endpoint}");
        }
    }
}

/// How every endpoint that wants a token answers this one.
async fn statuses(stage: &Stage, token: &str) -> Vec<(String, u16)> {
    let in_query = percent_encoded(token);
    let join = join_request();
    let mut asked = vec![
        format!("/rtc/v1/validate?access_token={in_query}&join_request={join}"),
        format!("/rtc/validate?access_token={in_query}"),
        format!("/twirp/livekit.RoomService/ListRooms?access_token={in_query}"),
    ];
    let in_header = token.bytes().all(|byte| byte.is_ascii_graphic());
    if in_header {
        asked.push(format!("/rtc/v1/validate?join_request={join}"));
        let service = |name: &'static str| move |method| format!("/twirp/livekit.{name}/{method}");
        asked.extend(ROOM_SERVICE.map(service("RoomService")));
        asked.extend(AGENT_DISPATCH.map(service("AgentDispatchService")));
    }
    let bearer = format!("Bearer {token}");
    let plain = asked.into_iter().map(async |path| {
        let method = if path.starts_with("/twirp/") { "POST" } else { "GET" };
        let mut headers = vec![("content-type", "application/json")];
        if !path.contains("access_token") {
            headers.push(("authorization", bearer.as_str()));
        }
        let status = stage.request(method, &path, &headers, BODY.as_bytes()).await.status;
        (path, status)
    });
    let sockets = [
        format!("/rtc/v1?access_token={in_query}&join_request={join}"),
        format!("/rtc?access_token={in_query}"),
        format!("/agent?access_token={in_query}"),
    ];
    let sockets = sockets.into_iter().map(async |path| {
        let status = stage.upgrade(&path).await;
        (path, status)
    });
    let mut all = join_all(plain).await;
    all.extend(join_all(sockets).await);
    all
}

/// What every method can be asked with.
const BODY: &str = r#"{"room": "garden", "name": "garden", "identity": "nobody",
    "destination_room": "attic", "destination_identity": "nobody", "dispatch_id": "none"}"#;

/// A token that allows everything.
fn token() -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT"}), &claims(), hmac::HMAC_SHA256, SECRET)
}

fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": KEY, "sub": "ann", "nbf": now - 5, "exp": now + 120,
        "video": {
            "roomJoin": true, "room": "garden", "roomCreate": true, "roomList": true,
            "roomAdmin": true, "destinationRoom": "attic", "agent": true
        }
    })
}

fn signed(header: &Value, claims: &Value, algorithm: hmac::Algorithm, secret: &str) -> String {
    let [header, claims] =
        [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string().as_bytes()));
    let text = format!("{header}.{claims}");
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    let signature = hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn mutations(good: &str) -> Vec<Mutation> {
    let mut all = of_the_text(good);
    all.extend(of_the_header(good));
    all.extend(of_the_claims(good));
    all.extend(of_the_secret());
    all
}

/// Cut, doubled, encoded otherwise.
fn of_the_text(good: &str) -> Vec<Mutation> {
    let [header, payload, signature]: [&str; 3] =
        good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let with = |signature: &str| format!("{header}.{payload}.{signature}");
    let flipped = |at: usize| {
        let mut raw = raw.clone();
        raw[at] ^= 1;
        with(&URL_SAFE_NO_PAD.encode(raw))
    };
    let spare = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = spare.iter().position(|one| signature.ends_with(*one as char)).unwrap();
    // The last character of 43 carries two bits that are no part of the 32 bytes.
    let padded = format!("{}{}", &signature[..42], spare[last ^ 1] as char);
    named([
        ("nothing", String::new()),
        ("a word", "token".into()),
        ("two dots", "..".into()),
        ("the header alone", header.into()),
        ("no signature", format!("{header}.{payload}")),
        ("an empty signature", with("")),
        ("an empty payload", format!("{header}..{signature}")),
        ("an empty header", format!(".{payload}.{signature}")),
        ("a part more", format!("{good}.{signature}")),
        ("a dot more", format!("{good}.")),
        ("twice", format!("{good}{good}")),
        ("parts in another order", format!("{payload}.{header}.{signature}")),
        ("a space before it", format!(" {good}")),
        ("a line after it", format!("{good}\n")),
        ("a zero in it", format!("{header}.{payload}\0.{signature}")),
        ("capitals", good.to_uppercase()),
        ("the scheme again", format!("Bearer {good}")),
        ("a signature cut by a character", with(&signature[..42])),
        ("half a signature", with(&URL_SAFE_NO_PAD.encode(&raw[..16]))),
        ("a longer signature", with(&URL_SAFE_NO_PAD.encode([&raw[..], &[0]].concat()))),
        ("a signature of zeros", with(&URL_SAFE_NO_PAD.encode([0; 32]))),
        ("its first bit flipped", flipped(0)),
        ("a middle bit flipped", flipped(16)),
        ("its last bit flipped", flipped(31)),
        ("other spare bits", with(&padded)),
        ("padding", with(&URL_SAFE.encode(&raw))),
        ("hexadecimal", with(&raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
        ("a standard payload", format!("{header}.{}.{signature}", STANDARD.encode(payload))),
    ])
}

/// Other algorithms, with the signature that they would have.
fn of_the_header(good: &str) -> Vec<Mutation> {
    let rest = good.split_once('.').unwrap().1;
    let payload = rest.split_once('.').unwrap().0;
    let mut all = Vec::new();
    for algorithm in ["none", "None", "NONE", "nOnE", "hs256", "RS256", "ES256", "PS256", "EdDSA"] {
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let mac = signed(&header, &claims(), hmac::HMAC_SHA256, SECRET);
        let unsigned = format!("{}.", mac.rsplit_once('.').unwrap().0);
        all.push((format!("{algorithm}, with a MAC"), mac));
        all.push((format!("{algorithm}, without"), unsigned));
    }
    for (name, algorithm) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
        let header = json!({"alg": name, "typ": "JWT"});
        all.push((name.to_owned(), signed(&header, &claims(), algorithm, SECRET)));
    }
    // A key that came with the token is its forger's.
    let own = json!({"alg": "HS256", "kid": "../../../../dev/null",
        "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode("mine")}});
    all.push(("a key of its own".into(), signed(&own, &claims(), hmac::HMAC_SHA256, "mine")));
    for header in [json!({}), json!({"alg": 256}), json!({"alg": ["HS256"]}), json!([]), json!("x")]
    {
        let name = format!("the header {header}");
        all.push((name, signed(&header, &claims(), hmac::HMAC_SHA256, SECRET)));
    }
    let no_json = URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"");
    all.push(("a header that is no JSON".into(), format!("{no_json}.{rest}")));
    let other = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256"}).to_string());
    let signature = good.rsplit_once('.').unwrap().1;
    all.push(("another header".into(), format!("{other}.{payload}.{signature}")));
    all
}

/// Other claims: under the signature of the right ones, and such as cannot be under their own.
fn of_the_claims(good: &str) -> Vec<Mutation> {
    let (header, rest) = good.split_once('.').unwrap();
    let signature = rest.split_once('.').unwrap().1;
    let now = claims()["nbf"].as_u64().unwrap();
    let mut all = Vec::new();
    for (claim, value) in [
        ("sub", json!("root")),
        ("exp", json!(now + 999_999)),
        ("iss", json!("another")),
        ("video", json!({"roomJoin": true, "room": "cellar"})),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        all.push((format!("another {claim}"), format!("{header}.{payload}.{signature}")));
    }
    for (claim, value) in [
        ("exp", Value::Null),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!(now - 3600)),
        ("exp", json!("9999999999")),
        ("exp", json!([now + 60])),
        ("nbf", json!(now + 3600)),
        ("nbf", json!("soon")),
        ("iss", Value::Null),
        ("iss", json!("")),
        ("iss", json!([KEY])),
        ("sub", json!(7)),
        ("video", Value::Null),
        ("video", json!("everything")),
        ("video", json!({"roomJoin": "true", "room": "garden", "roomAdmin": "true"})),
        ("video", json!({"roomJoin": true, "room": 7})),
        ("video", json!({})),
    ] {
        let mut claims = claims();
        claims[claim] = value.clone();
        let header = json!({"alg": "HS256"});
        let token = signed(&header, &claims, hmac::HMAC_SHA256, SECRET);
        all.push((format!("{claim} is {value}"), token));
    }
    let whole = [json!([]), json!(7), json!("x")];
    let header = json!({"alg": "HS256"});
    let sign = |claims| signed(&header, claims, hmac::HMAC_SHA256, SECRET);
    all.extend(whole.iter().map(|claims| (format!("the claims {claims}"), sign(claims))));
    all
}

/// Secrets that are not the one.
fn of_the_secret() -> Vec<Mutation> {
    let longer = format!("{SECRET} ");
    let secrets = ["", "secret", KEY, &SECRET[1..], &SECRET[..SECRET.len() - 1], &longer];
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let sign = |secret| signed(&header, &claims(), hmac::HMAC_SHA256, secret);
    secrets.into_iter().map(|secret| (format!("the secret {secret:?}"), sign(secret))).collect()
}

fn named<const N: usize>(mutations: [(&str, String); N]) -> Vec<Mutation> {
    mutations.into_iter().map(|(what, token)| (what.to_owned(), token)).collect()
}

fn percent_encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let byte = |byte: u8| {
        if keep(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}
