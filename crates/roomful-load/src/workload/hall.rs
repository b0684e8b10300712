//! W2: several microphones, many listeners.

use super::{Scene, measure};
use crate::media::source::Shape;
use crate::report::{Findings, Report, WhoseJoins};
use crate::signalling::{Content, Track, View};

const ROOM: &str = "load-hall";

/// Somebody talking, in -dBov (RFC 6464).
const LOUD: u8 = 20;

/// A microphone in a silent room.
const SILENT: u8 = 127;

pub(super) async fn run(
    mut scene: Scene<'_>,
    listeners: u32,
    speakers: u32,
    loud: u32,
) -> anyhow::Result<Report> {
    for speaker in 0..speakers {
        let level = if speaker < loud { LOUD } else { SILENT };
        let microphone = Track { content: Content::Microphone { level }, shape: Shape::OPUS };
        // They hear nobody, so that every server has the same to forward.
        scene.join(ROOM, vec![microphone], View::Nothing);
    }
    scene.settle(speakers, 0).await?;
    for _ in 0..listeners {
        scene.join(ROOM, Vec::new(), View::Everything);
    }
    scene.settle(speakers + listeners, if loud > 0 { listeners } else { 0 }).await?;
    let measured = measure(scene.engine, scene.common).await?;
    let findings = Findings {
        workload: "hall",
        participants: speakers + listeners,
        measured,
        records: scene.crowd.records(),
        // Whose silence is forwarded is the server's choice.
        expected: None,
        wishes: None,
        joins: WhoseJoins::Everybody,
    };
    Ok(Report::new(findings, scene.common))
}
