//! W3: everybody sends a camera in three layers and a microphone, and sees one large and the others small.

use super::{Scene, measure};
use crate::media::source::Shape;
use crate::participant::ParticipantId;
use crate::report::{Findings, Report, WhoseJoins};
use crate::signalling::{Content, Track, View};

const ROOM: &str = "load-grid";

/// Microphones somebody talks into; the goals ask for the sound of the loudest three.
const LOUD: [u8; 3] = [20, 25, 30];

/// A microphone in a silent room.
const SILENT: u8 = 127;

pub(super) async fn run(mut scene: Scene<'_>, participants: u32) -> anyhow::Result<Report> {
    let media = &scene.common.media;
    let content = Content::Camera { codec: media.codec, simulcast: true };
    let camera = Track { content, shape: media.camera() };
    for number in 0..participants {
        let level = LOUD.get(number as usize).copied().unwrap_or(SILENT);
        let microphone = Track { content: Content::Microphone { level }, shape: Shape::OPUS };
        // Numbers are given in order, so the neighbour's is known before it joins.
        let neighbour = ParticipantId((number + 1) % participants.max(1));
        scene.join(ROOM, vec![microphone, camera], View::Spotlight(neighbour));
    }
    scene.settle(participants, if participants > 1 { participants } else { 0 }).await?;
    let measured = measure(scene.engine, scene.common).await?;
    let [low, _, high] = measured.snapshot.totals.window.published_layers;
    let others = u64::from(participants).saturating_sub(2);
    let video_expected = Some(low * others + if participants > 1 { high } else { 0 });
    let findings = Findings {
        workload: "grid",
        participants,
        measured,
        records: scene.crowd.records(),
        // Whose silence is forwarded is the server's choice.
        expected: None,
        video_expected,
        joins: WhoseJoins::Everybody,
    };
    Ok(Report::new(findings, scene.common))
}
