//! Rooms in several parts on several workers: what people can rely on is the same as in one piece, so most claims are
//! those of the other modules, asked again.

use std::time::Duration;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_request::Message as Request;
use roomful_sfu::ids::{Identity, RoomName};
use roomful_sfu::token::Grant;
use roomful_sfu::{NoticePolicy, RoomPolicy};
use roomful_sim::client::TrackKey;
use roomful_sim::world::{DEFAULT_LATENCY, Spread};
use roomful_sim::{ClientId, Conditions, JoinOptions, TrackPlan, VideoCodecs, World};

use crate::calls::*;
use crate::codecs::{codecs, refused, wanted, with_video};

/// Asks claims of other modules of rooms in so many parts.
macro_rules! hold_in_parts {
    ($parts:literal: $($module:ident { $($claim:ident),+ $(,)? })+) => {
        $(mod $module {
            $(#[test]
            fn $claim() {
                let _spread = roomful_sim::world::Spread::over($parts);
                crate::$module::$claim();
            })+
        })+
    };
}

hold_in_parts! { 2:
    administration {
        rooms_are_listed_with_their_numbers,
        whoever_is_in_a_deleted_room_is_told_and_leaves,
        a_removed_participant_is_told_and_gone_for_the_others,
        a_track_is_muted_for_everyone_and_unmuted_only_where_that_is_allowed,
        a_participant_is_described_anew_to_itself_and_to_others,
        everyone_is_told_of_new_metadata_at_once_and_of_numbers_soon,
        data_from_the_api_reaches_whom_it_names_once,
        a_method_is_called_and_its_result_comes_back,
    }
    churn {
        two_hundred_random_transitions_break_no_invariant_seed_3,
    }
    codecs {
        a_further_codec_is_sent_for_those_who_do_not_decode_the_first_and_only_then,
        sound_comes_with_redundancy_to_those_who_take_it_and_without_to_others,
        sound_lost_on_the_way_up_is_recovered_for_everyone,
        pictures_in_h265_come_in_layers_and_only_to_those_who_take_them,
        whoever_cannot_decode_a_track_is_told_once_and_gets_the_others,
        whoever_declined_a_track_does_not_get_it_with_the_publishers_next_one,
    }
    data {
        a_message_reaches_those_it_names_on_the_channel_it_came_by,
        nobody_can_speak_in_anothers_name,
        reliable_messages_arrive_all_and_in_order_over_a_lossy_network,
        one_who_cannot_keep_up_with_data_holds_nobody_up_and_loses_what_is_too_much,
        metrics_are_for_those_who_may_read_them,
        what_somebody_leaves_is_fetched_by_others_where_that_is_allowed,
    }
    data_tracks {
        whoever_subscribes_gets_every_packet_under_its_own_handle_and_nobody_else_any,
        a_track_that_ends_or_whose_publisher_leaves_is_nobodys,
        a_publisher_decides_who_gets_its_data_tracks,
    }
    demand {
        layers_nobody_wants_are_not_sent_after_a_while,
        whoever_wants_more_gets_it_at_once,
        a_picture_nobody_receives_is_sent_again_when_somebody_comes,
    }
    guests {
        a_guest_is_seen_and_heard_where_it_is_one_and_its_own_room_does_not_notice,
        whatever_a_guest_does_is_so_in_both_rooms,
        a_guest_that_talks_is_marked_and_what_it_sends_to_everyone_arrives,
        an_appearance_ends_with_its_participant_and_with_its_room_and_nothing_else_does,
        the_room_of_a_guest_has_no_power_over_it,
        who_may_receive_a_guest_is_for_the_guest_to_say,
        a_publisher_sends_what_any_room_wants_of_it,
        a_guest_sends_the_codec_that_somebody_in_its_other_room_needs,
        a_guest_that_resumes_is_one_all_the_while,
        a_guest_takes_a_place_and_a_name_and_keeps_the_room_open_until_it_leaves,
        applications_are_told_of_a_guest_as_of_anyone,
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
        a_client_that_offers_after_joining_is_served_as_well,
        rooms_are_apart_even_where_people_have_the_same_names,
        a_room_ends_a_while_after_the_last_one_left_and_begins_anew_after,
        the_core_is_idle_while_nobody_sends,
        who_is_hidden_receives_everything_and_is_in_no_roster,
        ten_who_join_at_the_same_instant_are_all_in,
    }
    moves {
        whoever_is_moved_gets_a_token_is_told_where_and_joins_there,
        a_place_is_kept_for_whoever_is_on_the_way_and_given_up_in_time,
        a_place_is_kept_in_every_part_of_the_room,
    }
    notices {
        what_happens_is_told_in_its_order,
        everyone_left_and_every_track_ended_before_a_deleted_room_has,
        whoever_never_connects_has_aborted,
    }
    paths {
        every_frame_is_repaired_at_five_percent_loss_each_way,
    }
    playout {
        pictures_say_how_long_to_hold_them_back_until_a_report_shows_that_it_is_known,
        camera_and_microphone_are_one_stream_where_they_are_to_be_played_in_step,
    }
    presence {
        a_killed_client_is_lost_within_three_seconds_and_gone_within_twenty,
        someone_out_of_reach_for_five_seconds_is_lost_and_then_back,
        who_resumes_learns_what_it_missed,
        a_second_presence_of_the_same_identity_replaces_the_first,
        everyone_is_told_when_the_server_stops,
    }
    quality {
        everyone_hears_how_well_it_and_those_it_receives_are_connected,
        a_lossy_uplink_is_told_to_whoever_receives_it_and_a_good_one_after_a_while,
    }
    rights {
        a_publisher_decides_who_receives_its_tracks_now_and_later,
        one_track_may_be_for_some_and_another_for_others,
        whoever_may_no_longer_publish_a_source_loses_its_track_and_no_other,
        whoever_may_subscribe_again_receives_everything_again,
        whoever_hides_leaves_every_roster_and_comes_back_to_it,
    }
    rooms {
        whoever_comes_back_in_time_finds_the_same_room,
        an_agent_keeps_no_room_open_and_takes_nobodys_place,
        where_rooms_do_not_begin_by_themselves_a_token_may_still_begin_one,
        whoever_enters_first_makes_the_room_as_its_token_says,
    }
    sections {
        sections_are_used_again_and_never_show_another_track_than_their_label,
        everyone_may_publish_at_the_same_instant,
        who_unsubscribes_gets_nothing_and_gets_it_back_by_subscribing,
    }
    speakers {
        who_begins_to_talk_is_marked_within_200_ms_and_who_stops_soon_after,
        who_mutes_or_leaves_while_talking_stops_being_marked,
    }
}

