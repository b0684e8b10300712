//! Offers that this server makes, to clients that receive by a transport of its own.
//!
//! `str0m` knows of the data section alone: it makes ICE credentials, fingerprint and data channels, and is told of the
//! first answer and of each that follows an ICE restart. The sections for media are written and read here, because it
//! sees no media; what they can carry is copied from an offer of its own ([`Templates`]), so that it is the same as in
//! its answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use str0m::Rtc;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, Reliability};
use str0m::media::{Direction, MediaKind as Kind};

use super::answer::{StreamLabel, announce, push_line, split_sections};
use super::negotiated::{Negotiated, NegotiatedSection, OutgoingSsrcs, PLAYOUT_DELAY};
use super::offer::{OfferedSection, read_sections};
use super::unwanted::without_codecs;
use super::{Channel, Section, Transport, TransportEvent, TransportOutput, without_addresses};
use crate::codecs::AllowedCodecs;
use crate::egress::MediaKind;

/// The offering half of a transport.
#[derive(Default)]
pub(super) struct Offering {
    /// The last offer without its sections for media: what `str0m` said.
    frame: String,
    /// What `str0m` does once the offer is answered, if it has to do anything.
    pending: Option<SdpPendingOffer>,
    /// The offer that is out, or was last: its sections for media, in their order behind the data section.
    sections: Vec<SentSection>,
    /// Numbers the offers (RFC 8866 §5.2, sess-version).
    made: u32,
    /// Sections that were rejected, by their place among those for media: they are offered as such from then on, and never
    /// used again (RFC 9429 §5.2.2).
    rejected: BTreeSet<usize>,
    /// An answer is waited for.
    is_out: bool,
    templates: Templates,
}

/// What a section for media is to be in the next offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SectionToOffer {
    pub(crate) kind: MediaKind,
    /// The stream it sends; without one it is inactive.
    pub(crate) stream: Option<StreamLabel>,
}

/// Why an answer was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("no offer waits for an answer")]
    NothingOffered,
    #[error("the answer is not valid SDP: {0}")]
    Malformed(String),
    #[error("the answer does not fit the offer: {0}")]
    Unacceptable(String),
    #[error("the answer has other sections than the offer")]
    OtherSections,
}

/// The lines of a section for media that say what it can carry, each with its line end.
#[derive(Debug, Clone, Default)]
pub(super) struct Templates {
    audio: Arc<str>,
    video: Arc<str>,
}

/// One section for media as it was offered last.
#[derive(Debug, Clone)]
struct SentSection {
    kind: MediaKind,
    stream: Option<(StreamLabel, OutgoingSsrcs)>,
}

/// Attributes of a transport, which every section of a bundle repeats (RFC 9143 §7.1.3 allows to leave them out, and not
/// every client can do without).
const OF_TRANSPORT: [&str; 5] =
    ["a=ice-ufrag:", "a=ice-pwd:", "a=ice-options:", "a=fingerprint:", "a=setup:"];

/// Beginnings of the lines that a template keeps.
const OF_TEMPLATE: [&str; 9] = [
    "m=",
    "c=",
    "a=rtcp:",
    "a=rtcp-mux",
    "a=rtcp-rsize",
    "a=extmap:",
    "a=rtpmap:",
    "a=rtcp-fb:",
    "a=fmtp:",
];

impl Templates {
    /// What sections can carry, as `rtc`, which is used for nothing else, would offer them.
    pub(super) fn of(mut rtc: Rtc) -> Self {
        let mut changes = rtc.sdp_api();
        for kind in [Kind::Audio, Kind::Video] {
            changes.add_media(kind, Direction::SendOnly, None, None, None);
        }
        let offer = changes.apply().map(|(offer, _)| offer.to_sdp_string()).unwrap_or_default();
        let template = |media: &str| {
            let (_, sections) = split_sections(&offer);
            let section = sections.into_iter().find(|section| section.starts_with(media));
            let lines = section.unwrap_or_default().split_inclusive('\n');
            let is_of_pictures = |line: &str| line.contains(PLAYOUT_DELAY) && media == "m=audio";
            let kept = |line: &&str| {
                OF_TEMPLATE.iter().any(|start| line.starts_with(start)) && !is_of_pictures(line)
            };
            lines.filter(kept).collect::<String>().into()
        };
        Self { audio: template("m=audio"), video: template("m=video") }
    }

    fn of_kind(&self, kind: MediaKind) -> &str {
        match kind {
            MediaKind::Audio => &self.audio,
            MediaKind::Video => &self.video,
        }
    }
}

