//! Claims about the media plane, with participants who hold the other ends of its keys.

mod described;

use std::net::SocketAddr;
use std::time::Duration;

use roomful_rtp::Ssrc;
use roomful_rtp::rtcp::{ReportBlock, Rtcp, RtcpWriter, SenderInfo, packets};
use roomful_rtp::rtp::{HeaderFields, RtpHeader, write_header};
use roomful_rtp::srtp::{DtlsRole, MasterKeys, Opener, Sealer, SrtpProfile};
use roomful_rtp::units::{NtpShort, NtpTime};

use super::*;
use crate::testing::start_of_time;
use crate::transmit::TransmitBuffer;

/// What every participant negotiates: it sends sound in section 0 and pictures in section 1, and receives
/// pictures in section 2 and sound in section 3.
const OFFER: &str = "m=audio 9 X 111\r\na=mid:0\r\na=ssrc:100 cname:x\r\n\
    m=video 9 X 96 97 98 99\r\na=mid:1\r\na=ssrc-group:FID 200 201\r\na=ssrc:200 cname:x\r\na=ssrc:201 cname:x\r\n\
    m=video 9 X 96 97 98 99\r\na=mid:2\r\nm=audio 9 X 111\r\na=mid:3\r\n";
const ANSWER: &str = "m=audio 9 X 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=extmap:12 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n\
    m=video 9 X 96 97 98 99\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:98 AV1/90000\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n\
    m=video 9 X 96 97 98 99\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:98 AV1/90000\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n\
    a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:y\r\n\
    m=audio 9 X 111\r\na=mid:3\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:9 cname:y\r\n";

const SOUND: (u8, u32) = (111, 100);
const REDUNDANT: (u8, u32) = (63, 100);
const PICTURES: (u8, u32) = (96, 200);

/// A VP8 keyframe's first packet, and one that goes on (RFC 7741 §4.2, RFC 6386 §9.1).
const KEYFRAME: [u8; 12] = [0x90, 0x80, 0x00, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 0, 0, 0];
const DELTA: [u8; 12] = [0x90, 0x80, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, 0];

struct Stage {
    plane: MediaPlane,
    now: Instant,
    buffer: TransmitBuffer,
}

/// The far end of a session.
struct Client {
    key: SessionKey,
    address: SocketAddr,
    sealer: Sealer,
    opener: Opener,
    tracks: [TrackKey; 2],
    sequence: [u16; 2],
}

/// A packet as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    payload: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        let now = start_of_time();
        Self { plane: MediaPlane::new(), now, buffer: TransmitBuffer::new() }
    }

    fn join(&mut self, number: u16) -> Client {
        self.join_with(number, ANSWER)
    }

    /// One who takes redundant audio, and calls it and the sound inside so.
    fn join_with_redundancy(&mut self, number: u16, red: u8, opus: u8) -> Client {
        let rtpmap = "a=rtpmap:111 opus/48000/2\r\n";
        let both = format!(
            "a=rtpmap:{opus} opus/48000/2\r\na=rtpmap:{red} red/48000/2\r\na=fmtp:{red} {opus}/{opus}\r\n"
        );
        let answer = ANSWER.replace("m=audio 9 X 111", &format!("m=audio 9 X {red} {opus}"));
        self.join_with(number, &answer.replace(rtpmap, &both))
    }

    fn join_with(&mut self, number: u16, answer: &str) -> Client {
        let profile = SrtpProfile::AeadAes128Gcm;
        let material = vec![(number % 251) as u8 + 1; profile.exported_len()];
        let own = MasterKeys::from_exported(profile, &material, DtlsRole::Client).unwrap();
        let servers = MasterKeys::from_exported(profile, &material, DtlsRole::Server).unwrap();
        let (opener, sealer) = (Opener::new(&own.open).unwrap(), Sealer::new(&own.seal).unwrap());
        let key = self.plane.add_session(ParticipantId(u64::from(number)), "PA_x", self.now);
        let address = SocketAddr::from(([127, 0, 0, 1], 1_000 + number));
        let source = SocketAddr::from(([127, 0, 0, 1], 7_882));
        self.plane.set_keys(key, &servers, self.now);
        self.plane.set_path(key, Some(Route::udp(source, address)));
        self.plane.handle_negotiated(key, Arc::new(Negotiated::read(OFFER, answer)), |_| true);
        let tracks = [
            self.plane.add_track(key, MediaKind::Audio, Section::from_index(0)),
            self.plane.add_track(key, MediaKind::Video, Section::from_index(1)),
        ];
        Client { key, address, sealer, opener, tracks, sequence: [5, 5] }
    }

    fn subscribe(&mut self, to: &Client, from: &Client) -> [FeedKey; 2] {
        let ways = [
            (3, OutgoingSsrcs { media: 9, repair: None }, 0),
            (2, OutgoingSsrcs { media: 7, repair: Some(8) }, 1),
        ];
        let mut feeds = ways.map(|(section, ssrcs, track)| {
            let section = Section::from_index(section);
            let feed = self
                .plane
                .add_feed(from.tracks[track], to.key, section, ssrcs, 40, self.now)
                .unwrap();
            self.plane.set_wanted(feed, Some(Layer::LOW.into()), self.now);
            feed
        });
        feeds.sort();
        feeds
    }

    fn send(
        &mut self,
        client: &mut Client,
        (payload_type, ssrc): (u8, u32),
        payload: &[u8],
    ) -> Option<Heard> {
        let mut datagram = client.packet((payload_type, ssrc), payload);
        self.plane.handle_datagram(client.key, &mut datagram, self.now)
    }

    /// Everything that waits, by who gets it.
    fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        loop {
            let done = self.plane.poll_transmits(self.now, &mut self.buffer);
            sent.extend(
                self.buffer.iter().map(|(route, payload)| (route.remote, payload.to_vec())),
            );
            self.buffer.clear();
            if done {
                return sent;
            }
        }
    }

    fn later(&mut self, wait: Duration) {
        self.now += wait;
        self.plane.handle_timeout(self.now);
    }
}

