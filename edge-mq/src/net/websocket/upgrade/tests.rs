//! Requests as clients send them, and others.

use super::*;

/// The example of RFC 6455 section 1.3, for MQTT.
const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: edge:9001\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n";

fn answer_to(request: &str) -> Result<Option<(usize, String)>, Refusal> {
    answer(request.as_bytes(), &["https://panel.example".to_owned()])
}

/// With one more header, or another value of one.
fn with(header: &str, value: &str) -> String {
    let start = format!("{header}:");
    let lines = REQUEST.trim_end().split("\r\n").filter(|line| !line.starts_with(&start));
    let mut request = lines.collect::<Vec<_>>().join("\r\n");
    request.push_str(&format!("\r\n{start} {value}\r\n\r\n"));
    request
}

#[test]
fn request_of_rfc_6455_gets_its_answer() {
    let (len, answer) = answer_to(REQUEST).unwrap().unwrap();
    assert_eq!(len, REQUEST.len());
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{answer}");
}

#[test]
fn request_in_pieces_is_waited_for_and_what_is_behind_it_stays() {
    for len in 0..REQUEST.len() {
        assert_eq!(answer_to(&REQUEST[..len]), Ok(None), "{len} bytes");
    }
    let early = format!("{REQUEST}early");
    assert_eq!(answer_to(&early).unwrap().unwrap().0, REQUEST.len());
}

#[test]
fn what_is_no_request_for_mqtt_is_refused() {
    let cases = [
        (REQUEST.replace("GET", "POST"), Refusal::NoWebSocket),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), Refusal::NoWebSocket),
        (with("Upgrade", "h2c"), Refusal::NoWebSocket),
        (with("Connection", "close"), Refusal::NoWebSocket),
        (with("Sec-WebSocket-Version", "8"), Refusal::Version),
        (with("Sec-WebSocket-Key", "dG9vIHNob3J0"), Refusal::NoWebSocket),
        (with("Sec-WebSocket-Key", "not base 64"), Refusal::NoWebSocket),
        (with("Sec-WebSocket-Protocol", "amqp"), Refusal::Subprotocol),
        (with("Origin", "https://elsewhere.example"), Refusal::Origin),
        (with("Origin", "null"), Refusal::Origin),
        (with("Origin", "http://edge:9001.elsewhere.example"), Refusal::Origin),
        (REQUEST.replace("Host:", "Host: edge:1\r\nHost:"), Refusal::Malformed),
        ("\x10\x0E\0\x04MQTT\x05".to_owned(), Refusal::Malformed),
        ("GET / HTTP/1.1\r\nno header\r\n\r\n".to_owned(), Refusal::Malformed),
    ];
    for (request, refusal) in cases {
        assert_eq!(answer_to(&request), Err(refusal), "{request}");
    }
    let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(MOST_HEADERS + 1));
    assert_eq!(answer_to(&many), Err(Refusal::TooLarge));
}

#[test]
fn pages_get_in_from_the_own_host_and_from_origins_that_are_named() {
    for origin in ["http://edge:9001", "https://EDGE:9001", "https://panel.example"] {
        assert!(matches!(answer_to(&with("Origin", origin)), Ok(Some(_))), "{origin}");
    }
    let any = ["*".to_owned()];
    let elsewhere = with("Origin", "https://elsewhere.example");
    assert!(matches!(answer(elsewhere.as_bytes(), &any), Ok(Some(_))));
}