impl Offering {
    pub(super) fn new(templates: Templates) -> Self {
        Self { templates, ..Self::default() }
    }
}

/// What a section for media is called in the offers, by its place. `str0m` gives names of three letters or digits, so
/// these are longer.
pub(crate) fn section_name(section: Section) -> String {
    format!("r{:03}", section.index())
}

/// The place of the section for media that was added as the `number`th, from 0: the data section is the first.
pub(crate) fn section_of(number: usize) -> Section {
    Section::from_index(number + 1)
}

impl Transport {
    /// Makes an offer with a data section and these sections for media, in their order, in codecs that are `allowed`;
    /// `restarts` lets ICE begin anew.
    /// Sections are never taken out (RFC 8829 §5.2.2). What was offered before and is not answered yet is forgotten:
    /// this offer has all of it. `None` on a transport that does not offer.
    pub(crate) fn make_offer(
        &mut self,
        sections: &[SectionToOffer],
        allowed: &AllowedCodecs,
        restarts: bool,
    ) -> Option<String> {
        self.offering.as_ref()?;
        let sent: Vec<SentSection> =
            (0..).zip(sections).map(|(number, wanted)| self.sent(number, wanted)).collect();
        let offering = self.offering.as_mut()?;
        offering.sections = sent;
        offering.made = offering.made.wrapping_add(1);
        if offering.frame.is_empty() {
            let mut changes = self.rtc.sdp_api();
            for channel in [Channel::Reliable, Channel::Lossy, Channel::DataTrack] {
                changes.add_channel_with_config(channel.config());
            }
            let (offer, pending) = changes.apply()?;
            offering.frame = offer.to_sdp_string();
            offering.pending = Some(pending);
        } else if restarts && !self.negotiated.sections.is_empty() {
            // Until the first answer there is nothing to restart.
            let mut changes = self.rtc.sdp_api();
            changes.ice_restart(true);
            let (offer, pending) = changes.apply()?;
            offering.frame = offer.to_sdp_string();
            offering.pending = Some(pending);
        }
        offering.is_out = true;
        let text = without_codecs(&offering.text(), &to_receive(allowed)).into_owned();
        self.drain();
        Some(text)
    }

    /// Takes the answer to the last offer.
    ///
    /// # Errors
    /// What is wrong with it. The offer may still be answered rightly, unless the answer contradicts what was agreed on
    /// before: then the transport closes.
    pub(crate) fn handle_answer(&mut self, sdp: &str) -> Result<(), AnswerError> {
        let offering = self.offering.as_mut().filter(|offering| offering.is_out);
        let offering = offering.ok_or(AnswerError::NothingOffered)?;
        let answered = read_sections(sdp);
        if !offering.fits(&answered) {
            return Err(AnswerError::OtherSections);
        }
        if let Some(pending) = offering.pending.take() {
            let answer = match SdpAnswer::from_sdp_string(&data_section_alone(sdp, &answered)) {
                Ok(answer) => answer,
                Err(error) => {
                    offering.pending = Some(pending);
                    return Err(AnswerError::Malformed(without_addresses(&error.to_string())));
                }
            };
            if let Err(error) = self.rtc.sdp_api().accept_answer(pending, answer) {
                self.rtc.disconnect();
                self.drain();
                self.outputs.push_back(TransportOutput::Event(TransportEvent::Closed));
                return Err(AnswerError::Unacceptable(error.to_string()));
            }
        }
        offering.is_out = false;
        let media = answered.iter().skip(1).enumerate();
        offering
            .rejected
            .extend(media.filter(|(_, one)| one.is_rejected).map(|(number, _)| number));
        self.negotiated = Arc::new(offering.agreed(sdp, &answered));
        self.drain();
        Ok(())
    }

    /// The sections that answers rejected, for good.
    pub(crate) fn rejected(&self) -> Vec<Section> {
        let rejected = self.offering.iter().flat_map(|offering| &offering.rejected);
        rejected.map(|number| section_of(*number)).collect()
    }

    /// A section as it goes into the next offer. A stream keeps its SSRCs as long as it is the same.
    fn sent(&mut self, number: usize, wanted: &SectionToOffer) -> SentSection {
        let former = self.offering.as_ref().and_then(|offering| offering.sections.get(number));
        let former = former.and_then(|former| former.stream.clone());
        let stream = wanted.stream.clone().map(|label| match former {
            Some((same, ssrcs)) if same.is_same(&label) => (label, ssrcs),
            _ => (label, self.new_ssrcs(wanted.kind == MediaKind::Video)),
        });
        SentSection { kind: wanted.kind, stream }
    }
}

