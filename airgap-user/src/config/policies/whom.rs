//! Whom a policy file means. Pure.

use std::fmt;

use crate::container::Labels;

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";

/// Whose seal it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The container of this name.
    Container(String),
    /// All containers of one service of a Compose project.
    Service {
        /// Name of the project.
        project: String,
        /// Name of the service.
        service: String,
    },
    /// All containers with this label.
    Label {
        /// Its name.
        label: String,
        /// Its value.
        value: String,
    },
}

/// Whether a container is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Only by a label that its image says as well: nobody can tell whose word that is.
    ByImage,
    /// What its image says is not known.
    NotKnown,
}

impl Whom {
    /// Whether it means a container; `image` are its image's labels, `None`: not known.
    pub(super) fn meets(&self, name: &str, labels: &Labels, image: Option<&Labels>) -> Meets {
        let wanted: &[(&str, &str)] = match self {
            Self::Container(wanted) if wanted == name => return Meets::Yes,
            Self::Container(_) => return Meets::No,
            Self::Service { project, service } => &[(PROJECT, project), (SERVICE, service)],
            Self::Label { label, value } => &[(label, value)],
        };
        let says = |labels: &Labels, (label, value): &(&str, &str)| {
            labels.get(*label).is_some_and(|said| said == value)
        };
        if !wanted.iter().all(|pair| says(labels, pair)) {
            return Meets::No;
        }
        match image {
            None => Meets::NotKnown,
            Some(image) if wanted.iter().any(|pair| says(image, pair)) => Meets::ByImage,
            Some(_) => Meets::Yes,
        }
    }

    pub(super) fn service(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((project, service)) if is_word(project) && is_word(service) => Ok(Self::Service {
                project: project.to_owned(),
                service: service.to_owned(),
            }),
            _ => Err(format!(
                "service: write PROJECT/SERVICE, such as \"shop/web\", not '{}'",
                text.escape_debug()
            )),
        }
    }

    pub(super) fn label(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((label, value)) if is_word(label) && !value.is_empty() => Ok(Self::Label {
                label: label.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err(format!(
                "label: write NAME=VALUE, such as \"tier=front\", not '{}'",
                text.escape_debug()
            )),
        }
    }

    pub(super) fn container(text: &str) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        match is_word(text) && text.chars().all(known) {
            true => Ok(Self::Container(text.to_owned())),
            false => Err(format!(
                "container: '{}' is no name of a container",
                text.escape_debug()
            )),
        }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "container {name}"),
            Self::Service { project, service } => write!(f, "service {project}/{service}"),
            Self::Label { label, value } => write!(f, "label {label}={}", value.escape_debug()),
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
