//! What participants offer, and what they are answered; and what they answer to offers they are made.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Script, script};
use crate::codecs::{AllowedCodecs, Codec, EnabledCodecs};
use crate::egress::MediaKind;
use crate::route::Protocol;
use crate::testing::start_of_time;
use crate::transport::answer::StreamLabel;
use crate::transport::offering::SectionToOffer;
use crate::transport::{Beginning, Negotiated, SentAs, Transport, TransportFactory};

/// The part before the sections, and a data section.
pub(crate) const DATA_OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:\
    09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\na=setup:active\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\n";

const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendrecv\r\n\
    a=msid:- mic\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\na=rtcp-fb:111 transport-cc\r\n\
    a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=ssrc:100 cname:x\r\n";

const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sendonly\r\n\
    a=msid:- cam\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\n\
    a=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\n\
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
    a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;~f\r\n";

const RECEIVING: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:3\r\na=recvonly\r\na=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\n";

/// What a record does with the text offered before: nothing of it is left, it goes on, or the first few places of what
/// stands before the zero become what stands after it.
const ANEW: u8 = 0;
const MORE: u8 = 1;
const CHANGE: u8 = 2;

/// The text is not offered yet.
const NOT_YET: u8 = 0x80;

/// Offers made of one script, and records read of it, and bytes of a text: more finds nothing that fewer do not.
const MAX_OFFERS: usize = 4;
const MAX_RECORDS: usize = 24;
const MAX_TEXT: usize = 8 * 1024;

/// Places that one record changes.
const MAX_CHANGES: usize = 4;

