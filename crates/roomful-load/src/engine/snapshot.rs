//! What the media thread found, added up over participants present and past.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use roomful_rtp::nack::NackCounts;
use roomful_rtp::srtp::SrtpProfile;

use crate::ledger::{Group, Ledger, Totals};
use crate::participant::{Participant, ParticipantId, Timeline};

/// Failures of which the words are kept.
const MAX_REASONS: usize = 5;

/// See the module text.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) totals: Totals,
    /// What receivers missed in the window.
    pub(crate) missed: NackCounts,
    /// Worst of one stream.
    pub(crate) worst_stream_lost: u64,
    pub(crate) streams: u64,
    pub(crate) watched: Histogram<u64>,
    pub(crate) passing: Histogram<u64>,
    pub(crate) gaps: Histogram<u64>,
    /// Participants by negotiated profile.
    pub(crate) profiles: BTreeMap<&'static str, u64>,
    pub(crate) timelines: BTreeMap<ParticipantId, (Group, Timeline)>,
    pub(crate) failures: u64,
    /// Why, the first few.
    pub(crate) reasons: Vec<String>,
}

/// Those who are no longer there.
#[derive(Default)]
pub(super) struct Past {
    missed: NackCounts,
    worst_stream_lost: u64,
    streams: u64,
    profiles: BTreeMap<&'static str, u64>,
    timelines: BTreeMap<ParticipantId, (Group, Timeline)>,
    failures: u64,
    reasons: Vec<String>,
}

impl Past {
    /// A participant left, or was lost for a reason.
    pub(super) fn take_in(&mut self, participant: &Participant, reason: Option<String>) {
        self.add(participant);
        if let Some(reason) = reason {
            self.failures += 1;
            if self.reasons.len() < MAX_REASONS {
                self.reasons.push(reason);
            }
        }
    }

    pub(super) fn open_window(&mut self) {
        self.missed = NackCounts::default();
        self.worst_stream_lost = 0;
        self.streams = 0;
    }

    pub(super) fn snapshot<'a>(
        &self,
        present: impl Iterator<Item = &'a Participant>,
        ledger: &Ledger,
    ) -> Snapshot {
        let mut all = Self {
            profiles: self.profiles.clone(),
            timelines: self.timelines.clone(),
            reasons: self.reasons.clone(),
            ..*self
        };
        present.for_each(|participant| all.add(participant));
        Snapshot {
            totals: ledger.totals,
            missed: all.missed,
            worst_stream_lost: all.worst_stream_lost,
            streams: all.streams,
            watched: ledger.latency(Group::Watched).clone(),
            passing: ledger.latency(Group::Passing).clone(),
            gaps: ledger.gaps().clone(),
            profiles: all.profiles,
            timelines: all.timelines,
            failures: all.failures,
            reasons: all.reasons,
        }
    }

    fn add(&mut self, participant: &Participant) {
        for missed in participant.missed() {
            self.streams += 1;
            self.worst_stream_lost = self.worst_stream_lost.max(lost(&missed));
            self.missed.missing += missed.missing;
            self.missed.asked += missed.asked;
            self.missed.repaired += missed.repaired;
            self.missed.reordered += missed.reordered;
            self.missed.given_up += missed.given_up;
        }
        if let Some(profile) = participant.profile() {
            *self.profiles.entry(name(profile)).or_default() += 1;
        }
        self.timelines.insert(participant.id(), (participant.group(), participant.timeline()));
    }
}

impl Snapshot {
    /// Packets that never came, in the window.
    pub(crate) fn lost_packets(&self) -> u64 {
        lost(&self.missed)
    }
}

/// Missing for good: neither late nor repaired.
fn lost(missed: &NackCounts) -> u64 {
    missed.missing.saturating_sub(missed.repaired + missed.reordered)
}

/// As `--srtp` names them.
fn name(profile: SrtpProfile) -> &'static str {
    match profile {
        SrtpProfile::AeadAes128Gcm => "gcm128",
        SrtpProfile::AeadAes256Gcm => "gcm256",
        SrtpProfile::Aes128CmHmacSha1_80 => "cm",
    }
}
