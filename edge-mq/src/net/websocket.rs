//! A byte stream in WebSocket frames (MQTT 5.0 section 6).
//!
//! What is read is unmasked where it lies; what is written becomes one frame of all that the caller
//! has, its header in front of the caller's own slices. So nothing is copied and nothing is kept
//! here, but for answers to control frames.

mod frame;
mod upgrade;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use frame::{Asked, Frames, Head};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
pub(super) use upgrade::upgrade;

use super::stream::Stream;

/// Slices of one system call: those of the writer, and the header.
const SLICES: usize = 65;

/// Status codes of RFC 6455 section 7.4.1.
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// Writes must go on with the bytes that an earlier one did not take: their frame has begun.
#[derive(Debug)]
pub(super) struct WebSocket {
    stream: Stream,
    /// What came behind the upgrade request.
    early: BytesMut,
    frames: Frames,
    /// A control frame, as far as it is not written, and the one behind it.
    answer: Bytes,
    next_answer: Option<Bytes>,
    is_flushing: bool,
    /// Of the data frame that is being written.
    head: Head,
    payload_left: usize,
    /// Why we close.
    close_code: u16,
    /// Whether our Close frame is written, or will be.
    has_closed: bool,
    /// Whether only the end of the stream is waited for.
    is_shut: bool,
}

impl WebSocket {
    fn new(stream: Stream, early: BytesMut) -> WebSocket {
        WebSocket {
            stream,
            early,
            frames: Frames::default(),
            answer: Bytes::new(),
            next_answer: None,
            is_flushing: false,
            head: Head::default(),
            payload_left: 0,
            close_code: GOING_AWAY,
            has_closed: false,
            is_shut: false,
        }
    }

    /// Turns what was read into MQTT, and notes what the client wants an answer to.
    fn take_apart(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut asked = None;
        let taken = self.frames.decode(bytes, &mut asked);
        match asked {
            Some(Asked::Pong(payload)) if !self.has_closed => {
                self.next_answer = Some(frame::pong(&payload));
            }
            Some(Asked::Close) => self.close(NORMAL),
            _ => {}
        }
        taken.map_err(|violation| {
            self.close_code = violation.close_code();
            io::Error::new(io::ErrorKind::InvalidData, violation)
        })
    }

    fn close(&mut self, code: u16) {
        if !std::mem::replace(&mut self.has_closed, true) {
            self.next_answer = Some(frame::close(code));
        }
    }

    fn is_in_frame(&self) -> bool {
        self.payload_left > 0 || !self.head.rest().is_empty()
    }

    /// Writes the control frames that are due; in the middle of a data frame none is.
    fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_in_frame() {
            if self.answer.is_empty() {
                let Some(answer) = self.next_answer.take() else { break };
                self.answer = answer;
            }
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.answer))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.answer.advance(written),
            }
            self.is_flushing = true;
        }
        if self.is_flushing {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_flushing = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads bytes of the socket, those first that came too early.
    fn poll_raw(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let some = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early.split_to(some));
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            // An answer that does not leave now holds up no reading.
            if let Poll::Ready(Err(error)) = this.poll_answers(context) {
                return Poll::Ready(Err(error));
            }
            if this.frames.is_closed() && !this.is_shut {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(this.poll_raw(context, buffer))?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let taken = match this.is_shut {
                true => 0,
                false => this.take_apart(&mut buffer.filled_mut()[before..])?,
            };
            buffer.set_filled(before + taken);
            if taken > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answers(context))?;
        if !this.is_in_frame() {
            this.payload_left = bytes.iter().map(|slice| slice.len()).sum();
            if this.payload_left == 0 {
                return Poll::Ready(Ok(0));
            }
            this.head = Head::binary(this.payload_left);
        }
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = gather(&mut slices, this.head.rest(), bytes, this.payload_left);
            let stream = Pin::new(&mut this.stream);
            let written = ready!(stream.poll_write_vectored(context, &slices[..used]))?;
            if written == 0 {
                return Poll::Ready(Ok(0));
            }
            let of_payload = this.head.advance(written);
            if of_payload > 0 {
                this.payload_left -= of_payload;
                return Poll::Ready(Ok(of_payload));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answers(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.is_shut = true;
        this.close(this.close_code);
        ready!(this.poll_answers(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

/// The header, and as much of the payload as belongs to the frame; returns how many slices it is.
fn gather<'a>(
    slices: &mut [IoSlice<'a>; SLICES],
    head: &'a [u8],
    payload: &'a [IoSlice<'_>],
    mut payload_left: usize,
) -> usize {
    slices[0] = IoSlice::new(head);
    let mut used = 1;
    for (slice, bytes) in slices[1..].iter_mut().zip(payload) {
        let some = bytes.len().min(payload_left);
        *slice = IoSlice::new(&bytes[..some]);
        payload_left -= some;
        used += 1;
        if payload_left == 0 {
            break;
        }
    }
    used
}
