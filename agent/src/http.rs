//! HTTP on localhost, whatever is asked through it: the listening sockets, who may speak, bodies within bounds, replies.

pub(crate) mod body;
pub(crate) mod guard;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod server;
pub(crate) mod stream;
pub(crate) mod unix_socket;
