//! From observations to a verdict. Pure.

use serde::Serialize;

use super::sighting::Sighting;
use crate::technique::{Outcome, Report, Way, vector};

/// What was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Something got out.
    Leak,
    /// Not shown either way.
    Unknown,
    /// It gets out without the seal, does not with it, and the seal said no.
    Proven,
}

impl Verdict {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leak => "LEAK",
            Self::Unknown => "UNKNOWN",
            Self::Proven => "PROVEN",
        }
    }
}

/// What the witnesses saw of a sealed attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Something left the container's namespace.
    pub(super) left: Sighting,
    /// Of that, something passed the frame programs.
    pub(super) passed: Sighting,
    /// A listener outside the cgroup heard it.
    pub(super) heard: Sighting,
}

/// What is known of one way out.
#[derive(Clone, Debug)]
pub(super) struct Evidence<'a> {
    pub(super) way: &'a Way,
    /// Whether the same attempt got out without the seal; if not, why.
    pub(super) control: Result<(), String>,
    /// How the sealed attempt ended.
    pub(super) report: &'a Report,
    pub(super) seen: Seen,
    /// What refused the sealed attempt, as the kernel's records say.
    pub(super) refused: Option<String>,
    /// The container has CAP_NET_RAW.
    pub(super) net_raw: bool,
    /// Why the container's own interfaces are not guarded, if they are not.
    pub(super) unguarded: Option<&'a str>,
    /// Why the witnesses may have missed something, or taken something of the
    /// container's own for an attempt, if they may.
    pub(super) blind: Option<&'a str>,
    /// Refusals whose record was lost, as so many were made at once.
    pub(super) lost: u64,
}

/// A verdict with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    /// What refused it.
    pub(super) by: Option<String>,
    /// Why it is no proof.
    pub(super) detail: Option<String>,
}

const NO_NET_RAW: &str = "the kernel: no CAP_NET_RAW";

/// Judges one way out. A leak needs no control; a proof needs it all.
pub(super) fn judge(e: &Evidence<'_>) -> Judgement {
    let not = |verdict, detail: String| Judgement {
        verdict,
        by: e.refused.clone(),
        detail: Some(detail),
    };
    if let Some(where_to) = leak(e) {
        return not(Verdict::Leak, where_to);
    }
    if let Err(why) = &e.control {
        return not(Verdict::Unknown, format!("no positive control: {why}"));
    }
    if let Some(why) = e.blind {
        return not(Verdict::Unknown, why.to_owned());
    }
    if e.report.outcome == Outcome::Skipped {
        let why = format!(
            "works unsealed, cannot be tried sealed: {}",
            e.report.detail
        );
        return not(Verdict::Unknown, why);
    }
    let by = e.refused.clone().or_else(|| by_capability(e));
    if by.is_none() && e.lost > 0 {
        let why = format!(
            "nothing was seen, and what refused it may be among {} records that were lost: the container's own attempts use up what is recorded",
            e.lost
        );
        return not(Verdict::Unknown, why);
    }
    if by.is_none() {
        let why = format!(
            "nothing was seen, and nothing refused it ({})",
            ended(e.report)
        );
        return not(Verdict::Unknown, why);
    }
    Judgement {
        verdict: Verdict::Proven,
        by,
        detail: None,
    }
}

/// How it got out, if it did.
fn leak(e: &Evidence<'_>) -> Option<String> {
    // A port could have been hit by whoever disturbs the witnesses; a marker not.
    let sure = |seen| match seen {
        Sighting::Marker => true,
        Sighting::Port => e.blind.is_none(),
        Sighting::No => false,
    };
    if sure(e.seen.heard) {
        return Some("heard by a listener outside the seal".into());
    }
    if !e.way.is_frame_level() {
        return sure(e.seen.left).then(|| "seen on the container's link".into());
    }
    if sure(e.seen.passed) {
        return Some("passed the frame programs".into());
    }
    if e.refused
        .as_deref()
        .is_some_and(|by| by.starts_with("lsm:"))
        && e.seen.left == Sighting::No
    {
        // Refused as a call: no frame was made that a veth would have to stop.
        return None;
    }
    // A join needs no capability.
    if let Some(why) = e.unguarded
        && (e.net_raw || e.way.vector != vector::PACKET_SOCKETS)
    {
        return Some(why.to_owned());
    }
    None
}

