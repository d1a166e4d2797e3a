//! A proof that `airgap verify --json` printed and somebody saved.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The proof, as far as a report shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verified {
    /// When the file was last written; the proof itself has no date.
    #[serde(skip_deserializing, serialize_with = "super::maybe_time")]
    pub file_modified: Option<SystemTime>,
    /// Version of its shape.
    pub schema: u32,
    /// Id of the container it is of.
    pub id: String,
    /// `PROVEN`, `LEAK` or `UNKNOWN`: the worst of all.
    pub verdict: String,
    /// Way by way.
    pub techniques: Vec<Tried>,
    /// By kind of way.
    pub vectors: Vec<Rollup>,
    /// What limits the proof.
    pub notes: Vec<String>,
}

/// One way out that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub technique: String,
    /// What was shown.
    pub verdict: String,
    /// Why it is no proof.
    pub detail: Option<String>,
}

/// What was shown of a kind of ways.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rollup {
    /// Kind of way.
    pub vector: String,
    /// The worst of its techniques.
    pub verdict: String,
    /// How many were tried.
    pub tried: usize,
    /// How many of them are proven closed.
    pub proven: usize,
}

impl Verified {
    /// Reads one of the container `id`.
    ///
    /// # Errors
    /// In words, if it is no such proof, or of another container.
    pub fn parse(text: &str, id: &str, modified: Option<SystemTime>) -> Result<Self, String> {
        let proof: Self = serde_json::from_str(text).map_err(|e| format!("it is no proof: {e}"))?;
        if proof.schema != 1 {
            return Err(format!("it has schema {}, not 1", proof.schema));
        }
        if proof.id != id {
            return Err(format!("it is of another container, {}", proof.id));
        }
        Ok(Self {
            file_modified: modified,
            ..proof
        })
    }

    /// How many ways out are proven closed.
    pub fn proven(&self) -> usize {
        self.vectors.iter().map(|v| v.proven).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"{"schema":1,"container":"web","id":"ab","verdict":"LEAK",
        "techniques":[{"technique":"tcp4","vector":"TCP","verdict":"LEAK","control":true,"by":null,"detail":"seen"}],
        "vectors":[{"vector":"TCP","verdict":"LEAK","tried":1,"proven":0}],"not_tried":[],"notes":["so"]}"#;

    #[test]
    fn reads_what_verify_prints_of_this_container_only() {
        let proof = Verified::parse(SAVED, "ab", None).unwrap();
        assert_eq!((proof.verdict.as_str(), proof.proven()), ("LEAK", 0));
        assert!(Verified::parse(SAVED, "cd", None).is_err_and(|e| e.contains("another container")));
        let newer = SAVED.replace("\"schema\":1", "\"schema\":2");
        assert!(Verified::parse(&newer, "ab", None).is_err_and(|e| e.contains("schema 2")));
        assert!(Verified::parse("{}", "ab", None).is_err());
    }
}
