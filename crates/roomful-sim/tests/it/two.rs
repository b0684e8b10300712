//! Clients with two peer connections, alone and beside those with one: what people can rely on is the same, so most
//! claims are those of the other modules, asked again.

use std::time::Duration;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use roomful_sfu::ids::{Identity, RoomName};
use roomful_sfu::join::PeerConnections;
use roomful_sfu::token::Grant;
use roomful_sim::client::{Channel, TrackKey};
use roomful_sim::world::{DEFAULT_LATENCY, Spread, Two};
use roomful_sim::{ClientId, Conditions, JoinOptions, TrackPlan, World};

use crate::calls::*;

/// Asks claims of other modules where everyone, or every second one, makes two peer connections.
macro_rules! hold_with_two {
    ($who:ident: $($module:ident { $($claim:ident),+ $(,)? })+) => {
        mod $who {
            $(mod $module {
                $(#[test]
                fn $claim() {
                    let _two = roomful_sim::world::Two::$who();
                    crate::$module::$claim();
                })+
            })+
        }
    };
}

hold_with_two! { for_everyone:
    administration {
        a_removed_participant_is_told_and_gone_for_the_others,
        a_track_is_muted_for_everyone_and_unmuted_only_where_that_is_allowed,
        data_from_the_api_reaches_whom_it_names_once,
        a_method_is_called_and_its_result_comes_back,
    }
    churn {
        two_hundred_random_transitions_break_no_invariant_seed_3,
    }
    codecs {
        whoever_cannot_decode_a_track_is_told_once_and_gets_the_others,
    }
    data {
        a_message_reaches_those_it_names_on_the_channel_it_came_by,
        a_message_repeated_after_a_resume_arrives_once_and_none_is_lost,
        nobody_can_speak_in_anothers_name,
        reliable_messages_arrive_all_and_in_order_over_a_lossy_network,
    }
    data_tracks {
        whoever_subscribes_gets_every_packet_under_its_own_handle_and_nobody_else_any,
    }
    demand {
        layers_nobody_wants_are_not_sent_after_a_while,
        whoever_wants_more_gets_it_at_once,
        a_picture_nobody_receives_is_sent_again_when_somebody_comes,
    }
    layered {
        each_subscriber_gets_the_layers_it_wants_and_no_more,
        the_size_of_a_tile_picks_a_layer_and_changes_without_a_gap,
        a_frame_rate_leaves_pictures_out_and_brings_them_back,
    }
    layers {
        a_muted_publisher_sends_nothing_and_comes_back_with_a_keyframe,
        the_layer_follows_the_size_and_switches_without_a_gap,
        what_one_subscriber_wishes_changes_nothing_for_another,
        a_storm_of_keyframe_requests_reaches_the_publisher_thinned_out,
    }
    meeting {
        two_meet_and_receive_exactly_each_others_media,
        rooms_are_apart_even_where_people_have_the_same_names,
        the_core_is_idle_while_nobody_sends,
        who_is_hidden_receives_everything_and_is_in_no_roster,
        ten_who_join_at_the_same_instant_are_all_in,
    }
    paths {
        every_frame_is_repaired_at_five_percent_loss_each_way,
    }
    presence {
        a_killed_client_is_lost_within_three_seconds_and_gone_within_twenty,
        someone_out_of_reach_for_five_seconds_is_lost_and_then_back,
        who_resumes_learns_what_it_missed,
        a_second_presence_of_the_same_identity_replaces_the_first,
        everyone_is_told_when_the_server_stops,
    }
    resuming {
        a_resume_that_is_cut_is_followed_by_one_that_is_not,
        whoever_resumes_gets_what_it_wants_now,
    }
    rights {
        a_publisher_decides_who_receives_its_tracks_now_and_later,
        whoever_may_no_longer_publish_a_source_loses_its_track_and_no_other,
        whoever_may_subscribe_again_receives_everything_again,
    }
    sections {
        a_newcomer_gets_all_tracks_of_a_full_room,
        a_track_published_and_unpublished_again_and_again_is_each_time_another,
        everyone_may_publish_at_the_same_instant,
        tracks_swapped_in_one_breath_reach_everyone_under_their_own_labels,
        who_unsubscribes_gets_nothing_and_gets_it_back_by_subscribing,
    }
    speakers {
        who_begins_to_talk_is_marked_within_200_ms_and_who_stops_soon_after,
    }
}

