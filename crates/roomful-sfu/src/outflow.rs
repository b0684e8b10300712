//! `Outflow`: data messages on their way to one participant, and what becomes of them when it is slow.
//!
//! Nobody waits for a slow receiver: what it does not take in time is held for it or lost, for it alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::transport::{Channel, Delivery, Transport};

/// When data for a slow receiver is lost. The names in the configuration, and the defaults but for bounds, are LiveKit's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPolicy {
    /// Bytes of reliable messages that may wait for one receiver beside what its channel holds
    /// (`rtc.data_channel_max_buffered_amount`). Larger keeps more memory for slow receivers, smaller loses more of what
    /// is sent to them in a burst.
    pub most_waiting: usize,
    /// In bits a second: a receiver that takes less loses reliable messages as soon as its channel is full
    /// (`rtc.datachannel_slow_threshold`). 0: none is too slow.
    pub slow_below: u64,
    /// How late lossy messages may be because of those before them (`rtc.datachannel_lossy_target_latency`). Zero: as
    /// late as what the channel holds makes them.
    pub lossy_latency: Duration,
    /// The same of data tracks (`rtc.datachannel_data_track_target_latency`).
    pub track_latency: Duration,
}

/// LiveKit has no bound of its own here. A file that comes ten times as fast as its receiver takes it stays whole up to
/// this size, and messages to many are kept once for all of them.
const MOST_WAITING: usize = 4 * 1024 * 1024;

/// Bytes that wait for a channel that was never open: what is said while somebody joins. More would be kept all the time
/// for clients without data channels.
const MOST_BEFORE_OPENING: usize = 256 * 1024;

/// Bytes that may always wait in a lossy channel: LiveKit's value. More delays what comes behind them on slow paths,
/// fewer loses frames of several packets on fast ones.
const LEAST_LOSSY: u64 = 8 * 1024;

impl Default for DataPolicy {
    fn default() -> Self {
        Self {
            most_waiting: MOST_WAITING,
            slow_below: 0,
            lossy_latency: Duration::ZERO,
            track_latency: Duration::from_millis(100),
        }
    }
}

/// See the module text.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    /// Reliable messages for which the channel has no room yet. Bounded; lossy, the newest first.
    waiting: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// The reliable channel took a message once.
    opened: bool,
    /// Messages lost since the last time that none waited.
    dropped: u64,
    reliable: DrainMeter,
    lossy: DrainMeter,
    tracks: DrainMeter,
}

impl Outflow {
    /// Sends a reliable message, now or later, or loses it.
    pub(crate) fn send_reliable(
        &mut self,
        transport: &mut Transport,
        message: &Arc<[u8]>,
        policy: &DataPolicy,
        now: Instant,
    ) {
        self.flush(transport, now);
        if self.waiting.is_empty() {
            match self.write(transport, message, now) {
                Delivery::Sent | Delivery::Impossible => return,
                Delivery::Later => {}
            }
        }
        self.hold(message, policy);
    }

    /// Sends a message of a lossy channel, or loses it.
    pub(crate) fn send_lossy(
        &mut self,
        transport: &mut Transport,
        channel: Channel,
        message: &[u8],
        policy: &DataPolicy,
        now: Instant,
    ) {
        let (meter, latency) = match channel {
            Channel::Lossy => (&mut self.lossy, policy.lossy_latency),
            _ => (&mut self.tracks, policy.track_latency),
        };
        if latency.is_zero() {
            let _: Delivery = transport.send_data(channel, message);
            return;
        }
        let buffered = transport.buffered(channel) as u64;
        meter.observe(0, buffered, now);
        if meter.rate().is_some_and(|rate| buffered > bytes_in(latency, rate).max(LEAST_LOSSY)) {
            return;
        }
        let sent = transport.send_data(channel, message) == Delivery::Sent;
        let written = if sent { message.len() as u64 } else { 0 };
        meter.observe(written, transport.buffered(channel) as u64, now);
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self, transport: &mut Transport, now: Instant) {
        while let Some(message) = self.waiting.front().cloned() {
            if self.write(transport, &message, now) == Delivery::Later {
                return;
            }
            self.bytes -= message.len();
            self.waiting.pop_front();
        }
        if self.dropped > 0 {
            tracing::info!(lost = self.dropped, "a slow receiver of data has caught up");
            self.dropped = 0;
        }
    }

