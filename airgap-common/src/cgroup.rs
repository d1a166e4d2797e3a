//! Which cgroup names are a container's: one table of exact forms. A name that
//! merely carries the id is not one: the engine's monitor has such a name
//! (`libpod-conmon-<id>.scope`), and anybody can make others.

use crate::map::ID_LEN;

/// What stands before the id, and whether `.scope` stands behind it.
type Form = (&'static [u8], bool);

/// All there are, from the engines' sources:
/// - bare: Docker, containerd and Kubernetes with the cgroupfs driver;
/// - `<prefix>-<id>.scope`: runc's systemd driver (`slice:prefix:name`), with the
///   prefixes that Docker, Podman, containerd's CRI, CRI-O and nerdctl give it;
/// - `libpod-<id>`, `crio-<id>`: Podman and CRI-O with the cgroupfs manager;
/// - `libpod-payload-<id>`: Podman with `--cgroups=split`, as Quadlet has it.
pub const FORMS: [Form; 9] = [
    (b"", false),
    (b"docker-", true),
    (b"libpod-", true),
    (b"libpod-", false),
    (b"libpod-payload-", false),
    (b"cri-containerd-", true),
    (b"crio-", true),
    (b"crio-", false),
    (b"nerdctl-", true),
];

/// Bytes of a name's beginning that tell its form, a power of two: more than
/// any prefix has.
pub const HEAD: usize = 16;
/// What may stand behind the id.
pub const SCOPE: [u8; 6] = *b".scope";
/// Length of the longest name that has a form, bytes.
pub const LONGEST: usize = {
    let (mut longest, mut i) = (0, 0);
    while i < FORMS.len() {
        let len = length(FORMS[i]);
        if len > longest {
            longest = len;
        }
        i += 1;
    }
    longest
};

const _: () = assert!(LONGEST == 85);

const fn length((prefix, scope): Form) -> usize {
    prefix.len() + ID_LEN + if scope { SCOPE.len() } else { 0 }
}

/// A form as it is compared: words as they lie in memory, a mask over the prefix.
#[derive(Clone, Copy)]
struct Compared {
    len: u64,
    mask: [u64; 2],
    head: [u64; 2],
    at: u32,
    scope: bool,
}

const COMPARED: [Compared; FORMS.len()] = {
    let mut all = [compared(FORMS[0]); FORMS.len()];
    let mut i = 1;
    while i < FORMS.len() {
        all[i] = compared(FORMS[i]);
        i += 1;
    }
    all
};

const fn compared(form: Form) -> Compared {
    let (prefix, scope) = form;
    assert!(prefix.len() < HEAD);
    let (mut head, mut mask) = ([0; HEAD], [0; HEAD]);
    let mut i = 0;
    while i < prefix.len() {
        head[i] = prefix[i];
        mask[i] = 0xff;
        i += 1;
    }
    Compared {
        len: length(form) as u64,
        mask: words(mask),
        head: words(head),
        at: prefix.len() as u32,
        scope,
    }
}

/// The same bytes as two words, as they lie in memory.
#[inline(always)]
pub const fn words(bytes: [u8; HEAD]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
    ]
}

/// Where the id starts in a name of `len` bytes (at least [`ID_LEN`], or it has
/// none) that starts with `head` and whose last bytes are `tail`, if this name
/// has a form. Whether what stands there are hex digits is not looked at.
#[inline(always)]
pub const fn id_at(len: u64, head: [u64; 2], tail: [u8; 6]) -> Option<u32> {
    let [a, b, c, d, e, f] = tail;
    let [g, h, i, j, k, l] = SCOPE;
    let scope = (a ^ g) | (b ^ h) | (c ^ i) | (d ^ j) | (e ^ k) | (f ^ l) == 0;
    let mut n = 0;
    while n < COMPARED.len() {
        let form = &COMPARED[n];
        let differs = (len ^ form.len)
            | ((head[0] & form.mask[0]) ^ form.head[0])
            | ((head[1] & form.mask[1]) ^ form.head[1]);
        if differs == 0 && (scope || !form.scope) {
            return Some(form.at);
        }
        n += 1;
    }
    None
}

/// 1 for each byte that is no lower-case hex digit: a comparison a byte would
/// be two ways for the verifier to go on.
pub static NO_DIGIT: [u8; 256] = {
    let mut table = [1; 256];
    let mut i = 0;
    while i < 16 {
        table[b"0123456789abcdef"[i] as usize] = 0;
        i += 1;
    }
    table
};

