//! Other hosts, asked over ssh what this one is asked: each judges by itself, and there is no
//! server.

mod words;

use std::{env, process::Stdio, time::Duration};

use anyhow::Result;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

use crate::failure::{Failure, exit};

/// How a host is reached unless somebody says otherwise: nobody is there to answer a question.
pub(crate) const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=10";

/// Shape of what is printed as JSON.
pub(crate) const JSON_SCHEMA: &str = include_str!("../../assets/hosts.schema.json");

/// Hosts that are asked at once,
const AT_ONCE: usize = 16;
/// how long one may take,
const PATIENCE: Duration = Duration::from_secs(60);
/// and what is read of it at most, bytes.
const LONGEST: u64 = 16 << 20;

/// What one host has said.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// As it was named.
    pub host: String,
    /// airgap's exit code there; absent: it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// What it printed: as JSON if that was asked for, or as text.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// What it said besides, or why it was not asked, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<String>,
}

impl Answer {
    /// The code for all: a host that was not asked is as one that is not sealed.
    pub(crate) fn code(&self) -> u8 {
        self.code.unwrap_or(exit::NOT_SEALED)
    }

    fn unasked(host: &str, why: impl Into<String>) -> Self {
        Self {
            host: host.to_owned(),
            code: None,
            output: Value::Null,
            said: vec![why.into()],
        }
    }
}

/// Asks each of these hosts for what this process was asked for; `json`: as JSON. In their
/// order.
///
/// # Errors
/// If one of them is no name of a host, or `ssh` has no words.
pub(crate) async fn ask(hosts: &[String], ssh: &str, json: bool) -> Result<Vec<Answer>> {
    if let Some(host) = hosts.iter().find(|host| !words::is_host(host)) {
        let hint = "name hosts as ssh knows them, with commas between: --hosts a,b";
        let failure = Failure::new(format!("'{host}' is no host"), hint);
        return Err(failure.with_code(exit::USAGE).into());
    }
    let ssh: Vec<_> = ssh.split_ascii_whitespace().collect();
    if ssh.is_empty() {
        let failure = Failure::new("--ssh has no command", format!("--ssh '{SSH}'"));
        return Err(failure.with_code(exit::USAGE).into());
    }
    let command = words::command(&words::forwarded(env::args().skip(1)));
    let each = stream::iter(hosts).map(|host| one(&ssh, host, &command, json));
    Ok(each.buffered(AT_ONCE).collect().await)
}

async fn one(ssh: &[&str], host: &str, command: &str, json: bool) -> Answer {
    let spawned = Command::new(ssh[0])
        .args(&ssh[1..])
        .args([host, command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Answer::unasked(host, format!("{} cannot be run: {error}", ssh[0])),
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = async { tokio::join!(text(out), text(err), child.wait()) };
    let Ok((out, err, status)) = timeout(PATIENCE, ended).await else {
        let seconds = PATIENCE.as_secs();
        return Answer::unasked(host, format!("it did not answer within {seconds} s"));
    };
    let mut said: Vec<_> = err.lines().map(str::to_owned).collect();
    let code = status.ok().and_then(|status| status.code());
    let code = match code.and_then(|code| u8::try_from(code).ok()) {
        // ssh's own; airgap has none of these.
        None | Some(126 | 127 | 255) => None,
        code => code,
    };
    let output = match (code, json) {
        (Some(_), true) => serde_json::from_str(&out).unwrap_or_else(|error| {
            if !out.is_empty() {
                said.push(format!("what it printed is no JSON: {error}"));
            }
            Value::Null
        }),
        (Some(_), false) => Value::String(out),
        (None, _) => Value::Null,
    };
    if code.is_none() && said.is_empty() {
        said.push("ssh has failed, and says nothing".to_owned());
    }
    Answer {
        host: host.to_owned(),
        code,
        output,
        said,
    }
}

/// All that is written, up to the limit; the rest is read and dropped, so that nobody waits.
async fn text(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What was read before an error is what there is.
        let _ = (&mut from).take(LONGEST).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
