//! W3: everybody sends a camera in three layers and a microphone, and sees one large and the others small.

use super::{Scene, measure};
use crate::media::source::Shape;
use crate::participant::ParticipantId;
use crate::report::{Findings, Report, WhoseJoins, Wishes};
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
    let window = &measured.snapshot.totals.window;
    let wishes = wishes(window.published_layers, window.published_audio, participants);
    let findings = Findings {
        workload: "grid",
        participants,
        measured,
        records: scene.crowd.records(),
        // Whose silence is forwarded is the server's choice.
        expected: None,
        wishes: Some(wishes),
        joins: WhoseJoins::Everybody,
    };
    Ok(Report::new(findings, scene.common))
}

/// What all participants together ask for, of what was published.
fn wishes([low, _, high]: [u64; 3], audio: u64, participants: u32) -> Wishes {
    let participants = u64::from(participants);
    let others = participants.saturating_sub(1);
    let loud = participants.min(LOUD.len() as u64);
    Wishes {
        // One of them large.
        video: low * others.saturating_sub(1) + if others > 0 { high } else { 0 },
        // Every microphone sends the same.
        audio: audio * loud / participants.max(1) * others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_wishes_for_one_large_picture_and_small_ones_and_the_sound_of_three() {
        // Of each camera 30 packets low and 240 high, of each microphone 50.
        let wishes = wishes([60 * 30, 0, 60 * 240], 60 * 50, 60);
        assert_eq!(wishes.video, 60 * (58 * 30 + 240));
        assert_eq!(wishes.audio, 3 * 59 * 50);
    }

    #[test]
    fn whoever_is_alone_wishes_for_nothing() {
        let wishes = wishes([30, 0, 240], 50, 1);
        assert_eq!((wishes.video, wishes.audio), (0, 0));
    }
}
