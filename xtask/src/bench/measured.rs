//! What one run measured, and whether it counts.

use serde::Serialize;

/// Lost packets in a hundred above which a run does not count. Zero would let one full socket buffer in a million packets
/// void a run; ten times as many would hide that a server sheds load.
pub(crate) const LOSS_PERCENT: f64 = 0.01;

/// The SRTP profile for every server, as the generator calls it: AES-128-GCM, which browsers offer and the floor uses.
pub(crate) const SRTP: &str = "gcm128";

/// The share of its core above which the generator's own waiting would be taken for the server's.
pub(crate) const GENERATOR_SHARE: f64 = 0.70;

/// How busy the generator's core may be in all. The kernel's work for arriving packets is in nobody's bill but takes its
/// time there; where little is left, packets wait for the generator.
const CORE_SHARE: f64 = 0.90;

/// The figures of one run. What a workload has no figure for is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Measured {
    /// Processor time of the server per packet it forwarded, in microseconds.
    pub(crate) cpu_us_per_packet: Option<f64>,
    /// Packets that arrived at receivers while measuring.
    pub(crate) packets: Option<f64>,
    /// Lost packets in a hundred: those that never came.
    pub(crate) loss_percent: Option<f64>,
    /// The same with those that came when asked for again.
    pub(crate) missing_percent: Option<f64>,
    /// Time from the publisher's to the receiver's socket, in microseconds.
    pub(crate) latency_us: Percentiles,
    /// Time from joining to the first media packet, in milliseconds.
    pub(crate) join_ms: Percentiles,
    /// Time to the first one of a picture, in milliseconds.
    pub(crate) picture_ms: Percentiles,
    /// Joins that succeeded, a second.
    pub(crate) joins_per_second: Option<f64>,
    /// What of the wished-for arrived, where servers may send less when they shed load.
    pub(crate) granted: Granted,
    /// Who used the cores.
    pub(crate) shares: Shares,
    /// The server's resident memory.
    pub(crate) memory: Memory,
    /// Why the generator says that the run does not count.
    pub(crate) objection: Option<String>,
    /// The SRTP profile in use.
    pub(crate) srtp: Option<String>,
}

/// Parts of what participants wished for; 1 is all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Granted {
    /// Of pictures in the sizes wished for.
    pub(crate) video: Option<f64>,
    /// Of the sound of those who talk.
    pub(crate) audio: Option<f64>,
}

/// Processor time as shares of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Shares {
    /// The server's.
    pub(crate) server: Option<f64>,
    /// The generator's.
    pub(crate) generator: Option<f64>,
    /// What the servers' core spent on others.
    pub(crate) foreign: Option<f64>,
    /// How busy the generator's core was while measuring, with what the kernel did there for nobody in particular.
    pub(crate) generator_core: Option<f64>,
}

/// Resident memory in kB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Memory {
    /// Before anybody came.
    pub(crate) idle_kb: Option<f64>,
    /// When the measuring began, and when it ended: everybody has joined, and what joining took is over.
    pub(crate) before_kb: Option<f64>,
    pub(crate) settled_kb: Option<f64>,
    /// The most it had at any time.
    pub(crate) peak_kb: Option<f64>,
}

/// The middle and the upper end of a distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// The median.
    pub(crate) p50: Option<f64>,
    /// What one in a hundred exceeds.
    pub(crate) p99: Option<f64>,
}

impl Measured {
    /// Why this run does not count, if it does not. A rough look does not mind other programs on the generator's core.
    pub(crate) fn fault(&self, is_rough: bool) -> Option<String> {
        if let Some(share) = self.shares.generator.filter(|share| *share > GENERATOR_SHARE) {
            return Some(format!("the generator used {:.0} % of its core", share * 100.0));
        }
        let core_share = self.shares.generator_core.filter(|_| !is_rough);
        if let Some(share) = core_share.filter(|share| *share > CORE_SHARE) {
            return Some(format!(
                "the generator's core was busy for {:.0} % of the time",
                share * 100.0
            ));
        }
        if self.objection.is_some() {
            return self.objection.clone();
        }
        if let Some(other) = self.srtp.as_deref().filter(|srtp| !["", SRTP].contains(srtp)) {
            return Some(format!("SRTP with {other}, where the others have {SRTP}"));
        }
        let loss = self.loss_percent.filter(|loss| *loss > LOSS_PERCENT)?;
        Some(format!("{loss:.2} % of the packets were lost"))
    }

    /// Whether the generator, not the server, was at its limit.
    pub(crate) fn is_generators_fault(&self, is_rough: bool) -> bool {
        let core_share = self.shares.generator_core.filter(|_| !is_rough);
        self.shares.generator.is_some_and(|share| share > GENERATOR_SHARE)
            || core_share.is_some_and(|share| share > CORE_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_loss_and_with_a_calm_generator_counts() {
        let run = Measured {
            loss_percent: Some(0.0),
            shares: Shares { generator: Some(0.69), ..Shares::default() },
            ..Measured::default()
        };
        assert_eq!(run.fault(false), None);
        assert_eq!(Measured::default().fault(false), None, "the floor has no generator");
    }

    #[test]
    fn a_run_with_loss_does_not_count() {
        let run = Measured { loss_percent: Some(0.02), ..Measured::default() };
        assert!(run.fault(false).unwrap().contains("lost"));
    }

    #[test]
    fn a_run_with_another_cipher_than_the_others_does_not_count() {
        let run = |srtp: &str| Measured { srtp: Some(srtp.to_owned()), ..Measured::default() };
        assert_eq!(run("gcm128").fault(false), None);
        assert!(run("gcm256").fault(false).unwrap().contains("gcm256"));
        assert!(run("gcm128+gcm256").fault(false).is_some());
    }

    #[test]
    fn what_the_generator_objects_to_does_not_count() {
        let objection = Some("2 participants failed".to_owned());
        let run = Measured { objection: objection.clone(), ..Measured::default() };
        assert_eq!(run.fault(false), objection);
        assert!(!run.is_generators_fault(false));
    }

    #[test]
    fn a_core_without_time_left_does_not_count_though_the_generator_used_little_of_it() {
        let run = Measured {
            shares: Shares {
                generator: Some(0.5),
                generator_core: Some(0.95),
                ..Shares::default()
            },
            ..Measured::default()
        };
        assert!(run.fault(false).is_some() && run.is_generators_fault(false));
        assert_eq!(run.fault(true), None);
    }

    #[test]
    fn a_run_with_a_busy_generator_does_not_count_whatever_it_says_of_loss() {
        let run = Measured {
            shares: Shares { generator: Some(0.71), ..Shares::default() },
            loss_percent: Some(0.0),
            ..Measured::default()
        };
        assert!(run.fault(false).unwrap().contains("generator"));
        assert!(run.is_generators_fault(false));
    }
}
