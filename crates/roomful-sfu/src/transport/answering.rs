//! Answering offers: what is agreed on, and under which SSRCs this server sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer::{Receiving, StreamLabel, finish_sections, without_receiving};
use super::negotiated::{Negotiated, NegotiatedSection, OutgoingSsrcs};
use super::offer::{OfferedSection, read_sections};
use super::preference::{SentAs, in_order_of, prefer};
use super::unwanted::{without_codecs, without_codecs_answered};
use super::{MAX_SECTIONS, Section, Transport, without_addresses};
use crate::codecs::AllowedCodecs;

/// Why an offer was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferError {
    #[error("the offer is not valid SDP: {0}")]
    Malformed(String),
    #[error("the offer cannot be answered: {0}")]
    Unacceptable(String),
    #[error(
        "the offer has {found} media sections and {MAX_SECTIONS} are allowed: unpublish or unsubscribe first"
    )]
    TooManySections { found: usize },
    #[error(
        "the answer would have other sections than the offer, which leaves out some of the offer before or has some that \
         are neither audio, video nor data"
    )]
    OtherSections,
}

impl Transport {
    /// Takes an SDP offer; [`Transport::answer`] then finishes the answer, which agrees on no codec that is not
    /// `allowed`. Returns its sections.
    ///
    /// # Errors
    /// What is wrong with the offer; the transport goes on with what was negotiated before.
    pub(crate) fn handle_offer(
        &mut self,
        sdp: &str,
        allowed: &AllowedCodecs,
    ) -> Result<Vec<OfferedSection>, OfferError> {
        let offered = read_sections(sdp);
        if offered.len() > MAX_SECTIONS {
            return Err(OfferError::TooManySections { found: offered.len() });
        }
        // To `str0m`, Opus has redundancy in all sections or in none, by the first that names it: where it is not allowed
        // one way, it is taken out of the answer.
        let sdp = &without_codecs(sdp, &allowed.with_redundancy_both_ways());
        let offer = str0m::change::SdpOffer::from_sdp_string(&without_receiving(sdp))
            .map_err(|error| OfferError::Malformed(without_addresses(&error.to_string())))?;
        let accepted = self.rtc.sdp_api().accept_offer(offer);
        self.drain();
        let answer = accepted.map_err(|error| OfferError::Unacceptable(error.to_string()))?;
        let answer = in_order_of(sdp, &answer.to_sdp_string());
        let answer = without_codecs_answered(&answer, allowed).into_owned();
        let mut negotiated = Negotiated::read(sdp, &answer);
        // Each is answered in its place (RFC 8829 §5.3.1): by it they are known from now on.
        let answered = negotiated.sections.iter().map(|section| &section.mid);
        if !offered.iter().map(|section| &section.mid).eq(answered) {
            return Err(OfferError::OtherSections);
        }
        self.unlabelled_answer = answer;
        for (section, offer) in negotiated.sections.iter_mut().zip(&offered) {
            section.rids.clone_from(&offer.rids);
            let kept = self.kept_ssrcs(offer);
            let repairs = section.formats.iter().any(|format| format.repair.is_some());
            section.outgoing =
                offer.receives.then(|| kept.unwrap_or_else(|| self.new_ssrcs(repairs)));
        }
        self.negotiated = Arc::new(negotiated);
        self.sections.clone_from(&offered);
        Ok(offered)
    }

    /// What the last offer and its answer agreed on.
    pub(crate) fn negotiated(&self) -> &Arc<Negotiated> {
        &self.negotiated
    }

    /// The answer to the last offer, with each receiving section labelled, or inactive without a label, and each sending
    /// section as it is `sent`. Once: it is not kept.
    pub(crate) fn answer(
        &mut self,
        labels: &BTreeMap<Section, StreamLabel>,
        sent: &BTreeMap<Section, SentAs>,
    ) -> String {
        let receiving = self.sections.iter().zip(&self.negotiated.sections);
        let receiving = receiving
            .filter(|(offered, _)| offered.receives)
            .map(|(offered, agreed)| {
                let label = labels.get(&offered.section).cloned();
                let receiving =
                    Receiving { sends: offered.sends, stream: label.zip(agreed.outgoing) };
                (offered.mid.clone(), receiving)
            })
            .collect();
        let preferred = prefer(&std::mem::take(&mut self.unlabelled_answer), sent);
        finish_sections(&preferred, &receiving)
    }

    /// The SSRCs of a section that was negotiated before.
    fn kept_ssrcs(&self, offered: &OfferedSection) -> Option<OutgoingSsrcs> {
        let former = self.negotiated.sections.get(offered.section.index())?;
        former.outgoing.filter(|_| former.mid == offered.mid)
    }

    pub(super) fn new_ssrcs(&mut self, repairs: bool) -> OutgoingSsrcs {
        let media = self.rng.u32(1..);
        OutgoingSsrcs { media, repair: repairs.then(|| self.rng.u32(1..)) }
    }

    /// What is forwarded in `section` from now on is another stream, with SSRCs of its own in the next answer, or, where
    /// this server offers, in a later offer.
    pub(crate) fn renew_stream(&mut self, section: Section) {
        let repairs = |agreed: &NegotiatedSection| Some(agreed.outgoing?.repair.is_some());
        let Some(agreed) = self.negotiated.sections.get(section.index()) else { return };
        let Some(repairs) = repairs(agreed) else { return };
        let renewed = self.offering.is_none().then(|| self.new_ssrcs(repairs));
        let negotiated = Arc::make_mut(&mut self.negotiated);
        if let Some(agreed) = negotiated.sections.get_mut(section.index()) {
            agreed.outgoing = renewed;
        }
    }
}