impl Client {
    fn packet(&mut self, (payload_type, ssrc): (u8, u32), payload: &[u8]) -> Vec<u8> {
        let kind = usize::from(payload_type == PICTURES.0);
        let sequence = self.sequence[kind];
        self.sequence[kind] += 1;
        let mut datagram = vec![0; payload.len() + 64];
        let timestamp = u32::from(sequence) * 3_000;
        let fields =
            HeaderFields { marker: true, payload_type, sequence, timestamp, ssrc: Ssrc(ssrc) };
        let wide = sequence.to_be_bytes();
        let elements: [(u8, &[u8]); 2] = [(1, &[0x80 | 20]), (3, &wide)];
        let header = write_header(&mut datagram, &fields, elements.into_iter()).unwrap();
        datagram[header..header + payload.len()].copy_from_slice(payload);
        let plain = header + payload.len();
        let length =
            self.sealer.seal_rtp(&mut datagram, header, plain, u64::from(sequence)).unwrap();
        datagram.truncate(length);
        datagram
    }

    /// RTP among `sent` that is for this client.
    fn read(&mut self, sent: &[(SocketAddr, Vec<u8>)]) -> Vec<Read> {
        let own = sent.iter().filter(|(to, datagram)| *to == self.address && !is_rtcp(datagram));
        own.map(|(_, datagram)| {
            let mut datagram = datagram.clone();
            let opened = self.opener.open_rtp(&mut datagram).expect("sealed for this client");
            let RtpHeader { payload_type, ssrc, sequence, .. } = opened.header;
            let payload = opened.header.payload(&datagram[..opened.plain_len]).unwrap().to_vec();
            Read { payload_type, ssrc: ssrc.0, sequence, payload }
        })
        .collect()
    }

    /// RTCP among `sent` that is for this client, decrypted.
    fn read_rtcp(&mut self, sent: &[(SocketAddr, Vec<u8>)]) -> Vec<Vec<u8>> {
        let own = sent.iter().filter(|(to, datagram)| *to == self.address && is_rtcp(datagram));
        own.map(|(_, datagram)| {
            let mut datagram = datagram.clone();
            let length = self.opener.open_rtcp(&mut datagram).expect("sealed for this client");
            datagram.truncate(length);
            datagram
        })
        .collect()
    }

