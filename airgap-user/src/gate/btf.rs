//! Member offsets from the kernel's BTF (Documentation/bpf/btf.rst).
//!
//! aya reads BTF too but has no public way to ask for a member.

use anyhow::{Context as _, Result, anyhow, bail};

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FWD: u32 = 7;
/// A type's other name.
pub const KIND_TYPEDEF: u32 = 8;
/// A function.
pub const KIND_FUNC: u32 = 12;

/// Raw BTF of a kernel with an index of its types.
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type starts; index = type id - 1.
    types: Vec<usize>,
    /// Those of them that are structs with members.
    structs: Vec<usize>,
    strings: usize,
}

impl Btf {
    /// Reads `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// If the kernel was built without `CONFIG_DEBUG_INFO_BTF`.
    pub fn of_kernel() -> Result<Self> {
        const PATH: &str = "/sys/kernel/btf/vmlinux";
        Self::parse(std::fs::read(PATH).with_context(|| format!("cannot read {PATH}"))?)
    }

    /// Takes a BTF blob apart.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        let word = |at: usize| word(&bytes, at);
        if word(0)? & 0xffff != 0xeb9f {
            bail!("the kernel's BTF has a bad magic number");
        }
        let header = word(4)? as usize;
        let start = header + word(8)? as usize;
        let end = start + word(12)? as usize;
        let strings = header + word(16)? as usize;
        let mut types = Vec::with_capacity(1 << 17);
        let mut structs = Vec::with_capacity(1 << 14);
        let mut at = start;
        while at < end {
            types.push(at);
            let info = word(at + 4)?;
            let members = (info & 0xffff) as usize;
            if (info >> 24) & 0x1f == KIND_STRUCT && members != 0 {
                structs.push(at);
            }
            at += 12
                + match (info >> 24) & 0x1f {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * members,
                    6 | 13 => 8 * members,
                    2 | 7..=12 | 16 | 18 => 0,
                    other => bail!("the kernel's BTF has a type of unknown kind {other}"),
                };
        }
        Ok(Self {
            bytes,
            types,
            structs,
            strings,
        })
    }

    /// Offset of a member in bytes; members of anonymous structs and unions
    /// count as the outer struct's own.
    ///
    /// # Errors
    /// If there is no such struct or member, or it is a bit field.
    pub fn offset(&self, name: &str, member: &str) -> Result<u64> {
        for &at in &self.structs {
            if self.is_string(self.word(at)?, name) {
                let bits = self
                    .member(at, member, 0)?
                    .ok_or_else(|| anyhow!("the kernel's struct {name} has no member {member}"))?;
                if bits % 8 != 0 {
                    bail!("member {member} of the kernel's struct {name} is a bit field");
                }
                return Ok(u64::from(bits / 8));
            }
        }
        bail!("this kernel has no struct {name}")
    }

    /// BTF that has these types alone (kind and name), each under the number that
    /// it has here, and nothings in between: what is parsed in full has a hundred
    /// thousand more. Types of kinds with nothing behind their twelve bytes.
    ///
    /// # Errors
    /// If this BTF is malformed.
    pub fn only(&self, wanted: &[(u32, String)]) -> Result<Vec<u8>> {
        let (mut types, mut strings) = (Vec::new(), vec![0]);
        for (index, &at) in self.types.iter().enumerate() {
            let kind = (self.word(at + 4)? >> 24) & 0x1f;
            let name = self.word(at)?;
            let mut wanted = wanted.iter();
            let Some((_, wanted)) = wanted.find(|(k, w)| *k == kind && self.is_string(name, w))
            else {
                continue;
            };
            let name = u32::try_from(strings.len())?;
            strings.extend(wanted.as_bytes());
            strings.push(0);
            types.resize(index, [0, KIND_FWD << 24, 0]);
            types.push([name, kind << 24, 0]);
        }
        let len = u32::try_from(12 * types.len())?;
        let header = [0x1_eb9f, 24, 0, len, len, u32::try_from(strings.len())?];
        let words = header.iter().chain(types.iter().flatten());
        let mut blob: Vec<u8> = words.flat_map(|w| w.to_ne_bytes()).collect();
        blob.extend(strings);
        Ok(blob)
    }

    fn member(&self, at: usize, name: &str, depth: u32) -> Result<Option<u32>> {
        let info = self.word(at + 4)?;
        let bitfields = info >> 31 == 1;
        for i in 0..(info & 0xffff) as usize {
            let member = at + 12 + 12 * i;
            let mut bits = self.word(member + 8)?;
            if bitfields {
                bits &= 0x00ff_ffff;
            }
            let string = self.word(member)?;
            if string != 0 {
                if self.is_string(string, name) {
                    return Ok(Some(bits));
                }
                continue;
            }
            let inner = self.word(member + 4)? as usize;
            let Some(&inner) = inner.checked_sub(1).and_then(|i| self.types.get(i)) else {
                continue;
            };
            let kind = (self.word(inner + 4)? >> 24) & 0x1f;
            if depth < 8
                && matches!(kind, KIND_STRUCT | KIND_UNION)
                && let Some(within) = self.member(inner, name, depth + 1)?
            {
                return Ok(Some(bits + within));
            }
        }
        Ok(None)
    }

    fn word(&self, at: usize) -> Result<u32> {
        word(&self.bytes, at)
    }

    fn is_string(&self, offset: u32, expected: &str) -> bool {
        let at = self.strings + offset as usize;
        self.bytes.get(at..).is_some_and(|s| {
            s.starts_with(expected.as_bytes()) && s.get(expected.len()) == Some(&0)
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map(u32::from_ne_bytes)
        .ok_or_else(|| anyhow!("the kernel's BTF ends too early, at byte {at}"))
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::{Btf, KIND_FUNC, KIND_TYPEDEF};

    /// struct outer { int a; union { int b; struct { int c; int d; }; }; }
    fn blob() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0d\0";
        let mut types: Vec<u32> = Vec::new();
        types.extend([0, 1 << 24, 4, 0]); // 1: int
        types.extend([0, (4 << 24) | 2, 8, 11, 1, 0, 13, 1, 32]); // 2: struct { c, d }
        types.extend([0, (5 << 24) | 2, 8, 9, 1, 0, 0, 2, 0]); // 3: union { b, 2 }
        types.extend([1, (4 << 24) | 2, 12, 7, 1, 0, 0, 3, 32]); // 4: outer { a, 3 }
        wrapped(&types, strings)
    }

    fn wrapped(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        let len = u32::try_from(types.len() * 4).unwrap();
        for word in [
            0x1_eb9f,
            24,
            0,
            len,
            len,
            u32::try_from(strings.len()).unwrap(),
        ] {
            out.extend(u32::to_ne_bytes(word));
        }
        types.iter().for_each(|w| out.extend(w.to_ne_bytes()));
        out.extend(strings);
        out
    }

    #[test]
    fn finds_members_through_anonymous_unions() {
        let btf = Btf::parse(blob()).unwrap();
        assert_eq!(btf.offset("outer", "a").unwrap(), 0);
        assert_eq!(btf.offset("outer", "b").unwrap(), 4);
        assert_eq!(btf.offset("outer", "d").unwrap(), 8);
        assert!(
            btf.offset("outer", "e")
                .unwrap_err()
                .to_string()
                .contains("no member e")
        );
        assert!(btf.offset("oute", "a").is_err());
    }

    #[test]
    fn only_keeps_numbers() {
        let mut types: Vec<u32> = Vec::new();
        types.extend([0, 1 << 24, 4, 0]); // 1: int
        types.extend([1, KIND_TYPEDEF << 24, 1]); // 2: typedef a
        types.extend([1, KIND_FUNC << 24, 2]); // 3: func a
        types.extend([3, KIND_FUNC << 24, 2]); // 4: func b
        types.extend([3, KIND_TYPEDEF << 24, 1]); // 5: typedef b
        let btf = Btf::parse(wrapped(&types, b"\0a\0b\0")).unwrap();
        let wanted = [
            (KIND_FUNC, "b".into()),
            (KIND_TYPEDEF, "a".into()),
            (KIND_FUNC, "c".into()),
        ];
        let only = btf.only(&wanted).unwrap();
        let only = aya::Btf::parse(&only, aya::Endianness::default()).unwrap();
        let id = |name, kind| only.id_by_type_name_kind(name, kind);
        assert_eq!(id("b", BtfKind::Func).unwrap(), 4);
        assert_eq!(id("a", BtfKind::Typedef).unwrap(), 2);
        for (name, kind) in [
            ("a", BtfKind::Func),
            ("b", BtfKind::Typedef),
            ("c", BtfKind::Func),
        ] {
            assert!(id(name, kind).is_err(), "{name}");
        }
    }

    #[test]
    fn refuses_what_is_cut_short() {
        for len in 0..blob().len() - 16 {
            let cut = Btf::parse(blob()[..len].to_vec());
            assert!(
                cut.is_err() || cut.is_ok_and(|b| b.offset("outer", "d").is_err()),
                "{len}"
            );
        }
    }
}
