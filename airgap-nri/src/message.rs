//! The messages, as far as they matter here: what is not named is passed over. The numbers are
//! those of `nri.pkg.api.v1alpha1`.

use std::collections::HashMap;

/// The plugin says who it is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RegisterPluginRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Two digits: plugins are asked in this order.
    #[prost(string, tag = "2")]
    pub(crate) index: String,
}

/// The runtime says who it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfigureRequest {
    /// Such as `containerd`.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    /// By when a call has to be answered, milliseconds; 0: it does not say.
    #[prost(int64, tag = "5")]
    pub request_timeout: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfigureResponse {
    /// Of each event that is asked for, the bit of its number less one.
    #[prost(int32, tag = "2")]
    pub(crate) events: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SynchronizeRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pods: Vec<PodSandbox>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) containers: Vec<Container>,
    /// More of them come with another call.
    #[prost(bool, tag = "3")]
    pub(crate) more: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SynchronizeResponse {
    /// More of them may come.
    #[prost(bool, tag = "2")]
    pub(crate) more: bool,
}

/// `RunPodSandboxRequest`, `StartContainerRequest` and the others that name a pod, or a
/// container and its pod.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Subject {
    #[prost(message, optional, tag = "1")]
    pub(crate) pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub(crate) container: Option<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StateChangeEvent {
    #[prost(int32, tag = "1")]
    pub(crate) event: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "3")]
    pub(crate) container: Option<Container>,
}

/// A pod.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandbox {
    /// Of its sandbox, 64 hex digits: one pod may have several, one after the other.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its UID.
    #[prost(string, tag = "3")]
    pub uid: String,
    /// Its namespace.
    #[prost(string, tag = "4")]
    pub namespace: String,
    /// Its annotations.
    #[prost(map = "string, string", tag = "6")]
    pub annotations: HashMap<String, String>,
    /// Of its runtime class; empty: the usual one.
    #[prost(string, tag = "7")]
    pub runtime_handler: String,
    /// What Linux knows of it.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPodSandbox>,
    /// The process that holds its network; 0: not told.
    #[prost(uint32, tag = "9")]
    pub pid: u32,
}

/// What Linux knows of a pod.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxPodSandbox {
    /// The cgroup that its containers' are made in, as the kubelet has named it.
    #[prost(string, tag = "3")]
    pub cgroup_parent: String,
    /// Its namespaces.
    #[prost(message, repeated, tag = "5")]
    pub namespaces: Vec<LinuxNamespace>,
}

/// A namespace.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxNamespace {
    /// Such as `network`.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// What it is kept by; empty: a new one.
    #[prost(string, tag = "2")]
    pub path: String,
}

/// A container.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Container {
    /// 64 hex digits.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Of the pod that it is of; empty: of none.
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    /// Its name within the pod.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Its labels: an image's may be among them.
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
    /// What Linux knows of it.
    #[prost(message, optional, tag = "11")]
    pub linux: Option<LinuxContainer>,
    /// Its first process; 0: not told.
    #[prost(uint32, tag = "12")]
    pub pid: u32,
}

/// What Linux knows of a container.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxContainer {
    /// Where its cgroup is, as its runtime is told.
    #[prost(string, tag = "5")]
    pub cgroups_path: String,
}
