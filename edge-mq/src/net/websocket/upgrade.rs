//! The HTTP request with which a WebSocket begins (RFC 6455 section 4).

use std::io;

use base64ct::{Base64, Encoding};
use bytes::{Buf, BytesMut};
use httparse::{Header, Request, Status};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Stream, WebSocket};

/// A request with more is refused: browsers send one or two.
const MOST_REQUEST: usize = 8 * 1024;

const MOST_HEADERS: usize = 64;

/// RFC 6455 section 1.3.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request gets no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("this is no HTTP request")]
    Malformed,
    #[error("request is too large")]
    TooLarge,
    #[error("this is no WebSocket request: MQTT clients only")]
    NoWebSocket,
    #[error("WebSocket version is not 13")]
    Version,
    #[error("client does not offer the subprotocol mqtt")]
    Subprotocol,
    #[error("page of this origin may not connect")]
    Origin,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Refusal::Malformed | Refusal::NoWebSocket | Refusal::Subprotocol => "400 Bad Request",
            Refusal::TooLarge => "431 Request Header Fields Too Large",
            Refusal::Version => "426 Upgrade Required\r\nSec-WebSocket-Version: 13",
            Refusal::Origin => "403 Forbidden",
        }
    }
}

/// Answers the request that comes first. Pages in a browser come from an origin: their own host, or
/// one of `origins`.
pub(in crate::net) async fn upgrade(
    mut stream: Stream,
    origins: &[String],
) -> io::Result<WebSocket> {
    let mut bytes = BytesMut::new();
    let answer = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match answer(&bytes, origins) {
            Ok(Some((len, answer))) => {
                bytes.advance(len);
                break Ok(answer);
            }
            Ok(None) if bytes.len() < MOST_REQUEST => {}
            Ok(None) => break Err(Refusal::TooLarge),
            Err(refusal) => break Err(refusal),
        }
    };
    match answer {
        Ok(answer) => {
            stream.write_all(answer.as_bytes()).await?;
            stream.flush().await?;
            Ok(WebSocket::new(stream, bytes))
        }
        Err(refusal) => {
            let (status, reason) = (refusal.status(), refusal.to_string());
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n{reason}",
                reason.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            Err(io::Error::new(io::ErrorKind::InvalidData, refusal))
        }
    }
}

/// The length of the request, and the answer that makes it a WebSocket; none as long as it is not
/// complete.
fn answer(bytes: &[u8], origins: &[String]) -> Result<Option<(usize, String)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::Malformed),
    };
    let headers = Headers(request.headers);
    let is_get = request.method == Some("GET") && request.version == Some(1);
    if !(is_get && headers.has("upgrade", "websocket") && headers.has("connection", "upgrade")) {
        return Err(Refusal::NoWebSocket);
    }
    if headers.one("sec-websocket-version")? != Some(b"13") {
        return Err(Refusal::Version);
    }
    let key = headers.one("sec-websocket-key")?.ok_or(Refusal::NoWebSocket)?;
    if !Base64::decode(key, &mut [0; 16]).is_ok_and(|key| key.len() == 16) {
        return Err(Refusal::NoWebSocket);
    }
    // MQTT-6.0.0-3.
    if !headers.has("sec-websocket-protocol", "mqtt") {
        return Err(Refusal::Subprotocol);
    }
    if !may_enter(headers.one("origin")?, headers.one("host")?, origins) {
        return Err(Refusal::Origin);
    }
    let accept = Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize();
    let accept = Base64::encode_string(&accept);
    // MQTT-6.0.0-4.
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    Ok(Some((len, answer)))
}

struct Headers<'a>(&'a [Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value)
    }

    /// The value of what may be said only once.
    fn one(&self, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Refusal::Malformed),
        }
    }

    /// Whether one of the words of a list is this one.
    fn has(&self, name: &str, word: &str) -> bool {
        let mut words = self.all(name).flat_map(|value| value.split(|byte| *byte == b','));
        words.any(|found| found.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// Programs that are no browsers say no origin. Any page that somebody opens in a browser could
/// reach a broker on the loopback interface, or one that asks for the browser's certificate.
fn may_enter(origin: Option<&[u8]>, host: Option<&[u8]>, allowed: &[String]) -> bool {
    let Some(origin) = origin else { return true };
    let is_own = |host: &[u8]| {
        ["http://", "https://"].iter().any(|scheme| {
            let rest = origin.get(..scheme.len()).filter(|start| *start == scheme.as_bytes());
            rest.is_some() && origin[scheme.len()..].eq_ignore_ascii_case(host)
        })
    };
    host.is_some_and(is_own)
        || allowed.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin)
}

#[cfg(test)]
mod tests;
