//! What a runtime tells a plugin, and what the plugin asks to be told.

use prost::{DecodeError, Message as _};

use crate::message::{
    ConfigureRequest, ConfigureResponse, Container, PodSandbox, StateChangeEvent, Subject,
    SynchronizeRequest, SynchronizeResponse,
};

const RUN_POD: i32 = 1;
const REMOVE_POD: i32 = 3;
const CREATE: i32 = 4;
const START: i32 = 6;

/// What a runtime tells, or asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Who the runtime is. It is answered with [`subscription`].
    Configure(ConfigureRequest),
    /// All pods and containers that there are; in several calls where `more` come.
    Synchronize {
        /// Pods.
        pods: Vec<PodSandbox>,
        /// Containers, of pods or not.
        containers: Vec<Container>,
        /// The next call has more.
        more: bool,
    },
    /// A pod's network is there, and none of its containers. An error fails it.
    RunPod(PodSandbox),
    /// A pod's sandbox is gone.
    RemovePod(PodSandbox),
    /// A container is to be made, of a pod or of none: its id is given, nothing else is there.
    /// An error fails it.
    Create {
        /// Its pod.
        pod: Option<PodSandbox>,
        /// The container.
        container: Container,
    },
    /// A container's first process waits in its cgroup to become its program. An error fails it.
    Start {
        /// Its pod.
        pod: Option<PodSandbox>,
        /// The container.
        container: Container,
    },
    /// Anything else.
    Other,
}

impl Event {
    /// What a call of this method tells; `None`: there is no such method.
    ///
    /// # Errors
    /// If the message cannot be read.
    pub fn decode(method: &str, payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        let subject = || Subject::decode(payload);
        Ok(Some(match method {
            "Configure" => Self::Configure(ConfigureRequest::decode(payload)?),
            "Synchronize" => {
                let SynchronizeRequest {
                    pods,
                    containers,
                    more,
                } = SynchronizeRequest::decode(payload)?;
                Self::Synchronize {
                    pods,
                    containers,
                    more,
                }
            }
            // One call for all of them, up to some version; a call for each, from it on.
            "StateChange" => {
                let StateChangeEvent {
                    event,
                    pod,
                    container,
                } = StateChangeEvent::decode(payload)?;
                Self::of(event, Subject { pod, container })
            }
            "RunPodSandbox" => Self::of(RUN_POD, subject()?),
            "RemovePodSandbox" => Self::of(REMOVE_POD, subject()?),
            "CreateContainer" => Self::of(CREATE, subject()?),
            "StartContainer" => Self::of(START, subject()?),
            "Shutdown"
            | "StopPodSandbox"
            | "UpdatePodSandbox"
            | "PostUpdatePodSandbox"
            | "PostCreateContainer"
            | "PostStartContainer"
            | "UpdateContainer"
            | "PostUpdateContainer"
            | "StopContainer"
            | "RemoveContainer" => Self::Other,
            _ => return Ok(None),
        }))
    }

    fn of(event: i32, subject: Subject) -> Self {
        match (event, subject) {
            (RUN_POD, Subject { pod: Some(pod), .. }) => Self::RunPod(pod),
            (REMOVE_POD, Subject { pod: Some(pod), .. }) => Self::RemovePod(pod),
            (
                CREATE,
                Subject {
                    pod,
                    container: Some(container),
                },
            ) => Self::Create { pod, container },
            (
                START,
                Subject {
                    pod,
                    container: Some(container),
                },
            ) => Self::Start { pod, container },
            _ => Self::Other,
        }
    }

    /// What answers it where nothing is wrong: nothing is ever changed in what is made.
    pub fn answer(&self) -> Vec<u8> {
        match self {
            Self::Configure(_) => subscription(),
            Self::Synchronize { more, .. } => SynchronizeResponse { more: *more }.encode_to_vec(),
            _ => Vec::new(),
        }
    }
}

/// What a plugin answers to [`Event::Configure`]: which events it is to be told.
pub fn subscription() -> Vec<u8> {
    let events = [RUN_POD, REMOVE_POD, CREATE, START];
    let events = events.iter().fold(0, |all, event| all | 1 << (event - 1));
    ConfigureResponse { events }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> PodSandbox {
        PodSandbox {
            id: "ab".into(),
            annotations: [("airgap.dev/seal".into(), "true".into())].into(),
            pid: 42,
            ..PodSandbox::default()
        }
    }

    #[test]
    fn both_ways_of_telling_mean_the_same() {
        for (event, method) in [
            (RUN_POD, "RunPodSandbox"),
            (REMOVE_POD, "RemovePodSandbox"),
            (CREATE, "CreateContainer"),
            (START, "StartContainer"),
        ] {
            let container = Some(Container::default());
            let old = StateChangeEvent {
                event,
                pod: Some(pod()),
                container: container.clone(),
            };
            let new = Subject {
                pod: Some(pod()),
                container,
            };
            let old = Event::decode("StateChange", &old.encode_to_vec()).unwrap();
            assert_eq!(old, Event::decode(method, &new.encode_to_vec()).unwrap());
            assert!(!matches!(old, None | Some(Event::Other)), "{method}");
        }
    }

    #[test]
    fn what_is_not_known_is_told_from_what_does_not_matter() {
        assert_eq!(
            Event::decode("StopContainer", &[]).unwrap(),
            Some(Event::Other)
        );
        // A removal that names nothing.
        assert_eq!(
            Event::decode("RemovePodSandbox", &[]).unwrap(),
            Some(Event::Other)
        );
        assert_eq!(Event::decode("SomethingNew", &[]).unwrap(), None);
        assert!(Event::decode("Configure", &[0xff]).is_err());
    }

    /// As a runtime counts them: bits 0, 2, 3 and 5.
    #[test]
    fn asks_for_four_events() {
        let asked = ConfigureResponse::decode(subscription().as_slice()).unwrap();
        assert_eq!(asked.events, 0b10_1101);
    }
}
