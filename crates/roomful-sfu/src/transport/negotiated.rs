//! What an offer and its answer agreed on about RTP: payload types, header extensions, SSRCs.
//!
//! Read from the two texts, so that the RTP path knows nothing of who negotiates.

use std::collections::BTreeMap;

use crate::egress::Codec;
use crate::transport::Section;

/// Everything the RTP path needs to know of one negotiation.
#[derive(Debug, Default, Clone)]
pub(crate) struct Negotiated {
    /// By section, in the order of the m-lines.
    pub(crate) sections: Vec<NegotiatedSection>,
    /// What each payload type stands for; unique in one transport (RFC 8843 §10.1.1).
    pub(crate) payloads: BTreeMap<u8, Payload>,
    /// Header extensions; their ids are the same in every section of one transport (RFC 8843 §10.2).
    pub(crate) extensions: ExtensionIds,
    /// Streams the participant named by SSRC.
    pub(crate) announced: Vec<AnnouncedStream>,
}

/// One m-line.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct NegotiatedSection {
    pub(crate) mid: String,
    /// Formats the participant accepts here, best first.
    pub(crate) formats: Vec<SendFormat>,
    /// Encodings the participant sends here, lowest first; empty without simulcast.
    pub(crate) rids: Vec<String>,
    /// The stream this server sends here; whoever answers fills it in.
    pub(crate) outgoing: Option<OutgoingSsrcs>,
}

/// The SSRCs of one stream from this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutgoingSsrcs {
    pub(crate) media: u32,
    /// Of its retransmissions (RFC 4588), if they were agreed on.
    pub(crate) repair: Option<u32>,
}

/// A format with the payload types it goes under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendFormat {
    pub(crate) format: Format,
    pub(crate) payload_type: u8,
    /// Payload type of its retransmissions.
    pub(crate) repair: Option<u8>,
    /// Payload type of the sound inside, for redundant audio.
    pub(crate) inside: Option<u8>,
}

/// What a payload type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    Media(Format),
    /// Retransmissions (RFC 4588) of this payload type.
    Repair(u8),
    /// Redundant audio (RFC 2198) of this payload type, which is Opus.
    Redundant(u8),
}

/// Codec with the parameters that decide who can decode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) codec: Codec,
    /// H.264 `packetization-mode` (RFC 6184 §8.1); 0 for others.
    packetization_mode: u8,
    /// H.264 profile and constraints, VP9 and H.265 `profile-id`, AV1 `profile`; 0 for others.
    profile: u16,
}

/// Ids of the header extensions in use (RFC 8285); `None` for one that was not agreed on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtensionIds {
    /// RFC 9143.
    pub(crate) mid: Option<u8>,
    /// RFC 8852.
    pub(crate) rid: Option<u8>,
    /// RFC 8852 §3.2.
    pub(crate) repaired_rid: Option<u8>,
    /// RFC 6464.
    pub(crate) audio_level: Option<u8>,
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01.
    pub(crate) transport_sequence: Option<u8>,
    /// The absolute send time of libwebrtc.
    pub(crate) absolute_send_time: Option<u8>,
    /// 3GPP TS 26.114 §7.4.5.
    pub(crate) orientation: Option<u8>,
    /// RTP Payload Format For AV1, appendix A.
    pub(crate) dependency_descriptor: Option<u8>,
    /// The playout delay of libwebrtc.
    pub(crate) playout_delay: Option<u8>,
}

/// The extension that tells how long to hold pictures back.
pub(super) const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// A stream named by SSRC in the offer (RFC 5576).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnnouncedStream {
    pub(crate) section: Section,
    pub(crate) ssrc: u32,
    /// The stream it repairs, for a stream of retransmissions (`ssrc-group:FID`).
    pub(crate) repairs: Option<u32>,
}

impl Negotiated {
    /// Reads what `answer` left of `offer`. Lines it does not know are passed over: whoever negotiated judged
    /// the whole.
    pub(crate) fn read(offer: &str, answer: &str) -> Self {
        let mut negotiated = Self::default();
        for section in sections(answer) {
            negotiated.read_answered(&section);
        }
        for (index, section) in sections(offer).enumerate() {
            negotiated.read_announced(Section::from_index(index), &section);
        }
        negotiated
    }