mod over_three {
    hold_in_parts! { 3:
        codecs {
            a_further_codec_is_sent_for_those_who_do_not_decode_the_first_and_only_then,
        }
    }
}

fn joined(world: &mut World, identity: &str) -> ClientId {
    let grant = Grant::new(Identity::new(identity), identity, RoomName::new("garden"));
    let wire = Conditions::latency(DEFAULT_LATENCY);
    world.add_client_with(grant, JoinOptions::default(), wire)
}

fn sent_away(world: &World, id: ClientId) -> Option<DisconnectReason> {
    world.client(id).farewell().map(|farewell| farewell.reason)
}

#[test]
fn thirty_over_three_parts_see_each_other_and_nobody_but_each_other() {
    let _spread = Spread::over(3);
    let mut world = World::new(400).unwrap();
    let small = TrackPlan::Camera { simulcast: false, fps: 5 };
    let ids: Vec<_> = (0..30).map(|number| joined(&mut world, &format!("p{number}"))).collect();
    for id in &ids {
        connected(&mut world, *id);
        publish(&mut world, *id, small);
    }
    world.check_invariants(5 * SECOND).unwrap();
    let since = world.now();
    world.run(2 * SECOND);
    for to in &ids {
        assert_eq!(world.client(*to).received_tracks().len(), 29);
        assert_eq!(world.client(*to).missing_packets(), 0);
        for from in ids.iter().filter(|from| *from != to) {
            let camera = log(&world, *to, *from, 0);
            let frames = camera.whole_frames().filter(|(_, frame)| frame.at >= since).count();
            assert!(frames >= 8, "{to:?} has {frames} frames of {from:?}");
        }
    }
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn the_other_parts_go_on_when_the_home_is_empty_and_when_it_alone_is_left() {
    for home_first in [true, false] {
        let _spread = Spread::over(3);
        let (mut world, ids) = call(401, &["ann", "bob", "cy", "dan", "eve", "fay"]);
        let is_at_home = |id: &ClientId| id.0.is_multiple_of(3);
        let (leaving, staying): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| is_at_home(id) == home_first);
        for id in leaving {
            world.act(id, |client, _| client.leave());
            world.run(SECOND);
        }
        world.check_invariants(SOON).unwrap();
        assert_flows(&mut world, &staying);
        let late = join(&mut world, "late", "garden");
        world.check_invariants(SOON).unwrap();
        assert_eq!(world.client(late).roster().len(), staying.len());
    }
}

