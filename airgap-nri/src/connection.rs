//! A plugin's end of the socket.

use std::io::{self, Read, Write};

use prost::Message as _;

use crate::{
    message::RegisterPluginRequest,
    mux::{self, PLUGIN, RUNTIME},
    rpc::{self, Kind, Request, Response, Status},
};

/// The service that runtimes call.
const SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";
/// The service that plugins call.
const RUNTIME_SERVICE: &str = "nri.pkg.api.v1alpha1.Runtime";
/// Stream of the one call that is made here: a client's are odd.
const REGISTRATION: u32 = 1;

/// A call of the runtime's, to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    stream: u32,
    /// Of the service for plugins; empty: it is another service's.
    pub method: String,
    /// Its message.
    pub payload: Vec<u8>,
}

/// What comes from the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A call.
    Call(Call),
    /// It has taken the registration, or says why not.
    Registered(Result<(), String>),
}

/// Why a call is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not known here.
    Unknown,
    /// In words, which whoever made the pod gets to see.
    Because(String),
}

/// A plugin's end of the socket.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    plugin: Vec<u8>,
    runtime: Vec<u8>,
}

impl<S: Read + Write> Connection<S> {
    /// On a socket that is connected.
    pub const fn new(stream: S) -> Self {
        Self {
            stream,
            plugin: Vec::new(),
            runtime: Vec::new(),
        }
    }

