//! What sealing and opening cost: `cargo run --release -p roomful-rtp --example srtp_cost`.
//!
//! Figures are of this machine at this moment; compare them within one run only. With a number, that many packets are
//! sealed and opened instead and nothing is measured: two such runs under a library that counts `malloc` tell
//! whether the cryptographic library allocates for a packet.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]
#![expect(clippy::disallowed_methods, reason = "it measures, so it reads the clock")]
#![expect(clippy::unwrap_used, reason = "nothing here comes from outside")]

use std::time::Instant;

use roomful_rtp::Ssrc;
use roomful_rtp::rtp::{HeaderFields, RtpHeader, write_header};
use roomful_rtp::srtp::{DtlsRole, MasterKeys, Opener, Sealer, SrtpProfile};

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmHmacSha1_80];

/// Bytes of an audio packet, and of a video packet.
const SIZES: [usize; 2] = [100, 1200];

/// Packets sealed before they are opened; they stay in the cache, as a burst of one frame does.
const BATCH: usize = 64;

/// How many batches each figure is the least of: whatever else the machine does falls between them.
const BATCHES: usize = 3_000;

fn main() {
    match std::env::args().nth(1).and_then(|count| count.parse().ok()) {
        Some(packets) => run_without_measuring(packets),
        None => measure(),
    }
}

fn measure() {
    println!("{:<22} {:>5} {:>9} {:>9}", "", "bytes", "seal ns", "open ns");
    for profile in PROFILES {
        for size in SIZES {
            let (seal, open) = least(profile, size);
            println!("{:<22} {size:>5} {seal:>9.0} {open:>9.0}", format!("{profile:?}"));
        }
    }
    let (write, parse) = headers();
    println!("{:<22} {:>5} {write:>9.1} {parse:>9.1}  (write; read and find)", "header", 32);
    println!("size_of: Sealer {}, Opener {}", size_of::<Sealer>(), size_of::<Opener>());
    for profile in PROFILES {
        println!("{profile:?}: {} bytes for both, heap included", memory(profile));
    }
}

/// Nanoseconds for sealing and for opening a packet.
fn least(profile: SrtpProfile, size: usize) -> (f64, f64) {
    let (mut sealer, mut opener) = pair(profile);
    let mut next = 0;
    let batches = (0..BATCHES).map(|_| batch(&mut sealer, &mut opener, size, &mut next));
    least_of(batches)
}

/// The least of both times, for one packet of a batch.
fn least_of(batches: impl Iterator<Item = (u128, u128)>) -> (f64, f64) {
    let least = batches
        .fold((u128::MAX, u128::MAX), |least, batch| (least.0.min(batch.0), least.1.min(batch.1)));
    (least.0 as f64 / BATCH as f64, least.1 as f64 / BATCH as f64)
}

/// Nanoseconds for sealing and for opening one batch.
fn batch(sealer: &mut Sealer, opener: &mut Opener, size: usize, next: &mut u64) -> (u128, u128) {
    let mut packets = [[0_u8; 1300]; BATCH];
    let mut header_len = 0;
    let first = *next;
    for packet in &mut packets {
        header_len = write(packet, *next);
        *next += 1;
    }
    let started = Instant::now();
    let mut sealed_len = 0;
    for (packet, index) in packets.iter_mut().zip(first..) {
        sealed_len = sealer.seal_rtp(packet, header_len, size, index).unwrap();
    }
    let sealed = Instant::now();
    for packet in &mut packets {
        opener.open_rtp(packet.get_mut(..sealed_len).unwrap()).unwrap();
    }
    ((sealed - started).as_nanos(), sealed.elapsed().as_nanos())
}

/// Nanoseconds for writing a header with three elements, and for reading it and finding the last of them.
fn headers() -> (f64, f64) {
    let mut packet = [0; 1300];
    least_of((0..BATCHES).map(|_| {
        let started = Instant::now();
        for index in 0..BATCH {
            std::hint::black_box(write(std::hint::black_box(&mut packet), index as u64));
        }
        let written = Instant::now();
        for _ in 0..BATCH {
            let header = RtpHeader::parse(std::hint::black_box(&packet)).unwrap();
            std::hint::black_box(header.extension(&packet, 4));
        }
        ((written - started).as_nanos(), written.elapsed().as_nanos())
    }))
}

fn write(packet: &mut [u8], index: u64) -> usize {
    let fields = HeaderFields {
        marker: false,
        payload_type: 96,
        sequence: index as u16,
        timestamp: index as u32,
        ssrc: Ssrc(7),
    };
    let elements = [(1, &b"0"[..]), (3, &[1, 2, 3]), (4, &[5, 6])];
    write_header(packet, &fields, elements.into_iter()).unwrap()
}

fn pair(profile: SrtpProfile) -> (Sealer, Opener) {
    // All bytes the same: each half of the keys opens what the other seals.
    let exported = vec![7; profile.exported_len()];
    let keys = MasterKeys::from_exported(profile, &exported, DtlsRole::Client).unwrap();
    (Sealer::new(&keys.seal).unwrap(), Opener::new(&keys.open).unwrap())
}

/// Bytes that a sealer and an opener take, without streams: what the process grows by for many of them.
fn memory(profile: SrtpProfile) -> usize {
    const COUNT: usize = 20_000;
    let mut kept = Vec::with_capacity(COUNT);
    let before = resident();
    kept.extend((0..COUNT).map(|_| pair(profile)));
    let grown = resident().saturating_sub(before);
    // Given back at the end of each: the next begins in pages of its own.
    std::mem::forget(kept);
    grown / COUNT
}

/// Bytes of this process in memory; 0 where the system does not tell.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn run_without_measuring(packets: u64) {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut packet = [0; 1300];
        for index in 0..packets {
            let header_len = write(&mut packet, index);
            let len = sealer.seal_rtp(&mut packet, header_len, 1200, index).unwrap();
            opener.open_rtp(packet.get_mut(..len).unwrap()).unwrap();
            packet[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 1]);
            let len = sealer.seal_rtcp(&mut packet, 60).unwrap();
            opener.open_rtcp(packet.get_mut(..len).unwrap()).unwrap();
        }
    }
}
