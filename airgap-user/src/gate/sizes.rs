//! How large the maps are: by how many seals there may be when the gate is made.

use std::fs;

use airgap_common::map::{MAX_CGROUPS, MAX_SEALS, name};

use super::Place;

/// Room for seals where few containers run.
const FEW: u32 = 2_048;

/// Room for twice as many seals as these, and a tenth that nobody gets: the cgroups of
/// restarting containers shall always find room.
fn room_for(seals: usize) -> u32 {
    let wanted = u32::try_from(seals.saturating_mul(20) / 9).unwrap_or(MAX_SEALS);
    wanted
        .min(MAX_SEALS)
        .next_power_of_two()
        .clamp(FEW, MAX_SEALS)
}

/// Names of the maps that hold something of each seal, and how much of it.
pub(super) fn sizes(place: &Place) -> Vec<(&'static str, u32)> {
    // Each container has a cgroup.
    let seals = room_for(place.seals.max(cgroups_below(place)));
    let cgroups = (2 * seals).min(MAX_CGROUPS);
    let mut sizes: Vec<_> = [
        name::IDS,
        name::POLICIES,
        name::COUNTERS,
        name::SEALS,
        name::QUESTIONS,
        name::VETHS,
        name::OWN,
    ]
    .map(|name| (name, seals))
    .into();
    sizes.push((name::CGROUPS, place.max_cgroups.unwrap_or(cgroups)));
    sizes
}

/// How many there are now; 0 if that cannot be told.
fn cgroups_below(place: &Place) -> usize {
    let stat = fs::read_to_string(place.cgroup.join("cgroup.stat")).unwrap_or_default();
    let found = stat.lines().find_map(|l| l.strip_prefix("nr_descendants "));
    found.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_twice_as_many() {
        assert_eq!(room_for(0), FEW);
        assert_eq!(room_for(900), FEW);
        assert_eq!(room_for(1_000), 4_096);
        assert_eq!(room_for(1_000_000), MAX_SEALS);
        for seals in [1, 100, 1_000, 3_000, 7_000] {
            assert!(room_for(seals) / 10 * 9 + 10 > 2 * seals as u32, "{seals}");
        }
    }
}
