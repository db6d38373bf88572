//! Serves HTTP with hyper and async-io on this scheduler.
//!
//! ```text
//! cargo run --release --example http --features hyper -- 127.0.0.1:8080 --seconds 10
//! wrk --threads 2 --connections 64 --duration 8s http://127.0.0.1:8080/
//! ```
//! Without arguments it takes a free port, asks itself a thousand times, and ends. Errors are
//! counted and said, and make it fail; `cargo xtask verify --http` does both.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::{AsyncRead as _, AsyncWrite as _};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use stealyard::Scheduler;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let (address, seconds) = arguments()?;
    let scheduler = Scheduler::new()?;
    let counts = Arc::new(Counts::default());
    let listener = Async::<TcpListener>::bind(address.unwrap_or(([127, 0, 0, 1], 0).into()))?;
    let address_here = listener.get_ref().local_addr()?;
    println!(
        "http://{address_here}/ on {} workers",
        scheduler.parallelism()
    );
    let serving = scheduler.spawn(accept(listener, Arc::clone(&counts)));
    match (address, seconds) {
        (None, _) => scheduler
            .spawn_blocking(move || ask(address_here, 1000))
            .join()??,
        (Some(_), seconds) => std::thread::sleep(Duration::from_secs(seconds.unwrap_or(u64::MAX))),
    }
    serving.abort();
    println!("{counts}");
    match counts.errors.load(Ordering::Relaxed) {
        0 => Ok(()),
        errors => Err(format!("{errors} errors, told above").into()),
    }
}

/// An address, and after `--seconds` how long to serve it.
fn arguments() -> Result<(Option<SocketAddr>, Option<u64>), Box<dyn core::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut found = (None, None);
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let seconds = arguments.next().unwrap_or_default();
            let error = |error| format!("--seconds {seconds:?}: {error}; give a whole number");
            found.1 = Some(seconds.parse().map_err(error)?);
        } else {
            let error = |error| format!("{argument:?}: {error}; give an address as 127.0.0.1:8080");
            found.0 = Some(argument.parse().map_err(error)?);
        }
    }
    Ok(found)
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    requests: AtomicU64,
    errors: AtomicU64,
}

impl core::fmt::Display for Counts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} connections, {} requests, {} errors",
            of(&self.connections),
            of(&self.requests),
            of(&self.errors)
        )
    }
}

/// A task for each connection.
async fn accept(listener: Async<TcpListener>, counts: Arc<Counts>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                stealyard::spawn_detached(serve(stream, Arc::clone(&counts)));
            }
            Err(error) => {
                // Too many open files, usually: wait until some are closed.
                eprintln!("accept: {error}");
                counts.errors.fetch_add(1, Ordering::Relaxed);
                Timer::after(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: Async<TcpStream>, counts: Arc<Counts>) {
    let answered = Arc::clone(&counts);
    let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
        answered.requests.fetch_add(1, Ordering::Relaxed);
        let response = match request.uri().path() {
            "/" => Response::new("Hello from a stolen task.\n".to_owned()),
            path => {
                let mut response = Response::new(format!("there is no {path}\n"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        };
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new().serve_connection(Io(stream), answer);
    if let Err(error) = connection.await
        && !error.is_incomplete_message()
    {
        eprintln!("connection: {error}");
        counts.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// async-io's stream as hyper wants it.
struct Io(Async<TcpStream>);

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let room = buffer.remaining().min(bytes.len());
        let count = ready!(Pin::new(&mut self.0).poll_read(context, &mut bytes[..room]))?;
        buffer.put_slice(&bytes[..count]);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

/// Asks so often on one connection, and fails if an answer is not what it should be.
fn ask(address: SocketAddr, times: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut answer = Vec::new();
    for _ in 0..times {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")?;
        answer.clear();
        while !answer.ends_with(b"task.\n") {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes)?;
            if count == 0 || answer.len() > 4096 {
                return Err(io::Error::other("the answer is cut off"));
            }
            answer.extend_from_slice(&bytes[..count]);
        }
        if !answer.starts_with(b"HTTP/1.1 200 OK\r\n") {
            return Err(io::Error::other("the answer is not 200"));
        }
    }
    println!("{times} answers, all right");
    Ok(())
}
