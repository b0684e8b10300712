use std::process::{Command, Output};

use livekit_protocol::signal_response::Message as Response;
use tokio::task::spawn_blocking;

use crate::stage::{KEY, SECRET, Stage};

/// The program, asking `stage`.
async fn roomful(stage: &Stage, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomful"));
    command
        .args(arguments)
        .env_clear()
        .env("LIVEKIT_URL", format!("ws://{}", stage.address))
        .env("LIVEKIT_API_KEY", KEY)
        .env("LIVEKIT_API_SECRET", SECRET);
    spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

async fn prints(stage: &Stage, arguments: &[&str]) -> String {
    let output = roomful(stage, arguments).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_made_on_the_command_line_lets_its_bearer_in() {
    let stage = Stage::start_with_keys();
    let make = ["token", "create", "--room=garden", "--identity=ann", "--name=Ann", "--hidden"];
    let token = prints(&stage, &make).await;
    let request = crate::stage::join_request();
    let query = format!("access_token={}&join_request={request}", token.trim());
    let mut ann = stage.open(&query).await.expect("the server lets them in");
    let Response::Join(join) = ann.message().await else { panic!("no join response") };
    let me = join.participant.unwrap();
    assert_eq!((me.identity.as_str(), me.name.as_str()), ("ann", "Ann"));
    assert!(me.permission.unwrap().hidden);
    let nothing = roomful(&stage, &["token", "create"]).await;
    let error = String::from_utf8_lossy(&nothing.stderr);
    assert!(!nothing.status.success() && error.contains("--identity"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_and_people_are_shown_and_sent_away() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let rooms = prints(&stage, &["room", "list"]).await;
    assert!(rooms.lines().any(|line| line.starts_with("garden")), "{rooms}");
    let inspected = prints(&stage, &["room", "inspect", "garden"]).await;
    assert!(inspected.contains("20 s after the last one left"), "{inspected}");
    assert!(inspected.lines().any(|line| line.starts_with("ann")), "{inspected}");
    let people = prints(&stage, &["participant", "list", "garden"]).await;
    assert!(people.lines().any(|line| line.starts_with("ann")), "{people}");

    let silent = roomful(&stage, &["participant", "mute", "garden", "ann"]).await;
    assert!(String::from_utf8_lossy(&silent.stderr).contains("publishes no sound"));
    prints(&stage, &["participant", "remove", "garden", "ann"]).await;
    ann.until(|message| matches!(message, Response::Leave(_))).await;
    prints(&stage, &["room", "close", "garden"]).await;
    let gone = roomful(&stage, &["room", "close", "garden"]).await;
    assert_eq!(gone.status.code(), Some(1));
    let error = String::from_utf8_lossy(&gone.stderr);
    assert!(error.contains("requested room does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_or_server_is_explained() {
    let stage = Stage::start_with_keys();
    let wrong = roomful(&stage, &["room", "list", "--api-secret=guessed"]).await;
    let error = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(error.contains("wrong signature"), "{error}");
    let nowhere = roomful(&stage, &["room", "list", "--url=http://127.0.0.1:1"]).await;
    let error = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(error.contains("127.0.0.1:1") && error.contains("cannot reach it"), "{error}");
    let keyless = Command::new(env!("CARGO_BIN_EXE_roomful"))
        .args(["room", "list"])
        .env_clear()
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&keyless.stderr).into_owned();
    assert!(error.contains("LIVEKIT_API_KEY"), "{error}");
}
