//! What participants do in a run, and the steps every run has: gather, warm up, measure, leave.

mod capacity;
mod grid;
mod hall;
mod idle;
mod measuring;
mod stage;
mod turnover;

use std::time::Duration;

use anyhow::Context as _;

use crate::cli::{Capacity, Common, Workload};
use crate::crowd::Crowd;
use crate::dtls::Identity;
use crate::engine::{self, Command, Handle};
use crate::garbage::Garbage;
use crate::ledger::{Depth, Group};
use crate::media::mark::RunId;
use crate::report::Report;
use crate::signalling::{Content, Plan, Track, View};
use crate::udp;
pub(crate) use measuring::Measured;
use measuring::measure;
use turnover::Turnover;

/// Longest wait for everybody to be there, beside what the number of participants takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same for each participant: ten times what the slowest server known takes.
const PATIENCE_EACH: Duration = Duration::from_millis(100);

/// Descriptors beside the two of each participant.
const SPARE_FILES: u64 = 64;

/// Carries out a workload.
///
/// # Errors
/// If it could not be carried out; a run that was, and does not count, says so in its report.
pub(crate) async fn run(workload: &Workload) -> anyhow::Result<Report> {
    check_file_limit(workload.participants())?;
    with_crowd(workload.common(), async |scene| match *workload {
        Workload::Churn { steady, rate, stay, .. } => {
            turnover::churn(scene, steady, Turnover::new(rate, stay)).await
        }
        Workload::Grid { participants, .. } => grid::run(scene, participants).await,
        Workload::Hall { listeners, speakers, loud, .. } => {
            hall::run(scene, listeners, speakers, loud).await
        }
        Workload::Idle { participants, .. } => idle::run(scene, participants).await,
        Workload::Joins { steady, rate, stay, .. } => {
            turnover::joins(scene, steady, Turnover::new(rate, stay)).await
        }
        Workload::Stage { viewers, simulcast, .. } => stage::run(scene, viewers, simulcast).await,
    })
    .await
}

/// Lets a stage grow until it breaks; returns what to tell whoever asked.
///
/// # Errors
/// If not even the smallest could be carried out.
pub(crate) async fn find_capacity(wanted: &Capacity) -> anyhow::Result<String> {
    check_file_limit(u64::from(wanted.most) + 1)?;
    let measuring = wanted.common.measuring.clone().brief();
    let common = Common { measuring, ..wanted.common.clone() };
    with_crowd(&common, async |scene| capacity::run(scene, wanted).await).await
}

/// What a workload works with.
struct Scene<'a> {
    crowd: &'a mut Crowd,
    engine: &'a Handle,
    common: &'a Common,
    run: RunId,
}

impl Scene<'_> {
    /// Lets somebody join who matters to the figures, and receives what others send if `view` says so.
    fn join(&mut self, room: &str, tracks: Vec<Track>, view: View) {
        let id = self.crowd.next_id();
        let room = self.room(room);
        self.crowd.join(Plan { id, group: Group::Watched, room, tracks, view });
    }

    /// A room of this run alone: one run's leavings are not the next one's.
    fn room(&self, name: &str) -> String {
        format!("{name}-{:08x}", self.run.0)
    }

    /// One camera in one layer, as the command line describes it.
    fn camera(&self) -> Track {
        let media = &self.common.media;
        let content = Content::Camera { codec: media.codec, simulcast: false };
        Track { content, shape: media.camera() }
    }

    /// Waits until so many are connected, and so many receive media.
    async fn settle(&self, connected: u32, receiving: u32) -> anyhow::Result<()> {
        let patience = PATIENCE + PATIENCE_EACH * connected;
        self.crowd.settle(connected.into(), receiving.into(), patience).await
    }
}

/// Starts the media thread, lets `run` have its way with the crowd, and sends everybody home.
async fn with_crowd<T>(
    common: &Common,
    run: impl AsyncFnOnce(Scene<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let depth = if common.measuring.light { Depth::Light } else { Depth::Full };
    let id = RunId(fastrand::u32(..));
    let (engine, thread) = engine::start(id, depth, Identity::generate(common.server.srtp())?)?;
    let mut crowd = Crowd::new(common.server.server()?, engine.clone());
    let garbage = common.measuring.garbage;
    let garbage = (garbage > 0).then(|| Garbage::start(engine.clone(), garbage)).transpose()?;
    let report = run(Scene { crowd: &mut crowd, engine: &engine, common, run: id }).await;
    drop(garbage);
    crowd.leave_all().await;
    engine.send(Command::Stop)?;
    let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
    ended.map_err(|_| anyhow::anyhow!("the media thread panicked"))?.context("the media thread")?;
    report
}

fn check_file_limit(participants: u64) -> anyhow::Result<()> {
    let limit = udp::raise_file_limit().context("the limit of open files")?;
    let needed = 2 * participants + SPARE_FILES;
    anyhow::ensure!(
        limit >= needed,
        "{participants} participants need {needed} open files, and the limit is {limit}: raise it \
         (ulimit -n {needed})"
    );
    Ok(())
}
