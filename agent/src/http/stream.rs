//! A reply whose body is made while it is read: the writer waits for the reader, so neither needs memory for the other.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Pieces on their way from the writer to the reader.
const PIECES_MAX: usize = 1;

struct Pieces(Receiver<Bytes>);

/// A body, and what writes it. When the reader is gone, sending fails.
pub(crate) fn body() -> (Sender<Bytes>, Body) {
    let (sender, receiver) = channel(PIECES_MAX);
    (sender, Body::new(Pieces(receiver)))
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
