//! What people know a container by.

use bollard::models::ContainerInspectResponse;

use super::Container;

/// Name and origin of a container. All but the id is chosen by whoever made
/// it: not safe for terminals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// 64 hex digits; empty: not known.
    pub id: String,
    /// Name now; where the engine does not say, name when it was sealed.
    pub name: String,
    /// Image as it was asked for; `None`: the engine does not know any more.
    pub image: Option<String>,
    /// Compose project and service.
    pub compose: Option<(String, String)>,
}

impl Identity {
    /// Of a seal of which nothing but the number is known.
    pub fn of_seal(number: u64) -> Self {
        Self {
            name: format!("seal {number}"),
            ..Self::default()
        }
    }

    /// Of a container that was called so when it was sealed, with what the
    /// engine says of it now.
    pub fn of(id: &str, recorded: String, container: Option<&Container>) -> Self {
        let identity = Self {
            id: id.to_owned(),
            name: container.map_or(recorded, |c| c.name.clone()),
            ..Self::default()
        };
        match container {
            Some(container) if container.pod.is_none() => identity.with(&container.inspect),
            _ => identity,
        }
    }

    /// Adds what the engine says of the container.
    #[must_use]
    pub fn with(mut self, inspect: &ContainerInspectResponse) -> Self {
        let Some(config) = &inspect.config else {
            return self;
        };
        self.image.clone_from(&config.image);
        let label = |name: &str| config.labels.as_ref()?.get(name).cloned();
        self.compose = label("com.docker.compose.project").zip(label("com.docker.compose.service"));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn takes_image_and_compose_from_the_answer() {
        let inspect = serde_json::from_str(
            r#"{"Config":{"Image":"shop/web:1.4","Labels":{"com.docker.compose.project":"shop",
                "com.docker.compose.service":"web","x":"y"}}}"#,
        )
        .unwrap();
        let identity = Identity::default().with(&inspect);
        assert_eq!(identity.image.as_deref(), Some("shop/web:1.4"));
        assert_eq!(identity.compose, Some(("shop".into(), "web".into())));
        let nothing = Identity::of_seal(3).with(&serde_json::from_str("{}").unwrap());
        assert_eq!(nothing, Identity::of_seal(3));
    }
}