/// The container id in a cgroup's name, if the name has one of the [`FORMS`]:
/// 64 lower-case hex digits and nothing else around them.
pub fn container_id(name: &str) -> Option<&str> {
    let bytes = name.as_bytes();
    let head = *bytes.first_chunk::<HEAD>()?;
    let tail = *bytes.last_chunk::<6>()?;
    let at = id_at(bytes.len() as u64, words(head), tail)? as usize;
    let id = bytes.get(at..at + ID_LEN)?;
    let digits = id.iter().all(|byte| NO_DIGIT[*byte as usize] == 0);
    // Only digits, so these are whole characters.
    if digits {
        name.get(at..at + ID_LEN)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String, vec::Vec};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn name(form: Form, id: &str) -> String {
        let prefix = core::str::from_utf8(form.0).unwrap();
        format!("{prefix}{id}{}", if form.1 { ".scope" } else { "" })
    }

    /// The rule once more, as one would write it without a verifier.
    fn by_hand(name: &str) -> Option<&str> {
        FORMS.iter().find_map(|(prefix, scope)| {
            let prefix = core::str::from_utf8(prefix).unwrap();
            let rest = name.strip_prefix(prefix)?;
            let id = if *scope {
                rest.strip_suffix(".scope")?
            } else {
                rest
            };
            let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            (id.len() == ID_LEN && id.bytes().all(digit)).then_some(id)
        })
    }

    #[test]
    fn takes_what_the_engines_make() {
        for made in [
            "ID",
            "docker-ID.scope",
            "libpod-ID.scope",
            "libpod-ID",
            "libpod-payload-ID",
            "cri-containerd-ID.scope",
            "crio-ID.scope",
            "crio-ID",
            "nerdctl-ID.scope",
        ] {
            assert_eq!(container_id(&made.replace("ID", ID)), Some(ID), "{made}");
        }
        // Also an id that begins or ends as a form does.
        let id = "c".repeat(ID_LEN);
        for form in FORMS {
            assert_eq!(container_id(&name(form, &id)), Some(id.as_str()));
        }
    }

    #[test]
    fn refuses_what_merely_carries_the_id() {
        for other in [
            "libpod-conmon-ID.scope",
            "libpod-conmon-ID",
            "crio-conmon-ID.scope",
            "other-ID",
            "other-ID.scope",
            "xID",
            "x-ID.scope",
            "IDx",
            "ID-x",
            "0ID",
            "ID0",
            "IDID",
            "ID.scope",
            "ID.slice",
            "docker-ID",
            "docker-ID.slice",
            "docker-ID.scopes",
            "docker-ID.Scope",
            "docker-0ID.scope",
            "docker--ID.scope",
            "Docker-ID.scope",
            "nerdctl-ID",
            "cri-containerd-ID",
            "libpod_ID.scope",
            "libpod-payload-ID.scope",
            "libpod-payload-conmon-ID",
            "libpodxID.scope",
            " ID",
            "ID ",
            "",
            ".scope",
            "docker-.scope",
        ] {
            assert_eq!(container_id(&other.replace("ID", ID)), None, "{other}");
        }
        for form in FORMS {
            for id in [
                &ID[1..],
                &ID.to_uppercase(),
                &format!("{}g", &ID[1..]),
                &format!("{}é", &ID[2..]),
                &format!("é{}", &ID[2..]),
                &ID.replace('0', "\0"),
            ] {
                assert_eq!(container_id(&name(form, id)), None, "{form:?} {id}");
            }
        }
    }

    #[test]
    fn agrees_with_the_plain_rule_on_names_thrown_together() {
        let pieces = [
            ID,
            &ID[..63],
            "docker-",
            "libpod-",
            "payload-",
            "conmon-",
            "crio-",
            "cri-",
            "containerd-",
            "nerdctl-",
            ".scope",
            ".slice",
            "0",
            "f",
            "-",
            "é",
            "A",
        ];
        let (mut state, mut found) = (0x2545_f491_u64, 0);
        let mut below = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n as u64) as usize
        };
        for _ in 0..200_000 {
            let parts = 1 + below(4);
            let chosen: Vec<_> = (0..parts).map(|_| pieces[below(pieces.len())]).collect();
            let name = chosen.concat();
            assert_eq!(container_id(&name), by_hand(&name), "{name}");
            found += usize::from(container_id(&name).is_some());
        }
        assert!(found > 1_000, "{found} names of a form");
    }
}
