//! W1: one camera, many viewers.

use super::{Scene, measure};
use crate::report::{Findings, Report, WhoseJoins};
use crate::signalling::{Content, Track, View};

pub(super) const ROOM: &str = "load-stage";

pub(super) async fn run(
    mut scene: Scene<'_>,
    viewers: u32,
    simulcast: bool,
) -> anyhow::Result<Report> {
    let media = &scene.common.media;
    let content = Content::Camera { codec: media.codec, simulcast };
    let camera = Track { content, shape: media.camera() };
    scene.join(ROOM, vec![camera], View::Nothing);
    scene.settle(1, 0).await?;
    for _ in 0..viewers {
        scene.join(ROOM, Vec::new(), View::Everything);
    }
    scene.settle(viewers + 1, viewers).await?;
    let measured = measure(scene.engine, scene.common).await?;
    let video = measured.snapshot.totals.window.published_video();
    let findings = Findings {
        workload: "stage",
        participants: viewers + 1,
        measured,
        records: scene.crowd.records(),
        // One layer reaches each viewer; of three, which one is the server's choice.
        expected: (!simulcast).then(|| video * u64::from(viewers)),
        wishes: None,
        joins: WhoseJoins::Everybody,
    };
    Ok(Report::new(findings, scene.common))
}
