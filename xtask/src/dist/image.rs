//! `cargo xtask image`: an OCI image of the static binary, for the DaemonSet.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::stage;
use crate::command;
use crate::workspace;

/// Where the binary is in the image, and on a host that has the package.
const PROGRAM: &str = "usr/bin/airgap";

/// Writes the image as an archive in OCI's layout, which `ctr`, `podman` and `skopeo` take, with
/// the list beside it by which every `docker load` does. In it is one layer, and in that the
/// binary alone: it resolves by the node's files, speaks no TLS, and writes where the node is
/// mounted. No file is younger than the commit, so that the bytes are those of any other image
/// of the same binary.
///
/// `airgap` is a static binary that was built before; `name` is what the image is called.
///
/// # Errors
/// When a step fails.
pub(crate) fn run(airgap: Option<PathBuf>, output: Option<PathBuf>, name: &str) -> Result<()> {
    let root = workspace::root()?;
    let epoch = super::epoch(&root)?;
    let airgap = match airgap {
        Some(airgap) => airgap,
        None => stage::binary(&root)?,
    };
    let dir = workspace::target_dir(&root).join("image");
    super::clear(&dir)?;
    let layout = Layout {
        blobs: dir.join("archive/blobs/sha256"),
        top: dir.join("archive"),
    };
    fs::create_dir_all(&layout.blobs).context("cannot make the layout")?;
    stage::copy(&airgap, &dir.join("files").join(PROGRAM), 0o755)?;
    let layer = dir.join("layer.tar");
    pack(&dir.join("files"), &["usr"], &layer, &epoch)?;
    let layer = layout.file(&layer)?;
    let manifest = layout.describe(&layer, &created(&epoch)?, name)?;
    let archive = dir.join("airgap.tar");
    pack(
        &layout.top,
        &["blobs", "index.json", "manifest.json", "oci-layout"],
        &archive,
        &epoch,
    )?;
    let output = output.unwrap_or_else(|| dir.join(format!("airgap-{}.tar", architecture())));
    fs::copy(&archive, &output).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{name}  {manifest}");
    println!("{}", output.display());
    Ok(())
}

/// A folder in OCI's layout.
struct Layout {
    top: PathBuf,
    blobs: PathBuf,
}

/// A file by its content.
struct Blob {
    /// SHA-256, in hex.
    digest: String,
    /// Bytes.
    size: u64,
}

impl Blob {
    fn descriptor(&self, kind: &str) -> Value {
        let digest = format!("sha256:{}", self.digest);
        let media = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": media, "digest": digest, "size": self.size })
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }
}

impl Layout {
    fn file(&self, path: &Path) -> Result<Blob> {
        let sum = command::output(Command::new("sha256sum").arg(path))?;
        let digest = sum.split(' ').next().unwrap_or_default().to_owned();
        let size = fs::copy(path, self.blobs.join(&digest)).context("cannot copy a blob")?;
        Ok(Blob { digest, size })
    }

    fn json(&self, value: &Value) -> Result<Blob> {
        let path = self.top.join("blob");
        fs::write(&path, value.to_string()).context("cannot write a blob")?;
        let blob = self.file(&path)?;
        fs::remove_file(path).context("cannot remove a blob")?;
        Ok(blob)
    }

    /// Writes all but the layer; the manifest's digest.
    fn describe(&self, layer: &Blob, created: &str, name: &str) -> Result<String> {
        let config = self.json(&json!({
            "created": created,
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": [format!("/{PROGRAM}")],
                "Labels": { "org.opencontainers.image.title": "airgap" },
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)] },
            "history": [{ "created": created, "created_by": "cargo xtask image" }],
        }))?;
        let manifest = self.json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor("config.v1+json"),
            "layers": [layer.descriptor("layer.v1.tar")],
        }))?;
        let mut found = manifest.descriptor("manifest.v1+json");
        found["platform"] = json!({ "architecture": architecture(), "os": "linux" });
        found["annotations"] = json!({
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rsplit(':').next(),
        });
        for (file, value) in [
            ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" })),
            (
                "index.json",
                json!({
                    "schemaVersion": 2,
                    "mediaType": "application/vnd.oci.image.index.v1+json",
                    "manifests": [found],
                }),
            ),
            (
                "manifest.json",
                json!([{ "Config": config.path(), "RepoTags": [name], "Layers": [layer.path()] }]),
            ),
        ] {
            fs::write(self.top.join(file), value.to_string())
                .with_context(|| format!("cannot write {file}"))?;
        }
        Ok(format!("sha256:{}", manifest.digest))
    }
}

/// As OCI names it.
fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn created(epoch: &str) -> Result<String> {
    let at = format!("--date=@{epoch}");
    command::output(Command::new("date").args(["--utc", &at, "+%Y-%m-%dT%H:%M:%SZ"]))
}

/// A tar of these, whose bytes tell nothing of who packed it, or when.
fn pack(dir: &Path, what: &[&str], to: &Path, epoch: &str) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--directory")
        .arg(dir)
        .args(["--format=ustar", "--sort=name", "--numeric-owner"])
        .args(["--owner=0", "--group=0", "--mode=u=rwX,go=rX"])
        .arg(format!("--mtime=@{epoch}"))
        .arg("--create")
        .arg("--file")
        .arg(to)
        .args(what);
    command::run(&mut tar)
}