impl Offering {
    /// Whether an answer has the sections of the offer; one that is refused may have lost its name.
    fn fits(&self, answered: &[OfferedSection]) -> bool {
        let Some((_, media)) = answered.split_first() else { return false };
        let named = |(number, section): (usize, &OfferedSection)| {
            section.is_rejected || section.mid == section_name(section_of(number))
        };
        media.len() == self.sections.len() && media.iter().enumerate().all(named)
    }

    fn agreed(&self, answer: &str, answered: &[OfferedSection]) -> Negotiated {
        // The offer names no streams of the participant's.
        let mut negotiated = Negotiated::read("", answer);
        let media = negotiated.sections.iter_mut().zip(answered).skip(1);
        for ((number, sent), (agreed, answered)) in self.sections.iter().enumerate().zip(media) {
            agreed.mid = section_name(section_of(number));
            let receives = answered.receives && !answered.is_rejected;
            let stream = sent.stream.as_ref().filter(|_| receives);
            agreed.outgoing = stream.map(|(_, ssrcs)| ssrcs.within(agreed));
        }
        negotiated
    }

    fn text(&self) -> String {
        let (session, frame_sections) = split_sections(&self.frame);
        let data = frame_sections.first().copied().unwrap_or_default();
        let of_transport: String = data
            .split_inclusive('\n')
            .filter(|line| OF_TRANSPORT.iter().any(|start| line.starts_with(start)))
            .collect();
        let mut text = String::new();
        for line in session.split_inclusive('\n') {
            match line.trim_end() {
                origin if origin.starts_with("o=") => {
                    push_line(&mut text, &numbered(origin, self.made));
                }
                group if group.starts_with("a=group:BUNDLE") => {
                    let used = (0..self.sections.len()).filter(|one| !self.rejected.contains(one));
                    let names = used.map(|one| section_name(section_of(one)));
                    let names: String = names.map(|name| format!(" {name}")).collect();
                    push_line(&mut text, &format!("{group}{names}"));
                }
                _ => text.push_str(line),
            }
        }
        text.push_str(data);
        for (number, section) in self.sections.iter().enumerate() {
            let template = self.templates.of_kind(section.kind);
            if self.rejected.contains(&number) {
                push_rejected(template, &section_name(section_of(number)), &mut text);
                continue;
            }
            match &section.stream {
                Some((label, _)) => text.push_str(&label.described(template)),
                None => text.push_str(template),
            }
            text.push_str(&of_transport);
            push_line(&mut text, &format!("a=mid:{}", section_name(section_of(number))));
            match &section.stream {
                Some((label, ssrcs)) => {
                    push_line(&mut text, "a=sendonly");
                    announce(label, *ssrcs, &mut text);
                }
                None => push_line(&mut text, "a=inactive"),
            }
        }
        text
    }
}

impl OutgoingSsrcs {
    /// Without retransmissions where the section has no payload type for them.
    fn within(self, agreed: &NegotiatedSection) -> Self {
        let repairs = agreed.formats.iter().any(|format| format.repair.is_some());
        Self { repair: self.repair.filter(|_| repairs), ..self }
    }
}

impl Channel {
    /// As LiveKit's clients expect it to be made by a server.
    fn config(self) -> ChannelConfig {
        let unreliable = Reliability::MaxRetransmits { retransmits: 0 };
        let (label, ordered, reliability) = match self {
            Self::Reliable => ("_reliable", true, Reliability::Reliable),
            Self::Lossy => ("_lossy", false, unreliable),
            Self::DataTrack => ("_data_track", false, unreliable),
        };
        ChannelConfig { label: label.into(), ordered, reliability, ..Default::default() }
    }
}

/// A section that is not used any more: port 0, and nothing of what it could carry (RFC 9429 §5.2.2).
fn push_rejected(template: &str, name: &str, text: &mut String) {
    let media = template.lines().next().unwrap_or_default();
    let words = media.split(' ').enumerate().take(4);
    let words: Vec<&str> = words.map(|(at, word)| if at == 1 { "0" } else { word }).collect();
    push_line(text, &words.join(" "));
    push_line(text, "c=IN IP4 0.0.0.0");
    push_line(text, &format!("a=mid:{name}"));
    push_line(text, "a=inactive");
}

/// The same for text in which this server sends what the participant receives.
fn to_receive(allowed: &AllowedCodecs) -> AllowedCodecs {
    AllowedCodecs { publishing: allowed.receiving.clone(), receiving: allowed.receiving.clone() }
}