    /// Whether messages wait for room.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn write(&mut self, transport: &mut Transport, message: &[u8], now: Instant) -> Delivery {
        let delivery = transport.send_data(Channel::Reliable, message);
        let is_sent = delivery == Delivery::Sent;
        self.opened |= is_sent;
        let written = if is_sent { message.len() as u64 } else { 0 };
        self.reliable.observe(written, transport.buffered(Channel::Reliable) as u64, now);
        delivery
    }

    fn hold(&mut self, message: &Arc<[u8]>, policy: &DataPolicy) {
        let most = policy.most_waiting;
        let most = if self.opened { most } else { most.min(MOST_BEFORE_OPENING) };
        let is_slow = self.reliable.rate().is_some_and(|rate| rate < policy.slow_below);
        if is_slow || self.bytes + message.len() > most {
            if self.dropped == 0 && self.opened {
                tracing::info!(
                    waiting = self.bytes,
                    "a receiver of data cannot keep up and loses messages"
                );
            }
            self.dropped += 1;
            return;
        }
        self.bytes += message.len();
        self.waiting.push_back(Arc::clone(message));
    }
}

/// What a channel of `rate` bits a second carries in that time.
fn bytes_in(time: Duration, rate: u64) -> u64 {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    rate.saturating_mul(milliseconds) / 8_000
}

/// How fast a channel empties while there is something in it: what its receiver takes, whatever is sent.
#[derive(Debug, Default)]
struct DrainMeter {
    last: Option<(Instant, u64)>,
    current: Busy,
    former: Busy,
}

/// A time during which a channel was never empty.
#[derive(Debug, Default, Clone, Copy)]
struct Busy {
    time: Duration,
    /// What left the channel meanwhile.
    bytes: u64,
}

/// Half of the busy time over which a rate is taken; LiveKit takes it over two seconds. Longer remembers a path that was,
/// shorter takes a pause of the other end for a slow one.
const WINDOW: Duration = Duration::from_secs(1);

/// Less busy time than this says nothing: acknowledgements come in bursts.
const LEAST_TIME: Duration = Duration::from_millis(100);

impl DrainMeter {
    /// `written` bytes were put into the channel just now, and `buffered` are in it.
    fn observe(&mut self, written: u64, buffered: u64, now: Instant) {
        let Some((at, before)) = self.last.replace((now, buffered)) else { return };
        // Between two looks a channel only empties: what is in it now beside the newest was there all the time.
        if buffered <= written {
            return;
        }
        self.current.time += now.saturating_duration_since(at);
        self.current.bytes += (before + written).saturating_sub(buffered);
        if self.current.time >= WINDOW {
            self.former = std::mem::take(&mut self.current);
        }
    }

    /// In bits a second, once it was busy for long enough to tell.
    fn rate(&self) -> Option<u64> {
        let time = self.former.time + self.current.time;
        let bits = (self.former.bytes + self.current.bytes).saturating_mul(8_000);
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        (time >= LEAST_TIME).then(|| bits / milliseconds.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    #[test]
    fn a_channel_that_is_never_busy_has_no_rate() {
        let mut meter = DrainMeter::default();
        for second in 0..10 {
            meter.observe(1_000, 1_000, start_of_time() + Duration::from_secs(second));
        }
        assert_eq!(meter.rate(), None);
    }

    #[test]
    fn the_rate_is_what_leaves_a_busy_channel_whatever_is_written_into_it() {
        let mut meter = DrainMeter::default();
        let start = start_of_time();
        let mut buffered = 10_000;
        meter.observe(10_000, buffered, start);
        for tenth in 1..=50_u32 {
            // 1,000 bytes leave it each tenth of a second, at first 2,000 come.
            let written = if tenth < 20 { 2_000 } else { 1_000 };
            buffered = buffered + written - 1_000;
            meter.observe(written, buffered, start + Duration::from_millis(100) * tenth);
        }
        assert_eq!(meter.rate(), Some(80_000));
    }

    #[test]
    fn the_rate_follows_the_path_within_two_busy_seconds() {
        let mut meter = DrainMeter::default();
        let start = start_of_time();
        let mut buffered = 1_000_000;
        meter.observe(0, buffered, start);
        for tenth in 1..=60_u32 {
            buffered -= if tenth <= 40 { 10_000 } else { 100 };
            meter.observe(0, buffered, start + Duration::from_millis(100) * tenth);
        }
        assert_eq!(meter.rate(), Some(8_000));
    }

    #[test]
    fn a_stalled_channel_has_a_rate_of_nothing() {
        let mut meter = DrainMeter::default();
        let start = start_of_time();
        for tenth in 1..=20_u32 {
            let buffered = u64::from(tenth) * 1_000;
            meter.observe(1_000, buffered, start + Duration::from_millis(100) * tenth);
        }
        assert_eq!(meter.rate(), Some(0));
    }

    #[test]
    fn a_latency_is_so_many_bytes() {
        assert_eq!(bytes_in(Duration::from_millis(100), 800_000), 10_000);
    }
}
