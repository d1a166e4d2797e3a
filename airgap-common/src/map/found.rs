//! What a look-up of a seal returns from a function that can return one number alone.

use super::{MAX_LEVEL, SealNumber};

const BITS: u32 = 4;
const _: () = assert!(MAX_LEVEL < 1 << BITS);

/// A seal and the level of its cgroup, which is not 0, in one number that is not 0. Seals
/// are counted from 1, and reserved numbers from the other end: the bits that make room
/// repeat the sign.
#[inline(always)]
pub const fn packed(seal: SealNumber, level: u32) -> u64 {
    seal << BITS | level as u64
}

/// The seal and the level of [`packed`]; level 0: nothing was found.
#[inline(always)]
pub const fn unpacked(found: u64) -> (SealNumber, u32) {
    let level = found & ((1 << BITS) - 1);
    ((found as i64 >> BITS) as u64, level as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{QUARANTINED, UNOWNED, UNRECORDED};

    #[test]
    fn comes_back_as_it_went() {
        for seal in [UNRECORDED, 1, 16_384, 1 << 58, UNOWNED, QUARANTINED] {
            for level in 1..=MAX_LEVEL {
                let found = packed(seal, level);
                assert_ne!(found, 0);
                assert_eq!(unpacked(found), (seal, level));
            }
        }
        assert_eq!(unpacked(0).1, 0);
    }
}
