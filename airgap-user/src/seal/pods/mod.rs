//! Sealing pods of Kubernetes: by what their runtime tells of them, below the cgroup that is a
//! pod's alone.

mod found;
mod judge;
mod placing;
mod sandboxes;
mod sealing;

pub(crate) use self::{judge::Judge, placing::let_go_of_itself};
