//! Embeds the BPF object that `cargo xtask build-ebpf` made, and refuses to
//! embed none, or one that is older than its sources.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::exit,
    time::SystemTime,
};

const COMMAND: &str = "run `cargo xtask build-ebpf` first";

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default())
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default();
    let object = root.join("target/bpf/airgap-ebpf.o");
    let sources = [
        "airgap-ebpf/src",
        "airgap-common/src",
        "airgap-ebpf/Cargo.toml",
    ];
    println!("cargo:rerun-if-changed={}", object.display());
    for source in sources {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    let stamp = root.join("target/bpf/.checked");
    let Some(built) = modified(&stamp)
        .max(modified(&object))
        .filter(|_| object.exists())
    else {
        fail(&format!(
            "there is no BPF object at {}: {COMMAND}",
            object.display()
        ));
    };
    if let Some(newer) = sources
        .iter()
        .find_map(|s| newer_than(&root.join(s), built))
    {
        fail(&format!(
            "the BPF object {} is older than {}: {COMMAND}",
            object.display(),
            newer.display()
        ));
    }
    // The very bytes that were digested: another build may replace the object.
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    let embedded = out.join("airgap-ebpf.o");
    let written = fs::read(&object).and_then(|bytes| {
        fs::write(&embedded, &bytes)?;
        fs::write(out.join("digest"), digest(&bytes).to_string())
    });
    if let Err(error) = written {
        fail(&format!("cannot embed {}: {error}", object.display()));
    }
    println!("cargo:rustc-env=AIRGAP_BPF_OBJECT={}", embedded.display());
}

/// FNV-1a, 64 bits.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1);
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

fn newer_than(path: &Path, built: SystemTime) -> Option<PathBuf> {
    if path.is_dir() {
        return fs::read_dir(path)
            .ok()?
            .flatten()
            .find_map(|entry| newer_than(&entry.path(), built));
    }
    (modified(path)? > built).then(|| path.to_path_buf())
}