#[test]
fn two_who_come_under_one_identity_in_two_parts_at_once_are_one_in_the_end() {
    let _spread = Spread::over(3);
    let (mut world, ids) = call(402, &["ann", "bob", "cy"]);
    let home = joined(&mut world, "dan");
    let away = joined(&mut world, "dan");
    let both = [home, away];
    world.run(2 * SECOND);
    let gone: Vec<_> = both.into_iter().filter(|id| world.is_gone(*id)).collect();
    assert_eq!(gone.len(), 1, "one of them is left");
    assert_eq!(sent_away(&world, gone[0]), Some(DisconnectReason::DuplicateIdentity));
    world.check_invariants(SOON).unwrap();
    assert!(ids.iter().all(|id| world.client(*id).roster().contains_key("dan")));
}

#[test]
fn the_last_place_is_given_once_even_when_two_parts_give_it_at_once() {
    let _spread = Spread::over(3);
    let rooms = RoomPolicy { max_participants: 4, ..RoomPolicy::default() };
    let mut world = World::with_rooms(403, rooms).unwrap();
    for name in ["ann", "bob", "cy"] {
        join(&mut world, name, "garden");
    }
    let rivals = [joined(&mut world, "dan"), joined(&mut world, "eve")];
    world.run(2 * SECOND);
    let gone: Vec<_> = rivals.into_iter().filter(|id| world.is_gone(*id)).collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(sent_away(&world, gone[0]), Some(DisconnectReason::JoinFailure));
    world.check_invariants(SOON).unwrap();
    let late = joined(&mut world, "fay");
    world.run(SECOND);
    assert_eq!(sent_away(&world, late), Some(DisconnectReason::JoinFailure));
}

#[test]
fn what_a_link_loses_costs_a_moment_and_no_more() {
    let _spread = Spread::over(2);
    let (mut world, ids) = call(404, &["ann", "bob"]);
    world.set_link_loss(0.05);
    world.run(10 * SECOND);
    world.set_link_loss(0.0);
    world.run(2 * SECOND);
    assert_flows(&mut world, &ids);
    world.check_invariants(SOON).unwrap();
}

#[test]
fn a_broken_link_sends_its_part_to_join_anew_and_leaves_the_home_alone() {
    let _spread = Spread::over(2);
    let (mut world, ids) = call(405, &["ann", "bob", "cy", "dan"]);
    world.cut_links();
    world.run(SECOND);
    let (home, away): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| id.0.is_multiple_of(2));
    assert!(home.iter().all(|id| sent_away(&world, *id).is_none()));
    let reason = Some(DisconnectReason::StateMismatch);
    assert!(away.iter().all(|id| sent_away(&world, *id) == reason));
    world.check_invariants(SOON).unwrap();
    assert_flows(&mut world, &home);
    let back: Vec<_> = ["bob", "dan"].map(|name| join(&mut world, name, "garden")).to_vec();
    for id in &back {
        publish(&mut world, *id, TrackPlan::CAMERA);
        publish(&mut world, *id, TrackPlan::VOICE);
    }
    world.check_invariants(2 * SECOND).unwrap();
    let everyone: Vec<_> = home.into_iter().chain(back).collect();
    assert_flows(&mut world, &everyone);
}

#[test]
fn whoever_is_behind_a_broken_link_left_and_joined_again_for_applications() {
    let _spread = Spread::over(2);
    let rooms = RoomPolicy { notices: NoticePolicy::Named, ..RoomPolicy::default() };
    let mut world = World::with_rooms(407, rooms).unwrap();
    for name in ["ann", "bob"] {
        join(&mut world, name, "garden");
    }
    world.cut_links();
    world.run(SECOND);
    joined(&mut world, "cy");
    let bob = joined(&mut world, "bob");
    connected(&mut world, bob);
    world.run(SECOND);
    let told = world.notices().iter().map(|event| {
        let who = event.participant.as_ref().map_or("", |one| one.identity.as_str());
        (event.event.as_str(), who)
    });
    let told: Vec<_> = told.filter(|(_, who)| *who == "bob").map(|(event, _)| event).collect();
    assert_eq!(told, ["participant_joined", "participant_left", "participant_joined"]);
}

