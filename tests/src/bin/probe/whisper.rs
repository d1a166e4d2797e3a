//! Speaks by what its own kernel asks the link for: each question can be for an address of the
//! speaker's choice.

use airgap::technique::forged;
use airgap::technique::sys::{Fail, Step};
use airgap::technique::target::Target;
use serde_json::json;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Faster than any seal lets pass.
const PAUSE: Duration = Duration::from_millis(2);

/// Whispers in one IP version; prints how many questions it tried to have asked.
pub(crate) fn run(version: &str, seconds: &str) -> Result<(), String> {
    let seconds = seconds.parse().map_err(|e| format!("{seconds}: {e}"))?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let target = Target::parse(&[]);
    let mut tried = 0_u64;
    while Instant::now() < end {
        let asked = if version == "4" {
            ask4(&target, tried)
        } else {
            ask6(&target, tried)
        };
        asked.map_err(|fail| match fail {
            Fail::Os { step, errno } => format!("{step}: errno {errno}"),
            Fail::Skip(why) => why,
        })?;
        tried += 1;
        std::thread::sleep(PAUSE);
    }
    println!("{}", json!({ "tried": tried }));
    Ok(())
}

/// The container networks of the proofs are /27; three of its addresses are taken.
fn ask4(t: &Target, number: u64) -> Step<()> {
    let own = u32::from(t.own4()?);
    let host = u32::try_from(4 + number % 26).unwrap_or(4);
    forged::ask4(Ipv4Addr::from(own & !31 | host))
}

fn ask6(t: &Target, number: u64) -> Step<()> {
    let own = u128::from(t.own6()?);
    // All 64 bits behind the prefix carry something.
    let low = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let asked = Ipv6Addr::from(own >> 64 << 64 | u128::from(low));
    forged::ask6(own.into(), asked)
}
