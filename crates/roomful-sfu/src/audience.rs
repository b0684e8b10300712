//! `Audience`: who may receive a participant's tracks, as that participant decides.

use std::collections::{BTreeMap, BTreeSet};

use livekit_protocol as proto;

use crate::ids::{Identity, TrackSid};
use crate::limits::{self, OverLimit};

/// See the module text. Every decision replaces the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever may receive anything.
    #[default]
    Everyone,
    /// These, and nobody else: not even people who come later.
    Only(BTreeMap<Identity, Allowance>),
}

/// What one member of an audience may receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// Every track, also those to come.
    Everything,
    /// These tracks.
    Tracks(BTreeSet<TrackSid>),
}

/// Why a decision about an audience cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AudienceError {
    /// An entry is about nobody.
    #[error("each permission needs the identity or the sid of a participant")]
    Nobody,
    /// Too much is named.
    #[error("{0}")]
    OverLimit(#[from] OverLimit),
}

impl Audience {
    /// The decision a message carries. Older clients name people by sid, which `identity_of` resolves; one who is
    /// not there (any more) is left out.
    pub(crate) fn new(
        said: &proto::SubscriptionPermission,
        identity_of: impl Fn(&str) -> Option<Identity>,
    ) -> Result<Self, AudienceError> {
        if said.all_participants {
            return Ok(Self::Everyone);
        }
        let tracks = said.track_permissions.iter().map(|one| one.track_sids.len());
        limits::check_audience(said.track_permissions.len(), tracks.sum())?;
        let mut members = BTreeMap::new();
        for permission in &said.track_permissions {
            let (sid, identity) = (&permission.participant_sid, &permission.participant_identity);
            let member = match (identity.as_str(), sid.as_str()) {
                ("", "") => return Err(AudienceError::Nobody),
                ("", sid) => identity_of(sid),
                (identity, _) => Some(Identity::new(identity)),
            };
            if let Some(member) = member {
                members.insert(member, Allowance::new(permission));
            }
        }
        Ok(Self::Only(members))
    }

    /// Whether `subscriber` may receive `track`.
    pub(crate) fn admits(&self, subscriber: &Identity, track: &TrackSid) -> bool {
        match self {
            Self::Everyone => true,
            Self::Only(members) => match members.get(subscriber) {
                Some(Allowance::Everything) => true,
                Some(Allowance::Tracks(tracks)) => tracks.contains(track),
                None => false,
            },
        }
    }
}

impl Allowance {
    fn new(said: &proto::TrackPermission) -> Self {
        if said.all_tracks {
            return Self::Everything;
        }
        Self::Tracks(said.track_sids.iter().map(TrackSid::new).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(sid: &str, identity: &str, tracks: Option<&[&str]>) -> proto::TrackPermission {
        proto::TrackPermission {
            participant_sid: sid.into(),
            participant_identity: identity.into(),
            all_tracks: tracks.is_none(),
            track_sids: tracks.unwrap_or_default().iter().map(|one| (*one).into()).collect(),
        }
    }

    fn audience(permissions: Vec<proto::TrackPermission>) -> Result<Audience, AudienceError> {
        let said = proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: permissions,
        };
        Audience::new(&said, |sid| (sid == "PA_bob").then(|| Identity::new("bob")))
    }

    #[test]
    fn only_who_is_named_receives_only_what_is_named() {
        let audience = audience(vec![
            permission("", "ann", None),
            permission("PA_bob", "", Some(&["TR_a"])),
            permission("PA_gone", "", None),
        ])
        .unwrap();
        let admits =
            |who: &str, track: &str| audience.admits(&Identity::new(who), &TrackSid::new(track));
        assert!(admits("ann", "TR_a") && admits("ann", "TR_later"));
        assert!(admits("bob", "TR_a") && !admits("bob", "TR_b"));
        assert!(!admits("cy", "TR_a"));
        assert!(Audience::Everyone.admits(&Identity::new("cy"), &TrackSid::new("TR_a")));
    }

    #[test]
    fn a_permission_for_nobody_and_endless_ones_are_refused() {
        assert_eq!(audience(vec![permission("", "", None)]), Err(AudienceError::Nobody));
        let endless = vec![permission("", "ann", None); limits::NAMED_TRACKS + 1];
        assert!(matches!(audience(endless), Err(AudienceError::OverLimit(_))));
        let tracks = vec!["TR_a"; limits::NAMED_TRACKS + 1];
        let endless = vec![permission("", "ann", Some(&tracks))];
        assert!(matches!(audience(endless), Err(AudienceError::OverLimit(_))));
    }
}