#[test]
fn a_flood_of_changes_of_mind_crosses_a_link_as_a_trickle() {
    let _spread = Spread::over(2);
    let (mut world, ids) = call(408, &["ann", "bob"]);
    let camera = sid(&world, ids[0], TrackKey(0));
    let before = world.link_messages();
    for round in 0..500 {
        let (size, wanted) = if round % 2 == 0 { (None, false) } else { (Some((1280, 720)), true) };
        world.act(ids[1], |client, _| client.set_wishes(&camera, size));
        world.act(ids[1], |client, _| client.subscribe(&[&camera], wanted));
        let update = proto::UpdateParticipantMetadata {
            metadata: format!("round {round}"),
            ..Default::default()
        };
        world.act(ids[1], |client, _| client.send_request(Request::UpdateMetadata(update)));
        world.run(Duration::from_millis(2));
    }
    let crossed = world.link_messages() - before;
    assert!(crossed <= 40, "{crossed} messages in a second");
    world.run(2 * SECOND);
    world.check_invariants(SOON).unwrap();
    assert_flows(&mut world, &ids);
}

#[test]
fn each_codec_crosses_links_for_those_who_get_it_and_for_nobody_else() {
    let _spread = Spread::over(3);
    let mut world = World::new(409).unwrap();
    // Over the home, from one other part to another: only those in the last need the second codec.
    let home = with_video(&mut world, "zoe", VideoCodecs::H264);
    let ann = with_video(&mut world, "ann", VideoCodecs::Both);
    let camera = publish(&mut world, ann, TrackPlan::H264Camera);
    world.run(SECOND);
    assert_eq!(wanted(&world, ann), codecs(true, false));
    let far = join(&mut world, "bob", "garden");
    world.run(SECOND);
    assert_eq!(wanted(&world, ann), codecs(true, true));
    assert_eq!(refused(&world, far), []);
    let backup = world.act(ann, |client, now| client.publish_backup(camera, now)).unwrap();
    world.run(2 * SECOND);
    assert!(log(&world, far, ann, camera.0).whole_frames().count() > 15);
    assert_eq!(log(&world, home, ann, camera.0).packets, 0, "the home has the first");

    world.act(ann, |client, now| client.unpublish(backup, now));
    world.run(2 * SECOND);
    let before = log(&world, far, ann, camera.0).packets;
    world.act(ann, |client, now| client.publish_backup(camera, now)).unwrap();
    world.run(2 * SECOND);
    assert!(log(&world, far, ann, camera.0).packets > before + 15, "it stopped and began again");

    let track = sid(&world, ann, camera);
    world.act(far, |client, _| client.subscribe(&[&track], false));
    world.run(2 * SECOND);
    let before = world.link_packets();
    world.run(SECOND);
    assert_eq!(world.link_packets(), before, "it still comes in, and nobody elsewhere gets it");
    world.run(5 * SECOND);
    assert_eq!(wanted(&world, ann), codecs(true, false));
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn a_track_crosses_a_link_once_however_many_receive_it_there_and_not_at_all_for_nobody() {
    let _spread = Spread::over(2);
    let mut world = World::new(406).unwrap();
    let names: Vec<_> = (0..9).map(|number| format!("p{number}")).collect();
    let ids: Vec<_> = names.iter().map(|name| join(&mut world, name, "garden")).collect();
    let voice = publish(&mut world, ids[0], TrackPlan::VOICE);
    world.run(SECOND);
    let before = world.link_packets();
    world.run(SECOND);
    let crossed = world.link_packets() - before;
    assert!((45..=55).contains(&crossed), "{crossed} packets of a voice of 50 a second, for four");
    let track = sid(&world, ids[0], TrackKey(0));
    for id in ids.iter().filter(|id| !id.0.is_multiple_of(2)) {
        world.act(*id, |client, _| client.subscribe(&[&track], false));
    }
    world.run(SECOND);
    let before = world.link_packets();
    world.run(SECOND);
    assert_eq!(world.link_packets(), before, "nobody over there wants {voice:?}");
}
