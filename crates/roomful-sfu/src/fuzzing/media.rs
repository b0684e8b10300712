//! Packets that are sealed rightly and say anything, from two participants who receive each other.

#![expect(clippy::panic, reason = "a panic is what a fuzz target has to say")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use roomful_rtp::rtcp::{FirEntry, RtcpWriter};
use roomful_rtp::rtp::{HeaderFields, RtpHeader, is_rtcp, write_header, write_padding};
use roomful_rtp::srtp::{DtlsRole, MasterKeys, Opener, Sealer, SrtpProfile};

use super::{Script, script};
use crate::egress::{Layer, MediaKind};
use crate::ids::ParticipantId;
use crate::media::{FeedKey, MediaPlane, SessionKey};
use crate::route::Route;
use crate::testing::start_of_time;
use crate::transmit::TransmitBuffer;
use crate::transport::{Negotiated, OutgoingSsrcs, Section};

/// What both negotiate: sound from section 0, pictures in three layers from section 1, the other's in 2 and 3.
const OFFER: &str = "m=audio 9 X 111 63\r\na=mid:0\r\na=ssrc:100 cname:x\r\n\
    m=video 9 X 96 97\r\na=mid:1\r\nm=video 9 X 96 97\r\na=mid:2\r\nm=audio 9 X 111\r\na=mid:3\r\n";
const ANSWER: &str = "m=audio 9 X 111 63\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
    a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
    a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\na=extmap:13 urn:3gpp:video-orientation\r\n\
    m=video 9 X 96 97\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    m=video 9 X 96 97\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    m=audio 9 X 111\r\na=mid:3\r\na=rtpmap:111 opus/48000/2\r\n";

const SOUND: OutgoingSsrcs = OutgoingSsrcs { media: 9, repair: None };
const PICTURES: OutgoingSsrcs = OutgoingSsrcs { media: 7, repair: Some(8) };

/// Bits of a record's kind. Bob sends it; time passes after it, 40 ms for each of the upper four bits' value; or Bob
/// wants the layer of that value from then on.
const FROM_BOB: u8 = 1;
const WAIT: u8 = 2;
const WANT: u8 = 4;

/// Records read of one script.
const MAX_RECORDS: usize = 40;

/// Scripts of packets, for [`media_packets`].
pub fn media_seeds() -> Vec<Vec<u8>> {
    let later = 3 << 4 | WAIT;
    // Two earlier frames of three bytes and its own (RFC 2198).
    let blocks: &[u8] = b"\xef\0\x78\x03\xef\0\x3c\x03\x6fabcdefown";
    let redundant = |sequence| (0, packet(63, 100, sequence, &[(1, &[0x94])], blocks, 0));
    let sound = |sequence| (0, packet(111, 100, sequence, &[(1, &[0x94])], b"sound", 0));
    let picture = |rid: &'static [u8], sequence, payload: &[u8], padding| {
        let ssrc = 200 + u32::from(rid[0]);
        let elements: [(u8, &[u8]); 4] = [(4, b"1"), (10, rid), (3, &[0, 9]), (13, &[1])];
        (0, packet(96, ssrc, sequence, &elements, payload, padding))
    };
    let key: &[u8] = &[0x90, 0xe0, 0x81, 0x02, 3, 0x20, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 0];
    let delta: &[u8] = &[0x90, 0xe0, 0x81, 0x03, 4, 0x20, 1, 0, 0, 7, 7, 7];
    let again = packet(97, 500, 1, &[(4, b"1"), (11, b"q")], &[&[0, 12], delta].concat(), 0);
    let call = |more: Vec<(u8, Vec<u8>)>| {
        let begin = [sound(1), picture(b"q", 10, key, 0), picture(b"q", 11, delta, 0)];
        script(begin.into_iter().chain(more))
    };
    let from_bob = |report: Vec<u8>| (FROM_BOB | later, report);
    vec![
        call(vec![redundant(2), redundant(5), redundant(4), sound(3), redundant(9)]),
        call(vec![sound(2), sound(2), picture(b"q", 13, delta, 0), (later, again)]),
        call(vec![picture(b"h", 900, key, 0), (2 << 4 | WANT, vec![]), picture(b"f", 5, key, 20)]),
        call(vec![
            picture(b"q", 12, b"", 200),
            picture(b"q", 13, &[0x80], 0),
            picture(b"q", 14, &[], 0),
        ]),
        call(vec![from_bob(report(|to| to.nack(Ssrc(1), Ssrc(7), [40, 41, 42, 60])))]),
        call(vec![from_bob(report(|to| to.pli(Ssrc(1), Ssrc(7)))), from_bob(report(fir))]),
        call(vec![from_bob(report(|to| to.sdes(Ssrc(1), b"bob") && to.bye([Ssrc(1), Ssrc(7)])))]),
        call(vec![
            (0xf0 | WAIT, sender_report()),
            from_bob(receiver_report()),
            from_bob(feedback()),
        ]),
    ]
}

