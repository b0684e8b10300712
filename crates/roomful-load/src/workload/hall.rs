//! W2: several microphones, many listeners.

use super::{Scene, measure};
use crate::media::source::Shape;
use crate::report::Report;
use crate::signalling::{Content, Track};

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
        scene.join(ROOM, vec![microphone], true);
    }
    scene.settle(speakers, 0).await?;
    for _ in 0..listeners {
        scene.join(ROOM, Vec::new(), true);
    }
    scene.settle(speakers + listeners, if loud > 0 { listeners } else { 0 }).await?;
    let measured = measure(&scene).await?;
    // Whose silence is forwarded is the server's choice.
    Ok(Report::new("hall", speakers + listeners, measured, None, scene.common))
}