    /// The format and payload types under which the participant takes `format` in `section`. H.264 has many: the
    /// same profile and packetization mode first, any H.264 with the same packetization mode otherwise. Redundant audio is
    /// Opus to whoever does not take it.
    pub(crate) fn send_format(&self, section: Section, format: Format) -> Option<SendFormat> {
        let formats = &self.sections.get(section.index())?.formats;
        let same_codec = || formats.iter().filter(|one| one.format.codec == format.codec);
        let same_mode =
            |one: &&SendFormat| one.format.packetization_mode == format.packetization_mode;
        same_codec()
            .find(|one| one.format == format)
            .or_else(|| same_codec().find(same_mode))
            .or_else(|| same_codec().next().filter(|_| format.codec != Codec::H264))
            .or_else(|| {
                let others = formats.iter().filter(|one| one.format.codec != format.codec);
                others.into_iter().find(|one| format.codec.is_taken_by(one.format.codec))
            })
            .copied()
    }

    /// The codecs agreed on for `section`. The first is what the participant sends unless it was told otherwise
    /// (RFC 3264 §6.1).
    pub(crate) fn codecs(&self, section: Section) -> Vec<Codec> {
        let formats = self.sections.get(section.index()).map(|one| one.formats.as_slice());
        formats.unwrap_or_default().iter().map(|one| one.format.codec).collect()
    }

    /// Whether the participant can have `codec` in `section`, in whatever form.
    pub(crate) fn takes(&self, section: Section, codec: Codec) -> bool {
        let formats = self.sections.get(section.index()).map(|one| one.formats.as_slice());
        formats.unwrap_or_default().iter().any(|one| codec.is_taken_by(one.format.codec))
    }

    fn read_answered(&mut self, section: &SectionLines<'_>) {
        let mut read = NegotiatedSection {
            mid: section.value("mid:").unwrap_or_default().to_owned(),
            ..NegotiatedSection::default()
        };
        // A section that is rejected agrees on nothing, whatever it lists (RFC 3264 §6).
        let payloads = if section.is_rejected() { Vec::new() } else { section.payloads() };
        for (payload_type, payload) in &payloads {
            let payload_type = *payload_type;
            let is_its_repair =
                |(_, other): &&(u8, Payload)| *other == Payload::Repair(payload_type);
            let repair = payloads.iter().find(is_its_repair).map(|(repair, _)| *repair);
            let (format, inside) = match payload {
                Payload::Media(format) => (*format, None),
                Payload::Redundant(inside) => (Format::RED, Some(*inside)),
                Payload::Repair(_) => continue,
            };
            read.formats.push(SendFormat { format, payload_type, repair, inside });
        }
        self.payloads.extend(payloads);
        for line in section.values("extmap:") {
            self.extensions.read(line);
        }
        self.sections.push(read);
    }

    fn read_announced(&mut self, index: Section, section: &SectionLines<'_>) {
        let repairs: BTreeMap<u32, u32> = section
            .values("ssrc-group:FID ")
            .filter_map(|pair| {
                let (media, repair) = pair.trim().split_once(' ')?;
                Some((repair.trim().parse().ok()?, media.parse().ok()?))
            })
            .collect();
        for ssrc in section.values("ssrc:").filter_map(ssrc_of) {
            if self.announced.iter().any(|known| known.ssrc == ssrc) {
                continue;
            }
            let repairs = repairs.get(&ssrc).copied();
            self.announced.push(AnnouncedStream { section: index, ssrc, repairs });
        }
    }
}

impl Format {
    /// Needs no parameters to be told from others.
    pub(crate) const OPUS: Self = Self { codec: Codec::Opus, packetization_mode: 0, profile: 0 };

    /// Opus with redundancy, the same.
    pub(crate) const RED: Self = Self { codec: Codec::Red, packetization_mode: 0, profile: 0 };

    /// A test's format.
    #[cfg(test)]
    pub(crate) const VP8: Self = Self { codec: Codec::Vp8, packetization_mode: 0, profile: 0 };

