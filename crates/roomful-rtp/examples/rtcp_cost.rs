//! What the bookkeeping costs for each packet: `cargo run --release -p roomful-rtp --example rtcp_cost`.
//!
//! Figures are of this machine at this moment; compare them within one run only.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]
#![expect(clippy::disallowed_methods, reason = "it measures, so it reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use roomful_rtp::nack::NackGenerator;
use roomful_rtp::reception::Reception;
use roomful_rtp::rtcp::{Rtcp, RtcpWriter, packets};
use roomful_rtp::twcc::{ArrivalLog, PathMeter, SentLog};

const PACKETS: u64 = 5_000_000;
/// Packets between two feedbacks: a tenth of a second at 2.5 Mb/s.
const BATCH: u64 = 25;

fn main() {
    let start = Instant::now();
    let at = |packet: u64| start + Duration::from_micros(packet * 4000);

    let mut nack = NackGenerator::new();
    time("NackGenerator::handle_packet, no loss", || {
        for seq in 0..PACKETS {
            black_box(nack.handle_packet(seq, at(seq)));
            black_box(nack.poll_timeout());
        }
    });

    let mut nack = NackGenerator::new();
    time("NackGenerator, 5 % lost and repaired", || {
        for seq in 0..PACKETS {
            if seq % 20 != 0 {
                nack.handle_packet(seq, at(seq));
            }
            if nack.poll_timeout().is_some_and(|due| due <= at(seq)) {
                nack.poll(at(seq)).for_each(|asked| _ = black_box(asked));
                nack.handle_repair(seq - seq % 20);
            }
        }
    });

    let mut reception = Reception::new(Ssrc(1), 90_000);
    time("Reception::handle_packet", || {
        for seq in 0..PACKETS {
            reception.handle_packet(seq, seq as u32 * 360, at(seq));
        }
    });

    let mut arrivals = ArrivalLog::default();
    time("ArrivalLog, feedback every 25 packets", || {
        for seq in 0..PACKETS {
            arrivals.record(seq as u16, 1200, at(seq));
            if seq % BATCH == BATCH - 1 {
                let mut buffer = [0; 1200];
                let mut writer = RtcpWriter::new(&mut buffer);
                arrivals.write_feedback(Ssrc(1), Ssrc(2), &mut writer, at(seq));
                black_box(writer.len());
            }
        }
    });
    time_sender(at);
}

/// The feedback of a perfect receiver, read and accounted for.
fn time_sender(at: impl Fn(u64) -> Instant) {
    let mut sent = SentLog::new();
    time("SentLog::sent", || {
        for packet in 0..PACKETS {
            black_box(sent.sent(1200, at(packet)));
        }
    });

    let (mut arrivals, mut sent, mut meter) =
        (ArrivalLog::default(), SentLog::new(), PathMeter::default());
    time("both logs and PathMeter, with feedback every 25 packets", || {
        for packet in 0..PACKETS {
            arrivals.record(sent.sent(1200, at(packet)), 1200, at(packet));
            if packet % BATCH != BATCH - 1 {
                continue;
            }
            let mut buffer = [0; 1200];
            let mut writer = RtcpWriter::new(&mut buffer);
            arrivals.write_feedback(Ssrc(1), Ssrc(2), &mut writer, at(packet));
            let len = writer.len();
            let compound = buffer.get(..len).unwrap_or_default();
            for read in packets(compound) {
                let Ok(Rtcp::TransportFeedback(feedback)) = read else { continue };
                sent.handle_feedback(&feedback).for_each(|packet| meter.handle(&packet));
            }
        }
    });
    let rate = meter.acknowledged().unwrap_or_default().0;
    println!("acknowledged {rate} bit/s, {} bytes of SentLog", sent.heap_size());
}

fn time(what: &str, run: impl FnOnce()) {
    let start = Instant::now();
    run();
    let nanos = start.elapsed().as_nanos() as f64 / PACKETS as f64;
    println!("{nanos:7.1} ns/packet  {what}");
}
