//! stub
use crate::ids::ParticipantId;
use std::time::Instant;
/// -dBov
#[derive(Debug, Clone, Copy)]
pub struct AudioLevel(pub u8);
/// stub
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    /// p
    pub participant: ParticipantId,
    /// l
    pub level: f32,
    /// a
    pub active: bool,
}
/// stub
#[derive(Debug, Default)]
pub struct Speakers;
#[allow(missing_docs)]
impl Speakers {
    pub fn new() -> Self {
        Self
    }
    pub fn handle_level(&mut self, _: ParticipantId, _: AudioLevel, _: Instant) {}
    pub fn handle_mute_or_gone(&mut self, _: ParticipantId) {}
    pub fn poll_change(&mut self, _: Instant) -> Option<Vec<Speaker>> {
        None
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
