//! The mark at the end of every payload, by which content is checked from end to end.
//!
//! At the end, because servers rewrite what stands at the front: a VP8 descriptor may change its length
//! on the way.

use crate::clock::Stamp;
use crate::participant::ParticipantId;

/// Bytes of a mark.
pub(crate) const MARK_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"RfL1";

/// Distinguishes one run of this program from another, so that a server that mixes up rooms of two runs
/// is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunId(pub(crate) u32);

/// Which of a participant's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum StreamKind {
    Audio,
    /// A camera's layer, the lowest 0.
    Video(u8),
}

/// See the module text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) run: RunId,
    pub(crate) publisher: ParticipantId,
    pub(crate) stream: StreamKind,
    /// Counts the packets of the stream from 0.
    pub(crate) seq: u64,
    /// When it left.
    pub(crate) sent: Stamp,
}

/// What a payload of a run was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("a payload that nobody here sent")]
    Foreign,
    #[error("a payload of another run")]
    OtherRun,
    #[error("a payload changed on its way")]
    Damaged,
}

impl Mark {
    /// Writes it over the end of `payload`; what is too short for one stays without.
    pub(crate) fn write(&self, payload: &mut [u8]) {
        let Some(out) = payload.last_chunk_mut::<MARK_BYTES>() else { return };
        let stream = match self.stream {
            StreamKind::Audio => 0xFF,
            StreamKind::Video(layer) => layer,
        };
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.run.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.publisher.0.to_be_bytes());
        out[12..16].copy_from_slice(&[stream, 0, 0, 0]);
        out[16..24].copy_from_slice(&self.seq.to_be_bytes());
        out[24..].copy_from_slice(&self.sent.as_nanos().to_be_bytes());
    }

    /// Reads the mark of a payload.
    pub(crate) fn read(payload: &[u8], run: RunId) -> Result<Self, ContentError> {
        let bytes = payload.last_chunk::<MARK_BYTES>().ok_or(ContentError::Foreign)?;
        let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|index| bytes[at + index]));
        let long = |at: usize| u64::from_be_bytes(std::array::from_fn(|index| bytes[at + index]));
        if bytes[..4] != MAGIC {
            return Err(ContentError::Foreign);
        }
        let stream = match bytes[12] {
            0xFF => StreamKind::Audio,
            layer @ 0..=2 => StreamKind::Video(layer),
            _ => return Err(ContentError::Damaged),
        };
        if RunId(word(4)) != run {
            return Err(ContentError::OtherRun);
        }
        let publisher = ParticipantId(word(8));
        Ok(Self { run, publisher, stream, seq: long(16), sent: Stamp::from_nanos(long(24)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back() {
        for stream in [StreamKind::Audio, StreamKind::Video(0), StreamKind::Video(2)] {
            let mark = Mark { stream, ..sample() };
            let mut payload = [9; 100];
            mark.write(&mut payload);
            assert_eq!(Mark::read(&payload, RunId(7)), Ok(mark));
            assert_eq!(payload[..68], [9; 68], "nothing else is touched");
        }
    }

    #[test]
    fn what_is_not_ours_is_told_from_what_is_of_another_run() {
        let mut payload = [0; 64];
        assert_eq!(Mark::read(&payload, RunId(7)), Err(ContentError::Foreign));
        assert_eq!(Mark::read(&payload[..10], RunId(7)), Err(ContentError::Foreign));
        sample().write(&mut payload);
        assert_eq!(Mark::read(&payload, RunId(8)), Err(ContentError::OtherRun));
    }

    fn sample() -> Mark {
        Mark {
            run: RunId(7),
            publisher: ParticipantId(3),
            stream: StreamKind::Audio,
            seq: 1 << 40,
            sent: Stamp::from_nanos(12_345),
        }
    }
}
