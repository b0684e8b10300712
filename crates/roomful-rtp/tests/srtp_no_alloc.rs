//! A packet is read, rewritten, sealed and opened without a single allocation.
//!
//! What is counted is Rust's heap. The cryptographic library has one of its own, in C: `examples/srtp_cost.rs` says
//! how that was looked at.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use roomful_rtp::rtp::{HeaderFields, RtpHeader, SequenceUnwrapper, extension, rtx, write_header};
use roomful_rtp::srtp::{DtlsRole, MasterKeys, Opener, Sealer, SrtpProfile};
use roomful_rtp::{Ssrc, rtp};

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmHmacSha1_80];

/// A publisher, the server in between, and a subscriber.
struct Path {
    publisher: Sealer,
    incoming: Opener,
    outgoing: Sealer,
    subscriber: Opener,
    numbers: SequenceUnwrapper,
    sent: u64,
}

impl Path {
    fn new(profile: SrtpProfile) -> Self {
        let exported: Vec<u8> = (0..profile.exported_len()).map(|byte| byte as u8).collect();
        let keys = |role| MasterKeys::from_exported(profile, &exported, role).unwrap();
        let (client, server) = (keys(DtlsRole::Client), keys(DtlsRole::Server));
        Self {
            publisher: Sealer::new(&client.seal).unwrap(),
            incoming: Opener::new(&server.open).unwrap(),
            outgoing: Sealer::new(&server.seal).unwrap(),
            subscriber: Opener::new(&client.open).unwrap(),
            numbers: SequenceUnwrapper::default(),
            sent: 0,
        }
    }

    /// One packet from the publisher to the subscriber, once as it is and once as a retransmission.
    fn forward(&mut self) {
        self.sent += 1;
        let (mut arriving, mut leaving) = ([0; 1500], [0; 1500]);
        let fields = HeaderFields {
            marker: false,
            payload_type: 96,
            sequence: self.sent as u16,
            timestamp: self.sent as u32 * 3000,
            ssrc: Ssrc(self.sent as u32 % 4),
        };
        let elements = [(1, &b"0"[..]), (4, &[0, 1])];
        let header_len = write_header(&mut arriving, &fields, elements.into_iter()).unwrap();
        let sealed =
            self.publisher.seal_rtp(&mut arriving, header_len, header_len + 1000, self.sent);
        let opened = self.incoming.open_rtp(&mut arriving[..sealed.unwrap()]).unwrap();
        let plain = &arriving[..opened.plain_len];
        let payload = opened.header.payload(plain).unwrap();
        let mid = opened.header.extension(plain, 1).and_then(extension::name);
        assert_eq!((mid, payload.len()), (Some("0"), 1000));
        self.numbers.unwrap(opened.header.sequence);

        let fields = HeaderFields { ssrc: Ssrc(9), ..HeaderFields::from(&opened.header) };
        let header_len = write_header(&mut leaving, &fields, elements.into_iter()).unwrap();
        leaving[header_len..][..payload.len()].copy_from_slice(payload);
        self.send(&mut leaving, header_len, header_len + payload.len());
        let fields = HeaderFields { ssrc: Ssrc(10), ..fields };
        let header_len = write_header(&mut leaving, &fields, elements.into_iter()).unwrap();
        let body = &mut leaving[header_len..];
        let written = rtx::write(body, fields.sequence, payload).unwrap();
        self.send(&mut leaving, header_len, header_len + written);
    }

    fn send(&mut self, packet: &mut [u8; 1500], header_len: usize, plain_len: usize) {
        let sealed = self.outgoing.seal_rtp(packet, header_len, plain_len, self.sent).unwrap();
        assert_eq!(self.subscriber.open_rtp(&mut packet[..sealed]).unwrap().plain_len, plain_len);
        assert!(self.subscriber.open_rtp(&mut packet[..sealed]).is_err(), "refusing, too");
        assert!(RtpHeader::parse(packet).is_ok());
    }

    fn report(&mut self) {
        let mut report = [0; 100];
        report[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 1]);
        assert!(rtp::is_rtcp(&report));
        let sealed = self.publisher.seal_rtcp(&mut report, 8).unwrap();
        assert_eq!(self.incoming.open_rtcp(&mut report[..sealed]), Ok(8));
    }
}

#[test]
fn nothing_that_happens_to_a_packet_allocates() {
    for profile in PROFILES {
        let mut path = Path::new(profile);
        let run = |path: &mut Path, packets| {
            for _ in 0..packets {
                path.forward();
                path.report();
            }
        };
        // Each stream is remembered from its first packet on: that allocates.
        run(&mut path, 10);
        let counted = allocation_counter::measure(|| run(&mut path, 3_000));
        assert_eq!(counted.count_total, 0, "{profile:?}");
        assert_eq!(path.incoming.streams(), 4);
    }
}

#[test]
fn an_opener_that_hears_nothing_remembers_nothing() {
    let keys = MasterKeys::from_exported(SrtpProfile::AeadAes128Gcm, &[7; 56], DtlsRole::Client);
    let keys = keys.unwrap();
    let counted = allocation_counter::measure(|| {
        std::hint::black_box((Sealer::new(&keys.seal), Opener::new(&keys.open))).0.unwrap();
    });
    assert_eq!(counted.count_current, 0);
    assert!(size_of::<Sealer>() <= 128, "{}", size_of::<Sealer>());
    assert!(size_of::<Opener>() <= 192, "{}", size_of::<Opener>());
}
