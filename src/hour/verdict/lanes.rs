//! What lanes of a cluster, which make the parts of an hour together, say of it. Pure.

use jiff::Timestamp;

/// What is known of the lanes of a cluster, which make the parts of an hour together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    /// All that was received before an hour closed is in the store, for every hour that closed until then. `None`: a lane has not said.
    pub(crate) closed_through: Option<Timestamp>,
    /// The lane that is the least far, for people.
    pub(crate) slowest: String,
    /// When the tokens in the quarantine were received. `None`: there are too many to tell.
    pub(crate) odd: Option<Vec<Timestamp>>,
    /// There are more pages that wait than those in `unread`.
    pub(crate) has_more_unread: bool,
}

impl Lanes {
    /// Why a lane may still have records of an hour that closed at `closes`.
    pub(super) fn may_have_more(&self, closes: Timestamp) -> Option<String> {
        let slowest = &self.slowest;
        match self.closed_through {
            None => Some(format!("{slowest} has not said yet what it has of it: `etl cluster status`")),
            Some(until) if until < closes => {
                Some(format!("{slowest} may still have records of it that are not in the store: `etl cluster status`"))
            }
            Some(_) if self.has_more_unread => {
                Some("more pages wait unread than were looked at, and one may hold records of it".to_owned())
            }
            Some(_) => None,
        }
    }

    /// Whether tokens that were received then are in the quarantine.
    pub(super) fn had_odd(&self, starts: Timestamp, closes: Timestamp) -> bool {
        let is_then = |at: &Timestamp| (starts..=closes).contains(at);
        self.odd.as_ref().is_none_or(|odd| odd.iter().any(is_then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hour_is_closed_when_the_slowest_lane_has_closed_it() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let lanes = |closed_through| Lanes { closed_through, slowest: "lane 3".to_owned(), ..Lanes::default() };
        assert!(lanes(None).may_have_more(at(10)).unwrap().starts_with("lane 3 has not said"));
        assert!(lanes(Some(at(9))).may_have_more(at(10)).unwrap().starts_with("lane 3 may still have"));
        assert_eq!(lanes(Some(at(10))).may_have_more(at(10)), None);
        let more = Lanes { has_more_unread: true, ..lanes(Some(at(10))) };
        assert!(more.may_have_more(at(10)).is_some());
        let odd = Lanes { odd: Some(vec![at(5)]), ..Lanes::default() };
        assert!(odd.had_odd(at(5), at(6)) && !odd.had_odd(at(6), at(7)));
        assert!(Lanes::default().had_odd(at(5), at(6)), "too many to tell");
    }
}
