//! Large rooms, where everyone is told of everyone now and then instead of at once: what people can rely on is the same
//! as in a small one, so most claims are those of the other modules, asked again.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_response::Message as Response;
use roomful_sim::world::{DEFAULT_LATENCY, LargeRooms};
use roomful_sim::{ClientId, JoinOptions, TrackPlan, World};

use crate::calls::*;

/// How often a large room is told.
const PERIOD: Duration = Duration::from_millis(200);

/// Asks claims of other modules of rooms that count as large.
macro_rules! hold_in_large_rooms {
    ($($module:ident { $($claim:ident),+ $(,)? })+) => {
        $(mod $module {
            $(#[test]
            fn $claim() {
                let _large = roomful_sim::world::LargeRooms::only();
                crate::$module::$claim();
            })+
        })+
    };
}

hold_in_large_rooms! {
    administration {
        a_removed_participant_is_told_and_gone_for_the_others,
        a_participant_is_described_anew_to_itself_and_to_others,
        data_from_the_api_reaches_whom_it_names_once,
    }
    churn {
        two_hundred_random_transitions_break_no_invariant_seed_3,
    }
    data {
        a_message_reaches_those_it_names_on_the_channel_it_came_by,
    }
    demand {
        a_picture_nobody_receives_is_sent_again_when_somebody_comes,
    }
    layers {
        a_muted_publisher_sends_nothing_and_comes_back_with_a_keyframe,
    }
    meeting {
        two_meet_and_receive_exactly_each_others_media,
        the_core_is_idle_while_nobody_sends,
        who_is_hidden_receives_everything_and_is_in_no_roster,
        ten_who_join_at_the_same_instant_are_all_in,
    }
    notices {
        what_happens_is_told_in_its_order,
    }
    presence {
        a_killed_client_is_lost_within_three_seconds_and_gone_within_twenty,
        someone_out_of_reach_for_five_seconds_is_lost_and_then_back,
        who_resumes_learns_what_it_missed,
        a_second_presence_of_the_same_identity_replaces_the_first,
        everyone_is_told_when_the_server_stops,
    }
    rights {
        whoever_may_no_longer_publish_a_source_loses_its_track_and_no_other,
        whoever_hides_leaves_every_roster_and_comes_back_to_it,
    }
    rooms {
        whoever_comes_back_in_time_finds_the_same_room,
    }
    sections {
        sections_are_used_again_and_never_show_another_track_than_their_label,
        everyone_may_publish_at_the_same_instant,
    }
    speakers {
        who_begins_to_talk_is_marked_within_200_ms_and_who_stops_soon_after,
        who_mutes_or_leaves_while_talking_stops_being_marked,
    }
}

#[test]
fn a_large_room_in_two_parts_breaks_no_invariant_either() {
    let _large = LargeRooms::only();
    let _spread = roomful_sim::world::Spread::over(2);
    crate::churn::two_hundred_random_transitions_break_no_invariant_seed_3();
}

/// Ann in a large room that was told of something just now, so that what comes next is gathered.
fn just_told(seed: u64) -> (World, ClientId) {
    let mut world = World::new(seed).unwrap();
    let ann = join(&mut world, "ann", "garden");
    world.run(SECOND);
    let bob = world.add_client("bob", "garden", JoinOptions::default());
    world.run_until(SECOND, |world| world.client(bob).is_joined()).expect("joins");
    (world, ann)
}

/// The updates that a client was told, as who was in which state.
fn updates(world: &World, of: ClientId) -> Vec<Vec<(String, State)>> {
    let heard = world.client(of).heard().iter();
    heard
        .filter_map(|heard| match heard {
            Response::Update(update) => Some(&update.participants),
            _ => None,
        })
        .map(|infos| infos.iter().map(|info| (info.identity.clone(), info.state())).collect())
        .collect()
}

fn begin_to_join(world: &mut World, name: &str) -> ClientId {
    let id = world.add_client(name, "garden", JoinOptions::default());
    world.run_until(SECOND, |world| world.client(id).is_joined()).expect("joins");
    id
}

