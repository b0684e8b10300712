use livekit_protocol::ConnectionQuality;
use livekit_protocol::signal_response::Message as Response;
use roomful_sim::{ClientId, Conditions, World};

use crate::calls::*;

/// How well `who` was told that `of` is connected, in order.
fn told(world: &World, who: ClientId, of: ClientId) -> Vec<ConnectionQuality> {
    let sid = participant_sid(world, of);
    let told = world.client(who).qualities().iter().filter(|(_, of, _)| *of == sid);
    told.map(|(_, _, quality)| *quality).collect()
}

fn now(world: &World, who: ClientId, of: ClientId) -> Option<ConnectionQuality> {
    told(world, who, of).last().copied()
}

fn lossy(loss: f64) -> Conditions {
    Conditions::latency(RTT / 2).with_loss(loss)
}

#[test]
pub(crate) fn everyone_hears_how_well_it_and_those_it_receives_are_connected() {
    let (mut world, ids) = call(520, &["ann", "bob"]);
    world.run(8 * SECOND);
    for who in &ids {
        for of in &ids {
            assert_eq!(told(&world, *who, *of).first(), Some(&ConnectionQuality::Excellent));
            assert_eq!(now(&world, *who, *of), Some(ConnectionQuality::Excellent));
        }
    }
    let scores = world.client(ids[0]).heard().iter().filter_map(|heard| match heard {
        Response::ConnectionQuality(update) => Some(update.updates.iter().map(|one| one.score)),
        _ => None,
    });
    assert!(scores.flatten().all(|score| (4.3..=4.5).contains(&score)));
}

#[test]
pub(crate) fn a_lossy_uplink_is_told_to_whoever_receives_it_and_a_good_one_after_a_while() {
    let (mut world, ids) = call(521, &["ann", "bob"]);
    world.set_conditions(ids[0], lossy(0.25), lossy(0.0));
    world.run(12 * SECOND);
    for who in &ids {
        assert_eq!(now(&world, *who, ids[0]), Some(ConnectionQuality::Poor));
    }
    assert_eq!(now(&world, ids[1], ids[1]), Some(ConnectionQuality::Excellent), "not its fault");
    world.set_conditions(ids[0], lossy(0.0), lossy(0.0));
    world.run(30 * SECOND);
    assert_eq!(now(&world, ids[1], ids[0]), Some(ConnectionQuality::Excellent));
}

#[test]
pub(crate) fn a_lossy_downlink_is_judged_by_what_its_owner_reports() {
    let (mut world, ids) = call(522, &["ann", "bob"]);
    world.set_conditions(ids[1], lossy(0.0), lossy(0.25));
    world.run(15 * SECOND);
    for who in &ids {
        let of_bob = now(&world, *who, ids[1]).unwrap();
        assert!(matches!(of_bob, ConnectionQuality::Poor | ConnectionQuality::Good), "{of_bob:?}");
    }
    assert_eq!(now(&world, ids[0], ids[0]), Some(ConnectionQuality::Excellent));
}