    fn rtcp(&mut self, fill: impl FnOnce(&mut RtcpWriter<'_>)) -> Vec<u8> {
        let mut buffer = vec![0; 600];
        let mut writer = RtcpWriter::new(&mut buffer[..500]);
        fill(&mut writer);
        let plain = writer.len();
        let length = self.sealer.seal_rtcp(&mut buffer, plain).unwrap();
        buffer.truncate(length);
        buffer
    }
}

#[test]
fn whoever_knows_nothing_of_trailers_gets_pictures_without_them_also_when_they_are_repeated() {
    let mut stage = Stage::new();
    let (mut ann, mut bob, mut eve) = (stage.join(1), stage.join(2), stage.join(3));
    stage.subscribe(&eve, &ann);
    for feed in stage.subscribe(&bob, &ann) {
        stage.plane.strip_trailers(feed);
    }
    let trailed = [&KEYFRAME[..], &[7, 8, 9, !8], b"LKTS"].concat();
    stage.send(&mut ann, PICTURES, &trailed);
    let sent = stage.drain();
    let at_bobs = bob.read(&sent);
    assert_eq!(payloads(&at_bobs)[0][4..], KEYFRAME[4..]);
    assert_eq!(payloads(&eve.read(&sent))[0][4..], trailed[4..]);
    stage.later(Duration::from_millis(30));
    let lost = at_bobs[0].sequence;
    let mut nack = bob.rtcp(|writer| assert!(writer.nack(Ssrc(1), Ssrc(7), [lost])));
    stage.plane.handle_datagram(bob.key, &mut nack, stage.now);
    let repeated = bob.read(&stage.drain());
    assert_eq!(payloads(&repeated)[0][2 + 4..], KEYFRAME[4..]);
}

fn payloads(read: &[Read]) -> Vec<&[u8]> {
    read.iter().map(|one| &one.payload[..]).collect()
}

#[test]
fn what_one_sends_every_subscriber_gets_under_its_own_names() {
    let mut stage = Stage::new();
    let (mut ann, mut bob, mut eve) = (stage.join(1), stage.join(2), stage.join(3));
    stage.subscribe(&bob, &ann);
    stage.subscribe(&eve, &ann);
    let heard = stage.send(&mut ann, SOUND, b"hello").unwrap();
    assert_eq!(heard.level, AudioLevel(20));
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    let sent = stage.drain();
    for client in [&mut bob, &mut eve] {
        let read = client.read(&sent);
        assert_eq!(payloads(&read), [&b"hello"[..], &KEYFRAME]);
        assert_eq!((read[0].payload_type, read[0].ssrc, read[0].sequence), (111, 9, 40));
        assert_eq!((read[1].payload_type, read[1].ssrc), (96, 7));
    }
    assert!(ann.read(&sent).is_empty(), "nobody hears itself");
}

#[test]
fn packets_name_their_section_until_the_subscriber_reports_on_them() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    let mut name = |stage: &mut Stage, bob: &mut Client| {
        stage.send(&mut ann, SOUND, b"hello");
        let sent = stage.drain();
        let (_, datagram) = sent.iter().find(|(to, _)| *to == bob.address).unwrap();
        let mut datagram = datagram.clone();
        let opened = bob.opener.open_rtp(&mut datagram).unwrap();
        let mut extensions = opened.header.extensions(&datagram);
        extensions.find(|(id, _)| *id == 4).map(|(_, value)| value.to_vec())
    };
    assert_eq!(name(&mut stage, &mut bob), Some(b"3".to_vec()));
    assert_eq!(name(&mut stage, &mut bob), Some(b"3".to_vec()));
    let never = NtpShort(0);
    let block = ReportBlock {
        ssrc: Ssrc(9),
        fraction_lost: 0,
        cumulative_lost: 0,
        highest_seq: 41,
        jitter: 0,
        last_sender_report: never,
        delay_since_last_sender_report: never,
    };
    let mut report = bob.rtcp(|writer| assert!(writer.receiver_report(Ssrc(1), [block])));
    stage.plane.handle_datagram(bob.key, &mut report, stage.now);
    assert_eq!(name(&mut stage, &mut bob), None);
}

#[test]
fn a_packet_that_comes_twice_or_was_changed_is_forwarded_once_or_never() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    let datagram = ann.packet(SOUND, b"once");
    for _ in 0..3 {
        stage.plane.handle_datagram(ann.key, &mut datagram.clone(), stage.now);
    }
    let mut changed = ann.packet(SOUND, b"never");
    changed[20] ^= 1;
    stage.plane.handle_datagram(ann.key, &mut changed, stage.now);
    let sent = stage.drain();
    assert_eq!(payloads(&bob.read(&sent)), [b"once"]);
    let drops = stage.plane.drops();
    assert_eq!((drops.replayed, drops.unauthentic), (2, 1));
}

