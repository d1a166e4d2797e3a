//! Exporting, against a collector that answers as it is told.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::events::Denial;

#[test]
fn an_address_becomes_the_place_of_logs() {
    for (text, url) in [
        (DEFAULT, "http://127.0.0.1:4318/v1/logs"),
        ("http://[::1]:4318/", "http://[::1]:4318/v1/logs"),
        ("http://c.example/otlp", "http://c.example/otlp/v1/logs"),
        ("http://c.example/v1/logs", "http://c.example/v1/logs"),
    ] {
        assert_eq!(text.parse::<Collector>().unwrap().to_string(), url);
    }
    for (text, word) in [
        ("https://c.example", "plain HTTP"),
        ("127.0.0.1:4318", "collector"),
        ("grpc://c.example:4317", "http://"),
        ("http://user:word@c.example", "password"),
        ("http://", "collector"),
        ("http://c.example/?x=1", "no question"),
        ("", "collector"),
    ] {
        let error = text.parse::<Collector>().unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn answers_mean_what_the_specification_says() {
    let of =
        |status, body: &str| answer(StatusCode::from_u16(status).unwrap(), None, body.as_bytes());
    let none = || "no reason told".to_owned();
    assert_eq!(of(200, "{}"), Answer::Taken(0, none()));
    assert_eq!(of(200, ""), Answer::Taken(0, none()));
    let partial = r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"full"}}"#;
    assert_eq!(of(200, partial), Answer::Taken(3, "full".into()));
    let number = r#"{"partialSuccess":{"rejectedLogRecords":2}}"#;
    assert_eq!(of(200, number), Answer::Taken(2, none()));
    for status in [429, 502, 503, 504] {
        assert!(matches!(of(status, "{}"), Answer::Later(..)), "{status}");
    }
    for status in [400, 401, 404, 413, 500, 301] {
        assert!(matches!(of(status, "{}"), Answer::Refused(_)), "{status}");
    }
    let told = of(400, r#"{"message":"bad"}"#);
    assert_eq!(told, Answer::Refused("400 Bad Request: bad".into()));
}

/// Answers each request in turn with a status, and gives back their bodies.
async fn collect(listener: TcpListener, answers: &[&str]) -> Vec<Value> {
    let mut bodies = Vec::new();
    while bodies.len() < answers.len() {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        let body = loop {
            let mut chunk = [0; 4096];
            let len = stream.read(&mut chunk).await.unwrap();
            read.extend(&chunk[..len]);
            let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                assert!(head.starts_with("post /v1/logs http/1.1"), "{head}");
                assert!(head.contains("content-type: application/json"), "{head}");
                let length = head.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                let body = &read[head.len() + 4..];
                if body.len() == length {
                    break serde_json::from_slice(body).unwrap();
                }
            }
            if len == 0 {
                // Somebody looked whether this listens.
                break Value::Null;
            }
        };
        if body == Value::Null {
            continue;
        }
        let status = answers[bodies.len()];
        let answer = format!(
            "HTTP/1.1 {status}\r\nretry-after: 0\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        bodies.push(body);
    }
    bodies
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let collector: Collector = format!("http://{address}").parse().unwrap();
    let collecting = tokio::spawn(async move { collect(listener, &["503 Busy", "200 OK"]).await });
    let exporter = Exporter::start(collector).await.unwrap();
    let counts = Arc::clone(&exporter.counts);
    exporter.send(
        &Event::Denial(Box::new(Denial::example())),
        &Identity::default(),
    );
    assert_eq!(exporter.finish().await, 0);
    let bodies = collecting.await.unwrap();
    assert_eq!(bodies[0], bodies[1], "the same again");
    let records = &bodies[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    assert_eq!(records.as_array().unwrap().len(), 1);
    assert_eq!(counts.taken.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_a_collector_refuses_is_lost_and_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let collector: Collector = format!("http://{address}").parse().unwrap();
    let collecting = tokio::spawn(async move { collect(listener, &["400 No"]).await });
    let exporter = Exporter::start(collector.clone()).await.unwrap();
    let counts = Arc::clone(&exporter.counts);
    exporter.send(
        &Event::Denial(Box::new(Denial::example())),
        &Identity::default(),
    );
    assert_eq!(exporter.finish().await, 1);
    assert_eq!(collecting.await.unwrap().len(), 1);
    assert_eq!(counts.taken.load(Ordering::Relaxed), 0);
    let error = Exporter::start(collector).await.err().unwrap();
    assert!(
        format!("{error:#}").contains("no collector listens"),
        "{error:#}"
    );
}
