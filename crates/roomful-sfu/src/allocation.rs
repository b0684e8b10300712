//! Allocation: what of a capacity each picture gets that somebody receives.
//!
//! Everyone gets a small picture before anyone gets a larger one: a face that is missing is worse than one that is soft.
//! The capacity is the caller's to know.

use roomful_rtp::units::Bitrate;

use crate::egress::Layer;

/// One picture that somebody receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The highest layer its receiver has a use for.
    pub(crate) wished: Layer,
    /// What forwarding each layer takes now, with all that it needs; nothing for one that is not sent.
    pub(crate) costs: [Bitrate; Layer::COUNT],
}

/// How much of a picture is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// None of it: not even the smallest layer has room.
    Paused,
    /// No more than this layer.
    UpTo(Layer),
}

impl Share {
    /// Whatever its receiver wishes.
    pub(crate) const ALL: Self = Self::UpTo(Layer::HIGH);
}

/// What each claim gets of `capacity`, in their order. Whoever cannot get even the smallest layer gets nothing if
/// `may_pause`, and the smallest anyway if not.
pub(crate) fn allocate(capacity: Bitrate, claims: &[Claim], may_pause: bool) -> Vec<Share> {
    let mut left = capacity.0;
    let smallest = claims.iter().map(|claim| {
        let cost = claim.cost_up_to(Layer::LOW);
        if cost > left && may_pause {
            return Share::Paused;
        }
        left = left.saturating_sub(cost);
        Share::UpTo(Layer::LOW)
    });
    let mut shares: Vec<Share> = smallest.collect();
    for layer in [Layer::MID, Layer::HIGH] {
        for (share, claim) in shares.iter_mut().zip(claims) {
            let Share::UpTo(reached) = *share else { continue };
            let more = claim.cost_up_to(layer).saturating_sub(claim.cost_up_to(reached));
            if claim.wished >= layer && more <= left {
                left -= more;
                *share = Share::UpTo(layer);
            }
        }
    }
    shares
}

impl Claim {
    /// In bits a second. A layer that is not sent is stood in for by the one below.
    fn cost_up_to(&self, layer: Layer) -> u64 {
        let sent = self.costs.iter().take(layer.index() + 1).rev();
        sent.map(|cost| cost.0).find(|cost| *cost > 0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERED: [Bitrate; 3] = [Bitrate(100), Bitrate(400), Bitrate(1_500)];

    fn claims(wishes: &[Layer]) -> Vec<Claim> {
        wishes.iter().map(|wished| Claim { wished: *wished, costs: LAYERED }).collect()
    }

    fn shares(capacity: u64, wishes: &[Layer], may_pause: bool) -> Vec<Option<usize>> {
        let shares = allocate(Bitrate(capacity), &claims(wishes), may_pause);
        let layer = |share| match share {
            Share::Paused => None,
            Share::UpTo(layer) => Some(Layer::index(layer)),
        };
        shares.into_iter().map(layer).collect()
    }

    #[test]
    fn everyone_gets_a_small_picture_before_anyone_gets_a_larger_one() {
        let two = [Layer::HIGH; 2];
        assert_eq!(shares(5_000, &two, true), [Some(2), Some(2)]);
        assert_eq!(shares(2_000, &two, true), [Some(2), Some(1)]);
        assert_eq!(shares(800, &two, true), [Some(1), Some(1)]);
        assert_eq!(shares(600, &two, true), [Some(1), Some(0)]);
        assert_eq!(shares(200, &two, true), [Some(0), Some(0)]);
    }

    #[test]
    fn what_has_no_room_at_all_is_paused_where_that_is_allowed() {
        let two = [Layer::HIGH; 2];
        assert_eq!(shares(150, &two, true), [Some(0), None]);
        assert_eq!(shares(0, &two, true), [None, None]);
        assert_eq!(shares(0, &two, false), [Some(0), Some(0)]);
    }

    #[test]
    fn nobody_gets_more_than_it_wishes_at_the_cost_of_another() {
        assert_eq!(shares(1_700, &[Layer::LOW, Layer::HIGH], true), [Some(0), Some(2)]);
        assert_eq!(shares(9_000, &[Layer::LOW, Layer::MID], true), [Some(0), Some(1)]);
    }

    #[test]
    fn a_layer_that_is_not_sent_costs_what_stands_in_for_it() {
        let costs = [Bitrate(100), Bitrate(0), Bitrate(0)];
        let claim = Claim { wished: Layer::HIGH, costs };
        assert_eq!(allocate(Bitrate(100), &[claim], true), [Share::ALL]);
        let nothing = Claim { wished: Layer::HIGH, costs: [Bitrate(0); 3] };
        assert_eq!(allocate(Bitrate(0), &[nothing], true), [Share::ALL]);
    }
}
