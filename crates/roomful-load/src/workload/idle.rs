//! W6: everybody connected, nobody sends.

use super::{Scene, measure};
use crate::report::{Findings, Report, WhoseJoins};
use crate::signalling::View;

const ROOM: &str = "load-idle";

/// Participants of one room. All in one would measure how the roster grows: every arrival is told to all.
const ROOM_SIZE: u32 = 50;

pub(super) async fn run(mut scene: Scene<'_>, participants: u32) -> anyhow::Result<Report> {
    for participant in 0..participants {
        let room = format!("{ROOM}-{}", participant / ROOM_SIZE);
        scene.join(&room, Vec::new(), View::Everything);
    }
    scene.settle(participants, 0).await?;
    let measured = measure(scene.engine, scene.common).await?;
    let findings = Findings {
        workload: "idle",
        participants,
        measured,
        records: scene.crowd.records(),
        expected: Some(0),
        wishes: None,
        joins: WhoseJoins::Everybody,
    };
    Ok(Report::new(findings, scene.common))
}