hold_with_two! { for_every_second:
    churn {
        two_hundred_random_transitions_break_no_invariant_seed_2,
    }
    data {
        a_message_reaches_those_it_names_on_the_channel_it_came_by,
    }
    meeting {
        two_meet_and_receive_exactly_each_others_media,
        ten_who_join_at_the_same_instant_are_all_in,
    }
    sections {
        tracks_swapped_in_one_breath_reach_everyone_under_their_own_labels,
        everyone_may_publish_at_the_same_instant,
    }
}

fn two() -> JoinOptions {
    JoinOptions { peer_connections: PeerConnections::Two, ..JoinOptions::default() }
}

fn join_with_two(world: &mut World, name: &str) -> ClientId {
    let id = world.add_client(name, "garden", two());
    connected(world, id);
    id
}

fn with_permissions(
    world: &mut World,
    name: &str,
    change: impl Fn(&mut roomful_sfu::token::Permissions),
) -> ClientId {
    let mut grant = Grant::new(Identity::new(name), name, RoomName::new("garden"));
    change(&mut grant.permissions);
    world.add_client_with(grant, two(), Conditions::latency(DEFAULT_LATENCY))
}

#[test]
fn whatever_is_there_comes_with_the_first_offer() {
    let (mut world, mut ids) = call(500, &["ann", "bob", "cy"]);
    ids.push(join_with_two(&mut world, "dee"));
    world.check_invariants(SOON).unwrap();
    world.run(SECOND);
    assert_eq!(world.client(ids[3]).offers_answered(), 1);
    assert_eq!(world.client(ids[3]).receiving_sections(), 6);
    for from in &ids[..3] {
        assert!(log(&world, ids[3], *from, 0).whole_frames().count() > 5);
    }
}

#[test]
fn what_changes_while_an_offer_is_out_goes_into_the_next() {
    let (mut world, ids) = call(501, &["ann", "bob", "cy", "dee"]);
    let eve = join_with_two(&mut world, "eve");
    world.run(SECOND);
    let before = world.client(eve).offers_answered();
    for round in 0..3 {
        for id in &ids {
            let small = TrackPlan::Camera { simulcast: false, fps: 5 };
            world.act(*id, |client, now| client.publish(small, now));
            world.run(RTT / 20 * (round + 1));
        }
    }
    world.run(SECOND);
    world.check_invariants(SOON).unwrap();
    let offers = world.client(eve).offers_answered() - before;
    assert_eq!(world.client(eve).receiving_sections(), 4 * 2 + 12);
    assert!(offers <= 5, "{offers} offers for 12 tracks");
}

#[test]
fn sections_are_used_again_for_whoever_comes_next() {
    let (mut world, _) = call(502, &["ann"]);
    let bob = join_with_two(&mut world, "bob");
    for round in 0..5 {
        let visitor = join(&mut world, &format!("visitor{round}"), "garden");
        publish(&mut world, visitor, TrackPlan::CAMERA);
        world.check_invariants(SOON).unwrap();
        world.run(SECOND);
        assert!(log(&world, bob, visitor, 0).whole_frames().count() > 5);
        world.act(visitor, |client, _| client.leave());
        world.check_invariants(SOON).unwrap();
    }
    assert_eq!(world.client(bob).receiving_sections(), 3);
    assert_eq!(world.client(bob).missing_packets(), 0);
}

#[test]
fn an_answer_lost_with_its_websocket_is_asked_for_again() {
    for (seed, after) in [(503, 0), (504, 15), (505, 25), (506, 45)] {
        let (mut world, mut ids) = call(seed, &["ann", "bob"]);
        ids.push(join_with_two(&mut world, "cy"));
        publish(&mut world, ids[2], TrackPlan::CAMERA);
        publish(&mut world, ids[2], TrackPlan::VOICE);
        world.run(SECOND);
        world.act(ids[0], |client, now| client.publish(TrackPlan::CAMERA, now));
        world.run(RTT + Duration::from_millis(after));
        world.cut_websocket(ids[2]);
        world.run(SECOND);
        world.act(ids[2], |client, _| client.resume());
        world.check_invariants(2 * SOON).unwrap();
        world.run(SECOND);
        assert!(log(&world, ids[2], ids[0], 2).whole_frames().count() > 5, "after {after} ms");
        assert_flows(&mut world, &ids);
    }
}