fn fir(to: &mut RtcpWriter<'_>) -> bool {
    to.fir(Ssrc(1), [FirEntry { media: Ssrc(7), request: 3 }])
}

fn report(write: impl FnOnce(&mut RtcpWriter<'_>) -> bool) -> Vec<u8> {
    let mut out = vec![0; 300];
    let mut writer = RtcpWriter::new(&mut out);
    assert!(write(&mut writer), "a seed fits");
    let length = writer.len();
    out.truncate(length);
    out
}

/// RFC 3550 §6.4.1, of the first layer.
fn sender_report() -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6];
    report.extend((200 + u32::from(b'q')).to_be_bytes());
    report.extend([0xe5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7d, 0, 0, 0, 0, 3, 0, 0, 0, 90]);
    report
}

/// RFC 3550 §6.4.2, of the pictures Bob receives.
fn receiver_report() -> Vec<u8> {
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 7];
    report.extend([64, 0, 0, 1, 0, 0, 0, 42, 0, 0, 0, 9, 0, 0, 0x12, 0x34, 0, 0, 1, 0]);
    report
}

/// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1: three packets arrived from number 0 on.
fn feedback() -> Vec<u8> {
    let mut report = vec![0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
    report.extend([0, 0, 0, 3, 0, 0, 1, 0, 0x20, 3, 4, 4, 4, 0, 0, 0]);
    report[3] = (report.len() / 4 - 1) as u8;
    report
}

fn packet(
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    elements: &[(u8, &[u8])],
    payload: &[u8],
    padding: u8,
) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 3_000;
    let fields = HeaderFields { marker: true, payload_type, sequence, timestamp, ssrc: Ssrc(ssrc) };
    let mut out = vec![0; 600];
    let header = write_header(&mut out, &fields, elements.iter().copied()).unwrap_or_default();
    out[header..][..payload.len()].copy_from_slice(payload);
    let length = header + payload.len();
    let length = write_padding(&mut out, length, padding).unwrap_or(length);
    out.truncate(length);
    out
}

/// Plays a script. Whatever its packets say, what is sent on can be opened and read by whom it is for.
pub fn media_packets(bytes: &[u8]) {
    received(bytes);
}

/// The same; returns how many packets of media Bob received.
fn received(bytes: &[u8]) -> usize {
    let mut stage = Stage::new();
    for (kind, plain) in Script(bytes).take(MAX_RECORDS) {
        stage.send(usize::from(kind & FROM_BOB), plain);
        let value = usize::from(kind >> 4);
        if kind & WANT != 0 {
            let wanted = Layer::ALL.get(value).copied().map(Into::into);
            stage.plane.set_wanted(stage.pictures, wanted, stage.now);
        }
        if kind & WAIT != 0 {
            stage.now += Duration::from_millis(40) * value as u32;
            stage.plane.handle_timeout(stage.now);
        }
        stage.drain();
    }
    stage.received
}

struct Stage {
    plane: MediaPlane,
    now: Instant,
    buffer: TransmitBuffer,
    /// Ann and Bob.
    ends: [End; 2],
    /// Ann's pictures, to Bob.
    pictures: FeedKey,
    received: usize,
}

/// A participant, as it sees the server.
struct End {
    session: SessionKey,
    address: SocketAddr,
    sealer: Sealer,
    opener: Opener,
}

