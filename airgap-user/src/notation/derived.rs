//! Ids of seals that no engine gives: derived from a name, and marked as one kind's. Pure.

use airgap_common::map::ID_LEN;

/// Digits before the last that only ids of one kind have: no container's are these, but by
/// chance, one in 2^92.
#[derive(Clone, Copy, Debug)]
pub struct Kind(pub &'static str);

impl Kind {
    /// Whether this id is one of this kind.
    pub fn has(self, id: &str) -> bool {
        id.len() == ID_LEN && id.as_bytes()[..ID_LEN - 1].ends_with(self.0.as_bytes())
    }

    /// The id for a name, always the same.
    pub fn id_of(self, name: &str) -> String {
        let [a, b] = [0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142].map(|basis| hash(basis, name));
        let (mark, room) = (self.0, ID_LEN - self.0.len() - 1);
        format!("{:0<room$}{mark}0", format!("{a:016x}{b:016x}"))
    }
}

/// FNV-1a, from this basis.
fn hash(basis: u64, text: &str) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    text.bytes().fold(basis, step)
}
