//! TCP connections that are older than a seal, by what became of them.

/// Most of them that are remembered; those not looked at for longest go first.
pub const MAX_OLDER: u32 = 16_384;
/// How long the kernel may answer on one that was cut, nanoseconds.
pub const CUT_LIFE: u64 = 60 * 1_000_000_000;

/// Value of `OLDER`, whose key is a [`super::Syn`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Older {
    /// Until when the seal's own work on it may show, `CLOCK_MONOTONIC`,
    /// nanoseconds; [`Older::ALWAYS`] for one that was kept.
    pub until: u64,
    /// 1 if a service listened on its port when it was cut.
    pub served: u64,
    /// Segments that the peer sent since, as the veth saw them.
    pub asked: u64,
    /// Answers that passed, by [`Layer`].
    pub answered: [u64; 2],
}

/// Who judges an answer; each sees those of the connection's own socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Layer {
    /// The cgroup's egress.
    Cgroup = 0,
    /// The veth.
    Frame = 1,
}

/// What a bare segment of the kernel's may do on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ended {
    /// The connection is not known to be older than the seal.
    Unknown = 0,
    /// It was cut: the segment is the seal's own doing, and stays here.
    Silent = 1,
    /// It may go out.
    Answered = 2,
}

impl Older {
    /// See [`Older::until`].
    pub const ALWAYS: u64 = u64::MAX;

    /// What one more answer, at the time `now`, may do: on a connection that was
    /// cut, one at once and then one for each segment that came in.
    #[inline(always)]
    pub const fn answer(&self, now: u64, layer: Layer) -> Ended {
        if self.until == Self::ALWAYS {
            return Ended::Answered;
        }
        if now > self.until {
            return Ended::Unknown;
        }
        let answered = self.answered[layer as usize];
        if self.served == 1 && answered <= self.asked {
            Ended::Answered
        } else {
            Ended::Silent
        }
    }

    /// Whether a segment of the peer's is for a connection that was cut.
    #[inline(always)]
    pub const fn is_cut(&self, now: u64) -> bool {
        self.until != Self::ALWAYS && now <= self.until && self.served == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Older = Older {
        until: 1000,
        served: 1,
        asked: 0,
        answered: [0; 2],
    };

    #[test]
    fn a_cut_connection_is_answered_once_and_then_for_each_segment() {
        for layer in [Layer::Cgroup, Layer::Frame] {
            let mut older = CUT;
            let answer = |older: &mut Older| {
                let ended = older.answer(1000, layer);
                older.answered[layer as usize] += u64::from(ended == Ended::Answered);
                ended
            };
            assert_eq!(answer(&mut older), Ended::Answered);
            assert_eq!(answer(&mut older), Ended::Silent);
            older.asked += 2;
            assert_eq!(answer(&mut older), Ended::Answered);
            assert_eq!(answer(&mut older), Ended::Answered);
            assert_eq!(answer(&mut older), Ended::Silent);
        }
    }

    #[test]
    fn what_was_cut_is_forgotten_and_what_was_kept_is_not() {
        assert_eq!(CUT.answer(1001, Layer::Frame), Ended::Unknown);
        assert!(CUT.is_cut(1000) && !CUT.is_cut(1001));
        let kept = Older {
            until: Older::ALWAYS,
            answered: [0, 9],
            ..CUT
        };
        assert_eq!(kept.answer(u64::MAX, Layer::Frame), Ended::Answered);
        assert!(!kept.is_cut(0), "its socket takes what comes");
    }

    #[test]
    fn nobody_hears_of_one_that_no_service_had() {
        let outgoing = Older { served: 0, ..CUT };
        assert_eq!(outgoing.answer(0, Layer::Frame), Ended::Silent);
        assert!(!outgoing.is_cut(0));
    }
}