/// Records that offer data and these sections.
fn bundle(sections: &[&'static str]) -> Vec<(u8, &'static str)> {
    let groups = ["BUNDLE 0\0BUNDLE 0", "BUNDLE 0\0BUNDLE 0 1", "BUNDLE 0\0BUNDLE 0 1 2"];
    let group = groups.get(sections.len()).unwrap_or(&"BUNDLE 0\0BUNDLE 0 1 2 3");
    let mut records = vec![(ANEW | NOT_YET, DATA_OFFER)];
    records.extend(sections.iter().map(|section| (MORE | NOT_YET, *section)));
    records.push((CHANGE, group));
    records
}

/// A script that offers one text after the other.
fn offers(texts: &[&[(u8, &str)]]) -> Vec<u8> {
    script(texts.concat())
}

/// Records after which the pictures' section is stopped, and that take its place for others (RFC 8829 §5.2.2).
const STOPPED: [(u8, &str); 3] = [
    (CHANGE | NOT_YET, "m=video 9\0m=video 0"),
    (CHANGE | NOT_YET, "a=sendonly\0a=inactive"),
    (CHANGE, "BUNDLE 0 1 2\0BUNDLE 0 1"),
];
const RECYCLED: [(u8, &str); 4] = [
    (CHANGE | NOT_YET, "m=video 0\0m=video 9"),
    (CHANGE | NOT_YET, "a=inactive\0a=sendonly"),
    (CHANGE | NOT_YET, "mid:2\0mid:5"),
    (CHANGE, "BUNDLE 0 1\0BUNDLE 0 1 5"),
];
/// Records that restart ICE.
const RESTARTED: [(u8, &str); 2] = [(CHANGE | NOT_YET, "o=- 1 2\0o=- 1 3"), (CHANGE, "abcd\0efgh")];

/// Scripts of offers, for [`offer_answer`].
pub fn offer_seeds() -> Vec<Vec<u8>> {
    let data = bundle(&[]);
    vec![
        offers(&[&data]),
        offers(&[&data, &RESTARTED]),
        offers(&[&data, &bundle(&[AUDIO])]),
        offers(&[&bundle(&[AUDIO, VIDEO]), &STOPPED, &RECYCLED]),
        offers(&[&bundle(&[AUDIO, VIDEO, RECEIVING]), &RESTARTED]),
    ]
}

/// Makes one offer after the other to one transport where everything is allowed, and to one where few codecs are. What is
/// accepted is answered in as many sections, each of them labelled or not, and everything in the texts is read; what is
/// not leaves the transport as it was. Then the same texts answer offers.
pub fn offer_answer(bytes: &[u8]) {
    offers_accepted(bytes, &AllowedCodecs::default());
    offers_accepted(bytes, &few_codecs());
    answers_accepted(bytes);
}

/// Some of what [`VIDEO`] offers, none of what [`RECEIVING`] does.
fn few_codecs() -> AllowedCodecs {
    let enabled = EnabledCodecs::new([Codec::H264, Codec::Opus, Codec::Red]);
    let allowed = AllowedCodecs { publishing: enabled.clone(), receiving: enabled };
    allowed.without_receiving(Codec::Red)
}

/// Offers data, sound and pictures, and takes each text for an answer, in which the sections 0, 1 and 2 are those. Returns
/// how many were accepted.
fn answers_accepted(bytes: &[u8]) -> usize {
    let now = start_of_time();
    let Some(mut transport) = made(now, TransportFactory::offering_transport) else { return 0 };
    let wanted = |kind| SectionToOffer { kind, stream: Some(label("0")) };
    let sections = [MediaKind::Audio, MediaKind::Video].map(wanted);
    let allowed = AllowedCodecs::default();
    let mut accepted = 0;
    for text in texts(bytes).take(MAX_OFFERS) {
        let Some(offer) = transport.make_offer(&sections, &allowed, accepted > 0) else {
            return accepted;
        };
        let mid = offer.lines().find_map(|line| line.strip_prefix("a=mid:")).unwrap_or_default();
        // The name of the data section comes last: it may begin as another does.
        let answer = text.replace("a=mid:1", "a=mid:r001").replace("a=mid:2", "a=mid:r002");
        let answer = answer.replace("a=mid:0", &format!("a=mid:{mid}"));
        let answer = answer.replace("BUNDLE 0", &format!("BUNDLE {mid}"));
        if transport.handle_answer(&answer).is_ok() {
            accepted += 1;
            let sections = &transport.negotiated().sections;
            assert_eq!(sections.len(), 3, "{answer}");
            assert!(sections[0].outgoing.is_none());
        }
        while transport.poll_output().is_some() {}
        transport.handle_timeout(now);
    }
    accepted
}

fn made(
    now: Instant,
    make: impl Fn(&TransportFactory, Beginning<'_>, Instant) -> Transport,
) -> Option<Transport> {
    thread_local! {
        static FACTORY: Option<TransportFactory> = TransportFactory::new();
    }
    let addresses = [(Protocol::Udp, ([127, 0, 0, 1], 7882).into())];
    let rng = fastrand::Rng::with_seed(1);
    let beginning = Beginning { addresses: &addresses, tells_playout_delay: true, rng };
    FACTORY.with(|factory| Some(make(factory.as_ref()?, beginning, now)))
}

/// The same with what is offered; returns how many offers were accepted.
fn offers_accepted(bytes: &[u8], allowed: &AllowedCodecs) -> usize {
    let now = start_of_time();
    let Some(mut transport) = made(now, TransportFactory::transport) else { return 0 };
    let mut accepted = 0;
    for offer in texts(bytes).take(MAX_OFFERS) {
        Negotiated::read(&offer, &offer);
        let Ok(sections) = transport.handle_offer(&offer, allowed) else { continue };
        accepted += 1;
        let labels: BTreeMap<_, _> = sections
            .iter()
            .filter(|section| section.receives)
            .map(|section| (section.section, label(&section.mid)))
            .collect();
        let sends = sections.iter().filter(|section| section.sends);
        let sent =
            sends.map(|section| (section.section, sent_as(section.section.index()))).collect();
        let answer = transport.answer(&labels, &sent);
        let answered = answer.lines().filter(|line| line.starts_with("m=")).count();
        assert_eq!(answered, sections.len(), "{answer}");
        while transport.poll_output().is_some() {}
        transport.handle_timeout(now);
    }
    accepted
}

/// A preference for each section.
fn sent_as(section: usize) -> SentAs {
    let codec = Some(Codec::ALL[section % Codec::ALL.len()]);
    SentAs {
        codec,
        alone: !section.is_multiple_of(2),
        stereo: section.is_multiple_of(3),
        silence: true,
    }
}

/// The texts that are offered.
fn texts(bytes: &[u8]) -> impl Iterator<Item = String> {
    let mut text = String::new();
    Script(bytes).take(MAX_RECORDS).filter_map(move |(kind, bytes)| {
        // Signalling carries no other text.
        let bytes = String::from_utf8_lossy(bytes);
        match (kind & 3, bytes.split_once('\0')) {
            (CHANGE, Some((former, new))) => text = text.replacen(former, new, MAX_CHANGES),
            (MORE, _) => text.push_str(&bytes),
            _ => text = bytes.into_owned(),
        }
        if text.len() > MAX_TEXT {
            text.clear();
        }
        (kind & NOT_YET == 0).then(|| text.clone())
    })
}

fn label(mid: &str) -> StreamLabel {
    let track = format!("TR_{}", mid.len());
    StreamLabel { stream: format!("PA_x|{track}"), track, cname: "PA_x".into(), stereo: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_accepted_and_fit_into_an_input() {
        for seed in offer_seeds() {
            let offered = texts(&seed).count();
            for allowed in [AllowedCodecs::default(), few_codecs()] {
                let accepted = offers_accepted(&seed, &allowed);
                assert_eq!(accepted, offered, "{}", seed.escape_ascii());
            }
            assert!(seed.len() <= 2_048, "{}", seed.len());
        }
    }

    #[test]
    fn answers_with_the_sections_of_the_offer_are_accepted_and_others_refused() {
        let both = bundle(&[AUDIO, VIDEO]);
        assert_eq!(answers_accepted(&offers(&[&both, &both, &RESTARTED])), 3);
        let (data, audio) = (bundle(&[]), bundle(&[AUDIO]));
        assert_eq!(answers_accepted(&offers(&[&data, &audio, &bundle(&[VIDEO, AUDIO])])), 0);
        assert_eq!(answers_accepted(&offers(&[&both, &bundle(&[AUDIO, VIDEO, RECEIVING])])), 1);
    }

    #[test]
    fn an_offer_whose_answer_would_have_other_sections_is_refused() {
        let (long, short) = (bundle(&[AUDIO, VIDEO]), bundle(&[AUDIO]));
        assert_eq!(offers_accepted(&offers(&[&long, &short, &long]), &AllowedCodecs::default()), 2);
        let strange = AUDIO.replace("m=audio", "m=smell");
        let group = (CHANGE | NOT_YET, "BUNDLE 0\0BUNDLE 0 1");
        let strange = [(ANEW | NOT_YET, DATA_OFFER), group, (MORE, &strange[..])];
        assert_eq!(offers_accepted(&offers(&[&strange]), &AllowedCodecs::default()), 0);
    }
}
