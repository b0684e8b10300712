//! `Subscription`: one participant's claim to one publication, and the sections through which claims are
//! served.

use std::collections::BTreeMap;

use crate::allocation::Share;
use crate::egress::{FrameRate, MediaKind};
use crate::ids::{ParticipantId, TrackSid};
use crate::media::FeedKey;
use crate::signalling::Wishes;
use crate::transport::offer::{OfferedSection, SectionKind};
use crate::transport::offering::{section_name, section_of};
use crate::transport::{MAX_SECTIONS, Section};
use crate::variant::CodecIndex;

/// See the module text.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Whose publication it is.
    pub(crate) publisher: ParticipantId,
    pub(crate) kind: MediaKind,
    pub(crate) wishes: Wishes,
    /// Frames a second that are enough; `None` for all there are.
    pub(crate) rate: Option<FrameRate>,
    /// How much of it its subscriber can receive.
    pub(crate) share: Share,
    /// The codec of it that its subscriber gets; the first until one is chosen.
    pub(crate) codec: CodecIndex,
    /// The section that carries it, once an answer said so.
    pub(crate) section: Option<Section>,
    /// What forwards it there.
    pub(crate) feed: Option<FeedKey>,
}

/// The receiving sections of one participant, which it offers or is offered: each carries one subscription after another, with a
/// fresh feed and a fresh SSRC for each. Chromium decodes a second track under the first one's SSRC, and
/// shows nothing of it.
#[derive(Debug, Default)]
pub(crate) struct ReceivingSections {
    sections: BTreeMap<Section, ReceivingSection>,
}

#[derive(Debug)]
pub(crate) struct ReceivingSection {
    pub(crate) mid: String,
    kind: MediaKind,
    state: State,
}

/// A browser raises a track only where a section turns from inactive to sending. So one whose subscription
/// ended must be answered, or offered, inactive once before it can carry another.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Inactive in the last answer.
    Spare,
    /// Carries this track.
    Carrying(TrackSid),
    /// Its subscription ended after the last answer, or the last offer to the participant.
    Ended,
    /// Inactive in an offer to the participant that is not answered yet.
    Ending,
    /// The participant rejected it: it carries nothing any more (RFC 9429 §5.2.2).
    Rejected,
}

impl ReceivingSections {
    /// Takes in what an offer makes of the receiving sections. Returns the tracks whose sections are gone.
    pub(crate) fn handle_offer(&mut self, offered: &[OfferedSection]) -> Vec<TrackSid> {
        let mut gone = std::mem::take(&mut self.sections);
        let mut lost = Vec::new();
        for section in offered.iter().filter(|section| section.receives) {
            let kind = match section.kind {
                SectionKind::Audio => MediaKind::Audio,
                SectionKind::Video => MediaKind::Video,
                SectionKind::Data => continue,
            };
            // A new mid in an old place is another section (RFC 8829 §5.2.2): the old one is gone.
            let same = |kept: &ReceivingSection| kept.mid == section.mid && kept.kind == kind;
            let kept = match gone.remove(&section.section) {
                Some(kept) if same(&kept) => Some(kept),
                Some(other) => {
                    lost.extend(other.track().cloned());
                    None
                }
                None => None,
            };
            let state = kept.unwrap_or_else(|| ReceivingSection {
                mid: section.mid.clone(),
                kind,
                state: State::Spare,
            });
            self.sections.insert(section.section, state);
        }
        lost.extend(gone.into_values().filter_map(|section| section.track().cloned()));
        lost
    }

    /// The section that [`ReceivingSections::assign`] would take.
    pub(crate) fn spare(&self, kind: MediaKind) -> Option<Section> {
        let spare = |one: &ReceivingSection| one.kind == kind && one.state == State::Spare;
        self.sections.iter().find(|(_, one)| spare(one)).map(|(section, _)| *section)
    }