    fn new(codec: Codec, parameters: &str) -> Self {
        let value = |name: &str| {
            let mut pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let number = |name| value(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (packetization_mode, profile) = match codec {
            Codec::H264 => {
                let level_id = value("profile-level-id").unwrap_or("420010");
                let profile = level_id.get(..4).and_then(|text| u16::from_str_radix(text, 16).ok());
                (
                    value("packetization-mode").and_then(|text| text.parse().ok()).unwrap_or(0),
                    profile.unwrap_or(0),
                )
            }
            Codec::Vp9 => (0, number("profile-id")),
            Codec::Av1 => (0, number("profile")),
            // Main, if nothing is said (RFC 7798 §7.1).
            Codec::H265 => (0, value("profile-id").and_then(|text| text.parse().ok()).unwrap_or(1)),
            Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma | Codec::Vp8 => (0, 0),
        };
        Self { codec, packetization_mode, profile }
    }
}

impl ExtensionIds {
    /// Takes in one `a=extmap` value, `ID[/direction] URI [parameters]` (RFC 8285 §8).
    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else { return };
        let Ok(id) = id.split('/').next().unwrap_or_default().parse::<u8>() else { return };
        if id == 0 {
            return;
        }
        let slot = match uri {
            "urn:ietf:params:rtp-hdrext:sdes:mid" => &mut self.mid,
            "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" => &mut self.rid,
            "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" => &mut self.repaired_rid,
            "urn:ietf:params:rtp-hdrext:ssrc-audio-level" => &mut self.audio_level,
            "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01" => {
                &mut self.transport_sequence
            }
            "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time" => {
                &mut self.absolute_send_time
            }
            "urn:3gpp:video-orientation" => &mut self.orientation,
            PLAYOUT_DELAY => &mut self.playout_delay,
            roomful_rtp::rtp::dependency::URI => &mut self.dependency_descriptor,
            _ => return,
        };
        *slot = Some(id);
    }
}

/// The attribute lines of one m-line, without `a=`.
struct SectionLines<'a> {
    media: &'a str,
    attributes: Vec<&'a str>,
}

fn sections(sdp: &str) -> impl Iterator<Item = SectionLines<'_>> {
    let mut sections: Vec<SectionLines<'_>> = Vec::new();
    for line in sdp.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            sections.push(SectionLines { media, attributes: Vec::new() });
        } else if let (Some(section), Some(attribute)) =
            (sections.last_mut(), line.strip_prefix("a="))
        {
            section.attributes.push(attribute);
        }
    }
    sections.into_iter()
}

impl<'a> SectionLines<'a> {
    fn values(&self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter_map(move |line| line.strip_prefix(prefix))
    }

