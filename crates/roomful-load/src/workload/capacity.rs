//! How many viewers one camera finds: a stage that grows until packets are late or lost.

use super::{Scene, measure};
use crate::cli::Capacity;
use crate::ledger::Group;
use crate::participant::ParticipantId;
use crate::report::{self, Findings, Report, WhoseJoins};
use crate::signalling::{Plan, View};

/// Viewers to begin with.
const FIRST: u32 = 10;

/// Halvings of the step between what was borne and what was not: the answer is then within an eighth of
/// the last step.
const HALVINGS: u32 = 3;

/// What one size of stage showed.
struct Step {
    viewers: u32,
    report: Report,
}

/// Why growing ended.
struct Limit {
    viewers: u32,
    reason: String,
    /// This program was at its limit, not the server.
    is_own: bool,
    /// Somebody failed: who is left is no audience to go on with.
    is_final: bool,
}

pub(super) async fn run(mut scene: Scene<'_>, wanted: &Capacity) -> anyhow::Result<String> {
    let camera = scene.camera();
    scene.join(super::stage::ROOM, vec![camera], View::Nothing);
    scene.settle(1, 0).await?;
    let mut audience = Audience { present: Vec::new() };
    let mut best: Option<Step> = None;
    let mut limit: Option<Limit> = None;
    let mut viewers = FIRST.min(wanted.most.max(1));
    let mut halvings = 0;
    while halvings <= HALVINGS {
        report::progress(&format!("{viewers} viewers"));
        match audience.try_size(&mut scene, viewers, wanted).await? {
            Ok(report) => best = Some(Step { viewers, report }),
            Err(found) => limit = Some(found),
        }
        if limit.as_ref().is_some_and(|limit| limit.is_final) {
            break;
        }
        let borne = best.as_ref().map_or(0, |step| step.viewers);
        viewers = match &limit {
            None if borne >= wanted.most => break,
            // Half as many again.
            None => (borne + borne / 2).min(wanted.most),
            Some(limit) => {
                halvings += 1;
                borne + (limit.viewers - borne) / 2
            }
        };
        if viewers <= borne {
            break;
        }
    }
    Ok(sentence(&scene, best.as_ref(), limit.as_ref()))
}

struct Audience {
    present: Vec<ParticipantId>,
}

impl Audience {
    /// Lets viewers come or go until there are so many, and measures. The limit if it is beyond one.
    async fn try_size(
        &mut self,
        scene: &mut Scene<'_>,
        viewers: u32,
        wanted: &Capacity,
    ) -> anyhow::Result<Result<Report, Limit>> {
        while self.present.len() > viewers as usize {
            if let Some(id) = self.present.pop() {
                scene.crowd.leave(id);
            }
        }
        let arrived = viewers as usize - self.present.len();
        for _ in 0..arrived {
            let id = scene.crowd.next_id();
            let room = scene.room(super::stage::ROOM);
            let view = View::Everything;
            scene.crowd.join(Plan { id, group: Group::Watched, room, tracks: Vec::new(), view });
            self.present.push(id);
        }
        if let Err(error) = scene.settle(viewers + 1, viewers).await {
            let reason = format!("{error:#}");
            return Ok(Err(Limit { viewers, reason, is_own: false, is_final: true }));
        }
        let measured = measure(scene.engine, scene.common).await?;
        let video = measured.snapshot.totals.window.published_video();
        let findings = Findings {
            workload: "stage",
            participants: viewers + 1,
            measured,
            records: scene.crowd.records(),
            expected: Some(video * u64::from(viewers)),
            wishes: None,
            joins: WhoseJoins::Everybody,
        };
        Ok(judge(Report::new(findings, scene.common), viewers, wanted))
    }
}

fn judge(report: Report, viewers: u32, wanted: &Capacity) -> Result<Report, Limit> {
    let is_own = report.is_generators_fault();
    if let Some(reason) = report.void.clone() {
        let is_final = report.failed.failures > 0;
        return Err(Limit { viewers, reason, is_own, is_final });
    }
    let late = report.media.latency_us.map_or(0.0, |latency| latency.p99 / 1000.0);
    if late > wanted.max_latency {
        let reason = format!("one packet in a hundred took longer than {late:.0} ms");
        return Err(Limit { viewers, reason, is_own, is_final: false });
    }
    Ok(report)
}

fn sentence(scene: &Scene<'_>, best: Option<&Step>, limit: Option<&Limit>) -> String {
    let mut text = match best {
        None => "This server did not carry one camera to the smallest audience.".to_owned(),
        Some(Step { viewers, report }) => {
            let megabits = f64::from(scene.camera().shape.bits_per_second()) / 1e6;
            let late = report.media.latency_us.map_or(0.0, |latency| latency.p99 / 1000.0);
            let cost = report.server.server_share.map_or_else(String::new, |share| {
                format!(", for {:.0} % of a core", 100.0 * share)
            });
            format!(
                "This server carries one camera of {megabits:.1} Mb/s to {viewers} viewers{cost}: 99 of \
                 100 packets are there within {late:.1} ms."
            )
        }
    };
    match limit {
        Some(Limit { viewers, reason, is_own: false, .. }) => {
            text += &format!(" With {viewers} viewers, {reason}.");
        }
        Some(Limit { viewers, is_own: true, .. }) => {
            text += &format!(
                " With {viewers}, this program was at its own limit: it takes another machine, or \
                 several, to find the server's."
            );
        }
        None => text += " More were not tried.",
    }
    text + "\n"
}
