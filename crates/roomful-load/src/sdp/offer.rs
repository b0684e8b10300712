//! Writing an offer.

use std::fmt::Write as _;

use roomful_rtp::Ssrc;

use super::{Kind, OPUS, VideoCodec, extension};
use crate::ice::Credentials;

/// One m-line, in the order of the offer.
#[derive(Debug, Clone)]
pub(crate) enum Section {
    Send(SendTrack),
    Receive(Kind),
    /// For sound, used in neither direction: what an offer needs so that there is a transport.
    Inactive,
}

/// A track this participant sends.
#[derive(Debug, Clone)]
pub(crate) struct SendTrack {
    /// The name it was announced under.
    pub(crate) cid: String,
    pub(crate) kind: Kind,
    /// One layer without a name, or three with.
    pub(crate) layers: Vec<SimulcastLayer>,
}

/// One encoding of a track.
#[derive(Debug, Clone)]
pub(crate) struct SimulcastLayer {
    /// Its rid (RFC 8851); none where there is only one layer.
    pub(crate) rid: Option<&'static str>,
    pub(crate) ssrc: Ssrc,
    /// Retransmissions go out under this.
    pub(crate) repair: Option<Ssrc>,
}

/// The text of an offer. `version` counts the offers of a participant; `codec` comes first in every
/// video section.
pub(crate) fn write_offer(
    local: &Credentials,
    fingerprint: &str,
    sections: &[Section],
    codec: VideoCodec,
    version: u32,
) -> String {
    let mut text = String::with_capacity(512 + 1024 * sections.len());
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    line(&mut text, "v=0");
    line(&mut text, format_args!("o=- 4611731400430051336 {version} IN IP4 127.0.0.1"));
    line(&mut text, "s=-");
    line(&mut text, "t=0 0");
    line(&mut text, format_args!("a=group:BUNDLE {}", mids.join(" ")));
    line(&mut text, "a=extmap-allow-mixed");
    line(&mut text, "a=msid-semantic: WMS");
    for (mid, section) in sections.iter().enumerate() {
        write_section(&mut text, local, fingerprint, mid, section, codec);
    }
    text
}

fn write_section(
    text: &mut String,
    local: &Credentials,
    fingerprint: &str,
    mid: usize,
    section: &Section,
    codec: VideoCodec,
) {
    let kind = match section {
        Section::Send(track) => track.kind,
        Section::Receive(kind) => *kind,
        Section::Inactive => Kind::Audio,
    };
    let direction = match section {
        Section::Send(_) => "a=sendonly",
        Section::Receive(_) => "a=recvonly",
        Section::Inactive => "a=inactive",
    };
    match kind {
        Kind::Audio => line(text, format_args!("m=audio 9 UDP/TLS/RTP/SAVPF {OPUS}")),
        Kind::Video => {
            let numbers: Vec<String> = codecs(codec)
                .flat_map(|codec| [codec.payload_type(), codec.repair_payload_type()])
                .map(|number| number.to_string())
                .collect();
            line(text, format_args!("m=video 9 UDP/TLS/RTP/SAVPF {}", numbers.join(" ")));
        }
    }
    line(text, "c=IN IP4 0.0.0.0");
    line(text, "a=rtcp:9 IN IP4 0.0.0.0");
    line(text, format_args!("a=ice-ufrag:{}", local.ufrag));
    line(text, format_args!("a=ice-pwd:{}", local.password));
    line(text, "a=ice-options:trickle");
    line(text, format_args!("a=fingerprint:sha-256 {fingerprint}"));
    line(text, "a=setup:actpass");
    line(text, format_args!("a=mid:{mid}"));
    write_extensions(text, kind);
    line(text, direction);
    if let Section::Send(track) = section {
        line(text, format_args!("a=msid:stream-{} {}", track.cid, track.cid));
    }
    line(text, "a=rtcp-mux");
    line(text, "a=rtcp-rsize");
    match kind {
        Kind::Audio => write_opus(text),
        Kind::Video => codecs(codec).for_each(|codec| write_codec(text, codec)),
    }
    if let Section::Send(track) = section {
        write_streams(text, track);
    }
}