    fn value(&self, prefix: &'a str) -> Option<&'a str> {
        self.values(prefix).next()
    }

    fn is_rejected(&self) -> bool {
        self.media.split(' ').nth(1) == Some("0")
    }

    /// What the payload types of the m-line stand for, in its order; unknown codecs, and redundancy of others than Opus,
    /// are left out.
    fn payloads(&self) -> Vec<(u8, Payload)> {
        let listed = self.media.split(' ').skip(3).filter_map(|word| word.parse::<u8>().ok());
        let mut payloads: Vec<(u8, Payload)> = listed
            .filter_map(|payload_type| Some((payload_type, self.payload(payload_type)?)))
            .collect();
        let opus = payloads.iter().filter(|(_, is)| *is == Payload::Media(Format::OPUS));
        let opus: Vec<u8> = opus.map(|(payload_type, _)| *payload_type).collect();
        payloads.retain(|(_, is)| !matches!(is, Payload::Redundant(of) if !opus.contains(of)));
        payloads
    }

    fn payload(&self, payload_type: u8) -> Option<Payload> {
        let about = |prefix| {
            self.values(prefix).find_map(|line| {
                let (number, rest) = line.split_once(' ')?;
                (number.parse() == Ok(payload_type)).then_some(rest)
            })
        };
        let parameters = about("fmtp:").unwrap_or_default();
        let name = match (about("rtpmap:"), payload_type) {
            (Some(mapping), _) => mapping.split('/').next()?,
            // They mean this without being named (RFC 3551 §6).
            (None, 0) => "PCMU",
            (None, 8) => "PCMA",
            (None, _) => return None,
        };
        if name.eq_ignore_ascii_case("rtx") {
            let of = parameters.split(';').find_map(|pair| pair.trim().strip_prefix("apt="))?;
            return Some(Payload::Repair(of.parse().ok()?));
        }
        match Codec::of_name(name)? {
            Codec::Red => same_throughout(parameters).map(Payload::Redundant),
            codec => Some(Payload::Media(Format::new(codec, parameters))),
        }
    }
}

/// The payload type of every block of redundant audio, `111/111` (RFC 2198 §5); `None` where they differ.
fn same_throughout(parameters: &str) -> Option<u8> {
    let mut blocks = parameters.trim().split('/').map(|one| one.parse::<u8>().ok());
    let first = blocks.next()??;
    blocks.all(|one| one == Some(first)).then_some(first)
}

fn ssrc_of(value: &str) -> Option<u32> {
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=sendonly\r\n\
        a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\na=ssrc:11 msid:a b\r\na=ssrc:12 cname:x\r\n";

    const ANSWER: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 125\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\n\
        a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
        a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\na=rtpmap:125 H264/90000\r\n\
        a=fmtp:125 packetization-mode=0;profile-level-id=42001f\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:3/recvonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=extmap:0 urn:3gpp:video-orientation\r\na=extmap:x\r\n";

    fn negotiated() -> Negotiated {
        Negotiated::read(OFFER, ANSWER)
    }

    fn h264(mode: u8, profile: u16) -> Format {
        Format { codec: Codec::H264, packetization_mode: mode, profile }
    }

    #[test]
    fn payload_types_are_read_with_what_repairs_them() {
        let negotiated = negotiated();
        assert_eq!(negotiated.payloads[&96], Payload::Media(Format::VP8));
        assert_eq!(negotiated.payloads[&103], Payload::Repair(102));
        let formats = &negotiated.sections[1].formats;
        assert_eq!(formats.len(), 3);
        assert_eq!((formats[0].payload_type, formats[0].repair), (96, Some(97)));
        assert_eq!(formats[2].repair, None);
    }

    #[test]
    fn h264_goes_under_its_own_packetization_mode_only() {
        let negotiated = negotiated();
        let section = Section::from_index(1);
        let chosen = |format| negotiated.send_format(section, format).map(|one| one.payload_type);
        assert_eq!(chosen(h264(1, 0x4200)), Some(102));
        assert_eq!(chosen(h264(0, 0x4d00)), Some(125), "another profile of the same mode");
        assert_eq!(chosen(h264(2, 0x4200)), None);
        assert_eq!(chosen(Format::OPUS), None);
    }

    #[test]
    fn redundant_audio_is_opus_to_whoever_does_not_take_it() {
        let section = Section::from_index(0);
        let read = |answer: &str| Negotiated::read("", answer);
        let opus = "m=audio 9 X 96 63\r\na=rtpmap:96 opus/48000/2\r\n";
        let both = format!("{opus}a=rtpmap:63 red/48000/2\r\na=fmtp:63 96/96\r\n");
        let takes = read(&both);
        assert_eq!(takes.payloads[&63], Payload::Redundant(96));
        let sent = takes.send_format(section, Format::RED).unwrap();
        assert_eq!((sent.payload_type, sent.inside), (63, Some(96)));
        assert_eq!(takes.send_format(section, Format::OPUS).unwrap().payload_type, 96);
        let plain = read(opus);
        let sent = plain.send_format(section, Format::RED).unwrap();
        assert_eq!((sent.format, sent.payload_type), (Format::OPUS, 96));
        assert!(plain.takes(section, Codec::Red) && !plain.takes(section, Codec::Pcmu));
        for wrong in ["96/0", "111/111", "96/", "", "apt=96"] {
            let read = read(&both.replace("96/96", wrong));
            assert!(!read.payloads.contains_key(&63), "{wrong}");
        }
    }

    #[test]
    fn sound_of_static_payload_types_needs_no_names() {
        let read = Negotiated::read("", "m=audio 9 X 8 0\r\na=mid:0\r\n");
        assert_eq!(read.codecs(Section::from_index(0)), [Codec::Pcma, Codec::Pcmu]);
    }

    #[test]
    fn a_rejected_section_agrees_on_nothing() {
        let read = Negotiated::read("", "m=video 0 X 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n");
        assert_eq!(read.sections.len(), 1);
        assert_eq!(read.codecs(Section::from_index(0)), []);
    }

    #[test]
    fn extensions_are_known_by_their_uris() {
        let extensions = negotiated().extensions;
        assert_eq!(extensions.mid, Some(4));
        assert_eq!(extensions.transport_sequence, Some(3));
        assert_eq!(extensions.orientation, None, "0 is no id");
    }

    #[test]
    fn announced_streams_are_known_with_what_they_repair() {
        let negotiated = negotiated();
        let section = Section::from_index(1);
        let announced = [
            AnnouncedStream { section, ssrc: 11, repairs: None },
            AnnouncedStream { section, ssrc: 12, repairs: Some(11) },
        ];
        assert_eq!(negotiated.announced, announced);
    }

    #[test]
    fn nonsense_agrees_on_nothing() {
        for text in ["", "m=\r\na=rtpmap:\r\na=ssrc:\r\na=ssrc-group:FID \r\na=fmtp:96", "a=mid:1"]
        {
            let read = Negotiated::read(text, text);
            assert!(read.payloads.is_empty() && read.announced.is_empty());
        }
    }
}