/// An `o=` line with this sess-version.
fn numbered(origin: &str, version: u32) -> String {
    let version = version.to_string();
    let words = origin.split(' ').enumerate();
    words
        .map(|(place, word)| if place == 2 { &version[..] } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

/// An answer as if the data section had been all that was offered.
fn data_section_alone(answer: &str, answered: &[OfferedSection]) -> String {
    let (session, sections) = split_sections(answer);
    let name = answered.first().map(|section| section.mid.as_str()).unwrap_or_default();
    let mut alone = String::new();
    for line in session.split_inclusive('\n') {
        match line.starts_with("a=group:BUNDLE") {
            true => push_line(&mut alone, &format!("a=group:BUNDLE {name}")),
            false => alone.push_str(line),
        }
    }
    alone.push_str(sections.first().copied().unwrap_or_default());
    alone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;
    use crate::transport::{Beginning, TransportFactory, dependency};

    const ANSWER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE DATA r001\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:\
        09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\na=setup:active\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:DATA\r\na=sctp-port:5000\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:r001\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n";

    fn transport() -> Transport {
        transport_that(false)
    }

    fn transport_that(tells_playout_delay: bool) -> Transport {
        let (factory, now) = (TransportFactory::new().unwrap(), start_of_time());
        let rng = fastrand::Rng::with_seed(1);
        let beginning = Beginning { addresses: &[], tells_playout_delay, rng };
        factory.offering_transport(beginning, now)
    }

    fn video(track: &str) -> SectionToOffer {
        let (stream, cname) = (format!("PA_a|{track}"), "PA_a".to_owned());
        let stream = Some(StreamLabel { stream, track: track.into(), cname, stereo: false });
        SectionToOffer { kind: MediaKind::Video, stream }
    }

    const INACTIVE: SectionToOffer = SectionToOffer { kind: MediaKind::Video, stream: None };

    fn answer_to(offer: &str) -> String {
        ANSWER.replace("DATA", values(offer, "a=mid:")[0])
    }

    fn values<'a>(sdp: &'a str, start: &str) -> Vec<&'a str> {
        sdp.lines().filter_map(|line| line.strip_prefix(start)).collect()
    }

    #[test]
    fn how_long_to_hold_pictures_back_is_offered_for_pictures_and_where_it_is_told() {
        let sections = [SectionToOffer { kind: MediaKind::Audio, stream: None }, video("TR_a")];
        for (tells, expected) in [(false, [false, false]), (true, [false, true])] {
            let allowed = AllowedCodecs::default();
            let offer = transport_that(tells).make_offer(&sections, &allowed, false).unwrap();
            let (_, offered) = split_sections(&offer);
            let offered: Vec<bool> =
                offered[1..].iter().map(|one| one.contains(PLAYOUT_DELAY)).collect();
            assert_eq!(offered, expected);
        }
    }

    #[test]
    fn dependency_descriptors_are_offered_for_pictures() {
        let sections = [SectionToOffer { kind: MediaKind::Audio, stream: None }, video("TR_a")];
        let offer = transport().make_offer(&sections, &AllowedCodecs::default(), false).unwrap();
        let (_, offered) = split_sections(&offer);
        let offered: Vec<bool> =
            offered[1..].iter().map(|one| one.contains(dependency::URI)).collect();
        assert_eq!(offered, [false, true]);
    }

    #[test]
    fn dependency_descriptors_are_agreed_on_under_the_id_of_whoever_offers_them() {
        let factory = TransportFactory::new().unwrap();
        let rng = fastrand::Rng::with_seed(1);
        let beginning = Beginning { addresses: &[], tells_playout_delay: false, rng };
        let mut transport = factory.transport(beginning, start_of_time());
        let offer = format!(
            "{}{}{}\r\n",
            crate::fuzzing::DATA_OFFER.replace("BUNDLE 0", "BUNDLE 0 1"),
            "m=video 9 UDP/TLS/RTP/SAVPF 45\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n\
             a=rtpmap:45 AV1/90000\r\na=extmap:15 ",
            dependency::URI
        );
        transport.handle_offer(&offer, &AllowedCodecs::default()).unwrap();
        assert_eq!(transport.negotiated().extensions.dependency_descriptor, Some(15));
    }

    #[test]
    fn a_stream_keeps_its_ssrcs_until_it_is_another() {
        let mut transport = transport();
        let mut ssrcs = |section: &SectionToOffer| {
            let offer = transport
                .make_offer(std::slice::from_ref(section), &AllowedCodecs::default(), false)
                .unwrap();
            values(&offer, "a=ssrc-group:FID ").join("; ")
        };
        let first = ssrcs(&video("TR_a"));
        assert_eq!(ssrcs(&video("TR_a")), first);
        assert_eq!(ssrcs(&INACTIVE), "");
        assert!(![first, String::new()].contains(&ssrcs(&video("TR_a"))), "it was gone between");
    }

    #[test]
    fn a_restart_gives_every_section_new_credentials_and_an_offer_that_is_answered_by_old_ones_none()
     {
        let mut transport = transport();
        let first =
            transport.make_offer(&[video("TR_a")], &AllowedCodecs::default(), true).unwrap();
        transport.handle_answer(&answer_to(&first)).unwrap();
        let again =
            transport.make_offer(&[video("TR_a")], &AllowedCodecs::default(), false).unwrap();
        let restarted =
            transport.make_offer(&[video("TR_a")], &AllowedCodecs::default(), true).unwrap();
        let [first, again, restarted] =
            [&first, &again, &restarted].map(|offer| values(offer, "a=ice-ufrag:"));
        assert_eq!((first.len(), first[0]), (2, first[1]));
        assert_eq!(again, first);
        assert!(restarted.len() == 2 && restarted[0] == restarted[1] && restarted != first);
    }

    #[test]
    fn nothing_is_sent_in_a_section_before_the_offer_that_shows_it_is_answered() {
        let mut transport = transport();
        let section = section_of(0);
        let outgoing = |transport: &Transport| {
            transport.negotiated().sections.get(section.index()).and_then(|one| one.outgoing)
        };
        let offer =
            transport.make_offer(&[video("TR_a")], &AllowedCodecs::default(), true).unwrap();
        assert_eq!(outgoing(&transport), None);
        transport.handle_answer(&answer_to(&offer)).unwrap();
        let first = outgoing(&transport).unwrap();
        assert_eq!(first.repair, None, "the answer takes no retransmissions");
        transport.renew_stream(section);
        assert_eq!(outgoing(&transport), None);
        transport.make_offer(&[video("TR_b")], &AllowedCodecs::default(), false).unwrap();
        assert_eq!(outgoing(&transport), None);
        transport.handle_answer(&answer_to(&offer)).unwrap();
        assert_ne!(outgoing(&transport).unwrap().media, first.media);
    }

    #[test]
    fn a_section_that_is_refused_gets_nothing_whatever_it_is_called() {
        let mut transport = transport();
        let offer =
            transport.make_offer(&[video("TR_a")], &AllowedCodecs::default(), true).unwrap();
        let refused =
            answer_to(&offer).replace("m=video 9", "m=video 0").replace("a=mid:r001", "a=mid:x");
        let refused = refused.replace(" r001", "");
        transport.handle_answer(&refused).unwrap();
        assert_eq!(transport.negotiated().sections[1].outgoing, None);
        assert_eq!(transport.rejected(), [section_of(0)]);
    }

    #[test]
    fn a_section_that_was_rejected_stays_so_in_later_offers_and_others_come_behind_it() {
        let mut transport = transport();
        let all = AllowedCodecs::default();
        let offer = transport.make_offer(&[video("TR_a")], &all, true).unwrap();
        let rejected = answer_to(&offer).replace("m=video 9", "m=video 0").replace(" r001", "");
        transport.handle_answer(&rejected).unwrap();
        let offer = transport.make_offer(&[INACTIVE, video("TR_b")], &all, false).unwrap();
        let ports = values(&offer, "m=video ");
        assert!(ports[0].starts_with("0 ") && ports[1].starts_with("9 "), "{ports:?}");
        let group = values(&offer, "a=group:BUNDLE ")[0];
        assert!(!group.contains("r001") && group.ends_with(" r002"), "{group}");
        assert_eq!(values(&offer, "a=mid:")[1..], ["r001", "r002"]);
    }

    #[test]
    fn an_answer_is_taken_once_and_only_with_the_sections_of_the_offer() {
        let mut transport = transport();
        let early = transport.handle_answer(ANSWER);
        assert!(matches!(early, Err(AnswerError::NothingOffered)));
        let offer =
            transport.make_offer(&[video("TR_a")], &AllowedCodecs::default(), true).unwrap();
        let answer = answer_to(&offer);
        for wrong in
            ["", "v=0", &answer.replace("r001", "r002"), &answer[..answer.find("m=video").unwrap()]]
        {
            let refused = transport.handle_answer(wrong);
            assert!(matches!(refused, Err(AnswerError::OtherSections)), "{wrong}");
        }
        transport.handle_answer(&answer).unwrap();
        assert!(matches!(transport.handle_answer(&answer), Err(AnswerError::NothingOffered)));
    }
}