fn write_extensions(text: &mut String, kind: Kind) {
    use extension::{ABS_SEND_TIME, AUDIO_LEVEL, MID, REPAIRED_RID, RID};
    use extension::{TRANSPORT_SEQUENCE, TRANSPORT_SEQUENCE_URI};
    let webrtc = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
    if kind == Kind::Audio {
        let level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
        line(text, format_args!("a=extmap:{AUDIO_LEVEL} {level}"));
    }
    line(text, format_args!("a=extmap:{ABS_SEND_TIME} {webrtc}"));
    line(text, format_args!("a=extmap:{TRANSPORT_SEQUENCE} {TRANSPORT_SEQUENCE_URI}"));
    line(text, format_args!("a=extmap:{MID} urn:ietf:params:rtp-hdrext:sdes:mid"));
    if kind == Kind::Video {
        let sdes = "urn:ietf:params:rtp-hdrext:sdes";
        line(text, format_args!("a=extmap:{RID} {sdes}:rtp-stream-id"));
        line(text, format_args!("a=extmap:{REPAIRED_RID} {sdes}:repaired-rtp-stream-id"));
    }
}

fn write_opus(text: &mut String) {
    line(text, format_args!("a=rtpmap:{OPUS} opus/48000/2"));
    line(text, format_args!("a=rtcp-fb:{OPUS} transport-cc"));
    line(text, format_args!("a=fmtp:{OPUS} minptime=10;useinbandfec=1"));
}

fn write_codec(text: &mut String, codec: VideoCodec) {
    let (number, repair) = (codec.payload_type(), codec.repair_payload_type());
    line(text, format_args!("a=rtpmap:{number} {}/90000", codec.name()));
    for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
        line(text, format_args!("a=rtcp-fb:{number} {feedback}"));
    }
    if let Some(parameters) = codec.parameters() {
        line(text, format_args!("a=fmtp:{number} {parameters}"));
    }
    line(text, format_args!("a=rtpmap:{repair} rtx/90000"));
    line(text, format_args!("a=fmtp:{repair} apt={number}"));
}

fn write_streams(text: &mut String, track: &SendTrack) {
    if let [SimulcastLayer { rid: None, ssrc, repair }] = track.layers.as_slice() {
        if let Some(repair) = repair {
            line(text, format_args!("a=ssrc-group:FID {} {}", ssrc.0, repair.0));
        }
        for ssrc in [Some(ssrc), repair.as_ref()].into_iter().flatten() {
            line(text, format_args!("a=ssrc:{} cname:load", ssrc.0));
            line(text, format_args!("a=ssrc:{} msid:stream-{} {}", ssrc.0, track.cid, track.cid));
        }
        return;
    }
    let rids: Vec<&str> = track.layers.iter().filter_map(|layer| layer.rid).collect();
    for rid in &rids {
        line(text, format_args!("a=rid:{rid} send"));
    }
    line(text, format_args!("a=simulcast:send {}", rids.join(";")));
}

/// All of them, `first` at the front.
fn codecs(first: VideoCodec) -> impl Iterator<Item = VideoCodec> {
    let others = VideoCodec::ALL.into_iter().filter(move |codec| *codec != first);
    std::iter::once(first).chain(others)
}

fn line(text: &mut String, content: impl std::fmt::Display) {
    // Writing into a string cannot fail.
    let _always_ok = write!(text, "{content}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulcast_track_announces_its_rids_and_no_ssrc() {
        let layer = |rid, ssrc| SimulcastLayer { rid: Some(rid), ssrc: Ssrc(ssrc), repair: None };
        let text = offer(vec![layer("q", 1), layer("h", 2), layer("f", 3)]);
        assert!(text.contains("a=simulcast:send q;h;f\r\n"));
        assert!(text.contains("a=rid:h send\r\n"));
        assert!(!text.contains("a=ssrc"));
    }

    #[test]
    fn a_single_layer_announces_its_ssrcs_and_no_rid() {
        let repair = Some(Ssrc(2));
        let text = offer(vec![SimulcastLayer { rid: None, ssrc: Ssrc(1), repair }]);
        assert!(text.contains("a=ssrc-group:FID 1 2\r\n"));
        assert!(text.contains("a=ssrc:2 cname:load\r\n"));
        assert!(!text.contains("a=rid") && !text.contains("a=simulcast"));
    }

    #[test]
    fn sections_are_bundled_and_the_wanted_codec_comes_first() {
        let text = offer(Vec::new());
        assert!(text.contains("a=group:BUNDLE 0 1\r\n"));
        assert!(text.contains("m=video 9 UDP/TLS/RTP/SAVPF 102 103 96 97 45 46\r\n"));
        assert_eq!(text.matches("a=recvonly").count(), 1);
        assert_eq!(text.matches("a=sendonly").count(), 1);
    }

    fn offer(layers: Vec<SimulcastLayer>) -> String {
        let local = Credentials { ufrag: "u".into(), password: "p".into() };
        let track = SendTrack { cid: "camera".into(), kind: Kind::Video, layers };
        let sections = [Section::Send(track), Section::Receive(Kind::Audio)];
        write_offer(&local, "AA", &sections, VideoCodec::H264, 1)
    }
}