#[test]
fn a_lost_packet_is_sent_again_as_a_retransmission_of_the_same_content() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    stage.send(&mut ann, PICTURES, &DELTA);
    let sent = stage.drain();
    let lost = bob.read(&sent)[1].clone();
    let mut nack =
        bob.rtcp(|writer| assert!(writer.nack(Ssrc(1), Ssrc(7), [lost.sequence, 9_999])));
    stage.plane.handle_datagram(bob.key, &mut nack, stage.now);
    let sent = stage.drain();
    let again = bob.read(&sent);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].payload_type, again[0].ssrc), (97, 8));
    assert_eq!(again[0].payload[..2], lost.sequence.to_be_bytes(), "RFC 4588 §4: its first number");
    assert_eq!(again[0].payload[2..], DELTA);
}

#[test]
fn who_asks_for_everything_again_and_again_draws_at_most_twice_the_bitrate() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    let (mut forwarded, mut repeated) = (0, 0);
    for _ in 0..500 {
        stage.send(&mut ann, PICTURES, &DELTA);
        let read = bob.read(&stage.drain());
        forwarded += read.len();
        let newest = read.last().unwrap().sequence;
        let all = (0..50).map(|back| newest.wrapping_sub(back));
        let mut nack = bob.rtcp(|writer| assert!(writer.nack(Ssrc(1), Ssrc(7), all)));
        stage.later(Duration::from_millis(30));
        stage.plane.handle_datagram(bob.key, &mut nack, stage.now);
        repeated += bob.read(&stage.drain()).iter().filter(|one| one.ssrc == 8).count();
    }
    assert!((500..=500 + 256 + 1).contains(&repeated), "{repeated} repeats of {forwarded}");
    assert!(stage.plane.drops().repeats > 10_000);
}

#[test]
fn a_subscribers_keyframe_request_reaches_the_publisher_once() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    let _ = ann.read_rtcp(&stage.drain());
    stage.later(Duration::from_secs(1));
    stage.drain();
    for _ in 0..5 {
        let mut pli = bob.rtcp(|writer| assert!(writer.pli(Ssrc(1), Ssrc(7))));
        stage.plane.handle_datagram(bob.key, &mut pli, stage.now);
    }
    let sent = stage.drain();
    let asked = ann.read_rtcp(&sent);
    let plis: Vec<Ssrc> = asked
        .iter()
        .flat_map(|datagram| packets(datagram))
        .filter_map(|part| if let Ok(Rtcp::Pli(pli)) = part { Some(pli.media) } else { None })
        .collect();
    assert_eq!(plis, [Ssrc(200)]);
}

#[test]
fn sound_goes_first_however_many_pictures_wait() {
    let mut stage = Stage::new();
    let (mut ann, bob) = (stage.join(1), stage.join(2));
    let [_, _] = stage.subscribe(&bob, &ann);
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    for _ in 0..3_000 {
        stage.send(&mut ann, PICTURES, &[&DELTA[..], &[7; 900]].concat());
    }
    assert!(!stage.plane.poll_transmits(stage.now, &mut stage.buffer), "more than one buffer");
    stage.buffer.clear();
    stage.send(&mut ann, SOUND, b"now");
    stage.plane.poll_transmits(stage.now, &mut stage.buffer);
    let (_, first) = stage.buffer.iter().next().unwrap();
    assert!(first.len() < 100, "sound leads the next slice");
}

#[test]
fn a_burst_to_many_arrives_whole_and_in_order_in_slices() {
    let mut stage = Stage::new();
    let mut ann = stage.join(0);
    let mut crowd: Vec<Client> = (1..=300).map(|number| stage.join(number)).collect();
    for one in &crowd {
        stage.subscribe(one, &ann);
    }
    let mut expected = vec![KEYFRAME.to_vec()];
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    for number in 0..7 {
        let payload = [&DELTA[..], &[number; 1_000]].concat();
        stage.send(&mut ann, PICTURES, &payload);
        expected.push(payload);
    }
    let sent = stage.drain();
    for one in &mut crowd {
        assert_eq!(payloads(&one.read(&sent)), expected);
    }
}

