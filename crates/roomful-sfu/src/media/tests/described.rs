//! Dependency descriptors on their way through the media plane.

use super::*;

const AV1: u8 = 98;

/// Brings a structure of one template, for frame 700; longer than a one-byte header extension can hold.
const KEY_DESCRIPTOR: [u8; 18] =
    [0xc0, 0x02, 0xbc, 0x80, 0x00, 0xe0, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const DELTA_DESCRIPTOR: [u8; 3] = [0xc0, 0x02, 0xbd];
const KEY: [u8; 5] = [0x18, 0x0a, 1, 2, 3];
const DELTA: [u8; 5] = [0x10, 0x32, 1, 2, 3];

impl Client {
    fn described(&mut self, payload_type: u8, descriptor: &[u8], payload: &[u8]) -> Vec<u8> {
        let sequence = self.sequence[1];
        self.sequence[1] += 1;
        let timestamp = u32::from(sequence) * 3_000;
        let ssrc = Ssrc(PICTURES.1);
        let fields = HeaderFields { marker: true, payload_type, sequence, timestamp, ssrc };
        let mut datagram = vec![0; 400];
        let elements = [(12, descriptor)];
        let header = write_header(&mut datagram, &fields, elements.into_iter()).unwrap();
        let plain = header + payload.len();
        datagram[header..plain].copy_from_slice(payload);
        let index = u64::from(sequence);
        let length = self.sealer.seal_rtp(&mut datagram, header, plain, index).unwrap();
        datagram.truncate(length);
        datagram
    }

    /// Sequence numbers, descriptors and payloads of what this client is sent.
    fn read_described(&mut self, sent: &[(SocketAddr, Vec<u8>)]) -> Vec<(u16, Vec<u8>, Vec<u8>)> {
        let own = sent.iter().filter(|(to, datagram)| *to == self.address && !is_rtcp(datagram));
        own.map(|(_, datagram)| {
            let mut datagram = datagram.clone();
            let opened = self.opener.open_rtp(&mut datagram).expect("sealed for this client");
            let plain = &datagram[..opened.plain_len];
            let descriptor = opened.header.extension(plain, 12).unwrap_or_default().to_vec();
            let payload = opened.header.payload(plain).unwrap().to_vec();
            (opened.header.sequence, descriptor, payload)
        })
        .collect()
    }
}

#[test]
fn descriptors_of_av1_reach_subscribers_and_come_again_with_what_is_repeated() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    for (descriptor, payload) in [(&KEY_DESCRIPTOR[..], KEY), (&DELTA_DESCRIPTOR, DELTA)] {
        let mut packet = ann.described(AV1, descriptor, &payload);
        stage.plane.handle_datagram(ann.key, &mut packet, stage.now);
    }
    let read = bob.read_described(&stage.drain());
    assert_eq!((&read[0].1[..], &read[0].2[..]), (&KEY_DESCRIPTOR[..], &KEY[..]));
    assert_eq!((&read[1].1[..], &read[1].2[..]), (&DELTA_DESCRIPTOR[..], &DELTA[..]));
    let mut nack = bob.rtcp(|writer| assert!(writer.nack(Ssrc(1), Ssrc(7), [read[0].0])));
    stage.plane.handle_datagram(bob.key, &mut nack, stage.now);
    let again = bob.read_described(&stage.drain());
    assert_eq!((&again[0].1[..], &again[0].2[2..]), (&KEY_DESCRIPTOR[..], &KEY[..]));
}

#[test]
fn frames_of_a_restarted_encoder_are_numbered_on_also_when_they_are_repeated() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    for _ in 0..2 {
        let mut packet = ann.described(AV1, &KEY_DESCRIPTOR, &KEY);
        stage.plane.handle_datagram(ann.key, &mut packet, stage.now);
        // A leap that no gap can bridge: the stream is entered anew.
        ann.sequence[1] += 5_000;
    }
    let read = bob.read_described(&stage.drain());
    assert_eq!(read[1].1[..3], [0xc0, 0x02, 0xbd], "701 follows 700");
    let mut nack = bob.rtcp(|writer| assert!(writer.nack(Ssrc(1), Ssrc(7), [read[1].0])));
    stage.plane.handle_datagram(bob.key, &mut nack, stage.now);
    let again = bob.read_described(&stage.drain());
    assert_eq!(again[0].1, read[1].1);
}

#[test]
fn descriptors_of_other_codecs_stay_here() {
    let mut stage = Stage::new();
    let (mut ann, mut bob) = (stage.join(1), stage.join(2));
    stage.subscribe(&bob, &ann);
    let mut packet = ann.described(PICTURES.0, &KEY_DESCRIPTOR, &KEYFRAME);
    stage.plane.handle_datagram(ann.key, &mut packet, stage.now);
    let read = bob.read_described(&stage.drain());
    assert_eq!((read[0].1.len(), &read[0].2[..]), (0, &KEYFRAME[..]));
}
