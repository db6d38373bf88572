//! A library that is built on tokio (its sockets, its timers) used from tasks of this scheduler.
//!
//! Such a library asks for "a tokio runtime in the context" when it registers a socket or a timer.
//! One thread with a tokio runtime serves those registrations; the futures themselves are polled by
//! our workers. The adapter is [`InTokio`]: it enters the runtime's context around each poll.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use stealyard::{JoinHandle, Scheduler};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How many clients talk at once, and how much.
const CLIENTS: usize = 20;
const LINES: usize = 50;

type Error = Box<dyn core::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let reactor = tokio.handle().clone();
    // It polls nothing of ours: it waits for sockets and timers, and wakes our tasks.
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let driver = std::thread::spawn(move || tokio.block_on(stopped.recv()).is_err());
    let scheduler = Scheduler::new()?;
    let echoed = scheduler.block_on(in_tokio(&reactor, talk(reactor.clone())))?;
    println!("{echoed} lines came back, through tokio's sockets, on stealyard's workers");
    assert_eq!(echoed, CLIENTS * LINES);
    drop(stop);
    assert!(
        driver.join().is_ok_and(|closed| closed),
        "the driver ends with its channel"
    );
    Ok(())
}

/// A server, and clients that talk to it, each a task of its own.
async fn talk(reactor: tokio::runtime::Handle) -> Result<usize, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = reactor.clone();
    let server = stealyard::spawn(in_tokio(&reactor, async move {
        while let Ok((stream, _)) = listener.accept().await {
            stealyard::spawn_detached(in_tokio(&serving, echo(stream)));
        }
    }));
    let clients: Vec<JoinHandle<Result<usize, Error>>> = (0..CLIENTS)
        .map(|number| stealyard::spawn(in_tokio(&reactor, client(address, number))))
        .collect();
    let mut echoed = 0;
    for client in clients {
        echoed += client.await??;
    }
    server.abort();
    Ok(echoed)
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        writer.write_all(format!("{line}\n").as_bytes()).await?;
    }
    Ok(())
}

async fn client(address: std::net::SocketAddr, number: usize) -> Result<usize, Error> {
    let (reader, mut writer) = TcpStream::connect(address).await?.into_split();
    let mut lines = BufReader::new(reader).lines();
    for round in 0..LINES {
        let line = format!("client {number}, line {round}");
        writer.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await??;
        assert_eq!(answer.as_deref(), Some(line.as_str()));
    }
    Ok(LINES)
}

/// A future that is polled in the context of a tokio runtime.
struct InTokio<F> {
    reactor: tokio::runtime::Handle,
    future: Pin<Box<F>>,
}

fn in_tokio<F: Future>(reactor: &tokio::runtime::Handle, future: F) -> InTokio<F> {
    InTokio {
        reactor: reactor.clone(),
        future: Box::pin(future),
    }
}

impl<F: Future> Future for InTokio<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let reactor = self.reactor.clone();
        let _entered = reactor.enter();
        self.future.as_mut().poll(context)
    }
}
