//! Where processes listen: ports that are given out once, and addresses that processes tell.

use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{PATIENCE, Process};

/// A free address that stays this program's: no other test gets it, and its port the kernel gives to nobody by itself.
///
/// A process that is killed and started again must find its port as it left it. The kernel's own choice would be among
/// the ports that it also gives to connections: one that is made in between could take it, even a client's that tries to
/// reach this very port, and thereby itself.
///
/// # Errors
/// When a hundred tries find none.
pub fn free_address() -> Result<String> {
    for _ in 0..100 {
        let port = fastrand::u16(10_000..32_000);
        let address = format!("127.0.0.1:{port}");
        if claim(port)? && TcpListener::bind(&address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port from 10000 to 31999 in 100 tries");
}

/// Takes a port for as long as this program runs; false when another program of these tests, or this one, has it. The
/// process it is for may not have started yet, or be down between two lives: trying to listen would not show that.
fn claim(port: u16) -> Result<bool> {
    static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    // A name that stands in no file system and goes with the program, however that ends.
    let name = SocketAddr::from_abstract_name(format!("submeter-test-port-{port}"))?;
    match UnixListener::bind_addr(&name) {
        Ok(claim) => {
            let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
            claims.push(claim);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error).context("claim a port"),
    }
}

/// Waits until a process has written where it listens; its base URL.
pub(super) async fn told(file: &Path, process: &mut Process) -> Result<String> {
    let start = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(file)
            && text.ends_with('\n')
        {
            return Ok(format!("http://{}", text.trim()));
        }
        if process.is_over() || start.elapsed() > PATIENCE {
            bail!(
                "no {}; the log ends with:\n{}",
                file.display(),
                process.log_tail()
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