    /// Lets a spare section carry `track`; `None` if there is none of its kind.
    pub(crate) fn assign(&mut self, track: &TrackSid, kind: MediaKind) -> Option<Section> {
        let section = self.spare(kind)?;
        self.sections.get_mut(&section)?.state = State::Carrying(track.clone());
        Some(section)
    }

    /// The subscription that `section` carried is over.
    pub(crate) fn release(&mut self, section: Section) {
        let kept = self.sections.get_mut(&section).filter(|one| one.state != State::Rejected);
        if let Some(released) = kept {
            released.state = State::Ended;
        }
    }

    /// The participant rejected these in its answer. Returns the tracks they carried.
    pub(crate) fn reject(&mut self, rejected: &[Section]) -> Vec<TrackSid> {
        let mut lost = Vec::new();
        for section in rejected {
            let Some(one) = self.sections.get_mut(section) else { continue };
            lost.extend(one.track().cloned());
            one.state = State::Rejected;
        }
        lost
    }

    /// An answer is made: sections whose subscriptions ended are inactive in it, so spare from now on.
    pub(crate) fn handle_answered(&mut self) {
        for section in self.sections.values_mut() {
            if section.state == State::Ended {
                section.state = State::Spare;
            }
        }
    }

    /// Adds a section that the next offer to the participant has behind all others; `None` if it has as many as it may.
    pub(crate) fn add(&mut self, kind: MediaKind) -> Option<Section> {
        // The data section is one more.
        if self.sections.len() + 1 >= MAX_SECTIONS {
            return None;
        }
        let section = section_of(self.sections.len());
        let added = ReceivingSection { mid: section_name(section), kind, state: State::Spare };
        self.sections.insert(section, added);
        Some(section)
    }

    /// An offer is made to the participant: sections whose subscriptions ended are inactive in it. Returns the kind of
    /// each section, in their order.
    pub(crate) fn handle_offering(&mut self) -> Vec<(Section, MediaKind)> {
        for section in self.sections.values_mut() {
            if section.state == State::Ended {
                section.state = State::Ending;
            }
        }
        self.sections.iter().map(|(section, of)| (*section, of.kind)).collect()
    }

    /// The participant answered the last offer.
    pub(crate) fn handle_accepted(&mut self) {
        for section in self.sections.values_mut() {
            if section.state == State::Ending {
                section.state = State::Spare;
            }
        }
    }

    /// Whether the last answer, or offer to the participant, still shows a subscription that ended.
    pub(crate) fn any_ended(&self) -> bool {
        self.sections.values().any(|section| section.state == State::Ended)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sections.len()
    }

    /// How many sections are, or will be after the next answer, without a subscription.
    pub(crate) fn spare_or_ended(&self, kind: MediaKind) -> usize {
        let idle = |section: &&ReceivingSection| section.track().is_none();
        self.sections.values().filter(|section| section.kind == kind).filter(idle).count()
    }

    /// Every one of them.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Section> {
        self.sections.keys().copied()
    }

    /// What `section` carries.
    pub(crate) fn track(&self, section: Section) -> Option<&TrackSid> {
        self.sections.get(&section)?.track()
    }

    /// Every section in use: its mid and its track.
    pub(crate) fn named_tracks(&self) -> Vec<(String, TrackSid)> {
        let sections = self.sections.values();
        sections.filter_map(|one| Some((one.mid.clone(), one.track()?.clone()))).collect()
    }
}

