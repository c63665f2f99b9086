//! Opens the sockets on which others send.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use super::inherited::Inherited;

/// A UDP socket.
pub(crate) fn udp(address: SocketAddr, inherited: &mut Inherited) -> io::Result<UdpSocket> {
    let socket = inherited.udp(address).map_or_else(|| UdpSocket::bind(address), Ok)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A TCP listener.
pub(crate) fn tcp(address: SocketAddr, inherited: &mut Inherited) -> io::Result<TcpListener> {
    let listener = inherited.tcp(address).map_or_else(|| TcpListener::bind(address), Ok)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A Unix datagram socket, as `/dev/log` is. The name of one that was handed over is its owner's.
pub(crate) fn unix_datagram(path: &Path, inherited: &mut Inherited) -> io::Result<(UnixDatagram, Option<SocketFile>)> {
    if let Some(socket) = inherited.datagram(path) {
        socket.set_nonblocking(true)?;
        return Ok((socket, None));
    }
    clear(path)?;
    let socket = UnixDatagram::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok((socket, Some(SocketFile::open_to_all(path)?)))
}

/// A Unix stream socket, likewise.
pub(crate) fn unix_stream(path: &Path, inherited: &mut Inherited) -> io::Result<(UnixListener, Option<SocketFile>)> {
    if let Some(listener) = inherited.stream(path) {
        listener.set_nonblocking(true)?;
        return Ok((listener, None));
    }
    clear(path)?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok((listener, Some(SocketFile::open_to_all(path)?)))
}

/// The stream socket beside a datagram socket: one path cannot be both, and `logger --socket` tries datagrams first.
pub(crate) fn stream_path(datagram: &Path) -> PathBuf {
    let stem = datagram.file_stem().unwrap_or_default().to_string_lossy();
    datagram.with_file_name(format!("{stem}-stream.sock"))
}

/// Removes a socket that an earlier run left behind, if nobody listens on it any more.
fn clear(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "the path exists and is no socket"));
        }
        Ok(_) => {}
    }
    let probe = UnixDatagram::unbound()?;
    match probe.connect(path) {
        // Nobody listens; a stream socket that is in use refuses datagrams with another error (EPROTOTYPE).
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// The name of a Unix socket in the file system; goes with the collector.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl SocketFile {
    /// Every program of the machine may log, as on `/dev/log`.
    fn open_to_all(path: &Path) -> io::Result<Self> {
        let file = Self(path.to_owned());
        fs::set_permissions(path, Permissions::from_mode(0o666))?;
        Ok(file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // left behind, it would be cleared at the next start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_is_taken_over_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["d.sock", "s.sock"] {
            let path = folder.path().join(name);
            if name == "d.sock" {
                drop(UnixDatagram::bind(&path).expect("binds"))
            } else {
                drop(UnixListener::bind(&path).expect("binds"))
            }
            let none = &mut Inherited::default();
            let (_socket, file) = unix_datagram(&path, none).expect("left behind");
            assert_eq!(unix_datagram(&path, none).expect_err("in use").kind(), ErrorKind::AddrInUse);
            assert_eq!(unix_stream(&path, none).expect_err("in use").kind(), ErrorKind::AddrInUse);
            drop(file);
            let (_listener, _file) = unix_stream(&path, none).expect("free");
            assert_eq!(unix_datagram(&path, none).expect_err("in use").kind(), ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn a_file_in_the_way_is_never_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("precious");
        fs::write(&path, "text").expect("writes");
        assert!(unix_datagram(&path, &mut Inherited::default()).is_err());
        assert_eq!(fs::read(&path).expect("still there"), b"text");
    }

    #[test]
    fn the_stream_socket_stands_beside() {
        assert_eq!(stream_path(Path::new("/run/x/syslog.sock")), Path::new("/run/x/syslog-stream.sock"));
    }
}
