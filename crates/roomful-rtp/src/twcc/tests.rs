mod arrival_log;
mod path_meter;
mod sent_log;

use std::time::{Duration, Instant};

use super::*;
use crate::Ssrc;
use crate::rtcp::{FeedbackTime, Rtcp, RtcpWriter, TransportFeedback, packets};
use crate::testing::start_of_time;

const MILLISECOND: Duration = Duration::from_millis(1);
const US: Ssrc = Ssrc(1);
const THEM: Ssrc = Ssrc(2);
const SIZE: usize = 1000;

fn at(millis: u64) -> Instant {
    start_of_time() + Duration::from_millis(millis)
}

/// All feedback there is, as bytes of one compound.
fn feedback(log: &mut ArrivalLog, now: Instant) -> Vec<u8> {
    let mut buffer = [0; 4000];
    let mut writer = RtcpWriter::new(&mut buffer);
    log.write_feedback(US, THEM, &mut writer, now);
    let len = writer.len();
    buffer[..len].to_vec()
}

fn read(compound: &[u8]) -> impl Iterator<Item = TransportFeedback<'_>> {
    packets(compound).map(|packet| match packet {
        Ok(Rtcp::TransportFeedback(feedback)) => feedback,
        other => panic!("{other:?}"),
    })
}

/// What a compound says of each packet, in order.
fn statuses(compound: &[u8]) -> Vec<(u16, Option<FeedbackTime>)> {
    read(compound).flat_map(|feedback| feedback.statuses()).collect()
}

fn seqs_arrived(compound: &[u8]) -> Vec<u16> {
    statuses(compound).into_iter().filter_map(|(seq, at)| at.map(|_| seq)).collect()
}

fn log_of(arrivals: impl IntoIterator<Item = (u16, u64)>) -> ArrivalLog {
    let mut log = ArrivalLog::default();
    for (seq, millis) in arrivals {
        log.record(seq, SIZE, at(millis));
    }
    log
}