#[test]
fn whoever_moves_to_another_network_resumes_with_both_peer_connections() {
    let _two = Two::for_everyone();
    let (mut world, ids) = call(507, &["ann", "bob"]);
    world.rebind(ids[0]);
    world.cut_websocket(ids[0]);
    world.run(2 * SECOND);
    world.act(ids[0], |client, _| client.resume());
    world.run(2 * SECOND);
    assert!(world.client(ids[1]).departures().is_empty());
    assert_flows(&mut world, &ids);
}

#[test]
fn a_first_offer_that_is_lost_is_made_again() {
    let (mut world, ids) = call(508, &["ann"]);
    let bob = world.add_client("bob", "garden", two());
    world.run(RTT + RTT / 4);
    assert!(world.client(bob).is_joined());
    world.cut_websocket(bob);
    world.run(SECOND);
    world.act(bob, |client, _| client.resume());
    connected(&mut world, bob);
    world.run(SECOND);
    assert!(log(&world, bob, ids[0], 0).whole_frames().count() > 5);
    world.check_invariants(SOON).unwrap();
}

#[test]
fn whoever_answers_no_offer_is_sent_to_join_anew() {
    let (mut world, ids) = call(509, &["ann"]);
    let bob = join_with_two(&mut world, "bob");
    world.act(bob, |client, _| client.stop_answering());
    publish(&mut world, ids[0], TrackPlan::CAMERA);
    world.run(14 * SECOND);
    assert_eq!(world.client(bob).farewell(), None);
    world.run(2 * SECOND);
    let farewell = world.client(bob).farewell().expect("is sent away");
    let wanted = (DisconnectReason::MediaFailure, Action::Reconnect);
    assert_eq!((farewell.reason, farewell.action), wanted);
}

#[test]
fn answers_that_fit_no_offer_are_refused_and_harm_nobody() {
    let (mut world, mut ids) = call(510, &["ann"]);
    let answer = |sdp: &str, id| {
        Request::Answer(proto::SessionDescription {
            r#type: "answer".into(),
            sdp: sdp.into(),
            id,
            ..Default::default()
        })
    };
    world.act(ids[0], |client, _| client.send_request(answer("v=0", 1)));
    world.run(RTT);
    assert_eq!(world.client(ids[0]).refusals()[0].reason(), Reason::InvalidRequest);
    ids.push(join_with_two(&mut world, "bob"));
    for plan in [TrackPlan::CAMERA, TrackPlan::VOICE] {
        publish(&mut world, ids[1], plan);
    }
    world.run(SECOND);
    for (sdp, id) in [("", 0), ("v=0\r\nm=application 9 X 1\r\na=mid:x\r\n", 0), ("", 77)] {
        world.act(ids[1], |client, _| client.send_request(answer(sdp, id)));
    }
    world.run(RTT);
    assert_eq!(world.client(ids[1]).refusals().len(), 2, "that of another offer is passed over");
    // Each comes before the right one.
    publish(&mut world, ids[0], TrackPlan::CAMERA);
    world.act(ids[1], |client, _| client.send_request(answer("m=\r\nm=video 0\r\n", 0)));
    world.check_invariants(SOON).unwrap();
    assert_flows(&mut world, &ids);
}

#[test]
fn whoever_only_listens_is_connected_without_publishing() {
    let (mut world, ids) = call(511, &["ann"]);
    let guest = with_permissions(&mut world, "guest", |may| may.can_publish = false);
    world.run(2 * SECOND);
    let client = world.client(guest);
    assert!(client.welcome().unwrap().subscriber_primary);
    assert!(client.can_receive() && !client.is_connected(), "it offered nothing");
    assert!(log(&world, guest, ids[0], 0).whole_frames().count() > 5);
    // Nor is it missed after a minute, when those go who never connected.
    world.run(70 * SECOND);
    assert!(world.client(guest).is_joined());
    assert_eq!(
        world.client(ids[0]).roster()["guest"].state(),
        proto::participant_info::State::Active
    );
}

