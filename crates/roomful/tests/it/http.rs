use std::time::{Duration, Instant};

use livekit_protocol::signal_response::Message as Response;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stage::{KEY, SECRET, Stage, join_request, token, token_until, token_with};

#[tokio::test(flavor = "multi_thread")]
async fn health_and_version_are_public() {
    let stage = Stage::start(&[]);
    let health = stage.get("/healthcheck", &[]).await;
    assert_eq!((health.status, health.text()), (200, "ok"));
    let version = stage.get("/api/version", &[]).await.json();
    assert_eq!(version, json!({"name": "roomful", "version": env!("CARGO_PKG_VERSION")}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_at_home_and_in_every_room() {
    let stage = Stage::start(&[]);
    let home = stage.get("/", &[]).await;
    assert_eq!(home.status, 200);
    assert!(home.text().contains("<!doctype html>") || home.text().contains("<!DOCTYPE html>"));
    for room in ["/room/garden", "/room/a%20b%2Fc", "/room/%F0%9F%8C%BB"] {
        assert_eq!(stage.get(room, &[]).await.body, home.body, "{room}");
    }
    let lost = stage.get("/no/such/page", &[]).await;
    assert_eq!((lost.status, &lost.body), (404, &home.body));
    assert_eq!(stage.get("/../../etc/passwd", &[]).await.status, 404);
    assert_eq!(stage.request("HEAD", "/", &[], b"").await.status, 200);
    assert_eq!(stage.request("POST", "/", &[], b"").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_asked_for_again_and_its_parts_never() {
    let stage = Stage::start(&[]);
    let home = stage.get("/", &[]).await;
    assert_eq!(home.header("cache-control"), Some("no-cache"));
    assert_eq!(home.header("x-content-type-options"), Some("nosniff"));
    assert!(home.header("content-security-policy").unwrap().contains("script-src 'self'"));
    assert!(home.header("permissions-policy").unwrap().contains("camera=(self)"));
    let etag = home.header("etag").unwrap();
    let again = stage.get("/", &[("if-none-match", etag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));

    let script = script_of(home.text());
    let plain = stage.get(&script, &[]).await;
    assert_eq!(plain.status, 200);
    assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(plain.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
}

#[tokio::test(flavor = "multi_thread")]
async fn brotli_is_sent_to_browsers_and_plain_to_others() {
    let stage = Stage::start(&[]);
    let script = script_of(stage.get("/", &[]).await.text());
    let plain = stage.get(&script, &[("accept-encoding", "gzip")]).await;
    let packed = stage.get(&script, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(packed.header("content-encoding"), Some("br"));
    assert_ne!(packed.header("etag"), plain.header("etag"), "two representations, two validators");
    let mut unpacked = Vec::new();
    brotli::BrotliDecompress(&mut &packed.body[..], &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert!(packed.body.len() * 2 < plain.body.len());
    assert_eq!(stage.get(&format!("{script}.br"), &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_open_mode_the_page_gets_a_token_that_works() {
    let stage = Stage::start(&[]);
    let answer = stage
        .post_json("/api/token", &json!({"room_name": " garden ", "participant_name": "Ann"}))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let answer = answer.json();
    assert_eq!(answer["server_url"], format!("ws://{}", stage.address));
    assert_eq!(answer["room_name"], "garden");
    let token = answer["participant_token"].as_str().unwrap();
    let query = format!("access_token={token}&join_request={}", join_request());
    assert_eq!(stage.get(&format!("/rtc/v1/validate?{query}"), &[]).await.text(), "success");
    assert!(stage.open(&query).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_request_that_cannot_be_met_says_why() {
    let stage = Stage::start(&[]);
    for (request, status, code) in [
        (json!({}), 400, "missing"),
        (json!({"room_name": "garden"}), 400, "missing"),
        (json!({"room_name": "garden", "participant_name": "  "}), 400, "missing"),
        (json!({"room_name": "x".repeat(257), "participant_name": "Ann"}), 400, "too_long"),
        (json!({"room_name": "a\u{7}", "participant_name": "Ann"}), 400, "control_character"),
        (described(15_000), 400, "too_long"),
        (json!({"room_name": 7, "participant_name": "Ann"}), 422, "bad_request"),
        (json!("garden"), 422, "bad_request"),
        (json!({"room_name": "x".repeat(100_000)}), 413, "bad_request"),
    ] {
        let answer = stage.post_json("/api/token", &request).await;
        assert_eq!(answer.status, status, "{request}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{request}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
    }
    let no_type = stage.request("POST", "/api/token", &[], b"{}").await;
    assert_eq!(no_type.status, 415, "what a form of another site could send is refused");
    assert_eq!(stage.get("/api/nothing", &[]).await.json()["error"]["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_a_place_by_what_the_roster_shows() {
    let stage = Stage::start(&[]);
    let identity = async |seed: &str| {
        let request = json!({
            "room_name": "garden", "participant_name": "Ann", "participant_identity": seed
        });
        let answer = stage.post_json("/api/token", &request).await;
        answer.json()["participant_identity"].as_str().unwrap().to_owned()
    };
    let ann = identity("secret of a tab").await;
    assert_ne!(ann, "secret of a tab");
    assert_eq!(identity("secret of a tab").await, ann, "a reload takes its own place");
    assert_ne!(identity(&ann).await, ann);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_gets_no_token() {
    let stage = Stage::start(&[]);
    let body = json!({"room_name": "garden", "participant_name": "Ann"}).to_string();
    let json = ("content-type", "application/json");
    let own = format!("http://{}", stage.address);
    for (header, status) in [
        (("origin", own.as_str()), 200),
        (("origin", "https://evil.example"), 403),
        (("sec-fetch-site", "cross-site"), 403),
    ] {
        let answer = stage.request("POST", "/api/token", &[json, header], body.as_bytes()).await;
        assert_eq!(answer.status, status, "{header:?}");
        assert!(status == 200 || answer.json()["error"]["code"] == "cross_origin");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_anyone_may_have_pointed_here_gets_no_token_on_trial() {
    let body = json!({"room_name": "garden", "participant_name": "Ann"}).to_string();
    let request = format!(
        "POST /api/token HTTP/1.1\r\nhost: evil.example:7880\r\norigin: http://evil.example:7880\r\n\
         x-forwarded-for: 1\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let trial = Stage::start(&[]).raw(request.as_bytes()).await;
    assert_eq!((trial.status, &trial.json()["error"]["code"]), (403, &json!("unknown_host")));
    assert!(trial.text().contains("HTTPS") && trial.text().contains("localhost"));
    let decided = Stage::start(&[&format!("--keys={KEY}: {SECRET}"), "--open-page"]);
    assert_eq!(decided.raw(request.as_bytes()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_and_serves_again_when_somebody_leaves() {
    let stage = Stage::start(&["--max-connections=1", &format!("--keys={KEY}: {SECRET}")]);
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let refused = stage.get("/healthcheck", &[]).await;
    assert_eq!((refused.status, refused.text().contains("full")), (503, true));
    drop(ann);
    let deadline = Instant::now() + Duration::from_secs(10);
    while stage.get("/healthcheck", &[]).await.status != 200 {
        assert!(Instant::now() < deadline, "the place is free again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_no_more_connections_and_joins_than_it_may() {
    let stage = Stage::start_with("--max-connections-per-address=1");
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let refused = stage.get("/healthcheck", &[]).await;
    assert_eq!((refused.status, refused.text().contains("your address")), (429, true));
    drop(ann);
    let deadline = Instant::now() + Duration::from_secs(10);
    while stage.get("/healthcheck", &[]).await.status != 200 {
        assert!(Instant::now() < deadline, "the place is free again");
    }

    let stage = Stage::start_with("--max-joins-per-address=1");
    let query = format!("access_token={}&join_request={}", token("garden", "ann"), join_request());
    let mut refused = 0;
    for _ in 0..30 {
        refused += usize::from(stage.open(&query).await.err() == Some(429));
    }
    // Ten at once, and some more if this machine is slow.
    assert!((1..=20).contains(&refused), "{refused}");
    assert_eq!(stage.get(&format!("/rtc/v1/validate?{query}"), &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_finishes_a_request_is_hung_up_on() {
    let stage = Stage::start(&["--max-connections=1"]);
    let mut slow = TcpStream::connect(stage.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(15), slow.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the connection is closed");
    assert_eq!(stage.get("/healthcheck", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_the_page_gives_tokens_at_this_machine_only_unless_it_is_opened_or_closed() {
    let request = json!({"room_name": "garden", "participant_name": "Ann"});
    let local = Stage::start_with_keys();
    assert_eq!(local.post_json("/api/token", &request).await.status, 200);
    let body = request.to_string();
    let headers = [("content-type", "application/json"), ("x-forwarded-for", "192.0.2.1")];
    let answer = local.request("POST", "/api/token", &headers, body.as_bytes()).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("page_closed")));
    let closed = Stage::start(&[&format!("--keys={KEY}: {SECRET}"), "--open-page=false"]);
    let answer = closed.post_json("/api/token", &request).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("page_closed")));
    let opened = Stage::start(&[&format!("--keys={KEY}: {SECRET}"), "--open-page"]);
    assert_eq!(opened.post_json("/api/token", &request).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_says_why_the_websocket_is_refused() {
    let stage = Stage::start_with_keys();
    let good = token("garden", "ann");
    let join = join_request();
    let (head, signature) = good.rsplit_once('.').unwrap();
    // Another first character is another first byte; the last one also pads.
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{head}.{first}{}", &signature[1..]);
    for (query, status, words) in [
        (format!("access_token={good}&join_request={join}"), 200, "success"),
        (format!("access_token={good}&join_request={join}&room=garden"), 200, "success"),
        (format!("join_request={join}"), 401, "no permissions to access the room: no access token"),
        (
            format!("access_token=nonsense&join_request={join}"),
            401,
            "invalid authorization token: the access token is not a JSON Web Token",
        ),
        (format!("access_token={forged}&join_request={join}"), 401, "wrong signature"),
        (
            format!("access_token={}&join_request={join}", token_until("garden", "ann", -3600)),
            401,
            "expired",
        ),
        (format!("access_token={good}&join_request={join}&room=cellar"), 401, "for room garden"),
        (format!("access_token={}&join_request={join}", token("", "ann")), 400, "no room name"),
        (
            format!("access_token={}&join_request={join}", token("garden", "")),
            400,
            "identity cannot be empty",
        ),
        (
            format!("access_token={}&join_request={join}", token(&"r".repeat(257), "ann")),
            400,
            "room name length exceeds limits",
        ),
        (
            format!("access_token={}&join_request={join}", token("garden", &"i".repeat(257))),
            400,
            "participant identity length exceeds limits",
        ),
        (format!("access_token={good}"), 400, "join_request is required"),
        (format!("access_token={good}&join_request=%FF%00"), 400, ""),
        (format!("access_token={good}&join_request=garbage!"), 400, "not base64url"),
        (format!("access_token={good}&join_request=AAAA"), 400, "WrappedJoinRequest"),
    ] {
        let answer = stage.get(&format!("/rtc/v1/validate?{query}"), &[]).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        assert!(answer.text().contains(words), "{query}: {}", answer.text());
        if !words.is_empty() {
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
        assert_eq!(stage.open(&query).await.err(), (status != 200).then_some(status), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rooms_do_not_begin_by_themselves_nobody_connects_to_one_that_is_not_there() {
    let stage = Stage::start_with("--livekit-config={room: {auto_create: false}}");
    let query = |token: &str| format!("access_token={token}&join_request={}", join_request());
    let guest = query(&token("garden", "ann"));
    let host = query(&token_with("garden", "host", |grant| grant.can_create_room = true));
    let validate = async |query: &str| {
        let answer = stage.get(&format!("/rtc/v1/validate?{query}"), &[]).await;
        (answer.status, answer.text().to_owned())
    };
    let (status, words) = validate(&guest).await;
    assert_eq!(status, 404);
    // Clients take a 404 without these words for a server without this endpoint.
    assert!(words.starts_with("requested room does not exist"), "{words}");
    assert_eq!(stage.open(&guest).await.err(), Some(404));
    assert_eq!(validate(&host).await.0, 200, "whoever may begin a room needs none");

    let mut begun = stage.open(&host).await.expect("the room begins");
    begun.message().await;
    assert_eq!(validate(&guest).await.0, 200);
    let mut ann = stage.open(&guest).await.expect("the room is there");
    ann.message().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_no_websocket_finds_none_whatever_its_token() {
    let stage = Stage::start_with_keys();
    let good = format!("access_token={}&join_request={}", token("garden", "ann"), join_request());
    for query in [good.as_str(), "access_token=nonsense", ""] {
        assert_eq!(stage.get(&format!("/rtc/v1?{query}"), &[]).await.status, 404, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_may_be_in_the_header() {
    let stage = Stage::start_with_keys();
    let path = format!("/rtc/v1/validate?join_request={}", join_request());
    let bearer = format!("Bearer {}", token("garden", "ann"));
    assert_eq!(stage.get(&path, &[("authorization", &bearer)]).await.status, 200);
    let basic = stage.get(&path, &[("authorization", "Basic abc")]).await;
    assert_eq!((basic.status, basic.text().contains("Bearer")), (401, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_two_peer_connections_ask_by_the_query_alone_and_hear_the_same() {
    let stage = Stage::start_with_keys();
    let good = token("garden", "ann");
    let named = "protocol=9&sdk=go&auto_subscribe=1";
    for (query, status, words) in [
        (format!("access_token={good}&{named}"), 200, "success"),
        (format!("access_token={good}&join_request={}", join_request()), 200, "success"),
        (named.to_owned(), 401, "no permissions to access the room"),
        (format!("access_token={good}&room=cellar"), 401, "for room garden"),
        (format!("access_token={}", token("garden", "")), 400, "identity cannot be empty"),
        (format!("access_token={good}&attributes=~"), 400, "cannot decode attributes"),
        (format!("access_token={good}&attributes=eyJhIjoiYiJ9"), 401, "canUpdateOwnMetadata"),
        (format!("access_token={good}&join_request=AAAA"), 400, "WrappedJoinRequest"),
    ] {
        let answer = stage.get(&format!("/rtc/validate?{query}"), &[]).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        assert!(answer.text().contains(words), "{query}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let opened = stage.open_at("/rtc", &query).await;
        assert_eq!(opened.err(), (status != 200).then_some(status), "{query}");
    }
    let plain = stage.get(&format!("/rtc?access_token={good}"), &[]).await;
    assert_eq!(plain.status, 404, "it is a WebSocket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_that_only_publishes_is_another_participant() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let query = format!("access_token={}&protocol=9&publish=camera", token("garden", "ann"));
    let mut camera = stage.open_at("/rtc", &query).await.expect("is let in");
    let Response::Join(join) = camera.message().await else { panic!("no join response") };
    let participant = join.participant.unwrap();
    assert_eq!(participant.identity, "ann#camera");
    let may = participant.permission.unwrap();
    assert!(may.can_publish && !may.can_subscribe && !join.subscriber_primary);
    assert_eq!(join.other_participants[0].identity, "ann", "who stays");
    let listener = token_with("garden", "bob", |grant| grant.permissions.can_publish = false);
    let refused = format!("access_token={listener}&publish=camera");
    let answer = stage.get(&format!("/rtc/validate?{refused}"), &[]).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text().starts_with("permissions denied"), "{}", answer.text());
    assert_eq!(stage.open_at("/rtc", &refused).await.err(), Some(401));
}

/// A request with metadata and attributes of twice this size together.
fn described(size: usize) -> serde_json::Value {
    json!({
        "room_name": "garden",
        "participant_name": "Ann",
        "participant_metadata": "x".repeat(size),
        "participant_attributes": {"x": "x".repeat(size)},
    })
}

/// The path of the first script of the page.
fn script_of(page: &str) -> String {
    let start = page.find("/assets/").expect("a script");
    let path = page[start..].split('"').next().unwrap();
    assert!(path.ends_with(".js"), "{path}");
    path.to_owned()
}
