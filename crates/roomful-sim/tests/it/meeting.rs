use std::time::Duration;

use roomful_sim::{Plan, TrackPlan};

#[test]
fn two_meet_and_receive_exactly_each_others_media() {
    let plan = Plan::new()
        .join("ann", "garden")
        .join("bob", "garden")
        .publish("ann", TrackPlan::CAMERA)
        .publish("ann", TrackPlan::VOICE)
        .publish("bob", TrackPlan::CAMERA)
        .run_for(Duration::from_secs(5))
        .check("media arrived", |world, names| {
            let bob = world.client(names["bob"]);
            println!("{:?}", bob.received_tracks());
            for track in bob.received_tracks() {
                let log = bob.received(&track);
                println!("{track} {} layer {} whole {}", log.packets, log.layer, log.whole_frames().count());
            }
            Ok(())
        });
    plan.run(1).unwrap();
}