    /// Says who calls; the answer comes as [`Incoming::Registered`]. `index`: two digits.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn register(&mut self, name: &str, index: &str) -> io::Result<()> {
        let register = RegisterPluginRequest {
            name: name.to_owned(),
            index: index.to_owned(),
        };
        let request = Request {
            service: RUNTIME_SERVICE.to_owned(),
            method: "RegisterPlugin".to_owned(),
            payload: register.encode_to_vec(),
        };
        let bytes = rpc::framed(Kind::Request, REGISTRATION, &request);
        self.stream.write_all(&mux::pieces(RUNTIME, &bytes))
    }

    /// The next that comes; `None`: the runtime has closed.
    ///
    /// # Errors
    /// If it cannot be read, or means nothing.
    pub fn receive(&mut self) -> io::Result<Option<Incoming>> {
        loop {
            if let Some((stream, kind, body)) = rpc::take(&mut self.plugin)? {
                if kind == Some(Kind::Request) {
                    let request = Request::decode(body.as_slice()).map_err(io::Error::other)?;
                    let known = request.service == SERVICE;
                    return Ok(Some(Incoming::Call(Call {
                        stream,
                        method: if known { request.method } else { String::new() },
                        payload: request.payload,
                    })));
                }
                continue;
            }
            if let Some((stream, kind, body)) = rpc::take(&mut self.runtime)? {
                if (stream, kind) == (REGISTRATION, Some(Kind::Response)) {
                    let response = Response::decode(body.as_slice()).map_err(io::Error::other)?;
                    let failed = response.status.filter(|status| status.code != 0);
                    return Ok(Some(Incoming::Registered(match failed {
                        Some(status) => Err(status.message),
                        None => Ok(()),
                    })));
                }
                continue;
            }
            match mux::read(&mut self.stream)? {
                None => return Ok(None),
                Some((PLUGIN, bytes)) => self.plugin.extend(bytes),
                Some((RUNTIME, bytes)) => self.runtime.extend(bytes),
                Some(_) => {}
            }
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn answer(&mut self, call: &Call, answer: Result<Vec<u8>, Refusal>) -> io::Result<()> {
        /// google.rpc.Code.
        const FAILED_PRECONDITION: i32 = 9;
        const UNIMPLEMENTED: i32 = 12;
        let failed = |code, message| Response {
            status: Some(Status { code, message }),
            payload: Vec::new(),
        };
        let response = match answer {
            Ok(payload) => Response {
                status: None,
                payload,
            },
            Err(Refusal::Unknown) => failed(UNIMPLEMENTED, "not known to airgap".to_owned()),
            Err(Refusal::Because(why)) => failed(FAILED_PRECONDITION, why),
        };
        let bytes = rpc::framed(Kind::Response, call.stream, &response);
        self.stream.write_all(&mux::pieces(PLUGIN, &bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket whose other end has said all it will say.
    #[derive(Default)]
    struct Said {
        from: Vec<u8>,
        at: usize,
        to: Vec<u8>,
    }

    impl Read for Said {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            // In small parts, as a socket may give it.
            let len = into.len().min(3).min(self.from.len() - self.at);
            into[..len].copy_from_slice(&self.from[self.at..self.at + len]);
            self.at += len;
            Ok(len)
        }
    }

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.to.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// All that a plugin has sent on one connection.
    fn sent(said: &Said, connection: u32) -> Vec<rpc::Taken> {
        let (mut from, mut bytes) = (said.to.as_slice(), Vec::new());
        while let Some((on, piece)) = mux::read(&mut from).unwrap() {
            if on == connection {
                bytes.extend(piece);
            }
        }
        std::iter::from_fn(|| rpc::take(&mut bytes).unwrap()).collect()
    }

    fn call(stream: u32, service: &str, method: &str) -> Vec<u8> {
        let request = Request {
            service: service.into(),
            method: method.into(),
            payload: vec![1; 5000],
        };
        mux::pieces(PLUGIN, &rpc::framed(Kind::Request, stream, &request))
    }

    #[test]
    fn registers_and_answers() {
        let refused = Response {
            status: Some(Status {
                code: 2,
                message: "no".into(),
            }),
            payload: Vec::new(),
        };
        let registered = |response| {
            let bytes = rpc::framed(Kind::Response, REGISTRATION, &response);
            mux::pieces(RUNTIME, &bytes)
        };
        let mut from = call(1, SERVICE, "Configure");
        from.extend(mux::pieces(9, b"of nobody"));
        from.extend(registered(Response::default()));
        from.extend(registered(refused));
        from.extend(call(3, "another", "Configure"));
        let mut connection = Connection::new(Said {
            from,
            ..Said::default()
        });
        connection.register("airgap", "10").unwrap();
        let mut got = Vec::new();
        while let Some(incoming) = connection.receive().unwrap() {
            if let Incoming::Call(call) = &incoming {
                let answer = match call.method.as_str() {
                    "" => Err(Refusal::Because("because".repeat(1000))),
                    _ => Ok(vec![8; 5000]),
                };
                connection.answer(call, answer).unwrap();
            }
            got.push(match incoming {
                Incoming::Call(call) => call.method,
                Incoming::Registered(done) => format!("{done:?}"),
            });
        }
        assert_eq!(got, ["Configure", "Ok(())", "Err(\"no\")", ""]);
        let sent = |on| sent(&connection.stream, on);
        let [(REGISTRATION, Some(Kind::Request), request)] = &sent(RUNTIME)[..] else {
            panic!("{:?}", sent(RUNTIME));
        };
        let request = Request::decode(request.as_slice()).unwrap();
        assert_eq!(request.method, "RegisterPlugin");
        let answers: Vec<_> = sent(PLUGIN)
            .into_iter()
            .map(|(stream, _, body)| (stream, Response::decode(body.as_slice()).unwrap()))
            .collect();
        assert_eq!((answers[0].0, answers[0].1.payload.len()), (1, 5000));
        let status = answers[1].1.status.as_ref().unwrap();
        assert_eq!((answers[1].0, status.code), (3, 9));
        assert_eq!(status.message.len(), 7000);
    }

    #[test]
    fn what_ends_within_a_message_is_an_error() {
        let mut from = call(1, SERVICE, "Configure");
        from.truncate(100);
        let mut connection = Connection::new(Said {
            from,
            ..Said::default()
        });
        assert!(connection.receive().is_err());
    }
}