#[test]
fn packets_of_a_frame_are_padded_to_one_length_and_repeated_without_padding() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    stage.drain();
    let payloads_sent =
        [1_000, 1_001, 1_000, 1_001].map(|length| [&DELTA[..], &vec![7; length]].concat());
    for payload in &payloads_sent {
        stage.send(&mut ann, PICTURES, payload);
    }
    let sent = stage.drain();
    let lengths: Vec<usize> = sent.iter().map(|(_, datagram)| datagram.len()).collect();
    assert_eq!(lengths, [lengths[0]; 4], "one message for the kernel");
    let read = bob.read(&sent);
    assert_eq!(payloads(&read), payloads_sent);
    let mut nack = bob.rtcp(|writer| assert!(writer.nack(Ssrc(1), Ssrc(7), [read[0].sequence])));
    stage.plane.handle_datagram(bob.key, &mut nack, stage.now);
    let again = bob.read(&stage.drain());
    assert_eq!(again[0].payload[2..], payloads_sent[0]);
}

#[test]
fn who_left_gets_nothing_and_what_is_muted_goes_nowhere() {
    let mut stage = Stage::new();
    let (mut ann, mut bob, mut eve) = (stage.join(1), stage.join(2), stage.join(3));
    stage.subscribe(&bob, &ann);
    let [sound, _] = stage.subscribe(&eve, &ann);
    stage.plane.remove_feed(sound);
    stage.send(&mut ann, SOUND, b"one");
    stage.plane.remove_session(bob.key);
    let sent = stage.drain();
    assert!(bob.read(&sent).is_empty() && eve.read(&sent).is_empty());
    stage.subscribe(&eve, &ann);
    stage.plane.set_muted(ann.tracks[0], true);
    assert!(stage.send(&mut ann, SOUND, b"two").is_none());
    stage.plane.remove_track(ann.tracks[1]);
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    assert!(stage.drain().is_empty());
}

#[test]
fn reports_pass_the_publishers_clock_on_with_the_subscribers_timestamps() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    stage.send(&mut ann, PICTURES, &KEYFRAME);
    let ntp = NtpTime(0x1234_5678_0000_0000);
    let info = SenderInfo { ntp, rtp_timestamp: 5 * 3_000, packets: 1, octets: 12 };
    let mut report = ann.rtcp(|writer| assert!(writer.sender_report(Ssrc(200), info, [])));
    stage.plane.handle_datagram(ann.key, &mut report, stage.now);
    stage.drain();
    stage.later(Duration::from_secs(1));
    let sent = stage.drain();
    let told = bob.read_rtcp(&sent);
    let reports: Vec<SenderInfo> = told
        .iter()
        .flat_map(|datagram| packets(datagram))
        .filter_map(|part| match part {
            Ok(Rtcp::SenderReport(report)) if report.ssrc == Ssrc(7) => Some(report.info),
            _ => None,
        })
        .collect();
    let [info] = reports[..] else { panic!("one report, not {reports:?}") };
    assert_eq!(info.ntp, ntp.plus(Duration::from_secs(1)));
    assert_eq!((info.packets, info.octets), (1, 12));
}

/// What a client sends as its packet `number`, with the one before it: each frame says its number.
fn redundant(number: u8) -> Vec<u8> {
    // As far before it as [`Client::packet`] puts one packet before the next.
    let offset: u16 = 3_000;
    vec![0xef, (offset >> 6) as u8, (offset << 2) as u8, 1, 0x6f, number - 1, number]
}

#[test]
fn redundant_sound_reaches_each_as_it_takes_it() {
    let mut stage = Stage::new();
    let mut ann = stage.join_with_redundancy(1, 63, 111);
    let mut bob = stage.join_with_redundancy(2, 120, 96);
    let mut eve = stage.join(3);
    stage.subscribe(&bob, &ann);
    stage.subscribe(&eve, &ann);
    let heard = stage.send(&mut ann, REDUNDANT, &redundant(7)).unwrap();
    assert_eq!(heard.level, AudioLevel(20));
    stage.send(&mut ann, SOUND, &[8]);
    let sent = stage.drain();
    let [wrapped, plain] = bob.read(&sent).try_into().unwrap();
    let renamed = [0x80 | 96, redundant(7)[1], redundant(7)[2], 1, 96, 6, 7];
    assert_eq!((wrapped.payload_type, &wrapped.payload[..]), (120, &renamed[..]));
    assert_eq!((plain.payload_type, &plain.payload[..]), (96, &[8][..]));
    let read = eve.read(&sent);
    assert_eq!(payloads(&read), [[7], [8]]);
    assert!(read.iter().all(|one| one.payload_type == 111));
}

