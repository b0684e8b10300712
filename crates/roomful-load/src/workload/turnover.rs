//! W4 and J3: participants who come and go beside others who stay.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Crowd, Scene, measure};
use crate::ledger::Group;
use crate::media::source::Shape;
use crate::report::{Findings, Report, WhoseJoins};
use crate::signalling::{Content, Plan, Track, View};

const CHURN_ROOM: &str = "load-churn";
const STAGE_ROOM: &str = "load-joins-stage";

/// Rooms that joins are spread over. In one, every join would be told to all who joined in the same
/// second: a measurement of the roster.
const ROOMS: u32 = 16;

/// Who talk in the room that people come to, beside the camera: whoever joins can hear them before the next
/// keyframe, which publishers make twice a second at most, however many ask.
const TALKING: u32 = 3;

/// Somebody talking, in -dBov (RFC 6464).
const LOUD: u8 = 20;

/// How many come and go, and how long they stay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turnover {
    /// Between two joins; none if nobody comes.
    interval: Option<Duration>,
    stay: Duration,
}

impl Turnover {
    /// `rate` joins a second, of participants who stay for `stay` seconds.
    pub(super) fn new(rate: f64, stay: f64) -> Self {
        let interval = (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate.clamp(0.001, 1e5)));
        Self { interval, stay: Duration::from_secs_f64(stay.clamp(0.0, 3600.0)) }
    }

    /// Lets participants come and go, into one room after the other. Never ends by itself.
    async fn run(self, crowd: &mut Crowd, rooms: &[String]) -> Infallible {
        let mut next_join = Instant::now();
        let mut present = VecDeque::new();
        for room in rooms.iter().cycle() {
            let Some(interval) = self.interval else { break };
            next_join += interval;
            while let Some(&(until, id)) = present.front()
                && until <= next_join
            {
                present.pop_front();
                sleep_until(until).await;
                crowd.leave(id);
            }
            sleep_until(next_join).await;
            let id = crowd.next_id();
            let (group, room) = (Group::Passing, room.clone());
            crowd.join_now(Plan { id, group, room, tracks: Vec::new(), view: View::Everything });
            present.push_back((next_join + self.stay, id));
        }
        std::future::pending().await
    }
}

/// A room with a camera and some who talk, whose audience is joined by others all the time.
pub(super) async fn churn(
    mut scene: Scene<'_>,
    steady: u32,
    turnover: Turnover,
) -> anyhow::Result<Report> {
    let camera = scene.camera();
    scene.join(CHURN_ROOM, vec![camera], View::Nothing);
    for _ in 0..TALKING {
        scene.join(CHURN_ROOM, vec![microphone()], View::Nothing);
    }
    let publishers = 1 + TALKING;
    scene.settle(publishers, 0).await?;
    for _ in 0..steady {
        scene.join(CHURN_ROOM, Vec::new(), View::Everything);
    }
    scene.settle(publishers + steady, steady).await?;
    let room = scene.room(CHURN_ROOM);
    measure_beside(scene, "churn", publishers + steady, turnover, &[room]).await
}

/// A stage in one room, and joins in others.
pub(super) async fn joins(
    mut scene: Scene<'_>,
    steady: u32,
    turnover: Turnover,
) -> anyhow::Result<Report> {
    let camera = scene.camera();
    scene.join(STAGE_ROOM, vec![camera], View::Nothing);
    let rooms: Vec<String> = (0..ROOMS).map(|room| format!("load-joins-{room}")).collect();
    for room in &rooms {
        scene.join(room, vec![microphone()], View::Nothing);
    }
    scene.settle(1 + ROOMS, 0).await?;
    for _ in 0..steady {
        scene.join(STAGE_ROOM, Vec::new(), View::Everything);
    }
    scene.settle(1 + ROOMS + steady, steady).await?;
    let rooms: Vec<String> = rooms.iter().map(|room| scene.room(room)).collect();
    measure_beside(scene, "joins", 1 + ROOMS + steady, turnover, &rooms).await
}

fn microphone() -> Track {
    Track { content: Content::Microphone { level: LOUD }, shape: Shape::OPUS }
}

async fn measure_beside(
    scene: Scene<'_>,
    workload: &'static str,
    participants: u32,
    turnover: Turnover,
    rooms: &[String],
) -> anyhow::Result<Report> {
    let Scene { crowd, engine, common, .. } = scene;
    let measured = tokio::select! {
        measured = measure(engine, common) => measured?,
        never = turnover.run(crowd, rooms) => match never {},
    };
    let findings = Findings {
        workload,
        participants,
        measured,
        records: crowd.records(),
        expected: None,
        wishes: None,
        joins: WhoseJoins::Passing,
    };
    Ok(Report::new(findings, common))
}
