use std::time::Duration;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use proto::simulate_scenario::Scenario;
use roomful_sim::client::TrackKey;
use roomful_sim::{ClientId, World};

use crate::calls::*;

fn simulate(world: &mut World, who: ClientId, scenario: Scenario) {
    let request = proto::SimulateScenario { scenario: Some(scenario) };
    world.act(who, |client, _| client.send_request(Request::Simulate(request)));
    world.run(SECOND);
}

fn resume(world: &mut World, who: ClientId) {
    world.act(who, |client, _| client.resume());
    world.run(SECOND);
}

fn sync(world: &mut World, who: ClientId, state: proto::SyncState) {
    world.act(who, |client, _| client.send_request(Request::SyncState(state)));
    world.run(SECOND);
}

#[test]
fn a_simulated_failure_of_the_server_leads_to_a_fresh_join() {
    for (seed, scenario, reason) in [
        (220, Scenario::NodeFailure(true), DisconnectReason::ServerShutdown),
        (221, Scenario::Migration(true), DisconnectReason::Migration),
    ] {
        let (mut world, ids) = call(seed, &["ann", "bob"]);
        simulate(&mut world, ids[0], scenario);
        assert!(!world.client(ids[0]).is_joined(), "its WebSocket is closed");
        assert_eq!(world.client(ids[0]).farewell(), None, "without a word");
        let gone = world.client(ids[1]).departure_reasons();
        assert_eq!(gone, [reason]);
        resume(&mut world, ids[0]);
        let farewell = world.client(ids[0]).farewell().unwrap();
        assert_eq!(farewell.reason, DisconnectReason::StateMismatch);
        assert_eq!(farewell.action, Action::Reconnect);
    }
}

#[test]
fn a_client_told_to_leave_or_to_come_anew_hears_which() {
    for (seed, scenario, action) in [
        (222, Scenario::ServerLeave(true), Action::Disconnect),
        (223, Scenario::LeaveRequestFullReconnect(true), Action::Reconnect),
    ] {
        let (mut world, ids) = call(seed, &["ann", "bob"]);
        simulate(&mut world, ids[0], scenario);
        assert_eq!(world.client(ids[0]).farewell().unwrap().action, action);
        assert!(!world.client(ids[1]).roster().contains_key("ann"));
    }
}

#[test]
pub(crate) fn a_resume_that_is_cut_is_followed_by_one_that_is_not() {
    for (seed, scenario, resumed) in [
        (224, Scenario::DisconnectSignalOnResume(true), 1),
        (225, Scenario::DisconnectSignalOnResumeNoMessages(true), 0),
    ] {
        let (mut world, ids) = call(seed, &["ann", "bob"]);
        simulate(&mut world, ids[0], scenario);
        world.cut_websocket(ids[0]);
        resume(&mut world, ids[0]);
        assert!(!world.client(ids[0]).is_joined(), "cut");
        assert_eq!(world.client(ids[0]).resumptions(), resumed);
        resume(&mut world, ids[0]);
        assert_eq!(world.client(ids[0]).resumptions(), resumed + 1);
        assert!(world.client(ids[0]).is_joined());
        assert!(world.client(ids[1]).departures().is_empty());
        assert_flows(&mut world, &ids);
    }
}

#[test]
fn a_cut_that_nobody_resumes_into_is_forgotten() {
    let (mut world, ids) = call(226, &["ann", "bob"]);
    simulate(&mut world, ids[0], Scenario::DisconnectSignalOnResume(true));
    world.run(6 * SECOND);
    world.cut_websocket(ids[0]);
    resume(&mut world, ids[0]);
    assert!(world.client(ids[0]).is_joined());
}

