//! Sockets that lead elsewhere, in words: one line for each kind, however many there are.

use crate::container::{Carried, Holder, Leads};

/// Lines that differ only in who holds what.
#[derive(Debug, Default)]
pub(super) struct Counted(Vec<(String, String, usize)>);

impl Counted {
    /// One more of a kind.
    pub(super) fn add(&mut self, what: String, holder: &Holder) {
        let Holder { pid, name, .. } = holder;
        match self.0.iter_mut().find(|(known, ..)| *known == what) {
            Some((.., count)) => *count += 1,
            None => self
                .0
                .push((what, format!("its process '{name}' ({pid})"), 1)),
        }
    }

    /// One line for each kind: the first that was met, and how many more there are.
    pub(super) fn told(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(what, who, count)| match count {
            1 => format!("{who} {what}"),
            _ => format!("{who} {what}, and {} more like it", count - 1),
        })
    }
}

/// By what data reaches others whom only security hooks see.
pub(super) fn leads_outside(socket: &Carried) -> Option<String> {
    match (socket.leads, socket.family) {
        (Leads::Outside, _) if !socket.is_stdio() => {
            Some("is connected to a unix socket outside".into())
        }
        (Leads::Queued, family) => {
            let place = match family {
                "unix" => "in the queue of a unix socket",
                _ => "registered with a ring",
            };
            Some(format!(
                "has descriptors {place}, where nobody can look: not known, treated as open"
            ))
        }
        _ => None,
    }
}

/// By what it leaves past every hook of its own.
pub(super) fn is_foreign(socket: &Carried) -> Option<String> {
    let what = match socket.leads {
        Leads::Elsewhere => "holds a socket of another network namespace",
        Leads::Unknown => "hides a socket in one thread",
        Leads::Outside | Leads::Around | Leads::Queued => return None,
    };
    Some(format!("{what} ({})", socket.family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_each_kind_once() {
        let carried = |pid, leads, family| Carried {
            holder: Holder {
                pid,
                name: "x".into(),
                fd: 5,
                ..Holder::default()
            },
            inode: 1,
            family,
            leads,
        };
        let mut counted = Counted::default();
        for (pid, family) in [(7, "ip"), (8, "ip"), (9, "packet"), (9, "ip")] {
            let socket = carried(pid, Leads::Elsewhere, family);
            counted.add(is_foreign(&socket).unwrap(), &socket.holder);
            assert_eq!(leads_outside(&socket), None);
        }
        let told: Vec<_> = counted.told().collect();
        assert_eq!(
            told,
            [
                "its process 'x' (7) holds a socket of another network namespace (ip), and 2 more like it",
                "its process 'x' (9) holds a socket of another network namespace (packet)",
            ]
        );
        let queued = carried(7, Leads::Queued, "unix");
        assert!(leads_outside(&queued).is_some_and(|what| what.contains("in the queue")));
        assert_eq!(is_foreign(&queued), None);
        let mut stdio = carried(7, Leads::Outside, "unix");
        assert!(leads_outside(&stdio).is_some());
        stdio.holder.fd = 1;
        assert_eq!(leads_outside(&stdio), None);
    }
}
