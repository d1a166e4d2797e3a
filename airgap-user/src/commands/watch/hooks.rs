//! Tells of security hooks that fall silent, once, and of their return.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::gate::{Gate, Place, Security, Silence};

/// Half of the second within which it is to be told.
const TICK: Duration = Duration::from_millis(500);

/// Looks for ever, with an engine or without.
pub(super) async fn look_after(place: &Place) -> std::convert::Infallible {
    let mut told = None;
    let mut timer = interval(TICK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        // A gate that is damaged is told of elsewhere.
        let Ok(Some(gate)) = Gate::open(place) else {
            told = None;
            continue;
        };
        match news(&mut told, gate.security()) {
            Some(News::Bad(silence)) => log::warn!(
                "SEALED, OPENED: {}; containers that run can open what the hooks would refuse; run: {}",
                silence.why(),
                silence.mend("NAME")
            ),
            Some(News::Good) => log::warn!(
                "the security hooks refuse again; what a container opened meanwhile stays open until it is restarted"
            ),
            None => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum News {
    Bad(Silence),
    Good,
}

/// What is to be said, and has not been. Pure.
fn news(told: &mut Option<Silence>, now: Security) -> Option<News> {
    match (now, *told) {
        (Security::Silent(silence), before) if before != Some(silence) => {
            *told = Some(silence);
            Some(News::Bad(silence))
        }
        (Security::Silent(_), _) | (_, None) => None,
        (Security::InForce(_) | Security::Skipped(_), Some(_)) => {
            *told = None;
            Some(News::Good)
        }
        (Security::Absent, Some(_)) => {
            *told = None;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{News, news};
    use crate::gate::{
        Mechanism,
        Security::{Absent, InForce, Silent},
        Silence::{Broken, FtraceOff},
    };

    #[test]
    fn each_change_is_told_once() {
        let mut told = None;
        let well = InForce(Mechanism::ModifyReturn);
        for (now, said) in [
            (Absent, None),
            (well, None),
            (Silent(FtraceOff), Some(News::Bad(FtraceOff))),
            (Silent(FtraceOff), None),
            (Silent(Broken), Some(News::Bad(Broken))),
            (well, Some(News::Good)),
            (well, None),
            (Silent(FtraceOff), Some(News::Bad(FtraceOff))),
            // The gate went with the last seal.
            (Absent, None),
            (well, None),
        ] {
            assert_eq!(news(&mut told, now), said, "{now:?}");
        }
    }
}
