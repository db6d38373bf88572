//! Goal: crates that know nothing of this scheduler work on it unchanged: channels, locks, timers
//! and sockets of smol's `async-*` crates, and a tokio channel. Method: each does its work from
//! many tasks at once, and what comes out is counted.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use async_lock::{Barrier, Mutex, RwLock, Semaphore};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, future};
use stealyard::{JoinHandle, spawn};
use support::with_workers;

async fn all<T>(handles: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut values = Vec::new();
    for handle in handles {
        values.push(handle.await.unwrap());
    }
    values
}

#[test]
fn async_channel_carries_everything_once() {
    with_workers(&[1, 2, 4], |scheduler| {
        let sum = scheduler.block_on(async {
            let (sender, receiver) = async_channel::bounded::<u64>(8);
            let producers = (0..4).map(|_| {
                let sender = sender.clone();
                spawn(async move {
                    for number in 1..=1000 {
                        sender.send(number).await.unwrap();
                    }
                })
            });
            let producers: Vec<_> = producers.collect();
            let consumers = (0..4).map(|_| {
                let receiver = receiver.clone();
                spawn(async move { receiver.fold(0, |sum, number| sum + number).await })
            });
            let consumers: Vec<_> = consumers.collect();
            drop((sender, receiver));
            all(producers).await;
            all(consumers).await.into_iter().sum::<u64>()
        });
        assert_eq!(sum, 4 * 500_500);
    });
}

#[test]
fn async_lock_excludes_and_lets_go() {
    with_workers(&[1, 2, 4], |scheduler| {
        scheduler.block_on(async {
            let count = Arc::new(Mutex::new(0));
            let log = Arc::new(RwLock::new(Vec::new()));
            let permits = Arc::new(Semaphore::new(3));
            let inside = Arc::new(AtomicUsize::new(0));
            let together = Arc::new(Barrier::new(10));
            let tasks = (0..10).map(|number| {
                let (count, log) = (Arc::clone(&count), Arc::clone(&log));
                let (permits, inside) = (Arc::clone(&permits), Arc::clone(&inside));
                let together = Arc::clone(&together);
                spawn(async move {
                    together.wait().await;
                    for _ in 0..100 {
                        *count.lock().await += 1;
                        let _permit = permits.acquire().await;
                        assert!(inside.fetch_add(1, Ordering::AcqRel) < 3);
                        stealyard::yield_now().await;
                        inside.fetch_sub(1, Ordering::AcqRel);
                    }
                    log.write().await.push(number);
                    log.read().await.len()
                })
            });
            let seen = all(tasks.collect()).await;
            assert!(seen.into_iter().all(|len| (1..=10).contains(&len)));
            assert_eq!((*count.lock().await, log.read().await.len()), (1000, 10));
        });
    });
}

#[test]
fn async_io_timers_wake_each_when_due() {
    with_workers(&[1, 2, 4], |scheduler| {
        let early = scheduler.block_on(async {
            let began = Instant::now();
            let tasks = [30, 10, 20, 10, 0].map(|milliseconds| {
                let due = began + Duration::from_millis(milliseconds);
                spawn(async move {
                    let said = Timer::at(due).await;
                    said < due || Instant::now() < due
                })
            });
            all(tasks.into()).await
        });
        assert_eq!(early, [false; 5]);
        // A timer that loses a race is dropped, and nothing of it is left.
        let first = scheduler.block_on(async {
            let late = async {
                Timer::after(Duration::from_secs(3600)).await;
                "late"
            };
            let early = async {
                Timer::after(Duration::from_millis(5)).await;
                "early"
            };
            spawn(future::or(late, early)).await.unwrap()
        });
        assert_eq!(first, "early");
    });
}

#[test]
fn async_io_sockets_echo() {
    with_workers(&[1, 2, 4], |scheduler| {
        let echoed = scheduler.block_on(async {
            let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
            let address = listener.get_ref().local_addr().unwrap();
            let server = spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    stealyard::spawn_detached(async move {
                        let mut bytes = [0; 64];
                        loop {
                            match stream.read(&mut bytes).await {
                                Ok(0) | Err(_) => break,
                                Ok(count) => stream.write_all(&bytes[..count]).await.unwrap(),
                            }
                        }
                    });
                }
            });
            let clients = (0..16_u8).map(|number| {
                spawn(async move {
                    let mut stream = Async::<TcpStream>::connect(address).await.unwrap();
                    let mut right = 0;
                    for round in 0..50_u8 {
                        stream.write_all(&[number, round]).await.unwrap();
                        let mut answer = [0; 2];
                        stream.read_exact(&mut answer).await.unwrap();
                        right += usize::from(answer == [number, round]);
                    }
                    right
                })
            });
            let right: usize = all(clients.collect()).await.into_iter().sum();
            server.abort();
            right
        });
        assert_eq!(echoed, 16 * 50);
    });
}

#[test]
fn async_io_datagrams_arrive() {
    with_workers(&[2], |scheduler| {
        scheduler.block_on(async {
            let here = Async::<UdpSocket>::bind(([127, 0, 0, 1], 0)).unwrap();
            let there = Async::<UdpSocket>::bind(([127, 0, 0, 1], 0)).unwrap();
            let address = there.get_ref().local_addr().unwrap();
            let got = spawn(async move {
                let mut bytes = [0; 16];
                let (count, _) = there.recv_from(&mut bytes).await.unwrap();
                bytes[..count].to_vec()
            });
            here.send_to(b"datagram", address).await.unwrap();
            assert_eq!(got.await.unwrap(), b"datagram");
        });
    });
}

#[test]
fn a_tokio_channel_needs_no_tokio_runtime() {
    with_workers(&[1, 4], |scheduler| {
        let sum = scheduler.block_on(async {
            let (sender, mut receiver) = tokio::sync::mpsc::channel::<u64>(4);
            let producer = spawn(async move {
                for number in 1..=1000 {
                    sender.send(number).await.unwrap();
                }
            });
            let mut sum = 0;
            while let Some(number) = receiver.recv().await {
                sum += number;
            }
            producer.await.unwrap();
            sum
        });
        assert_eq!(sum, 500_500);
    });
}