impl ReceivingSection {
    fn track(&self) -> Option<&TrackSid> {
        match &self.state {
            State::Carrying(track) => Some(track),
            State::Spare | State::Ended | State::Ending | State::Rejected => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::offer::read_sections;

    const TWO_VIDEOS: &str = "m=video 9 X 1\r\na=mid:0\r\na=recvonly\r\n\
        m=video 9 X 1\r\na=mid:1\r\na=recvonly\r\n";

    fn sections() -> ReceivingSections {
        let mut sections = ReceivingSections::default();
        sections.handle_offer(&read_sections(TWO_VIDEOS));
        sections
    }

    #[test]
    fn each_subscription_gets_a_section_of_its_kind_while_there_are_any() {
        let mut sections = sections();
        let track = TrackSid::new("TR_a");
        assert_eq!(sections.assign(&track, MediaKind::Audio), None);
        assert_eq!(sections.assign(&track, MediaKind::Video), Some(Section::from_index(0)));
        assert_eq!(sections.assign(&track, MediaKind::Video), Some(Section::from_index(1)));
        assert_eq!(sections.assign(&track, MediaKind::Video), None);
    }

    #[test]
    fn a_section_is_shown_inactive_once_before_it_carries_another_track() {
        let mut sections = sections();
        let first = sections.assign(&TrackSid::new("TR_a"), MediaKind::Video).unwrap();
        sections.release(first);
        assert!(sections.any_ended());
        assert_ne!(sections.assign(&TrackSid::new("TR_b"), MediaKind::Video), Some(first));
        sections.handle_answered();
        assert_eq!(sections.assign(&TrackSid::new("TR_c"), MediaKind::Video), Some(first));
    }

    #[test]
    fn a_section_that_is_offered_inactive_carries_another_track_only_once_that_is_answered() {
        let mut sections = ReceivingSections::default();
        assert_eq!(sections.assign(&TrackSid::new("TR_a"), MediaKind::Video), None);
        let first = sections.add(MediaKind::Video).unwrap();
        assert_eq!(first, Section::from_index(1), "behind the data section");
        sections.assign(&TrackSid::new("TR_a"), MediaKind::Video);
        assert_eq!(sections.handle_offering(), [(first, MediaKind::Video)]);
        // It ends while the offer that shows it is on its way.
        sections.release(first);
        sections.handle_accepted();
        assert!(sections.any_ended(), "the client still shows it");
        sections.handle_offering();
        assert_eq!(sections.assign(&TrackSid::new("TR_b"), MediaKind::Video), None);
        sections.handle_accepted();
        assert_eq!(sections.assign(&TrackSid::new("TR_b"), MediaKind::Video), Some(first));
    }

    #[test]
    fn a_section_that_was_rejected_is_never_used_again() {
        let mut sections = ReceivingSections::default();
        let first = sections.add(MediaKind::Video).unwrap();
        let track = TrackSid::new("TR_a");
        sections.assign(&track, MediaKind::Video);
        sections.handle_offering();
        assert_eq!(sections.reject(&[first]), std::slice::from_ref(&track));
        sections.handle_accepted();
        sections.release(first);
        assert!(!sections.any_ended() && sections.spare(MediaKind::Video).is_none());
        let second = sections.add(MediaKind::Video).unwrap();
        assert_ne!(second, first, "its place is taken");
        assert_eq!(sections.assign(&track, MediaKind::Video), Some(second));
        assert_eq!(sections.reject(&[first]), []);
    }

    #[test]
    fn a_participant_is_offered_no_more_sections_than_it_may_have() {
        let mut sections = ReceivingSections::default();
        let added = std::iter::from_fn(|| sections.add(MediaKind::Audio)).count();
        assert_eq!(added, MAX_SECTIONS - 1);
    }

    #[test]
    fn a_section_that_no_longer_receives_loses_its_track() {
        let mut sections = sections();
        let track = TrackSid::new("TR_a");
        sections.assign(&track, MediaKind::Video);
        let recycled = TWO_VIDEOS.replacen("a=mid:0", "a=mid:9", 1);
        let lost = sections.handle_offer(&read_sections(&recycled));
        assert_eq!(lost, std::slice::from_ref(&track));
        sections.assign(&track, MediaKind::Video);
        let stopped = recycled.replacen("recvonly", "inactive", 1);
        assert_eq!(sections.handle_offer(&read_sections(&stopped)), [track]);
    }
}
