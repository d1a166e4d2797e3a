//! The kubelet's end of a container runtime (CRI): pods and their containers.

mod grpc;
pub mod message;

use crate::beacon;
use crate::containerd::Containerd;
use message::{
    Capabilities, ContainerConfig, ContainerMetadata, ContainerSecurity, CreateContainer, Id,
    LinuxContainer, LinuxPod, Metadata, Mount, Namespaces, Nothing, PodConfig, PodSecurity,
    PodStatus, Pods, Profile, RunPod, StopContainer, Variable,
};
use prost::Message;
use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// What the kubelet hides from a container, and what it lets it read alone, by default.
const MASKED: [&str; 4] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Calls the runtime's service.
///
/// # Errors
/// What it says, as the kubelet has it in a pod's event.
pub fn call<A: Message + Default>(
    socket: &Path,
    method: &str,
    request: &impl Message,
) -> Result<A, String> {
    let method = format!("runtime.v1.RuntimeService/{method}");
    grpc::call(socket, &method, request)
}

/// A pod as its manifest has it, with what the kubelet adds.
#[derive(Clone, Debug)]
pub struct PodSpec {
    pub name: String,
    pub uid: String,
    pub annotations: Vec<(&'static str, String)>,
    /// In the node's network namespace.
    pub host_network: bool,
    /// Capabilities of its containers beside the usual ones.
    pub capabilities: Vec<&'static str>,
    /// No seccomp filter, as where nobody names one.
    pub unconfined: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// Annotations of its containers: nobody but their image and the kubelet speaks there.
    pub of_containers: Vec<(&'static str, String)>,
    /// The cgroup that the kubelet makes for it; `None`: by its UID.
    pub cgroup: Option<String>,
    /// Its containers look after the node.
    pub agent: Option<Agent>,
}

/// What looks after a node: privileged, in the node's network and among its processes, with a
/// root that is read only.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    pub image: String,
    pub mounts: Vec<Mount>,
    pub environment: Vec<Variable>,
}

impl PodSpec {
    /// One with a service port and nothing else, sealed.
    #[must_use]
    pub fn sealed(name: &str) -> Self {
        let mut spec = Self::open(name);
        spec.annotations = vec![
            ("airgap.dev/seal", "true".into()),
            ("airgap.dev/ports", crate::SERVICE_PORT.to_string()),
        ];
        spec
    }

    /// One that asks for nothing.
    #[must_use]
    pub fn open(name: &str) -> Self {
        Self {
            name: format!("{}{name}", crate::PREFIX),
            uid: uid(name),
            annotations: Vec::new(),
            host_network: false,
            capabilities: Vec::new(),
            unconfined: false,
            no_new_privs: false,
            of_containers: Vec::new(),
            cgroup: None,
            agent: None,
        }
    }

    fn namespaces(&self) -> Namespaces {
        Namespaces {
            network: if self.host_network { 2 } else { 0 },
            pid: if self.agent.is_some() { 2 } else { 1 },
            ipc: 0,
        }
    }

    #[must_use]
    pub fn with(mut self, annotation: &'static str, value: &str) -> Self {
        self.annotations.push((annotation, value.to_owned()));
        self
    }

    /// As `airgap` calls it.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("shop/{}", self.name)
    }

    /// Its cgroup, from the root of the hierarchy.
    #[must_use]
    pub fn cgroup(&self) -> String {
        let own = || format!("{}/pod{}", Containerd::CGROUPS, self.uid);
        self.cgroup.clone().unwrap_or_else(own)
    }

    fn config(&self, containerd: &Containerd, attempt: u32) -> PodConfig {
        let owned = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone());
        PodConfig {
            metadata: Some(Metadata {
                name: self.name.clone(),
                uid: self.uid.clone(),
                namespace: "shop".into(),
                attempt,
            }),
            // One in the node's network has the node's name.
            hostname: match self.host_network {
                true => String::new(),
                false => self.name.clone(),
            },
            log_directory: containerd.logs(&self.uid).display().to_string(),
            annotations: self.annotations.iter().map(owned).collect(),
            linux: Some(LinuxPod {
                cgroup_parent: self.cgroup(),
                security: Some(PodSecurity {
                    namespaces: Some(self.namespaces()),
                    privileged: self.agent.is_some(),
                    // As the kubelet has it of every sandbox.
                    seccomp: Some(Profile { kind: 0 }),
                }),
            }),
        }
    }
}

/// Like one of Kubernetes', the same for the same name in this process.
fn uid(name: &str) -> String {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.write_u32(std::process::id());
    let hash = format!("{:016x}", hasher.finish());
    format!("{}-{}-4aaa-8bbb-0123456789ab", &hash[..8], &hash[8..12])
}

/// A pod that runs; removed on drop.
#[derive(Debug)]
pub struct Pod<'a> {
    containerd: &'a Containerd,
    pub spec: PodSpec,
    pub id: String,
    config: PodConfig,
}

