//! `Plan`: a scenario as a list of steps, after each of which every invariant must hold.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::client::{JoinOptions, TrackKey, TrackPlan};
use crate::network::Conditions;
use crate::world::{ClientId, World};

/// A scenario under construction. Clients are called by names, which are their identities.
#[derive(Default)]
pub struct Plan {
    steps: Vec<Step>,
}

/// Where and why a plan failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {number} ({description}): {fault}")]
pub struct Failure {
    /// Which step, counted from 1.
    pub number: usize,
    /// What it was to do.
    pub description: String,
    /// What went wrong.
    pub fault: String,
}

/// The clients of a plan by name.
pub type Names = BTreeMap<String, ClientId>;

struct Step {
    description: String,
    action: Action,
}

type Act = Box<dyn FnOnce(&mut World, &mut Names) -> Result<(), String>>;

enum Action {
    Conditions { who: String, conditions: Conditions },
    Join { who: String, room: String, options: JoinOptions },
    Publish { who: String, track: TrackPlan },
    Mute { who: String, track: usize, muted: bool },
    Unpublish { who: String, track: usize },
    Leave { who: String },
    Run(Duration),
    Check(Act),
}

/// How long clients may take to know what is so, after any step. Twice the longest wait there is on purpose
/// (a lost request for sections is repeated after 5 s).
const SETTLE: Duration = Duration::from_secs(10);

impl Plan {
    /// A plan without steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what both links of a client are like.
    pub fn conditions(self, who: &str, conditions: Conditions) -> Self {
        let description = format!("the links of {who} become {conditions:?}");
        self.step(description, Action::Conditions { who: who.into(), conditions })
    }

    /// A client joins.
    pub fn join(self, who: &str, room: &str) -> Self {
        self.join_with(who, room, JoinOptions::default())
    }

    /// A client joins in its own way.
    pub fn join_with(self, who: &str, room: &str, options: JoinOptions) -> Self {
        let description = format!("{who} joins {room}");
        self.step(description, Action::Join { who: who.into(), room: room.into(), options })
    }

    /// A client publishes a track.
    pub fn publish(self, who: &str, track: TrackPlan) -> Self {
        let description = format!("{who} publishes {track:?}");
        self.step(description, Action::Publish { who: who.into(), track })
    }

    /// A client mutes one of its tracks, counted from 0.
    pub fn mute(self, who: &str, track: usize) -> Self {
        let action = Action::Mute { who: who.into(), track, muted: true };
        self.step(format!("{who} mutes track {track}"), action)
    }

    /// A client unmutes one of its tracks.
    pub fn unmute(self, who: &str, track: usize) -> Self {
        let action = Action::Mute { who: who.into(), track, muted: false };
        self.step(format!("{who} unmutes track {track}"), action)
    }

    /// A client unpublishes one of its tracks.
    pub fn unpublish(self, who: &str, track: usize) -> Self {
        let action = Action::Unpublish { who: who.into(), track };
        self.step(format!("{who} unpublishes track {track}"), action)
    }

    /// A client leaves.
    pub fn leave(self, who: &str) -> Self {
        self.step(format!("{who} leaves"), Action::Leave { who: who.into() })
    }

    /// Time passes.
    pub fn run_for(self, duration: Duration) -> Self {
        self.step(format!("{duration:?} pass"), Action::Run(duration))
    }

    /// Something is so, or is done that no other step does.
    pub fn check(
        self,
        description: &str,
        act: impl FnOnce(&mut World, &mut Names) -> Result<(), String> + 'static,
    ) -> Self {
        self.step(description.into(), Action::Check(Box::new(act)))
    }

    /// Carries the plan out in a new world.
    ///
    /// # Errors
    /// The first step after which something is not as it must be.
    pub fn run(self, seed: u64) -> Result<World, Failure> {
        let mut world = World::new(seed).map_err(|error| Failure {
            number: 0,
            description: "a world begins".into(),
            fault: error.to_string(),
        })?;
        let mut names = Names::new();
        for (index, step) in self.steps.into_iter().enumerate() {
            let Step { description, action } = step;
            action
                .carry_out(&mut world, &mut names)
                .and_then(|()| world.check_invariants(SETTLE))
                .map_err(|fault| Failure { number: index + 1, description, fault })?;
        }
        Ok(world)
    }

    fn step(mut self, description: String, action: Action) -> Self {
        self.steps.push(Step { description, action });
        self
    }
}

impl Action {
    fn carry_out(self, world: &mut World, names: &mut Names) -> Result<(), String> {
        let id = |who: &str| names.get(who).copied().ok_or_else(|| format!("nobody called {who}"));
        match self {
            Self::Conditions { who, conditions } => {
                world.set_conditions(id(&who)?, conditions, conditions);
            }
            Self::Join { who, room, options } => {
                let id = world.add_client(&who, &room, options);
                names.insert(who, id);
                let ready =
                    |world: &World| world.client(id).is_joined() && world.client(id).is_connected();
                world.run_until(SETTLE, ready).ok_or("never connected")?;
            }
            Self::Publish { who, track } => {
                let id = id(&who)?;
                let key = world.act(id, |client, now| client.publish(track, now));
                let live = |world: &World| {
                    world.client(id).track(key).is_some_and(super::client::LocalTrack::is_live)
                };
                world.run_until(SETTLE, live).ok_or("never published")?;
            }
            Self::Mute { who, track, muted } => {
                world.act(id(&who)?, |client, _| client.set_muted(TrackKey(track), muted));
            }
            Self::Unpublish { who, track } => {
                world.act(id(&who)?, |client, now| client.unpublish(TrackKey(track), now));
            }
            Self::Leave { who } => {
                let id = id(&who)?;
                world.act(id, |client, _| client.leave());
                world.run_until(SETTLE, |world| world.is_gone(id)).ok_or("never gone")?;
            }
            Self::Run(duration) => world.run(duration),
            Self::Check(act) => act(world, names)?,
        }
        Ok(())
    }
}

impl World {
    /// Whether the server let go of a client: it left, or was sent away.
    pub fn is_gone(&self, id: ClientId) -> bool {
        self.seats[id.0].gone.is_some_and(|gone| gone <= self.now())
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| &step.description)).finish()
    }
}
