//! Unix sockets, which leave a file behind.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::task::{Context, Poll, ready};

use tokio::net::{UnixListener, UnixStream};

/// Dropping it closes it and takes its file away.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: another one under the same path is not ours.
    file: (u64, u64),
}

impl UnixSocket {
    pub(in crate::net) async fn bind(path: PathBuf, mode: Option<u32>) -> io::Result<UnixSocket> {
        let listener = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(&path).await?;
                UnixListener::bind(&path)?
            }
            bound => bound?,
        };
        let file = id(&fs::symlink_metadata(&path)?);
        let socket = UnixSocket { listener, path, file };
        if let Some(mode) = mode {
            fs::set_permissions(&socket.path, Permissions::from_mode(mode))?;
        }
        Ok(socket)
    }

    pub(in crate::net) fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<UnixStream>> {
        let (stream, _) = ready!(self.listener.poll_accept(context))?;
        Poll::Ready(Ok(stream))
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|found| id(&found) == self.file);
        if is_ours {
            // What stays is stale, and the next one removes it.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Removes a socket that nobody listens on: what a process leaves that was killed.
async fn remove_stale(path: &PathBuf) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let reason = "there is a file of this name that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Somebody is there, or may be.
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