#[test]
fn sound_lost_on_the_way_here_is_taken_out_of_the_next_packet_in_its_place_and_once() {
    let mut stage = Stage::new();
    let mut ann = stage.join_with_redundancy(1, 63, 111);
    let mut bob = stage.join_with_redundancy(2, 63, 111);
    let mut eve = stage.join(3);
    stage.subscribe(&bob, &ann);
    stage.subscribe(&eve, &ann);
    let packets: Vec<Vec<u8>> =
        (1..=6).map(|number| ann.packet(REDUNDANT, &redundant(number))).collect();
    // The third comes late, the fifth never.
    for index in [0, 1, 3, 2, 5] {
        stage.plane.handle_datagram(ann.key, &mut packets[index].clone(), stage.now);
    }
    let sent = stage.drain();
    let read = eve.read(&sent);
    assert_eq!(payloads(&read), [[1], [2], [3], [4], [5], [6]]);
    let numbers: Vec<u16> = read.iter().map(|one| one.sequence).collect();
    assert_eq!(numbers, [40, 41, 42, 43, 44, 45]);
    let read = bob.read(&sent);
    let types: Vec<u8> = read.iter().map(|one| one.payload_type).collect();
    assert_eq!(types, [63, 63, 111, 63, 111, 63], "recovered ones are plain");
}

#[test]
fn redundant_sound_that_cannot_be_read_goes_nowhere_and_is_counted() {
    let mut stage = Stage::new();
    let mut ann = stage.join_with_redundancy(1, 63, 111);
    let mut bob = stage.join_with_redundancy(2, 63, 111);
    stage.subscribe(&bob, &ann);
    let of_another_type = [0x80 | 8, 0, 4, 1, 111, 1, 2];
    let within_itself = [63, 0x6f, 1, 2];
    for broken in [&b""[..], &[0xef], &[0xef, 0, 0, 9, 0x6f, 1], &of_another_type, &within_itself] {
        assert!(stage.send(&mut ann, REDUNDANT, broken).is_none());
    }
    assert!(stage.send(&mut ann, REDUNDANT, &[0xef; 300]).is_none(), "a chain of blocks");
    assert!(bob.read(&stage.drain()).is_empty());
    assert_eq!(stage.plane.drops().malformed, 6);
}

#[test]
fn what_was_said_while_muted_is_not_recovered() {
    let mut stage = Stage::new();
    let mut ann = stage.join_with_redundancy(1, 63, 111);
    let mut eve = stage.join(3);
    stage.subscribe(&eve, &ann);
    stage.send(&mut ann, REDUNDANT, &redundant(1));
    stage.plane.set_muted(ann.tracks[0], true);
    stage.send(&mut ann, REDUNDANT, &redundant(2));
    stage.plane.set_muted(ann.tracks[0], false);
    stage.send(&mut ann, REDUNDANT, &redundant(3));
    assert_eq!(payloads(&eve.read(&stage.drain())), [[1], [3]]);
}

#[test]
fn forwarding_allocates_nothing() {
    let mut stage = Stage::new();
    let mut ann = stage.join_with_redundancy(1, 63, 111);
    let (bob, eve) = (stage.join_with_redundancy(2, 63, 111), stage.join(3));
    stage.subscribe(&bob, &ann);
    stage.subscribe(&eve, &ann);
    let sound = redundant(7);
    let mut frame = |stage: &mut Stage, payload: &[u8]| {
        // The packet before each is lost on the way.
        ann.sequence[0] += 1;
        let packets: Vec<Vec<u8>> = [(REDUNDANT, &sound[..]), (PICTURES, payload)]
            .map(|(kind, payload)| ann.packet(kind, payload))
            .into();
        let counts = allocation_counter::measure(|| {
            for mut packet in packets {
                stage.plane.handle_datagram(ann.key, &mut packet, stage.now);
            }
            while !stage.plane.poll_transmits(stage.now, &mut stage.buffer) {}
        });
        stage.buffer.clear();
        stage.now += Duration::from_millis(20);
        counts.count_total
    };
    frame(&mut stage, &KEYFRAME);
    // Rings and histories grow to what a second and a half needs.
    for _ in 0..300 {
        frame(&mut stage, &[&DELTA[..], &[7; 900]].concat());
    }
    let allocations: u64 =
        (0..300).map(|_| frame(&mut stage, &[&DELTA[..], &[7; 900]].concat())).sum();
    assert_eq!(allocations, 0);
}