/// A refusal that came before the gate's turn.
fn by_capability(e: &Evidence<'_>) -> Option<String> {
    let Report { errno, detail, .. } = e.report;
    let steps = ["socket", "IP_TRANSPARENT", "IP_OPTIONS", "int80 setsockopt"];
    let step = steps.contains(&detail.as_str());
    (step && *errno == libc::EPERM && !e.net_raw && e.seen.left == Sighting::No)
        .then(|| NO_NET_RAW.to_owned())
}

/// How an attempt ended, for people.
pub(super) fn ended(report: &Report) -> String {
    match report.outcome {
        Outcome::Sent => "every call succeeded".into(),
        Outcome::NoAnswer => "no answer".into(),
        Outcome::Skipped => report.detail.clone(),
        Outcome::Refused => {
            let error = std::io::Error::from_raw_os_error(report.errno);
            format!("{}: {error}", report.detail)
        }
    }
}

/// Why a way out does not exist in this container or kernel even without the
/// seal, by how its control ended; `None` if it may.
pub(super) fn impossible(control: &Report) -> Option<String> {
    let missing = matches!(
        control.errno,
        libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::ESOCKTNOSUPPORT | libc::ENOPROTOOPT
    );
    match (control.outcome, control.detail.as_str()) {
        (Outcome::Skipped, why) => Some(why.to_owned()),
        (Outcome::Refused, "socket") if missing => Some("not in this kernel".into()),
        (Outcome::Refused, "socket") if control.errno == libc::EACCES => {
            Some("net.ipv4.ping_group_range forbids it in this container".into())
        }
        (Outcome::Refused, "bind") if control.errno == libc::EADDRINUSE => Some(
            "a port it needs is in use in the container, the service port by its own server".into(),
        ),
        _ => None,
    }
}