#[test]
fn those_who_come_to_a_large_room_together_are_told_of_together() {
    let _large = LargeRooms::only();
    let (mut world, ann) = just_told(300);
    let before = updates(&world, ann).len();
    let began = world.now();
    let names: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
    for name in &names {
        world.add_client(name, "garden", JoinOptions::default());
    }
    let knows_all =
        |world: &World| names.iter().all(|name| world.client(ann).roster().contains_key(name));
    world.run_until(SECOND, knows_all).expect("all are told of");
    assert!(world.now() - began <= PERIOD + RTT, "{:?}", world.now() - began);
    world.run(2 * SECOND);
    let told = updates(&world, ann).split_off(before);
    assert_eq!(told.iter().flatten().filter(|(_, state)| *state == State::Active).count(), 21);
    assert!(told.len() <= 4, "so many messages: {told:?}");
    world.check_invariants(SOON).unwrap();
}

#[test]
fn in_a_small_room_everyone_is_told_at_once() {
    let (mut world, ann) = just_told(301);
    for name in ["cy", "dee", "eve"] {
        let id = begin_to_join(&mut world, name);
        // The newcomer's welcome and the news of it are told at the same instant.
        world.run(Duration::from_millis(1));
        assert!(world.client(ann).roster().contains_key(name), "{id:?}");
    }
}

#[test]
fn whoever_comes_to_a_large_room_is_told_of_all_who_are_there() {
    let _large = LargeRooms::only();
    let (mut world, _) = just_told(302);
    for (before, name) in ["cy", "dee", "eve"].into_iter().enumerate() {
        let id = begin_to_join(&mut world, name);
        assert_eq!(world.client(id).welcome().unwrap().other_participants.len(), before + 2);
    }
}

#[test]
fn whoever_comes_and_goes_within_a_moment_was_never_there() {
    let _large = LargeRooms::only();
    let (mut world, ann) = just_told(303);
    let cy = begin_to_join(&mut world, "cy");
    world.act(cy, |client, _| client.leave());
    world.run(SECOND);
    let told = updates(&world, ann).concat();
    let of_cy: Vec<_> = told.iter().filter(|(who, _)| who == "cy").collect();
    assert!(of_cy.iter().all(|(_, state)| *state == State::Disconnected), "{of_cy:?}");
    world.check_invariants(SOON).unwrap();
}

#[test]
fn whoever_comes_back_within_a_moment_hears_nothing_of_having_been_away() {
    let _large = LargeRooms::only();
    let (mut world, ann) = just_told(304);
    let former = begin_to_join(&mut world, "cy");
    world.run(SECOND);
    begin_to_join(&mut world, "eve");
    world.act(former, |client, _| client.leave());
    // On its way to the room, so that the leave is not told of yet when the next one comes.
    world.run(DEFAULT_LATENCY);
    let again = begin_to_join(&mut world, "cy");
    let dee = begin_to_join(&mut world, "dee");
    world.run(SECOND);
    let sid = participant_sid(&world, again);
    assert_eq!(world.client(again).me().unwrap().sid, sid);
    assert_eq!(world.client(ann).roster()["cy"].sid, sid);
    for id in [again, dee] {
        assert_eq!(world.client(id).departures(), [] as [String; 0], "{:?}", updates(&world, id));
    }
    world.check_invariants(SOON).unwrap();
}

#[test]
fn a_track_is_told_of_at_once_in_a_large_room_too() {
    let _large = LargeRooms::only();
    let (mut world, ann) = just_told(305);
    let cy = begin_to_join(&mut world, "cy");
    let key = publish(&mut world, cy, TrackPlan::VOICE);
    let (published, track): (Instant, String) = (world.now(), sid(&world, cy, key));
    let shows = |world: &World| {
        let known = world.client(ann).roster().get("cy");
        known.is_some_and(|cy| cy.tracks.iter().any(|one| one.sid == track))
    };
    world.run_until(SECOND, shows).expect("is told of");
    assert!(world.now() - published <= RTT, "{:?}", world.now() - published);
    world.check_invariants(SOON).unwrap();
}
