//! W6: everybody connected, nobody sends.

use super::{Scene, measure};
use crate::report::Report;

const ROOM: &str = "load-idle";

/// Participants of one room. All in one would measure how the roster grows: every arrival is told to all.
const ROOM_SIZE: u32 = 50;

pub(super) async fn run(mut scene: Scene<'_>, participants: u32) -> anyhow::Result<Report> {
    for participant in 0..participants {
        let room = format!("{ROOM}-{}", participant / ROOM_SIZE);
        scene.join(&room, Vec::new(), true);
    }
    scene.settle(participants, 0).await?;
    let measured = measure(&scene).await?;
    Ok(Report::new("idle", participants, measured, Some(0), scene.common))
}