/// The verdict on several: the worst.
pub(super) fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    // Nothing tried is nothing shown.
    verdicts.min().unwrap_or(Verdict::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::technique::find;

    const LEFT: Seen = Seen {
        left: Sighting::Marker,
        passed: Sighting::No,
        heard: Sighting::No,
    };

    fn report(outcome: Outcome, errno: i32, detail: &str) -> Report {
        Report {
            technique: String::new(),
            outcome,
            errno,
            micros: 1,
            detail: detail.into(),
        }
    }

    fn refused() -> Report {
        report(Outcome::Refused, libc::EPERM, "connect")
    }

    fn good<'a>(way: &str, report: &'a Report) -> Evidence<'a> {
        Evidence {
            way: find(way).unwrap(),
            control: Ok(()),
            report,
            seen: Seen::default(),
            refused: Some("connect4: egress".into()),
            net_raw: true,
            unguarded: None,
            blind: None,
            lost: 0,
        }
    }

    fn verdict(e: Evidence<'_>) -> Verdict {
        judge(&e).verdict
    }

    #[test]
    fn a_proof_needs_control_silence_and_refusal() {
        let report = refused();
        let good = || good("tcp4", &report);
        assert_eq!(verdict(good()), Verdict::Proven);
        let no_control = Evidence {
            control: Err("not seen".into()),
            ..good()
        };
        assert_eq!(verdict(no_control), Verdict::Unknown);
        let uncounted = Evidence {
            refused: None,
            ..good()
        };
        assert_eq!(verdict(uncounted), Verdict::Unknown);
        let blind = Evidence {
            blind: Some("lost frames"),
            ..good()
        };
        assert_eq!(verdict(blind), Verdict::Unknown);
        let skipped = self::report(Outcome::Skipped, 0, "no io_uring");
        assert_eq!(verdict(self::good("tcp4", &skipped)), Verdict::Unknown);
    }

    #[test]
    fn a_leak_is_one_whatever_else_is_known() {
        let report = refused();
        let left = Evidence {
            seen: LEFT,
            control: Err("not seen".into()),
            blind: Some("lost frames"),
            ..good("tcp4", &report)
        };
        assert_eq!(verdict(left), Verdict::Leak);
        let heard = Evidence {
            seen: Seen {
                heard: Sighting::Marker,
                ..Seen::default()
            },
            ..good("stranger-tcp4", &report)
        };
        assert_eq!(verdict(heard), Verdict::Leak);
    }

    #[test]
    fn a_port_alone_is_no_leak_while_somebody_disturbs() {
        let report = refused();
        let by_port = Seen {
            left: Sighting::Port,
            passed: Sighting::Port,
            heard: Sighting::Port,
        };
        for way in ["tcp4", "packet-raw", "stranger-tcp4"] {
            let quiet = Evidence {
                seen: by_port,
                ..good(way, &report)
            };
            assert_eq!(verdict(quiet.clone()), Verdict::Leak, "{way}");
            let disturbed = Evidence {
                blind: Some("frames of no attempt"),
                ..quiet
            };
            assert_eq!(verdict(disturbed), Verdict::Unknown, "{way}");
        }
        let lost = Evidence {
            refused: None,
            lost: 7,
            ..good("tcp4", &report)
        };
        let judged = judge(&lost);
        assert_eq!(judged.verdict, Verdict::Unknown);
        assert!(judged.detail.unwrap().contains("7 records that were lost"));
    }

    #[test]
    fn frames_may_reach_the_link_but_not_pass() {
        let report = report(Outcome::Sent, 0, "");
        let on_link = Evidence {
            seen: LEFT,
            ..good("packet-raw", &report)
        };
        assert_eq!(verdict(on_link.clone()), Verdict::Proven);
        let passed = Evidence {
            seen: Seen {
                passed: Sighting::Marker,
                ..LEFT
            },
            ..on_link.clone()
        };
        assert_eq!(verdict(passed), Verdict::Leak);
        let unguarded = Evidence {
            unguarded: Some("nothing guards eth0"),
            ..on_link
        };
        assert_eq!(verdict(unguarded), Verdict::Leak);
    }

    #[test]
    fn without_net_raw_the_kernel_refuses_frames_but_not_joins() {
        let report = report(Outcome::Refused, libc::EPERM, "socket");
        let without = |way| Evidence {
            net_raw: false,
            refused: None,
            unguarded: Some("nothing guards eth0"),
            ..good(way, &report)
        };
        assert_eq!(verdict(without("packet-raw")), Verdict::Proven);
        assert_eq!(
            judge(&without("packet-raw")).by.as_deref(),
            Some(NO_NET_RAW)
        );
        assert_eq!(verdict(without("igmp-join")), Verdict::Leak);
    }

    #[test]
    fn a_socket_that_was_refused_needs_no_guarded_veth() {
        let report = report(Outcome::Refused, libc::EPERM, "socket");
        let by_lsm = |seen| Evidence {
            refused: Some("lsm: socket-type".into()),
            unguarded: Some("nothing guards eth0"),
            seen,
            ..good("packet-raw", &report)
        };
        assert_eq!(verdict(by_lsm(Seen::default())), Verdict::Proven);
        // Something left all the same: the refusal was not this attempt's.
        assert_eq!(verdict(by_lsm(LEFT)), Verdict::Leak);
    }

    #[test]
    fn what_cannot_exist_is_not_tried() {
        let refused = |errno, step| report(Outcome::Refused, errno, step);
        assert!(impossible(&refused(libc::EPROTONOSUPPORT, "socket")).is_some());
        assert!(impossible(&refused(libc::EADDRINUSE, "bind")).is_some());
        assert!(impossible(&report(Outcome::Skipped, 0, "no io_uring")).is_some());
        assert_eq!(impossible(&refused(libc::EPERM, "socket")), None);
        assert_eq!(impossible(&refused(libc::EPROTONOSUPPORT, "connect")), None);
        assert_eq!(impossible(&report(Outcome::Sent, 0, "")), None);
    }

    #[test]
    fn one_leak_is_a_leak() {
        use Verdict::{Leak, Proven, Unknown};
        assert_eq!(worst([Proven, Unknown, Leak].into_iter()), Leak);
        assert_eq!(worst([Proven, Unknown].into_iter()), Unknown);
        assert_eq!(worst([Proven].into_iter()), Proven);
        assert_eq!(worst([].into_iter()), Unknown);
    }
}
