//! W1: one camera, many viewers.

use super::{Scene, measure};
use crate::report::Report;
use crate::signalling::{Content, Track};

const ROOM: &str = "load-stage";

pub(super) async fn run(
    mut scene: Scene<'_>,
    viewers: u32,
    simulcast: bool,
) -> anyhow::Result<Report> {
    let media = &scene.common.media;
    let content = Content::Camera { codec: media.codec, simulcast };
    let camera = Track { content, shape: media.camera() };
    scene.join(ROOM, vec![camera], false);
    scene.settle(1, 0).await?;
    for _ in 0..viewers {
        scene.join(ROOM, Vec::new(), true);
    }
    scene.settle(viewers + 1, viewers).await?;
    let measured = measure(&scene).await?;
    // One layer reaches each viewer; of three, which one is the server's choice.
    let expected = (!simulcast).then(|| measured.published_video * u64::from(viewers));
    Ok(Report::new("stage", viewers + 1, measured, expected, scene.common))
}