impl Stage {
    fn new() -> Self {
        let now = start_of_time();
        let mut plane = MediaPlane::new();
        let ends = [join(&mut plane, 1, now), join(&mut plane, 2, now)];
        let [ann, bob] = [ends[0].session, ends[1].session];
        let mut pictures = None;
        for (from, to) in [(bob, ann), (ann, bob)] {
            let sound = plane.add_track(from, MediaKind::Audio, Section::from_index(0));
            let camera = plane.add_track(from, MediaKind::Video, Section::from_index(1));
            let heard = plane.add_feed(sound, to, Section::from_index(3), SOUND, 40, now);
            pictures = plane.add_feed(camera, to, Section::from_index(2), PICTURES, 40, now);
            for feed in [heard, pictures].into_iter().flatten() {
                plane.set_wanted(feed, Some(Layer::LOW.into()), now);
            }
        }
        let Some(pictures) = pictures else { unreachable!("both tracks are there") };
        Self { plane, now, buffer: TransmitBuffer::new(), ends, pictures, received: 0 }
    }

    /// Seals a packet that says `plain`, and handles it.
    fn send(&mut self, from: usize, plain: &[u8]) {
        let End { session, sealer, .. } = &mut self.ends[from];
        let mut sealed = plain.to_vec();
        sealed.resize(plain.len() + 64, 0);
        let length = match RtpHeader::parse(plain) {
            _ if is_rtcp(plain) => sealer.seal_rtcp(&mut sealed, plain.len()),
            Ok(header) => {
                let index = u64::from(header.sequence);
                sealer.seal_rtp(&mut sealed, header.header_len(), plain.len(), index)
            }
            Err(_) => return,
        };
        let Ok(length) = length else { return };
        sealed.truncate(length);
        self.plane.handle_datagram(*session, &mut sealed, self.now);
    }

    fn drain(&mut self) {
        loop {
            let done = self.plane.poll_transmits(self.now, &mut self.buffer);
            let Self { buffer, ends, received, .. } = self;
            for (route, datagram) in buffer.iter() {
                let to = usize::from(route.remote == ends[1].address);
                let is_media = ends[to].open(datagram);
                *received += usize::from(is_media && to == 1);
            }
            self.buffer.clear();
            if done {
                return;
            }
        }
    }
}

impl End {
    /// Opens what was sent to it; says whether it is media.
    fn open(&mut self, datagram: &[u8]) -> bool {
        let mut datagram = datagram.to_vec();
        if is_rtcp(&datagram) {
            assert!(self.opener.open_rtcp(&mut datagram).is_ok(), "sealed for this participant");
            return false;
        }
        let opened = self.opener.open_rtp(&mut datagram);
        let Ok(opened) = opened else { panic!("sealed for this participant: {opened:?}") };
        let plain = &datagram[..opened.plain_len];
        assert!(opened.header.payload(plain).is_ok(), "padded as it says");
        let known = [Some(SOUND.media), Some(PICTURES.media), PICTURES.repair];
        assert!(known.contains(&Some(opened.header.ssrc.0)), "a stream that was announced");
        true
    }
}

fn join(plane: &mut MediaPlane, number: u8, now: Instant) -> End {
    let profile = SrtpProfile::AeadAes128Gcm;
    let material = vec![number; profile.exported_len()];
    let keys = |role| MasterKeys::from_exported(profile, &material, role);
    let (Ok(own), Ok(servers)) = (keys(DtlsRole::Client), keys(DtlsRole::Server)) else {
        unreachable!("the material has the profile's length")
    };
    let (Ok(opener), Ok(sealer)) = (Opener::new(&own.open), Sealer::new(&own.seal)) else {
        unreachable!("the keys are of the profile")
    };
    let session = plane.add_session(ParticipantId(number.into()), "PA_x", now);
    let address = SocketAddr::from(([127, 0, 0, number], 1_000));
    plane.set_keys(session, &servers, now);
    plane.set_path(session, Some(Route::udp(([127, 0, 0, 1], 7882).into(), address)));
    let mut negotiated = Negotiated::read(OFFER, ANSWER);
    negotiated.sections[1].rids = ["q", "h", "f"].map(String::from).to_vec();
    plane.handle_negotiated(session, Arc::new(negotiated), |_| true);
    End { session, address, sealer, opener }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_seeds_send_is_received() {
        let received: Vec<usize> = media_seeds().iter().map(|seed| received(seed)).collect();
        assert!(received.iter().all(|count| *count >= 3), "{received:?}");
        assert!(
            received[0] >= 3 + 7 && received[1] >= 5 && received[4] >= 5,
            "recovered, or again where it was asked for: {received:?}"
        );
    }
}