#[test]
fn whoever_may_receive_only_later_is_offered_only_then() {
    let (mut world, ids) = call(512, &["ann"]);
    let guest = with_permissions(&mut world, "guest", |may| may.can_subscribe = false);
    world.run(SECOND);
    let client = world.client(guest);
    assert!(!client.welcome().unwrap().subscriber_primary);
    assert_eq!(client.offers_answered(), 0);
    publish(&mut world, guest, TrackPlan::CAMERA);
    world.run(SECOND);
    assert!(log(&world, ids[0], guest, 0).whole_frames().count() > 5);
    let permissions = Grant::new(Identity::new("x"), "", RoomName::new("garden")).permissions;
    assert!(world.set_permissions("garden", "guest", permissions));
    world.run(2 * SECOND);
    assert!(log(&world, guest, ids[0], 0).whole_frames().count() > 5);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn data_comes_by_channels_that_the_server_opens() {
    let (mut world, mut ids) = call(513, &["ann"]);
    ids.push(join_with_two(&mut world, "bob"));
    world.run(SECOND);
    let packet = proto::DataPacket {
        value: Some(proto::data_packet::Value::User(proto::UserPacket {
            payload: b"hello".to_vec(),
            ..Default::default()
        })),
        ..Default::default()
    };
    for (from, to) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        for channel in [Channel::Lossy, Channel::Reliable] {
            assert!(world.act(from, |client, now| client.send_data(channel, &packet, now)));
        }
        world.run(SECOND);
        let channels = world.client(to).messages().iter().map(|(channel, _)| *channel);
        let mut channels: Vec<_> = channels.collect();
        channels.sort();
        assert_eq!(channels, [Channel::Lossy, Channel::Reliable], "to {to:?}");
    }
}

#[test]
fn clients_with_two_peer_connections_meet_across_the_parts_of_a_room() {
    let _spread = Spread::over(2);
    let _two = Two::for_every_second();
    let (mut world, ids) = call(514, &["ann", "bob", "cy", "dee"]);
    assert_flows(&mut world, &ids);
    for id in &ids {
        assert_eq!(world.client(*id).received_tracks().len(), 6);
    }
    let track = sid(&world, ids[0], TrackKey(0));
    assert!(world.client(ids[3]).received_tracks().contains(&track));
}

/// What a client answers that rejects one section, in a connection that is up.
fn rejecting(offer: &str, rejected: &str) -> String {
    let mut parts = offer.split("\nm=");
    let mut answer = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_it = part.contains(&format!("a=mid:{rejected}\r"));
        let part = if is_it { part.replacen(" 9 ", " 0 ", 1) } else { part.to_owned() };
        answer.push_str("\nm=");
        answer.push_str(&part.replace("a=sendonly", "a=recvonly"));
    }
    answer
}

#[test]
fn a_section_that_is_rejected_is_offered_as_such_from_then_on_and_its_track_refused() {
    let mut world = World::new(626).unwrap();
    let ann = join(&mut world, "ann", "garden");
    let bob = world.add_client("bob", "garden", two());
    connected(&mut world, bob);
    world.act(bob, |client, _| client.stop_answering());
    let camera = publish(&mut world, ann, TrackPlan::CAMERA);
    world.run(SECOND);
    let offers = |world: &World| -> Vec<proto::SessionDescription> {
        let heard = world.client(bob).heard().iter();
        heard
            .filter_map(|heard| match heard {
                Response::Offer(offer) => Some(offer.clone()),
                _ => None,
            })
            .collect()
    };
    let offer = offers(&world).pop().unwrap();
    let sdp = rejecting(&offer.sdp, "r001");
    let answer = proto::SessionDescription {
        r#type: "answer".into(),
        sdp,
        id: offer.id,
        ..Default::default()
    };
    world.act(bob, |client, _| client.send_request(Request::Answer(answer)));
    world.run(SECOND);
    let refused = world.client(bob).heard().iter().any(|heard| match heard {
        Response::SubscriptionResponse(told) => told.track_sid == sid(&world, ann, camera),
        _ => false,
    });
    assert!(refused, "nothing can come of it");
    publish(&mut world, ann, TrackPlan::CAMERA);
    world.run(SECOND);
    let next = offers(&world).pop().unwrap();
    assert_ne!(next.id, offer.id);
    let ports: Vec<_> =
        next.sdp.split("\nm=video ").skip(1).filter_map(|part| part.split(' ').next()).collect();
    assert_eq!(ports, ["0", "9"]);
}