#[test]
fn a_simulated_speaker_talks_as_long_as_asked() {
    let (mut world, ids) = call(227, &["ann", "bob"]);
    world.act(ids[0], |client, _| client.set_muted(TrackKey(1), true));
    world.run(3 * SECOND);
    let ann = participant_sid(&world, ids[0]);
    let before = world.client(ids[1]).speakers().len();
    simulate(&mut world, ids[0], Scenario::SpeakerUpdate(3));
    world.run(3 * SECOND);
    let heard = world.client(ids[1]).speakers()[before..].to_vec();
    let told: Vec<_> = heard.iter().filter(|(_, speaker)| speaker.sid == ann).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].1.active && told[0].1.level > 0.8 && !told[1].1.active);
    assert_eq!(told[1].0 - told[0].0, 3 * SECOND);
}

#[test]
fn scenarios_that_cannot_happen_here_are_refused_and_harm_nobody() {
    let (mut world, ids) = call(228, &["ann", "bob"]);
    simulate(&mut world, ids[0], Scenario::SwitchCandidateProtocol(9));
    simulate(&mut world, ids[0], Scenario::SwitchCandidateProtocol(1));
    let refusals = world.client(ids[0]).refusals();
    assert_eq!(refusals.len(), 2);
    assert!(refusals.iter().all(|one| one.reason() == Reason::UnsupportedType));
    assert_flows(&mut world, &ids);
}

#[test]
pub(crate) fn whoever_resumes_gets_what_it_wants_now() {
    let (mut world, ids) = call(229, &["ann", "bob"]);
    let [camera, voice] = [0, 1].map(|key| sid(&world, ids[0], TrackKey(key)));
    let own = sid(&world, ids[1], TrackKey(0));
    world.cut_websocket(ids[1]);
    resume(&mut world, ids[1]);
    let mut heard = world.client(ids[1]).heard().iter();
    let resumed = heard.any(|heard| matches!(heard, Response::Reconnect(_)));
    assert!(resumed && heard.any(|heard| matches!(heard, Response::RoomUpdate(_))));
    let published = proto::TrackPublishedResponse {
        track: Some(proto::TrackInfo { sid: own, ..Default::default() }),
        ..Default::default()
    };
    let state = proto::SyncState {
        publish_tracks: vec![published],
        track_sids_disabled: vec![camera],
        subscription: Some(proto::UpdateSubscription {
            track_sids: vec![voice],
            subscribe: false,
            ..Default::default()
        }),
        ..Default::default()
    };
    sync(&mut world, ids[1], state);
    let since = world.now();
    world.run(SECOND);
    for key in [0, 1] {
        let log = log(&world, ids[1], ids[0], key);
        let late =
            log.whole_frames().filter(|(_, frame)| frame.at > since + Duration::from_millis(100));
        assert_eq!(late.count(), 0, "track {key} is not wanted");
    }
    assert!(world.client(ids[1]).is_joined());
}

#[test]
fn whoever_believes_to_publish_what_is_not_published_joins_anew() {
    for (seed, track) in
        [(230, Some(proto::TrackInfo { sid: "TR_lost".into(), ..Default::default() })), (231, None)]
    {
        let (mut world, ids) = call(seed, &["ann", "bob"]);
        world.cut_websocket(ids[0]);
        resume(&mut world, ids[0]);
        let published = proto::TrackPublishedResponse { track, ..Default::default() };
        let state = proto::SyncState { publish_tracks: vec![published], ..Default::default() };
        sync(&mut world, ids[0], state);
        let farewell = world.client(ids[0]).farewell().unwrap();
        assert_eq!(
            (farewell.reason, farewell.action),
            (DisconnectReason::StateMismatch, Action::Reconnect)
        );
    }
}

#[test]
fn others_hear_why_somebody_left_by_itself() {
    let (mut world, ids) = call(232, &["ann", "bob", "cy"]);
    for (id, said) in
        [(ids[1], DisconnectReason::UserRejected), (ids[2], DisconnectReason::ServerShutdown)]
    {
        let leave = proto::LeaveRequest { reason: said.into(), ..Default::default() };
        world.act(id, |client, _| client.send_request(Request::Leave(leave)));
        world.run(SECOND);
    }
    let told = world.client(ids[0]).departure_reasons();
    assert_eq!(told, [DisconnectReason::UserRejected, DisconnectReason::ClientInitiated]);
}
