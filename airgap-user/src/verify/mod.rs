//! Proving a seal: each known way out is tried from inside, against a target
//! of airgap's own.
//!
//! A proof has three parts. The same attempt, from the same namespaces but an
//! unsealed cgroup, gets out (the control). From the container's cgroup it does
//! not. And the gate's own records say that it was refused there.

mod attempt;
mod attribution;
mod facts;
mod inside;
mod interrupt;
mod judge;
mod observe;
mod probe;
mod run;
mod sighting;
mod subject;
mod subnet;
mod target;

use serde::Serialize;

pub use self::{
    inside::{Probe, run as probe},
    judge::Verdict,
    run::run,
    subject::{Kind, Subject},
};

/// One way out, tried.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// Its name.
    pub technique: &'static str,
    /// Kind of way.
    pub vector: &'static str,
    /// What was shown.
    pub verdict: Verdict,
    /// Whether it got out without the seal.
    pub control: bool,
    /// What refused it, as `hook: reason`.
    pub by: Option<String>,
    /// Why it is no proof.
    pub detail: Option<String>,
}

/// One way out, not tried.
#[derive(Clone, Debug, Serialize)]
pub struct NotTried {
    /// Its name.
    pub technique: &'static str,
    /// Kind of way.
    pub vector: &'static str,
    /// Why not.
    pub reason: String,
}

/// What was shown of a kind of ways.
#[derive(Clone, Debug, Serialize)]
pub struct Rollup {
    /// Kind of way.
    pub vector: &'static str,
    /// The worst of its techniques.
    pub verdict: Verdict,
    /// How many were tried.
    pub tried: usize,
    /// How many of them are proven closed.
    pub proven: usize,
}

/// What was shown of a seal.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// Version of this shape.
    pub schema: u32,
    /// Name when this was shown.
    pub container: String,
    /// 64 hex digits.
    pub id: String,
    /// The worst of all.
    pub verdict: Verdict,
    /// In the order they were tried.
    pub techniques: Vec<Tried>,
    /// By kind; only kinds of which something was tried.
    pub vectors: Vec<Rollup>,
    /// What this container or kernel cannot even try, and what verify must not.
    pub not_tried: Vec<NotTried>,
    /// What limits the proof.
    pub notes: Vec<String>,
}

impl Proof {
    fn new(
        container: String,
        id: String,
        techniques: Vec<Tried>,
        not_tried: Vec<NotTried>,
        notes: Vec<String>,
    ) -> Self {
        let mut vectors: Vec<Rollup> = Vec::new();
        for tried in &techniques {
            let proven = usize::from(tried.verdict == Verdict::Proven);
            if let Some(rollup) = vectors.iter_mut().find(|r| r.vector == tried.vector) {
                rollup.verdict = rollup.verdict.min(tried.verdict);
                rollup.tried += 1;
                rollup.proven += proven;
            } else {
                vectors.push(Rollup {
                    vector: tried.vector,
                    verdict: tried.verdict,
                    tried: 1,
                    proven,
                });
            }
        }
        Self {
            schema: 1,
            container,
            id,
            verdict: judge::worst(techniques.iter().map(|t| t.verdict)),
            techniques,
            vectors,
            not_tried,
            notes,
        }
    }

    /// Not better than unknown: a note says why.
    fn doubted(mut self) -> Self {
        self.verdict = self.verdict.min(Verdict::Unknown);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Proof, Tried, Verdict};

    #[test]
    fn rolls_up_to_the_worst() {
        let tried = |vector, verdict| Tried {
            technique: "x",
            vector,
            verdict,
            control: true,
            by: None,
            detail: None,
        };
        let techniques = vec![
            tried("a", Verdict::Proven),
            tried("b", Verdict::Proven),
            tried("a", Verdict::Unknown),
        ];
        let proof = Proof::new("web".into(), "0".into(), techniques, vec![], vec![]);
        let rolled: Vec<_> = proof
            .vectors
            .iter()
            .map(|r| (r.vector, r.verdict, r.tried, r.proven))
            .collect();
        let expected = [("a", Verdict::Unknown, 2, 1), ("b", Verdict::Proven, 1, 1)];
        assert_eq!(rolled, expected);
        assert_eq!(proof.verdict, Verdict::Unknown);
    }
}