impl<'a> Pod<'a> {
    /// Runs its sandbox.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn run(containerd: &'a Containerd, spec: &PodSpec, attempt: u32) -> Result<Self, String> {
        fs::create_dir_all(containerd.logs(&spec.uid)).expect("its logs");
        let config = spec.config(containerd, attempt);
        let request = RunPod {
            config: Some(config.clone()),
        };
        let answer: Id = call(&containerd.socket(), "RunPodSandbox", &request)?;
        Ok(Self {
            containerd,
            spec: spec.clone(),
            id: answer.id,
            config,
        })
    }

    /// Makes a container of it.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn create(&self, name: &str, attempt: u32, command: &[String]) -> Result<String, String> {
        let profile = i32::from(self.spec.unconfined);
        let owned = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone());
        let agent = self.spec.agent.as_ref();
        let image = agent.map_or_else(|| self.containerd.image(), |agent| agent.image.clone());
        // Of what is privileged nothing is hidden.
        let hidden = |paths: &[&str]| match agent {
            Some(_) => Vec::new(),
            None => paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let given = agent.cloned().unwrap_or_default();
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.into(),
                attempt,
            }),
            image: Some(Id { id: image }),
            command: command.to_vec(),
            environment: given.environment,
            mounts: given.mounts,
            log_path: log_of(name, attempt),
            annotations: self.spec.of_containers.iter().map(owned).collect(),
            linux: Some(LinuxContainer {
                security: Some(ContainerSecurity {
                    capabilities: Some(Capabilities {
                        add: self.spec.capabilities.iter().map(|c| (*c).into()).collect(),
                    }),
                    privileged: agent.is_some(),
                    namespaces: Some(self.spec.namespaces()),
                    read_only_root: agent.is_some(),
                    no_new_privs: self.spec.no_new_privs,
                    masked: hidden(&MASKED),
                    read_only: hidden(&READ_ONLY),
                    seccomp: Some(Profile { kind: profile }),
                }),
            }),
        };
        let request = CreateContainer {
            pod: self.id.clone(),
            config: Some(config),
            pod_config: Some(self.config.clone()),
        };
        let answer: Id = call(&self.containerd.socket(), "CreateContainer", &request)?;
        Ok(answer.id)
    }

    /// Starts a container of it.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn start(&self, container: &str) -> Result<(), String> {
        let id = Id {
            id: container.into(),
        };
        call::<Nothing>(&self.containerd.socket(), "StartContainer", &id).map(drop)
    }

    /// Both.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn launch(&self, name: &str, attempt: u32, command: &[String]) -> Result<String, String> {
        let id = self.create(name, attempt, command)?;
        self.start(&id).map(|()| id)
    }

    /// Ends a container of it, as the kubelet does before it makes the next.
    ///
    /// # Panics
    /// When the runtime does not.
    #[track_caller]
    pub fn end(&self, container: &str) {
        let socket = self.containerd.socket();
        let stop = StopContainer {
            id: container.into(),
            timeout: 0,
        };
        call::<Nothing>(&socket, "StopContainer", &stop).expect("it stops");
        let id = Id {
            id: container.into(),
        };
        call::<Nothing>(&socket, "RemoveContainer", &id).expect("it is removed");
    }

    /// What a container of it tried at its start.
    #[must_use]
    #[track_caller]
    pub fn tried(&self, name: &str, attempt: u32) -> Vec<Value> {
        beacon::await_boot(1, || self.log(name, attempt))
    }

    /// What a container of it has said.
    #[must_use]
    pub fn log(&self, name: &str, attempt: u32) -> String {
        let path = self.containerd.logs(&self.spec.uid);
        let text = fs::read_to_string(path.join(log_of(name, attempt)));
        // A time, a stream and a mark stand before each line.
        let text = text.unwrap_or_default();
        let lines = text.lines().map(|line| line.splitn(4, ' ').nth(3));
        lines.flatten().collect::<Vec<_>>().join("\n")
    }

    /// # Panics
    /// When it has none.
    #[must_use]
    #[track_caller]
    pub fn address(&self) -> IpAddr {
        let id = Id {
            id: self.id.clone(),
        };
        let status: PodStatus =
            call(&self.containerd.socket(), "PodSandboxStatus", &id).expect("its status");
        let network = status.status.and_then(|status| status.network);
        let ip = network.expect("a network").ip;
        ip.parse().expect("an address")
    }

    /// Removes it and all of its containers.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn remove(&self) -> Result<(), String> {
        let socket = self.containerd.socket();
        let id = Id {
            id: self.id.clone(),
        };
        call::<Nothing>(&socket, "StopPodSandbox", &id)?;
        call::<Nothing>(&socket, "RemovePodSandbox", &id)?;
        Ok(())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // One that is gone is none.
        drop(self.remove());
    }
}

fn log_of(name: &str, attempt: u32) -> String {
    format!("{name}.{attempt}.log")
}

/// Ids of all sandboxes that there are.
///
/// # Panics
/// When the runtime does not say.
#[must_use]
pub fn pods(socket: &Path) -> Vec<String> {
    let pods: Pods = call(socket, "ListPodSandbox", &Nothing {}).expect("a list");
    pods.pods.into_iter().map(|pod| pod.id).collect()
}
